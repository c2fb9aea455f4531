"""Weighted k-NN class scores for a whole grid of neighbourhood sizes and temperatures from one pass."""

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray

from autossl.proxies.checks import class_index, group_index, matrix
from autossl.proxies.tiles import run_tiles, spans

KNN_KS: tuple[int, ...] = (1, 5, 10, 20, 50, 100, 200)
KNN_TEMPERATURES: tuple[float, ...] = (0.02, 0.05, 0.07, 0.1, 0.2)

# A tile of similarities is at most 512 x 4096 float32 = 8 MB per thread, whatever the number of samples.
TILE_ROWS, TILE_COLUMNS = 512, 4096

Grid: TypeAlias = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]  # ascending k, their places, T
Hidden: TypeAlias = tuple[
    NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]
]  # bank by group, starts, query's group


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
    bank = unit_rows(matrix(bank, "bank"))
    labels = class_index(labels, classes, len(bank), "labels")
    grid = _grid(ks, temperatures)
    others = bank if queries is None else unit_rows(matrix(queries, "queries"))
    if others.shape[1] != bank.shape[1]:
        raise ValueError(f"queries must have the bank's {bank.shape[1]} dimensions, found {others.shape[1]}.")
    hidden = _hidden(len(bank), None if queries is None else len(others), groups, query_groups)
    sizes = np.bincount(labels, minlength=classes)
    votes = np.empty((len(ks), len(temperatures), len(others), classes), np.float32)

    def tile(start: int, stop: int) -> None:
        keys, counts = _nearest(others[start:stop], bank, int(grid[0][-1]), start, hidden)
        _vote(keys, counts, start, labels, sizes, balanced, hidden, grid, votes)

    run_tiles(tile, spans(len(others), TILE_ROWS))
    return votes


def unit_rows(z: NDArray[np.float32]) -> NDArray[np.float32]:
    """Scales rows to length 1; a row of zeros stays one. Dividing by the largest entry first avoids overflow."""
    largest = np.maximum(np.abs(z).max(axis=1, keepdims=True), np.finfo(np.float32).tiny)
    scaled: NDArray[np.float32] = z / largest
    length: NDArray[np.float32] = np.linalg.norm(scaled, axis=1, keepdims=True)
    scaled /= np.maximum(length, np.float32(1e-12))
    return scaled


def _grid(ks: Sequence[int], temperatures: Sequence[float]) -> Grid:
    """Returns ascending k, the place of each in the output, and the temperatures."""
    sizes, heats = np.asarray(ks, np.int64), np.asarray(temperatures, np.float64)
    if sizes.ndim != 1 or heats.ndim != 1 or 0 in (sizes.size, heats.size) or sizes.min() < 1 or not heats.min() > 0:
        raise ValueError(f"ks must be positive integers and temperatures above 0, found {ks} and {temperatures}.")
    places = np.argsort(sizes, kind="stable")
    return sizes[places], places, heats


def _hidden(rows: int, queries: int | None, groups: ArrayLike | None, query_groups: ArrayLike | None) -> Hidden:
    """Returns what each query may not see: bank indices by group, where each group starts, the query's group or -1."""
    if queries is None:
        if query_groups is not None:
            raise ValueError("query_groups were given without queries; leave one out with groups alone.")
        bank_of = owner = group_index(groups, rows)
    elif (groups is None) != (query_groups is None):
        raise ValueError("groups and query_groups must both be given, or neither, found one of them.")
    elif groups is None or query_groups is None:
        bank_of, owner = np.arange(rows), np.full(queries, -1)
    else:
        for ids, count in ((groups, rows), (query_groups, queries)):
            group_index(ids, count)  # refuses a wrong length before the two are joined
        both = group_index(np.concatenate([np.asarray(groups), np.asarray(query_groups)]), rows + queries)
        bank_of, owner = both[:rows], both[rows:]
    starts = np.zeros(max(bank_of.max(), owner.max()) + 2, np.int64)
    np.cumsum(np.bincount(bank_of, minlength=len(starts) - 1), out=starts[1:])
    return np.argsort(bank_of, kind="stable"), starts, owner


