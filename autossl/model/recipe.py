"""From a file to what an exported encoder takes, as model cards tell it: in words, and in code without AutoSSL."""

from collections.abc import Sequence
from dataclasses import dataclass

from autossl.data import CT, KEPT
from autossl.data.readers.volumes import HOUNSFIELD, TAILS


@dataclass(frozen=True)
class Steps:
    """What the recipe depends on: of the encoder its channels and its factor, of the study all else."""

    size: int
    channels: int
    scale: float
    mean: Sequence[float]
    std: Sequence[float]
    dims: int = 2
    window: str = KEPT
    upsample: int = 1
    cut: bool = False


def words(steps: Steps) -> list[str]:
    """One sentence for each step, in their order."""
    volumes = steps.dims == 3
    side = " x ".join([str(steps.size)] * steps.dims)
    colour = "grey (one channel)" if steps.channels == 1 else f"{steps.channels} channels"
    method = "cubic (a = -0.5), the kernel widened where an axis shrinks (antialiasing), as Pillow's BICUBIC"
    told = [
        f"Decode: {_decoded(steps)}",
        "Orientation: axes permuted and turned to the nearest ones of the body, d towards the head, h to the front, "
        "w to the right; nothing is interpolated."
        if volumes
        else "Orientation: upright, as the file's EXIF says."
        if steps.window == KEPT
        else "Orientation: as the pixels are stored, the first row on top.",
        f"Channels: {colour}" + ("; a grey image becomes three equal channels." if steps.channels == 3 else "."),
        *([f"Values: {_windowed(steps)}"] if volumes or steps.window != KEPT else []),
        f"Size: the whole {'volume' if volumes else 'image'} into {side} {'voxels' if volumes else 'px'}, "
        + (
            "its proportions in mm kept: voxels become cubes, and the longest extent gets all of them"
            if volumes
            else "its proportions kept"
        )
        + f"; {method}, rounded and clipped to its own range of values; the rest is filled with the median of its "
        f"{'outermost voxels' if volumes else 'border'}, channel by channel.",
        f"Range: values divided by {steps.scale:g}.",
        f"Standardised: minus mean {_short(steps.mean)}, divided by standard deviation {_short(steps.std)}, for each "
        "channel (in full in `config.json`).",
    ]
    if steps.cut:
        told.insert(
            -2,
            f"That size is for embeddings. Answers are told of windows of {side} at the resolution of the "
            f"{'volume' if volumes else 'image'}, each of which shares half of its side with the next: their means, "
            "in which the middle of a window counts most.",
        )
    if steps.upsample > 1:
        told.append(
            f"Last, the standardised input is enlarged {steps.upsample} x (linearly); a plain library must be given "
            "the enlarged one."
        )
    return told


def _decoded(steps: Steps) -> str:
    if steps.dims == 3:
        return "NIfTI (or DICOM, slices sorted along their normal), values after the header's slope and intercept."
    if steps.window != KEPT:
        return "DICOM, values after the header's slope and intercept, MONOCHROME1 turned around within its range."
    if steps.scale == 255:
        return "8 bit, opaque alpha dropped."
    return f"16 bit without loss, of which {steps.scale:g} is white; 8-bit images are stretched so that 255 is."


def _windowed(steps: Steps) -> str:
    if steps.window == KEPT:
        return f"as they are, whole numbers of which {steps.scale:g} is white."
    if steps.window == CT:
        low, high = HOUNSFIELD
        return f"Hounsfield units, clipped to {low} and {high}, minus {low}, in steps of 1."
    kind = "volume" if steps.dims == 3 else "image"
    return (
        f"each channel of each {kind} stretched linearly from its {TAILS[0]} and {TAILS[1]} percentiles to 0 and "
        f"{steps.scale:g}, clipped and rounded (of large volumes the percentiles are those of every k-th voxel); of "
        "DICOM with a window in the header from the ends of that window."
    )


def code(steps: Steps, model: Sequence[str], embedding: str) -> list[str]:
    """Lines that embed FILE with NumPy, Pillow or nibabel, torch and the library of the network alone.

    `model` are the lines that make `model`, `embedding` what it is called with `x` (1, c, *space) for.
    """
    volumes = steps.dims == 3
    head = [
        "import math",
        *(["import nibabel"] if volumes else []),
        "import numpy as np",
        "import torch",
        *([] if volumes else ["from PIL import Image, ImageOps"]),
        *(["import pydicom"] if not volumes and steps.window != KEPT else []),
        *model,
        "",
        f"SIZE, SCALE = {steps.size}, {steps.scale:g}",
        f"MEAN, STD = {[float(v) for v in steps.mean]}, {[float(v) for v in steps.std]}",
        "",
    ]
    body = _VOLUME.replace("WINDOW", _WINDOWS[steps.window]) if volumes else _IMAGE.replace("READ", _read(steps))
    enlarged = []
    if steps.upsample > 1:
        mode = "trilinear" if volumes else "bilinear"
        enlarged = [f"x = torch.nn.functional.interpolate(x, scale_factor={steps.upsample}, mode={mode!r})"]
    return [
        *head,
        *body.strip("\n").splitlines(),
        "x = (values / SCALE - np.array(MEAN)) / np.array(STD)                # (*space, channels)",
        "x = torch.from_numpy(np.moveaxis(x, -1, 0)[None]).float()            # (1, channels, *space)",
        *enlarged,
        "with torch.no_grad():",
        f"    embedding = {embedding}",
    ]


