"""Weighted k-NN class scores for a whole grid of neighbourhood sizes and temperatures from one pass."""

from collections.abc import Sequence
from typing import TypeAlias, cast

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray

from autossl.proxies.checks import class_index, matrix
from autossl.proxies.dispatch import device, on_device
from autossl.proxies.neighbours import Hidden, hide, index_of, nearest, similarity_of, unit_rows

KNN_KS: tuple[int, ...] = (1, 5, 10, 20, 50, 100, 200)
KNN_TEMPERATURES: tuple[float, ...] = (0.02, 0.05, 0.07, 0.1, 0.2)

Votes: TypeAlias = NDArray[np.float32]
Grid: TypeAlias = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]  # ascending k, their places, T


def knn_votes(
    bank: ArrayLike,
    labels: ArrayLike,
    queries: ArrayLike | None = None,
    *,
    ks: Sequence[int] = KNN_KS,
    temperatures: Sequence[float] = KNN_TEMPERATURES,
    classes: int,
    groups: ArrayLike | None = None,
    query_groups: ArrayLike | None = None,
    balanced: bool = True,
) -> NDArray[np.float32]:
    """Scores every query by its k nearest neighbours in cosine similarity, for every (k, T) at once.

    The score of class c is the sum of exp(s_j / T) over the neighbours j of that class, divided by the sum over all
    classes (Wu et al. 2018, arXiv 1805.01978). With `balanced` each vote counts 1 / n_c, n_c being the class's size
    in that part of the bank which the query may see.

    bank (n, d), labels (n,) in [0, classes), queries (m, d). Without queries each bank item is scored by the others,
    those of its own group (patient) left out; without groups only the item itself is left out. With queries, bank
    items of the query's group are left out if both `groups` and `query_groups` are given. k is cut to the number of
    neighbours there are; a query that may see none scores 1 / classes everywhere. Of equal similarities the lower
    bank index comes first; similarities are float32, so ties are equal only up to their rounding.

    Returns float32 (len(ks), len(temperatures), m, classes). Extra memory per thread: 4 * 512 * 4096 bytes for the
    similarities and about 8 * 512 * (2 max(ks) + 512) bytes for the candidates; never n x m.
    """
    if on_device(bank):
        named = {"ks": ks, "temperatures": temperatures, "classes": classes, "groups": groups, "balanced": balanced}
        return cast(Votes, device().knn_votes(bank, labels, queries, query_groups=query_groups, **named))
    bank = unit_rows(matrix(bank, "bank"))
    labels = class_index(labels, classes, len(bank), "labels")
    grid = vote_grid(ks, temperatures)
    others = bank if queries is None else unit_rows(matrix(queries, "queries"))
    if others.shape[1] != bank.shape[1]:
        raise ValueError(f"queries must have the bank's {bank.shape[1]} dimensions, found {others.shape[1]}.")
    hidden = hide(len(bank), None if queries is None else len(others), groups, query_groups)
    sizes = np.bincount(labels, minlength=classes)
    votes = np.empty((len(ks), len(temperatures), len(others), classes), np.float32)

    def vote(first: int, keys: NDArray[np.int64], counts: NDArray[np.int64]) -> None:
        _vote(keys, counts, first, labels, sizes, balanced, hidden, grid, votes)

    nearest(others, bank, int(grid[0][-1]), hidden, vote)
    return votes


def vote_grid(ks: Sequence[int], temperatures: Sequence[float]) -> Grid:
    """Returns ascending k, the place of each in the output, and the temperatures."""
    sizes, heats = np.asarray(ks, np.int64), np.asarray(temperatures, np.float64)
    if sizes.ndim != 1 or heats.ndim != 1 or 0 in (sizes.size, heats.size) or sizes.min() < 1 or not heats.min() > 0:
        raise ValueError(f"ks must be positive integers and temperatures above 0, found {ks} and {temperatures}.")
    places = np.argsort(sizes, kind="stable")
    return sizes[places], places, heats


def _vote(
    keys: NDArray[np.int64],
    counts: NDArray[np.int64],
    first: int,
    labels: NDArray[np.int64],
    sizes: NDArray[np.int64],
    balanced: bool,
    hidden: Hidden,
    grid: Grid,
    votes: NDArray[np.float32],
) -> None:
    """Writes the class scores of one tile for the whole grid."""
    members, starts, owner = hidden
    for_row = _seen_sizes(first, len(keys), labels, sizes, members, starts, owner)
    weights = 1.0 / np.maximum(for_row, 1) if balanced else np.ones(for_row.shape)
    _add_votes(keys, counts, first, labels, weights, *grid, votes)


@njit(cache=True, nogil=True)
def _seen_sizes(first, rows, labels, sizes, members, starts, owner):  # type: ignore[no-untyped-def]
    """Counts for each query the bank items of each class that it may see."""
    seen = np.empty((rows, len(sizes)), np.int64)
    for row in range(rows):
        seen[row] = sizes
        group = owner[first + row]
        if group >= 0:
            for place in range(starts[group], starts[group + 1]):
                seen[row, labels[members[place]]] -= 1
    return seen


@njit(cache=True, nogil=True)
def _add_votes(keys, counts, first, labels, weights, ks, places, temperatures, votes):  # type: ignore[no-untyped-def]
    classes = weights.shape[1]
    scores = np.empty(classes)
    for row in range(keys.shape[0]):
        for heat in range(len(temperatures)):
            scores[:] = 0
            total = 0.0
            voted = 0
            for size in range(len(ks)):
                while voted < min(ks[size], counts[row]):
                    key = keys[row, voted]
                    label = labels[index_of(key)]
                    nearer = similarity_of(key) - similarity_of(
                        keys[row, 0]
                    )  # at most 0: the exponential never overflows
                    vote = np.exp(nearer / temperatures[heat]) * weights[row, label]
                    scores[label] += vote
                    total += vote
                    voted += 1
                for c in range(classes):
                    share = scores[c] / total if total > 0 else 1.0 / classes
                    votes[places[size], heat, first + row, c] = share