def _nearest(
    rows: NDArray[np.float32], bank: NDArray[np.float32], k: int, first: int, hidden: Hidden
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Returns the sorted keys (rows, capacity) of each row's k nearest, and how many of them there are."""
    k = min(k, len(bank))
    keys = np.empty((len(rows), 2 * k + 512), np.int64)
    counts = np.zeros(len(rows), np.int64)
    floors = np.full(len(rows), -np.inf, np.float32)
    for start, stop in spans(len(bank), TILE_COLUMNS):
        similarities = rows @ bank[start:stop].T
        _hide(similarities, first, start, *hidden)
        _scan(similarities, start, k, keys, counts, floors)
    _finish(keys, counts, k)
    return keys, counts


@njit(cache=True, nogil=True)
def _hide(similarities, first, offset, members, starts, owner):  # type: ignore[no-untyped-def]
    """Sets the similarity to bank items of the query's own group to minus infinity."""
    width = similarities.shape[1]
    for row in range(similarities.shape[0]):
        group = owner[first + row]
        if group < 0:
            continue
        own = members[starts[group] : starts[group + 1]]
        for place in range(np.searchsorted(own, offset), len(own)):
            if own[place] >= offset + width:
                break
            similarities[row, own[place] - offset] = -np.inf


@njit(cache=True, nogil=True)
def _scan(similarities, offset, k, keys, counts, floors):  # type: ignore[no-untyped-def]
    """Adds to each row's candidates what exceeds its floor, the k-th best similarity when it was last cut back.

    Columns come in ascending order, so an equal similarity further on is never among the k best.
    """
    capacity = keys.shape[1]
    for row in range(similarities.shape[0]):
        floor = floors[row]
        count = counts[row]
        for column in range(similarities.shape[1]):
            value = similarities[row, column]
            if value > floor:
                keys[row, count] = _key(value, offset + column)
                count += 1
                if count == capacity:
                    _partition(keys[row], count, k)
                    count = k
                    floor = _similarity(keys[row, :k].min())
        floors[row] = floor
        counts[row] = count


@njit(cache=True, nogil=True)
def _key(value, index):  # type: ignore[no-untyped-def]
    """Packs a similarity and an index into one integer that sorts by similarity, then by lower index."""
    bits = np.int64(np.float32(value + 0.0).view(np.int32))  # + 0 makes -0 and 0 equal
    if bits < 0:
        bits ^= np.int64(0x7FFFFFFF)
    return (bits << np.int64(32)) | (np.int64(0xFFFFFFFF) - index)


@njit(cache=True, nogil=True)
def _similarity(key):  # type: ignore[no-untyped-def]
    bits = key >> np.int64(32)
    if bits < 0:
        bits ^= np.int64(0x7FFFFFFF)
    return np.int32(bits).view(np.float32)


@njit(cache=True, nogil=True)
def _partition(keys, count, k):  # type: ignore[no-untyped-def]
    """Moves the k largest of the first `count` keys to the front (Hoare's selection, median of three)."""
    low, high = 0, count - 1
    while low < high:
        a, b, c = keys[low], keys[(low + high) // 2], keys[high]
        pivot = max(min(a, b), min(max(a, b), c))
        left, right = low, high
        while left <= right:
            while keys[left] > pivot:
                left += 1
            while keys[right] < pivot:
                right -= 1
            if left <= right:
                keys[left], keys[right] = keys[right], keys[left]
                left += 1
                right -= 1
        if k - 1 <= right:
            high = right
        elif k - 1 >= left:
            low = left
        else:
            return


@njit(cache=True, nogil=True)
def _finish(keys, counts, k):  # type: ignore[no-untyped-def]
    """Leaves each row's k best keys in front, best first."""
    for row in range(keys.shape[0]):
        if counts[row] > k:
            _partition(keys[row], counts[row], k)
            counts[row] = k
        best = np.sort(keys[row, : counts[row]])
        keys[row, : counts[row]] = best[::-1]


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
                    label = labels[np.int64(0xFFFFFFFF) - (key & np.int64(0xFFFFFFFF))]
                    nearer = _similarity(key) - _similarity(keys[row, 0])  # at most 0: the exponential never overflows
                    vote = np.exp(nearer / temperatures[heat]) * weights[row, label]
                    scores[label] += vote
                    total += vote
                    voted += 1
                for c in range(classes):
                    share = scores[c] / total if total > 0 else 1.0 / classes
                    votes[places[size], heat, first + row, c] = share