def _read(steps: Steps) -> str:
    """How Pillow reads a file at the depth of the study; 16-bit colour is beyond it."""
    if steps.window != KEPT:
        return _DICOM.strip("\n").replace("WINDOW", _WINDOWS[steps.window])
    if steps.scale == 255:
        mode = "L" if steps.channels == 1 else "RGB"
        return f'image = np.array(ImageOps.exif_transpose(Image.open("FILE")).convert("{mode}"))'
    if steps.channels == 1:
        return (
            'image = np.array(ImageOps.exif_transpose(Image.open("FILE")))        # 16-bit grey\n'
            "if image.dtype == np.uint8:\n"
            "    image = np.rint(image * (SCALE / 255))"
        )
    return 'image = np.load("FILE")                                           # 16-bit colour (h, w, 3), decoded'


def _short(values: Sequence[float]) -> str:
    return "(" + ", ".join(f"{v:.4f}" for v in values) + ")"


_DICOM = """
file = pydicom.dcmread("FILE")                                        # MONOCHROME2 without a window of its own
volume = pydicom.pixels.apply_modality_lut(pydicom.pixels.pixel_array(file), file)[None, :, :, None]
WINDOW
image = volume[0]"""

_IMAGE = """
READ
image = image.reshape(*image.shape[:2], -1)
part = SIZE / max(image.shape[:2])
h, w = (max(1, math.floor(side * part + 0.5)) for side in image.shape[:2])
border = np.concatenate([image[0], image[-1], image[:, 0], image[:, -1]])
values = np.empty((SIZE, SIZE, image.shape[2]))
values[:] = np.floor(np.median(border, axis=0))
top, left = (SIZE - h) // 2, (SIZE - w) // 2
kind = np.uint8 if SCALE == 255 else np.float32                       # what Pillow resizes: 8 bit or floats
for channel in range(image.shape[2]):
    plane = image[:, :, channel]
    small = Image.fromarray(plane.astype(kind)).resize((w, h), Image.Resampling.BICUBIC)
    values[top:top + h, left:left + w, channel] = np.clip(np.rint(small), plane.min(), plane.max())
"""

_VOLUME = """
file = nibabel.as_closest_canonical(nibabel.load("FILE"))
volume = np.asarray(file.dataobj)
volume = volume.reshape(*volume.shape[:3], -1).transpose(2, 1, 0, 3)  # (d, h, w, channels)
spacing = np.sqrt((file.affine[:3, :3] ** 2).sum(0))[::-1]            # mm
WINDOW
extent = np.array(volume.shape[:3]) * spacing
inner = np.maximum(1, np.floor(SIZE * extent / extent.max() + 0.5)).astype(int)

def weights(old, new):                                                # cubic, widened where an axis shrinks
    centre, wide = (np.arange(new)[:, None] + 0.5) * old / new, max(old / new, 1)
    t = np.abs(np.arange(old) + 0.5 - centre) / wide
    w = np.where(t < 1, (1.5 * t - 2.5) * t**2 + 1, np.where(t < 2, ((-0.5 * t + 2.5) * t - 4) * t + 2, 0))
    return w / w.sum(1, keepdims=True)

small = volume.astype(float)
for axis in range(3):
    if inner[axis] != small.shape[axis]:
        small = np.moveaxis(np.tensordot(weights(small.shape[axis], inner[axis]), small, (1, axis)), 0, axis)
small = np.clip(np.rint(small), volume.min((0, 1, 2)), volume.max((0, 1, 2)))
faces = [np.moveaxis(volume, axis, 0)[at].reshape(-1, volume.shape[3]) for axis in range(3) for at in (0, -1)]
values = np.empty((SIZE, SIZE, SIZE, volume.shape[3]))
values[:] = np.floor(np.median(np.concatenate(faces), axis=0))
first = (SIZE - inner) // 2
values[tuple(slice(a, a + b) for a, b in zip(first, inner))] = small
"""

_WINDOWS = {
    "kept": "",
    "ct": f"volume = np.rint(np.clip(volume, {HOUNSFIELD[0]}, {HOUNSFIELD[1]})) - {HOUNSFIELD[0]}"
    "                     # Hounsfield units",
    "robust": f"""step = math.ceil(max(1, np.prod(volume.shape[:3]) / 2**20) ** (1 / 3))
some = volume[::step, ::step, ::step].reshape(-1, volume.shape[3])
low, high = np.percentile(some.astype(float), [{TAILS[0]}, {TAILS[1]}], axis=0)
narrow = high <= low
low = np.where(narrow, volume.min((0, 1, 2)), low)
high = np.where(narrow, volume.max((0, 1, 2)), high)
volume = np.rint(np.clip((volume - low) / np.where(high > low, high - low, 1), 0, 1) * SCALE)""",
}
