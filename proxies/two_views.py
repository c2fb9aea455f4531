"""Scores of embeddings of several augmented views of each image, without labels."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from autossl.proxies.checks import matrix
from autossl.proxies.moments import eigh
from autossl.proxies.neighbours import unit_rows
from autossl.proxies.tiles import run_tiles, spans

Array = NDArray[np.float64]
Floats = NDArray[np.float32]

TILE = 1024  # rows at a time, and the side of a tile of similarities: 4 MB of float32


def lidar(z: ArrayLike, delta: float = 1e-4, epsilon: float = 1e-7) -> float:
    """Effective rank of what tells images apart, measured in units of what augmentation changes (LiDAR).

    Thilak et al. 2024, arXiv 2312.04000: z (n, q, d) holds q >= 2 views of each of n images, which are the classes.
    With S_b the covariance of the means of images (divisor n - 1) and S_w that of views about their image's mean
    (divisor n (q - 1)) plus delta I, the score is the exponential of the entropy of the eigenvalues of
    S_w^-1/2 S_b S_w^-1/2, their shares p being those of their sum plus epsilon. Between 1 and about min(d, n - 1); 0
    if the means of all images coincide; higher is better.

    Compare it at equal n, q, d and augmentations. delta is absolute, so that the scale of z matters where views differ
    by little more than sqrt(delta), whose value is that of public code (Skean et al. 2025). With few views every
    direction in which means differ by chance counts too. Public code deviates: reptrix leaves out the divisors n - 1
    and q - 1, has delta 1e-6 and takes the variances of a principal component analysis of the matrix, which are squares
    of eigenvalues; stable-ssl adds its epsilon of 1e-8 before the shares are taken.

    n q d^2 + 20 d^3 operations in float64, memory 40 d^2 + 8 n d bytes. ValueError unless z is (n, q, d) with q >= 2.
    """
    views = _views(z)
    if not delta > 0 or not epsilon >= 0:
        raise ValueError(f"delta must be above 0 and epsilon not below, found {delta} and {epsilon}.")
    n, q, d = views.shape
    means = views.mean(axis=1, dtype=np.float64)
    within = np.zeros((d, d))
    for start, stop in spans(n, max(1, TILE // q)):
        tile = (views[start:stop] - means[start:stop, None]).reshape(-1, d)
        within += tile.T @ tile
    values, vectors = eigh(within / (n * (q - 1)))
    size = float((means**2).sum())
    means -= means.mean(axis=0)
    if float((means**2).sum()) <= 1e-24 * size:  # less than float32 can tell apart
        return 0.0
    whitened = means @ (vectors / np.sqrt(values + delta))  # its covariance has the eigenvalues that are wanted
    between = whitened.T @ whitened if n >= d else whitened @ whitened.T
    ratios = np.zeros(d)
    ratios[: len(between)] = np.maximum(np.linalg.eigvalsh(between), 0)
    shares = ratios / ratios.sum() + epsilon
    return float(np.exp(-np.sum(shares * np.log(np.maximum(shares, 1e-300)))))


def alignment(z: ArrayLike, power: float = 2) -> float:
    """Mean over images and pairs of their views of ||z_i - z_j||^power, rows scaled to length 1 (Wang and Isola 2020).

    arXiv 2005.10242. z (n, q, d) with q >= 2 views, all q (q - 1) / 2 pairs counting alike; with q = 2 it is the
    authors' code. Between 0 and 2^power; lower is better, but 0 where all embeddings coincide: only together with
    `uniformity` does it mean anything, and the losses of some methods minimise it outright. n q^2 d / 2 operations.
    ValueError unless z is (n, q, d) with q >= 2 and power is above 0.
    """
    views = _views(z)
    if not power > 0:
        raise ValueError(f"power must be above 0, found {power}.")
    n, q, d = views.shape
    held = max(1, TILE // q)
    sums = np.zeros(len(spans(n, held)))

    def tile(start: int, stop: int) -> None:
        unit = unit_rows(views[start:stop].reshape(-1, d)).reshape(-1, q, d)
        for first in range(q - 1):
            gaps = unit[:, first + 1 :] - unit[:, first : first + 1]  # not from products, which cancel
            squares = np.einsum("ijk,ijk->ij", gaps, gaps, dtype=np.float64)
            sums[start // held] += float((squares ** (power / 2)).sum())

    run_tiles(tile, spans(n, held))
    return float(sums.sum() / (n * q * (q - 1) / 2))


def uniformity(z: ArrayLike, t: float = 2) -> float:
    """Log of the mean over pairs of rows of exp(-t ||z_i - z_j||^2), rows scaled to length 1 (Wang and Isola 2020).

    arXiv 2005.10242; pairs are those of different rows, as in the authors' code. z (n, d). Between -4 t and 0, 0 if
    all rows point one way; lower is better. In few dimensions or with few rows the lowest value is above -4 t, so
    compare at equal n and d. It knows nothing of what the directions mean: noise is as uniform as can be. NaN for a
    single row. n^2 d / 2 products in float32, by tiles of 1024 x 1024; never n x n. ValueError unless t is above 0.
    """
    rows = unit_rows(matrix(z))
    if not t > 0:
        raise ValueError(f"t must be above 0, found {t}.")
    if len(rows) < 2:
        return float("nan")
    squares = np.einsum("ij,ij->i", rows, rows)  # 1, or 0 for a row of zeros
    sums = np.zeros(len(spans(len(rows), TILE)))

    def tile(start: int, stop: int) -> None:
        for left, right in spans(stop, TILE):
            sums[start // TILE] += _potential(rows[start:stop], rows[left:right], squares, t, start, left)

    run_tiles(tile, spans(len(rows), TILE))
    pairs = len(rows) * (len(rows) - 1) / 2
    return float(np.log(max(float(sums.sum()) / pairs, 1e-300)))


def _potential(rows: Floats, others: Floats, squares: Floats, t: float, start: int, left: int) -> float:
    """Sum of exp(-t distance^2) over the pairs of a row and an earlier one."""
    tile = rows @ others.T
    tile *= 2
    tile -= squares[start : start + len(rows), None]
    tile -= squares[left : left + len(others)]
    np.minimum(tile, 0, out=tile)
    tile *= t
    np.exp(tile, out=tile)
    return float((np.tril(tile, -1) if start == left else tile).sum(dtype=np.float64))


def _views(z: ArrayLike) -> Floats:
    """Returns finite embeddings (n, q, d) as float32."""
    array = np.asarray(z)
    if array.ndim != 3 or array.shape[1] < 2 or 0 in array.shape:
        raise ValueError(
            f"z must have the shape (images, views, dimensions) with two views or more, found {array.shape}."
        )
    return matrix(array.reshape(-1, array.shape[2])).reshape(array.shape)
