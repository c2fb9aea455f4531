"""One class per image, by a ridge probe in the search and a logistic one at the end."""

from collections.abc import Sequence
from typing import Any, ClassVar, final

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_softmax, logsumexp, softmax

from autossl.data.scarce import few_tested
from autossl.data.truth import Classes, Truth
from autossl.nn.encoder import Encoder
from autossl.proxies import (
    Evidence,
    Outcomes,
    collapse,
    detectable_difference,
    judging_folds,
    logistic,
    read,
    ridge,
    standardise,
)
from autossl.targets.base import Judged, Probed, Score
from autossl.targets.log_loss import folds_of, log_loss
from autossl.targets.readouts import NEVER, Classifier
from autossl.targets.seen import Seen

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]

MANY = 3000  # labels from which the head is chosen by 2 folds instead of 5 and fitted less closely
CLOSE, LESS_CLOSE = 1e-5, 1e-4  # nats a sample; test scores differ by .0015 at most, seconds by 1.8 (docs/decisions.md)
ALIGNED = {"balanced_accuracy": "ridge", "macro_auroc": "ridge_auroc"}  # the proxy that is maximised, by metric


@final
class Classification(Judged):
    """One class for each image."""

    task: ClassVar = "classification"
    form: ClassVar = Classes
    metrics: ClassVar = ("balanced_accuracy", "macro_auroc")
    told: ClassVar = ("accuracy",)
    hub: ClassVar = "image-classification"
    figure: ClassVar = "classes"
    shown: ClassVar = {
        "knn": "knn", "auroc": "ridge_auroc", "rankme": "rankme", "participation": "participation"
    }  # fmt: skip
    headings: ClassVar = {"knn": "k-NN", "auroc": "AUROC", "rankme": "RankMe"}

    @property
    def classes(self) -> int:
        """How many classes there are."""
        return len(self.about.get("classes", ()))

    def score(self, seen: Seen, truth: Truth, groups: Ints | None) -> Score:
        """Ridge on the embeddings, predicted in folds of whole patients with every class in each.

        Two candidates are compared within the same folds. The standard error comes from a bootstrap over patients.
        k-NN and the spectrum are shown beside it.
        """
        y, z = _labels(truth), seen.pooled
        if not np.isfinite(z).all():
            nothing = Outcomes.of(y, np.zeros((len(z), self.classes), dtype=np.float32))
            return Score(0.0, 0.0, {}, collapse(z).reason, nothing)
        evidence = Evidence(z, y, groups, classes=self.classes, grid=False)
        found = read(evidence, scores=(ALIGNED[self.metric], *self.shown.values()), draws=200)
        aligned = found[ALIGNED[self.metric]]
        return Score(
            aligned.value,
            aligned.se,
            {name: found[row].value for name, row in self.shown.items()},
            evidence.health.reason,
            Outcomes.of(y, evidence.probe.scores, judging_folds(y, groups)),
        )

    def transfer(self, seen: Seen, truth: Truth, groups: Ints | None, new: Seen) -> Floats:
        """Class scores (m, classes) by the same ridge probe."""
        y, z = _labels(truth), seen.pooled
        fit = ridge(standardise(z), y, judging_folds(y, groups), classes=self.classes)
        return np.asarray(fit.predict(standardise(new.pooled, z)), dtype=np.float32)

    def readout(self, encoder: Encoder, truth: Truth) -> Classifier:
        """A linear classifier, its loss balanced by class."""
        made = Classifier(encoder.dim, self.classes)
        made.balance(_labels(truth))
        return made

    def fitted(self, z: Floats, truth: Truth, groups: Ints | None) -> Probed:
        """Multinomial logistic regression, class-balanced, its penalty chosen by log-loss on folds of whole patients.

        A class without samples is never predicted.
        """
        y = _labels(truth)
        mean, std = z.mean(0), z.std(0) + 1e-6
        most, tolerance = (5, CLOSE) if len(y) < MANY else (2, LESS_CLOSE)  # the choice is easy, a fit costs seconds
        fold = folds_of(y, groups, most)
        probe = logistic((z - mean) / std, y, fold, classes=self.classes, folds=most, tolerance=tolerance)
        weights = probe.weights / std[:, None]
        intercept = probe.intercept - mean @ weights
        intercept[np.bincount(y, minlength=self.classes) == 0] = NEVER
        made = Classifier.of(weights.astype(np.float32), intercept.astype(np.float32))
        made.balance(y)
        made.words = "a logistic probe"
        return Probed(made, log_loss(probe.scores, y, fold))

    def judge(self, raw: NDArray[Any], truth: Truth, groups: Ints | None = None) -> Outcomes:
        """Labels and class scores."""
        return Outcomes.of(_labels(truth), np.asarray(raw, dtype=np.float32))

    def mean(self, raws: Sequence[NDArray[Any]]) -> Floats:
        """Logits whose shares are the mean of the shares."""
        logs = [log_softmax(raw.astype(np.float64), axis=1) for raw in raws]
        return np.asarray(logsumexp(logs, axis=0) - np.log(len(logs)), dtype=np.float32)

    def answer(self, raw: NDArray[Any]) -> dict[str, list[Any]]:
        """The class, and the share of each class (softmax; not calibrated)."""
        names, shares = self.about["classes"], softmax(raw.astype(np.float64), axis=1)
        told = {f"share {name}": np.round(column, 4).tolist() for name, column in zip(names, shares.T, strict=True)}
        return {"class": [names[at] for at in shares.argmax(1)], **told}

    def detectable(self, truth: Truth, groups: Ints | None) -> float | None:
        """In balanced accuracy, whatever the metric: that of the area is no larger."""
        return detectable_difference(_labels(truth), groups)

    def few(self, truth: Truth, groups: Ints, unit: str, where: str, absent: bool = True) -> str:
        """Classes with too few patients."""
        held = truth.groups_per_stratum(slice(None), groups)
        return few_tested({name: count for name, count in held.items() if count or absent}, unit, where, truth.word)

    def probe_seconds(self, labels: int, dim: int) -> float:
        """Logistic regressions, about seven fits of 100 steps, of many labels 50."""
        flop = 7 * (100 if labels < MANY else 50) * 4.0 * labels * dim * self.classes
        return 0.1 + flop / 20e9


def _labels(truth: Truth) -> Ints:
    assert isinstance(truth, Classes)
    assert truth.known.all(), "labels that are not known, or were withheld"
    return truth.labels
