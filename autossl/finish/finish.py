"""The end of a study: finalists, final training, the arms and the choice between them, the one test, export.

A stop is the end of all time: what is not begun is left out, training on labels that is cut short is dropped, the final
training is judged as far as it came. The test, the export and the report follow in any case.

After a kill each training goes on from its checkpoint; the seconds that its step was granted are not granted anew.
"""

import copy
import logging
from dataclasses import asdict
from functools import cached_property, partial
from typing import Any

from autossl.finish import baselines, distilled
from autossl.finish.arms import Arm, alike, choose, frozen, together
from autossl.finish.finalists import Finalist, none_scored, select, selection_outcomes
from autossl.finish.fits import one_fit
from autossl.finish.folds import Folds, folds_of
from autossl.finish.kept import kept
from autossl.finish.one_test import Test
from autossl.finish.steps import Steps
from autossl.finish.tested import Entrant
from autossl.finish.trained import COST, trained
from autossl.finish.winner import train_winner
from autossl.finish.written import begun, described, write, write_model
from autossl.model.entrants import DISTILLED, ENTRANTS, MEAN, SOUPS, TUNED, WEIGHTS_MEAN, WEIGHTS_TUNED
from autossl.nn.encoder import Encoder
from autossl.proxies import Difference, standard_error
from autossl.trials.context import PROBE, SELECTION, Context
from autossl.trials.segments import leave_nothing

__all__ = ["NOT_YET", "Finish", "clearly_fell", "none_scored", "still_needed"]

log = logging.getLogger("autossl")

