"""Heads for classes in closed form, compared by log-loss: logistic as in the product, ridge, discriminants."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

from autossl.proxies import logistic, ridge, shrinkage_lda
from autossl.proxies.probe import Probe
from autossl.targets.log_loss import log_loss

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Ints = NDArray[np.int64]

POWERS = (-5.0, 7.0)  # of e, between which scores are scaled to be logits


class Head(NamedTuple):
    """A linear head: weights (d, c), intercept (c,), and its loss on what it was fitted without."""

    weights: Doubles
    intercept: Doubles
    loss: float


def heads(z: Floats, y: Ints, fold: Ints, classes: int) -> list[Head]:
    """Logistic, ridge and linear discriminants on standardised embeddings; scores of the latter scaled to be logits."""
    first = logistic(z, y, fold, classes=classes)
    found = [Head(first.weights, first.intercept, log_loss(first.scores, y, fold))]
    for probe in (ridge(z, y, fold, classes=classes), shrinkage_lda(z, y, fold, classes=classes)):
        found.append(_scaled(probe, y, fold))
    return found


def _scaled(probe: Probe, y: Ints, fold: Ints) -> Head:
    """A probe whose scores become logits by one factor; those of a fold are judged at the factor of the others."""
    scores, own = probe.scores.astype(np.float64), np.ones(len(y))
    for place in np.unique(fold):
        others = fold != place
        own[~others] = _scale(scores[others], y[others], fold[others])
    scale = _scale(scores, y, fold)
    return Head(scale * probe.weights, scale * probe.intercept, log_loss(own[:, None] * scores, y, fold))


def _scale(scores: Doubles, y: Ints, fold: Ints) -> float:
    """The factor of least log-loss."""

    def loss(power: float) -> float:
        return log_loss(np.exp(power) * scores, y, fold)

    return float(np.exp(minimize_scalar(loss, bounds=POWERS, method="bounded", options={"xatol": 1e-2}).x))
