"""Scores of how well classes can be read from embeddings, in closed form and without predicting anything."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from autossl.proxies.moments import Moments, ledoit_wolf, moments

Array = NDArray[np.float64]

FIXED_POINT_STEPS = 100  # of LogME; 11 in the authors' code, which stops early


def logme(z: ArrayLike, y: ArrayLike, *, classes: int | None = None) -> float:
    """Logarithm of the maximum evidence (You et al. 2021, arXiv 2102.11005), per sample, averaged over classes.

    Each class's indicator is a linear-Gaussian function of z (n, d), not centred and without intercept; the evidence
    is maximised over both precisions. Higher is better; unbounded, may be negative. It compares embeddings of the
    same samples only. Cost: one eigendecomposition, then c d for each step.
    """
    return logme_of(moments(z, y, classes))


def logme_of(m: Moments) -> float:
    """`logme` from moments."""
    values, vectors = m.raw
    usable = values > 1e-12 * max(values[-1], 1e-300)
    evidences = []
    for c in m.present:
        inner = m.sums[c] + m.sizes[c] * m.mean  # Z' y
        projected = np.where(usable, (vectors.T @ inner) ** 2 / np.where(usable, values, 1), 0)
        evidences.append(_evidence(values * usable, projected, float(m.sizes[c]), len(m.rows)))
    return float(np.mean(evidences))


def _evidence(values: Array, projected: Array, squares: float, n: int) -> float:
    """Maximum log evidence per sample of one target: its squared projections on the left singular vectors."""
    outside = max(squares - float(projected.sum()), 0.0)  # what no direction of z explains
    alpha = beta = 1.0
    for _step in range(FIXED_POINT_STEPS):
        ratio = alpha / beta
        shrunk = values / (values + ratio)
        length = float(np.sum(projected * values / (values + ratio) ** 2))
        residual = float(np.sum(projected * (1 - shrunk) ** 2)) + outside
        effective = float(shrunk.sum())
        alpha, beta = effective / (length + 1e-10), (n - effective) / (residual + 1e-10)
        if abs(alpha / beta - ratio) <= 1e-6 * ratio:
            break
    ratio = alpha / beta
    length = float(np.sum(projected * values / (values + ratio) ** 2))
    residual = float(np.sum(projected * (ratio / (values + ratio)) ** 2)) + outside
    determinant = float(np.log(alpha + beta * values).sum()) - len(values) * np.log(alpha)
    fit = n * np.log(beta) - determinant - beta * residual - alpha * length - n * np.log(2 * np.pi)
    return float(fit / (2 * n))


def h_score(z: ArrayLike, y: ArrayLike, *, classes: int | None = None) -> float:
    """Regularised H-score: tr(S^-1 B), S the shrunk covariance of z (n, d), B that of the class means.

    Bao et al. 2019; shrinkage s after Ledoit and Wolf, S = (1 - s) C + s tr(C) / d I and B times 1 - s, as in Ibrahim
    et al. 2021, arXiv 2110.06893. In [0, classes - 1]; higher is better. Unregularised it grows with d alone.
    """
    return h_score_of(moments(z, y, classes))


def h_score_of(m: Moments) -> float:
    """`h_score` from moments."""
    n, d = len(m.rows), m.dimensions
    covariance = m.scatter / n
    trace = float(np.trace(covariance))
    if trace <= 0:
        return 0.0
    shrinkage = ledoit_wolf(float(np.sum(covariance**2)), trace, m.fourth / n, n, d)
    shrunk = (1 - shrinkage) * covariance + (shrinkage * trace / d + 1e-12 * trace) * np.eye(len(covariance))
    means = m.sums[m.present] / np.sqrt(n * m.sizes[m.present, None])
    return float((1 - shrinkage) * np.sum(means * np.linalg.solve(shrunk, means.T).T))


def transrate(z: ArrayLike, y: ArrayLike, *, classes: int | None = None, epsilon: float = 1e-4) -> float:
    """Coding rate of z (n, d) less the mean coding rate within classes (Huang et al. 2022, arXiv 2106.09362).

    R(Z) = 1/2 log det(I + Z'Z / (n epsilon)), Z centred as a whole and scaled to a mean squared length of 1 (the score
    depends on the scale otherwise); classes weigh as their sizes, as in the definition (the authors' code averages
    them equally). At least 0; higher is better.
    """
    m = moments(z, y, classes)
    n, trace = len(m.rows), float(np.trace(m.scatter))
    if trace <= 0:
        return 0.0
    within = 0.0
    for c in m.present:
        rows = m.rows[m.labels == c] - m.mean
        within += m.sizes[c] / n * _coding_rate(rows.T @ rows * (n / trace), int(m.sizes[c]), epsilon)
    return _coding_rate(m.scatter * (n / trace), n, epsilon) - within


def _coding_rate(gram: Array, n: int, epsilon: float) -> float:
    return 0.5 * float(np.linalg.slogdet(np.eye(len(gram)) + gram / (n * epsilon))[1])


def gbc(z: ArrayLike, y: ArrayLike, *, classes: int | None = None, components: int = 64) -> float:
    """Gaussian Bhattacharyya coefficient: minus the sum of the overlaps of pairs of classes.

    Pandy et al. 2022, arXiv 2111.12780: each class of z (n, d) is a Gaussian with diagonal covariance in the first
    principal components; pairs (i, j) and (j, i) both count. In [-c (c - 1), 0]; higher is better. Classes of fewer
    than two samples are left out.
    """
    m = moments(z, y, classes)
    kept = min(components, len(m.centred[0]))
    projected = (m.rows - m.mean) @ m.centred[1][:, -kept:]
    groups = [projected[m.labels == c] for c in m.present if m.sizes[c] > 1]
    floor = max(1e-10 * float(projected.var(axis=0).max()), 1e-30)
    means = [g.mean(axis=0) for g in groups]
    variances = [np.maximum(g.var(axis=0, ddof=1), floor) for g in groups]
    overlap = 0.0
    for i in range(len(groups)):
        for j in range(i):
            between = (variances[i] + variances[j]) / 2
            distance = np.sum((means[i] - means[j]) ** 2 / between) / 8
            distance += np.sum(np.log(between) - (np.log(variances[i]) + np.log(variances[j])) / 2) / 2
            overlap += 2 * float(np.exp(-distance))
    return -overlap


def label_cka(z: ArrayLike, y: ArrayLike, *, classes: int | None = None, debiased: bool = True) -> float:
    """Linear centred kernel alignment of z (n, d) with the one-hot labels (Kornblith et al. 2019, arXiv 1905.00414).

    With `debiased` the unbiased HSIC of Song et al. 2012 is used: the plain one rises towards 1 as d / n grows.
    At most 1, plain at least 0; higher is better. 0 where either side is constant, NaN for fewer than 4 samples
    with `debiased`.
    """
    m = moments(z, y, classes)
    if not debiased:
        indicator = np.diag(m.sizes.astype(np.float64)) - np.outer(m.sizes, m.sizes) / len(m.rows)
        below = float(np.linalg.norm(m.scatter) * np.linalg.norm(indicator))
        return float(np.sum(m.sums**2)) / below if below > 0 else 0.0
    if len(m.rows) < 4:
        return float("nan")
    cross, own, labels = _hsics(m)
    return cross / np.sqrt(own * labels) if own > 0 and labels > 0 else 0.0


def _hsics(m: Moments) -> tuple[float, float, float]:
    """Unbiased HSIC (times n (n - 3)) of z with labels, of z with z, of labels with labels, from row sums alone."""
    n = len(m.rows)
    lengths: Array = np.zeros(n)
    for c in m.present:  # by class: one copy of a class in float64 at a time
        index = np.flatnonzero(m.labels == c)
        tile = m.rows[index] - m.mean
        lengths[index] = np.einsum("ij,ij->i", tile, tile)
    row_sums: Array = np.asarray(-lengths, np.float64)  # rows are centred: K 1 = 0, less the diagonal
    same = np.asarray(m.sizes[m.labels], np.float64) - 1

    def hsic(trace: float, a: Array, b: Array) -> float:
        return float(trace + a.sum() * b.sum() / ((n - 1) * (n - 2)) - 2 / (n - 2) * (a @ b))

    cross = hsic(float(np.sum(m.sums**2)) - float(lengths.sum()), row_sums, same)
    own = hsic(float(np.sum(m.scatter**2)) - float(np.sum(lengths**2)), row_sums, row_sums)
    labels = hsic(float(np.sum(m.sizes.astype(np.float64) ** 2)) - n, same, same)
    return cross, own, labels
