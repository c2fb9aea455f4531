"""N-LEEP: how well labels follow from the components of a Gaussian mixture."""

import warnings

import numpy as np
from numpy.typing import ArrayLike

from autossl.proxies.moments import Moments, moments


def n_leep(
    z: ArrayLike,
    y: ArrayLike,
    *,
    classes: int | None = None,
    per_class: int = 5,
    energy: float = 0.8,
    limit: int = 10_000,
    seed: int = 0,
) -> float:
    """Mean log probability of the labels when they are read from mixture components (Li et al. 2021, arXiv 2011.11200).

    A Gaussian mixture with `per_class` components a class is fitted to the principal components of z (n, d) that hold
    `energy` of the variance; the score is the mean of log sum_v p(y | v) p(v | z), p(y | v) being estimated on the
    same samples, as in the paper (so it is optimistic for many components). At most 0; higher is better. The result
    depends on the start of the mixture, drawn from `seed`. At most `limit` samples.
    """
    rows, labels = np.asarray(z), np.asarray(y)
    if len(rows) > limit:
        index = np.sort(np.random.default_rng(seed).permutation(len(rows))[:limit])
        rows, labels = rows[index], labels[index]
    m = moments(rows, labels, classes)
    shares = _memberships(m, per_class * len(m.present), energy, seed)
    joint = np.stack([shares[m.labels == c].sum(axis=0) for c in m.present])  # (c, v)
    given = joint / np.maximum(joint.sum(axis=0), 1e-300)
    place = np.searchsorted(m.present, m.labels)
    likelihood = np.einsum("nv,nv->n", given[place], shares)
    return float(np.mean(np.log(np.maximum(likelihood, 1e-300))))


def _memberships(m: Moments, components: int, energy: float, seed: int) -> np.ndarray:
    # here, because they take time to import
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture

    values, vectors = m.centred
    held = np.cumsum(values[::-1]) / max(float(values.sum()), 1e-300)
    kept = int(np.searchsorted(held, energy)) + 1
    projected = (m.rows - m.mean) @ vectors[:, -kept:]
    scale = max(float(values[-1]) / len(m.rows), 1e-300)
    mixture = GaussianMixture(
        min(components, max(1, len(m.rows) // 2)), covariance_type="full", reg_covar=1e-6, random_state=seed
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # a hundred steps are enough for a score
        shares: np.ndarray = mixture.fit(projected / np.sqrt(scale)).predict_proba(projected / np.sqrt(scale))
    return shares
