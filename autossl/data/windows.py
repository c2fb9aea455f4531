"""Images cut into windows of one size, at their own resolution: what must not be resized is seen in parts."""

from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache
from itertools import product

import numpy as np
from numpy.typing import NDArray

from autossl.data.dataset import Pixels, Source
from autossl.data.frame import alike
from autossl.data.store import read
from autossl.errors.printable import plural

MOST = {2: 4096, 3: 1024}  # windows of a study, where its images are fewer
EACH = 16  # windows of an image
AT_HAND = 4  # images that are kept while their windows are cut

Ints = NDArray[np.int64]


def windowed(source: Source, size: int) -> Source:
    """A source of windows of this size, where its labels want images cropped and an image has another size.

    Windows lie side by side, of large images some by lot; all of an image are of its patient. What is smaller than a
    window is mirrored at its border.
    """
    if not source.truth.cropped or (source.sizes == size).all():
        return source
    each = max(1, min(EACH, MOST[source.dims] // source.n))
    cuts = [(row, corner) for row, sides in enumerate(source.sizes) for corner in corners(sides, size, each, row)]
    image, corner = np.array([row for row, _ in cuts]), [corner for _, corner in cuts]

    @lru_cache(AT_HAND)
    def whole(row: int) -> Pixels:
        return read(source, row)

    said = f"{plural(source.n, 'image')} were cut into {plural(len(cuts), 'window')} of {size} a side, none resized"
    return replace(
        source,
        truth=source.truth.windowed(image),
        groups=source.groups[image],
        split=source.split[image],
        read=lambda row: cut(whole(int(image[row])), corner[row], size),
        sizes=np.full((len(cuts), source.dims), size),
        white=source.white[image],
        array=None,
        files=None if source.files is None else tuple(source.files[row] for row in image),
        spacing=None if source.spacing is None else source.spacing[image],
        slices=None if source.slices is None else source.slices[image],
        like=lambda row, values: cut(alike(source, int(image[row]), values), corner[row], size),
        notes=(*source.notes, said),
    )


def corners(sides: Ints, size: int, most: int, seed: int) -> Iterator[tuple[int, ...]]:
    """Where at most so many windows of an image with these sides begin: side by side, or a seeded choice of these."""
    along = [_starts(side, size) for side in sides.tolist()]
    grid = list(product(*along))
    chosen = np.sort(np.random.default_rng(seed).permutation(len(grid))[:most])
    return (grid[place] for place in chosen.tolist())


def _starts(side: int, size: int) -> list[int]:
    count = max(1, side // size)
    if count == 1:
        return [max(0, (side - size) // 2)]
    return [round(place * (side - size) / (count - 1)) for place in range(count)]


def cut(image: Pixels, corner: tuple[int, ...], size: int) -> Pixels:
    """One window ([size,] size, size, c) of an image, mirrored where that ends."""
    part = image[tuple(slice(at, at + size) for at in corner)]
    lacking = [(0, size - side) for side in part.shape[:-1]]
    return np.pad(part, (*lacking, (0, 0)), mode="symmetric") if any(more for _, more in lacking) else part
