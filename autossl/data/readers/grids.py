"""Voxels as a file has them: their grid in space, and their bytes, read within the bounds that a header gives."""

import bz2
import math
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from autossl.data.readers import disk
from autossl.data.readers.pages import Unreadable

MOST_VALUES = 1 << 31  # a header that promises more lies, or promises what no memory holds
MOST_OF_A_HEADER = 1 << 20
PIECE = 1 << 20  # compressed bytes at a time
GZIP_OR_ZLIB = zlib.MAX_WBITS | 32
TO_BODY = np.diag([-1.0, -1.0, 1.0])  # DICOM and ITK count to the left and the back, we to the right and the front
At = tuple[int, ...]


class Grid(NamedTuple):
    """A volume as its file has it, its voxels still on disk."""

    shape: tuple[int, ...]  # three sides in space, then those of channels and times
    affine: NDArray[np.float64]  # (4, 4) from voxels to mm to the right, to the front and to the head
    dtype: np.dtype[Any]  # of what is stored
    plain: bool  # values are what is stored: no slope and no intercept
    values: Callable[[At], NDArray[Any]]  # of the three sides, and of the others without the first, which are `At`
    sided: bool = True  # whether the file says which side is the left
    placed: bool = True  # whether it says at all how axes lie in the body


def affine_of(directions: NDArray[np.float64], origin: NDArray[np.float64]) -> NDArray[np.float64]:
    """(4, 4) of directions (3, 3) in mm, a column for each axis, and the place (3,) of the first voxel."""
    found = np.eye(4)
    found[:3, :3], found[:3, 3] = directions, origin
    return found


def detached(path: Path, name: str) -> Path:
    """The file of voxels that a header names; Unreadable where it does not lie beside it."""
    if not name or Path(name).name != name or "\\" in name:
        raise Unreadable("its header names a file of voxels that does not lie beside it")
    if not disk.is_file(found := path.with_name(name)):
        raise Unreadable("the file of voxels that its header names is not there")
    return found


def read_voxels(path: Path, start: int, shape: tuple[int, ...], dtype: np.dtype[Any], packing: str) -> NDArray[Any]:
    """The values of a file from a byte on (-1: those at its end), the first axis running fastest.

    `packing` is raw, gzip (or zlib) or bzip2. Unreadable where there are fewer or more than the header says.
    """
    wanted = math.prod(shape) * dtype.itemsize
    with disk.open_file(path, "a file of voxels") as file:
        size = file.seek(0, 2)
        file.seek(size - wanted if start < 0 else start)
        if packing == "raw" and not wanted <= size - (0 if start < 0 else start):
            raise Unreadable("it holds fewer voxels than its header says")
        data = file.read(wanted) if packing == "raw" else _unpacked(file, wanted, packing)
    return np.frombuffer(data, dtype).reshape(shape, order="F")


def _unpacked(file: IO[bytes], wanted: int, packing: str) -> bytes:
    unpack: Any = bz2.BZ2Decompressor() if packing == "bzip2" else zlib.decompressobj(GZIP_OR_ZLIB)
    parts, size = list[bytes](), 0
    while size <= wanted and not unpack.eof and (piece := file.read(PIECE)):
        while size <= wanted and not unpack.eof:
            parts.append(unpack.decompress(piece, wanted + 1 - size))  # a byte more tells of more
            size += len(parts[-1])
            piece = b"" if packing == "bzip2" else unpack.unconsumed_tail
            if not piece and (packing != "bzip2" or unpack.needs_input):
                break
    if size != wanted:
        raise Unreadable(f"it holds {'more' if size > wanted else 'fewer'} voxels than its header says")
    return b"".join(parts)
