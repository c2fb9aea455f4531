"""Multinomial logistic probe over a path of penalties, all folds of whole patients fitted at once."""

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax

from autossl.proxies.checks import class_index, group_index, matrix
from autossl.proxies.folds import grouped_folds
from autossl.proxies.leave_out import Problem, decompose
from autossl.proxies.probe import Probe, chosen, class_weights, penalty_path
from autossl.proxies.tiles import run_tiles, spans

LOGISTIC_PENALTIES: NDArray[np.float64] = np.logspace(5, -1, 13)
LOGISTIC_PENALTIES.flags.writeable = False

TILE = 2048  # rows at a time in the softmax
STEPS = 200  # of L-BFGS for each penalty at most; a warm start needs 5 to 100
TOLERANCE = 1e-5  # nats a sample: a fit is done when a step lowers its loss by less
PATIENCE = 2  # penalties without a smaller loss after which the weaker ones, which cost most, are left out

Array = NDArray[np.float64]


def logistic(
    z: ArrayLike,
    y: ArrayLike,
    groups: ArrayLike | None = None,
    *,
    classes: int,
    penalties: ArrayLike = LOGISTIC_PENALTIES,
    balanced: bool = True,
    folds: int = 5,
    tolerance: float = TOLERANCE,
) -> Probe:
    """Fits multinomial logistic regression for every penalty and predicts each fold of groups from the others.

    z (n, d) is best standardised first, see `standardise`; y (n,) holds class indices. Minimised is the sum of
    weighted cross entropies plus penalty / 2 times the squared weights (scikit-learn's C is 1 / penalty); the intercept
    is free, `balanced` weighs every sample 1 / n_c of its class among those that a fit sees, or the intercept would
    tell which class is rarer without a fold. Folds hold whole groups (patients), as many as there are groups if these
    are fewer; with one group there is nothing to choose by: `scores` are 0 and the largest penalty is taken. The
    penalty is the one with the least weighted cross entropy of left-out predictions, of equal ones the largest; the
    scores of a fold are those at the penalty which the other folds choose.

    Penalties are solved from strong to weak, each from the solution before it, and all folds and the whole together:
    one product with z serves them all. After two that bring nothing better the rest is left out; their `losses` are
    NaN. The variables are those of the Gram matrix's eigenbasis, each scaled by its curvature, which is about
    mean p (1 - p) times the eigenvalue plus the penalty (Boehning 1992 bounds it so), and L-BFGS needs few steps; it
    ends when a step lowers the loss by less than `tolerance` a sample, where predictions are within .01 of exact.
    Memory: 4 n min(n, d) bytes, and 4 n c (folds + 1) bytes twice. Raises ValueError for input that cannot be used.
    """
    rows = matrix(z)
    labels = class_index(y, classes, len(rows))
    path = np.sort(penalty_path(penalties))[::-1]
    weights = class_weights(labels, classes) if balanced else np.ones(len(rows))
    fold, count = _folds(labels, groups, folds)
    problem = decompose(rows, np.zeros((len(rows), 1)), weights, recentre=False)
    basis, eigenvalues = _spanned(problem)
    fits = _Fits(_rotated(problem, rows, basis), labels, balanced, fold, count, classes, eigenvalues)
    losses, tables, solutions = np.full((len(path), count), np.inf), [], []
    for place, penalty in enumerate(path):
        if place and place - losses.sum(axis=1).argmin() > PATIENCE:
            break
        fits.solve(float(penalty), tolerance)
        tables.append(fits.left_out() if count > 1 else np.zeros((len(rows), classes), np.float32))
        solutions.append(fits.whole())
        losses[place] = np.bincount(fold, weights=weights * _cross_entropy(tables[-1], labels), minlength=count)
    tried = len(tables)
    best, places = chosen(losses[:tried], path[:tried])
    scores = np.stack(tables)[places[fold], np.arange(len(rows))]
    coefficients = basis @ solutions[best][0]
    intercept = solutions[best][1] - problem.mean @ coefficients
    means = np.where(np.arange(len(path)) < tried, losses.sum(axis=1) / len(rows), np.nan)
    return Probe(float(path[best]), scores, path, means, coefficients, intercept)


def _cross_entropy(logits: NDArray[np.float32], labels: NDArray[np.int64]) -> Array:
    """Nats of each sample (n,)."""
    entropies: Array = -log_softmax(logits.astype(np.float64), axis=1)[np.arange(len(labels)), labels]
    return entropies


def _folds(labels: NDArray[np.int64], groups: ArrayLike | None, folds: int) -> tuple[NDArray[np.int64], int]:
    """Returns each sample's fold and their number, 1 if there is one group only."""
    owner = group_index(groups, len(labels))
    count = min(folds, int(owner.max()) + 1)
    if count < 2:
        return np.zeros(len(labels), np.int64), 1
    return grouped_folds(labels, owner, count), count


def _spanned(problem: Problem) -> tuple[Array, Array]:
    """The basis (d, r) and its eigenvalues without directions in which the rows do not vary, as of dead units.

    Numbers there are too small for a float to be normal, and made every product five times slower.
    """
    kept = problem.eigenvalues > 1e-12 * problem.eigenvalues[-1]
    return problem.basis[:, kept], problem.eigenvalues[kept]


