"""Image classification as a target: its aligned score, its head, and its metrics."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

from autossl.errors import UserError
from autossl.proxies import (
    balanced_accuracy,
    bootstrap,
    collapse,
    grouped_folds,
    knn_votes,
    macro_auroc,
    participation_ratio,
    rankme,
    ridge,
    standardise,
)

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]

METRICS = ("balanced_accuracy", "macro_auroc")
INVERSE_PENALTIES = tuple(float(c) for c in np.logspace(-4, 1, 6))  # of the logistic head, on standardised embeddings
FINETUNE_ABOVE = (
    250  # labels from which adaptation="auto" fine-tunes (catalogue §5.4: few labels favour a frozen probe)
)
KNN_K, KNN_T = 20, 0.07


@dataclass(frozen=True)
class Score:
    """The aligned score of one embedding with its standard error, the other proxies, and what it predicted."""

    value: float
    se: float
    proxies: dict[str, float]
    collapsed: str  # why the embedding counts as collapsed, or empty
    predicted: Floats  # (n, classes), every row predicted without its own patient


@dataclass(frozen=True)
class Head:
    """A linear classifier on raw embeddings: scores are z @ weights + intercept."""

    weights: Floats  # (d, classes)
    intercept: Floats  # (classes,)
    inverse_penalty: float

    def logits(self, z: Floats) -> Floats:
        """(n, d) -> (n, classes)."""
        return np.asarray(z @ self.weights + self.intercept, dtype=np.float32)


class Classification:
    """One label per image. `metric` is what the study maximises and reports first."""

    task = "classification"

    def __init__(self, classes: Sequence[str], metric: str = "auto") -> None:
        if metric != "auto" and metric not in METRICS:
            raise UserError(
                f"a metric of classification was wanted ({', '.join(METRICS)} or auto), found --metric {metric!r}; "
                "choose one of these"
            )
        self.classes = tuple(classes)
        self.metric = METRICS[0] if metric == "auto" else metric

    def score(self, z: Floats, y: Ints, groups: Ints | None) -> Score:
        """Aligned score of embeddings (n, d) with labels (n,): ridge, predicted patient by patient.

        The standard error comes from a bootstrap over patients. k-NN and the spectrum are shown beside it.
        """
        count = len(self.classes)
        health = collapse(z)
        if not np.isfinite(z).all():
            return Score(0.0, 0.0, {}, health.reason, np.zeros((len(z), count), dtype=np.float32))
        scaled = standardise(z)
        fit = ridge(scaled, y, groups, classes=count, metric=self.metric)
        draws = bootstrap(y, fit.scores, groups, metrics=(self.metric,), draws=200)[self.metric]
        votes = knn_votes(z, y, ks=(KNN_K,), temperatures=(KNN_T,), classes=count, groups=groups)[0, 0]
        proxies = {
            "knn": balanced_accuracy(y, votes.argmax(1)),
            "auroc": macro_auroc(y, fit.scores),
            "rankme": rankme(z),
            "participation": participation_ratio(z),
        }
        return Score(
            float(fit.value),
            float(np.std(draws)),
            {name: float(value) for name, value in proxies.items()},
            health.reason if health.collapsed else "",
            np.asarray(fit.scores, dtype=np.float32),
        )

    def transfer(self, z: Floats, y: Ints, groups: Ints | None, z_new: Floats) -> Floats:
        """Class scores (m, classes) of new embeddings by the same ridge probe, fitted on (z, y)."""
        fit = ridge(standardise(z), y, groups, classes=len(self.classes), metric=self.metric)
        return np.asarray(fit.predict(standardise(z_new, z)), dtype=np.float32)

    def fit_head(self, z: Floats, y: Ints, groups: Ints | None, seed: int = 0) -> Head:
        """Multinomial logistic regression, class-balanced, its penalty chosen on a fold of whole patients."""
        mean, std = z.mean(0), z.std(0) + 1e-6
        scaled = (z - mean) / std
        held = grouped_folds(y, groups, 4, seed) == 0
        enough = len(np.unique(y[~held])) == len(np.unique(y)) and held.any()
        best = self._penalty(scaled, y, held) if enough else 0.01
        model = _logistic(scaled, y, best)
        weights, intercept = self._full(model)
        weights = weights / std[:, None]
        return Head(weights.astype(np.float32), (intercept - mean @ weights).astype(np.float32), inverse_penalty=best)

    def _penalty(self, z: Floats, y: Ints, held: NDArray[np.bool_]) -> float:
        start, results = None, []
        for c in INVERSE_PENALTIES:
            model = _logistic(z[~held], y[~held], c, start)
            start = model
            weights, intercept = self._full(model)
            results.append(self.value(y[held], z[held] @ weights + intercept))
        return INVERSE_PENALTIES[int(np.argmax(results))]

    def _full(self, model: LogisticRegression) -> tuple[NDArray[Any], NDArray[Any]]:
        """Weights (d, classes) and intercept for all classes; one that had no sample is never chosen."""
        coef, intercept = model.coef_, model.intercept_
        if len(model.classes_) == 2:
            coef, intercept = np.vstack([-coef, coef]) / 2, np.concatenate([-intercept, intercept]) / 2
        weights = np.zeros((coef.shape[1], len(self.classes)))
        bias = np.full(len(self.classes), -1e4)
        weights[:, model.classes_], bias[model.classes_] = coef.T, intercept
        return weights, bias

    def value(self, y: Ints, scores: NDArray[Any]) -> float:
        """The study's metric of class scores (n, classes)."""
        return self.metrics(y, scores)[self.metric]

    def metrics(self, y: Ints, scores: NDArray[Any]) -> dict[str, float]:
        """Every metric of class scores (n, classes)."""
        return {
            "balanced_accuracy": float(balanced_accuracy(y, scores.argmax(1))),
            "macro_auroc": float(macro_auroc(y, np.asarray(scores, dtype=np.float64))),
            "accuracy": float((scores.argmax(1) == y).mean()),
        }

    def adaptation(self, wanted: str, labels: int) -> tuple[str, str]:
        """How the encoder is adapted ("frozen" or "finetune") and why, in words."""
        if wanted != "auto":
            return wanted, "as asked"
        if labels <= FINETUNE_ABOVE:
            return (
                "frozen",
                f"{labels} labels: up to about {FINETUNE_ABOVE} a frozen probe does better than fine-tuning",
            )
        return "finetune", f"{labels} labels: above about {FINETUNE_ABOVE} fine-tuning does better than a frozen probe"


def _logistic(z: Floats, y: Ints, c: float, start: LogisticRegression | None = None) -> LogisticRegression:
    model = LogisticRegression(C=c, class_weight="balanced", max_iter=100, tol=1e-3, warm_start=start is not None)
    if start is not None:
        model.coef_, model.intercept_ = np.array(start.coef_), np.array(start.intercept_)
        model.classes_ = start.classes_
    with warnings.catch_warnings():
        # a hundred steps on a warm path are enough for a head; the fold decides
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(z, y)
    return model
