"""Ridge probe of embeddings on a device: `proxies.ridge` hands over its Gram matrix, leave-out scores and choice."""

from typing import Any, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from autossl.proxies.device.arrays import Rows, beside, each, launch, rows_of
from autossl.proxies.device.leave_out import TILE, leave_out
from autossl.proxies.device.libraries import Array
from autossl.proxies.device.moments import standardise
from autossl.proxies.device.selection import ids
from autossl.proxies.device.target import cuda
from autossl.proxies.leave_out import Problem
from autossl.proxies.leave_out import decompose as in_memory
from autossl.proxies.metrics import score
from autossl.proxies.moments import eigh
from autossl.proxies.probe import Probe
from autossl.proxies.tiles import spans

# Leave-out scores of as many penalties are held at once as fit into this, or into the size of z where that is more.
SCORE_BYTES = 1024 * 2**20


def decompose(rows: Rows, targets: NDArray[np.float64], weights: NDArray[np.float64], *, recentre: bool) -> Problem:
    """`proxies.leave_out.decompose` of rows (n, d) on a device: n d^2 operations there, the d x d rest in memory.

    Where n < d the rows are smaller than that, and all is done in memory.
    """
    if len(rows) < rows.shape[1]:
        return in_memory(rows.in_memory, targets, weights, recentre=recentre)
    library, total = rows.library, weights.sum()
    roots, level = np.sqrt(weights), weights @ targets / total
    with library.current():
        heavy, root = library.upload(weights), library.upload(roots)
        aims = library.upload((targets - level) * roots[:, None])
        mean = library.zeros((rows.shape[1],), "float64")
        gram = library.zeros((rows.shape[1],) * 2, "float64")
        product = library.zeros((rows.shape[1], targets.shape[1]), "float64")
        for start, stop in spans(len(rows), TILE):
            mean += heavy[start:stop] @ library.cast(rows.data[start:stop], "float64") / float(total)
        for start, stop in spans(len(rows), TILE):
            centred = (library.cast(rows.data[start:stop], "float64") - mean) * root[start:stop][:, None]
            gram += centred.T @ centred
            product += centred.T @ aims[start:stop]
        centre, summed, crossed = (library.download(array) for array in (mean, gram, product))
    eigenvalues, basis = eigh(summed)
    kept = cast(NDArray[np.float32], rows)  # it stays on the device
    return Problem(kept, targets, roots, centre, level, basis, None, eigenvalues, basis.T @ crossed, recentre)


def choose(
    problem: Problem, owner: NDArray[np.int64], path: NDArray[np.float64], metric: str, truth: ArrayLike
) -> tuple[NDArray[np.float64], int, NDArray[np.float32]]:
    """The metric at each penalty, the best penalty's place and its leave-out scores (n, c) in memory.

    (Balanced) accuracy is counted on the device; for another metric the scores of each penalty come to memory.
    """
    rows = cast(Rows, problem.rows)
    samples, columns = problem.targets.shape
    each_one = 4 * samples * columns + 8 * len(problem.eigenvalues) * columns
    held = max(1, max(SCORE_BYTES, rows.nbytes) // each_one)
    values = np.empty(len(path))
    best, kept = -1, np.zeros((samples, columns), np.float32)
    with rows.library.current():
        for start, stop in spans(len(path), int(held)):
            block = leave_out(problem, rows, owner, path[start:stop])
            values[start:stop] = _values(rows, block, metric, truth)
            for place in range(start, stop):
                if best < 0 or (values[place], path[place]) > (values[best], path[best]):
                    best = place
            if best >= start:
                kept = rows.library.download(block[best - start])
    return values, best, kept


def _values(rows: Rows, block: Array, metric: str, truth: ArrayLike) -> NDArray[np.float64]:
    """The metric of predictions (l, n, c) at each penalty."""
    library, (penalties, n, classes) = rows.library, block.shape
    if metric not in ("accuracy", "balanced_accuracy"):
        return np.array([score(metric, truth, library.download(block[place])) for place in range(penalties)])
    labels = np.asarray(truth)
    hits = library.zeros((penalties, classes), "int32")
    launch(library, _hit, each(penalties * n), block, library.upload(ids(labels)), hits)
    right, sizes = library.download(hits), np.bincount(labels, minlength=classes)
    if metric == "accuracy":
        return np.asarray(right.sum(axis=1) / n)
    present = sizes > 0
    return np.asarray((right[:, present] / sizes[present]).mean(axis=1))


def predict(probe: Probe, z: Any) -> Rows:
    """`probe.predict(z)` of embeddings (m, d) on a device; the scores (m, c) stay there. float64 by tiles."""
    rows = rows_of(z)
    if rows.shape[1] != len(probe.weights):
        raise ValueError(f"z must have the probe's {len(probe.weights)} dimensions, found {rows.shape[1]}.")
    library = rows.library
    with library.current():
        weights, intercept = library.upload(probe.weights), library.upload(probe.intercept)
        scores = library.empty((len(rows), probe.weights.shape[1]), "float32")
        for start, stop in spans(len(rows), TILE):
            tile = library.cast(rows.data[start:stop], "float64") @ weights + intercept
            scores[start:stop] = library.cast(tile, "float32")
    return Rows(library, scores)


def probed(probe: Probe, rows: Rows, queries: Any = None, *, standardised: bool = False) -> Rows:
    """Scores (m, c) on the device of queries, standardised by `rows` or not; without queries the leave-out scores.

    They are there so that their bootstrap is computed there.
    """
    if queries is not None:
        asked = beside(rows, queries, "queries")
        return predict(probe, standardise(asked, rows) if standardised else asked)
    with rows.library.current():
        return Rows(rows.library, rows.library.upload(probe.scores))


@cuda.jit(cache=True)
def _hit(block, labels, hits):  # type: ignore[no-untyped-def]
    """One thread a penalty and sample: whether the first of the largest scores is that of its class."""
    for at in range(cuda.grid(1), block.shape[0] * block.shape[1], cuda.gridsize(1)):
        penalty, row = at // block.shape[1], at % block.shape[1]
        best = 0
        for c in range(1, block.shape[2]):
            if block[penalty, row, c] > block[penalty, row, best]:
                best = c
        if best == labels[row]:
            cuda.atomic.add(hits, (penalty, best), 1)
