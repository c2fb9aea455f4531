"""Files that hold volumes: a row for each form, headers, and voxels in a fixed orientation."""

import importlib
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autossl.data.dataset import Pixels
from autossl.data.readers import disk, metaimage, nifti, npy, nrrd, stacks
from autossl.data.readers.grids import MOST_VALUES, Grid
from autossl.data.readers.images import Header, Unreadable, check_regular
from autossl.data.readers.volumes import to_voxels

NIFTI, ANALYZE = "NIfTI", "NIfTI or Analyze"
Form = tuple[str, Callable[[Path], Grid]]
FORMS: dict[str, Form] = {
    ".nii": (NIFTI, nifti.grid),
    ".nii.gz": (NIFTI, nifti.grid),
    ".hdr": (ANALYZE, nifti.grid),
    ".img": (ANALYZE, nifti.grid),
    ".nrrd": ("NRRD", nrrd.grid),
    ".nhdr": ("NRRD", nrrd.grid),
    ".mha": ("MetaImage", metaimage.grid),
    ".mhd": ("MetaImage", metaimage.grid),
}
MOST_CHANNELS = 4
LONGEST_VOXEL = 100.0  # longest over shortest side of a voxel; thick slices stay below 30


def is_volume(path: Path) -> bool:
    """Whether a file is a volume by its name, an array by its head."""
    return _form(path) is not None


def stem(path: Path) -> str:
    """The name of an image or volume file without what tells its form."""
    name = disk.parted(path)[0].name
    return name[: -len(suffix)] if (suffix := _suffix(path)) else Path(name).stem


def without_halves(paths: list[Path]) -> list[Path]:
    """Files without those of voxels whose header is a file of its own, and is the volume: .img beside .hdr."""
    headers = {path.with_suffix("") for path in paths if path.suffix.lower() == ".hdr"}
    return [path for path in paths if path.suffix.lower() != ".img" or path.with_suffix("") not in headers]


def look(path: Path) -> Header | None:
    """The header of a volume file, its axes as `raw` orders them; None where it cannot be read."""
    try:
        return _header(*_open(path))
    except Exception:  # whatever is wrong with it is said where it is decoded
        return None


def decode(path: Path, window: str) -> Pixels:
    """A volume file as (d, h, w, c), uint8 or uint16; Unreadable where that fails."""
    return to_voxels(raw(path), window, "it")[0]


def raw(path: Path) -> NDArray[Any]:
    """The values of a volume file as (d, h, w, c), d towards the head, h to the front, w to the right.

    Axes are permuted and turned to the nearest ones of the body, nothing is interpolated. Unreadable where it is
    damaged, holds no single volume, or values that are not finite.
    """
    grid, at = _open(path)
    try:
        header = _header(grid, at)
        values = grid.values(at).reshape(*grid.shape[:3], header.channels)
        orientations = importlib.import_module("nibabel").orientations
        values = orientations.apply_orientation(values, orientations.io_orientation(grid.affine))
    except Unreadable:
        raise
    except Exception as fault:  # as for images: what damage makes a reader raise knows no bounds
        raise Unreadable(f"it is damaged ({type(fault).__name__})") from None
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise Unreadable("it holds voxels that are NaN or infinite")
    return np.asarray(values.transpose(2, 1, 0, 3))


def write_like(values: NDArray[Any], image: Path | None, spacing: tuple[float, ...], path: Path) -> None:
    """Write values (d, h, w[, c]), ordered as `raw` orders them, as NIfTI in the axes and the place of another volume.

    Without one that is a volume file the axes are those of the body, with this spacing (d, h, w) in mm.
    """
    nibabel = importlib.import_module("nibabel")
    values = np.moveaxis(values, (0, 1, 2), (2, 1, 0))
    if image is None or not is_volume(image):
        nibabel.save(nibabel.Nifti1Image(values, np.diag([*(spacing or (1.0,) * 3)[::-1], 1.0])), path)
        return
    affine = _open(image)[0].affine
    own = nibabel.io_orientation(affine)
    body = nibabel.orientations.axcodes2ornt(("R", "A", "S"))
    turned = nibabel.orientations.apply_orientation(values, nibabel.orientations.ornt_transform(body, own))
    nibabel.save(nibabel.Nifti1Image(np.ascontiguousarray(turned), affine), path)


