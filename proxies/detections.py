"""Metrics of detections: average precision and FROC, in which objects that were missed count."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray

from autossl.proxies.metrics import mean_of_defined

Array = NDArray[np.float64]
Of = Callable[[Array], Array]  # as in `resampled`

OVERLAPS: tuple[float, ...] = tuple(np.round(np.arange(0.5, 1, 0.05), 2).tolist())  # of COCO
RATES: tuple[float, ...] = (1 / 8, 1 / 4, 1 / 2, 1, 2, 4, 8)  # false positives per image, of LUNA16
LEVELS = 100  # of recall, at which precision is read
ALL = 10  # overlaps


class Found(NamedTuple):
    """What was found of one class: k detections by falling score, and the objects of all images."""

    scores: Array  # (k,)
    weights: Array  # (k,) detections that each stands for
    hits: NDArray[np.bool_]  # (k, t) whether it finds an object, at each overlap
    owner: NDArray[np.int64]  # (k,)
    objects: Array  # (patients,)
    images: Array  # (patients,)


def mean_ap(y: ArrayLike, scores: ArrayLike) -> float:
    """Average precision as COCO has it: a mean over 101 levels of recall, overlaps of .5 to .95, then classes.

    In [0, 1]. Rows are images and detections. An image's row has its objects by class, y (c,), and in scores
    (c, 2 + t) NaN, then 1, for each class. A detection's has y of 0, and for its class its score, how many detections
    it stands for, and whether it finds an object at each of t overlaps (0 or 1); for other classes NaN, then 0. So
    objects that nobody found lower recall, and images without any detection count. Classes without an object in any
    image are dropped; without any left: NaN (Lin et al. 2014, arXiv 1405.0312). Equal scores are taken at once.
    """
    return _whole(partial(precision, ALL), y, scores)


def ap50(y: ArrayLike, scores: ArrayLike) -> float:
    """The same at the first overlap alone, .5."""
    return _whole(partial(precision, 1), y, scores)


def froc_score(y: ArrayLike, scores: ArrayLike) -> float:
    """Share of the objects of a class found at 1/8 to 8 false positives per image, a mean over rates, then classes.

    In [0, 1], at the first overlap (Setio et al. 2017, arXiv 1612.08012). The share at a rate is the largest that is
    reached with no more false positives; y and scores as in `mean_ap`.
    """
    return _whole(sensitivity, y, scores)


def _whole(prepare: Callable[..., Of], y: ArrayLike, scores: ArrayLike) -> float:
    owner = np.zeros(len(np.asarray(y)), np.int64)
    return float(prepare(y, scores, owner, 1, None)(np.ones((1, 1)))[0])


def precision(overlaps: int, y: ArrayLike, scores: ArrayLike, owner: NDArray[np.int64], patients: int, _: object) -> Of:
    """Mean average precision in draws of patients at so many of the overlaps, ALL or the first; sorted once."""
    tables = list(of_classes(y, scores, owner, patients))

    def of(counts: Array) -> Array:
        each = [_average(*found[:4], counts.T @ found.objects, overlaps, counts) for found in tables]
        return mean_of_defined(np.stack(each, axis=1))

    return of


def sensitivity(y: ArrayLike, scores: ArrayLike, owner: NDArray[np.int64], patients: int, _: object) -> Of:
    """The FROC score in draws of patients; sorted once."""
    tables = list(of_classes(y, scores, owner, patients))

    def of(counts: Array) -> Array:
        each = [
            _sensitivities(*found[:4], np.outer(RATES, counts.T @ found.images), counts).mean(0)
            / _positive(counts.T @ found.objects)
            for found in tables
        ]
        return mean_of_defined(np.stack(each, axis=1))

    return of


def of_classes(y: ArrayLike, scores: ArrayLike, owner: NDArray[np.int64], patients: int) -> Iterator[Found]:
    """What was found of each class; ValueError for other shapes than `mean_ap` says."""
    objects, table = np.asarray(y, np.float64), np.asarray(scores, np.float64)
    if objects.ndim != 2 or table.ndim != 3 or table.shape[:2] != objects.shape or table.shape[2] < 3:
        raise ValueError(
            f"y (k, c) and scores (k, c, 2 + overlaps) of detections were wanted, found {objects.shape} and "
            f"{table.shape}."
        )
    for kind in range(objects.shape[1]):
        own = table[:, kind]
        rows = np.flatnonzero(np.isfinite(own[:, 0]))
        rows = rows[np.argsort(-own[rows, 0], kind="stable")]
        images = np.isnan(own[:, 0]) & (own[:, 1] == 1)
        yield Found(
            own[rows, 0], own[rows, 1], own[rows, 2:] > 0, owner[rows],
            np.bincount(owner, weights=objects[:, kind], minlength=patients).astype(np.float64),
            np.bincount(owner, weights=images, minlength=patients).astype(np.float64),
        )  # fmt: skip


def curves(y: ArrayLike, scores: ArrayLike) -> list[tuple[Array, Array, Array]]:
    """For each class, from the highest score down: sensitivity, precision and false positives per image, (k,) each.

    At the first overlap; y and scores as in `mean_ap`. None for a class without objects: all empty.
    """
    drawn = []
    for found in of_classes(y, scores, np.zeros(len(np.asarray(y)), np.int64), 1):
        hits = found.hits[:, 0] if found.objects[0] else np.zeros(0, bool)
        true = np.cumsum(hits, dtype=np.float64)
        false = np.cumsum(found.weights[: len(hits)] * ~hits)
        drawn.append(
            (true / max(found.objects[0], 1), true / np.maximum(true + false, 1e-9), false / max(found.images[0], 1))
        )
    return drawn


def matched(boxes: Array, kinds: NDArray[np.int64], truth: Array, truth_kinds: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which detections of one image find an object, (k, t) at each of OVERLAPS.

    Boxes (k, 4) and truth (m, 4) are x0, y0, x1, y1, detections by falling score. At each overlap (intersection over
    union) a detection takes the object of its class that it overlaps most, of those that are left; each is found once.
    """
    found: NDArray[np.bool_] = _taken(overlapping(boxes, truth), kinds, truth_kinds, np.array(OVERLAPS))
    return found


