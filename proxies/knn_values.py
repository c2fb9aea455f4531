"""Weighted k-NN predictions of values, labels or shares for a whole grid of k and temperatures from one pass."""

from collections.abc import Sequence

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray

from autossl.proxies.checks import matrix, score_matrix
from autossl.proxies.knn import KNN_KS, KNN_TEMPERATURES, vote_grid
from autossl.proxies.neighbours import hide, index_of, nearest, similarity_of, unit_rows


def knn_values(
    bank: ArrayLike,
    targets: ArrayLike,
    queries: ArrayLike | None = None,
    *,
    ks: Sequence[int] = KNN_KS,
    temperatures: Sequence[float] = KNN_TEMPERATURES,
    groups: ArrayLike | None = None,
    query_groups: ArrayLike | None = None,
) -> NDArray[np.float32]:
    """Predicts targets of every query from its k nearest neighbours in cosine similarity, for every (k, T) at once.

    A prediction is the mean of the neighbours' targets with weights exp(s_j / T), as `knn_votes` weighs its votes (Wu
    et al. 2018, arXiv 1805.01978); no class is balanced. bank (n, d), targets (n,) or (n, t): values (regression), 0
    or 1 for each label, or shares of classes (the attention of Balazevic et al. 2023, arXiv 2306.01667, cut to k).
    Predictions never leave the range of the targets.

    Queries (m, d), groups, ties and k beyond the neighbours there are: as in `knn_votes`. A query that may see none
    gets the mean of all targets, its own group's among them: with one group only this is no prediction.

    Returns float32 (len(ks), len(temperatures), m, t). Memory beside it as in `knn_votes`, never n x m; cost 2 n m d.
    It misleads where targets far from the mean are rare: means over many neighbours shrink towards the middle, which
    R2 punishes and rank correlation does not. ValueError for input that cannot be used.
    """
    rows = unit_rows(matrix(bank, "bank"))
    truth = score_matrix(targets, len(rows))
    grid = vote_grid(ks, temperatures)
    others = rows if queries is None else unit_rows(matrix(queries, "queries"))
    if others.shape[1] != rows.shape[1]:
        raise ValueError(f"queries must have the bank's {rows.shape[1]} dimensions, found {others.shape[1]}.")
    hidden = hide(len(rows), None if queries is None else len(others), groups, query_groups)
    mean = truth.mean(axis=0)
    predictions = np.empty((len(ks), len(temperatures), len(others), truth.shape[1]), np.float32)

    def average(first: int, keys: NDArray[np.int64], counts: NDArray[np.int64]) -> None:
        _average(keys, counts, first, truth, mean, *grid, predictions)

    nearest(others, rows, int(grid[0][-1]), hidden, average)
    return predictions


@njit(cache=True, nogil=True)
def _average(keys, counts, first, targets, mean, ks, places, temperatures, predictions):  # type: ignore[no-untyped-def]
    """Writes the weighted means of one tile for the whole grid, k in ascending order."""
    width = targets.shape[1]
    sums = np.empty(width)
    for row in range(keys.shape[0]):
        for heat in range(len(temperatures)):
            sums[:] = 0
            total = 0.0
            added = 0
            for size in range(len(ks)):
                while added < min(ks[size], counts[row]):
                    key = keys[row, added]
                    nearer = similarity_of(key) - similarity_of(keys[row, 0])  # at most 0: never overflows
                    weight = np.exp(nearer / temperatures[heat])
                    index = index_of(key)
                    for t in range(width):
                        sums[t] += weight * targets[index, t]
                    total += weight
                    added += 1
                for t in range(width):
                    value = sums[t] / total if total > 0 else mean[t]
                    predictions[places[size], heat, first + row, t] = value
