"""The algebra of leave-group-out ridge: one eigendecomposition, then every penalty and every group."""

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from autossl.proxies.moments import eigh
from autossl.proxies.tiles import run_tiles, spans

Array = NDArray[np.float64]
Rows = NDArray[np.int64]

TILE = 1024  # rows at a time: 1024 x d float64
PAIRS = 2048  # products of row pairs at a time: 2048 x d float64
SMALL_GROUP = 16  # groups up to this size are solved together in one kernel


@dataclass(frozen=True)
class Problem:
    """Weighted ridge regression in the basis of the Gram matrix's eigenvectors (r of them)."""

    rows: NDArray[np.float32]  # (n, d)
    targets: Array  # (n, c)
    roots: Array  # (n,) square roots of the sample weights, whose mean is 1
    mean: Array  # (d,) weighted
    level: Array  # (c,) weighted mean of the targets
    basis: Array  # (d, r)
    rotated: Array | None  # (n, r) where the Gram matrix was n x n
    eigenvalues: Array  # (r,)
    cross: Array  # (r, c) weighted products of rotated rows and centred targets
    recentre: bool  # give each leave-out fit the intercept of all samples' mean target

    def rotate(self, index: Rows) -> Array:
        """Returns centred rows times the square root of their weights in the eigenbasis, (len(index), r)."""
        if self.rotated is not None:
            return self.rotated[index]
        rotated: Array = ((self.rows[index] - self.mean) * self.roots[index, None]) @ self.basis
        return rotated


def decompose(rows: NDArray[np.float32], targets: Array, weights: Array, *, recentre: bool) -> Problem:
    """Centres, forms the smaller Gram matrix in float64 and decomposes it."""
    roots = np.sqrt(weights)
    mean = _mean(rows, weights)
    level = weights @ targets / weights.sum()
    scaled_targets = (targets - level) * roots[:, None]
    dimensions = rows.shape[1]
    if len(rows) < dimensions:
        centred = (rows - mean) * roots[:, None]
        eigenvalues, vectors = eigh(centred @ centred.T)
        lengths = np.sqrt(eigenvalues)
        inverse = np.where(lengths > 1e-9 * lengths[-1], 1 / np.maximum(lengths, 1e-300), 0)
        basis, rotated = (centred.T @ vectors) * inverse, vectors * lengths
        cross = rotated.T @ scaled_targets
        return Problem(rows, targets, roots, mean, level, basis, rotated, eigenvalues, cross, recentre)
    gram, product = np.zeros((dimensions, dimensions)), np.zeros((dimensions, targets.shape[1]))
    for start, stop in spans(len(rows), TILE):
        centred = (rows[start:stop] - mean) * roots[start:stop, None]
        gram += centred.T @ centred
        product += centred.T @ scaled_targets[start:stop]
    eigenvalues, basis = eigh(gram)
    return Problem(rows, targets, roots, mean, level, basis, None, eigenvalues, basis.T @ product, recentre)


def _mean(rows: NDArray[np.float32], weights: Array) -> Array:
    total = np.zeros(rows.shape[1])
    for start, stop in spans(len(rows), TILE):
        total += weights[start:stop] @ rows[start:stop]
    mean: Array = total / weights.sum()
    return mean


def solution(problem: Problem, penalty: float) -> tuple[Array, Array]:
    """Returns weights (d, c) and intercept (c,) of the fit to all samples at one penalty."""
    coefficients: Array = problem.basis @ (problem.cross / (problem.eigenvalues + penalty)[:, None])
    intercept: Array = problem.level - problem.mean @ coefficients
    return coefficients, intercept


