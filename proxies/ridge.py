"""Ridge probe over a path of penalties with exact leave-one-out and leave-group-out predictions."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from autossl.proxies.checks import class_index, group_index, matrix, score_matrix
from autossl.proxies.leave_out import Problem, decompose, leave_out, solution
from autossl.proxies.metrics import METRICS, score
from autossl.proxies.tiles import spans

PENALTIES: NDArray[np.float64] = np.logspace(-4, 7, 45)
PENALTIES.flags.writeable = False

# Leave-out scores of as many penalties are held at once as fit into this, or into the size of z where that is more.
SCORE_BYTES = 64 * 2**20


@dataclass(frozen=True)
class Ridge:
    """A ridge probe: `scores` and `value` come from leave-out predictions, `weights` from all samples."""

    penalty: float
    value: float
    metric: str
    scores: NDArray[np.float32]  # (n, c) leave-out predictions at the chosen penalty
    penalties: NDArray[np.float64]  # (l,)
    values: NDArray[np.float64]  # (l,) the metric of the leave-out predictions at each penalty
    weights: NDArray[np.float64]  # (d, c)
    intercept: NDArray[np.float64]  # (c,)

    def predict(self, z: ArrayLike) -> NDArray[np.float32]:
        """Returns scores (m, c) of embeddings (m, d), on the scale of `scores`."""
        rows = matrix(z)
        if rows.shape[1] != len(self.weights):
            raise ValueError(f"z must have the probe's {len(self.weights)} dimensions, found {rows.shape[1]}.")
        scores = np.empty((len(rows), self.weights.shape[1]), np.float32)
        for start, stop in spans(len(rows), 4096):  # in float64 by tiles: z need not be centred
            scores[start:stop] = rows[start:stop].astype(np.float64) @ self.weights + self.intercept
        return scores


def ridge(
    z: ArrayLike,
    y: ArrayLike,
    groups: ArrayLike | None = None,
    *,
    classes: int | None = None,
    penalties: ArrayLike = PENALTIES,
    metric: str | None = None,
    balanced: bool = True,
) -> Ridge:
    """Fits ridge regression with an intercept for every penalty and predicts each group from all the others.

    z (n, d) is best standardised first, see `standardise`. With `classes`, y (n,) holds class indices, the targets
    are one-hot, and `balanced` weighs every sample 1 / n_c of its class; without, y (n,) or (n, t) holds real values.
    Groups are patients or folds; without groups each sample is left out by itself. `metric` is one of METRICS
    (balanced_accuracy for classes, r2 for values); the penalty with its best leave-out value is chosen, of equal ones
    the largest, so `value` is optimistic by that choice of one in 45.

    One eigendecomposition of the smaller Gram matrix serves all penalties and groups (Allen 1974; Golub et al. 1979):
    with H the smoother, the error of group g left out is (I - H_gg)^-1 r_g, exactly, intercept included. Class
    weights are those of all samples, for which it is exact too. Balanced scores then have the intercept of equal
    priors, so that they sum to 1 over classes and the frequencies among the left-in samples say nothing about the one
    left out (otherwise random labels score below chance). Groups cost n_g^2 d + n_g^3 per penalty, or, if n_g is over
    half of min(n, d), one more eigendecomposition of that size.

    A class of which all samples lie in one group cannot be predicted and counts as missed. With one group only
    nothing is left to learn from: `scores` are all 0, `value` is what these are worth (for classes: chance), the
    penalty is the largest, and weights are those of all samples as ever. d x d and n x d never exceed float64 tiles
    in the primal (n >= d); the dual (n < d) holds n x n. Raises ValueError for input that cannot be used.
    """
    rows = matrix(z)
    targets, weights = _targets(y, classes, len(rows), balanced)
    metric = metric or ("r2" if classes is None else "balanced_accuracy")
    if metric not in METRICS or (metric == "r2") != (classes is None):
        raise ValueError(
            f"metric must be r2 for values and another of {', '.join(METRICS)} for classes, found {metric!r}."
        )
    path = _path(penalties)
    owner = group_index(groups, len(rows))
    problem = decompose(rows, targets, weights, recentre=balanced and classes is not None)
    truth = targets if classes is None else np.asarray(y)
    values, best, scores = _choose(problem, owner, path, metric, truth)
    coefficients, intercept = solution(problem, path[best])
    return Ridge(float(path[best]), float(values[best]), metric, scores, path, values, coefficients, intercept)


def standardise(z: ArrayLike, reference: ArrayLike | None = None) -> NDArray[np.float32]:
    """Scales each dimension of z (n, d) to mean 0 and standard deviation 1 of `reference` (or of z), without labels.

    Dimensions that do not vary in the reference are set to 0. To keep leave-out predictions exact nothing else about
    the samples may enter, least of all their labels; the reference is best the whole unlabelled pool.
    """
    rows = matrix(z)
    base = rows if reference is None else matrix(reference, "reference")
    if base.shape[1] != rows.shape[1]:
        raise ValueError(f"reference must have the {rows.shape[1]} dimensions of z, found {base.shape[1]}.")
    mean = base.mean(axis=0, dtype=np.float64)
    variance = sum(((base[a:b] - mean) ** 2).sum(axis=0) for a, b in spans(len(base), 4096)) / len(base)
    spread = np.sqrt(variance)
    varies = spread > 1e-6 * np.abs(mean) + 1e-30  # float32 keeps seven digits
    scale = np.where(varies, 1 / np.where(varies, spread, 1), 0)
    scaled = np.empty_like(rows)
    for start, stop in spans(len(rows), 4096):
        scaled[start:stop] = (rows[start:stop] - mean) * scale
    return scaled


def _targets(
    y: ArrayLike, classes: int | None, rows: int, balanced: bool
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Returns targets (n, c) and sample weights (n,) of mean 1."""
    if classes is None:
        return score_matrix(y, rows), np.ones(rows)
    labels = class_index(y, classes, rows)
    onehot = np.zeros((rows, classes))
    onehot[np.arange(rows), labels] = 1
    sizes = np.bincount(labels, minlength=classes)
    weights = rows / (np.count_nonzero(sizes) * sizes[labels]) if balanced else np.ones(rows)
    return onehot, weights


def _path(penalties: ArrayLike) -> NDArray[np.float64]:
    path = np.atleast_1d(np.array(penalties, np.float64))
    if path.ndim != 1 or not (path.size and np.isfinite(path).all() and path.min() > 0):
        raise ValueError(f"penalties must be positive numbers, found {penalties!r}.")
    return path


def _choose(
    problem: Problem, owner: NDArray[np.int64], path: NDArray[np.float64], metric: str, truth: ArrayLike
) -> tuple[NDArray[np.float64], int, NDArray[np.float32]]:
    """Returns the metric at each penalty, the best penalty's place and its leave-out scores (n, c)."""
    samples, columns = problem.targets.shape
    each = 4 * samples * columns + 8 * len(problem.eigenvalues) * columns
    held = max(1, max(SCORE_BYTES, problem.rows.nbytes) // each)
    values = np.empty(len(path))
    best, kept = -1, np.zeros((samples, columns), np.float32)
    for start, stop in spans(len(path), int(held)):
        block = leave_out(problem, owner, path[start:stop])
        for place in range(start, stop):
            values[place] = score(metric, truth, block[place - start])
            if best < 0 or (values[place], path[place]) > (values[best], path[best]):
                best, kept = place, block[place - start].copy()
    return values, best, kept
