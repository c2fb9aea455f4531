"""Scores of the spectrum of embeddings, from one Gram matrix and without labels."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from autossl.proxies.checks import matrix
from autossl.proxies.tiles import run_tiles, spans

Array = NDArray[np.float64]

# Eigenvalues up to this share of their sum are what rounding leaves, of float32 rows and of the Gram matrix: no rank.
ROUNDING = 1e-12
TILE = 1024  # rows at a time: 1024 x d float64
FEWEST = 5  # eigenvalues that a power law is fitted to


@dataclass(frozen=True)
class Spectrum:
    """All scores of the spectrum; `rankme`, `participation` and `stable_rank` lie between 1 and min(n, d)."""

    rankme: float
    participation: float
    stable_rank: float
    alpha: float
    coherence: float
    condition: float


def spectrum(z: ArrayLike) -> Spectrum:
    """Computes all scores of z (n, d) from its Gram matrices, raw and centred, each decomposed once.

    2 n d^2 + 13 d^3 operations in float64, or 2 n^2 d + 13 n^3 where n < d; memory 40 min(n, d)^2 bytes.
    """
    rows = matrix(z)
    raw, centred = grams(rows)
    values, vectors = np.linalg.eigh(raw)
    varied = _eigenvalues(centred)
    return Spectrum(
        rankme_of(values),
        participation_of(centred),
        stable_rank_of(varied),
        alpha_of(varied),
        coherence_of(rows, values, vectors),
        condition_of(values),
    )


def rankme(z: ArrayLike, epsilon: float = 1e-7) -> float:
    """Exponential of the entropy of the singular values of z (n, d), not centred (Garrido et al. 2023, 2210.02885).

    Compare it within one method only: between methods it does not rank (it can even rank them in reverse).
    """
    return rankme_of(_eigenvalues(grams(matrix(z))[0]), epsilon)


def participation_ratio(z: ArrayLike) -> float:
    """(sum of l)^2 / sum of l^2 over the covariance's eigenvalues l, without decomposing it; 0 if z is constant."""
    return participation_of(grams(matrix(z))[1])


def stable_rank(z: ArrayLike) -> float:
    """Sum of the covariance's eigenvalues over the largest one (NESum; He and Ozay 2022); 0 if z is constant."""
    return stable_rank_of(_eigenvalues(grams(matrix(z))[1]))


def alpha_req(z: ArrayLike, first: int = 10, last: int = 100) -> float:
    """Exponent of the power law that the covariance's eigenvalues follow (alpha-ReQ; Agrawal et al. 2022, NeurIPS).

    Minus the slope of log l_i against log i over the eigenvalues at places [first, last), counted from 0, of z (n, d)
    centred, i being the rank counted from 1, with weights 1 / i: range and weights of the authors' package reptrix
    (they come from Stringer et al. 2019). At least 0; NaN with fewer than 5 eigenvalues to fit, such as d < 15. The
    paper finds 1 best, so that it ranks by -|alpha - 1|; it is neither better high nor low. It means nothing where
    eigenvalues follow no power law (a collapsed or low-rank spectrum), and the range can turn the order of two models
    around: compare it over one range, within one method. Public code differs: Google's graph_embedding fits singular
    values, not centred, against i itself.
    """
    return alpha_of(_eigenvalues(grams(matrix(z))[1]), first, last)


def coherence(z: ArrayLike) -> float:
    """n / r times the largest leverage of the rows of z (n, d) of rank r, not centred (Tsitsulin et al. 2023).

    arXiv 2305.16562: the leverage of a row is the squared length of its row of left singular vectors. Between 1 (all
    rows matter alike) and n / r (one row has a direction to itself); lower is better; NaN if z is zero. One outlier
    decides it, and where n is not far above r every row has leverage near 1. The authors' code divides by min(n, d)
    for r, which counts directions that z does not have.
    """
    rows = matrix(z)
    return coherence_of(rows, *np.linalg.eigh(grams(rows)[0]))


