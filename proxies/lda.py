"""Linear discriminant analysis with a shrunk covariance, scored on folds of whole patients."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from autossl.proxies.checks import class_index, group_index, matrix
from autossl.proxies.folds import grouped_folds
from autossl.proxies.moments import Moments, ledoit_wolf, moments, spanned
from autossl.proxies.probe import Probe
from autossl.proxies.tiles import spans

Array = NDArray[np.float64]


def shrinkage_lda(
    z: ArrayLike,
    y: ArrayLike,
    groups: ArrayLike | None = None,
    *,
    classes: int,
    folds: int = 5,
) -> Probe:
    """Linear discriminant analysis with equal class priors and the pooled within-class covariance, shrunk.

    The shrinkage is that of Ledoit and Wolf (2004) for the rows less their class means, towards a scaled identity; it
    is the `penalty` of the probe. z (n, d), y (n,); folds hold whole groups (patients), `scores` are those of samples
    left out. With one group only, or classes that all of a fold's patients share, scores are 0 for what cannot be
    predicted. No penalty is chosen. Cost folds * (n d^2 + d^3). Fisher 1936.
    """
    whole = matrix(z)
    labels = class_index(y, classes, len(whole))
    rows, basis = spanned(whole)
    owner = group_index(groups, len(rows))
    count = min(folds, int(owner.max()) + 1)
    scores = np.zeros((len(rows), classes), np.float32)
    if count > 1:
        fold = grouped_folds(labels, owner, count)
        for k in range(count):
            weights, intercept, _ = _fit(rows[fold != k], labels[fold != k], classes, whole.shape[1])
            scores[fold == k] = rows[fold == k] @ weights + intercept
    weights, intercept, shrinkage = _fit(rows, labels, classes, whole.shape[1])
    weights = weights if basis is None else basis @ weights
    return Probe(shrinkage, scores, np.array([shrinkage]), np.full(1, np.nan), weights, intercept)


def _fit(
    rows: NDArray[np.float32], labels: NDArray[np.int64], classes: int, dimensions: int
) -> tuple[Array, Array, float]:
    """Weights (r, c), intercept (c,) and shrinkage; a class without samples has a score below all others."""
    m = moments(rows, labels, classes, rotate=False)
    means = np.zeros_like(m.sums)
    means[m.present] = m.sums[m.present] / m.sizes[m.present, None]
    within = (m.scatter - (m.sums[m.present] / m.sizes[m.present, None]).T @ m.sums[m.present]) / len(m.rows)
    trace = max(float(np.trace(within)), 1e-30)
    shrinkage = ledoit_wolf(float(np.sum(within**2)), trace, _fourth(m, means), len(m.rows), dimensions)
    shrunk = (1 - shrinkage) * within + (shrinkage * trace / dimensions + 1e-9 * trace) * np.eye(len(within))
    weights = np.asarray(np.linalg.solve(shrunk, means.T), np.float64)
    intercept = -0.5 * np.einsum("cr,rc->c", means, weights) - m.mean @ weights
    intercept[m.sizes == 0] = -1e30
    return weights, intercept, shrinkage


def _fourth(m: Moments, means: Array) -> float:
    """Mean fourth power of the lengths of rows less their class means."""
    total = 0.0
    for start, stop in spans(len(m.rows), 4096):
        tile = m.rows[start:stop] - m.mean - means[m.labels[start:stop]]
        total += float((np.einsum("ij,ij->i", tile, tile) ** 2).sum())
    return total / len(m.rows)
