"""The end of a study: finalists, final training, adaptation, the one test, export.

A stop is the end of all time: what is not begun is left out, training on labels that is cut short is dropped, the final
training is judged as far as it came. The test, the export and the report follow in any case.
"""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autossl import baselines, export
from autossl.adapt import adapt
from autossl.context import SELECTION, TEST, Context
from autossl.encoder import Encoder
from autossl.errors import NoCandidate
from autossl.evaluate import ADAPTED, Entrant, label_curve, test
from autossl.final import encoder_of, fresh_run, hyperparameters_of, train_on
from autossl.folder import replace_file
from autossl.journal import entries
from autossl.plan import Step, left
from autossl.proxies import Difference, paired
from autossl.scheduler import Entry, finalists, order
from autossl.segments import seconds_per
from autossl.targets import Head
from autossl.train import train

log = logging.getLogger("autossl")

NOT_YET = {"supervised": None, "finalists": None, "final": None}  # what an extended study does again
SEARCH_SECONDS = 8.0  # below this the supervised baseline is one default run


@dataclass(frozen=True)
class Finalist:
    """A candidate at the end: its entry and its selection scores, one per training seed."""

    entry: Entry
    selection: tuple[float, ...]

    @property
    def mean(self) -> float:
        return float(np.mean(self.selection))


def clearly_fell(gap: Difference) -> bool:
    """Whether the selection score fell by more than the standard error of the paired difference.

    Few labelled images tell a gain from a loss hardly better than a coin, and more training with a falling learning
    rate is better more often than not: docs/decisions.md has the figures.
    """
    return bool(gap.value < -gap.se)


def none_scored(context: Context) -> NoCandidate:
    """Why a study ends without a candidate, and what to do."""
    if context.folder.stop.exists():
        root = context.folder.root
        return NoCandidate(f"stopped before a candidate was scored; autossl resume {root} goes on with the search")
    return NoCandidate("no candidate could be used: every one failed or collapsed; see autossl leaderboard and the log")


