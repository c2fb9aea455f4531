"""Ridge probe of embeddings on a device: `proxies.ridge` hands over its Gram matrix and leave-out scores."""

from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from autossl.proxies.device.arrays import Rows, beside, rows_of
from autossl.proxies.device.leave_out import TILE, leave_out
from autossl.proxies.device.moments import standardise
from autossl.proxies.leave_out import Problem, squared_errors
from autossl.proxies.leave_out import decompose as in_memory
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


def left_out(problem: Problem, owner: NDArray[np.int64], penalties: NDArray[np.float64]) -> list[Rows]:
    """Leave-out predictions (n, c) at each penalty, on the device."""
    rows = cast(Rows, problem.rows)
    with rows.library.current():
        return [Rows(rows.library, table) for table in leave_out(problem, rows, owner, penalties)]


def errors(problem: Problem, predictions: Rows) -> NDArray[np.float64]:
    """`proxies.leave_out.squared_errors`, from a copy of the predictions in memory: a penalty's are n c numbers."""
    return squared_errors(problem, predictions.in_memory)


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
