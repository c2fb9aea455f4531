"""Leave-group-out ridge on a device: products and large solves by the library, small groups solved by a kernel."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from autossl.proxies.device.arrays import Rows, each, launch
from autossl.proxies.device.libraries import Array, Library
from autossl.proxies.device.target import cuda
from autossl.proxies.leave_out import Problem
from autossl.proxies.moments import eigh
from autossl.proxies.small_groups import pairs
from autossl.proxies.tiles import spans

TILE = 8192  # rows of small groups at a time: 8192 x (d + penalties x classes) float64
PAIRS = 16_384  # products of row pairs at a time: 16,384 x d float64
SMALL_GROUP = 32  # groups up to this size are solved in one kernel, one thread a group and penalty
SOLVE_BYTES = 256 * 2**20  # of systems of one larger group that are solved together


@dataclass(frozen=True)
class Factors:
    """What every tile needs of a problem, on the device in float64."""

    rows: Rows
    roots: Array  # (n,)
    targets: Array  # (n, c), less their level
    mean: Array  # (d,)
    basis: Array  # (d, r)
    coefficients: Array  # (r, l * c)
    shrink: Array  # (r + 1, l), the last row for the intercept

    @property
    def library(self) -> Library:
        return self.rows.library

    def rotate(self, index: Array) -> Array:
        """Centred rows times the square root of their weights in the eigenbasis."""
        rows = self.library.cast(self.rows.data[index], "float64")
        return ((rows - self.mean) * self.roots[index][:, None]) @ self.basis


def leave_out(problem: Problem, rows: Rows, owner: NDArray[np.int64], penalties: NDArray[np.float64]) -> Array:
    """`proxies.leave_out.leave_out` with predictions (l, n, c) float32 that stay on the device.

    Memory: 8 * 8192 (d + l c) bytes for a tile, 8 * 16,384 d for products of pairs, 8 l n_g^2 for a large group.
    """
    library, columns = rows.library, problem.targets.shape[1]
    predictions = library.zeros((len(penalties), len(rows), columns), "float32")
    sizes = np.bincount(owner)
    if np.count_nonzero(sizes) < 2:
        return predictions
    factors, levels = _factors(problem, rows, penalties), _levels(problem, owner)
    members = np.split(np.argsort(owner, kind="stable"), np.cumsum(sizes)[:-1])
    for batch in _batches(sizes):
        index = np.concatenate([members[group] for group in batch])
        places = library.upload(index)
        rotated = factors.rotate(places)
        if len(batch) == 1 and len(index) > max(4 * SMALL_GROUP, rotated.shape[1] // 2):
            found = _refit(problem, factors, index, rotated, penalties)
        else:
            errors = _errors(factors, places, rotated, sizes[batch], len(penalties))
            level = library.upload(problem.targets[index] + levels[owner[index]])
            found = level[:, None, :] - errors / factors.roots[places][:, None, None]
            found = found.swapaxes(0, 1)
        predictions[:, places] = library.cast(found, "float32")
    return predictions


def _batches(sizes: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """Puts small groups together, up to TILE rows, and each larger group by itself."""
    small = np.flatnonzero((sizes > 0) & (sizes <= SMALL_GROUP))
    tiles = np.cumsum(sizes[small]) // TILE
    batches = np.split(small, np.flatnonzero(np.diff(tiles)) + 1) if small.size else []
    return [*batches, *np.flatnonzero(sizes > SMALL_GROUP)[:, None]]


def _factors(problem: Problem, rows: Rows, penalties: NDArray[np.float64]) -> Factors:
    upload = rows.library.upload
    shrink = 1 / (problem.eigenvalues[:, None] + penalties)
    coefficients = (problem.cross[:, None, :] * shrink[:, :, None]).reshape(len(shrink), -1)
    one_more = np.concatenate([shrink, np.ones((1, len(penalties)))])
    targets = upload(problem.targets - problem.level)
    arrays = (problem.mean, problem.basis, coefficients, one_more)
    return Factors(rows, upload(problem.roots), targets, *map(upload, arrays))


def _levels(problem: Problem, owner: NDArray[np.int64]) -> NDArray[np.float64]:
    """What each group's predictions are raised by, (groups, c), so that all have the intercept of all samples."""
    groups, n = int(owner.max()) + 1, len(owner)
    if not problem.recentre:
        return np.zeros((groups, problem.targets.shape[1]))
    weights = problem.roots**2
    gone = [np.bincount(owner, weights=weights * column, minlength=groups) for column in problem.targets.T]
    left = n - np.bincount(owner, weights=weights, minlength=groups)  # the weights of all samples sum to n
    levels: NDArray[np.float64] = problem.level - (n * problem.level - np.stack(gone, axis=1)) / left[:, None]
    return levels


