"""Sums over embeddings that many scores share: class sizes, means and Gram matrices from one pass."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from autossl.proxies.checks import class_index, matrix
from autossl.proxies.probe import class_weights
from autossl.proxies.tiles import spans

Array = NDArray[np.float64]

TILE = 1024  # rows at a time: 1024 x d float64


@dataclass(frozen=True)
class Moments:
    """First and second moments of embeddings (n, d) by class, about their mean.

    Where n < d the rows are rotated into the n dimensions that they span, which changes no score that is made from
    these moments; `dimensions` is d as it was.
    """

    rows: NDArray[np.float32]  # (n, r), r = min(n, d)
    dimensions: int
    labels: NDArray[np.int64]  # (n,), all 0 without classes
    sizes: NDArray[np.int64]  # (c,)
    mean: Array  # (r,)
    sums: Array  # (c, r) of rows less the mean
    scatter: Array  # (r, r) sum of outer products of rows less the mean
    balanced: Array  # (r, r) the same with weights of mean 1 that make all classes equal
    fourth: float  # sum of the fourth powers of the lengths of rows less the mean

    @cached_property
    def centred(self) -> tuple[Array, Array]:
        """Eigenvalues (r,), ascending, and eigenvectors of `scatter`."""
        return eigh(self.scatter)

    @cached_property
    def raw(self) -> tuple[Array, Array]:
        """Eigenvalues (r,), ascending, and eigenvectors of the Gram matrix of the rows as they are."""
        return eigh(self._second)

    @property
    def centred_values(self) -> Array:
        """The eigenvalues of `centred`; alone they cost a third."""
        return self.centred[0] if "centred" in self.__dict__ else eigenvalues(self.scatter)

    @property
    def raw_values(self) -> Array:
        """The eigenvalues of `raw`; alone they cost a third."""
        return self.raw[0] if "raw" in self.__dict__ else eigenvalues(self._second)

    @property
    def _second(self) -> Array:
        second: Array = self.scatter + len(self.rows) * np.outer(self.mean, self.mean)
        return second

    @property
    def present(self) -> NDArray[np.int64]:
        """The classes that have samples."""
        return np.flatnonzero(self.sizes)


def moments(z: ArrayLike, y: ArrayLike | None = None, classes: int | None = None, *, rotate: bool = True) -> Moments:
    """Computes the moments of z (n, d), by class where y (n,) holds class indices.

    Without `rotate` the dimensions stay what they are even where n < d.

    n d^2 operations in float64 (where n < d: 2 n^2 d); memory 16 d^2 bytes beside a tile. ValueError for input that
    cannot be used.
    """
    whole = matrix(z)
    rows = spanned(whole)[0] if rotate else whole
    count = classes or (1 if y is None else 1 + int(np.max(np.asarray(y), initial=0)))
    labels = np.zeros(len(rows), np.int64) if y is None else class_index(y, count, len(rows))
    sizes = np.bincount(labels, minlength=count)
    weights = class_weights(labels, count)
    mean = rows.mean(axis=0, dtype=np.float64)
    scatter, balanced = np.zeros((rows.shape[1],) * 2), np.zeros((rows.shape[1],) * 2)
    sums, fourth = np.zeros((count, rows.shape[1])), 0.0
    for c in np.flatnonzero(sizes):  # class by class: one product serves every weighting of the classes
        index = np.flatnonzero(labels == c)
        for start, stop in spans(len(index), TILE):
            tile = rows[index[start:stop]] - mean
            gram = tile.T @ tile
            scatter += gram
            balanced += weights[index[0]] * gram
            sums[c] += tile.sum(axis=0)
            fourth += float((np.einsum("ij,ij->i", tile, tile) ** 2).sum())
    return Moments(rows, whole.shape[1], labels, sizes, mean, sums, scatter, balanced, fourth)


def spanned(rows: NDArray[np.float32]) -> tuple[NDArray[np.float32], Array | None]:
    """Rows (n, d) with n < d as coordinates (n, n) in the space that they span, and its basis (d, n).

    Rows with n >= d come back as they are, with None. Distances and products between rows stay what they were.
    """
    if len(rows) >= rows.shape[1]:
        return rows, None
    whole = rows.astype(np.float64)
    values, vectors = eigh(whole @ whole.T)
    lengths = np.sqrt(values)
    inverse = np.where(lengths > 1e-7 * max(lengths[-1], 1e-300), 1 / np.maximum(lengths, 1e-300), 0)
    return np.ascontiguousarray(vectors * lengths, dtype=np.float32), whole.T @ (vectors * inverse)


def eigh(gram: Array) -> tuple[Array, Array]:
    """Eigenvalues of a Gram matrix, ascending and never negative, and its eigenvectors."""
    values, vectors = np.linalg.eigh(gram)
    return np.maximum(values, 0), vectors


def eigenvalues(gram: Array) -> Array:
    """Eigenvalues of a Gram matrix, ascending and never negative."""
    values: Array = np.maximum(np.linalg.eigvalsh(gram), 0)
    return values


def ledoit_wolf(squared: float, trace: float, fourth: float, n: int, d: int) -> float:
    """Returns the shrinkage in [0, 1] of Ledoit and Wolf (2004, J. Multivariate Analysis 88) towards a scaled identity.

    `squared` is the squared Frobenius norm of the covariance (divisor n) of n centred rows with d dimensions,
    `trace` its trace, `fourth` the mean of the rows' lengths to the fourth power.
    """
    distance = squared - trace**2 / d
    if distance <= 0:
        return 1.0
    return float(np.clip((fourth - squared) / n / distance, 0, 1))
