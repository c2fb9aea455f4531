"""Silent changes of values: what was written is what the engine reads, or it is refused by name."""

import itertools
import random
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from autossl.errors import UserError
from studies.attack import formats
from studies.attack.acts import call
from studies.attack.case import EITHER, ENDED, FINE, Case
from studies.attack.labels import label_cases

Pixels = NDArray[Any]
SIDE = 16
N = 24


def cases(seed: int) -> Sequence[Case]:
    """All forms of pixels, and random studies of labels, patients and splits."""
    return [*_forms(seed), *_mixed(seed), *_arrays(seed), *_volumes(seed), *label_cases(seed)]


class Changed(Exception):
    """What was read is not what was written."""


def truth(seed: int, kind: str, shape: tuple[int, ...], top: int) -> list[Pixels]:
    """N random images with all values up to `top`, each image another."""
    rng = np.random.default_rng(seed)
    return [rng.integers(0, top + 1, shape).astype(kind) for _ in range(N)]


def _forms(seed: int) -> Iterator[Case]:
    """Every format, depth and number of channels, and every orientation where a format can carry one."""
    depths = {"uint8": (255, 200), "uint16": (65535, 4095, 799)}
    for (kind, tops), channels in itertools.product(depths.items(), (1, 3)):
        for top in tops:
            shape = (SIDE, SIDE) if channels == 1 else (SIDE, SIDE, 3)
            images = truth(seed, kind, shape, top)
            for name, (suffix, write, expect) in _writers(kind, top).items():
                yield _case(f"{name}, {kind} up to {top}, {channels} channels", images, suffix, write, expect)
    for (kind, tops), turn in itertools.product(depths.items(), (*range(9), 9, 10, 255)):
        images = truth(seed, kind, (12, 20), tops[0])
        for name in ("png", "tiff", "tiff deflate"):
            write = _turned(name, turn)
            upright = [turned(image, turn) for image in images]
            yield _case(f"{name} {kind}, orientation {turn}", upright, ".png" if name == "png" else ".tif", write, EITHER, images)
    smooth = [np.add.outer(np.arange(16) * 3, np.arange(24) * (2 + row / 8)).astype(np.uint8) for row in range(N)]
    for turn, (name, kind) in itertools.product((*range(1, 9), 9, 255), (("JPEG", ".jpg"), ("WebP", ".webp"))):
        write = lambda path, image, t=turn, n=name: _pillow(path, image, n, t)  # type: ignore[misc]  # noqa: E731
        yield _case(f"{name}, orientation {turn}", [turned(i, turn) for i in smooth], kind, write, EITHER, smooth, near=8)


Write = Callable[[Path, Pixels], object]


def _writers(kind: str, top: int) -> dict[str, tuple[str, Write, str]]:
    """Formats that can hold images of this type without loss; those with FINE must be read."""
    found: dict[str, tuple[str, Write, str]] = {
        "png": (".png", lambda p, i: p.write_bytes(formats.png(i)), FINE),
        "png with alpha": (".png", lambda p, i: p.write_bytes(formats.png(i, alpha=int(np.iinfo(i.dtype).max))), EITHER),
    }
    for big, planar, inverted, packed, strips in itertools.product((False, True), (False, True), (False, True), (False, True), (1, 3)):
        words = [w for w, on in (("big", big), ("planar", planar), ("inverted", inverted), ("deflate", packed), ("strips", strips > 1)) if on]
        options: dict[str, Any] = {"big": big, "planar": planar, "inverted": inverted, "packed": packed, "strips": strips}
        found[" ".join(["tiff", *words])] = (".tif", lambda p, i, o=options: p.write_bytes(_tiff(i, **o)), EITHER if words else FINE)
    suffix = {1: ".pgm", 3: ".ppm"}
    for text, white in itertools.product((False, True), {0, top}):
        name = f"pnm {'text' if text else 'binary'}, white {white}"
        found[name] = (suffix[1], lambda p, i, t=text, w=white: p.write_bytes(formats.pnm(i, w, t)), EITHER)
    if kind == "uint8":
        for name, ending in (("BMP", ".bmp"), ("GIF", ".gif"), ("WebP", ".webp"), ("JPEG2000", ".jp2"), ("TIFF", ".tif")):
            found[f"Pillow's {name}"] = (ending, lambda p, i, n=name: _pillow(p, i, n, 0), EITHER)
    return found


