"""Image classification as a target: its aligned score, its head, and its metrics."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autossl.errors import UserError
from autossl.proxies import (
    Evidence,
    balanced_accuracy,
    collapse,
    judging_folds,
    logistic,
    macro_auroc,
    read,
    ridge,
    standardise,
)
from autossl.targets.readouts import NEVER, Classifier

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]

METRICS = ("balanced_accuracy", "macro_auroc")
MEASURED_ABOVE = 250  # labels; up to here adaptation="auto" is frozen (catalogue §5.4: few labels favour a probe)
MANY = 3000  # labels from which the head is chosen by 2 folds instead of 5 and fitted less closely
CLOSE, LESS_CLOSE = 1e-5, 1e-4  # nats a sample; test scores differ by .0015 at most, seconds by 1.8 (docs/decisions.md)
ALIGNED = {"balanced_accuracy": "ridge", "macro_auroc": "ridge_auroc"}  # the proxy that is maximised, by metric
SHOWN = {"knn": "knn", "auroc": "ridge_auroc", "rankme": "rankme", "participation": "participation"}


@dataclass(frozen=True)
class Score:
    """The aligned score of one embedding with its standard error, the other proxies, and what it predicted."""

    value: float
    se: float
    proxies: dict[str, float]
    collapsed: str  # why the embedding counts as collapsed, or empty
    predicted: Floats  # (n, classes), every row predicted without the patients of its fold
    seconds: float = 0.0  # that the proxies took, without the embedding


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
        """Aligned score of embeddings (n, d) with labels (n,): ridge, predicted in folds of whole patients.

        Two candidates are compared within the same `folds`. The standard error comes from a bootstrap over patients.
        k-NN and the spectrum are shown beside it.
        """
        count = len(self.classes)
        if not np.isfinite(z).all():
            return Score(0.0, 0.0, {}, collapse(z).reason, np.zeros((len(z), count), dtype=np.float32))
        evidence = Evidence(z, y, groups, classes=count, grid=False)
        found = read(evidence, scores=(ALIGNED[self.metric], *SHOWN.values()), draws=200)
        aligned = found[ALIGNED[self.metric]]
        return Score(
            aligned.value,
            aligned.se,
            {name: found[row].value for name, row in SHOWN.items()},
            evidence.health.reason,
            evidence.probe.scores,
        )

    @staticmethod
    def folds(y: Ints, groups: Ints | None) -> Ints:
        """The folds (n,) that an aligned score predicts in: whole patients, every class in each."""
        return judging_folds(y, groups)

    def transfer(self, z: Floats, y: Ints, groups: Ints | None, z_new: Floats) -> Floats:
        """Class scores (m, classes) of new embeddings by the same ridge probe, fitted on (z, y)."""
        fit = ridge(standardise(z), y, self.folds(y, groups), classes=len(self.classes))
        return np.asarray(fit.predict(standardise(z_new, z)), dtype=np.float32)

    def fit_head(self, z: Floats, y: Ints, groups: Ints | None) -> Classifier:
        """Multinomial logistic regression, class-balanced, its penalty chosen by log-loss on folds of whole patients.

        A class without samples is never predicted.
        """
        mean, std = z.mean(0), z.std(0) + 1e-6
        count = len(self.classes)
        folds, tolerance = (5, CLOSE) if len(y) < MANY else (2, LESS_CLOSE)  # the choice is easy, a fit costs seconds
        probe = logistic(
            (z - mean) / std, y, groups,
            classes=count, folds=folds, tolerance=tolerance,
        )  # fmt: skip
        weights = probe.weights / std[:, None]
        intercept = probe.intercept - mean @ weights
        intercept[np.bincount(y, minlength=count) == 0] = NEVER
        return Classifier.of(weights.astype(np.float32), intercept.astype(np.float32))

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
        """How the encoder is adapted ("frozen", "finetune", or "auto" where it is to be measured) and why, in words."""
        if wanted != "auto":
            return wanted, "as asked"
        if labels <= MEASURED_ABOVE:
            return (
                "frozen",
                f"{labels} labels: up to about {MEASURED_ABOVE} a frozen probe does better than fine-tuning",
            )
        return "auto", f"{labels} labels: above about {MEASURED_ABOVE} it is measured which does better"
