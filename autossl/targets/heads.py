"""Closed-form heads for classes on a frozen encoder, compared by their log-loss on patients left out."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

from autossl.proxies import grouped_folds, logistic, ridge, shrinkage_lda
from autossl.proxies.probe import Probe, class_weights

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Ints = NDArray[np.int64]

MANY = 3000  # labels from which on folds are two instead of five, a fit is less close, and the head is logistic
CLOSE, LESS_CLOSE = 1e-5, 1e-4  # nats a sample; test scores differ by .0015 at most, seconds by 1.8 (docs/decisions.md)
POWERS = (-5.0, 7.0)  # of e, between which scores are scaled to be logits


class Head(NamedTuple):
    """A linear head for embeddings as they are, and what it costs to believe it."""

    words: str
    weights: Doubles  # (d, c)
    intercept: Doubles  # (c,)
    loss: float  # nats a sample, classes weighing alike, of predictions by fits without a sample's fold


def best_head(z: Floats, y: Ints, groups: Ints | None, classes: int) -> Head:
    """The head with the least log-loss, of equal ones the first: logistic, ridge, linear discriminants.

    z (n, d), y (n,); penalties, scales and the choice follow from these alone, on the same folds of whole groups.
    """
    mean, spread = z.mean(0), z.std(0) + 1e-6
    fold = folds_of(y, groups, 5 if len(y) < MANY else 2)
    found = heads((z - mean) / spread, y, fold, classes)
    best = min(found, key=lambda head: head.loss)
    weights = best.weights / spread[:, None]
    return best._replace(weights=weights, intercept=best.intercept - mean @ weights)


def folds_of(y: Ints, groups: Ints | None, most: int) -> Ints:
    """Folds (n,) of whole groups, at most so many; all 0 where there is one group only."""
    owner = np.arange(len(y)) if groups is None else np.unique(groups, return_inverse=True)[1]
    count = min(most, int(owner.max()) + 1)
    return grouped_folds(y, owner, count) if count > 1 else np.zeros(len(y), np.int64)


def heads(z: Floats, y: Ints, fold: Ints, classes: int) -> list[Head]:
    """All of them on standardised embeddings; of many labels the logistic one alone, for others cost more than it."""
    many = len(y) >= MANY
    tolerance = LESS_CLOSE if many else CLOSE
    first = logistic(z, y, fold, classes=classes, folds=int(fold.max()) + 1, tolerance=tolerance)
    found = [Head("a logistic probe", first.weights, first.intercept, log_loss(first.scores, y, fold))]
    if not many:
        found.append(_scaled("a ridge probe", ridge(z, y, fold, classes=classes), y, fold))
        found.append(_scaled("a linear discriminant probe", shrinkage_lda(z, y, fold, classes=classes), y, fold))
    return found


def log_loss(scores: NDArray[np.floating], y: Ints, fold: Ints, scale: float = 1.0) -> float:
    """Mean nats a sample of logits (n, c), classes weighing alike, where the sample's class is outside its fold too."""
    weights = judged_weights(y, fold, scores.shape[1])
    if not weights.any():
        return float(np.log(scores.shape[1]))
    shares = log_softmax(scale * scores.astype(np.float64), axis=1)
    return float(-weights @ shares[np.arange(len(y)), y] / weights.sum())


def judged_weights(y: Ints, fold: Ints, classes: int) -> Doubles:
    """Weights (n,) of mean 1 that are alike for all classes, 0 for those of which a fit has seen none."""
    inside = np.bincount(fold * classes + y, minlength=(int(fold.max()) + 1) * classes).reshape(-1, classes)
    known = (inside.sum(0) - inside)[fold, y] > 0
    return np.where(known, class_weights(y, classes), 0.0)


def _scaled(words: str, probe: Probe, y: Ints, fold: Ints) -> Head:
    """A probe whose scores become logits by one factor; those of a fold are judged at the factor of the others."""
    scores = probe.scores.astype(np.float64)
    if len(places := np.unique(fold)) < 2:
        return Head(words, probe.weights, probe.intercept, log_loss(scores, y, fold))
    own = np.ones(len(y))
    for place in places:
        own[fold == place] = _scale(scores, y, fold, fold != place)
    scale = _scale(scores, y, fold, np.ones(len(y), bool))
    return Head(words, scale * probe.weights, scale * probe.intercept, log_loss(own[:, None] * scores, y, fold))


def _scale(scores: Doubles, y: Ints, fold: Ints, rows: NDArray[np.bool_]) -> float:
    """The factor of least log-loss on these rows."""
    weights = judged_weights(y, fold, scores.shape[1])[rows]
    held, wanted = scores[rows], y[rows]

    def loss(power: float) -> float:
        shares = log_softmax(np.exp(power) * held, axis=1)
        return float(-weights @ shares[np.arange(len(wanted)), wanted])

    if not weights.any():
        return 1.0
    return float(np.exp(minimize_scalar(loss, bounds=POWERS, method="bounded", options={"xatol": 1e-2}).x))
