"""Intrinsic dimension of embeddings: how many directions there are about each sample, without labels."""

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray

from autossl.proxies.checks import matrix
from autossl.proxies.tiles import run_tiles, spans

Array = NDArray[np.float64]

TILE_ROWS, TILE_COLUMNS = 512, 2048  # a tile of products is at most 8 MB of float64 per thread
SMALLEST = 8  # rows of which a tree is measured at least
SIZES, DRAWS = 6, 8  # numbers of rows, and random subsets of each, to which the growth of the tree is fitted


def two_nn(z: ArrayLike, discard: float = 0.1, *, limit: int = 5000, seed: int = 0) -> float:
    """Intrinsic dimension from the ratio of the distances to the two nearest neighbours (TWO-NN; Facco et al. 2017).

    Scientific Reports 7, 12140 (arXiv 1803.06992). Where z (n, d) lies about each row like a sample of constant
    density in D dimensions, the ratio mu >= 1 of the two Euclidean distances has P(mu <= x) = 1 - x^-D. D is the slope
    of the line through the origin fitted to -log(1 - i / n) against log mu, i being the place of mu in ascending
    order, without the share `discard` of the largest ratios (at least the last, whose i / n is 1). Above 0; NaN
    with fewer than 3 different rows, fewer than 2 ratios to fit or all ratios 1 (a lattice).

    Rows that are equal count once: a copy at distance 0 says nothing about dimension, and its ratio would be infinite
    (DADApy keeps copies unless they are removed first; a copy of one row in seventy can move the result by a fifth).
    Whether high or low is better is contested: CLID (Lu et al. 2022) takes it for expressiveness, IdEst (arXiv
    2606.03338) finds that low goes with accuracy; it shows, it does not rank. It is biased downwards from about 5
    dimensions (1000 rows of a cube of 8 give 7, 5000 Gaussian rows of 512 give 129), more so with few rows, and depends
    on the scale that n rows resolve: compare at equal n. Noise as large as the nearest distances raises it to its own.

    At most `limit` rows, drawn from `seed`: n^2 d products in float64 by tiles, so that distances are good to 1e-7 of
    the spread of z, and those to the two rows found are taken from differences. Never n x n. The standard error is
    about D / sqrt(n). ValueError unless discard is in [0, 1).
    """
    if not 0 <= discard < 1:
        raise ValueError(f"discard must lie in [0, 1), found {discard}.")
    rows = _different_rows(z, limit, seed)
    if len(rows) < 3:
        return float("nan")
    nearer, farther = _two_distances(rows)
    x = np.sort(np.log(farther / nearer))
    kept = min(int(len(x) * (1 - discard)), len(x) - 1)
    x, y = x[:kept], -np.log1p(-np.arange(1, kept + 1) / len(x))
    power = float(x @ x)
    return float(x @ y) / power if kept > 1 and power > 0 else float("nan")


def mst_dimension(z: ArrayLike, limit: int = 2000, seed: int = 0) -> float:
    """Intrinsic dimension from how the length of the minimum spanning tree grows with the number of rows.

    The length for n rows drawn in D dimensions grows as n^((D - 1) / D) (Steele 1988; Costa and Hero 2006; IdEst, arXiv
    2606.03338), so that D = 1 / (1 - slope) of log length against log n. Trees of Euclidean distances are measured for
    6 numbers of rows from n / 8 to n, in even steps of the logarithm, 8 random subsets of each from `seed`, and the
    line is fitted to their mean logarithms; IdEst fits all sizes in even steps and one subset of each. Above 0; rows
    that are equal count once; NaN with fewer than 16 different rows or where the tree grows as fast as n.

    IdEst reports that low goes with high linear-probe accuracy across models (Spearman -0.8). Biased downwards from
    about 5 dimensions, as most rows lie on the border of the sample then; compare at equal n. A few tight groups far
    apart look like few dimensions, since the tree's length is that between the groups.

    At most `limit` rows, drawn from `seed`: limit^2 d products and some 30 limit^2 comparisons; the distances of these
    rows are held at once, 8 limit^2 bytes (32 MB), and are good to 1e-7 of the spread of z.
    """
    if limit < 2 * SMALLEST:
        raise ValueError(f"limit must be at least {2 * SMALLEST}, found {limit}.")
    rows = _different_rows(z, limit, seed)
    if len(rows) < 2 * SMALLEST:
        return float("nan")
    distances = _distances(rows)
    sizes = np.unique(np.geomspace(max(SMALLEST, len(rows) / 8), len(rows), SIZES).astype(np.int64))
    rng = np.random.default_rng([seed, len(rows)])
    orders = [rng.permutation(len(rows)) for _ in range(DRAWS)]
    lengths = np.array([[_tree_length(distances, order[:size]) for order in orders] for size in sizes])
    heights = np.log(np.maximum(lengths, 1e-300)).mean(axis=1)
    slope = float(np.polyfit(np.log(sizes), heights, 1)[0])
    return 1 / (1 - slope) if slope < 1 else float("nan")


