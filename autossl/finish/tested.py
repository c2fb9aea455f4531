"""Scores on the test part with bootstrap intervals over patients, and the curve over numbers of labels."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autossl.data.scarce import few_tested
from autossl.nn.encoder import Encoder
from autossl.proxies import bootstrap, interval, paired
from autossl.targets.readouts import Classifier
from autossl.trials.context import PROBE, SELECTION, TEST, Context

CURVE = (10, 30, 100, 300, 1000, 3000, 10_000)
ADAPTED = "winner, fine-tuned"  # the entrant that model/ holds when the adaptation is fine-tuning
CURVE_DRAWS = 3  # label subsets per point
MANY_LABELS = 1000  # of a point from which on one subset will do: they differ little, and cost most
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Entrant:
    """A network in the test: with its own head, or to be fitted with a logistic probe."""

    name: str
    encoder: Encoder
    head: Classifier | None = None


@dataclass
class Outcome:
    """What the test gave: facts for people, and what later steps need."""

    facts: dict[str, Any] = field(default_factory=lambda: {"entrants": {}, "differences": {}})
    heads: dict[str, Classifier] = field(default_factory=dict)
    fitted: dict[str, Floats] = field(default_factory=dict)  # embeddings of the labelled images outside the test
    embeddings: dict[str, Floats] = field(default_factory=dict)  # of the test part
    scores: dict[str, Floats] = field(default_factory=dict)

    def add(self, context: Context, entrant: Entrant) -> None:
        """Test one more network on the same images."""
        rows, fit_rows = context.rows(TEST, labelled=True), context.rows(PROBE, SELECTION, labelled=True)
        z = context.embed(entrant.encoder, rows)
        head = entrant.head
        if head is None:
            fitted = context.embed(entrant.encoder, fit_rows)
            head = context.target.fit_head(fitted, context.data.truth.strata[fit_rows], context.groups(fit_rows))
            self.fitted[entrant.name] = fitted
        self.heads[entrant.name], self.embeddings[entrant.name] = head, z
        self._record(context, entrant.name, head.answers(z), rows)

    def _record(self, context: Context, name: str, scores: Floats, rows: NDArray[np.int64]) -> None:
        y, groups, target = context.data.truth.strata[rows], context.groups(rows), context.target
        values = target.metrics(y, scores)
        self._few(context, y, groups)
        draws = {} if "few" in self.facts else bootstrap(y, scores, groups, draws=1000)
        intervals = {metric: [round(float(v), 5) for v in interval(found)] for metric, found in draws.items()}
        self.facts["entrants"][name] = {**{k: round(v, 5) for k, v in values.items()}, "interval": intervals}
        self.scores[name] = scores
        if name == ADAPTED:
            others = [other for other in self.scores if other not in ("winner", ADAPTED)]
            self.facts["adapted_differences"] = {other: self._gap(name, other, context, rows) for other in others}
        if name != "winner":
            self.facts["differences"][name] = self._gap("winner", name, context, rows)

    def _few(self, context: Context, y: NDArray[np.int64], groups: NDArray[np.int64] | None) -> None:
        """Write down where a class has too few patients for any interval."""
        units = np.arange(len(y)) if groups is None else groups
        counts = {name: len(np.unique(units[y == index])) for index, name in enumerate(context.data.truth.names)}
        if few := few_tested(counts, "patient" if context.data.has_patients else "image"):
            self.facts["few"] = few

    def _gap(self, a: str, b: str, context: Context, rows: NDArray[np.int64]) -> dict[str, float]:
        """Metric of a minus metric of b on the same patients, with its 95 % interval where there can be one."""
        y, groups = context.data.truth.strata[rows], context.groups(rows)
        gap = paired(y, self.scores[a], self.scores[b], groups, context.target.metric, draws=1000)
        if "few" in self.facts:
            return {"value": round(gap.value, 5)}
        return {"value": round(gap.value, 5), "low": round(gap.low, 5), "high": round(gap.high, 5)}


def label_curve(context: Context, outcome: Outcome, out_of_time: Callable[[], bool]) -> list[dict[str, Any]]:
    """Test score of a logistic probe for growing numbers of labels, for every embedding that was fitted.

    Labels are drawn by class; each point is the mean over a few draws with their standard deviation, or one draw.
    """
    fit_rows, rows = context.rows(PROBE, SELECTION, labelled=True), context.rows(TEST, labelled=True)
    y, y_test, target = context.data.truth.strata[fit_rows], context.data.truth.strata[rows], context.target
    points: list[dict[str, Any]] = []
    names = [name for name in outcome.fitted if name != "supervised, frozen"]
    for count in [c for c in CURVE if c < len(fit_rows)]:
        for name in names:
            values = []
            for draw in range(CURVE_DRAWS if count < MANY_LABELS else 1):
                if out_of_time():
                    return points
                taken = draw_labels(y, count, [context.seed, count, draw])
                groups = context.groups(fit_rows[taken])
                head = target.fit_head(outcome.fitted[name][taken], y[taken], groups)
                values.append(target.value(y_test, head.answers(outcome.embeddings[name])))
            points.append({"labels": count, "name": name, "mean": float(np.mean(values)), "sd": float(np.std(values))})
    for name in names:
        value = outcome.facts["entrants"][name][target.metric]
        points.append({"labels": len(fit_rows), "name": name, "mean": value, "sd": 0.0})
    return points


def draw_labels(y: NDArray[np.int64], count: int, seed: list[int]) -> NDArray[np.int64]:
    """Places of `count` labels in proportion to the classes, at least one of each."""
    rng = np.random.default_rng(seed)
    classes, sizes = np.unique(y, return_counts=True)
    quota = np.maximum(1, np.floor(count * sizes / len(y)).astype(int))
    taken = [rng.permutation(np.flatnonzero(y == c))[:q] for c, q in zip(classes, quota, strict=True)]
    return np.sort(np.concatenate(taken))
