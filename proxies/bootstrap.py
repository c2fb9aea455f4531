"""Patient-cluster bootstrap of several metrics from the same draws."""

from collections.abc import Sequence
from typing import cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from autossl.proxies.checks import group_index
from autossl.proxies.dispatch import device, on_device
from autossl.proxies.measures import METRICS
from autossl.proxies.tiles import run_tiles, spans

Array = NDArray[np.float64]

CHUNK = 64  # draws at a time: one (patients, 64) table of counts, and SIMD lanes for the ranks


def bootstrap(
    y: ArrayLike,
    scores: ArrayLike,
    groups: ArrayLike | None = None,
    *,
    metrics: Sequence[str],
    draws: int = 1000,
    seed: int = 0,
    folds: NDArray[np.int64] | None = None,
    patients: int | None = None,
) -> dict[str, Array]:
    """Draws patients with replacement and returns every metric of each draw, {metric: (draws,)}.

    y and scores are what each metric takes, see METRICS: y (n,) class indices and scores (n, c), or values or labels
    (n,) or (n, t) and predictions of them. Groups (n,) are patients; without them each sample is one. The draws depend
    on the seed and the number of patients alone (numbered in sorted order of their ids), so differences of two calls
    with the same y and groups are paired. Classes that a draw lacks are dropped from it, as in the metric itself; a
    draw in which a metric is undefined is NaN. `folds` (n,) are those that the scores were predicted in, see `score`.
    With `patients` groups number that many from 0, of whom some may have no sample here, and all are drawn.
    With few patients intervals come out too narrow, see `interval`. Memory
    per thread: 8 * 64 * patients bytes, for spearman 16 * 64 * n more. Efron 1979; for clusters Field and Welsh 2007.
    """
    if on_device(scores) and patients is None:
        found = device().bootstrap(y, scores, groups, metrics=metrics, draws=draws, seed=seed, folds=folds)
        return cast(dict[str, Array], found)
    unknown = sorted(set(metrics) - METRICS.keys())
    if unknown or draws < 1:
        raise ValueError(f"metrics must be among {', '.join(METRICS)} and draws positive, found {unknown}, {draws}.")
    owner = group_index(groups, len(np.asarray(y))) if patients is None else np.asarray(groups, np.int64)
    patients = patients or int(owner.max()) + 1
    prepared = {metric: METRICS[metric].prepare(y, scores, owner, patients, folds) for metric in metrics}
    values = {metric: np.empty(draws) for metric in metrics}

    def chunk(start: int, stop: int) -> None:
        counts = _counts(seed, start, stop, patients)
        for metric, of in prepared.items():
            values[metric][start:stop] = of(counts)

    run_tiles(chunk, spans(draws, CHUNK))
    return values


def bootstrap_mean(
    values: ArrayLike, groups: ArrayLike | None = None, *, draws: int = 1000, seed: int = 0
) -> NDArray[np.float64]:
    """Returns the mean of the values (n,) that are defined in each of `bootstrap`'s draws, (draws,); else NaN.

    For scores that have one value for each sample, such as average precision of each query of `retrieval`; values that
    are not finite are left out.
    """
    each = np.asarray(values, np.float64)
    if each.ndim != 1 or not each.size or draws < 1:
        raise ValueError(f"values must be a vector and draws positive, found the shape {each.shape} and {draws} draws.")
    owner = group_index(groups, len(each))
    patients = int(owner.max()) + 1
    defined = np.isfinite(each)
    totals = np.bincount(owner, weights=np.where(defined, each, 0), minlength=patients)
    sizes = np.bincount(owner, weights=defined, minlength=patients)
    means = np.empty(draws)

    def chunk(start: int, stop: int) -> None:
        counts = _counts(seed, start, stop, patients)
        drawn = sizes @ counts
        means[start:stop] = np.where(drawn > 0, totals @ counts / np.maximum(drawn, 1), np.nan)

    run_tiles(chunk, spans(draws, CHUNK))
    return means


def _counts(seed: int, start: int, stop: int, patients: int) -> Array:
    """Returns how often each patient is in each draw, (patients, draws); each chunk has its own stream."""
    picks = np.random.default_rng([seed, start]).integers(0, patients, (stop - start, patients), dtype=np.int32)
    counts = np.empty((patients, stop - start))
    for draw, row in enumerate(picks):
        counts[:, draw] = np.bincount(row, minlength=patients)
    return counts
