"""NIfTI files: headers, and voxels in a fixed orientation, read by nibabel."""

import importlib
import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autossl.data.dataset import Pixels
from autossl.data.readers.images import Header, Unreadable, check_regular
from autossl.data.readers.volumes import to_voxels

SUFFIXES = (".nii", ".nii.gz")
MOST_CHANNELS = 4
MOST_VALUES = 1 << 31  # a header that promises more lies, or promises what no memory holds
LONGEST_VOXEL = 100.0  # longest over shortest side of a voxel; thick slices stay below 30


def is_volume(path: Path) -> bool:
    """Whether a file is a volume by its name."""
    return path.name.lower().endswith(SUFFIXES)


def look(path: Path) -> Header | None:
    """The header of a NIfTI file, its axes as `raw` orders them; None where it cannot be read."""
    try:
        return _header(_open(path))
    except Exception:  # whatever is wrong with it is said where it is decoded
        return None


def decode(path: Path, window: str) -> Pixels:
    """A NIfTI file as (d, h, w, c), uint8 or uint16; Unreadable where that fails."""
    return to_voxels(raw(path), window, "it")[0]


def raw(path: Path) -> NDArray[Any]:
    """The values of a NIfTI file as (d, h, w, c), d towards the head, h to the front, w to the right.

    Axes are permuted and turned to the nearest ones of the body, nothing is interpolated. Unreadable where it is
    damaged, holds no single volume, or values that are not finite.
    """
    image = _open(path)
    try:
        header = _header(image)
        values = np.asarray(importlib.import_module("nibabel").as_closest_canonical(image).dataobj)
    except Unreadable:
        raise
    except Exception as fault:  # as for images: what damage makes a reader raise knows no bounds
        raise Unreadable(f"it is damaged ({type(fault).__name__})") from None
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise Unreadable("it holds voxels that are NaN or infinite")
    return values.reshape(*values.shape[:3], header.channels).transpose(2, 1, 0, 3)


def write_like(values: NDArray[Any], image: Path | None, spacing: tuple[float, ...], path: Path) -> None:
    """Write values (d, h, w[, c]), ordered as `raw` orders them, in the axes and the place of another file's volume.

    Without one that is NIfTI the axes are those of the body, with this spacing (d, h, w) in mm.
    """
    nibabel = importlib.import_module("nibabel")
    values = np.moveaxis(values, (0, 1, 2), (2, 1, 0))
    if image is None or not is_volume(image):
        nibabel.save(nibabel.Nifti1Image(values, np.diag([*(spacing or (1.0,) * 3)[::-1], 1.0])), path)
        return
    like = _open(image)
    own = nibabel.io_orientation(like.affine)
    body = nibabel.orientations.axcodes2ornt(("R", "A", "S"))
    turned = nibabel.orientations.apply_orientation(values, nibabel.orientations.ornt_transform(body, own))
    nibabel.save(nibabel.Nifti1Image(np.ascontiguousarray(turned), like.affine), path)


def check_same_grid(image: Path, mask: Path) -> None:
    """Unreadable where two volumes do not lie alike in space, to a hundredth of a voxel."""
    first, second = (np.asarray(_open(path).affine) for path in (image, mask))
    step = np.abs(first[:3, :3]).max()
    if np.abs(first - second).max() > 0.01 * step:
        raise Unreadable("it lies elsewhere in space than its image: their affines differ")


def _open(path: Path) -> Any:
    """The image, its voxels still on disk."""
    try:
        check_regular(path)
        if path.stat().st_size == 0:
            raise Unreadable("it is empty")
        return importlib.import_module("nibabel").load(path, mmap=False)  # slow to import: volumes only
    except Unreadable:
        raise
    except Exception as fault:
        raise Unreadable(f"it is no NIfTI file or damaged ({type(fault).__name__})") from None


def _header(image: Any) -> Header:
    space, channels = _layout(image.shape)
    sides = np.sqrt((np.asarray(image.affine)[:3, :3] ** 2).sum(0))
    if not (np.isfinite(sides).all() and (sides > 0).all()):
        raise Unreadable("its header gives no size of voxels")
    if sides.max() > LONGEST_VOXEL * sides.min():
        raise Unreadable(f"its header gives voxels of {' x '.join(f'{side:.3g}' for side in sides)} mm")
    dtype, (slope, shift) = image.get_data_dtype(), (image.dataobj.slope, image.dataobj.inter)
    if dtype.kind not in "iuf":
        raise Unreadable("its voxels are no single numbers")
    whole = dtype.kind == "u" and dtype.itemsize <= 2 and (slope, shift) == (1, 0)
    white = (255 if dtype.itemsize == 1 else 0) if whole else -1
    turned = importlib.import_module("nibabel").io_orientation(image.affine)[:, 0]
    if np.isnan(turned).any():
        raise Unreadable("its header gives no orientation")
    order = turned.argsort()[::-1]
    return Header(tuple(space[axis] for axis in order), channels, white, tuple(float(sides[axis]) for axis in order))


def _layout(shape: tuple[int, ...]) -> tuple[tuple[int, ...], int]:
    """Three sides and the number of channels; Unreadable for slices and series."""
    if len(shape) < 3:
        raise Unreadable("it holds a slice, no volume")
    if min(shape) < 1 or math.prod(shape) > MOST_VALUES:
        raise Unreadable(f"its header says {' x '.join(map(str, shape))} voxels")
    channels = math.prod(shape[3:])
    if channels > MOST_CHANNELS:
        raise Unreadable(f"it is a series of {channels} volumes: write the one that is meant to a file of its own")
    return shape[:3], channels
