"""Metrics of predictions against labels; a class that is absent from `y` is dropped, never averaged in."""

from collections.abc import Callable
from functools import partial

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray

from autossl.proxies.checks import class_index, score_matrix
from autossl.proxies.folds import by_fold, within_folds

Array = NDArray[np.float64]
Ints = NDArray[np.int64]
Ranked = list[tuple[NDArray[np.bool_], Array]]  # of each class or label: who has it, and everyone's score


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


def macro_auroc(y: ArrayLike, scores: ArrayLike, folds: Ints | None = None) -> float:
    """Mean over classes of the area under the one-vs-rest ROC curve of `scores` (n, c), ties counted as half.

    A class without positives or without negatives has no such area and is dropped; without any class left: NaN. With
    `folds` (n,) it is the share of pairs within folds that are in order.
    """
    return _macro(partial(area_of_class, folds=folds), of_classes(y, scores))


def multilabel_auroc(y: ArrayLike, scores: ArrayLike, folds: Ints | None = None) -> float:
    """Mean over labels of the area under the ROC curve; y (n, t) or (n,) in {0, 1}, scores of the same shape.

    In [0, 1], 0.5 is chance; ties count half. A label which all samples have, or none, is dropped; without any left:
    NaN (scikit-learn refuses or warns). Rare labels weigh as much as common ones, so a label with a handful of
    positives makes the mean noisy. `folds` as in `macro_auroc`.
    """
    return _macro(partial(area_of_class, folds=folds), of_labels(y, scores))


def average_precision(y: ArrayLike, scores: ArrayLike) -> float:
    """Mean over classes or labels of the step-wise average precision, sum of (R_i - R_(i-1)) P_i over thresholds.

    y (n,) class indices with scores (n, c), one class against the rest; or y (n, t) in {0, 1} with scores (n, t). In
    (0, 1]; equal scores form one threshold and nothing is interpolated, as in scikit-learn. Classes without both
    outcomes are dropped, where scikit-learn gives 0 or 1; without any left: NaN. Chance is the share of positives,
    so values of sets with different prevalence cannot be compared.
    """
    return _macro(precision_of_class, of_labels(y, scores) if np.ndim(y) == 2 else of_classes(y, scores))


def mae(y: ArrayLike, predicted: ArrayLike) -> float:
    """Mean absolute error of predictions (n,) or (n, t), the mean over the targets, in their units."""
    truth = score_matrix(y, len(np.asarray(y)))
    return float(np.abs(truth - score_matrix(predicted, *truth.shape)).mean())


def r2(y: ArrayLike, predicted: ArrayLike) -> float:
    """Coefficient of determination of real values (n,) or (n, t), averaged over targets that vary; else NaN."""
    truth = score_matrix(y, len(np.asarray(y)))
    errors = ((truth - score_matrix(predicted, *truth.shape)) ** 2).sum(axis=0)
    spread = ((truth - truth.mean(axis=0)) ** 2).sum(axis=0)
    varies = spread > 0
    return float(np.mean(1 - errors[varies] / spread[varies])) if varies.any() else float("nan")


def spearman(y: ArrayLike, predicted: ArrayLike, folds: Ints | None = None) -> float:
    """Rank correlation of real values (n,) or (n, t), ties with their mean rank, averaged over targets that vary.

    In [-1, 1]; NaN where no target varies. A constant prediction orders nothing and scores 0, as its ROC area would
    be one half; SciPy returns NaN. It ignores scale and offset: a probe that is off by a factor scores full marks.
    With `folds` (n,) ranks are those within a fold, less the fold's mean.
    """
    truth = score_matrix(y, len(np.asarray(y)))
    guess = score_matrix(predicted, *truth.shape)
    parts = [slice(None)] if folds is None else [np.flatnonzero(folds == fold) for fold in np.unique(folds)]
    ranks = [
        np.concatenate([np.apply_along_axis(_centred_ranks, 0, values[part]) for part in parts])
        for values in (truth, guess)
    ]
    spreads = [(table**2).sum(axis=0) for table in ranks]
    varies = spreads[0] > 0
    if not varies.any():
        return float("nan")
    scale = np.sqrt(spreads[0] * spreads[1])[varies]
    return float(np.mean((ranks[0] * ranks[1]).sum(axis=0)[varies] / np.where(scale > 0, scale, 1)))


