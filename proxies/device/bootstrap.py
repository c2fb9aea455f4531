"""Patient-cluster bootstrap of scores on a device, with the draws of `proxies.bootstrap`."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numba import int64
from numpy.typing import ArrayLike, NDArray

from autossl.proxies.bootstrap import CHUNK
from autossl.proxies.bootstrap import bootstrap as in_memory
from autossl.proxies.checks import class_index, group_index
from autossl.proxies.device.arrays import THREADS, Rows, each, launch, rows_of
from autossl.proxies.device.libraries import Array
from autossl.proxies.device.selection import ids
from autossl.proxies.device.target import cuda
from autossl.proxies.measures import METRICS
from autossl.proxies.metrics import mean_of_defined
from autossl.proxies.tiles import run_tiles, spans

ON_DEVICE = ("accuracy", "balanced_accuracy", "macro_auroc")
WALKERS = min(32, THREADS)  # threads of a block that walk along samples: few, so that all processors have some
SLAB_BYTES = 256 * 2**20  # of counts by patient and draw, held at once


def bootstrap(
    y: ArrayLike,
    scores: Any,
    groups: ArrayLike | None = None,
    *,
    metrics: Sequence[str],
    draws: int = 1000,
    seed: int = 0,
    folds: NDArray[np.int64] | None = None,
) -> dict[str, NDArray[np.float64]]:
    """`proxies.bootstrap` of scores (n, c) on a device: the same draws, so the same values up to rounding.

    The metrics of ON_DEVICE are computed there, from scores read as float32; others, and all within folds, from a copy
    in memory. y and groups
    are in memory, and draws are made there, for their random stream is NumPy's. Each class is sorted once by the
    library; then one thread walks along it for a draw, in whole numbers. Memory on the device: 16 n c bytes and at
    most 256 MB of counts. Cost: n c log n, then n c draws for the area and patients c draws for accuracies.
    """
    unknown = sorted(set(metrics) - METRICS.keys())
    if unknown or draws < 1:
        raise ValueError(f"metrics must be among {', '.join(METRICS)} and draws positive, found {unknown}, {draws}.")
    table = rows_of(scores, "scores")
    if folds is not None:
        return in_memory(y, table.in_memory, groups, metrics=metrics, draws=draws, seed=seed, folds=folds)
    owner = group_index(groups, len(table))
    values: dict[str, NDArray[np.float64]] = {}
    if others := [metric for metric in metrics if metric not in ON_DEVICE]:
        values = in_memory(y, table.in_memory, groups, metrics=others, draws=draws, seed=seed)
    if len(others) < len(metrics):
        values |= _drawn(class_index(y, table.shape[1], len(table)), table, owner, metrics, draws, seed)
    return {metric: values[metric] for metric in metrics}


def _drawn(
    labels: NDArray[np.int64], scores: Rows, owner: NDArray[np.int64], metrics: Sequence[str], draws: int, seed: int
) -> dict[str, NDArray[np.float64]]:
    library, classes, patients = scores.library, scores.shape[1], int(owner.max()) + 1
    values = {metric: np.empty(draws) for metric in ON_DEVICE if metric in metrics}
    slab = max(CHUNK, SLAB_BYTES // (4 * patients) // CHUNK * CHUNK)
    with library.current():
        truth, owners = library.upload(ids(labels)), library.upload(ids(owner))
        ranked = _ranked(scores, truth, owners) if "macro_auroc" in values else None
        recalls = _recalls(scores, truth, owners, patients) if len(values) > (ranked is not None) else None
        for start, stop in spans(draws, slab):
            counts = _counts(scores, seed, start, stop, patients)
            if ranked is not None:
                areas = library.empty((stop - start, classes), "float64")
                blocks = each((stop - start) * classes, WALKERS)
                launch(library, _areas, blocks, *ranked, counts, areas, threads=WALKERS)
                values["macro_auroc"][start:stop] = mean_of_defined(library.download(areas))
            if recalls is not None:
                _accuracies(scores, recalls, counts, start, stop, values)
    return values


def _counts(scores: Rows, seed: int, start: int, stop: int, patients: int) -> Array:
    """How often each patient is in each draw, (patients, draws) int32; the picks are those of `proxies.bootstrap`."""
    picks = np.empty((stop - start, patients), np.int32)

    def chunk(first: int, last: int) -> None:
        stream = np.random.default_rng([seed, start + first])
        picks[first:last] = stream.integers(0, patients, (last - first, patients), dtype=np.int32)

    run_tiles(chunk, spans(stop - start, CHUNK))
    library = scores.library
    counts = library.zeros((patients, stop - start), "int32")
    launch(library, _count, each(picks.size), library.upload(picks), counts)
    return counts


def _ranked(scores: Rows, truth: Array, owners: Array) -> tuple[Array, Array]:
    """Each class's samples in ascending order of score: their patients, and marks of positives and ends of ties."""
    library, (n, classes) = scores.library, scores.shape
    columns = library.cast(scores.data.T, "float32")
    order = library.argsort(columns)
    patients, marks = library.empty((classes, n), "int32"), library.empty((classes, n), "int32")
    launch(library, _rank, each(n * classes), columns, order, truth, owners, patients, marks)
    return patients, marks


