"""Scores of the spectrum of embeddings, from one Gram matrix and without labels."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from autossl.proxies.checks import matrix
from autossl.proxies.tiles import spans

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Spectrum:
    """The three scores, each between 1 (one direction) and min(n, d)."""

    rankme: float
    participation: float
    stable_rank: float


def spectrum(z: ArrayLike) -> Spectrum:
    """Computes all three from the Gram matrices of z (n, d), raw and centred: n d^2, or n^2 d where n < d."""
    raw, centred = grams(matrix(z))
    return Spectrum(_rankme(raw), _participation(centred), _stable_rank(centred))


def rankme(z: ArrayLike, epsilon: float = 1e-7) -> float:
    """Exponential of the entropy of the singular values of z (n, d), not centred (Garrido et al. 2023, 2210.02885).

    Compare it within one method only: between methods it does not rank (it can even rank them in reverse).
    """
    return _rankme(grams(matrix(z))[0], epsilon)


def participation_ratio(z: ArrayLike) -> float:
    """(sum of l)^2 / sum of l^2 over the covariance's eigenvalues l, without decomposing it; 0 if z is constant."""
    return _participation(grams(matrix(z))[1])


def stable_rank(z: ArrayLike) -> float:
    """Sum of the covariance's eigenvalues over the largest one (NESum; He and Ozay 2022); 0 if z is constant."""
    return _stable_rank(grams(matrix(z))[1])


def grams(z: NDArray[np.float32]) -> tuple[Array, Array]:
    """Returns the raw and the centred Gram matrix in float64, (d, d) or, where n < d, (n, n); same spectrum."""
    mean = z.mean(axis=0, dtype=np.float64)
    if len(z) < z.shape[1]:
        whole = z.astype(np.float64)
        centred = whole - mean
        return whole @ whole.T, centred @ centred.T
    gram = np.zeros((z.shape[1], z.shape[1]))
    for start, stop in spans(len(z), 1024):  # centred before the product: subtracting the mean from it loses digits
        tile = z[start:stop] - mean
        gram += tile.T @ tile
    return gram + len(z) * np.outer(mean, mean), gram


def _rankme(gram: Array, epsilon: float = 1e-7) -> float:
    singular = np.sqrt(np.maximum(np.linalg.eigvalsh(gram), 0))
    total = singular.sum()
    if total == 0:
        return 0.0
    shares = singular / total + epsilon
    return float(np.exp(-np.sum(shares * np.log(shares))))


def _participation(gram: Array) -> float:
    squares = float(np.sum(gram**2))
    return float(np.trace(gram)) ** 2 / squares if squares > 0 else 0.0


def _stable_rank(gram: Array) -> float:
    largest = float(np.linalg.eigvalsh(gram)[-1])
    return float(np.trace(gram)) / largest if largest > 0 else 0.0
