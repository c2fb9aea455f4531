"""Folds of whole patients in which every class can be judged by one and the same fit."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from autossl.proxies.checks import class_index, group_index, score_matrix

Ints = NDArray[np.int64]

LEAST = 10  # folds at least, where the classes have so many patients: a fit then sees nine tenths of them
ROWS = 16  # samples of a fold where there are many: enough pairs for areas, few enough for one small system
BINS = 5  # of values, from low to high


def judging_folds(
    y: ArrayLike, groups: ArrayLike | None = None, *, most: int | None = None, task: str = "classification"
) -> Ints:
    """Returns a fold 0, 1, ... for each of n samples: whole groups (patients), each fold with every class.

    Predictions of patients that are left out one by one are not chance where nothing can be known: the fit that a
    patient is judged by has seen less of the patient's own class than the fits of others, and an embedding that knows
    no more than who the patient is gives that away. In a fold that holds every class all are judged by one fit, and
    a metric within folds, see `score`, is chance then, whatever the fit. So there are never more folds than the rarest
    class has groups; classes that only one group has are not counted, for they cannot be judged. Otherwise there
    are n / 16, at least 10, at most `most`. One fold where no two classes can be judged: nothing is left out.

    y is what the task takes, see `Evidence`: class indices (n,); 0 and 1 for each label (n, t), which and whose
    absence are two classes; values (n,) or (n, t), in five bins from low to high. Nothing is drawn by lot.
    """
    return dealt(_kinds(y, task), group_index(groups, len(np.asarray(y))), most)


def grouped_folds(y: ArrayLike, groups: ArrayLike | None, k: int) -> Ints:
    """Returns a fold in [0, k) for each sample: whole groups, of every class alike, as `judging_folds`.

    ValueError where there are fewer groups than folds.
    """
    labels = class_index(y, int(np.max(np.asarray(y), initial=0)) + 1)
    owner = group_index(groups, len(labels))
    count = int(owner.max()) + 1
    if not 2 <= k <= count:
        raise ValueError(f"k must lie between 2 and the number of groups, {count}, found {k}.")
    return _deal(np.eye(int(labels.max()) + 1)[labels], owner, k)


def dealt(kinds: NDArray[np.float64], owner: Ints, most: int | None = None) -> Ints:
    """Folds by samples (n, c) of which kind each is, and of which group (n,)."""
    holding = np.count_nonzero(_held(kinds, owner), axis=0)
    judged = holding[holding > 1]
    if len(judged) < min(2, kinds.shape[1]):
        return np.zeros(len(owner), np.int64)
    wanted = max(LEAST, len(owner) // ROWS)
    count = min(int(judged.min()), wanted, most or wanted)
    return _deal(kinds, owner, count) if count > 1 else np.zeros(len(owner), np.int64)


def by_fold(scores: NDArray[np.float64], folds: Ints | None) -> tuple[Ints, Ints]:
    """The ascending order of scores (n,), fold by fold, and the fold of each place of it; without folds one."""
    if folds is None:
        return np.argsort(scores, kind="stable"), np.zeros(len(scores), np.int64)
    order = np.lexsort((scores, folds))
    return order, folds[order]


def within_folds(labels: Ints, scores: NDArray[Any], folds: Ints) -> tuple[NDArray[np.float64], NDArray[Any]]:
    """Weights (n,) of samples in accuracy within folds, and their scores (n, c) with those of unjudged classes at -inf.

    A sample weighs 1 / n of its class and fold, so that folds count alike for every class. A class of which all
    samples lie in one fold of several cannot be judged: its samples weigh nothing, and it is never predicted.
    """
    count = int(folds.max()) + 1
    sizes = np.bincount(folds * scores.shape[1] + labels, minlength=count * scores.shape[1]).reshape(count, -1)
    judged = (sizes > 0).sum(axis=0) > (count > 1)
    weights = np.where(judged[labels], 1 / sizes[folds, labels], 0)
    return weights, np.where(judged, scores, -np.inf) if judged.any() else scores


def _kinds(y: ArrayLike, task: str) -> NDArray[np.float64]:
    """Which of the kinds that folds hold alike each sample is, (n, c) of 0 and 1."""
    if task == "classification":
        labels = class_index(y, int(np.max(np.asarray(y), initial=0)) + 1)
        return np.eye(int(labels.max()) + 1)[labels]
    values = score_matrix(y, len(np.asarray(y)))
    if task == "multilabel":
        return np.hstack([values, 1 - values])
    spread = values.std(axis=0)
    order = ((values - values.mean(axis=0)) / np.where(spread > 0, spread, 1)).sum(axis=1)
    edges = np.unique(np.quantile(order, np.arange(1, BINS) / BINS))
    places = np.searchsorted(edges, order, side="left")
    return np.asarray(np.eye(BINS)[places], np.float64)


def _held(kinds: NDArray[np.float64], owner: Ints) -> NDArray[np.float64]:
    """How many samples of each kind each group holds, (groups, c)."""
    return np.asarray(np.stack([np.bincount(owner, weights=column) for column in kinds.T], axis=1), np.float64)


def _deal(kinds: NDArray[np.float64], owner: Ints, count: int) -> Ints:
    """Deals groups out like cards, rare kinds first, of each the largest groups first, there and back again."""
    held = _held(kinds, owner)
    groups_of = np.count_nonzero(held, axis=0)
    rarity = np.where(held > 0, np.where(groups_of > 1, groups_of, len(held) + 1), np.inf)
    rarest = rarity.argmin(axis=1)  # of the kinds that each group holds
    fold, dealt_out = np.empty(len(held), np.int64), 0
    for kind in np.argsort(groups_of, kind="stable"):
        cards = np.flatnonzero(rarest == kind)
        cards = cards[np.argsort(-held[cards, kind], kind="stable")]
        turn, place = np.divmod(np.arange(len(cards)), count)
        fold[cards] = (np.where(turn % 2 == 0, place, count - 1 - place) + dealt_out) % count
        dealt_out += len(cards)  # so that no fold gets the odd card of every kind
    return fold[owner]
