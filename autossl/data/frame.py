"""How labels that are images follow the images of a source into its store, and answers back to the user's geometry."""

import math
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from autossl.data.checks import allowed_failures, by
from autossl.data.dataset import Source
from autossl.data.store import write_whole
from autossl.data.truth import OUTSIDE, Frame

Ints = NDArray[np.int64]


def frame_of(source: Source, folder: Path, size: int) -> Frame:
    """That of a source whose images are brought to this size in this folder."""
    return Frame(
        folder=folder,
        space=(size,) * source.dims,
        key=f"2 {source.key} {size}",
        place=source.place,
        failures=allowed_failures(int(source.truth.known.sum())),
        naming=source.naming,
        check=partial(_check, source),
        fit=lambda row, mask: fitted(mask, size, inner(source.sizes[row], size, spacing_of(source, row))),
        write=lambda name, write: write_whole(folder / name, write),
        grain=lambda row: grain(source.sizes[row], size, spacing_of(source, row)),
        unit="pixels" if source.spacing is None or source.files is None else "mm",  # arrays do not say
    )


class Given(NamedTuple):
    """How an image or volume was before it was brought into the store."""

    sides: tuple[int, ...]
    spacing: tuple[float, ...]  # of a volume; empty for images
    file: Path | None


def frames(source: Source) -> tuple[Given, ...]:
    """Those of a source's images."""
    files = source.files or (None,) * source.n
    apart = [()] * source.n if source.spacing is None else [tuple(map(float, row)) for row in source.spacing]
    sides = [tuple(map(int, row)) for row in source.sizes]
    return tuple(Given(*each) for each in zip(sides, apart, files, strict=True))


def spacing_of(source: Source, row: int) -> NDArray[np.float64] | None:
    """The distance of a volume's voxels; None for images."""
    return None if source.spacing is None else source.spacing[row]


def _check(source: Source, row: int, mask: NDArray[Any]) -> None:
    if mask.shape != (wanted := tuple(source.sizes[row].tolist())):
        raise ValueError(f"the mask is {by(mask.shape)}, the image {by(wanted)}")


def inner(sides: Ints, size: int, spacing: NDArray[np.float64] | None = None) -> tuple[int, ...]:
    """The sides that an image or volume of these has in a square or cube of `size`, as readers bring it there."""
    extent = np.asarray(sides, np.float64) * (1.0 if spacing is None else spacing)
    return tuple(max(1, math.floor(side + 0.5)) for side in (size * (extent / extent.max())).tolist())


def grain(sides: Ints, size: int, spacing: NDArray[np.float64] | None = None) -> NDArray[np.float64]:
    """(3,) what a pixel there is of the image, or a voxel of the body in mm."""
    extent = np.asarray(sides, np.float64) * (1.0 if spacing is None else spacing)
    return np.full(3, extent.max() / size)


def box(size: int, sides: tuple[int, ...]) -> tuple[slice, ...]:
    """Where it lies there: in the middle."""
    return tuple(slice((size - side) // 2, (size - side) // 2 + side) for side in sides)


def fitted(mask: NDArray[Any], size: int, sides: tuple[int, ...]) -> NDArray[np.int32]:
    """A mask as its image is brought to the store, each pixel that of the nearest centre; OUTSIDE beyond it."""
    found = np.full((size,) * mask.ndim, OUTSIDE, dtype=np.int32)
    found[box(size, sides)] = resampled(mask, sides)
    return found


def resampled(mask: NDArray[Any], sides: tuple[int, ...]) -> NDArray[Any]:
    """A mask with other sides, each pixel that of the nearest centre."""
    for axis, side in enumerate(sides):
        places = (np.arange(side) + 0.5) * (mask.shape[axis] / side)
        mask = np.take(mask, np.minimum(places.astype(np.int64), mask.shape[axis] - 1), axis=axis)
    return mask


def inside(given: Given, size: int) -> tuple[slice, ...]:
    """Where an image lies in a square or cube of this size."""
    spacing = np.array(given.spacing) if given.spacing else None
    return box(size, inner(np.array(given.sides), size, spacing))
