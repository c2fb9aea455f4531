"""One grade per image, of an ordered scale, as a number: by ridge on the grades' places, rounded."""

from typing import Any, ClassVar, final

import numpy as np
from numpy.typing import NDArray

from autossl.data.scarce import few_tested
from autossl.data.truth import Grades, Truth
from autossl.nn.encoder import Encoder
from autossl.proxies import Outcomes
from autossl.targets.base import Judged, Probed, Score
from autossl.targets.columns import ridge_probe, ridge_score, ridge_seconds, ridge_transfer
from autossl.targets.readouts import Regressor
from autossl.targets.seen import Seen

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]


@final
class Ordinal(Judged):
    """Grades as whole numbers from 0; answers between them are rounded by the metric."""

    task: ClassVar = "ordinal"
    form: ClassVar = Grades
    metrics: ClassVar = ("quadratic_kappa", "spearman")
    told: ClassVar = ("mae",)
    shown: ClassVar = {
        "knn": "knn_kappa", "spearman": "ridge_spearman", "rankme": "rankme", "participation": "participation"
    }  # fmt: skip
    headings: ClassVar = {"knn": "k-NN", "spearman": "ρ", "rankme": "RankMe"}
    hub: ClassVar = "image-classification"
    figure: ClassVar = "grades"

    def score(self, seen: Seen, truth: Truth, groups: Ints | None) -> Score:
        """Ridge predicted in folds of whole patients; k-NN of grades and the spectrum beside it."""
        return ridge_score(seen.pooled, _grades(truth), groups, self.task, self.metric, self.shown)

    def transfer(self, seen: Seen, truth: Truth, groups: Ints | None, new: Seen) -> Floats:
        """Places on the scale (m, 1) by the same ridge probe."""
        return ridge_transfer(seen.pooled, _grades(truth), groups, new.pooled, self.task)

    def readout(self, encoder: Encoder, truth: Truth) -> Regressor:
        """A linear layer to one place on the scale."""
        made = Regressor(encoder.dim, 1)
        made.standardise(_grades(truth))
        return made

    def fitted(self, z: Floats, truth: Truth, groups: Ints | None) -> Probed:
        """Ridge regression, its penalty chosen on folds of whole patients."""
        return ridge_probe("ridge regression on the grades", z, _grades(truth), groups, self.task)

    def answer(self, raw: NDArray[Any]) -> dict[str, list[Any]]:
        """The nearest grade, and the place on the scale, whose lowest grade is 0."""
        names, place = self.about["grades"], raw.reshape(-1)
        nearest = np.clip(np.rint(place), 0, len(names) - 1).astype(int)
        return {"grade": [names[at] for at in nearest], "place": np.round(place, 3).tolist()}

    def constant(self, encoder: Encoder, truth: Truth) -> Regressor:
        """The middle grade (the median)."""
        grades = _grades(truth)
        return Regressor.of(np.zeros((encoder.dim, 1)), np.median(grades, axis=0), grades)

    def probe_seconds(self, labels: int, dim: int) -> float:
        """Ridge."""
        return ridge_seconds(labels, dim, 1)

    def judge(self, raw: NDArray[Any], truth: Truth, groups: Ints | None = None) -> Outcomes:
        """Grades and answers."""
        return Outcomes.of(_grades(truth), np.asarray(raw, dtype=np.float32).reshape(len(truth), 1))

    def few(self, truth: Truth, groups: Ints, unit: str, where: str, absent: bool = True) -> str:
        """Grades of which the test part has too few patients, where fewer than two have enough."""
        held = truth.groups_per_stratum(slice(None), groups)
        told = few_tested(held, unit, where, truth.word)
        return told if sum(not few_tested({name: count}, unit, where) for name, count in held.items()) < 2 else ""


def _grades(truth: Truth) -> NDArray[np.float64]:
    assert isinstance(truth, Grades)
    assert truth.known.all(), "grades that are not known, or were withheld"
    return truth.labels[:, None].astype(np.float64)
