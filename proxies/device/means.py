"""The nearest class mean of embeddings on a device, with patients left out."""

import math
from typing import Any

import numpy as np
from numba import float64, int64
from numpy.typing import ArrayLike, NDArray

from autossl.proxies.checks import class_index, group_index
from autossl.proxies.device.arrays import THREADS, Rows, add_up, beside, launch, rows_of, unit_rows
from autossl.proxies.device.moments import TILE
from autossl.proxies.device.target import cuda
from autossl.proxies.tiles import spans

PAIRS = 32_768  # pairs of a group and a class at a time: 32,768 x d float32


def nearest_mean(z: Any, y: ArrayLike, groups: ArrayLike | None = None, queries: Any = None, *, classes: int) -> Rows:
    """`proxies.means.nearest_mean` of z (n, d) on a device; the cosines (m, classes) stay there.

    Queries are on the device or in memory. Memory on the device: unit copies of z and queries, and
    4 * 32,768 d bytes for means without their group. Cost n d c, and without queries one more read of the rows for
    each class that a group holds.
    """
    rows = rows_of(z)
    labels = class_index(y, classes, len(rows))
    library = rows.library
    with library.current():
        unit = unit_rows(rows)
        sums = _class_sums(unit, labels, classes)
        lengths = np.linalg.norm(sums, axis=1)
        directions = library.upload((sums / np.maximum(lengths, 1e-30)[:, None]).astype(np.float32))
        asked = unit if queries is None else unit_rows(beside(rows, queries, "queries"))
        scores = library.empty((len(asked), classes), "float32")
        library.product(asked.data, directions, scores)
        for c in np.flatnonzero(lengths < 1e-6):
            scores[:, int(c)] = -1
        if queries is None:
            _leave_own_out(unit, labels, group_index(groups, len(rows)), sums, scores)
    return Rows(library, scores)


def _class_sums(unit: Rows, labels: NDArray[np.int64], classes: int) -> NDArray[np.float64]:
    """Sums of the rows of each class, (c, d)."""
    library = unit.library
    sums = library.zeros((classes, unit.shape[1]), "float64")
    for start, stop in spans(len(unit), TILE):
        onehot = np.zeros((classes, stop - start))
        onehot[labels[start:stop], np.arange(stop - start)] = 1
        sums += library.upload(onehot) @ library.cast(unit.data[start:stop], "float64")
    return library.download(sums)


def _leave_own_out(
    unit: Rows, labels: NDArray[np.int64], owner: NDArray[np.int64], sums: NDArray[np.float64], scores: Any
) -> None:
    """Corrects each sample's scores for the classes of which a mean holds some of its own group."""
    library, n = unit.library, len(unit)
    order = np.lexsort((labels, owner))
    groups, kinds = owner[order], labels[order]
    firsts = np.flatnonzero((np.diff(groups, prepend=-1) != 0) | (np.diff(kinds, prepend=-1) != 0))
    ends = np.append(firsts[1:], n)
    begins, stops = (np.searchsorted(groups, groups[firsts], side) for side in ("left", "right"))
    pairs = library.upload(np.column_stack([firsts, ends, begins, stops, kinds[firsts]]))
    members, totals = library.upload(order), library.upload(sums)
    for start, stop in spans(len(firsts), PAIRS):
        rest = library.empty((stop - start, unit.shape[1]), "float32")
        launch(library, _without, stop - start, unit.data, members, pairs[start:stop], totals, rest, scores)


@cuda.jit(cache=True)
def _without(unit, members, pairs, totals, rest, scores):  # type: ignore[no-untyped-def]
    """One block a pair of a group and a class: the class's mean without the group, and its cosine with all of it.

    A pair is first and last place of its own rows, first and last place of its group's, and the class.
    """
    partial = cuda.shared.array(THREADS, float64)
    pair, thread = cuda.blockIdx.x, cuda.threadIdx.x
    label = pairs[pair, 4]
    total = float64(0)
    for column in range(thread, unit.shape[1], THREADS):
        left = totals[label, column]
        for place in range(pairs[pair, 0], pairs[pair, 1]):
            left -= unit[members[place], column]
        rest[pair, column] = left
        total += left * left
    partial[thread] = total
    add_up(partial, thread)
    length = math.sqrt(partial[0])
    for place in range(pairs[pair, 2], pairs[pair, 3]):
        row = int64(members[place])
        cuda.syncthreads()  # the last sum has been read
        total = float64(0)
        for column in range(thread, unit.shape[1], THREADS):
            total += unit[row, column] * rest[pair, column]
        partial[thread] = total
        add_up(partial, thread)
        if thread == 0:
            scores[row, label] = partial[0] / length if length >= 1e-6 else -1.0
