"""The end of a study: finalists, final training, adaptation, the one test, export.

A stop is the end of all time: what is not begun is left out, training on labels that is cut short is dropped, the final
training is judged as far as it came. The test, the export and the report follow in any case.

After a kill each training goes on from its checkpoint; the seconds that its step was granted are not granted anew.
"""

import logging
from typing import Any

from autossl.finish import baselines
from autossl.finish.adapt import Adapted, adapt
from autossl.finish.finalists import Finalist, none_scored, select, selection_outcomes
from autossl.finish.one_test import Test
from autossl.finish.steps import Steps
from autossl.finish.tested import Entrant
from autossl.finish.winner import train_winner
from autossl.finish.written import described, read_again, write
from autossl.model.entrants import TUNED
from autossl.model.model import Model
from autossl.nn.encoder import Encoder
from autossl.proxies import Difference
from autossl.targets import Readout
from autossl.trials.context import PROBE, SELECTION, Context
from autossl.trials.plan import Plan
from autossl.trials.segments import leave_nothing

__all__ = ["NOT_YET", "Finish", "clearly_fell", "none_scored", "still_needed"]

log = logging.getLogger("autossl")

# what an extended study does again; "granted" are the seconds of each step, "scored" the finalists so far
NOT_YET: dict[str, None] = dict.fromkeys(
    ("supervised", "finalists", "final", "granted", "scored", "testing", "adapted", "tested")
)
SEARCH_SECONDS = 8.0  # below this the supervised baseline is one default run


def settings_tried(plan: Plan, seconds: float | None) -> int:
    """How many settings the supervised baseline compares: as many as were planned, one where there is hardly time."""
    if seconds is not None and seconds < SEARCH_SECONDS:
        return 1
    return min(plan.supervised_runs, len(baselines.SEARCHED))


def clearly_fell(gap: Difference) -> bool:
    """Whether the selection score fell by more than the standard error of the paired difference.

    Few labelled images tell a gain from a loss hardly better than a coin, and more training with a falling learning
    rate is better more often than not: docs/decisions.md has the figures.
    """
    return bool(gap.value < -gap.se)


def still_needed(context: Context) -> float | None:
    """Seconds of what a study that is taken up has left to do; None: all that follows the search at the least."""
    if context.state("tested"):
        return 0.0  # a report takes seconds, and more time would be another test
    return context.plan.end_seconds if context.state("finalists") else None


