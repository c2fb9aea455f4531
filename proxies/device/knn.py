"""Weighted k-NN class scores of embeddings on a device: the grid of `proxies.knn` from one pass there."""

import math
from collections.abc import Sequence
from typing import Any, final

import numpy as np
from numba import int64
from numpy.typing import ArrayLike, NDArray

from autossl.proxies.checks import class_index
from autossl.proxies.device.arrays import THREADS, beside, launch, rows_of, unit_rows
from autossl.proxies.device.libraries import Array, Library
from autossl.proxies.device.selection import TILE_ROWS, Hidden, Nearest, Selector, ids
from autossl.proxies.device.target import cuda
from autossl.proxies.knn import KNN_KS, KNN_TEMPERATURES, vote_grid
from autossl.proxies.neighbours import hide
from autossl.proxies.tiles import spans


def knn_votes(
    bank: Any,
    labels: ArrayLike,
    queries: Any = None,
    *,
    ks: Sequence[int] = KNN_KS,
    temperatures: Sequence[float] = KNN_TEMPERATURES,
    classes: int,
    groups: ArrayLike | None = None,
    query_groups: ArrayLike | None = None,
    balanced: bool = True,
) -> NDArray[np.float32]:
    """`proxies.knn_votes` of a bank on a device, with the same meaning, errors and order of equal similarities.

    Labels and groups are in memory, queries there or on the device. Similarities are products in float32 as the
    library computes them: where it was told to use TF32, they have three digits. Returns float32 (len(ks),
    len(temperatures), m, classes) in memory, which is small, so that what follows need not care.

    Memory on the device: unit copies of bank and queries, what `Selector` holds, and for a tile of 2048 queries
    8 * 2048 * len(temperatures) * max(ks) bytes of weights and 4 * 2048 * len(ks) * len(temperatures) * classes of
    votes; 12 n bytes for labels and groups. Cost: 2 m n d operations and one write and read of m n similarities.
    """
    rows = rows_of(bank, "bank")
    truth = class_index(labels, classes, len(rows), "labels")
    grid = vote_grid(ks, temperatures)
    others = rows if queries is None else beside(rows, queries, "queries")
    hidden = hide(len(rows), None if queries is None else len(others), groups, query_groups)
    library = rows.library
    votes = np.empty((len(ks), len(temperatures), len(others), classes), np.float32)
    with library.current():
        unit = unit_rows(rows)
        asked = unit if queries is None else unit_rows(others)
        voter = _Voter(library, truth, classes, hidden, grid, balanced)
        selector = Selector(unit, int(grid[0][-1]), len(others))
        for start, stop in spans(len(others), TILE_ROWS):
            found = selector.nearest(asked.data[start:stop], start, voter.hidden)
            votes[:, :, start:stop] = voter.votes(found, start)
    return votes


@final
class _Voter:
    """Labels, groups and the grid on the device."""

    def __init__(
        self,
        library: Library,
        labels: NDArray[np.int64],
        classes: int,
        hidden: tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]],
        grid: tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]],
        balanced: bool,
    ) -> None:
        members, starts, owners = hidden
        groups = np.empty(len(labels), np.int64)
        groups[members] = np.repeat(np.arange(len(starts) - 1), np.diff(starts))
        self.library, self.classes, self.balanced = library, classes, balanced
        self.hidden = Hidden(library.upload(ids(groups)), library.upload(ids(owners)))
        self._labels = library.upload(ids(labels))
        self._sizes = library.upload(np.bincount(labels, minlength=classes))
        self._pairs = library.upload(np.sort(groups * classes + labels))
        self._grid = [library.upload(part) for part in grid]

    def votes(self, found: Nearest, first: int) -> NDArray[np.float32]:
        """Class scores (k, T, rows, classes) of one tile, in memory."""
        rows, k = found.similarities.shape
        sizes, _places, heats = self._grid
        weights = self.library.empty((rows, len(heats), k), "float64")
        votes = self.library.empty((len(sizes), len(heats), rows, self.classes), "float32")
        known: tuple[Array, ...] = (self._labels, self._sizes, self._pairs, self.hidden.owners)
        neighbours = (found.similarities, found.index, found.counts)
        launch(self.library, _vote, rows, *neighbours, first, *known, self.balanced, *self._grid, weights, votes)
        return self.library.download(votes)


@cuda.jit(cache=True)
def _vote(  # type: ignore[no-untyped-def]
    similarities, index, counts, first, labels, sizes, pairs, owners, balanced, ks, places, heats, weights, votes
):
    """One block a query: what each neighbour weighs at each temperature, then each class's share for each k.

    `index` is overwritten by the neighbours' labels.
    """
    row, thread = cuda.blockIdx.x, cuda.threadIdx.x
    classes, count = sizes.shape[0], counts[row]
    for place in range(thread, count, THREADS):
        label = labels[index[row, place]]
        weight = 1.0
        if balanced:
            weight /= max(_seen(sizes, pairs, owners[first + row], label, classes), 1)
        nearer = similarities[row, place] - similarities[row, 0]  # at most 0: the exponential never overflows
        for heat in range(heats.shape[0]):
            weights[row, heat, place] = math.exp(nearer / heats[heat]) * weight
        index[row, place] = label
    cuda.syncthreads()
    for share in range(thread, heats.shape[0] * classes, THREADS):
        heat, label = share // classes, share % classes
        total = 0.0
        score = 0.0
        voted = 0
        for size in range(ks.shape[0]):
            while voted < min(ks[size], count):
                weight = weights[row, heat, voted]
                total += weight
                if index[row, voted] == label:
                    score += weight
                voted += 1
            votes[places[size], heat, row, label] = score / total if total > 0 else 1.0 / classes


@cuda.jit(device=True)
def _seen(sizes, pairs, own, label, classes):  # type: ignore[no-untyped-def]
    """How many bank items of a class a query of group `own` may see; `pairs` are group * classes + class, sorted."""
    if own < 0:
        return sizes[label]
    key = int64(own) * classes + label
    return sizes[label] - (_below(pairs, key + 1) - _below(pairs, key))


@cuda.jit(device=True)
def _below(values, bound):  # type: ignore[no-untyped-def]
    """How many of ascending values are less than the bound."""
    low, high = 0, values.shape[0]
    while low < high:
        middle = (low + high) // 2
        if values[middle] < bound:
            low = middle + 1
        else:
            high = middle
    return low
