"""A student of the fine-tuned network, taught by its answers to every image outside the test part.

As in SimCLRv2 (Chen et al. 2020, arXiv 2006.10029) student and teacher are of one architecture, and the student begins
from the encoder that has seen no label. Labels are not mixed in: on its own labels a teacher answers nearly the truth.
"""

import logging
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from autossl.finish.arms import Arm
from autossl.finish.baselines import Effort, Fitted, fit
from autossl.finish.folds import Folds
from autossl.model.entrants import DISTILLED
from autossl.nn.encoder import Encoder
from autossl.train.loop import Diverged
from autossl.train.resumable import Terms
from autossl.trials.context import Context

log = logging.getLogger("autossl")

LIMIT = 1200.0  # seconds of a study's limit from which on a student is tried
TIMES = 10  # as many images as labels, at least
LEAST, MOST = 3, 20  # passes of a student over the images
PART = 0.4  # of the seconds for fine-tuning
LAST = 2  # times as long as that of a fold is the last student's time


def asked_for(context: Context, folds: Folds) -> bool:
    """Whether a study is one for a student: long enough, with many images to its labels, judged on folds."""
    long = context.plan.limit is not None and context.plan.limit >= LIMIT
    many = context.judged.mixes and bool(folds.judged)
    return long and many and len(context.final_pool) >= TIMES * len(folds.rows)


def wanted(context: Context, folds: Folds) -> bool:
    """Whether there is time for students too, by what was planned for fine-tuning: the same after a kill."""
    return asked_for(context, folds) and needed(context, folds) <= PART * context.plan.finetune_seconds


def needed(context: Context, folds: Folds) -> float:
    """Seconds for LEAST passes of every student."""
    students, costs = len(folds.judged) + LAST, context.state("costs")
    return students * LEAST * len(context.final_pool) * float(costs.get("tuned", costs["supervised"]))


def distilled(context: Context, start: Callable[[], Encoder], folds: Folds, terms: Terms, teacher: Arm) -> list[Arm]:
    """A student for each judged fold, whose teacher has not seen that fold, and the one that is delivered.

    Empty where one had no time for LEAST passes, was stopped or diverged.
    """
    students = Students(context, start, folds, terms, teacher)
    raws = []
    for number, fold in enumerate(folds.judged):
        others, held = folds.parts(fold)
        found = students.taught(number, others)
        if found is None:
            return []
        raws.append(context.see(found.encoder, folds.rows[held]).answers(found.head))
    final = students.taught(len(raws), folds.everything)
    if final is None:
        return []
    setting, spent = students.setting, round(students.spent, 2)
    effort = Effort(setting.numbers, spent, final.passes, students.images, trained=setting.trained, labels=final.labels)
    return [Arm(DISTILLED, final.encoder, final.head, folds.outcomes(iter(raws)), effort)]


class Students:
    """Students of one teacher, which share the time; each has its own checkpoint beside `terms.path`."""

    def __init__(
        self, context: Context, start: Callable[[], Encoder], folds: Folds, terms: Terms, teacher: Arm
    ) -> None:
        assert teacher.effort is not None
        self.context, self.start, self.folds, self.terms = context, start, folds, terms
        self.soft, self.setting = teacher.soft, teacher.effort.setting
        self.seen, self.spent, self.images = context.see(start(), folds.rows), 0.0, 0
        self.weights = [*(1 for _ in folds.judged), LAST]

    def taught(self, number: int, at: NDArray[np.int64]) -> Fitted | None:
        """One student, which begins from the probe on the labels at these places; None if it was no whole one."""
        context, rows = self.context, self.folds.rows[at]
        head = context.judged.probe(self.seen[at], context.truth(rows), context.groups(rows))
        part = self.weights[number] / sum(self.weights[number:])
        terms, pool = self.terms.without(self.spent).share(f"{number}", part, part), context.final_pool.rows
        try:
            found = fit(context, pool, self.start(), self.setting, terms, head, MOST, self.soft[number])
        except Diverged as fault:
            log.warning("teaching a student: %s", fault)
            return None
        if found is None or found.passes < LEAST:
            return None
        self.spent, self.images = self.spent + found.seconds, self.images + found.images
        return found
