"""Pages of a TIFF as the slices of a volume, where `::stack` behind its name says so."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autossl.data.readers import disk, pages
from autossl.data.readers.forms import FORMATS, Unreadable
from autossl.data.readers.grids import Grid
from autossl.data.readers.images import decode, image_file, look

STACK = "stack"
SUFFIXES = (".tif", ".tiff")


def is_stack(path: Path) -> bool:
    """Whether a path names the pages of a TIFF as a volume."""
    file, part = disk.parted(path)
    return part == STACK and file.suffix.lower() in SUFFIXES


def grid(path: Path) -> Grid:
    """The volume of all pages, the first at the feet, rows from front to back; voxels are taken for cubes."""
    with image_file(path) as file:
        count = pages.count(file, FORMATS)
    header = look(disk.with_part(path, "0"))
    if header is None or count < 2:
        raise Unreadable("it holds no pages that could be slices")

    def values(at: tuple[int, ...]) -> NDArray[Any]:
        found = [decode(disk.with_part(path, str(page))) for page in range(count)]
        if len({page.shape for page in found}) > 1:
            raise Unreadable("its pages have several sizes")
        return np.stack(found).transpose(2, 1, 0, 3)[(slice(None),) * 3 + at]

    sides = (*header.size[::-1], count, header.channels)
    kind = np.dtype(np.uint8 if header.white == 255 else np.uint16)
    return Grid(sides, np.eye(4), kind, True, values, placed=False)
