"""Ridge probe over a path of penalties with exact leave-one-out and leave-group-out predictions."""

from typing import cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from autossl.proxies.checks import class_index, group_index, matrix, score_matrix
from autossl.proxies.dispatch import device, given, on_device
from autossl.proxies.leave_out import Problem, decompose, leave_out, solution, squared_errors
from autossl.proxies.moments import Moments, eigh
from autossl.proxies.probe import Probe, chosen, class_weights, penalty_path
from autossl.proxies.tiles import spans

PENALTIES: NDArray[np.float64] = np.logspace(-4, 7, 45)
PENALTIES.flags.writeable = False

# Leave-out scores of as many penalties are held at once as fit into this, or into the size of z where that is more.
SCORE_BYTES = 64 * 2**20


def ridge(
    z: ArrayLike,
    y: ArrayLike,
    groups: ArrayLike | None = None,
    *,
    classes: int | None = None,
    penalties: ArrayLike = PENALTIES,
    balanced: bool = True,
    recentre: bool | None = None,
) -> Probe:
    """Fits ridge regression with an intercept for every penalty and predicts each group from all the others.

    z (n, d) is best standardised first, see `standardise`. With `classes`, y (n,) holds class indices, the targets
    are one-hot, and `balanced` weighs every sample 1 / n_c of its class; without, y (n,) or (n, t) holds real values.
    Groups are patients or, better for metrics of classes, the folds of `judging_folds`; without groups each sample is
    left out by itself. The penalty is the one with the least weighted squared error of left-out predictions, of equal
    ones the largest; the scores of each group are those at the penalty which the other groups choose, so that no score
    is the best of 45. Targets of values count by their variance.

    One eigendecomposition of the smaller Gram matrix serves all penalties and groups (Allen 1974; Golub et al. 1979):
    with H the smoother, the error of group g left out is (I - H_gg)^-1 r_g, exactly, intercept included. Class
    weights are those of all samples, for which it is exact too. Balanced scores then have the intercept of equal
    priors, so that they sum to 1 over classes and the frequencies among the left-in samples say nothing about the one
    left out (otherwise random labels score below chance); `recentre` says so for other targets, such as labels of 0 and
    1 whose scores are to be ranked. Groups cost n_g^2 d + n_g^3 per penalty, or, if n_g is over
    half of min(n, d), one more eigendecomposition of that size.

    A class of which all samples lie in one group cannot be predicted. With one group only nothing is left to learn
    from: `scores` are all 0, the penalty is the largest, and weights are those of all samples as ever. d x d and n x d
    never exceed float64 tiles in the primal (n >= d); the dual (n < d) holds n x n. Raises ValueError for input that
    cannot be used.
    """
    rows = given(z)
    targets, weights = _targets(y, classes, len(rows), balanced)
    path = penalty_path(penalties)
    owner = group_index(groups, len(rows))
    decomposed = device().decompose if on_device(rows) else decompose
    recentre = balanced and classes is not None if recentre is None else recentre
    problem = decomposed(rows, targets, weights, recentre=recentre)
    return _probe(problem, owner, path)


def ridge_of(m: Moments, groups: ArrayLike | None = None, *, penalties: ArrayLike = PENALTIES) -> Probe:
    """`ridge(standardise(z), y, groups)` for classes, balanced, from moments that other scores share.

    Weights and intercept are those for z as it is, not standardised. The rows must be at least as many as dimensions.
    """
    n, count = len(m.rows), len(m.sizes)
    assert n >= m.dimensions, "the dual form needs the rows themselves"
    weights = class_weights(m.labels, count)
    each = np.zeros(count)
    each[m.present] = n / (len(m.present) * m.sizes[m.present])  # the weight of a sample of each class
    shift = each @ m.sums / n  # from the mean to the weighted mean
    spread = np.sqrt(np.diag(m.scatter) / n)
    scale = 1 / np.where(_varies(spread, m.mean), spread, np.inf)
    gram = (m.balanced - n * np.outer(shift, shift)) * scale * scale[:, None]
    eigenvalues, vectors = eigh(gram)
    level = each * m.sizes / n
    cross = vectors.T @ (scale[:, None] * (each * (m.sums - m.sizes[:, None] * shift).T))
    targets = np.eye(count)[m.labels]
    basis = scale[:, None] * vectors
    problem = Problem(
        m.rows, targets, np.sqrt(weights), m.mean + shift, level, basis, None, eigenvalues, cross, recentre=True
    )
    return _probe(problem, group_index(groups, n), penalty_path(penalties))