def _different_rows(z: ArrayLike, limit: int, seed: int) -> Array:
    """Returns at most `limit` rows of z (n, d), those that are equal once, in float64."""
    rows = matrix(z)
    if limit < 3:
        raise ValueError(f"limit must be at least 3, found {limit}.")
    if len(rows) > limit:
        rows = rows[np.sort(np.random.default_rng(seed).permutation(len(rows))[:limit])]
    keys = (rows + np.float32(0)).view(f"V{rows.shape[1] * rows.itemsize}")  # + 0 makes -0 and 0 equal
    return rows[np.sort(np.unique(keys.ravel(), return_index=True)[1])].astype(np.float64)


def _two_distances(rows: Array) -> tuple[Array, Array]:
    """Returns the distances (n,) from each row (n, d) to the nearest other row and to the next."""
    centred = rows - rows.mean(axis=0)  # or products of long rows would lose the digits of short distances
    halves = np.einsum("ij,ij->i", centred, centred) / 2
    found = np.empty((len(rows), 2), np.int64)

    def tile(start: int, stop: int) -> None:
        best = np.full((stop - start, 2), -np.inf)
        for left, right in spans(len(rows), TILE_COLUMNS):
            products = centred[start:stop] @ centred[left:right].T
            _two_nearest(products, halves[left:right], start, left, best, found[start:stop])

    run_tiles(tile, spans(len(rows), TILE_ROWS))
    both = np.empty((len(rows), 2))
    for start, stop in spans(len(rows), TILE_ROWS):
        gaps = rows[found[start:stop]] - rows[start:stop, None]
        both[start:stop] = np.sqrt(np.einsum("ijk,ijk->ij", gaps, gaps))
    both.sort(axis=1)
    return both[:, 0], both[:, 1]


@njit(cache=True, nogil=True)
def _two_nearest(products, halves, first, offset, best, found):  # type: ignore[no-untyped-def]
    """Updates the two largest of x.y - |y|^2 / 2, which falls as the distance grows, and where they are."""
    for row in range(products.shape[0]):
        one, two = best[row, 0], best[row, 1]
        for column in range(products.shape[1]):
            value = products[row, column] - halves[column]
            if value > two and first + row != offset + column:
                if value > one:
                    two, found[row, 1] = one, found[row, 0]
                    one, found[row, 0] = value, offset + column
                else:
                    two, found[row, 1] = value, offset + column
        best[row, 0], best[row, 1] = one, two


def _distances(rows: Array) -> Array:
    """Returns all distances (n, n) between few rows."""
    centred = rows - rows.mean(axis=0)
    squares = np.einsum("ij,ij->i", centred, centred)
    table: Array = centred @ centred.T
    table *= -2
    table += squares
    table += squares[:, None]
    np.maximum(table, 0, out=table)
    np.sqrt(table, out=table)
    return table


@njit(cache=True, nogil=True)
def _tree_length(distances, members):  # type: ignore[no-untyped-def]
    """Length of the minimum spanning tree of these rows (Prim 1957)."""
    size = len(members)
    left = members[1:].copy()
    nearest = np.empty(size - 1)
    for place in range(size - 1):
        nearest[place] = distances[members[0], left[place]]
    total = 0.0
    for count in range(size - 1, 0, -1):
        best = 0
        for place in range(1, count):
            if nearest[place] < nearest[best]:
                best = place
        total += nearest[best]
        added = left[best]
        left[best], nearest[best] = left[count - 1], nearest[count - 1]
        for place in range(count - 1):
            nearest[place] = min(nearest[place], distances[added, left[place]])
    return total
