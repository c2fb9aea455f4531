"""How labels that are images follow the images of a source into its store, and answers back to the user's geometry."""

import math
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from autossl.data.checks import allowed_failures, by
from autossl.data.dataset import KEPT, ROBUST, Pixels, Source
from autossl.data.readers.images import to_channels, to_pixels
from autossl.data.readers.volumes import to_voxels
from autossl.data.store import write_whole
from autossl.data.truth import OUTSIDE, SHARE, Frame
from autossl.errors import UserError

Ints = NDArray[np.int64]


def frame_of(source: Source, folder: Path, images: Pixels, scale: float) -> Frame:
    """That of a source whose images (n, *space, c), counted in `scale`, are in the store in this folder."""
    size = images.shape[1]
    return Frame(
        folder=folder,
        space=(size,) * source.dims,
        key=f"2 {source.key} {size}",
        place=source.place,
        failures=allowed_failures(int(source.truth.known.sum())),
        naming=source.naming,
        check=partial(_check, source),
        sides=source.sizes,
        carried=lambda row, points: carried(points, source.sizes[row], size),
        fit=lambda row, mask: fitted(mask, size, inner(source.sizes[row], size, spacing_of(source, row))),
        write=lambda name, write: write_whole(folder / name, write),
        shares=partial(shares, source, scale),
        image=lambda row: images[row] / scale,
        grain=partial(_grain, source, size),
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


def alike(source: Source, row: int, values: NDArray[Any]) -> Pixels:
    """Another image on the grid of that of a row, ([d,] h, w, c), its values kept as those of the image are.

    ValueError where its size, depth or channels are others.
    """
    if source.like is not None:
        return source.like(row, values)
    if (found := values.shape[:-1]) != (wanted := tuple(source.sizes[row].tolist())):
        raise ValueError(f"the target is {by(found)}, the image {by(wanted)}")
    deep = source.white[row] != 255
    try:
        if source.window == KEPT:
            pixels, white = to_pixels(values, "it", deep=deep and values.dtype != np.uint8)
        else:
            base = None if source.window != ROBUST or source.values is None else source.values(row)
            pixels, white = to_voxels(values, source.window, "it", like=base)
    except UserError as fault:
        raise ValueError(str(fault)) from None
    if white != source.white[row]:
        raise ValueError("the target has another depth than the image")
    return to_channels(pixels, source.channels) if source.dims == 2 else pixels


def shares(source: Source, scale: float, row: int, values: NDArray[Any]) -> NDArray[np.uint16]:
    """Another image on the grid of that of a row, as SHARE times what its values are to an encoder."""
    pixels = alike(source, row, values)
    whole = float(source.white[row] or scale)
    return np.asarray(np.rint(np.minimum(pixels / whole, 1) * SHARE), dtype=np.uint16)


def inner(sides: Ints, size: int, spacing: NDArray[np.float64] | None = None) -> tuple[int, ...]:
    """The sides that an image or volume of these has in a square or cube of `size`, as readers bring it there."""
    extent = np.asarray(sides, np.float64) * (1.0 if spacing is None else spacing)
    return tuple(max(1, math.floor(side + 0.5)) for side in (size * (extent / extent.max())).tolist())


def grain(sides: Ints, size: int, spacing: NDArray[np.float64] | None = None) -> NDArray[np.float64]:
    """(3,) what a pixel there is of the image, or a voxel of the body in mm."""
    extent = np.asarray(sides, np.float64) * (1.0 if spacing is None else spacing)
    return np.full(3, extent.max() / size)


def _grain(source: Source, size: int, row: int) -> NDArray[np.float64]:
    """That of an image as it is in the store; windows are as they were."""
    return grain(source.sizes[row], size, spacing_of(source, row)) if source.grains is None else source.grains[row]


def box(size: int, sides: tuple[int, ...]) -> tuple[slice, ...]:
    """Where it lies there: in the middle."""
    return tuple(slice((size - side) // 2, (size - side) // 2 + side) for side in sides)


def carried(points: NDArray[np.float64], sides: Ints, size: int, back: bool = False) -> NDArray[np.float64]:
    """Points (k, 2), x and y in pixels of an image of these sides, as shares of the square of `size`; or `back`."""
    inside = inner(sides, size)
    start = np.array([where.start for where in box(size, inside)][::-1])
    scale = (np.array(inside) / sides)[::-1]
    found: NDArray[np.float64] = (points * size - start) / scale if back else (points * scale + start) / size
    return found


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