def _tiff(image: Pixels, **options: Any) -> bytes:
    if options.get("inverted") and image.ndim == 2:
        image = np.iinfo(image.dtype).max - image
    return formats.tiff(image, **options)


def _turned(name: str, turn: int) -> Write:
    if name == "png":
        return lambda path, image: path.write_bytes(formats.png(image, orientation=turn))
    return lambda path, image: path.write_bytes(formats.tiff(image, orientation=turn, packed="deflate" in name))


def turned(image: Pixels, turn: int) -> Pixels:
    """What a viewer shows of an image with this EXIF orientation; others than 1 to 8 mean nothing."""
    if not 1 <= turn <= 8:
        return image
    upright = image.swapaxes(0, 1) if turn >= 5 else image
    return upright[:: -1 if turn in (3, 4, 7, 8) else 1, :: -1 if turn in (2, 3, 6, 7) else 1]


def _pillow(path: Path, image: Pixels, name: str, turn: int) -> None:
    options: dict[str, Any] = {"lossless": True} if name == "WebP" else {"quality": 100} if name == "JPEG" else {}
    if name == "JPEG2000":
        options = {"irreversible": False}
    if turn:
        options["exif"] = b"Exif\0\0" + formats.exif(turn)
    Image.fromarray(image).save(path, name, **options)


def _case(
    name: str, images: Sequence[Pixels], suffix: str, write: Write, expect: str, stored: Sequence[Pixels] | None = None, near: int = 0
) -> Case:
    """Files of `stored` in two class folders must be read as `images`."""

    def make(here: Path) -> None:
        for row, image in enumerate(images if stored is None else stored):
            folder = here / "d" / "ab"[row % 2]
            folder.mkdir(parents=True, exist_ok=True)
            write(folder / f"{row:02}{suffix}", image)

    order = [*range(0, N, 2), *range(1, N, 2)]
    return Case(name, call(lambda: compare("d", [images[row] for row in order], near)), make, expect, until=ENDED, check=silent)


def silent(here: Path) -> list[tuple[str, str]]:
    """What the forked process found to be changed."""
    found = here / "changed"
    return [("silent", found.read_text())] if found.exists() else []


def compare(data: str, images: Sequence[Pixels], near: int = 0, depth: int | None = None) -> None:
    """Open the data as a study does; each image must be the one that was written, or a word of it refused."""
    from autossl.data.open import open_data

    source = open_data(data)
    for row, image in enumerate(images):
        try:
            read = np.asarray(source.read(row))
        except (ValueError, UserError) as fault:  # a file that is refused by name
            raise UserError(str(fault)) from None
        wanted = image if image.ndim == 3 else image[:, :, None]
        shape_of_grey = read.shape == wanted[:, :, :1].shape and (wanted == wanted[:, :, :1]).all()
        if read.shape != wanted.shape and not shape_of_grey:
            return change(f"image {row} of {wanted.shape} became {read.shape}")
        gap = np.abs(read.astype(float) - wanted[..., : read.shape[2]] * scaling(wanted, read, int(source.white[row])))
        if gap.max() > near:
            return change(f"image {row}: values differ by up to {gap.max():.0f}, {wanted.dtype} became {read.dtype}")
    return None


def scaling(wanted: Pixels, read: Pixels, white: int) -> float:
    """1; where a file's own white was stretched to that of its type, by how much."""
    return 1.0 if white in (0, int(np.iinfo(wanted.dtype).max)) or read.dtype == wanted.dtype else white / float(np.iinfo(wanted.dtype).max)


def change(sentence: str) -> None:
    """Tell the process that watches."""
    Path("changed").write_text(sentence)


def _mixed(seed: int) -> Iterator[Case]:
    """8 and 16 bit, grey and colour in one set: the share of white must stay."""
    rng = random.Random(seed)
    kinds = ("grey 8", "grey 16", "rgb 8", "rgb 16", "rgb of equal channels", "grey with alpha")
    for chosen in [*itertools.combinations(kinds, 2), *(tuple(rng.sample(kinds, 3)) for _ in range(6))]:
        yield Case(f"mixed: {' and '.join(chosen)}", call(lambda c=chosen: _compare_mixed(c)), lambda here, c=chosen: _write_mixed(here, c), EITHER, until=ENDED, check=silent, writes=("out",))  # type: ignore[misc]


