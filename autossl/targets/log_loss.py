"""The log-loss of what a probe predicts of patients left out: a proper loss, which tells embeddings apart."""

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_softmax

from autossl.proxies import grouped_folds
from autossl.proxies.probe import class_weights

Ints = NDArray[np.int64]


def folds_of(y: Ints, groups: Ints | None, most: int) -> Ints:
    """Folds (n,) of whole groups, at most so many; all 0 where there is one group only."""
    owner = np.arange(len(y)) if groups is None else np.unique(groups, return_inverse=True)[1]
    count = min(most, int(owner.max()) + 1)
    return grouped_folds(y, owner, count) if count > 1 else np.zeros(len(y), np.int64)


def log_loss(scores: NDArray[np.floating], y: Ints, fold: Ints) -> float:
    """Mean nats a sample of logits (n, c) by fits without its fold, classes weighing alike.

    Samples of which no class mate lies outside their fold are left out; that of even shares if those are all.
    """
    classes = scores.shape[1]
    inside = np.bincount(fold * classes + y, minlength=(int(fold.max()) + 1) * classes).reshape(-1, classes)
    known = (inside.sum(0) - inside)[fold, y] > 0
    if not known.any():
        return float(np.log(classes))
    weights = np.where(known, class_weights(y, classes), 0.0)
    shares = log_softmax(scores.astype(np.float64), axis=1)
    return float(-weights @ shares[np.arange(len(y)), y] / weights.sum())
