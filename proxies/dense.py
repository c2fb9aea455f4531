"""Segmentation scores of patch tokens: ridge and k-NN on a balanced sample of tokens, patients left out whole."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from autossl.proxies.checks import group_index, matrix
from autossl.proxies.knn_values import knn_values
from autossl.proxies.leave_out import chosen_inside, decompose, leave_out
from autossl.proxies.metrics import mean_of_defined, overlap_tables, overlaps
from autossl.proxies.probe import penalty_path
from autossl.proxies.ridge import PENALTIES, standardise

Array = NDArray[np.float64]
Index = NDArray[np.int64]

DENSE_LIMIT = 20_000  # tokens in a sample at most
DENSE_PENALTIES: Array = PENALTIES[::4]  # with thousands of tokens neighbours on the full path differ little
DENSE_PENALTIES.flags.writeable = False


@dataclass(frozen=True)
class Dense:
    """Overlap of predicted and true classes over the sampled tokens, and the predictions it comes from."""

    dice: float
    miou: float
    class_dice: Array  # (c,), NaN for a class without a share of any sampled token
    class_iou: Array  # (c,)
    setting: dict[str, float]  # the penalty, or k and temperature
    scores: NDArray[np.float32]  # (s, c) leave-out predictions of shares
    shares: Array  # (s, c) the truth
    images: Index  # (s,) which tokens these are
    tokens: Index  # (s,)


@dataclass(frozen=True)
class Sample:
    """A class-balanced sample of labelled tokens."""

    rows: NDArray[np.float32]  # (s, d)
    scale: NDArray[np.float32]  # (r, d) tokens drawn without regard to labels, to standardise by
    shares: Array  # (s, c)
    owner: Index  # (s,) the patient
    images: Index  # (s,)
    tokens: Index  # (s,)


def dense_ridge(
    z: ArrayLike,
    labels: ArrayLike,
    groups: ArrayLike | None = None,
    *,
    classes: int | None = None,
    penalties: ArrayLike = DENSE_PENALTIES,
    background: int | None = None,
    limit: int = DENSE_LIMIT,
    seed: int = 0,
) -> Dense:
    """Predicts the class shares of patch tokens by ridge regression from the tokens of all other patients.

    z (images, tokens, d); labels (images, tokens) class indices with -1 for ignored tokens, or (images, tokens, c)
    shares that sum to 1, or to 0 for ignored tokens; groups (images,) patients, without them each image is one. At most
    `limit` tokens are drawn by `seed`, as equally many of each class (the one with the largest share) as there are.
    Each dimension is standardised by tokens drawn without labels. Predictions are exact leave-patient-out, with the
    mean share of the sample as intercept, at the penalty which the other patients choose by squared error (see
    `ridge`). Hoerl and Kennard 1970.

    `dice` and `miou` in [0, 1] are means over classes present (see the metrics of these names), without `background`
    where one is named. They are those of the sampled tokens: balanced sampling makes background rarer, so false
    positives cost less than in whole images, and values do not compare with the Dice of a segmentation, nor between
    seeds or limits to the last digit. Structures much smaller than a patch are invisible. With one patient only there
    is nothing to learn from and all scores are 0. A patient bootstrap is `bootstrap(shares, scores,
    groups[images], metrics=("dice",))`.

    Cost 4 s d^2 + d^3 for s tokens, and for each patient with n_g of them n_g^2 d per penalty or, if n_g is over half
    of d, one more eigendecomposition: about as much again, and folds of patients would save less than half of all (7 s
    with d = 384 and 100 patients, 17 s with d = 768 and 60, on one core for 20,000 tokens). Memory 4 s d bytes and
    tiles; where s < d, s x s. ValueError for input that cannot be used.
    """
    sample = draw_tokens(z, labels, groups, classes=classes, limit=limit, seed=seed)
    path = np.sort(penalty_path(penalties))
    rows = standardise(sample.rows, sample.scale)
    problem = decompose(rows, sample.shares, np.ones(len(rows)), recentre=True)
    predictions = leave_out(problem, sample.owner, path)
    best, scores = chosen_inside(problem, sample.owner, path, predictions)
    return _dense(sample, scores, {"penalty": float(path[best])}, background)


def dense_knn(
    z: ArrayLike,
    labels: ArrayLike,
    groups: ArrayLike | None = None,
    *,
    classes: int | None = None,
    ks: Sequence[int] = (30,),
    temperatures: Sequence[float] = (0.02,),
    background: int | None = None,
    limit: int = DENSE_LIMIT,
    seed: int = 0,
) -> Dense:
    """Predicts the class shares of patch tokens from the k most similar tokens of all other patients.

    Shares are means with weights exp(s / T) over cosine similarities s; k = 30, T = 0.02 are those of Balazevic et al.
    2023 (arXiv 2306.01667, as reproduced in vpariza/open-hummingbird-eval), which predicts whole images at pixel
    resolution from a bank drawn by class frequency in each image; here bank and queries are the same balanced sample,
    which ranks encoders alike for banks of very different size. Of several (k, T) the best by Dice is chosen.

    Arguments, results and what misleads as in `dense_ridge`; a patient who is alone is given the mean shares. With few
    patients a token sees its own class less often than the others, so that no information scores a little below chance.
    Cost 2 s^2 d for s tokens; memory per thread as in `knn_votes`, never s x s, beside 4 s c bytes for each (k, T).
    """
    sample = draw_tokens(z, labels, groups, classes=classes, limit=limit, seed=seed)
    grid = knn_values(sample.rows, sample.shares, ks=ks, temperatures=temperatures, groups=sample.owner)
    best = _best(sample.shares, grid.reshape(-1, *sample.shares.shape), background)
    k, heat = divmod(best, len(temperatures))
    setting = {"k": float(ks[k]), "temperature": float(temperatures[heat])}
    return _dense(sample, grid[k, heat], setting, background)


def draw_tokens(
    z: ArrayLike, labels: ArrayLike, groups: ArrayLike | None, *, classes: int | None, limit: int, seed: int
) -> Sample:
    """Checks tokens and labels, see `dense_ridge`, and draws as equally many tokens of each class as there are."""
    tokens = token_grid(z)
    truth, main = _labels(labels, tokens.shape[:2], classes)
    owner = group_index(groups, len(tokens))
    rng = np.random.default_rng(seed)
    picked = _balanced(main.ravel(), limit, rng)
    images, places = np.divmod(picked, tokens.shape[1])
    any_token = np.sort(rng.permutation(main.size)[:limit])
    scale = tokens[np.divmod(any_token, tokens.shape[1])]
    chosen = truth[images, places]
    shares = np.eye(classes or 1 + int(main.max()))[chosen] if truth.ndim == 2 else chosen.astype(np.float64)
    return Sample(matrix(tokens[images, places]), matrix(scale), shares, owner[images], images, places)


def token_grid(z: ArrayLike) -> NDArray[Any]:
    """Returns finite tokens (images, ..., d) of at least three axes as they are stored; else a ValueError."""
    tokens = np.asarray(z)
    if tokens.ndim < 3 or 0 in tokens.shape or tokens.dtype.kind != "f":
        raise ValueError(
            f"z must hold floating-point tokens (images, ..., d), found {tokens.shape} of dtype {tokens.dtype}."
        )
    if not (np.isfinite(tokens.min()) and np.isfinite(tokens.max())):
        raise ValueError("z must be finite, found NaN or infinity among its tokens.")
    return tokens


def _labels(labels: ArrayLike, shape: tuple[int, ...], classes: int | None) -> tuple[NDArray[Any], Index]:
    """Returns the labels as they are and the main class of each token (images, tokens), -1 for ignored ones."""
    truth = np.asarray(labels)
    if truth.shape[:2] != shape or truth.ndim not in (2, 3):
        raise ValueError(f"labels must have the shape {shape} or {(*shape, 'classes')}, found {truth.shape}.")
    if truth.ndim == 3:
        return truth, _main_class(truth, classes)
    highest = int(truth.max()) if classes is None else classes - 1
    if truth.dtype.kind not in "iu" or truth.min() < -1 or truth.max() > highest:
        raise ValueError(
            f"labels must be integers from -1 (ignored) to {highest}, found {truth.dtype} from {truth.min()} "
            f"to {truth.max()}."
        )
    return truth, truth.astype(np.int64)


def _main_class(shares: NDArray[Any], classes: int | None) -> Index:
    if classes not in (None, shares.shape[2]):
        raise ValueError(f"labels must hold shares of {classes} classes, found {shares.shape[2]}.")
    total = shares.sum(axis=2, dtype=np.float64)
    ignored = total == 0
    if not (shares.min() >= 0 and (np.abs(total[~ignored] - 1) < 1e-3).all()):  # NaN fails both
        raise ValueError("labels must hold shares in [0, 1] that sum to 1, or to 0 where ignored, found others.")
    return np.where(ignored, -1, shares.argmax(axis=2))


def _balanced(main: Index, limit: int, rng: np.random.Generator) -> Index:
    """Draws at most `limit` places of labelled tokens: rare classes whole, the rest in equal parts; ascending."""
    sizes = np.bincount(main[main >= 0])
    present = np.flatnonzero(sizes)
    if not present.size or limit < len(present):
        raise ValueError(
            f"limit must be at least the number of classes and some token labelled, found limit {limit} and "
            f"{len(present)} classes."
        )
    picked, left = [], limit
    for place, c in enumerate(present[np.argsort(sizes[present], kind="stable")]):
        take = min(int(sizes[c]), left // (len(present) - place))
        picked.append(rng.permutation(np.flatnonzero(main == c))[:take])
        left -= take
    return np.sort(np.concatenate(picked))


def _overlap(shares: Array, scores: NDArray[np.float32]) -> tuple[Array, Array]:
    return overlaps(*(table.sum(axis=0) for table in overlap_tables(shares, scores)))


def _mean(values: Array, background: int | None) -> float:
    kept = values.copy()
    if background is not None:
        if not 0 <= background < len(values):
            raise ValueError(f"background must be one of {len(values)} classes, found {background}.")
        kept[background] = np.nan
    return float(mean_of_defined(kept))


def _best(shares: Array, predictions: NDArray[np.float32], background: int | None) -> int:
    """Returns the place of the best Dice among predictions (l, s, c); of equal ones the last."""
    values = [_mean(_overlap(shares, scores)[0], background) for scores in predictions]
    return len(values) - 1 - int(np.argmax(np.nan_to_num(values[::-1], nan=-1)))


def _dense(sample: Sample, scores: NDArray[np.float32], setting: dict[str, float], background: int | None) -> Dense:
    dice, iou = _overlap(sample.shares, scores)
    means = _mean(dice, background), _mean(iou, background)
    return Dense(*means, dice, iou, setting, scores, sample.shares, sample.images, sample.tokens)
