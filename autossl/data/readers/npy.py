"""Arrays in files of their own (.npy): images (h, w[, c]) and volumes (d, h, w[, c])."""

import math
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from autossl.data.readers import disk
from autossl.data.readers.grids import Grid
from autossl.data.readers.pages import Unreadable

SUFFIX = ".npy"
MOST_CHANNELS, LEAST_SIDE = 4, 8  # what tells (n, h, w, c) from (n, d, h, w)


def is_array(path: Path) -> bool:
    """Whether a file is such an array by its name."""
    return disk.parted(path)[0].suffix.lower() == SUFFIX


def is_volume(path: Path) -> bool:
    """Whether the header of an array says a volume; False where it cannot be read."""
    try:
        with disk.opened(path) as file:
            return _is_volume(_header(file)[0])
    except Exception:  # whatever is wrong with it is said where it is decoded
        return False


def shape_of(path: Path) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Height, width and channels of an image, and its type; Unreadable where the array is none."""
    with disk.opened(path) as file:
        shape, dtype = _header(file)
    if len(shape) not in (2, 3) or (len(shape) == 3 and shape[2] > MOST_CHANNELS):
        raise Unreadable(f"it is an array {shape}, no image (h, w[, c]) and no volume (d, h, w[, c])")
    return (*shape, 1)[:3], dtype


def read_values(path: Path) -> NDArray[Any]:
    """The array of a file; Unreadable for one that could run code, or promises more than is there."""
    with disk.opened(path) as file:
        _header(file)
        file.seek(0)
        return np.asarray(np.lib.format.read_array(file, allow_pickle=False))


def grid(path: Path) -> Grid:
    """A volume (d, h, w[, c]); d is taken to lead to the head, h to the front, w to the right."""
    with disk.opened(path) as file:
        shape, dtype = _header(file)
    if not _is_volume(shape):
        raise Unreadable(f"it is an array {shape}, no volume (d, h, w[, c])")

    def values(at: tuple[int, ...]) -> NDArray[Any]:
        found = read_values(path)
        return found.transpose(2, 1, 0, *range(3, found.ndim))[(slice(None),) * 3 + at]

    return Grid((*shape[2::-1], *shape[3:]), np.eye(4), dtype, True, values, placed=False)


def _is_volume(shape: tuple[int, ...]) -> bool:
    return len(shape) == 4 or (len(shape) == 3 and shape[2] > MOST_CHANNELS and min(shape) >= LEAST_SIDE)


def _header(file: IO[bytes]) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """What the head of an array says; Unreadable where that is not what follows."""
    version = np.lib.format.read_magic(file)
    reader = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = reader(file)
    if dtype.hasobject:
        raise Unreadable("it holds objects, which could run code when opened")
    start = file.tell()
    if math.prod(shape) * dtype.itemsize != file.seek(0, 2) - start:
        raise Unreadable("it does not hold as many values as its header says")
    return shape, dtype
