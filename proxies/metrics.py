"""Metrics of predictions against labels; a class that is absent from `y` is dropped, never averaged in."""

from collections.abc import Callable

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray

from autossl.proxies.checks import class_index, score_matrix


def accuracy(y: ArrayLike, predicted: ArrayLike) -> float:
    """Share of the n samples whose predicted class is the true one."""
    return float(np.mean(np.asarray(y) == np.asarray(predicted)))


def balanced_accuracy(y: ArrayLike, predicted: ArrayLike, classes: int | None = None) -> float:
    """Mean recall over the classes present in `y` (n,); `predicted` (n,) may name any of the `classes`."""
    if classes is None:
        classes = 1 + int(max(np.max(np.asarray(y), initial=0), np.max(np.asarray(predicted), initial=0)))
    truth = class_index(y, classes)
    right = truth == class_index(predicted, classes, len(truth), "predicted")
    hits = np.bincount(truth, weights=right, minlength=classes)
    sizes = np.bincount(truth, minlength=classes)
    return float(np.mean(hits[sizes > 0] / sizes[sizes > 0]))


def macro_auroc(y: ArrayLike, scores: ArrayLike) -> float:
    """Mean over classes of the area under the one-vs-rest ROC curve of `scores` (n, c), ties counted as half.

    A class without positives or without negatives has no such area and is dropped; without any class left: NaN.
    """
    table = score_matrix(scores, len(np.asarray(y)))
    truth = class_index(y, table.shape[1], len(table))
    areas = [area_of_class(truth == c, table[:, c]) for c in np.unique(truth) if not (truth == c).all()]
    return float(np.mean(areas)) if areas else float("nan")


def r2(y: ArrayLike, predicted: ArrayLike) -> float:
    """Coefficient of determination of real values (n,) or (n, t), averaged over targets that vary; else NaN."""
    truth = score_matrix(y, len(np.asarray(y)))
    errors = ((truth - score_matrix(predicted, *truth.shape)) ** 2).sum(axis=0)
    spread = ((truth - truth.mean(axis=0)) ** 2).sum(axis=0)
    varies = spread > 0
    return float(np.mean(1 - errors[varies] / spread[varies])) if varies.any() else float("nan")


def area_of_class(positive: NDArray[np.bool_], scores: NDArray[np.float64]) -> float:
    order = np.argsort(scores, kind="stable")
    return float(_area(positive[order], scores[order]))


@njit(cache=True, nogil=True)
def _area(positive, scores):  # type: ignore[no-untyped-def]
    """Mann-Whitney statistic over pairs, from scores in ascending order; runs of equal scores count half."""
    below = wins = 0.0
    start = 0
    while start < len(scores):
        stop = start
        while stop < len(scores) and scores[stop] == scores[start]:
            stop += 1
        ups = positive[start:stop].sum()
        downs = stop - start - ups
        wins += ups * (below + 0.5 * downs)
        below += downs
        start = stop
    return wins / (below * (len(scores) - below))


def _of_scores(y: ArrayLike, scores: ArrayLike) -> float:
    table = np.asarray(scores)
    return balanced_accuracy(y, table.argmax(axis=1), table.shape[1])


def _accuracy_of_scores(y: ArrayLike, scores: ArrayLike) -> float:
    return accuracy(y, np.asarray(scores).argmax(axis=1))


# Metrics by name, each a function of truth and scores: class scores (n, c), or predicted values for r2.
METRICS: dict[str, Callable[[ArrayLike, ArrayLike], float]] = {
    "accuracy": _accuracy_of_scores,
    "balanced_accuracy": _of_scores,
    "macro_auroc": macro_auroc,
    "r2": r2,
}


def score(metric: str, y: ArrayLike, scores: ArrayLike) -> float:
    """Computes a metric of METRICS by name from scores (n, c)."""
    if metric not in METRICS:
        raise ValueError(f"metric must be one of {', '.join(METRICS)}, found {metric!r}.")
    return METRICS[metric](y, scores)