def _picture(kind: str, row: int) -> Pixels:
    image = np.random.default_rng(row).integers(0, 256, (SIDE, SIDE)).astype(np.uint16)
    deep = image * 257 if "16" in kind else image.astype(np.uint8)
    return np.stack([deep] * 3, 2) if "equal" in kind else np.stack([deep, deep[::-1], deep.T], 2) if "rgb" in kind else deep


def _write_mixed(here: Path, kinds: tuple[str, ...]) -> None:
    for row in range(N):
        folder, kind = here / "d" / ("a" if row < N // 2 else "b"), kinds[row % len(kinds)]
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{row:02}.png").write_bytes(formats.png(_picture(kind, row), alpha=255 if "alpha" in kind else None))


def _compare_mixed(kinds: tuple[str, ...]) -> None:
    from autossl.data import open_data, prepare

    Path("out").mkdir()
    data = prepare(open_data("d"), Path("out"), image_size=SIDE)
    for row in range(N):
        wanted = _picture(kinds[row % len(kinds)], row)
        share = (wanted / np.iinfo(wanted.dtype).max).reshape(SIDE, SIDE, -1)
        read = np.asarray(data.images[row]) / data.scale
        if share.shape[2] == 3 and read.shape[2] == 1 and not (share == share[..., :1]).all():
            return change(f"image {row} lost its colour")
        if np.abs(read - (share if read.shape[2] == 3 else share[..., :1])).max() > 1e-6:
            return change(f"image {row} ({kinds[row % len(kinds)]}): shares of white differ")
    return None


def _arrays(seed: int) -> Iterator[Case]:
    """npz and arrays of all types of numbers."""
    for kind, top, channels in itertools.product(("uint8", "uint16", ">u2", "int16", "int32", "uint64", "float32", "float64"), (1, 255, 256, 4095, 32767), (1, 3)):
        shape = (SIDE, SIDE) if channels == 1 else (SIDE, SIDE, 3)
        if top > 255 and kind == "uint8":
            continue
        images = np.stack(truth(seed, "int64", shape, top))
        values = (images / top).astype(kind) if kind.startswith("f") else images.astype(kind)
        yield Case(f"npz {kind} up to {top}, {channels} channels", call(lambda t=top, i=images, f=kind.startswith("f"): _compare_array(i, t if f else 0)), lambda here, v=values: np.savez(here / "x.npz", images=v, labels=np.arange(N) % 2), EITHER, until=ENDED, check=silent)  # type: ignore[misc]


def _compare_array(images: Pixels, top: int) -> None:
    from autossl.data.open import open_data

    source = open_data("x.npz")
    for row, image in enumerate(images):
        read, white = np.asarray(source.read(row)), int(source.white[row])
        wanted = image.reshape(SIDE, SIDE, -1)
        gap = np.abs(read / white - wanted / top).max() * 2 * white if top and white else np.abs(read - wanted).max()
        if gap > (1.01 if top else 0):
            return change(f"row {row} differs by {gap}")
    return None


def _volumes(seed: int) -> Iterator[Case]:
    """NIfTI of types, axes and byte orders; values that are kept must be those that were written."""
    import nibabel

    for kind, ending, flip in itertools.product(("uint8", "int16", "uint16", ">i2", "float32"), (".nii", ".nii.gz"), (1, -1)):
        def make(here: Path, k: str = kind, e: str = ending, f: int = flip) -> None:
            for row, volume in enumerate(_cubes(seed)):
                folder = here / "d" / "ab"[row % 2]
                folder.mkdir(parents=True, exist_ok=True)
                nibabel.save(nibabel.Nifti1Image(volume.astype(k), np.diag([f, 1, 1, 1])), folder / f"{row:02}{e}")

        yield Case(f"nifti {kind}{ending}, first axis {flip}", call(lambda: _compare_volumes(seed)), make, EITHER, until=ENDED, check=silent)


def _cubes(seed: int) -> list[Pixels]:
    return [np.random.default_rng(seed + row).integers(0, 200, (12, 14, 16)) for row in range(N)]


def _compare_volumes(seed: int) -> None:
    from autossl.data.open import open_data

    source, cubes = open_data("d"), _cubes(seed)
    for row, at in enumerate([*range(0, N, 2), *range(1, N, 2)]):
        read = np.asarray(source.read(row)).astype(float)
        if source.window == "kept" and sorted(read.ravel()) != sorted(cubes[at].ravel().astype(float)):
            return change(f"volume {row} has other values")
    return None