class Finish:
    """Ends a study; `now` is its clock. Each step is written down, so that a resumed study goes on after it."""

    def __init__(
        self, context: Context, now: Callable[[], float], say: Callable[[str], None], tick: Callable[[], None]
    ) -> None:
        self.context, self.now, self.say, self.tick = context, now, say, tick

    def run(self) -> None:
        """All steps in order."""
        supervised = self._supervised()
        best = self._select()
        encoder, final = self._final_training(best)
        self._evaluate(best, encoder, final, supervised)
        self.context.remember(finished=True)

    def left(self, step: Step, needed: float = 0.0) -> float | None:
        """Seconds that a step may take (None: no limit), 0 if it is left out."""
        return 0.0 if self.stopped else left(self.context.plan, step, self.now(), needed)

    @property
    def stopped(self) -> bool:
        """Whether `autossl stop` was called."""
        return self.context.folder.stop.exists()

    def _over(self, seconds: float | None = None) -> Callable[[], bool]:
        """Whether so many seconds are over or a stop was asked for, asked at every training step."""
        started = time.monotonic()

        def over() -> bool:
            self.tick()
            return self.stopped or (seconds is not None and time.monotonic() - started >= seconds)

        return over

    def _encoder_of(self, entry: Entry) -> Encoder:
        """The encoder of a candidate; where it must be trained again, a stop does not cut that short."""
        plan = self.context.plan
        return encoder_of(self.context, entry, lambda: left(plan, "final training", self.now()) == 0)

    def _supervised(self) -> baselines.Trained | None:
        context, folder = self.context, self.context.folder.root / "baselines" / "supervised"
        done = context.state("supervised")
        if done is not None:
            model = export.load(folder)
            return baselines.Trained(model.to(context.device), model.head, **done)
        seconds = self.left("supervised")
        if seconds == 0:
            return None
        self.say("training on the labels alone, the baseline")
        trials = 1 if seconds is not None and seconds < SEARCH_SECONDS else len(baselines.SEARCHED)
        found = baselines.supervised(context, seconds, self._over(), trials)
        if found is not None:
            facts = {"settings": found.settings, "seconds": round(found.seconds, 2), "selection": found.selection}
            self._export(found.encoder, folder, {"supervised": facts}, found.head)
            context.remember(supervised=facts)
            if found.selection is not None:
                context.study.set_user_attr("baseline supervised, selection part", round(found.selection, 4))
        return found

    def _select(self) -> Finalist:
        """Score the finalists on the selection part, with new training seeds as far as time allows."""
        context, plan = self.context, self.context.plan
        everything = entries(context.study.get_trials(deepcopy=False))
        stored = {(f["candidate"], f["rung"]): tuple(f["selection"]) for f in context.state("finalists") or ()}
        if stored:  # in their order: the first of equals wins
            known = [e for e in order(everything) if (e.candidate, e.rung) in stored]
            return max((Finalist(e, stored[e.candidate, e.rung]) for e in known), key=lambda f: f.mean)
        chosen = finalists(everything, plan.finalists)
        if not chosen:
            raise none_scored(context)
        self.say("scoring the finalists on the selection part")
        found: list[Finalist] = []
        for entry in chosen:
            if found and self.left("finalist") == 0:
                break
            encoder = self._encoder_of(entry)
            found.append(Finalist(entry, (self.selection_score(encoder),)))
        for number in range(1, plan.replicates + 1):
            found = [self._replicated(finalist, number) for finalist in found]
        facts = [
            {"candidate": f.entry.candidate, "method": f.entry.method, "rung": f.entry.rung, "selection": f.selection}
            for f in found
        ]
        context.remember(finalists=facts)
        return max(found, key=lambda f: f.mean)

    def _replicated(self, finalist: Finalist, number: int) -> Finalist:
        """Train a finalist once more from another seed and add its selection score, if there is time."""
        context, entry = self.context, finalist.entry
        images = context.plan.rungs[entry.rung]
        cost = seconds_per(context.study.get_trials(deepcopy=False), context)
        seconds = self.left("replicate", cost(entry.method, images))
        if seconds == 0:
            return finalist
        self.say(f"candidate {entry.candidate} again with another training seed")
        run = fresh_run(context, entry, seed_shift=1000 * number)
        if not next(train(run, [images], out_of_time=self._over(seconds))):
            return finalist
        score = self.selection_score(context.averaged(run.average))
        return Finalist(entry, (*finalist.selection, score))

    def selection_score(self, encoder: Encoder) -> float:
        """The study's metric on the selection part, fitted on the probe part."""
        context = self.context
        labels = context.data.labels[context.rows(SELECTION, labelled=True)]
        return context.target.value(labels, self._selection_scores(encoder))

    def _selection_scores(self, encoder: Encoder) -> NDArray[np.float32]:
        """Class scores (n, c) of the labelled images of the selection part, by a probe fitted on the probe part."""
        context = self.context
        fit_rows, rows = context.scored_rows, context.rows(SELECTION, labelled=True)
        z, z_new = context.embed(encoder, fit_rows), context.embed(encoder, rows)
        return context.target.transfer(z, context.data.labels[fit_rows], context.groups(fit_rows), z_new)

    def _final_training(self, best: Finalist) -> tuple[Encoder, dict[str, Any]]:
        """Train the winner on with a falling rate; keep that unless its selection score clearly fell."""
        context, entry = self.context, best.entry
        done = context.state("final")
        if done is not None:
            return export.load(context.folder.encoder).to(context.device), done
        encoder = self._encoder_of(entry)
        self._export(encoder, context.folder.encoder, {"stage": "before the final training"})
        seconds = self.left("final training")
        why = "a stop was asked for" if self.stopped else "no time"
        final: dict[str, Any] = {"kept": False, "why": why, "selection_before": best.selection[0]}
        if seconds != 0:
            before = self._selection_scores(encoder)
            self.say(f"training candidate {entry.candidate} ({entry.method}) on, with a falling learning rate")
            trained, facts = train_on(context, entry, self.left("final training"), self._over())
            final = {**self._judged(before, self._selection_scores(trained)), **facts}
            encoder = trained if final["kept"] else encoder
            self._export(encoder, context.folder.encoder, {"stage": "after the final training"})
        context.remember(final=final)
        return encoder, final

    def _judged(self, before: NDArray[np.float32], after: NDArray[np.float32]) -> dict[str, Any]:
        """Whether the final training is kept, by the selection scores before and after it."""
        context, rows = self.context, self.context.rows(SELECTION, labelled=True)
        labels, metric = context.data.labels[rows], context.target.metric
        gap = paired(labels, after, before, context.groups(rows), metric, draws=400)
        kept = not clearly_fell(gap)
        values = [context.target.value(labels, scores) for scores in (before, after)]
        word = "kept" if kept else "not kept"
        log.info("selection score %.3f before the final training, %.3f after (± %.3f): %s", *values, gap.se, word)
        return {"kept": kept, "selection_before": values[0], "selection_after": values[1], "selection_se": gap.se}

    def _evaluate(
        self, winner: Finalist, encoder: Encoder, final: dict[str, Any], supervised: baselines.Trained | None
    ) -> None:
        context = self.context
        self.say("testing once")
        outcome = test(context, self._entrants(encoder, supervised))
        adapted = adapt(context, encoder, outcome.heads["winner"], self.left("finetune"), self.say, self._over())
        if adapted.tuned:
            outcome.add(context, Entrant(ADAPTED, adapted.encoder, adapted.head))
        if self.left("label curve") != 0:
            self.say("drawing the label curve")
            outcome.facts["label_curve"] = label_curve(context, outcome, lambda: self.left("label curve") == 0)
        result = {
            "candidate": self._described(winner.entry),
            "selection": list(winner.selection),
            "final_training": final,
            "adaptation": adapted.facts,
            "supervised": context.state("supervised"),
            "test": outcome.facts,
            "tests": int(context.state("tests") or 0) + 1,
            "stopped": self.stopped,
        }
        self._keep(outcome.embeddings)
        self._export(encoder, context.folder.encoder, result)
        self._export(adapted.encoder, context.folder.model, result, adapted.head)
        context.remember(result=result, tests=result["tests"])
        if supervised is not None:
            value = outcome.facts["entrants"]["supervised"][context.target.metric]
            context.study.set_user_attr("baseline supervised, test part", round(value, 4))

    def _entrants(self, encoder: Encoder, supervised: baselines.Trained | None) -> list[Entrant]:
        context = self.context
        entrants = [Entrant("winner", encoder), Entrant("untrained", baselines.untrained(context))]
        if context.config.get("weights"):
            entrants.append(Entrant("weights", baselines.given(context)))
        if supervised is not None:
            entrants.append(Entrant("supervised", supervised.encoder, supervised.head))
            entrants.append(Entrant("supervised, frozen", supervised.encoder))
        return entrants

    def _described(self, entry: Entry) -> dict[str, Any]:
        _, hyperparameters = hyperparameters_of(self.context, entry)
        return {
            "number": entry.candidate,
            "method": entry.method,
            "paradigm": entry.paradigm,
            "rung": entry.rung,
            "hyperparameters": hyperparameters,
            "aligned_score": entry.score,
            "se": entry.se,
        }

    def _export(self, encoder: Encoder, path: Path, facts: dict[str, Any], head: Head | None = None) -> None:
        context = self.context
        classes = context.data.classes if head is not None else ()
        export.write(encoder, path, context.preprocessing, context.card_facts(facts), head, classes)

    def _keep(self, embeddings: dict[str, NDArray[np.float32]]) -> None:
        """Keep the winner's test embedding for the report's map."""
        path = self.context.folder.artifacts / "test.npz"
        labels = self.context.data.labels[self.context.rows(TEST, labelled=True)]
        replace_file(path, lambda file: np.savez(file, winner=embeddings["winner"].astype(np.float16), labels=labels))
