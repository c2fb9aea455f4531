"""Images cut into windows of one size, at their own resolution: what must not be resized is seen in parts."""

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import lru_cache
from itertools import product
from threading import Lock
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from autossl.data.checks import by
from autossl.data.dataset import Pixels, Source
from autossl.data.frame import alike, grain, spacing_of
from autossl.data.store import default_image_size, read
from autossl.data.truth import ALWAYS, AUTO, OUTSIDE, Raw
from autossl.errors.printable import plural

MOST = {2: 4096, 3: 1024}  # windows of a study, where its images are fewer
EACH = 16  # windows of an image, where they need not cover it
AT_HAND = 4  # images that are kept while their windows are cut
THIN = 2.0  # pixels that what is marked must be wide in whole images; else these are cut
FINER = 2.0  # times as fine must images be as whole ones in the store, or cutting them would gain little
LOOKED_AT = 8  # masks that are measured

Ints = NDArray[np.int64]
Found = TypeVar("Found")


def cut_or_whole(source: Source, windows: str, image_size: int | str) -> Source:
    """The same where it is settled whether images are cut: as asked, or where whole ones would lose what is marked."""
    if source.truth.windows != AUTO:
        return source
    if windows != AUTO:
        return replace(source, truth=source.truth.cutting(windows == ALWAYS))
    size = default_image_size(source) if image_size == "auto" else int(image_size)
    finer, wide = _resolved(source, size)
    if not (finer >= FINER and wide < THIN):
        return source
    said = (
        f"in whole images of {by([size] * source.dims)} what masks show would be {wide:.1f} pixels wide, so that they "
        "are cut into windows; --windows never keeps them whole"
    )
    return replace(source, truth=source.truth.cutting(True), notes=(*source.notes, said))


def _resolved(source: Source, size: int) -> tuple[float, float]:
    """Medians over some images: how much finer they are than in a store of this size, and how wide marks are there."""
    known = np.flatnonzero(source.truth.known & (source.sizes[:, 0] > 0))
    some = known[np.unique(np.linspace(0, len(known) - 1, LOOKED_AT).astype(int))] if len(known) else known
    finer, wide = list[float](), list[float]()
    for row in some.tolist():
        spacing = spacing_of(source, row)
        voxel = 1.0 if spacing is None else float(np.prod(spacing)) ** (1 / len(spacing))
        finer.append(float(grain(source.sizes[row], size, spacing)[0]) / voxel)
        wide.append(source.truth.width(row) / finer[-1])
    if not np.isfinite(wide).any():
        return math.nan, math.nan
    return float(np.median(finer)), float(np.nanmedian(wide))


