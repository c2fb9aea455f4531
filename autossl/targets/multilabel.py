"""Several findings per image, each there, not there or unknown: ridge in the search, logistic probes at the end."""

from collections.abc import Sequence
from typing import Any, ClassVar, final

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_expit, logsumexp

from autossl.data.scarce import LEAST_TESTED
from autossl.data.truth import Labels, Truth
from autossl.errors.printable import plural
from autossl.nn.encoder import Encoder
from autossl.proxies import Outcomes, logistic
from autossl.targets.base import Judged, Probed, Score
from autossl.targets.columns import ridge_score, ridge_transfer
from autossl.targets.log_loss import folds_of, log_loss
from autossl.targets.readouts import NEVER, Labeller
from autossl.targets.seen import Seen

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]
CLOSE = 1e-4  # nats a sample; a label's penalty is chosen on two folds and fitted loosely, for there may be many


@final
class MultiLabel(Judged):
    """Findings (n, t) of 0 and 1, -1 where unknown; metrics are means over the findings."""

    task: ClassVar = "multilabel"
    form: ClassVar = Labels
    metrics: ClassVar = ("multilabel_auroc", "average_precision")
    hub: ClassVar = "image-classification"
    figure: ClassVar = "findings"
    shown: ClassVar = {"ap": "ridge_labels_ap", "rankme": "rankme", "participation": "participation"}
    headings: ClassVar = {"ap": "AP", "rankme": "RankMe"}

    def score(self, seen: Seen, truth: Truth, groups: Ints | None) -> Score:
        """Ridge for each finding, predicted in folds of whole patients."""
        return ridge_score(seen.pooled, _marks(truth), groups, self.task, self.metric, self.shown)

    def transfer(self, seen: Seen, truth: Truth, groups: Ints | None, new: Seen) -> Floats:
        """Scores (m, t) by the same ridge probes."""
        return ridge_transfer(seen.pooled, _marks(truth), groups, new.pooled, self.task)

    def readout(self, encoder: Encoder, truth: Truth) -> Labeller:
        """A logit for each finding, its loss balanced within each."""
        made = Labeller(encoder.dim, len(self.about["columns"]))
        made.balance(truth.array)
        return made

    def fitted(self, z: Floats, truth: Truth, groups: Ints | None) -> Probed:
        """Logistic regression for each finding, balanced, on the samples in which it is known.

        One that is never there, or always, is answered alike for all.
        """
        mean, spread = z.mean(0, dtype=np.float64), z.std(0, dtype=np.float64) + 1e-6
        weights, intercepts, losses = [], [], []
        for column in _marks(truth).T:
            known = np.isfinite(column)
            y = column[known].astype(np.int64)
            if len(np.unique(y)) < 2:
                weights.append(np.zeros(z.shape[1]))
                intercepts.append(-NEVER if y.any() else NEVER)
                continue
            rows, owner = ((z[known] - mean) / spread).astype(np.float32), None if groups is None else groups[known]
            fold = folds_of(y, owner, most=2)
            fit = logistic(rows, y, fold, classes=2, folds=2, tolerance=CLOSE)
            losses.append(log_loss(fit.scores, y, fold))
            weights.append((fit.weights[:, 1] - fit.weights[:, 0]) / spread)
            intercepts.append(fit.intercept[1] - fit.intercept[0] - mean @ weights[-1])
        made = Labeller.of(np.stack(weights, axis=1), np.array(intercepts))
        made.balance(truth.array)
        made.words = "logistic regression for each label"
        return Probed(made, float(np.mean(losses)) if losses else 0.0)

    def judge(self, raw: NDArray[Any], truth: Truth, groups: Ints | None = None) -> Outcomes:
        """Findings and their logits."""
        return Outcomes.of(_marks(truth), np.asarray(raw, dtype=np.float32))

    @property
    def parts(self) -> tuple[str, ...]:
        return tuple(self.about["columns"])

    def mean(self, raws: Sequence[NDArray[Any]]) -> Floats:
        """Logits of the mean of the probabilities."""
        logs = [log_expit(np.stack([raw, -raw]).astype(np.float64)) for raw in raws]
        there, lacking = logsumexp(logs, axis=0)
        return np.asarray(there - lacking, dtype=np.float32)

    def answer(self, raw: NDArray[Any]) -> dict[str, list[Any]]:
        """How likely each finding is (balanced, not calibrated)."""
        likely = 1 / (1 + np.exp(-np.clip(raw.astype(np.float64), -50, 50)))
        return dict(zip(self.about["columns"], np.round(likely.T, 4).tolist(), strict=True))

    def few(self, truth: Truth, groups: Ints, unit: str, where: str, absent: bool = True) -> str:
        """The finding with most patients who have it or have not, where even these are too few of one of both."""
        marks = _marks(truth)
        held = [tuple(len(np.unique(groups[column == there])) for there in (1, 0)) for column in marks.T]
        at = max(range(len(held)), key=lambda column: min(held[column]))
        if min(held[at]) >= LEAST_TESTED:
            return ""
        having, lacking = held[at]
        return (
            f"{where} has {plural(having, unit)} with and {lacking} without {self.parts[at]!r}, the best of its labels"
        )

    def probe_seconds(self, labels: int, dim: int) -> float:
        """Three fits of 50 steps for each finding."""
        return 0.1 + 3 * 50 * 4.0 * labels * dim * 2 * len(self.about.get("columns", ())) / 20e9


def _marks(truth: Truth) -> NDArray[np.float64]:
    """(n, t), NaN where unknown."""
    assert isinstance(truth, Labels)
    assert truth.known.all(), "findings that are not known, or were withheld"
    return np.where(truth.marks < 0, np.nan, truth.marks).astype(np.float64)