def overlapping(boxes: Array, others: Array) -> Array:
    """Intersection over union (k, m) of boxes (k, 4) and (m, 4); 0 where both have no area."""
    low = np.maximum(boxes[:, None, :2], others[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], others[None, :, 2:])
    both = np.prod(np.clip(high - low, 0, None), axis=2)
    areas = [np.prod(each[:, 2:] - each[:, :2], axis=1) for each in (boxes, others)]
    union = areas[0][:, None] + areas[1][None] - both
    return np.asarray(np.where(union > 0, both / np.where(union > 0, union, 1), 0))


def _positive(values: Array) -> Array:
    return np.where(values > 0, values, np.nan)


@njit(cache=True, nogil=True)
def _taken(overlaps, kinds, truth_kinds, least):  # type: ignore[no-untyped-def]
    hits = np.zeros((len(kinds), len(least)), np.bool_)
    for at in range(len(least)):
        left = np.ones(len(truth_kinds), np.bool_)
        for row in range(len(kinds)):
            best, most = -1, least[at]
            for other in range(len(truth_kinds)):
                if left[other] and truth_kinds[other] == kinds[row] and overlaps[row, other] >= most:
                    best, most = other, overlaps[row, other]
            if best >= 0:
                left[best] = False
                hits[row, at] = True
    return hits


@njit(cache=True, nogil=True)
def _average(scores, weights, hits, owner, objects, overlaps, counts):  # type: ignore[no-untyped-def]
    """Average precision in each draw, a mean over overlaps, from the lowest score up: so the best precision is known.

    NaN where there is no object.
    """
    draws, total = counts.shape[1], np.zeros(counts.shape[1])
    columns = min(overlaps, hits.shape[1])
    true, false, best = np.zeros(draws), np.zeros(draws), np.zeros(draws)
    ups, downs = np.zeros(draws), np.zeros(draws)
    for at in range(columns):
        true[:] = 0
        false[:] = 0
        best[:] = 0
        for row in range(len(scores)):
            true += counts[owner[row]] * hits[row, at]
            false += counts[owner[row]] * weights[row] * (not hits[row, at])
        stop = len(scores)
        while stop > 0:
            start = stop
            ups[:] = 0
            downs[:] = 0
            while start > 0 and scores[start - 1] == scores[stop - 1]:
                start -= 1
                if hits[start, at]:
                    ups += counts[owner[start]]
                else:
                    downs += counts[owner[start]] * weights[start]
            for draw in range(draws):
                if objects[draw] > 0 and true[draw] + false[draw] > 1e-9:
                    best[draw] = max(best[draw], true[draw] / (true[draw] + false[draw]))
                    high = np.floor(LEVELS * true[draw] / objects[draw] + 1e-9)
                    true[draw] -= ups[draw]
                    total[draw] += best[draw] * (high - np.floor(LEVELS * true[draw] / objects[draw] + 1e-9))
                    false[draw] -= downs[draw]
            stop = start
        total += best  # at a recall of nothing
    for draw in range(draws):
        total[draw] = total[draw] / (columns * (LEVELS + 1)) if objects[draw] > 0 else np.nan
    return total


@njit(cache=True, nogil=True)
def _sensitivities(scores, weights, hits, owner, allowed, counts):  # type: ignore[no-untyped-def]
    """Objects found in each draw with no more false positives than allowed (rates, draws), from the highest score."""
    reached = np.zeros(allowed.shape)
    true, false = np.zeros(counts.shape[1]), np.zeros(counts.shape[1])
    start = 0
    while start < len(scores):
        stop = start
        while stop < len(scores) and scores[stop] == scores[start]:
            if hits[stop, 0]:
                true += counts[owner[stop]]
            else:
                false += counts[owner[stop]] * weights[stop]
            stop += 1
        for rate in range(len(allowed)):
            for draw in range(len(true)):
                if false[draw] <= allowed[rate, draw] + 1e-9:
                    reached[rate, draw] = true[draw]
        start = stop
    return reached
