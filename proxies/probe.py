"""What a linear probe gives: leave-out scores along its path of penalties, and weights to predict with."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from autossl.proxies.checks import matrix
from autossl.proxies.tiles import spans


@dataclass(frozen=True)
class Probe:
    """A linear probe: `scores` are leave-out predictions, `weights` come from all samples."""

    penalty: float
    scores: NDArray[np.float32]  # (n, c), each group's at the penalty that the other groups choose
    penalties: NDArray[np.float64]  # (l,)
    losses: NDArray[np.float64]  # (l,) mean of the leave-out predictions at each penalty; NaN where it was not tried
    weights: NDArray[np.float64]  # (d, c)
    intercept: NDArray[np.float64]  # (c,)

    def predict(self, z: ArrayLike) -> NDArray[np.float32]:
        """Returns scores (m, c) of embeddings (m, d), on the scale of `scores`."""
        rows = matrix(z)
        if rows.shape[1] != len(self.weights):
            raise ValueError(f"z must have the probe's {len(self.weights)} dimensions, found {rows.shape[1]}.")
        scores = np.empty((len(rows), self.weights.shape[1]), np.float32)
        for start, stop in spans(len(rows), 4096):  # in float64 by tiles: z need not be centred
            scores[start:stop] = rows[start:stop].astype(np.float64) @ self.weights + self.intercept
        return scores


def penalty_path(penalties: ArrayLike) -> NDArray[np.float64]:
    """Returns positive penalties (l,); anything else is a ValueError."""
    path = np.atleast_1d(np.array(penalties, np.float64))
    if path.ndim != 1 or not (path.size and np.isfinite(path).all() and path.min() > 0):
        raise ValueError(f"penalties must be positive numbers, found {penalties!r}.")
    return path


def chosen(losses: NDArray[np.float64], penalties: NDArray[np.float64]) -> tuple[int, NDArray[np.int64]]:
    """Places of the penalties (l,) with the least loss for all groups and, for each group, for all the others.

    losses (l, groups) are sums over each group's left-out samples; of equal ones the largest penalty is taken. What a
    group is worth at a penalty says nothing about which one it is judged at, or the best of many would look too good.
    """
    order = np.argsort(-penalties, kind="stable")
    total = losses[order].sum(axis=1, keepdims=True)
    if losses.shape[1] < 2:
        return int(order[0]), order[np.zeros(losses.shape[1], np.int64)]
    rest = total - losses[order]
    rounding = 1e-12 * total  # what is left of a difference of sums
    each = (rest <= rest.min(axis=0) + rounding.min()).argmax(axis=0)
    return int(order[total[:, 0].argmin()]), order[each]


def class_weights(labels: NDArray[np.int64], classes: int) -> NDArray[np.float64]:
    """Returns a weight for each sample, of mean 1, with which every class that has samples weighs the same."""
    sizes = np.bincount(labels, minlength=classes)
    weights: NDArray[np.float64] = len(labels) / (np.count_nonzero(sizes) * sizes[labels])
    return weights