def quadratic_kappa(y: ArrayLike, predicted: ArrayLike, folds: Ints | None = None) -> float:
    """Cohen's kappa with quadratic weights of ordinal classes: y (n,) whole numbers, predicted (n,) or (n, 1) real.

    Predictions are rounded (halves to the even neighbour) and clipped to the range of `y`. In [-1, 1]; 0 is the
    agreement of independent ratings with the same margins; NaN where all of y is one class. 1 - n sum (y - p)^2 / (sum
    over all pairs (y_i - p_j)^2) (Cohen 1968, Psychological Bulletin 70). It rewards a spread of predictions: shrunk
    ones, such as ridge gives, score low though well ordered; see `spearman`. With `folds` (n,) pairs
    are those of a fold.
    """
    truth, guess = ordinal(y, predicted)
    table = moments_of_ratings(truth, guess, truth.min(), truth.max())
    place = np.zeros(len(truth), np.int64) if folds is None else folds
    sums: Array = np.stack([np.bincount(place, weights=column) for column in table.T], axis=1).astype(np.float64)
    return float(kappa(sums))


def dice(y: ArrayLike, scores: ArrayLike) -> float:
    """Dice coefficient of the classes predicted by the largest score, averaged over classes present in `y`.

    y (n,) class indices or (n, c) shares in [0, 1], scores (n, c). All samples are pooled: 2 I / (T + P), with I the
    share of a class within samples predicted as it, T and P the class's share and predictions in all (Dice 1945).
    In [0, 1]; with shares 1 cannot be reached, for predictions are of one class. NaN where no class has a share. Pooled
    Dice is dominated by large structures; the Dice averaged over images, which many challenges report, is not this.
    """
    return float(mean_of_defined(overlaps(*(table.sum(axis=0) for table in overlap_tables(y, scores)))[0]))


def miou(y: ArrayLike, scores: ArrayLike) -> float:
    """Intersection over union I / (T + P - I), otherwise as `dice` (Jaccard 1912); never above it."""
    return float(mean_of_defined(overlaps(*(table.sum(axis=0) for table in overlap_tables(y, scores)))[1]))


def of_classes(y: ArrayLike, scores: ArrayLike) -> Ranked:
    """One class against the rest, for every class present: y (n,) class indices, scores (n, c)."""
    table = score_matrix(scores, len(np.asarray(y)))
    truth = class_index(y, table.shape[1], len(table))
    return [(truth == c, table[:, c]) for c in np.unique(truth)]


def of_labels(y: ArrayLike, scores: ArrayLike) -> Ranked:
    """Every label: y (n, t) or (n,) in {0, 1}, scores of the same shape."""
    truth = score_matrix(y, len(np.asarray(y)))
    table = score_matrix(scores, *truth.shape)
    if not np.isin(truth, (0, 1)).all():
        raise ValueError(f"y must hold 0 or 1 for each label, found values from {truth.min():g} to {truth.max():g}.")
    return [(truth[:, label] == 1, table[:, label]) for label in range(truth.shape[1])]


def area_of_class(positive: NDArray[np.bool_], scores: Array, folds: Ints | None = None) -> float:
    """Area under the ROC curve of scores (n,) for `positive` (n,), over pairs within `folds`; NaN without a pair."""
    order, folds = by_fold(scores, folds)
    return float(_area(positive[order], scores[order], folds))


def precision_of_class(positive: NDArray[np.bool_], scores: Array) -> float:
    """Average precision of scores (n,) for `positive` (n,), of which at least one must be true."""
    order = np.argsort(-scores, kind="stable")
    last = np.append(np.flatnonzero(np.diff(scores[order])), len(order) - 1)  # of each run of equal scores
    hits = np.cumsum(positive[order])[last]
    return float(np.sum(np.diff(hits, prepend=0) * hits / (last + 1)) / hits[-1])


def ordinal(y: ArrayLike, predicted: ArrayLike) -> tuple[Array, Array]:
    """Returns whole-numbered truth (n,) and rounded predictions (n,)."""
    truth = score_matrix(y, len(np.asarray(y)), 1)[:, 0]
    if not (truth == np.rint(truth)).all():
        raise ValueError("y must hold whole numbers, the ordered classes, found fractions.")
    return truth, np.rint(score_matrix(predicted, len(truth), 1)[:, 0])


def moments_of_ratings(truth: Array, guess: Array, low: float, high: float) -> Array:
    """Returns for each sample 1, y, p, y^2 + p^2 and (y - p)^2 (n, 5), p clipped to [low, high], both less `low`."""
    rating, guess = truth - low, np.clip(guess, low, high) - low
    return np.column_stack([np.ones(len(truth)), rating, guess, rating**2 + guess**2, (rating - guess) ** 2])


