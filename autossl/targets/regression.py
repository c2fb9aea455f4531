"""One or several numbers per image, by ridge in the search and at the end."""

from typing import Any, ClassVar, final

import numpy as np
from numpy.typing import NDArray

from autossl.data.truth import Truth, Values
from autossl.nn.encoder import Encoder
from autossl.proxies import Outcomes
from autossl.targets.base import Judged, Probed, Score
from autossl.targets.columns import ridge_probe, ridge_score, ridge_seconds, ridge_transfer
from autossl.targets.readouts import Regressor
from autossl.targets.seen import Seen

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]


@final
class Regression(Judged):
    """Numbers (n, t), NaN where unknown; metrics are means over the columns."""

    task: ClassVar = "regression"
    form: ClassVar = Values
    metrics: ClassVar = ("r2", "spearman")
    told: ClassVar = ("mae",)
    shown: ClassVar = {
        "knn": "knn_r2", "spearman": "ridge_spearman", "rankme": "rankme", "participation": "participation"
    }  # fmt: skip
    headings: ClassVar = {"knn": "k-NN", "spearman": "ρ", "rankme": "RankMe"}
    figure: ClassVar = "values"

    def score(self, seen: Seen, truth: Truth, groups: Ints | None) -> Score:
        """Ridge predicted in folds of whole patients; k-NN of values and the spectrum beside it."""
        return ridge_score(seen.pooled, _values(truth), groups, self.task, self.metric, self.shown)

    def transfer(self, seen: Seen, truth: Truth, groups: Ints | None, new: Seen) -> Floats:
        """Values (m, t) by the same ridge probe."""
        return ridge_transfer(seen.pooled, _values(truth), groups, new.pooled, self.task)

    def readout(self, encoder: Encoder, truth: Truth) -> Regressor:
        """A linear layer whose loss knows mean and spread of these numbers."""
        made = Regressor(encoder.dim, _values(truth).shape[1])
        made.standardise(_values(truth))
        return made

    def fitted(self, z: Floats, truth: Truth, groups: Ints | None) -> Probed:
        """Ridge regression, each column's penalty chosen on folds of whole patients."""
        return ridge_probe("ridge regression", z, _values(truth), groups, self.task)

    @property
    def parts(self) -> tuple[str, ...]:
        return tuple(self.about["columns"])

    def answer(self, raw: NDArray[Any]) -> dict[str, list[Any]]:
        """The value of each column."""
        return dict(zip(self.about["columns"], raw.T.tolist(), strict=True))

    def constant(self, encoder: Encoder, truth: Truth) -> Regressor:
        """The mean of each column."""
        values = _values(truth)
        return Regressor.of(np.zeros((encoder.dim, values.shape[1])), np.nanmean(values, axis=0), values)

    def probe_seconds(self, labels: int, dim: int) -> float:
        """Ridge."""
        return ridge_seconds(labels, dim, len(self.about.get("columns", ())))

    def judge(self, raw: NDArray[Any], truth: Truth, groups: Ints | None = None) -> Outcomes:
        """True values and answers."""
        return Outcomes.of(_values(truth), np.asarray(raw, dtype=np.float32))


def _values(truth: Truth) -> NDArray[np.float64]:
    assert isinstance(truth, Values)
    assert truth.known.all(), "values that are not known, or were withheld"
    return truth.values
