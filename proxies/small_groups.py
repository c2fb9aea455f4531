"""Kernels of leave-group-out ridge: rows centred, and many small groups solved for all penalties at once.

Penalties are the innermost axis of every array, so that each loop over them runs on vectors.
"""

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from autossl.proxies.tiles import spans

PAIRS = 2048  # products of row pairs at a time: 2048 x r numbers
LEAST = 1e-12  # pivot: one that rounding has used up is held here, so that errors stay finite


def solve(
    rotated: NDArray[Any],
    intercept: NDArray[Any],
    shrink: NDArray[Any],
    targets: NDArray[Any],
    fitted: NDArray[Any],
    bounds: NDArray[np.int64],
) -> None:
    """Replaces fitted values f (rows, c, l) of many small groups by (I - H_gg)^-1 (f_g - H_gg t_g), left out.

    H is rotated * shrink @ rotated.T (rows, r; r, l) with the products of `intercept` (rows,) added.
    """
    first, second = pairs(bounds)
    smoother = np.empty((len(first), shrink.shape[1]), shrink.dtype)
    held = np.empty((min(len(first), PAIRS), rotated.shape[1]), rotated.dtype)
    for start, stop in spans(len(first), PAIRS):
        products = held[: stop - start]
        _multiply(rotated, first[start:stop], second[start:stop], products)
        np.matmul(products, shrink, out=smoother[start:stop])
    _solve_groups(smoother, first, second, intercept, targets, fitted, bounds)


@njit(cache=True, nogil=True)
def centre(rows, index, mean, roots, out):  # type: ignore[no-untyped-def]
    """Fills out (m, d) with the rows at `index` (m,) less the mean, times the roots of their weights, from float64."""
    for i in range(len(index)):
        root = roots[index[i]]
        for j in range(rows.shape[1]):
            out[i, j] = (rows[index[i], j] - mean[j]) * root


@njit(cache=True, nogil=True)
def pairs(bounds):  # type: ignore[no-untyped-def]
    """Lists the pairs (i, j <= i) of rows within each group."""
    count = 0
    for group in range(len(bounds) - 1):
        size = bounds[group + 1] - bounds[group]
        count += size * (size + 1) // 2
    first, second = np.empty(count, np.int64), np.empty(count, np.int64)
    at = 0
    for group in range(len(bounds) - 1):
        for i in range(bounds[group], bounds[group + 1]):
            for j in range(bounds[group], i + 1):
                first[at], second[at] = i, j
                at += 1
    return first, second


@njit(cache=True, nogil=True)
def write(fitted, roots, level, index, places, predictions):  # type: ignore[no-untyped-def]
    """Writes level (rows, c) + fitted (rows, c, l) / roots (rows,) to predictions (all l, n, c)."""
    for i in range(len(index)):
        for p in range(len(places)):
            for c in range(level.shape[1]):
                predictions[places[p], index[i], c] = level[i, c] + fitted[i, c, p] / roots[i]


@njit(cache=True, nogil=True)
def _multiply(rotated, first, second, out):  # type: ignore[no-untyped-def]
    for k in range(len(first)):
        for j in range(rotated.shape[1]):
            out[k, j] = rotated[first[k], j] * rotated[second[k], j]


@njit(cache=True, nogil=True)
def _solve_groups(smoother, first, second, intercept, targets, fitted, bounds):  # type: ignore[no-untyped-def]
    """Solves (I - H_gg) x = f - H_gg t for every group and penalty; `smoother` (pairs, l) is H without intercept."""
    at = 0
    for group in range(len(bounds) - 1):
        start, stop = bounds[group], bounds[group + 1]
        count = (stop - start) * (stop - start + 1) // 2
        for pair in range(at, at + count):
            i, j = first[pair], second[pair]
            shared = intercept[i] * intercept[j]
            for p in range(smoother.shape[1]):
                smoother[pair, p] += shared
            _less_own(smoother[pair], targets, fitted, i, j)
        _factor(smoother[at : at + count], stop - start)
        _substitute(smoother[at : at + count], fitted[start:stop])
        at += count


@njit(cache=True, nogil=True)
def _less_own(shares, targets, fitted, i, j):  # type: ignore[no-untyped-def]
    """Takes from the fitted values of row i what the target of row j adds to them, and the other way round."""
    for c in range(targets.shape[1]):
        for p in range(len(shares)):
            fitted[i, c, p] -= shares[p] * targets[j, c]
        if j < i:
            for p in range(len(shares)):
                fitted[j, c, p] -= shares[p] * targets[i, c]


@njit(cache=True, nogil=True)
def _factor(smoother, size):  # type: ignore[no-untyped-def]
    """Replaces H, by pairs (i, j <= i), by the Cholesky factor of I - H with its diagonal inverted."""
    for i in range(size):
        for j in range(i + 1):
            row, column, at = i * (i + 1) // 2, j * (j + 1) // 2, i * (i + 1) // 2 + j
            for p in range(smoother.shape[1]):
                smoother[at, p] = -smoother[at, p]
            for k in range(j):
                for p in range(smoother.shape[1]):
                    smoother[at, p] -= smoother[row + k, p] * smoother[column + k, p]
            for p in range(smoother.shape[1]):
                if i == j:
                    smoother[at, p] = 1 / np.sqrt(max(1 + smoother[at, p], LEAST))
                else:
                    smoother[at, p] *= smoother[column + j, p]


@njit(cache=True, nogil=True)
def _substitute(factor, errors):  # type: ignore[no-untyped-def]
    """Solves L L' x = b in place for the columns of b (size, c, l)."""
    size = len(errors)
    for i in range(size):
        for k in range(i):
            _subtract(factor[i * (i + 1) // 2 + k], errors[k], errors[i])
        errors[i] *= factor[i * (i + 1) // 2 + i]
    for i in range(size - 1, -1, -1):
        for k in range(i + 1, size):
            _subtract(factor[k * (k + 1) // 2 + i], errors[k], errors[i])
        errors[i] *= factor[i * (i + 1) // 2 + i]


@njit(cache=True, nogil=True)
def _subtract(shares, source, target):  # type: ignore[no-untyped-def]
    """Takes shares (l,) of source (c, l) from target (c, l)."""
    for c in range(len(target)):
        for p in range(len(shares)):
            target[c, p] -= shares[p] * source[c, p]
