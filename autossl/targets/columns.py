"""What targets with a column of numbers for each answer share: ridge on every column, also where some are unknown."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autossl.proxies import Evidence, Outcomes, collapse, judging_folds, read, ridge, standard_error
from autossl.targets.base import Probed, Score
from autossl.targets.readouts import Regressor

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]
DRAWS = 200


def ridge_score(
    z: Floats, y: NDArray[Any], groups: Ints | None, task: str, metric: str, shown: Mapping[str, str]
) -> Score:
    """The aligned score of embeddings (n, d) with columns (n, t), NaN where unknown: ridge in folds of whole patients.

    Proxies are means over the columns. Columns with gaps are fitted apart, each on the samples that have it.
    """
    if not np.isfinite(z).all():
        nothing = Outcomes.of(y, np.zeros(y.shape, dtype=np.float32))
        return Score(0.0, 0.0, {}, collapse(z).reason, nothing)
    whole, scores, folds = bool(np.isfinite(y).all()), np.full(y.shape, np.nan, np.float32), np.zeros(len(y), np.int64)
    health, found = collapse(z).reason, []
    for at in [slice(None)] if whole else [slice(column, column + 1) for column in range(y.shape[1])]:
        known = np.isfinite(y[:, at]).all(1)
        owner = None if groups is None else groups[known]
        evidence = Evidence(z[known], y[known, at], owner, task=task, grid=False)
        panel = read(evidence, scores=tuple(shown.values()), draws=2)
        found.append({name: reading.value for name, reading in panel.readings.items()})
        scores[known, at], folds[known] = evidence.probe.scores, evidence.folds
    outcomes = Outcomes.of(y, scores, folds if whole else None)
    proxies = {key: float(np.nanmean([part[row] for part in found])) for key, row in shown.items()}
    drawn = outcomes.drawn((metric,), groups, draws=DRAWS)[metric]
    return Score(outcomes.value(metric), standard_error(drawn), proxies, health, outcomes)


def ridge_probe(words: str, z: Floats, y: NDArray[Any], groups: Ints | None, task: str) -> Probed:
    """Ridge on embeddings (n, d) for columns (n, t), NaN where unknown; the loss is the squared error in variances."""
    weights, intercept, loss = ridge_weights(z, y, groups, task)
    made = Regressor.of(weights, intercept, y)
    made.words = words
    return Probed(made, loss)


def ridge_seconds(labels: int, dim: int, columns: int) -> float:
    """About what `ridge_probe` costs on a common processor: one decomposition of the smaller Gram matrix a column."""
    least = min(labels, dim)
    return 0.1 + columns * (2.0 * labels * dim * least + 10.0 * least**3) / 20e9


def ridge_weights(
    z: Floats, y: NDArray[Any], groups: Ints | None, task: str
) -> tuple[NDArray[np.float64], NDArray[np.float64], float]:
    """Weights (d, t) and intercepts (t,) of ridge on raw embeddings, each column's penalty chosen by whole patients.

    Last the squared error of what is predicted of other patients, in variances of its column, the mean over columns.
    """
    weights, intercepts, losses = [], [], []
    mean, spread = z.mean(0, dtype=np.float64), z.std(0, dtype=np.float64) + 1e-6
    for column in y.T:
        known = np.isfinite(column)
        owner = None if groups is None else groups[known]
        rows = ((z[known] - mean) / spread).astype(np.float32)
        several = task == "multilabel" or None
        fit = ridge(rows, column[known], judging_folds(column[known], owner, task=task), recentre=several)
        weights.append(fit.weights[:, 0] / spread)
        intercepts.append(fit.intercept[0] - mean @ weights[-1])
        errors = np.mean((fit.scores[:, 0] - column[known]) ** 2)
        losses.append(errors / max(float(np.var(column[known])), 1e-30))
    return np.stack(weights, axis=1), np.array(intercepts), float(np.mean(losses))


def ridge_transfer(z: Floats, y: NDArray[Any], groups: Ints | None, new: Floats, task: str) -> Floats:
    """Answers (m, t) to new embeddings (m, d) by the probe of `ridge_score`, fitted on all of (z, y)."""
    weights, intercept, _ = ridge_weights(z, y, groups, task)
    return (new.astype(np.float64) @ weights + intercept).astype(np.float32)