def _rotated(problem: Problem, rows: NDArray[np.float32], basis: Array) -> NDArray[np.float32]:
    """Centred rows in the basis, (n, r) float32, without the weights."""
    rotated = np.empty((len(rows), basis.shape[1]), np.float32)
    for start, stop in spans(len(rows), 4096):
        rotated[start:stop] = (rows[start:stop] - problem.mean) @ basis
    return rotated


class _Fits:
    """The fits without each fold (if there are several) and the fit to all, side by side in the columns.

    Variables are (r + 1, f, c): scaled weights and, last, scaled intercepts.
    """

    def __init__(
        self,
        rotated: NDArray[np.float32],
        labels: NDArray[np.int64],
        balanced: bool,
        fold: NDArray[np.int64],
        count: int,
        classes: int,
        eigenvalues: Array,
    ) -> None:
        self.rotated, self.labels, self.fold = rotated, labels, fold
        self.fits = count + 1 if count > 1 else 1
        self.weights = np.zeros((len(labels), self.fits), np.float32)  # 0 for what a fit does not see
        for fit in range(self.fits):
            seen = fold != fit if count > 1 else np.ones(len(labels), bool)
            self.weights[seen, fit] = class_weights(labels[seen], classes) if balanced else 1
        self.classes, self.eigenvalues = classes, eigenvalues
        self.solution = np.zeros((rotated.shape[1] + 1, self.fits, classes))  # in rotated coordinates
        self.logits = np.empty((len(rotated), self.fits, classes), np.float32)
        self.errors = np.empty_like(self.logits)

    def solve(self, penalty: float, tolerance: float) -> None:
        """Move the solution to this penalty."""
        bend = self._curvature()
        bound = np.append(bend * self.eigenvalues + penalty, bend * len(self.weights))
        scale = (1 / np.sqrt(np.maximum(bound, 1e-30)))[:, None, None]

        def value_and_slope(flat: Any) -> tuple[float, Any]:
            value, slope = self._value_and_slope(flat.reshape(self.solution.shape) * scale, penalty)
            return value / samples, (slope * (scale / samples)).ravel()

        samples = len(self.rotated)
        start: Any = (self.solution / scale).ravel()
        found = minimize(
            value_and_slope,
            start,
            jac=True,
            method="L-BFGS-B",
            options={"maxiter": STEPS, "ftol": tolerance, "gtol": 1e-6 * samples**-0.5},
        )
        self.solution = found.x.reshape(self.solution.shape) * scale

    def _curvature(self) -> float:
        """Mean p (1 - p) of the predicted shares at the solution, from some of the samples; at most 1/4."""
        some = slice(0, None, max(1, len(self.rotated) // TILE))
        shares = softmax(self._products(self.solution)[some], axis=2)
        return max(float(np.mean(shares * (1 - shares))), 1e-4)

    def _value_and_slope(self, variables: Array, penalty: float) -> tuple[float, Array]:
        coefficients = variables[:-1].reshape(len(variables) - 1, -1)
        self._products(variables)
        losses = np.zeros(len(self.rotated) // TILE + 1)

        def tile(start: int, stop: int) -> None:
            part = slice(start, stop)
            losses[start // TILE] = _residuals(
                self.logits[part], self.labels[part], self.weights[part], self.errors[part]
            )

        run_tiles(tile, spans(len(self.rotated), TILE))
        flat = self.errors.reshape(len(self.errors), -1)
        slope = np.empty(variables.shape)
        slope[:-1] = (self.rotated.T @ flat).reshape(slope[:-1].shape) + penalty * variables[:-1]
        slope[-1] = flat.sum(axis=0, dtype=np.float64).reshape(self.fits, self.classes)
        return float(losses.sum() + 0.5 * penalty * np.sum(coefficients**2)), slope

    def _products(self, variables: Array) -> NDArray[np.float32]:
        """Logits (n, f, c) of these variables."""
        weights = variables[:-1].reshape(len(variables) - 1, -1).astype(np.float32)
        flat = self.logits.reshape(len(self.logits), -1)
        np.matmul(self.rotated, weights, out=flat)
        flat += variables[-1].ravel().astype(np.float32)
        return self.logits

    def left_out(self) -> NDArray[np.float32]:
        """Logits (n, c) of each sample by the fit that has not seen its fold."""
        self._products(self.solution)
        return self.logits[np.arange(len(self.logits)), self.fold].copy()

    def whole(self) -> tuple[Array, Array]:
        """Weights (r, c) and intercept (c,) of the fit to all."""
        return self.solution[:-1, -1].copy(), self.solution[-1, -1].copy()


@njit(cache=True, nogil=True)
def _residuals(logits, labels, weights, errors):  # type: ignore[no-untyped-def]
    """Writes the slope of the weighted cross entropy and returns its sum; a fit does not see what weighs nothing."""
    rows, fits, classes = logits.shape
    total = 0.0
    for row in range(rows):
        for fit in range(fits):
            weight = weights[row, fit]
            if weight == 0:
                errors[row, fit] = 0
                continue
            largest = logits[row, fit].max()
            mass = np.float32(0)
            for c in range(classes):
                value = np.exp(logits[row, fit, c] - largest)
                errors[row, fit, c] = value
                mass += value
            share = weight / mass
            for c in range(classes):
                errors[row, fit, c] *= share
            errors[row, fit, labels[row]] -= weight
            total += weight * (np.log(mass) + largest - logits[row, fit, labels[row]])
    return total
