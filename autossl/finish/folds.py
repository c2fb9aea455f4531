"""Which labelled images outside the test part are judged by which fits, so that ways to a model can be compared."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autossl.proxies import Outcomes, judging_folds
from autossl.trials.context import PROBE, SELECTION, Context
from autossl.trials.sizing import FOLDS, MANY_LABELS

LEAST_IMAGES = 16384  # of one fit, where the least passes over its labels are no fewer
LAST = 2  # times as long as that of a fold is the fit to all labels

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Folds:
    """Labelled images `rows` (n,) and the `fold` (n,) of each, whole patients in one.

    Those of the `judged` folds are predicted by fits on all others; none where nothing can be left out.
    """

    context: Context
    rows: Ints
    fold: Ints
    judged: tuple[int, ...]

    def parts(self, judged: int) -> tuple[Ints, Ints]:
        """Places among the rows: of those that are fitted, and of those that are judged."""
        inside = self.fold == judged
        return np.flatnonzero(~inside), np.flatnonzero(inside)

    def first(self, count: int) -> "Folds":
        """The same, of which so many are judged."""
        return replace(self, judged=self.judged[:count])

    @property
    def everything(self) -> Ints:
        """Places of all rows."""
        return np.arange(len(self.rows))

    @property
    def groups(self) -> Ints:
        """Patients of the judged images, in their order."""
        return self.context.groups(self.rows[self._places()])

    def outcomes(self, raw: Iterator[NDArray[Any]]) -> Outcomes | None:
        """What raw answers to the images of each judged fold come to; None where nothing is judged."""
        context = self.context
        found = [
            context.judged.judge(answers, context.truth(rows), context.groups(rows))
            for rows, answers in zip(map(self._rows, self.judged), raw, strict=True)
        ]
        return Outcomes.joined(found).within(self.fold[self._places()]) if found else None

    def _rows(self, judged: int) -> Ints:
        """Rows of a judged fold."""
        return self.rows[self.parts(judged)[1]]

    def _places(self) -> Ints:
        return np.concatenate([self.parts(judged)[1] for judged in self.judged])


def folds_of(context: Context) -> Folds:
    """Those of a study: as many as the patients of its rarest class allow, FOLDS at most.

    One of them is judged where labels are many, or there is no time for fits without each.
    """
    rows = context.rows(PROBE, SELECTION, labelled=True)
    fold = judging_folds(context.truth(rows).strata, context.groups(rows), most=FOLDS)
    count = int(fold.max()) + 1
    if count == 1:
        return Folds(context, rows, fold, ())
    few = len(rows) < MANY_LABELS and _time_for(context, len(rows), count)
    return Folds(context, rows, fold, tuple(range(count)) if few else (0,))


def _time_for(context: Context, labels: int, folds: int) -> bool:
    """Whether each way that is trained on labels can be fitted without each of so many folds, and to all labels."""
    plan, costs = context.plan, context.state("costs")
    if not plan.until:
        return True
    fits, images = folds + LAST, min(context.judged.least_passes * labels, LEAST_IMAGES)
    tuned = plan.finetune_seconds / (2 if context.given is not None else 1)
    wanted = [(plan.supervised_seconds, "supervised"), (tuned, "tuned")]
    wanted += [(tuned, "given")] if context.given is not None else []
    # what has no time at all judges nothing
    return all(seconds >= fits * images * costs.get(cost, costs["supervised"]) for seconds, cost in wanted if seconds)