# what an extended study does again; "granted" are the seconds of each step, "scored" the finalists so far
NOT_YET: dict[str, None] = dict.fromkeys(("arms", "finalists", "final", "granted", "scored", "testing", "tested"))
ELIGIBLE = {  # what model/ may hold, the simplest first, and for which settings of --adaptation
    "weights": ("auto", "frozen"),
    "winner": ("auto", "frozen"),
    "supervised": ("auto",),
    WEIGHTS_TUNED: ("auto", "finetune"),
    SOUPS[WEIGHTS_TUNED]: ("auto", "finetune"),
    TUNED: ("auto", "finetune"),
    SOUPS[TUNED]: ("auto", "finetune"),
    DISTILLED: ("auto", "finetune"),
    WEIGHTS_MEAN: ("auto",),
    MEAN: ("auto",),
}


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
        context = self.context
        supervised = self._supervised()
        best = select(self.steps)
        before = {"selection_before": best.selection[0]}
        encoder, final = train_winner(self.steps, best.entry, before, self._judged)
        if not context.state("tested"):
            arms = [*self._frozen(encoder), *supervised, *self._tuned(encoder)]
            self._evaluate(best, encoder, final, arms)
        leave_nothing(context)
        context.remember(finished=True)

    @cached_property
    def folds(self) -> Folds:
        """By which arms are judged."""
        return folds_of(self.context)

    def _eligible(self) -> tuple[str, ...]:
        """The arms that `model/` may hold, the simplest first: as asked for, and as far as there are weights."""
        asked, given = self.context.config.adaptation, self.context.given is not None
        return tuple(
            name
            for name, adaptations in ELIGIBLE.items()
            if asked in adaptations and (given or not name.startswith("weights"))
        )

    def _supervised(self) -> list[Arm]:
        context = self.context
        start = partial(baselines.untrained, context)
        make = partial(trained, context, "supervised", start, self.folds, probed=False)
        arms = kept(self.steps, "supervised", "supervised", make)
        for found in (arm.outcomes for arm in arms if arm.outcomes is not None):
            value = found.value(context.target.metric)
            context.study.set_user_attr("baseline supervised, in folds", round(value, 4))
        return arms

    def _frozen(self, encoder: Encoder) -> list[Arm]:
        """The winner and the given weights as they are."""
        context = self.context
        self.say("judging frozen encoders on folds of the labels")
        found = [frozen(context, "winner", encoder, self.folds)]
        if context.given is not None:
            found.insert(0, frozen(context, "weights", baselines.given(context), self.folds))
        return found

    def _tuned(self, encoder: Encoder) -> list[Arm]:
        """The winner and the given weights, trained on the labels, and a student of the winner; they share the time."""
        context, folds = self.context, self.folds
        names = [name for name in (WEIGHTS_TUNED, TUNED) if name in self._eligible()]
        starts = {
            WEIGHTS_TUNED: partial(baselines.given, context, trained=True),
            TUNED: partial(copy.deepcopy, encoder),
        }
        found = list[Arm]()
        for place, name in enumerate(names):
            teaches = name == TUNED and distilled.wanted(context, folds)
            make = partial(trained, context, name, starts[name], folds, probed=True, teaches=teaches)
            part = (1 - distilled.PART if teaches else 1) / (len(names) - place)
            found += kept(self.steps, name, "finetune", make, part)
        if (teacher := next((arm for arm in found if arm.soft), None)) is not None:
            make = partial(distilled.distilled, context, starts[TUNED], folds, teacher=teacher)
            found += kept(self.steps, DISTILLED, "finetune", make)
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

    def _evaluate(self, winner: Finalist, encoder: Encoder, final: dict[str, Any], arms: list[Arm]) -> None:
        """Choose, test everything once, export."""
        context = self.context
        if self.context.config.adaptation == "auto":
            arms += together(context, arms, self.folds)
        eligible = [arm for name in self._eligible() for arm in arms if arm.name == name]
        winner_alone = [arm for arm in arms if arm.name == "winner"]
        chosen, why = choose(context, eligible or winner_alone, self.folds)
        log.info("model/ will hold %s: %s", ENTRANTS[chosen.name].words, why)
        self.say("testing once")
        test, entrants = Test(context), self._entrants(arms)
        for entrant in entrants:
            test.add(entrant)
        test.told(chosen.name)
        if context.judged.curved and self.steps.left("label curve") != 0:
            self.say("drawing the label curve")
            test.curve(entrants, next((arm.effort for arm in arms if arm.name == "supervised"), None), self.steps)
        result = {
            "candidate": described(context, winner.entry),
            "selection": list(winner.selection),
            "final_training": final,
            "choice": {"arm": chosen.name, "why": why, **self._told(arms), **self._left_out(arms)},
            "probe": next(arm.head.told(encoder.dims) for arm in arms if arm.name == "winner"),
            "supervised": (context.state("arms") or {}).get("supervised"),
            "test": test.outcome.facts,
            "tests": context.state("tests"),
            "stopped": self.steps.stopped,
        }
        write(context, encoder, context.folder.encoder, result)
        own = (
            result if ENTRANTS[chosen.name].role == "winner" else {k: v for k, v in result.items() if k != "candidate"}
        )
        members = chosen.members or (chosen,)
        starts = [begun(context, arm.name) for arm in members]
        start = next((start for start in starts if start.given), starts[0])
        write_model(context, [(arm.encoder, arm.head) for arm in members], context.folder.model, own, start)
        context.remember(result=result, tested=True)
        if (found := test.outcome.facts["entrants"].get("supervised")) is not None:
            context.study.set_user_attr("baseline supervised, test part", round(found[context.target.metric], 4))

    def _left_out(self, arms: list[Arm]) -> dict[str, Any]:
        """What was not tried for want of time: "wanted", seconds that would do by arm, and "left_out", a sentence."""
        eligible, made = self._eligible(), {arm.name for arm in arms}
        student = DISTILLED in eligible and DISTILLED not in made and distilled.asked_for(self.context, self.folds)
        told = f"No student was taught: there was no time for {distilled.LEAST} passes over the images for each fold."
        labels = len(self.folds.rows)
        wanted = {
            name: round(sum(one_fit(self.context, labels, cost)))
            for name, cost in {"supervised": "supervised", **COST}.items()
            if name not in made and (name in eligible or name == "supervised") and not self.steps.stopped
        }
        return {"left_out": told if student else "", "wanted": wanted}

    def _told(self, arms: list[Arm]) -> dict[str, Any]:
        """What each arm is, and its score with its standard error on those images that all were judged on."""
        metric, told, n = self.context.target.metric, {arm.name: _how(arm) for arm in arms}, 0
        for arm in alike(arms):
            assert arm.outcomes is not None
            n = arm.outcomes.n
            drawn = arm.outcomes.drawn((metric,), self.folds.groups[:n], draws=400)[metric]
            told[arm.name] |= {
                "score": round(arm.outcomes.value(metric), 5),
                "se": round(standard_error(drawn), 5),
            }
        return {"arms": told, "judged": n}

    def _entrants(self, arms: list[Arm]) -> list[Entrant]:
        """The winner first, then the other arms and what nobody would choose, for comparison."""
        context, own = self.context, {arm.name: arm for arm in arms}
        winner = own["winner"].encoder
        frozen = {name: Entrant(name, arm.encoder, arm.head, arm.seen) for name, arm in own.items() if arm.seen}
        entrants = [frozen["winner"], Entrant("untrained", baselines.untrained(context))]
        entrants += [frozen["weights"]] if "weights" in frozen else []
        labelled = context.rows(PROBE, SELECTION, labelled=True)
        if (constant := context.judged.constant(winner, context.truth(labelled))) is not None:
            entrants.append(Entrant(context.judged.bare, winner, constant))
        entrants += [Entrant(arm.name, arm.encoder, arm.head) for arm in arms if arm.effort is not None]
        if "supervised" in own:
            entrants.append(Entrant("supervised, frozen", own["supervised"].encoder))
        several = (arm for arm in arms if arm.members)
        return entrants + [
            Entrant(a.name, a.encoder, a.head, members=tuple(Entrant(m.name, m.encoder, m.head) for m in a.members))
            for a in several
        ]


def _how(arm: Arm) -> dict[str, Any]:
    """How an arm was made: its training, its members, or its probe."""
    if arm.effort is not None:
        return asdict(arm.effort)
    if arm.members:
        return {"members": [member.name for member in arm.members]}
    return {"head": arm.head.told(arm.encoder.dims)}