def leave_out(problem: Problem, owner: Rows, penalties: Array) -> NDArray[np.float32]:
    """Returns for each penalty the prediction of each sample from the groups other than its own, (l, n, c).

    `owner` (n,) numbers the groups 0, 1, ...; with a single group all predictions are 0.
    """
    predictions = np.zeros((len(penalties), *problem.targets.shape), np.float32)
    sizes = np.bincount(owner)
    if np.count_nonzero(sizes) < 2:
        return predictions
    members = np.argsort(owner, kind="stable")
    ends = np.concatenate([[0], np.cumsum(sizes[sizes > 0])])
    shrink = 1 / (problem.eigenvalues[:, None] + penalties)  # (r, l)
    coefficients = (problem.cross[:, None, :] * shrink[:, :, None]).reshape(len(shrink), -1)

    def tile(first: int, last: int) -> None:
        index = members[ends[first] : ends[last]]
        bounds = ends[first : last + 1] - ends[first]
        rotated = problem.rotate(index)
        if last - first == 1 and len(index) > max(4 * SMALL_GROUP, len(shrink) // 2):
            predictions[:, index] = _refit(problem, index, rotated, penalties)
            return
        fitted = (rotated @ coefficients).reshape(len(index), len(penalties), -1)
        centred = (problem.targets[index] - problem.level) * problem.roots[index, None]
        errors = centred[:, None, :] - fitted
        # The intercept's share of the smoother is one more rotated column, which no penalty shrinks.
        factors = np.column_stack([rotated, problem.roots[index] / np.sqrt(len(problem.rows))])
        if len(index) > SMALL_GROUP and last - first == 1:
            _solve_large(factors, one_more, errors)
        else:
            _solve_small(factors, one_more, errors, bounds)
        predictions[:, index] = _predictions(problem, index, errors, bounds)

    one_more = np.concatenate([shrink, np.ones((1, len(penalties)))])
    run_tiles(tile, _batches(np.diff(ends)))
    return predictions


def _batches(sizes: Rows) -> list[tuple[int, int]]:
    """Puts consecutive small groups together, up to TILE rows, and each larger group by itself."""
    batches, first, held = [], 0, 0
    for group, size in enumerate(sizes.tolist()):
        if group > first and (size > SMALL_GROUP or held + size > TILE):
            batches.append((first, group))
            first, held = group, 0
        held += size
        if size > SMALL_GROUP:
            batches.append((first, group + 1))
            first, held = group + 1, 0
    return batches + ([(first, len(sizes))] if first < len(sizes) else [])


def _predictions(problem: Problem, index: Rows, errors: Array, bounds: Rows) -> Array:
    """Returns (l, rows, c) from leave-out errors (rows, l, c), which are scaled by the roots of the weights."""
    predictions: Array = problem.targets[index][:, None, :] - errors / problem.roots[index, None, None]
    if problem.recentre:
        weights = problem.roots[index, None] ** 2
        gone = np.add.reduceat(np.hstack([weights, weights * problem.targets[index]]), bounds[:-1])
        left = len(problem.rows) - gone[:, :1]  # the weights of all samples sum to n
        level = (len(problem.rows) * problem.level - gone[:, 1:]) / left
        predictions += np.repeat(problem.level - level, np.diff(bounds), axis=0)[:, None, :]
    return predictions.swapaxes(0, 1)


def _solve_small(factors: Array, shrink: Array, errors: Array, bounds: Rows) -> None:
    """Replaces the residuals (rows, l, c) of many small groups by their leave-out errors, (I - H_gg)^-1 r_g."""
    first, second = _pairs(bounds)
    smoother = np.empty((len(first), shrink.shape[1]))
    for start, stop in spans(len(first), PAIRS):
        smoother[start:stop] = (factors[first[start:stop]] * factors[second[start:stop]]) @ shrink
    _solve_groups(smoother, errors, bounds)


def _solve_large(factors: Array, shrink: Array, errors: Array) -> None:
    """The same for one group which is large, but not so large as to be refitted."""
    for place in range(shrink.shape[1]):
        smoother = (factors * shrink[:, place]) @ factors.T
        errors[:, place] = np.linalg.solve(np.eye(len(factors)) - smoother, errors[:, place])


def _refit(problem: Problem, index: Rows, rotated: Array, penalties: Array) -> Array:
    """Predicts one very large group (l, rows, c) from a new decomposition of all others, in the eigenbasis."""
    roots, total = problem.roots[index, None], float(len(problem.rows))
    targets = (problem.targets[index] - problem.level) * roots
    left = total - float((roots**2).sum())
    shift, step = -(roots.T @ rotated) / left, -(roots.T @ targets) / left  # of the means, (1, r) and (1, c)
    gram = np.diag(problem.eigenvalues) - rotated.T @ rotated - left * shift.T @ shift
    cross = problem.cross - rotated.T @ targets - left * shift.T @ step
    eigenvalues, vectors = eigh(gram)
    seen = (rotated / roots - shift) @ vectors
    cross = vectors.T @ cross
    level = problem.level if problem.recentre else problem.level + step[0]
    return np.stack([level + seen @ (cross / (eigenvalues + penalty)[:, None]) for penalty in penalties])


@njit(cache=True, nogil=True)
def _pairs(bounds):  # type: ignore[no-untyped-def]
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
def _solve_groups(smoother, errors, bounds):  # type: ignore[no-untyped-def]
    """Solves (I - H_gg) e = r for every group and penalty by Cholesky; `smoother` holds H by pairs (i, j <= i)."""
    at = 0
    for group in range(len(bounds) - 1):
        start = bounds[group]
        size = bounds[group + 1] - start
        factor = np.empty((size, size))
        for place in range(smoother.shape[1]):
            _factor(smoother[at:, place], factor)
            _substitute(factor, errors[start : start + size, place])
        at += size * (size + 1) // 2


@njit(cache=True, nogil=True)
def _factor(pairs, factor):  # type: ignore[no-untyped-def]
    """Cholesky factor of I - H; a pivot that rounding has used up is held at 1e-12, so that errors stay finite."""
    at = 0
    for i in range(len(factor)):
        for j in range(i + 1):
            value = (1.0 if i == j else 0.0) - pairs[at]
            at += 1
            for k in range(j):
                value -= factor[i, k] * factor[j, k]
            if i == j:
                factor[i, i] = np.sqrt(max(value, 1e-12))
            else:
                factor[i, j] = value / factor[j, j]


@njit(cache=True, nogil=True)
def _substitute(factor, errors):  # type: ignore[no-untyped-def]
    """Solves L L' x = b in place for the columns of b."""
    size = len(factor)
    for i in range(size):
        for k in range(i):
            for c in range(errors.shape[1]):
                errors[i, c] -= factor[i, k] * errors[k, c]
        for c in range(errors.shape[1]):
            errors[i, c] /= factor[i, i]
    for i in range(size - 1, -1, -1):
        for k in range(i + 1, size):
            for c in range(errors.shape[1]):
                errors[i, c] -= factor[k, i] * errors[k, c]
        for c in range(errors.shape[1]):
            errors[i, c] /= factor[i, i]
