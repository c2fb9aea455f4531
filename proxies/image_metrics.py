"""Metrics of answers that are judged image by image: masks, what queries found, images restored."""

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from autossl.proxies.checks import score_matrix
from autossl.proxies.metrics import mean_of_defined, overlaps

Array = NDArray[np.float64]

OVERLAPS = 2  # numbers of each image and class that overlaps follow from
SURFACE, DISTANCE, OBJECTS, MET, FALSE = range(OVERLAPS, 7)  # and what else masks may come to, see `mask_facts`
FACTS = 7
LEAST = 1e-10  # squared error, of white squared, below which images are equal: 100 dB
GAIN, PSNR, SSIM, NMSE = range(4)  # columns of `of_images`


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


def mean_of_images(which: int, y: ArrayLike, scores: ArrayLike) -> float:
    """Mean over images of one column of `of_images`; images in which it is not defined are left out."""
    return float(mean_of_defined(of_images(y, scores)[:, which]))


def of_images(y: ArrayLike, scores: ArrayLike) -> Array:
    """What each restored image came to (n, 4): dB gained over the image as it was, PSNR in dB, SSIM, NMSE.

    y (n, 2) are the mean squared error of the image as it was and the mean square of its target, scores (n, 2) the mean
    squared error of the answer and its SSIM (NaN where nobody asked), all in units in which white is 1. PSNR is
    -10 log10 of the squared error, at most 100; NMSE is that error over the mean square, NaN where the target is black.
    """
    truth, found = np.asarray(y, np.float64), np.asarray(scores, np.float64)
    if truth.ndim != 2 or truth.shape[1] != 2 or found.shape != truth.shape or not (truth >= 0).all():
        raise ValueError(f"two numbers for each image were wanted in y and scores, found {truth.shape}, {found.shape}.")
    before, after = (-10 * np.log10(np.maximum(table[:, 0], LEAST)) for table in (truth, found))
    energy = truth[:, 1]
    nmse = np.where(energy > 0, found[:, 0] / np.where(energy > 0, energy, 1), np.nan)
    return np.stack([after - before, after, found[:, 1], nmse], axis=1)


def pooled_dice(y: ArrayLike, scores: ArrayLike) -> float:
    """Dice 2 I / (T + P) of images, pooled over them and averaged over classes; y and scores as in `overlap_counts`.

    In [0, 1]. A class without a pixel of truth in any image is dropped; without any left: NaN (Dice 1945).
    """
    return float(mean_of_defined(overlaps(*(table.sum(axis=0) for table in overlap_counts(y, scores)))[0]))


def pooled_iou(y: ArrayLike, scores: ArrayLike) -> float:
    """Intersection over union I / (T + P - I), otherwise as `pooled_dice` (Jaccard 1912); never above it."""
    return float(mean_of_defined(overlaps(*(table.sum(axis=0) for table in overlap_counts(y, scores)))[1]))


def mean_of_cases(of: Callable[[ArrayLike, ArrayLike], Array], y: ArrayLike, scores: ArrayLike) -> float:
    """What each image and class comes to, (n, c) with NaN where that is not defined, over images, then over classes."""
    return float(mean_of_defined(mean_of_defined(of(y, scores).T)))


def case_dice(y: ArrayLike, scores: ArrayLike) -> Array:
    """Dice of each image and class that has truth there, (n, c), in [0, 1]; y and scores as in `overlap_counts`.

    Small structures weigh as much as large ones; what is found in an image without truth is not counted, as in MONAI's
    DiceMetric with `ignore_empty`.
    """
    return overlaps(*overlap_counts(y, scores))[0]


def case_surface(y: ArrayLike, scores: ArrayLike) -> Array:
    """Shares of both surfaces that lie within a tolerance of the other (n, c), in [0, 1] (Nikolov et al. 2018)."""
    return mask_facts(y, scores)[..., SURFACE]


def case_distance(y: ArrayLike, scores: ArrayLike) -> Array:
    """95th percentiles of the distances between surfaces (n, c), the larger of both directions."""
    return mask_facts(y, scores)[..., DISTANCE]


def case_false(y: ArrayLike, scores: ArrayLike) -> Array:
    """Predicted objects that meet no true one, of all classes (n, 1)."""
    return np.asarray(mask_facts(y, scores)[..., FALSE].sum(axis=1, keepdims=True))


def object_recall(y: ArrayLike, scores: ArrayLike) -> float:
    """Objects that were found among all of a class, averaged over classes; in [0, 1], NaN without any object."""
    return float(mean_of_defined(shares_met(*(table.sum(axis=0) for table in object_counts(y, scores)))))


def object_counts(y: ArrayLike, scores: ArrayLike) -> tuple[Array, Array]:
    """Objects by image and class, (n, c) each: all true ones, and those of them that were found."""
    facts = mask_facts(y, scores)
    return facts[..., OBJECTS], facts[..., MET]


def shares_met(objects: Array, met: Array) -> Array:
    """Those that were found among so many objects; NaN where there is none."""
    return np.where(objects > 0, met / np.where(objects > 0, objects, 1), np.nan)


def mask_facts(y: ArrayLike, scores: ArrayLike) -> Array:
    """What the mask of each image and class comes to, (n, c, 7); ValueError for another shape.

    The pixels found and all predicted, as in `overlap_counts`; the share of surfaces within a tolerance and the 95th
    percentile of distances, NaN without truth; objects, those of them that were found, and false ones.
    """
    found = np.asarray(scores, np.float64)
    if found.shape != (wanted := (*score_matrix(y, len(np.asarray(y))).shape, FACTS)):
        raise ValueError(f"scores must hold {wanted} numbers of masks, found {found.shape}.")
    return found


def overlap_counts(y: ArrayLike, scores: ArrayLike) -> tuple[Array, Array, Array]:
    """Pixels by image and class, (n, c) each: in truth and prediction, in truth, in the prediction.

    y (n, c) are the pixels of each class, scores (n, c, 2) those of them that are found, and all that are predicted;
    more that scores may hold is passed over.
    """
    truth, found = score_matrix(y, len(np.asarray(y))), np.asarray(scores, np.float64)[..., :OVERLAPS]
    if found.shape != (*truth.shape, 2) or not np.isfinite(found).all() or min(truth.min(), found.min()) < 0:
        raise ValueError(f"scores must hold {(*truth.shape, 2)} numbers of pixels, found {found.shape} or below 0.")
    return found[..., 0], truth, found[..., 1]
