"""Every metric prepared for patient draws: what does not change between draws is summed up or sorted once."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray

from autossl.proxies.checks import class_index, score_matrix
from autossl.proxies.folds import by_fold, within_folds
from autossl.proxies.image_metrics import object_counts, of_images, of_queries, overlap_counts, shares_met
from autossl.proxies.metrics import (
    Ranked,
    kappa,
    mean_of_defined,
    moments_of_ratings,
    of_classes,
    of_labels,
    ordinal,
    overlap_tables,
    overlaps,
)

Array = NDArray[np.float64]
Owner = NDArray[np.int64]
Of = Callable[[Array], Array]  # from how often each patient is in each draw, (patients, draws), to values (draws,)
Folds = NDArray[np.int64] | None  # of each sample, where metrics compare within folds only
Prepare = Callable[[ArrayLike, ArrayLike, Owner, int, Folds], Of]


def _sums(values: Array, owner: Owner, patients: int) -> Array:
    """Adds up rows (n, k) by patient, (patients, k)."""
    sums = np.empty((patients, values.shape[1]))
    for place, column in enumerate(values.T):
        sums[:, place] = np.bincount(owner, weights=column, minlength=patients)
    return sums


def _recalls(y: ArrayLike, scores: ArrayLike, owner: Owner, patients: int, folds: Folds) -> tuple[Array, Array]:
    """Returns by patient and class the samples predicted rightly and all samples, weighted, (patients, c) each."""
    table: NDArray[Any] = score_matrix(scores, len(owner))
    labels = class_index(y, table.shape[1], len(owner))
    onehot = np.eye(table.shape[1])[labels]
    if folds is not None:
        weights, table = within_folds(labels, table, folds)
        onehot *= weights[:, None]
    right = table.argmax(axis=1) == labels
    return _sums(onehot * right[:, None], owner, patients), _sums(onehot, owner, patients)


def balanced_accuracy(y: ArrayLike, scores: ArrayLike, owner: Owner, patients: int, folds: Folds) -> Of:
    right, sizes = _recalls(y, scores, owner, patients, folds)

    def of(counts: Array) -> Array:
        drawn = counts.T @ sizes
        return mean_of_defined(np.where(drawn > 0, counts.T @ right / np.where(drawn > 0, drawn, 1), np.nan))

    return of


def accuracy(y: ArrayLike, scores: ArrayLike, owner: Owner, patients: int, _: Folds) -> Of:
    right, sizes = (table.sum(axis=1) for table in _recalls(y, scores, owner, patients, None))
    return lambda counts: (counts.T @ right) / (counts.T @ sizes)


def r2(y: ArrayLike, scores: ArrayLike, owner: Owner, patients: int, _: Folds) -> Of:
    truth = score_matrix(y, len(owner))
    truth = truth - truth.mean(axis=0)  # or the sums of squares would lose digits
    errors = score_matrix(y, len(owner)) - score_matrix(scores, *truth.shape)
    squares, totals, misses = (_sums(table, owner, patients) for table in (truth**2, truth, errors**2))
    sizes = np.bincount(owner, minlength=patients).astype(np.float64)

    def of(counts: Array) -> Array:
        spread = counts.T @ squares - (counts.T @ totals) ** 2 / (counts.T @ sizes)[:, None]
        varies = spread > 1e-12 * squares.sum(axis=0)
        return mean_of_defined(np.where(varies, 1 - counts.T @ misses / np.where(varies, spread, 1), np.nan))

    return of


def mae(y: ArrayLike, scores: ArrayLike, owner: Owner, patients: int, _: Folds) -> Of:
    truth = score_matrix(y, len(owner))
    misses = _sums(np.abs(truth - score_matrix(scores, *truth.shape)), owner, patients).mean(axis=1)
    sizes = np.bincount(owner, minlength=patients).astype(np.float64)
    return lambda counts: (counts.T @ misses) / (counts.T @ sizes)


def overlap(which: int, y: ArrayLike, scores: ArrayLike, owner: Owner, patients: int, _: Folds) -> Of:
    tables = [_sums(table, owner, patients) for table in overlap_tables(y, scores)]
    return lambda counts: mean_of_defined(overlaps(*(counts.T @ table for table in tables))[which])


def queries(which: int, y: ArrayLike, scores: ArrayLike, owner: Owner, patients: int, _: Folds) -> Of:
    return _mean(of_queries(scores)[:, which : which + 1], owner, patients)


def images(which: int, y: ArrayLike, scores: ArrayLike, owner: Owner, patients: int, _: Folds) -> Of:
    return _mean(of_images(y, scores)[:, which : which + 1], owner, patients)


def pooled(which: int, y: ArrayLike, scores: ArrayLike, owner: Owner, patients: int, _: Folds) -> Of:
    tables = [_sums(table, owner, patients) for table in overlap_counts(y, scores)]
    return lambda counts: mean_of_defined(overlaps(*(counts.T @ table for table in tables))[which])


def objects(y: ArrayLike, scores: ArrayLike, owner: Owner, patients: int, _: Folds) -> Of:
    tables = [_sums(table, owner, patients) for table in object_counts(y, scores)]
    return lambda counts: mean_of_defined(shares_met(*(counts.T @ table for table in tables)))


def cases(
    of_cases: Callable[[ArrayLike, ArrayLike], Array],
    y: ArrayLike, scores: ArrayLike, owner: Owner, patients: int, _: Folds,
) -> Of:  # fmt: skip
    return _mean(of_cases(y, scores), owner, patients)


def _mean(each: Array, owner: Owner, patients: int) -> Of:
    """The mean of values (n, k) over the rows in which they are defined, then over the columns."""
    there = np.isfinite(each)
    total, cases = _sums(np.where(there, each, 0), owner, patients), _sums(there.astype(np.float64), owner, patients)

    def of(counts: Array) -> Array:
        drawn = counts.T @ cases
        return mean_of_defined(np.where(drawn > 0, counts.T @ total / np.where(drawn > 0, drawn, 1), np.nan))

    return of


def quadratic_kappa(y: ArrayLike, scores: ArrayLike, owner: Owner, patients: int, folds: Folds) -> Of:
    """Predictions are clipped to the range of the truth that was drawn; few ranges occur, each is summed up once."""
    truth, guess = ordinal(y, scores)
    lows, highs = np.full(patients, np.inf), np.full(patients, -np.inf)
    np.minimum.at(lows, owner, truth)
    np.maximum.at(highs, owner, truth)
    fold_of = np.zeros(patients, np.int64)  # folds hold patients whole
    if folds is not None:
        fold_of[owner] = folds
    parts = [np.flatnonzero(fold_of == fold) for fold in np.unique(fold_of)]

    def of(counts: Array) -> Array:
        low = np.where(counts > 0, lows[:, None], np.inf).min(axis=0)
        high = np.where(counts > 0, highs[:, None], -np.inf).max(axis=0)
        values = np.empty(counts.shape[1])
        for bounds in np.unique(np.column_stack([low, high]), axis=0):
            alike = (low == bounds[0]) & (high == bounds[1])
            sums = _sums(moments_of_ratings(truth, guess, *bounds), owner, patients)
            values[alike] = kappa(np.stack([counts[np.ix_(part, alike)].T @ sums[part] for part in parts]))
        return values

    return of


def spearman(y: ArrayLike, scores: ArrayLike, owner: Owner, patients: int, folds: Folds) -> Of:
    truth = score_matrix(y, len(owner))
    guess = score_matrix(scores, *truth.shape)
    orders = [[by_fold(column, folds) for column in table.T] for table in (truth, guess)]

    def of(counts: Array) -> Array:
        values = np.empty((counts.shape[1], truth.shape[1]))
        for target in range(truth.shape[1]):
            ranks = [
                _mid_ranks(order[target][0], table[order[target][0], target], order[target][1], owner, counts)
                for order, table in zip(orders, (truth, guess), strict=True)
            ]
            values[:, target] = _rank_correlation(ranks[0], ranks[1], owner, counts)
        return mean_of_defined(values)

    return of


def ranked(
    outcomes: Callable[[ArrayLike, ArrayLike], Ranked],
    kernel: Callable[..., Array],
    y: ArrayLike,
    scores: ArrayLike,
    owner: Owner,
    patients: int,
    folds: Folds,
) -> Of:
    """Sorts each class's or label's samples once; `kernel` then walks along them for all draws."""
    ranked = []
    for positive, column in outcomes(y, scores):
        order, fold = by_fold(column, folds)
        ranked.append((positive[order], column[order], fold, owner[order]))
    return lambda counts: mean_of_defined(np.stack([kernel(*columns, counts) for columns in ranked], axis=1))


def of_either(y: ArrayLike, scores: ArrayLike) -> Ranked:
    return of_labels(y, scores) if np.ndim(y) == 2 else of_classes(y, scores)


@njit(cache=True, nogil=True)
def areas(positive, scores, folds, owner, counts):  # type: ignore[no-untyped-def]
    """Area under the ROC curve over pairs of a fold in each draw, from ascending scores; equal scores count half.

    The innermost loops run over draws, which lie side by side in memory, so that they are vectorised.
    """
    draws = counts.shape[1]
    below, wins, ups, downs = np.zeros(draws), np.zeros(draws), np.zeros(draws), np.zeros(draws)
    positives, pairs = np.zeros(draws), np.zeros(draws)
    start = 0
    while start < len(scores):
        if start > 0 and folds[start] != folds[start - 1]:
            pairs += below * positives
            below[:] = 0
            positives[:] = 0
        stop = start
        ups[:] = 0
        downs[:] = 0
        while stop < len(scores) and scores[stop] == scores[start] and folds[stop] == folds[start]:
            row = counts[owner[stop]]
            if positive[stop]:
                ups += row
            else:
                downs += row
            stop += 1
        for draw in range(draws):
            wins[draw] += ups[draw] * (below[draw] + 0.5 * downs[draw])
            below[draw] += downs[draw]
            positives[draw] += ups[draw]
        start = stop
    pairs += below * positives
    for draw in range(draws):
        wins[draw] = wins[draw] / pairs[draw] if pairs[draw] > 0 else np.nan
    return wins


@njit(cache=True, nogil=True)
def precisions(positive, scores, folds, owner, counts):  # type: ignore[no-untyped-def]
    """Average precision in each draw, from scores in ascending order; folds are not told apart."""
    draws = counts.shape[1]
    hits, seen, ups, total = np.zeros(draws), np.zeros(draws), np.zeros(draws), np.zeros(draws)
    stop = len(scores)
    while stop > 0:
        start = stop
        ups[:] = 0
        while start > 0 and scores[start - 1] == scores[stop - 1]:
            start -= 1
            row = counts[owner[start]]
            seen += row
            if positive[start]:
                ups += row
        for draw in range(draws):
            hits[draw] += ups[draw]
            total[draw] += ups[draw] * hits[draw] / max(seen[draw], 1.0)
        stop = start
    for draw in range(draws):
        total[draw] = total[draw] / hits[draw] if 0 < hits[draw] < seen[draw] else np.nan
    return total


@njit(cache=True, nogil=True)
def _mid_ranks(order, values, folds, owner, counts):  # type: ignore[no-untyped-def]
    """Mean rank of each sample among those drawn of its fold, less the mean of all these, (n, draws)."""
    draws = counts.shape[1]
    ranks = np.empty((len(order), draws))
    below, ties = np.zeros(draws), np.zeros(draws)
    start = first = 0
    while start < len(order):
        stop = start
        ties[:] = 0
        while stop < len(order) and values[stop] == values[start] and folds[stop] == folds[start]:
            ties += counts[owner[order[stop]]]
            stop += 1
        for place in range(start, stop):
            for draw in range(draws):
                ranks[order[place], draw] = below[draw] + 0.5 * ties[draw]
        below += ties
        start = stop
        if start == len(order) or folds[start] != folds[first]:  # the end of a fold
            for place in range(first, start):
                for draw in range(draws):
                    ranks[order[place], draw] -= 0.5 * below[draw]
            below[:] = 0
            first = start
    return ranks


@njit(cache=True, nogil=True)
def _rank_correlation(first, second, owner, counts):  # type: ignore[no-untyped-def]
    """Correlation of two tables of centred ranks (n, draws) in each draw; NaN where the first does not vary."""
    draws = counts.shape[1]
    product, spread, other = np.zeros(draws), np.zeros(draws), np.zeros(draws)
    for row in range(len(first)):
        count = counts[owner[row]]
        for draw in range(draws):
            a, b = first[row, draw], second[row, draw]
            product[draw] += count[draw] * a * b
            spread[draw] += count[draw] * a * a
            other[draw] += count[draw] * b * b
    for draw in range(draws):
        scale = np.sqrt(spread[draw] * other[draw])
        product[draw] = product[draw] / scale if scale > 0 else (0.0 if spread[draw] > 0 else np.nan)
    return product