def check_same_grid(image: Path, mask: Path) -> None:
    """Unreadable where two volumes do not lie alike in space, to a hundredth of a voxel."""
    first, second = (_open(path)[0] for path in (image, mask))
    if first.placed != second.placed:
        raise Unreadable("of it and its image only one says how it lies in space: save both in one form")
    step = np.abs(first.affine[:3, :3]).max()
    if np.abs(first.affine - second.affine).max() > 0.01 * step:
        raise Unreadable("it lies elsewhere in space than its image: their affines differ")


def _suffix(path: Path) -> str:
    """What tells the form of a volume file; "" for other files."""
    name = path.name.lower()
    return next((suffix for suffix in sorted(FORMS, key=len, reverse=True) if name.endswith(suffix)), "")


def _form(path: Path) -> Form | None:
    """The row of a volume file; None for other files."""
    if stacks.is_stack(path):
        return "TIFF", stacks.grid
    if npy.is_array(path):
        return ("array", npy.grid) if npy.is_volume(path) else None
    return FORMS.get(_suffix(disk.parted(path)[0]))


def _open(path: Path) -> tuple[Grid, tuple[int, ...]]:
    """The volume, its voxels still on disk, and the places of it that are meant on the axes behind space."""
    file, part = disk.parted(path)
    form = _form(path)
    assert form is not None
    word, grid = form
    try:
        check_regular(file)
        with disk.opened(file) as content:
            if not content.read(1):
                raise Unreadable("it is empty")
        found = grid(file)
    except Unreadable:
        raise
    except Exception as fault:
        raise Unreadable(f"it is no {word} file or damaged ({type(fault).__name__})") from None
    return found, _chosen(found.shape, "" if part == stacks.STACK else part)


def _chosen(shape: tuple[int, ...], part: str) -> tuple[int, ...]:
    """Places on the axes behind space, of "3" or "3,0"; Unreadable where there is no such place."""
    if not part:
        return ()
    try:
        at = tuple(int(place) for place in part.split(","))
    except ValueError:
        raise Unreadable(f"numbers were wanted after {disk.INSIDE}: which of its volumes is meant, from 0") from None
    if len(at) > len(shape) - 3 or any(not 0 <= place < side for place, side in zip(at, shape[3:], strict=False)):
        there = " x ".join(map(str, shape[3:])) or "one"
        raise Unreadable(f"it holds {there} volumes, and number {','.join(map(str, at))} was wanted, counted from 0")
    return at


def _header(grid: Grid, at: tuple[int, ...]) -> Header:
    space, channels = _layout(grid.shape, at)
    sides = np.sqrt((grid.affine[:3, :3] ** 2).sum(0))
    if not (np.isfinite(sides).all() and (sides > 0).all()):
        raise Unreadable("its header gives no size of voxels")
    if sides.max() > LONGEST_VOXEL * sides.min():
        raise Unreadable(f"its header gives voxels of {' x '.join(f'{side:.3g}' for side in sides)} mm")
    if grid.dtype.kind not in "iuf":
        raise Unreadable("its voxels are no single numbers")
    whole = grid.dtype.kind == "u" and grid.dtype.itemsize <= 2 and grid.plain
    white = (255 if grid.dtype.itemsize == 1 else 0) if whole else -1
    turned = importlib.import_module("nibabel").io_orientation(grid.affine)[:, 0]
    if np.isnan(turned).any():
        raise Unreadable("its header gives no orientation")
    order = turned.argsort()[::-1]
    spacing = tuple(float(sides[axis]) for axis in order)
    return Header(tuple(space[axis] for axis in order), channels, white, spacing, sided=grid.sided)


def _layout(shape: tuple[int, ...], at: tuple[int, ...]) -> tuple[tuple[int, ...], int]:
    """Three sides and the number of channels; Unreadable for slices and series."""
    if len(shape) < 3:
        raise Unreadable("it holds a slice, no volume")
    rest = shape[3 + len(at) :]
    if min(shape) < 1 or math.prod((*shape[:3], *rest)) > MOST_VALUES:
        raise Unreadable(f"its header says {' x '.join(map(str, shape))} voxels")
    channels = math.prod(rest)
    if channels > MOST_CHANNELS:
        last = shape[3 + len(at)] - 1
        raise Unreadable(
            f"it is a series of {channels} volumes: choose one by {disk.INSIDE}0 to {disk.INSIDE}{last} behind its name"
        )
    return shape[:3], channels
