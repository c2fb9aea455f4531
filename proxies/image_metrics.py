"""Metrics of answers that are judged image by image: overlaps of masks, and what queries found."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from autossl.proxies.checks import score_matrix
from autossl.proxies.metrics import mean_of_defined, overlaps

Array = NDArray[np.float64]


def mean_of_queries(which: int, y: ArrayLike, scores: ArrayLike) -> float:
    """Mean over queries of what each came to: scores (n, 2), average precision at 10 and R-precision, see `retrieval`.

    Queries with nothing to find are NaN and left out; without any left: NaN. y (n,) is what was asked for.
    """
    return float(mean_of_defined(of_queries(scores)[:, which]))


def of_queries(scores: ArrayLike) -> Array:
    """What each query came to (n, 2); ValueError for another shape."""
    found = np.asarray(scores, np.float64)
    if found.ndim != 2 or found.shape[1] != 2:
        raise ValueError(f"scores must hold two numbers for each query, found {found.shape}.")
    return found


def pooled_dice(y: ArrayLike, scores: ArrayLike) -> float:
    """Dice 2 I / (T + P) of images, pooled over them and averaged over classes; y and scores as in `overlap_counts`.

    In [0, 1]. A class without a pixel of truth in any image is dropped; without any left: NaN (Dice 1945).
    """
    return float(mean_of_defined(overlaps(*(table.sum(axis=0) for table in overlap_counts(y, scores)))[0]))


def pooled_iou(y: ArrayLike, scores: ArrayLike) -> float:
    """Intersection over union I / (T + P - I), otherwise as `pooled_dice` (Jaccard 1912); never above it."""
    return float(mean_of_defined(overlaps(*(table.sum(axis=0) for table in overlap_counts(y, scores)))[1]))


def case_dice(y: ArrayLike, scores: ArrayLike) -> float:
    """Dice of each image and class that has truth there, averaged over images, then over classes.

    In [0, 1], y and scores as in `overlap_counts`. Small structures weigh as much as large ones; what is found in an
    image without truth is not counted, as in MONAI's DiceMetric with `ignore_empty`.
    """
    each = overlaps(*overlap_counts(y, scores))[0]
    return float(mean_of_defined(mean_of_defined(each.T)))


def overlap_counts(y: ArrayLike, scores: ArrayLike) -> tuple[Array, Array, Array]:
    """Pixels by image and class, (n, c) each: in truth and prediction, in truth, in the prediction.

    y (n, c) are the pixels of each class, scores (n, c, 2) those of them that are found, and all that are predicted.
    """
    truth, found = score_matrix(y, len(np.asarray(y))), np.asarray(scores, np.float64)
    if found.shape != (*truth.shape, 2) or not np.isfinite(found).all() or min(truth.min(), found.min()) < 0:
        raise ValueError(f"scores must hold {(*truth.shape, 2)} numbers of pixels, found {found.shape} or below 0.")
    return found[..., 0], truth, found[..., 1]