class Finish:
    """Ends a study with labels. Each step is written down, so that a resumed study goes on after it."""

    def __init__(self, steps: Steps) -> None:
        self.context, self.steps, self.say = steps.context, steps, steps.say

    def run(self) -> None:
        """All steps in order."""
        supervised = self._supervised()
        best = select(self.steps)
        before = {"selection_before": best.selection[0]}
        encoder, final = train_winner(self.steps, best.entry, before, self._judged)
        if not self.context.state("tested"):
            self._evaluate(best, encoder, final, supervised)
        leave_nothing(self.context)
        self.context.remember(finished=True)

    def _supervised(self) -> baselines.Trained | None:
        context, steps, folder = self.context, self.steps, self.context.folder.root / "baselines" / "supervised"
        done = context.state("supervised")
        if done is not None:
            encoder, model = read_again(context, folder)
            return baselines.Trained(encoder, _readout(model), **done)
        if not steps.begun("supervised"):
            steps.forget("supervised")  # of a baseline that was killed before the study was extended
            if steps.left("supervised") == 0:
                return None
        self.say("training on the labels alone, the baseline")
        terms = steps.terms("supervised", steps.checkpoint("supervised"))
        found = baselines.supervised(context, terms, settings_tried(context.plan, terms.seconds))
        if found is not None:
            names = ("settings", "selection", "passes", "images")
            facts = {name: getattr(found, name) for name in names} | {"seconds": round(found.seconds, 2)}
            write(context, found.encoder, folder, {"supervised": facts}, found.head)
            context.remember(supervised=facts)
            if found.selection is not None:
                context.study.set_user_attr("baseline supervised, selection part", round(found.selection, 4))
        steps.forget("supervised")
        return found

    def _judged(self, encoder: Encoder, trained: Encoder) -> dict[str, Any]:
        """Whether the final training is kept, by what the selection part says before and after it."""
        context, rows = self.context, self.context.rows(SELECTION, labelled=True)
        before, after = (selection_outcomes(context, found) for found in (encoder, trained))
        metric, text = context.target.metric, context.target.measure.text
        gap = after.minus(before, metric, context.groups(rows), draws=400)
        kept = not clearly_fell(gap)
        values = [found.value(metric) for found in (before, after)]
        told = (*map(text, values), text(gap.se), "kept" if kept else "not kept")
        log.info("selection score %s before the final training, %s after (± %s): %s", *told)
        return {"kept": kept, "selection_before": values[0], "selection_after": values[1], "selection_se": gap.se}

    def _evaluate(
        self, winner: Finalist, encoder: Encoder, final: dict[str, Any], supervised: baselines.Trained | None
    ) -> None:
        """Test, adapt, test what was adapted, export."""
        context = self.context
        self.say("testing once")
        test, entrants = Test(context), self._entrants(encoder, supervised)
        for entrant in entrants:
            test.add(entrant)
        adapted = self._adapted(encoder, test.outcome.heads["winner"])
        if adapted.tuned:
            test.add(Entrant(TUNED, adapted.encoder, adapted.head))
        test.told(TUNED if adapted.tuned else "winner")
        if self.steps.left("label curve") != 0:
            self.say("drawing the label curve")
            test.curve(entrants, supervised, self.steps)
        facts = test.outcome.facts
        result = {
            "candidate": described(context, winner.entry),
            "selection": list(winner.selection),
            "final_training": final,
            "adaptation": adapted.facts,
            "probe": context.judged.probe_words,
            "supervised": context.state("supervised"),
            "test": facts,
            "tests": context.state("tests"),
            "stopped": self.steps.stopped,
        }
        write(context, encoder, context.folder.encoder, result)
        write(context, adapted.encoder, context.folder.model, result, adapted.head)
        context.remember(result=result, tested=True)
        if supervised is not None:
            value = facts["entrants"]["supervised"][context.target.metric]
            context.study.set_user_attr("baseline supervised, test part", round(value, 4))

    def _adapted(self, encoder: Encoder, head: Readout) -> Adapted:
        """The encoder and head for the target, adapted here or in an earlier run."""
        context, steps, done = self.context, self.steps, self.context.state("adapted")
        if done is not None and done["tuned"]:
            tuned, model = read_again(context, context.folder.model)
            return Adapted(tuned, _readout(model), **done)
        if done is not None:
            return Adapted(encoder, head, **done)
        if not steps.begun("finetune"):
            steps.forget("finetune")  # of a winner before the study was extended
        adapted = adapt(context, encoder, head, steps.terms("finetune", steps.checkpoint("finetune")), self.say)
        if adapted.tuned:
            write(context, adapted.encoder, context.folder.model, {"stage": "before its test"}, adapted.head)
        context.remember(adapted={"tuned": adapted.tuned, "facts": adapted.facts})
        steps.forget("finetune")
        return adapted

    def _entrants(self, encoder: Encoder, supervised: baselines.Trained | None) -> list[Entrant]:
        context = self.context
        entrants = [Entrant("winner", encoder), Entrant("untrained", baselines.untrained(context))]
        if context.config.weights:
            entrants.append(Entrant("weights", baselines.given(context)))
        labelled = context.rows(PROBE, SELECTION, labelled=True)
        if (constant := context.judged.constant(encoder, context.truth(labelled))) is not None:
            entrants.append(Entrant("constant", encoder, constant))
        if supervised is not None:
            entrants.append(Entrant("supervised", supervised.encoder, supervised.head))
            entrants.append(Entrant("supervised, frozen", supervised.encoder))
        return entrants


def _readout(model: Model) -> Readout:
    assert model.readout is not None
    return model.readout
