"""Moments of embeddings on a device: sums there in float64, and what has d x d or fewer entries in memory."""

from typing import Any, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from autossl.proxies.checks import class_index
from autossl.proxies.collapse import Collapse, _reason
from autossl.proxies.device.arrays import Rows, StandIn, beside, rows_of, unit_rows
from autossl.proxies.device.libraries import Array
from autossl.proxies.moments import Moments
from autossl.proxies.moments import moments as in_memory
from autossl.proxies.probe import class_weights
from autossl.proxies.ridge import _varies
from autossl.proxies.tiles import spans

TILE = 16_384  # rows at a time: 16,384 x d float64


def moments(z: Any, y: ArrayLike | None = None, classes: int | None = None) -> Moments:
    """`proxies.moments.moments` of z (n, d) on a device: `rows` stay there, all other parts are in memory.

    Where n < d the rows are smaller than what goes to memory for the eigenproblem anyway, and all is done there.
    n d^2 operations in float64: penalties far below the smallest eigenvalue that float32 resolves are of use (on
    devices with slow float64, some 1/64 of float32, this is what takes time). Memory: 8 * 16,384 d + 16 d^2 bytes.
    """
    rows = rows_of(z)
    if len(rows) < rows.shape[1]:
        return in_memory(rows.in_memory, y, classes)
    count = classes or (1 if y is None else 1 + int(np.max(np.asarray(y), initial=0)))
    labels = np.zeros(len(rows), np.int64) if y is None else class_index(y, count, len(rows))
    sizes, weights = np.bincount(labels, minlength=count), class_weights(labels, count)
    dimensions = rows.shape[1]
    scatter, balanced = np.zeros((dimensions,) * 2), np.zeros((dimensions,) * 2)
    sums, fourth = np.zeros((count, dimensions)), 0.0
    with rows.library.current():
        mean = column_sums(rows, lambda tile: tile) / len(rows)
        for c in np.flatnonzero(sizes):
            index = np.flatnonzero(labels == c)
            gram, sums[c], quads = _of_class(rows, index, mean)
            scatter += gram
            balanced += weights[index[0]] * gram
            fourth += quads
    return Moments(cast(NDArray[np.float32], rows), dimensions, labels, sizes, mean, sums, scatter, balanced, fourth)


def _of_class(
    rows: Rows, index: NDArray[np.int64], mean: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], float]:
    """Gram matrix, sum and sum of fourth powers of lengths of centred rows."""
    library, centre, places = rows.library, rows.library.upload(mean), rows.library.upload(index)
    gram = library.zeros((len(mean), len(mean)), "float64")
    total, fourth = np.zeros(len(mean)), 0.0
    for start, stop in spans(len(index), TILE):
        tile = library.cast(rows.data[places[start:stop]], "float64") - centre
        gram += tile.T @ tile
        total += library.download(tile.sum(0))
        fourth += float((((tile**2).sum(1)) ** 2).sum())
    return library.download(gram), total, fourth


def column_sums(rows: Rows, of: Any) -> NDArray[np.float64]:
    """Sums over rows of a function of float64 tiles."""
    total = np.zeros(rows.shape[1])
    for start, stop in spans(len(rows), TILE):
        total += rows.library.download(of(rows.library.cast(rows.data[start:stop], "float64")).sum(0))
    return total


def standardise(z: Any, reference: Any = None) -> Any:
    """`proxies.standardise` of z (n, d) on a device; returns an array of the same library there."""
    rows = rows_of(z)
    base = rows if reference is None else beside(rows, reference, "reference")
    library = rows.library
    with library.current():
        mean = column_sums(base, lambda tile: tile) / len(base)
        centre = library.upload(mean)
        spread = np.sqrt(column_sums(base, lambda tile: (tile - centre) ** 2) / len(base))
        varies = _varies(spread, mean)
        scale = library.upload(np.where(varies, 1 / np.where(varies, spread, 1), 0))
        scaled = library.empty(rows.shape, "float32")
        for start, stop in spans(len(rows), TILE):
            tile = (library.cast(rows.data[start:stop], "float64") - centre) * scale
            scaled[start:stop] = library.cast(tile, "float32")
    return Rows(library, scaled) if isinstance(z, Rows) else handed_back(z, scaled)


def handed_back(like: Any, array: Array) -> Any:
    """An array of the library in the form in which another one came."""
    return StandIn(array) if isinstance(like, StandIn) else array


def collapse_of(rows: Rows, participation: float) -> Collapse:
    """`proxies.collapse.collapse_of` of finite rows on a device. Memory: one copy of the rows there."""
    n, dimensions = rows.shape
    library = rows.library
    with library.current():
        unit = unit_rows(rows)
        mean = column_sums(unit, lambda tile: tile) / n
        centre = library.upload(mean)
        spread = np.sqrt(column_sums(unit, lambda tile: (tile - centre) ** 2) / n)
        middle = library.upload((column_sums(rows, lambda tile: tile) / n).astype(np.float32))
        centred = unit_rows(Rows(library, rows.data - middle))
        total = column_sums(centred, lambda tile: tile)
        lengths = column_sums(centred, lambda tile: tile**2).sum()
    ratio = float(spread.mean() * np.sqrt(dimensions))
    cosine = float((total @ total - lengths) / (n * (n - 1))) if n > 1 else 0.0
    reason = _reason(ratio, participation, cosine, dimensions)
    return Collapse(ratio, participation, cosine, bool(reason), reason)
