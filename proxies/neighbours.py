"""The nearest neighbours of many queries in cosine similarity: one product by tiles, selected while it is in cache."""

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray

from autossl.proxies.checks import group_index
from autossl.proxies.tiles import run_tiles, spans

# A tile of similarities is at most 512 x 4096 float32 = 8 MB per thread, whatever the number of samples.
TILE_ROWS, TILE_COLUMNS = 512, 4096

Hidden: TypeAlias = tuple[
    NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]
]  # bank by group, starts, query's group
Consume: TypeAlias = Callable[[int, NDArray[np.int64], NDArray[np.int64]], None]  # first row, keys, counts


def nearest(queries: NDArray[np.float32], bank: NDArray[np.float32], k: int, hidden: Hidden, consume: Consume) -> None:
    """Finds the k nearest of the bank (n, d) for each query (m, d), unit rows both, and hands them over by tiles.

    `hidden` (see `hide`) says what each query may not see. `consume(first, keys, counts)` is called for each tile of
    queries, from several threads: row i of `keys` holds `counts[i]` neighbours of query `first + i`, nearest first,
    each packed into one integer: `index_of` and `similarity_of` unpack it. Of equal similarities the lower bank index
    comes first. Memory per thread: 4 * 512 * 4096 bytes for similarities, 8 * 512 * (2 k + 512) for candidates.
    """

    def tile(start: int, stop: int) -> None:
        consume(start, *_nearest(queries[start:stop], bank, k, start, hidden))

    run_tiles(tile, spans(len(queries), TILE_ROWS))


def unit_rows(z: NDArray[np.float32]) -> NDArray[np.float32]:
    """Scales rows to length 1; a row of zeros stays one. Dividing by the largest entry first avoids overflow."""
    scaled = np.empty_like(z)
    for start, stop in spans(len(z), TILE_COLUMNS):
        rows, out = z[start:stop], scaled[start:stop]
        largest = np.maximum(rows.max(axis=1, keepdims=True), -rows.min(axis=1, keepdims=True))
        np.divide(rows, np.maximum(largest, np.finfo(np.float32).tiny), out=out)
        out /= np.maximum(np.linalg.norm(out, axis=1, keepdims=True), np.float32(1e-12))
    return scaled


def hide(rows: int, queries: int | None, groups: ArrayLike | None, query_groups: ArrayLike | None) -> Hidden:
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
                    floor = similarity_of(keys[row, :k].min())
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
def index_of(key):  # type: ignore[no-untyped-def]
    """The bank index of a neighbour."""
    return np.int64(0xFFFFFFFF) - (key & np.int64(0xFFFFFFFF))


@njit(cache=True, nogil=True)
def similarity_of(key):  # type: ignore[no-untyped-def]
    """The similarity of a neighbour."""
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
