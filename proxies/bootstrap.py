"""Patient-cluster bootstrap of several metrics from the same draws."""

from collections.abc import Callable, Sequence

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray

from autossl.proxies.checks import class_index, group_index, score_matrix
from autossl.proxies.metrics import METRICS
from autossl.proxies.tiles import run_tiles, spans

Array = NDArray[np.float64]

CHUNK = 64  # draws at a time: one (patients, 64) table of counts, and SIMD lanes for the ranks


def bootstrap(
    y: ArrayLike,
    scores: ArrayLike,
    groups: ArrayLike | None = None,
    *,
    metrics: Sequence[str] = ("balanced_accuracy", "macro_auroc"),
    draws: int = 1000,
    seed: int = 0,
) -> dict[str, Array]:
    """Draws patients with replacement and returns every metric of each draw, {metric: (draws,)}.

    y (n,) class indices and scores (n, c); for r2 real values (n,) or (n, t) and predictions. Groups (n,) are
    patients; without them each sample is one. The draws depend on the seed and the number of patients alone (numbered
    in sorted order of their ids), so differences of two calls with the same y and groups are paired. Classes that a
    draw lacks are dropped from it, as in the metric itself; a draw without any is NaN. Memory: 8 * 64 * patients bytes
    per thread. Efron 1979; for clusters Field and Welsh 2007.
    """
    unknown = sorted(set(metrics) - METRICS.keys())
    if unknown or draws < 1:
        raise ValueError(f"metrics must be among {', '.join(METRICS)} and draws positive, found {unknown}, {draws}.")
    owner = group_index(groups, len(np.asarray(y)))
    patients = int(owner.max()) + 1
    prepared = {metric: _PREPARE[metric](y, scores, owner, patients) for metric in metrics}
    values = {metric: np.empty(draws) for metric in metrics}

    def chunk(start: int, stop: int) -> None:
        counts = _counts(seed, start, stop, patients)
        for metric, of in prepared.items():
            values[metric][start:stop] = of(counts)

    run_tiles(chunk, spans(draws, CHUNK))
    return values


def _counts(seed: int, start: int, stop: int, patients: int) -> Array:
    """Returns how often each patient is in each draw, (patients, draws); each chunk has its own stream."""
    picks = np.random.default_rng([seed, start]).integers(0, patients, (stop - start, patients), dtype=np.int32)
    counts = np.empty((patients, stop - start))
    for draw, row in enumerate(picks):
        counts[:, draw] = np.bincount(row, minlength=patients)
    return counts


def _sums(values: Array, owner: NDArray[np.int64], patients: int) -> Array:
    """Adds up rows (n, k) by patient, (patients, k)."""
    sums = np.empty((patients, values.shape[1]))
    for place, column in enumerate(values.T):
        sums[:, place] = np.bincount(owner, weights=column, minlength=patients)
    return sums


def _mean_of_defined(values: Array) -> Array:
    """Mean over the last axis of what is not NaN; NaN where nothing is."""
    defined = np.isfinite(values)
    count = defined.sum(axis=-1)
    total = np.where(defined, values, 0).sum(axis=-1)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _recalls(y: ArrayLike, scores: ArrayLike, owner: NDArray[np.int64], patients: int) -> tuple[Array, Array]:
    """Returns by patient and class the samples predicted rightly and all samples, (patients, c) each."""
    table = score_matrix(scores, len(owner))
    onehot = np.eye(table.shape[1])[class_index(y, table.shape[1], len(owner))]
    right = onehot[np.arange(len(owner)), table.argmax(axis=1)]
    return _sums(onehot * right[:, None], owner, patients), _sums(onehot, owner, patients)


def _balanced_accuracy(
    y: ArrayLike, scores: ArrayLike, owner: NDArray[np.int64], patients: int
) -> Callable[[Array], Array]:
    right, sizes = _recalls(y, scores, owner, patients)

    def of(counts: Array) -> Array:
        drawn = counts.T @ sizes
        return _mean_of_defined(np.where(drawn > 0, counts.T @ right / np.maximum(drawn, 1), np.nan))

    return of


def _accuracy(y: ArrayLike, scores: ArrayLike, owner: NDArray[np.int64], patients: int) -> Callable[[Array], Array]:
    right, sizes = (table.sum(axis=1) for table in _recalls(y, scores, owner, patients))
    return lambda counts: (counts.T @ right) / (counts.T @ sizes)


def _r2(y: ArrayLike, scores: ArrayLike, owner: NDArray[np.int64], patients: int) -> Callable[[Array], Array]:
    truth = score_matrix(y, len(owner))
    truth = truth - truth.mean(axis=0)  # or the sums of squares would lose digits
    errors = score_matrix(y, len(owner)) - score_matrix(scores, *truth.shape)
    squares, totals, misses = (_sums(table, owner, patients) for table in (truth**2, truth, errors**2))
    sizes = np.bincount(owner, minlength=patients).astype(np.float64)

    def of(counts: Array) -> Array:
        spread = counts.T @ squares - (counts.T @ totals) ** 2 / (counts.T @ sizes)[:, None]
        varies = spread > 1e-12 * squares.sum(axis=0)
        return _mean_of_defined(np.where(varies, 1 - counts.T @ misses / np.where(varies, spread, 1), np.nan))

    return of


def _macro_auroc(y: ArrayLike, scores: ArrayLike, owner: NDArray[np.int64], patients: int) -> Callable[[Array], Array]:
    table = score_matrix(scores, len(owner))
    truth = class_index(y, table.shape[1], len(owner))
    sorted_classes = []
    for c in np.unique(truth):
        order = np.argsort(table[:, c], kind="stable")
        sorted_classes.append((truth[order] == c, table[order, c], owner[order]))

    def of(counts: Array) -> Array:
        return _mean_of_defined(
            np.stack([_areas(positive, ranked, who, counts) for positive, ranked, who in sorted_classes], axis=1)
        )

    return of


@njit(cache=True, nogil=True)
def _areas(positive, scores, owner, counts):  # type: ignore[no-untyped-def]
    """Area under the ROC curve in each draw, from scores in ascending order; equal scores count half.

    The innermost loops run over draws, which lie side by side in memory, so that they are vectorised.
    """
    draws = counts.shape[1]
    below, wins, ups, downs = np.zeros(draws), np.zeros(draws), np.zeros(draws), np.zeros(draws)
    positives = np.zeros(draws)
    start = 0
    while start < len(scores):
        stop = start
        ups[:] = 0
        downs[:] = 0
        while stop < len(scores) and scores[stop] == scores[start]:
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
    for draw in range(draws):
        pairs = below[draw] * positives[draw]
        wins[draw] = wins[draw] / pairs if pairs > 0 else np.nan
    return wins


_PREPARE = {
    "accuracy": _accuracy,
    "balanced_accuracy": _balanced_accuracy,
    "macro_auroc": _macro_auroc,
    "r2": _r2,
}