def _errors(factors: Factors, index: Array, rotated: Array, sizes: NDArray[np.int64], penalties: int) -> Array:
    """Leave-out errors (rows, l, c) of groups of these sizes, (I - H_gg)^-1 r_g."""
    library, count = factors.library, len(rotated)
    centred = factors.targets[index] * factors.roots[index][:, None]
    errors = centred[:, None, :] - (rotated @ factors.coefficients).reshape(count, penalties, -1)
    # The intercept's share of the smoother is one more rotated column, which no penalty shrinks.
    wide = library.empty((count, rotated.shape[1] + 1), "float64")
    wide[:, :-1] = rotated
    wide[:, -1] = factors.roots[index] / float(np.sqrt(len(factors.rows)))
    if sizes.max() > SMALL_GROUP:
        return _solve_large(factors, wide, errors)
    bounds = np.concatenate([[0], np.cumsum(sizes)])
    first, second = (library.upload(part) for part in pairs(bounds))
    smoother = library.empty((len(first), penalties), "float64")
    for start, stop in spans(len(first), PAIRS):
        smoother[start:stop] = (wide[first[start:stop]] * wide[second[start:stop]]) @ factors.shrink
    begins = np.concatenate([[0], np.cumsum(sizes * (sizes + 1) // 2)])
    errors = library.cast(errors, "float64")
    groups = (library.upload(bounds), library.upload(begins))
    launch(library, _solve, each(len(sizes) * penalties), smoother, errors, *groups)
    return errors


def _solve_large(factors: Factors, wide: Array, errors: Array) -> Array:
    """The same for one group which is larger, but not so large as to be refitted, by the library."""
    library, (size, penalties, _columns) = factors.library, errors.shape
    one = library.upload(np.eye(size))
    found = library.empty(tuple(errors.shape), "float64")
    for start, stop in spans(penalties, max(1, SOLVE_BYTES // (8 * size * size))):
        scaled = wide[None] * factors.shrink[:, start:stop].T[:, None, :]
        right = errors[:, start:stop].swapaxes(0, 1)
        found[:, start:stop] = library.solve(one - scaled @ wide.T, right).swapaxes(0, 1)
    return found


def _refit(
    problem: Problem, factors: Factors, index: NDArray[np.int64], rotated: Array, penalties: NDArray[np.float64]
) -> Array:
    """Predicts one very large group (l, rows, c) from a new decomposition, in memory, of the Gram matrix of others."""
    library, roots = factors.library, problem.roots[index, None]
    targets = (problem.targets[index] - problem.level) * roots
    left = len(problem.roots) - float((roots**2).sum())
    sums = library.download(rotated.T @ library.upload(np.hstack([roots, targets])))
    shift, step = -sums[:, :1].T / left, -(roots.T @ targets) / left  # of the means, (1, r) and (1, c)
    gram = np.diag(problem.eigenvalues) - library.download(rotated.T @ rotated) - left * shift.T @ shift
    eigenvalues, vectors = eigh(gram)
    cross = vectors.T @ (problem.cross - sums[:, 1:] - left * shift.T @ step)
    level = problem.level if problem.recentre else problem.level + step[0]
    seen = (rotated / library.upload(roots) - library.upload(shift)) @ library.upload(vectors)
    solved = (cross[:, None, :] / (eigenvalues[:, None] + penalties)[:, :, None]).reshape(len(cross), -1)
    fitted = (seen @ library.upload(solved)).reshape(len(index), len(penalties), -1) + library.upload(level)
    return fitted.swapaxes(0, 1)


@cuda.jit(cache=True)
def _solve(smoother, errors, bounds, begins):  # type: ignore[no-untyped-def]
    """Solves (I - H_gg) e = r in place; one thread a group and penalty, penalties side by side in memory.

    `smoother` (pairs, l) holds H by pairs (i, j <= i) of each group and then the factor.
    """
    penalties = smoother.shape[1]
    for at in range(cuda.grid(1), (bounds.shape[0] - 1) * penalties, cuda.gridsize(1)):
        group, place = at // penalties, at % penalties
        start, size = bounds[group], bounds[group + 1] - bounds[group]
        _factor(smoother, begins[group], size, place)
        for c in range(errors.shape[2]):
            _substitute(smoother, begins[group], errors, start, size, place, c)


@cuda.jit(device=True)
def _factor(smoother, base, size, place):  # type: ignore[no-untyped-def]
    """Cholesky factor of I - H; a pivot that rounding has used up is held at 1e-12, so that errors stay finite."""
    for i in range(size):
        row = base + i * (i + 1) // 2
        for j in range(i + 1):
            other = base + j * (j + 1) // 2
            value = (1.0 if i == j else 0.0) - smoother[row + j, place]
            for k in range(j):
                value -= smoother[row + k, place] * smoother[other + k, place]
            smoother[row + j, place] = math.sqrt(max(value, 1e-12)) if i == j else value / smoother[other + j, place]


@cuda.jit(device=True)
def _substitute(smoother, base, errors, start, size, place, c):  # type: ignore[no-untyped-def]
    """Solves L L' x = b in place for one column of b."""
    for i in range(size):
        row = base + i * (i + 1) // 2
        value = errors[start + i, place, c]
        for k in range(i):
            value -= smoother[row + k, place] * errors[start + k, place, c]
        errors[start + i, place, c] = value / smoother[row + i, place]
    for i in range(size - 1, -1, -1):
        value = errors[start + i, place, c]
        for k in range(i + 1, size):
            value -= smoother[base + k * (k + 1) // 2 + i, place] * errors[start + k, place, c]
        errors[start + i, place, c] = value / smoother[base + i * (i + 1) // 2 + i, place]
