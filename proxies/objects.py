"""Detection scores of patch tokens: is a token inside an object, and are objects found at few false positives."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray

from autossl.proxies.checks import group_index, matrix
from autossl.proxies.dense import DENSE_PENALTIES, token_grid
from autossl.proxies.leave_out import chosen_inside, decompose, leave_out
from autossl.proxies.metrics import precision_of_class
from autossl.proxies.probe import class_weights, penalty_path
from autossl.proxies.ridge import standardise

FROC_RATES: tuple[float, ...] = (1, 2, 4)  # false positives per image

# Ignored tokens take part with this weight: they are predicted, but nothing is learnt from them.
IGNORED_WEIGHT = 1e-8

# The neighbours of a token that come before it, and after it, row by row.
EARLIER = ((-1, -1), (-1, 0), (-1, 1), (0, -1))
LATER = ((0, 1), (1, -1), (1, 0), (1, 1))


@dataclass(frozen=True)
class Objectness:
    """How well a linear map of tokens tells objects from background, patients left out."""

    token_ap: float
    froc: float
    sensitivities: NDArray[np.float64]  # (3,) at 1, 2 and 4 false positives per image
    penalty: float
    scores: NDArray[np.float32]  # (images, h, w), of ignored tokens too


def objectness(
    z: ArrayLike, objects: ArrayLike, groups: ArrayLike | None = None, *, penalties: ArrayLike = DENSE_PENALTIES
) -> Objectness:
    """Predicts by ridge regression whether a token lies in an object, from the tokens of all other patients.

    z (images, h, w, d); objects (images, h, w) whole numbers: 0 background, k > 0 the object's number in that image,
    -1 ignored (such as the rim of an object); groups (images,) patients, without them each image is one. Both classes
    weigh the same, dimensions are standardised without labels, predictions are exact leave-patient-out with the
    intercept of equal priors, at the penalty which the other patients choose by squared error (see `ridge`).

    `token_ap` is the average precision over all tokens that are not ignored, in (0, 1]; chance is the share of them in
    objects, so it does not compare between sets. `froc`: see the function. Both are higher for better. Large objects
    decide `token_ap`, for they hold most tokens; all objects weigh the same in `froc`. NaN where no token, or every
    one, is in an object. With one patient only all scores are 0.

    All tokens are used, n in total: cost 4 n d^2 + d^3 and for each patient what `dense_ridge` says; memory 8 n d
    bytes (a standardised copy). ValueError for input that cannot be used.
    """
    tokens = token_grid(z)
    truth = _numbers(objects, tokens.shape[:-1])
    inside, ignored = (truth > 0).ravel(), (truth < 0).ravel()
    if ignored.all():
        raise ValueError("objects must hold a token that is not ignored (-1), found none.")
    rows = standardise(matrix(tokens.reshape(-1, tokens.shape[-1])))
    owner = np.repeat(group_index(groups, len(truth)), truth[0].size)
    weights = np.full(len(rows), IGNORED_WEIGHT)
    weights[~ignored] = class_weights(inside[~ignored].astype(np.int64), 2)
    problem = decompose(rows, inside[:, None].astype(np.float64), weights / weights.mean(), recentre=True)
    path = np.sort(penalty_path(penalties))
    best, predicted = chosen_inside(problem, owner, path, leave_out(problem, owner, path))
    precision = _precision(inside[~ignored], predicted[~ignored, 0])
    scores = predicted.reshape(truth.shape)
    found = froc(scores, truth)
    return Objectness(precision, float(found.mean()), found, float(path[best]), scores)


def froc(scores: ArrayLike, objects: ArrayLike, rates: Sequence[float] = FROC_RATES) -> NDArray[np.float64]:
    """Share of all objects that are found at each rate of false positives per image, (len(rates),), in [0, 1].

    scores and objects (images, h, w), objects as in `objectness`. A detection is a token that no neighbour in 3 x 3
    exceeds; of equal neighbours the first row by row. Detections of all images are taken from the highest score down,
    equal scores at once: one in an object not found yet finds it, one on background is a false positive, one in an
    object found already or on an ignored token counts neither. The sensitivity at a rate is the largest reached with no
    more false positives than rate * images (Bunch et al. 1977, Proceedings of SPIE 127; MONAI interpolates
    between thresholds). Images of which all tokens are ignored do not count. NaN without objects.

    A score that is the same everywhere finds what begins at the first token. Objects of which a neighbour on background
    scores higher are not found: tokens much larger than objects make it harsh.
    """
    values = np.asarray(scores, np.float32)
    if values.ndim != 3 or not np.isfinite(values).all():
        raise ValueError(f"scores must be finite and of the shape (images, h, w), found {values.shape}, or NaN in it.")
    truth = _numbers(objects, values.shape)
    allowed = np.asarray(rates, np.float64) * np.count_nonzero((truth >= 0).any(axis=(1, 2)))
    keys = np.arange(len(truth))[:, None, None] * (truth.max() + 1) + truth  # one number for each object of each image
    what = np.minimum(truth, 0)
    numbers, found = np.unique(keys[truth > 0], return_inverse=True)
    what[truth > 0] = found + 1
    if not len(numbers):
        return np.full(len(allowed), np.nan)
    peaks = _peaks(values)
    order = np.argsort(-values[peaks], kind="stable")
    sensitivities: NDArray[np.float64] = _match(values[peaks][order], what[peaks][order], len(numbers), allowed)
    return sensitivities


def _numbers(objects: ArrayLike, shape: tuple[int, ...]) -> NDArray[np.int64]:
    truth = np.asarray(objects)
    if len(shape) != 3 or truth.shape != shape:
        raise ValueError(f"objects must have the shape (images, h, w) of the tokens, {shape}, found {truth.shape}.")
    if truth.dtype.kind not in "iub" or truth.min() < -1:
        raise ValueError(f"objects must be integers of at least -1, found {truth.dtype} from {truth.min()}.")
    return truth.astype(np.int64)


def _precision(inside: NDArray[np.bool_], scores: NDArray[np.float32]) -> float:
    if inside.all() or not inside.any():
        return float("nan")
    return precision_of_class(inside, scores.astype(np.float64))


def _peaks(scores: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Marks tokens (images, h, w) that no neighbour exceeds and no earlier one equals."""
    height, width = scores.shape[1:]
    padded = np.pad(scores, ((0, 0), (1, 1), (1, 1)), constant_values=-np.inf)
    peaks = np.ones(scores.shape, bool)
    for shifts, beats in ((EARLIER, np.greater), (LATER, np.greater_equal)):
        for down, right in shifts:
            peaks &= beats(scores, padded[:, 1 + down : 1 + down + height, 1 + right : 1 + right + width])
    return peaks


@njit(cache=True, nogil=True)
def _match(scores, what, objects, allowed):  # type: ignore[no-untyped-def]
    """Sensitivity at each allowed number of false positives, from detections in descending order of their scores.

    `what` is the object's number from 1, 0 for background, -1 for ignored.
    """
    hit = np.zeros(objects + 1, np.bool_)
    sensitivities = np.zeros(len(allowed))
    found = alarms = 0
    start = 0
    while start < len(scores):
        stop = start
        while stop < len(scores) and scores[stop] == scores[start]:
            if what[stop] == 0:
                alarms += 1
            elif what[stop] > 0 and not hit[what[stop]]:
                hit[what[stop]] = True
                found += 1
            stop += 1
        for rate in range(len(allowed)):
            if alarms <= allowed[rate]:
                sensitivities[rate] = found / objects
        start = stop
    return sensitivities
