"""Targets: images that say what others should have been, found beside them."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autossl.data.readers import volume_files
from autossl.data.readers.disk import is_file
from autossl.data.readers.images import Unreadable, decode
from autossl.data.readers.masks import Named
from autossl.data.truth import Raw

WORD = r"input|target|noisy|clean|lr|hr|low|high|gt|ground_?truth|ref|reference|degraded|full|x\d"
PAIRED = Named(
    "target",
    ("input", "noisy", "lr", "low", "degraded", "source", "undersampled", "corrupted", "quarter", "image", "img"),
    ("target", "clean", "hr", "high", "gt", "ground", "full", "reference", "ref", "original"),
    re.compile(rf"[-_. ](?:{WORD})$|^(?:{WORD})[-_. ]", re.IGNORECASE),
    "input and target",
)


def reader(names: Sequence[str], root: Path | None, images: Sequence[Path]) -> Raw:
    """What reads the target of a row, its values as they stand: the file of this name; ValueError where that fails."""

    def read(row: int) -> NDArray[Any]:
        path = (root or Path()) / names[row]
        if not is_file(path):
            raise Unreadable("there is no such file")
        volume = volume_files.is_volume(path)
        if volume != volume_files.is_volume(images[row]):
            raise Unreadable("of it and its image one is a volume")
        if volume:
            volume_files.check_same_grid(images[row], path)
        return _varied(volume_files.raw(path) if volume else decode(path))

    return read


def given(targets: NDArray[Any] | Sequence[NDArray[Any] | None]) -> Raw:
    """What reads the target of a row of those that are in memory, ([d,] h, w, c)."""
    return lambda row: _varied(np.asarray(targets[row]))


def _varied(values: NDArray[Any]) -> NDArray[Any]:
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise Unreadable("it holds values that are NaN or infinite")
    if values.size == 0 or values.min() == values.max():
        raise Unreadable("it has one value throughout")
    return values