def _recalls(scores: Rows, truth: Array, owners: Array, patients: int) -> Array:
    """By patient and class the samples predicted rightly and, after them, all samples, (patients, 2 c)."""
    library = scores.library
    table = library.zeros((patients, 2 * scores.shape[1]), "int32")
    launch(library, _recall, each(len(scores)), scores.data, truth, owners, table)
    return library.cast(table, "float64")


def _accuracies(
    scores: Rows, recalls: Array, counts: Array, start: int, stop: int, values: dict[str, NDArray[np.float64]]
) -> None:
    library, classes = scores.library, scores.shape[1]
    sums = library.download(library.cast(counts.T, "float64") @ recalls)
    right, sizes = sums[:, :classes], sums[:, classes:]
    if "balanced_accuracy" in values:
        recall = np.where(sizes > 0, right / np.maximum(sizes, 1), np.nan)
        values["balanced_accuracy"][start:stop] = mean_of_defined(recall)
    if "accuracy" in values:
        values["accuracy"][start:stop] = right.sum(axis=1) / sizes.sum(axis=1)


@cuda.jit(cache=True)
def _count(picks, counts):  # type: ignore[no-untyped-def]
    for at in range(cuda.grid(1), picks.size, cuda.gridsize(1)):
        draw = at // picks.shape[1]
        cuda.atomic.add(counts, (picks[draw, at % picks.shape[1]], draw), 1)


@cuda.jit(cache=True)
def _rank(columns, order, truth, owners, patients, marks):  # type: ignore[no-untyped-def]
    """Marks: 1 for a positive, and 2 for the last of equal scores."""
    for at in range(cuda.grid(1), columns.size, cuda.gridsize(1)):
        label, place = at // columns.shape[1], at % columns.shape[1]
        sample = order[label, place]
        mark = 1 if truth[sample] == label else 0
        last = place == columns.shape[1] - 1
        if last or columns[label, sample] != columns[label, order[label, place + 1]]:
            mark += 2
        patients[label, place] = owners[sample]
        marks[label, place] = mark


@cuda.jit(cache=True)
def _areas(patients, marks, counts, areas):  # type: ignore[no-untyped-def]
    """One thread a draw and class; neighbouring threads are draws of one class and read the same samples.

    Pairs are counted twice over in whole numbers, so that a tie's half is one; without pairs the area is NaN.
    """
    for at in range(cuda.grid(1), areas.size, cuda.gridsize(1)):
        draw, label = at % areas.shape[0], at // areas.shape[0]
        below, wins, positives, ups, downs = int64(0), int64(0), int64(0), int64(0), int64(0)
        for place in range(marks.shape[1]):
            times, mark = counts[patients[label, place], draw], marks[label, place]
            if mark & 1:
                ups += times
            else:
                downs += times
            if mark & 2:
                wins += ups * (2 * below + downs)
                below += downs
                positives += ups
                ups = int64(0)
                downs = int64(0)
        pairs = 2.0 * below * positives
        areas[draw, label] = wins / pairs if pairs > 0 else np.nan


@cuda.jit(cache=True)
def _recall(scores, truth, owners, table):  # type: ignore[no-untyped-def]
    for row in range(cuda.grid(1), scores.shape[0], cuda.gridsize(1)):
        label, best = truth[row], 0
        for c in range(1, scores.shape[1]):
            if scores[row, c] > scores[row, best]:
                best = c
        cuda.atomic.add(table, (owners[row], scores.shape[1] + label), 1)
        if best == label:
            cuda.atomic.add(table, (owners[row], label), 1)