def standardise(z: ArrayLike, reference: ArrayLike | None = None) -> NDArray[np.float32]:
    """Scales each dimension of z (n, d) to mean 0 and standard deviation 1 of `reference` (or of z), without labels.

    Dimensions that do not vary in the reference are set to 0. To keep leave-out predictions exact nothing else about
    the samples may enter, least of all their labels; the reference is best the whole unlabelled pool.
    """
    if on_device(z):
        return cast(NDArray[np.float32], device().standardise(z, reference))
    rows = matrix(z)
    base = rows if reference is None else matrix(reference, "reference")
    if base.shape[1] != rows.shape[1]:
        raise ValueError(f"reference must have the {rows.shape[1]} dimensions of z, found {base.shape[1]}.")
    mean = base.mean(axis=0, dtype=np.float64)
    variance = sum(((base[a:b] - mean) ** 2).sum(axis=0) for a, b in spans(len(base), 4096)) / len(base)
    spread = np.sqrt(variance)
    varies = _varies(spread, mean)
    scale = np.where(varies, 1 / np.where(varies, spread, 1), 0)
    scaled = np.empty_like(rows)
    for start, stop in spans(len(rows), 4096):
        scaled[start:stop] = (rows[start:stop] - mean) * scale
    return scaled


def _varies(spread: NDArray[np.float64], mean: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Whether a dimension varies by more than float32 rounds its mean (seven digits)."""
    varies: NDArray[np.bool_] = spread > 1e-6 * np.abs(mean) + 1e-30
    return varies


def _targets(
    y: ArrayLike, classes: int | None, rows: int, balanced: bool
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Returns targets (n, c) and sample weights (n,) of mean 1."""
    if classes is None:
        return score_matrix(y, rows), np.ones(rows)
    labels = class_index(y, classes, rows)
    onehot = np.zeros((rows, classes))
    onehot[np.arange(rows), labels] = 1
    return onehot, class_weights(labels, classes) if balanced else np.ones(rows)


def _probe(problem: Problem, owner: NDArray[np.int64], path: NDArray[np.float64]) -> Probe:
    """Leave-out scores and the fit to all, at penalties of least loss.

    Where the scores of all penalties do not fit into memory, those of the few that are chosen are computed again.
    """
    on = on_device(problem.rows)
    predict, errors = (device().left_out, device().errors) if on else (leave_out, squared_errors)
    samples, columns = problem.targets.shape
    each = 4 * samples * columns + 8 * len(problem.eigenvalues) * columns
    room = max(device().SCORE_BYTES if on else SCORE_BYTES, problem.rows.nbytes)
    blocks = spans(len(path), max(1, int(room // each)))
    losses = np.empty((len(path), int(owner.max()) + 1))
    for start, stop in blocks:
        found = predict(problem, owner, path[start:stop])
        for place in range(start, stop):
            losses[place] = np.bincount(owner, weights=errors(problem, found[place - start]))
    best, places = chosen(losses, path)
    scores = np.zeros((samples, columns), np.float32)
    for place in np.unique(places):
        again = len(blocks) > 1
        table = predict(problem, owner, path[place : place + 1])[0] if again else found[place]
        rows = np.flatnonzero(places[owner] == place)
        scores[rows] = table[rows]
    return Probe(float(path[best]), scores, path, losses.sum(axis=1) / samples, *solution(problem, float(path[best])))