def kappa(sums: Array) -> Array:
    """Kappa from sums (folds, ..., 5) of `moments_of_ratings`; NaN where truth and predictions are one class."""
    count, rating, guess, squares, misses = np.moveaxis(sums, -1, 0)
    pairs = (count * squares - 2 * rating * guess).sum(axis=0)
    return np.where(pairs > 0, 1 - (count * misses).sum(axis=0) / np.where(pairs > 0, pairs, 1), np.nan)


def overlap_tables(y: ArrayLike, scores: ArrayLike) -> tuple[Array, Array, Array]:
    """Returns for each sample and class, (n, c) each: share where predicted, share, and 1 where predicted."""
    table = score_matrix(scores, len(np.asarray(y)))
    classes = table.shape[1]
    if np.ndim(y) == 2:
        truth = score_matrix(y, *table.shape)
        if truth.min() < 0 or truth.max() > 1 + 1e-6:
            raise ValueError(f"y must hold shares in [0, 1], found {truth.min():g} to {truth.max():g}.")
    else:
        truth = np.eye(classes)[class_index(y, classes, len(table))]
    predicted = np.eye(classes)[table.argmax(axis=1)]
    return truth * predicted, truth, predicted


def overlaps(both: Array, truth: Array, predicted: Array) -> tuple[Array, Array]:
    """Returns Dice and intersection over union from sums by class; NaN for a class without a share of the truth."""
    present = truth > 0
    total = np.where(present, truth + predicted, 1)
    dice_of = np.where(present, 2 * both / total, np.nan)
    return dice_of, np.where(present, both / np.where(present, total - both, 1), np.nan)


def mean_of_defined(values: Array) -> Array:
    """Mean over the last axis of what is not NaN; NaN where nothing is."""
    defined = np.isfinite(values)
    count = defined.sum(axis=-1)
    total = np.where(defined, values, 0).sum(axis=-1)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _centred_ranks(values: Array) -> Array:
    """Ranks of values (n,), ties with their mean rank, less the mean of all ranks."""
    _, places, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks: Array = (np.cumsum(counts) - (counts + len(values)) / 2)[places]
    return ranks


def _macro(of: Callable[[NDArray[np.bool_], Array], float], outcomes: Ranked) -> float:
    values = [of(positive, scores) for positive, scores in outcomes if positive.any() and not positive.all()]
    return float(mean_of_defined(np.array(values)))


@njit(cache=True, nogil=True)
def _area(positive, scores, folds):  # type: ignore[no-untyped-def]
    """Mann-Whitney statistic over pairs of a fold, from scores in ascending order; runs of equal scores count half."""
    below = ups_so_far = wins = pairs = 0.0
    start = 0
    while start < len(scores):
        if start > 0 and folds[start] != folds[start - 1]:
            pairs += below * ups_so_far
            below = ups_so_far = 0.0
        stop = start
        while stop < len(scores) and scores[stop] == scores[start] and folds[stop] == folds[start]:
            stop += 1
        ups = positive[start:stop].sum()
        downs = stop - start - ups
        wins += ups * (below + 0.5 * downs)
        below += downs
        ups_so_far += ups
        start = stop
    pairs += below * ups_so_far
    return wins / pairs if pairs > 0 else np.nan


@njit(cache=True, nogil=True)
def _largest(scores):  # type: ignore[no-untyped-def]
    """The place of the first largest of each row's few scores, which NumPy's argmax takes ten times as long to find."""
    places = np.empty(len(scores), np.int64)
    for i in range(len(scores)):
        best = 0
        for c in range(1, scores.shape[1]):
            if scores[i, c] > scores[i, best]:
                best = c
        places[i] = best
    return places


def balanced_accuracy_of_scores(y: ArrayLike, scores: ArrayLike, folds: Ints | None = None) -> float:
    """The same of class scores (n, c), whose largest is what is predicted; within `folds` (n,) where given."""
    table = np.asarray(scores)
    if folds is None:
        return balanced_accuracy(y, _largest(table), table.shape[1])
    labels = class_index(y, table.shape[1], len(table))
    weights, table = within_folds(labels, table, folds)
    sizes, hits = (np.bincount(labels, weights * ones) for ones in (1.0, _largest(table) == labels))
    return float(mean_of_defined(np.where(sizes > 0, hits / np.where(sizes > 0, sizes, 1), np.nan)))


def accuracy_of_scores(y: ArrayLike, scores: ArrayLike) -> float:
    """Share of samples whose class has the largest of the scores (n, c)."""
    return accuracy(y, _largest(np.asarray(scores)))