def condition(z: ArrayLike) -> float:
    """Pseudo-condition number: largest over smallest singular value that is not 0, of z (n, d), not centred.

    Tsitsulin et al. 2023, arXiv 2305.16562. Between 1 and 1e6, beyond which a singular value counts as 0; lower is
    better; NaN if z is zero. Directions that are lost altogether do not count, so that a collapse to a few equal
    directions scores well: look at a rank beside it. Its order is that of how well least squares is conditioned and
    need not hold for other heads. Public code differs: Google's graph_embedding returns the inverse, TensorFlow GNN
    centres z and divides by the smallest singular value, 0 or not.
    """
    return condition_of(_eigenvalues(grams(matrix(z))[0]))


def grams(z: NDArray[np.float32]) -> tuple[Array, Array]:
    """Returns the raw and the centred Gram matrix in float64, (d, d) or, where n < d, (n, n); same spectrum."""
    mean = z.mean(axis=0, dtype=np.float64)
    if len(z) < z.shape[1]:
        whole = z.astype(np.float64)
        centred = whole - mean
        return whole @ whole.T, centred @ centred.T
    gram = np.zeros((z.shape[1], z.shape[1]))
    for start, stop in spans(len(z), TILE):  # centred before the product: subtracting the mean from it loses digits
        tile = z[start:stop] - mean
        gram += tile.T @ tile
    return gram + len(z) * np.outer(mean, mean), gram


def _eigenvalues(gram: Array) -> Array:
    return np.asarray(np.linalg.eigvalsh(gram), np.float64)


def rankme_of(values: Array, epsilon: float = 1e-7) -> float:
    """`rankme` from the eigenvalues of the raw Gram matrix."""
    singular = np.sqrt(np.maximum(values, 0))
    total = singular.sum()
    if total == 0:
        return 0.0
    shares = singular / total + epsilon
    return float(np.exp(-np.sum(shares * np.log(shares))))


def participation_of(gram: Array) -> float:
    """`participation_ratio` from the centred Gram matrix."""
    squares = float(np.sum(gram**2))
    return float(np.trace(gram)) ** 2 / squares if squares > 0 else 0.0


def stable_rank_of(values: Array) -> float:
    """`stable_rank` from the eigenvalues of the centred Gram matrix, ascending."""
    return float(values.sum() / values[-1]) if values[-1] > 0 else 0.0


def alpha_of(values: Array, first: int = 10, last: int = 100) -> float:
    """`alpha_req` from the eigenvalues of the centred Gram matrix, ascending."""
    if not 0 <= first < last:
        raise ValueError(f"first and last must be places with 0 <= first < last, found {first} and {last}.")
    fitted = values[::-1][first : min(last, _rank(values))]
    if len(fitted) < FEWEST:
        return float("nan")
    ranks = np.arange(first, first + len(fitted)) + 1.0
    x, y = np.log(ranks), np.log(fitted)
    x -= np.average(x, weights=1 / ranks)
    return float(-(x / ranks) @ y / ((x / ranks) @ x))


def coherence_of(rows: NDArray[np.float32], values: Array, vectors: Array) -> float:
    """`coherence` of rows (n, d) from eigenvalues, ascending, and eigenvectors of their Gram matrix, (d, d) or (n, n).

    The rows may be given in a rotated space, as `Moments` holds them; n d r operations.
    """
    rank = _rank(values)
    if rank == 0:
        return float("nan")
    kept = vectors[:, -rank:]
    if len(vectors) == len(rows) != rows.shape[1]:  # the vectors are those of the rows
        return float(np.einsum("ij,ij->i", kept, kept).max() * len(rows) / rank)
    scaled = kept / np.sqrt(values[-rank:])
    leverage = np.empty(len(rows))

    def tile(start: int, stop: int) -> None:
        rotated = rows[start:stop] @ scaled
        leverage[start:stop] = np.einsum("ij,ij->i", rotated, rotated)

    run_tiles(tile, spans(len(rows), TILE))
    return float(leverage.max() * len(rows) / rank)


def condition_of(values: Array) -> float:
    """`condition` from the eigenvalues of the raw Gram matrix, ascending."""
    rank = _rank(values)
    return float(np.sqrt(values[-1] / values[-rank])) if rank else float("nan")


def _rank(values: Array) -> int:
    """Counts eigenvalues that are more than rounding."""
    return int(np.count_nonzero(values > ROUNDING * max(float(values.sum()), 0.0)))
