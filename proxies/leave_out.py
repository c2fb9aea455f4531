"""The algebra of leave-group-out ridge: one eigendecomposition, then every penalty and every group."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autossl.proxies.moments import eigh
from autossl.proxies.probe import chosen
from autossl.proxies.small_groups import centre, solve, write
from autossl.proxies.tiles import run_tiles, spans

Array = NDArray[np.float64]
Rows = NDArray[np.int64]

TILE = 1024  # rows at a time: 1024 x d float64
SMALL_GROUP = 64  # groups up to this size are solved together in one kernel
ROUNDED = 4 * 2.0**-24  # error of a product of rows in float32, as a share of their lengths
ALLOWED = 1e-5  # error of a typical prediction, in spreads of the target, up to which products are in float32


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

    def rotate(self, index: Rows, basis: NDArray[Any] | None = None) -> NDArray[Any]:
        """Returns centred rows times the square root of their weights in the eigenbasis, (len(index), r).

        With a `basis` in float32 the product is made in float32.
        """
        if self.rotated is not None:
            return self.rotated[index]
        basis = self.basis if basis is None else basis
        centred = np.empty((len(index), self.rows.shape[1]), basis.dtype)
        centre(self.rows, index, self.mean, self.roots, centred)
        rotated: NDArray[Any] = centred @ basis
        return rotated

    def rounding(self, penalties: Array) -> Array:
        """How far float32 moves a typical leave-one-out prediction at each penalty (l,), in spreads of its target.

        A rotated row is off by `ROUNDED` times its length in every direction: that moves the fitted value by the length
        of the coefficients, its leverage by a square's two orders, and the prediction 1 / (1 - leverage) times as much.
        """
        n, values = len(self.rows), self.eigenvalues[:, None]
        off = ROUNDED * np.sqrt(self.eigenvalues.sum() / n)
        shrink = 1 / (values + penalties)
        spread = np.sqrt((((self.targets - self.level) * self.roots[:, None]) ** 2).mean(axis=0))
        lengths = np.sqrt((shrink.T**2) @ self.cross**2)  # of the coefficients, (l, c)
        coefficients = np.divide(lengths, spread, out=np.zeros_like(lengths), where=spread > 0).max(axis=1)
        leverage = 2 * np.sqrt((values * shrink**2).sum(axis=0) / n) + off * shrink.sum(axis=0)
        mean_leverage = ((values * shrink).sum(axis=0) + 1) / n
        moved: Array = off * (coefficients + leverage) / np.maximum(1 - mean_leverage, 1e-12)
        return moved


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
    held, part = np.empty((min(len(rows), TILE), dimensions)), np.empty_like(gram)
    for start, stop in spans(len(rows), TILE):
        centred = held[: stop - start]
        centre(rows, np.arange(start, stop), mean, roots, centred)
        gram += np.matmul(centred.T, centred, out=part)
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


def squared_errors(problem: Problem, predictions: NDArray[np.float32]) -> Array:
    """Weighted squared error of each sample (n,) of predictions (n, c), each target in units of its spread."""
    weights = problem.roots**2
    spread = weights @ (problem.targets - problem.level) ** 2 / len(weights)
    scale = np.where(spread > 0, 1 / np.where(spread > 0, spread, 1), 0)
    errors: Array = weights * ((predictions - problem.targets) ** 2 @ scale)
    return errors


def chosen_inside(
    problem: Problem, owner: Rows, penalties: Array, predictions: NDArray[np.float32]
) -> tuple[int, NDArray[np.float32]]:
    """The place of the penalty of least squared error, and scores (n, c) of each group where the others choose.

    predictions (l, n, c) are those of `leave_out`.
    """
    losses: Array = np.stack(
        [np.bincount(owner, weights=squared_errors(problem, table)) for table in predictions]
    ).astype(np.float64)
    best, places = chosen(losses, penalties)
    scores: NDArray[np.float32] = predictions[places[owner], np.arange(len(owner))]
    return best, scores


def leave_out(problem: Problem, owner: Rows, penalties: Array) -> NDArray[np.float32]:
    """Returns for each penalty the prediction of each sample from the groups other than its own, (l, n, c).

    `owner` (n,) numbers the groups 0, 1, ...; with a single group all predictions are 0.
    """
    predictions = np.zeros((len(penalties), *problem.targets.shape), np.float32)
    if len(problem.eigenvalues) == 0 or len(np.unique(owner)) < 2:
        return predictions
    coarse = (problem.rounding(penalties) <= ALLOWED) if problem.rotated is None else np.zeros(len(penalties), bool)
    for dtype, places in ((np.float32, np.flatnonzero(coarse)), (np.float64, np.flatnonzero(~coarse))):
        if len(places):
            leave_out_in(np.dtype(dtype), problem, owner, penalties, places, predictions)
    return predictions


def leave_out_in(
    dtype: np.dtype[Any],
    problem: Problem,
    owner: Rows,
    penalties: Array,
    places: Rows,
    predictions: NDArray[np.float32],
) -> None:
    """Fills `predictions` (l, n, c) at these places of the penalties, with products in `dtype`."""
    sizes = np.bincount(owner)
    members = np.argsort(owner, kind="stable")
    ends = np.concatenate([[0], np.cumsum(sizes[sizes > 0])])
    shrink = 1 / (problem.eigenvalues[:, None] + penalties[places])  # (r, places)
    coefficients = (problem.cross[:, :, None] * shrink[:, None, :]).reshape(len(shrink), -1).astype(dtype)
    basis, shrink = problem.basis.astype(dtype), shrink.astype(dtype)

    def tile(first: int, last: int) -> None:
        index = members[ends[first] : ends[last]]
        bounds = ends[first : last + 1] - ends[first]
        if last - first == 1 and len(index) > max(SMALL_GROUP, len(shrink) // 2):
            predictions[places[:, None], index] = _refit(problem, index, problem.rotate(index), penalties[places])
            return
        rotated, roots = problem.rotate(index, basis), problem.roots[index].astype(dtype)
        fitted = (rotated @ coefficients).reshape(len(index), -1, len(places))
        targets = (problem.targets[index] - problem.level).astype(dtype) * roots[:, None]
        solver = _solve_large if len(index) > SMALL_GROUP and last - first == 1 else solve
        solver(rotated, roots / dtype.type(np.sqrt(len(problem.rows))), shrink, targets, fitted, bounds)
        write(fitted, roots, _levels(problem, index, bounds), index, places, predictions)

    run_tiles(tile, _batches(np.diff(ends)))


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


def _levels(problem: Problem, index: Rows, bounds: Rows) -> Array:
    """What deviations of these rows are added to, (rows, c)."""
    level = np.tile(problem.level, (len(index), 1))
    if problem.recentre:
        weights = problem.roots[index, None] ** 2
        gone = np.add.reduceat(np.hstack([weights, weights * problem.targets[index]]), bounds[:-1])
        left = len(problem.rows) - gone[:, :1]  # the weights of all samples sum to n
        without = (len(problem.rows) * problem.level - gone[:, 1:]) / left
        level += np.repeat(problem.level - without, np.diff(bounds), axis=0)
    return level


def _solve_large(
    rotated: NDArray[Any],
    intercept: NDArray[Any],
    shrink: NDArray[Any],
    targets: NDArray[Any],
    fitted: NDArray[Any],
    bounds: Rows,
) -> None:
    """`solve` for one group which is large, but not so large as to be refitted."""
    shared, unit = np.outer(intercept, intercept), np.eye(len(rotated), dtype=rotated.dtype)
    for place in range(shrink.shape[1]):
        smoother = (rotated * shrink[:, place]) @ rotated.T + shared
        fitted[:, :, place] = np.linalg.solve(unit - smoother, fitted[:, :, place] - smoother @ targets)


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