def windowed(source: Source, size: int) -> Source:
    """A source of windows of this size, where its labels want images cropped and an image has another size.

    Windows lie side by side, of large images some by lot; where they are to cover images, they overlap. All of an
    image are of its patient. What is smaller than a window is mirrored at its border, and marked nowhere there.
    """
    truth = source.truth
    if not truth.cropped or (source.sizes == size).all():
        return source
    most = max(1, MOST[source.dims] // source.n)
    each = most if truth.covered else min(EACH, most)
    cuts = [corners(sides, size, each, row, truth.covered) for row, sides in enumerate(source.sizes)]
    image, corner = np.repeat(np.arange(source.n), [len(own) for own in cuts]), np.concatenate(cuts)
    whole = _at_hand(lambda row: read(source, row))

    def window(raw: Raw) -> Raw:
        masks = _at_hand(raw)
        return lambda row: _marked(masks(int(image[row])), source.sizes[image[row]], corner[row], size)

    said = f"{plural(source.n, 'image')} were cut into {plural(len(image), 'window')} of {size} a side, none resized"
    return replace(
        source,
        truth=truth.windowed(image, corner, window),
        groups=source.groups[image],
        split=source.split[image],
        read=lambda row: cut(whole(int(image[row])), corner[row], size),
        sizes=np.full((len(image), source.dims), size),
        white=source.white[image],
        key=f"{source.key} cut",
        array=None,
        files=None if source.files is None else tuple(source.files[row] for row in image),
        spacing=None if source.spacing is None else np.ones((len(image), 3)),  # so that nothing is resized
        grains=None if source.spacing is None else source.spacing[image],
        slices=None if source.slices is None else source.slices[image],
        like=lambda row, values: cut(alike(source, int(image[row]), values), corner[row], size),
        image=image,
        notes=(*source.notes, said),
    )


def _at_hand(make: Callable[[int], Found]) -> Callable[[int], Found]:
    """The same, the last few kept: windows of an image are asked for one after the other, by several threads."""
    kept, lock = lru_cache(AT_HAND)(make), Lock()

    def found(row: int) -> Found:
        with lock:
            return kept(row)

    return found


def corners(sides: Ints, size: int, most: int, seed: int, covered: bool = False) -> Ints:
    """Where at most so many windows of an image with these sides begin (k, dims): side by side, or a seeded choice.

    As many as fit, or as few as cover the image.
    """
    along = [_starts(side, size, covered) for side in sides.tolist()]
    grid = np.array(list(product(*along)), dtype=np.int64)
    return grid[np.sort(np.random.default_rng(seed).permutation(len(grid))[:most])]


def _starts(side: int, size: int, covered: bool) -> list[int]:
    count = max(1, math.ceil(side / size) if covered else side // size)
    if count == 1:
        return [max(0, (side - size) // 2)]
    return [round(place * (side - size) / (count - 1)) for place in range(count)]


def cut(image: Pixels, corner: Ints, size: int) -> Pixels:
    """One window ([size,] size, size, c) of an image, mirrored where that ends."""
    part = image[tuple(slice(at, at + size) for at in corner.tolist())]
    lacking = [(0, size - side) for side in part.shape[:-1]]
    return np.pad(part, (*lacking, (0, 0)), mode="symmetric") if any(more for _, more in lacking) else part


def _marked(mask: NDArray[Any], sides: Ints, corner: Ints, size: int) -> NDArray[np.int64]:
    """The same window of the mask of an image with these sides, OUTSIDE where that ends; ValueError for other sides."""
    if mask.shape != tuple(sides.tolist()):
        raise ValueError(f"the mask is {by(mask.shape)}, the image {by(sides)}")
    part = mask[tuple(slice(at, at + size) for at in corner.tolist())]
    found = np.full((size,) * mask.ndim, OUTSIDE, dtype=np.int64)
    found[tuple(slice(side) for side in part.shape)] = part
    return found


def laid(parts: NDArray[Any], corners: Ints) -> NDArray[Any]:
    """Sums (k, *space) over overlapping windows (n, k, *space) of an image, each from a corner (n, dims) on.

    All of a place are divided by one number to become means, so that the largest is the largest of these.
    """
    if len(parts) == 1:
        return np.asarray(parts[0])
    found = np.zeros((parts.shape[1], *(corners.max(0) + parts.shape[2:])), np.float32)
    for part, at in zip(parts, _slices(corners, parts.shape[2:]), strict=True):
        found[(slice(None), *at)] += part
    return found


def whole(parts: NDArray[Any], corners: Ints, empty: int) -> NDArray[Any]:
    """Windows (n, *space) of an image as one; what is `empty`, or lies in none of them, is that."""
    if len(parts) == 1:
        return np.asarray(parts[0])
    found = np.full(tuple(corners.max(0) + parts.shape[1:]), empty, parts.dtype)
    for part, at in zip(parts, _slices(corners, parts.shape[1:]), strict=True):
        inside = part != empty
        found[at][inside] = part[inside]
    return found


def _slices(corners: Ints, sides: tuple[int, ...]) -> Iterator[tuple[slice, ...]]:
    for corner in corners.tolist():
        yield tuple(slice(at, at + side) for at, side in zip(corner, sides, strict=True))
