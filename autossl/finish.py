"""The end of a study: finalists, final training, adaptation, the one test, export."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import optuna
from numpy.typing import NDArray

from autossl import baselines, export
from autossl.context import PROBE, SELECTION, TEST, Context
from autossl.encoder import Encoder
from autossl.errors import NoCandidate
from autossl.evaluate import ADAPTED, Entrant, label_curve, test
from autossl.folder import replace_file
from autossl.journal import entries
from autossl.plan import Step
from autossl.scheduler import Entry, finalists
from autossl.segments import new_run, segment_file
from autossl.space import suggest
from autossl.train import Run, resume, train

log = logging.getLogger("autossl")

FINAL_PASSES = 3  # without a time limit: the final training sees so many times the images of the top rung
FINETUNE = (3e-4, 0.6, 0.1)  # learning rate, smallest crop and jitter of a fine-tune


@dataclass(frozen=True)
class Finalist:
    """A candidate at the end: its entry, its selection scores (one per training seed), and its encoder."""

    entry: Entry
    selection: tuple[float, ...]
    encoder: Encoder

    @property
    def mean(self) -> float:
        return float(np.mean(self.selection))


class Finish:
    """Ends a study. `left(step)` gives the seconds that a step may take (None: no limit), 0 if it is planned away."""

    def __init__(
        self,
        context: Context,
        left: Callable[[Step], float | None],
        say: Callable[[str], None],
        tick: Callable[[], None],
    ) -> None:
        self.context, self.left, self.say, self.tick = context, left, say, tick

    def run(self) -> None:
        """All steps in order; each result is written down, so that a resumed study goes on after it."""
        context = self.context
        supervised = self._supervised()
        best = self._select()
        self._export(best.encoder, {"stage": "before the final training"})
        encoder, final = self._final_training(best)
        winner = Finalist(best.entry, best.selection, encoder)
        self._evaluate(winner, final, supervised)
        context.remember(finished=True)

    def _supervised(self) -> baselines.Trained | None:
        seconds = self.left("supervised")
        if seconds == 0:
            return None
        self.say("training on the labels alone, the baseline")
        started = time.time()

        def over() -> bool:
            self.tick()
            return seconds is not None and time.time() - started > seconds

        small = seconds is not None and seconds < 8
        return baselines.supervised(self.context, seconds, over, trials=1 if small else len(baselines.SEARCHED))

    def _select(self) -> Finalist:
        """Score the finalists on the selection part, with new training seeds as far as time allows."""
        context = self.context
        plan, everything = context.plan, entries(context.study.get_trials(deepcopy=False))
        chosen = finalists(everything, plan.finalists)
        if not chosen:
            raise NoCandidate(
                "no candidate could be used: every one failed or collapsed; see the leaderboard and autossl.log"
            )
        self.say("scoring the finalists on the selection part")
        found: list[Finalist] = []
        for entry in chosen:
            if found and self.left("finalist") == 0:
                break
            encoder = self._encoder_of(entry)
            found.append(Finalist(entry, (self.selection_score(encoder),), encoder))
        for round_ in range(plan.replicates):
            found = [self._replicated(f, round_ + 1) for f in found]
        best = max(found, key=lambda f: f.mean)
        context.remember(
            finalists=[
                {
                    "candidate": f.entry.candidate,
                    "method": f.entry.method,
                    "rung": f.entry.rung,
                    "selection": f.selection,
                }
                for f in found
            ]
        )
        return best

    def _replicated(self, finalist: Finalist, number: int) -> Finalist:
        """Train a finalist once more from another seed and add its selection score, if there is time."""
        seconds = self.left("replicate")
        if seconds == 0:
            return finalist
        started = time.time()

        def over() -> bool:
            self.tick()
            return seconds is not None and time.time() - started > seconds

        entry = finalist.entry
        self.say(f"candidate {entry.candidate} again with another training seed")
        run = self._fresh_run(entry, seed_shift=1000 * number)
        if not next(train(run, [self.context.plan.rungs[entry.rung]], out_of_time=over)):
            return finalist
        score = self.selection_score(self.context.averaged(run.average))
        return Finalist(entry, (*finalist.selection, score), finalist.encoder)

    def _fresh_run(self, entry: Entry, seed_shift: int = 0) -> Run:
        trial = self._trial(entry)
        method, hyperparameters = suggest(trial, self.context.space)
        return new_run(self.context, entry.candidate + seed_shift, method, hyperparameters)

    def _trial(self, entry: Entry) -> Any:
        """A stored trial that answers `suggest_*` with what was drawn then."""
        stored = self.context.study.get_trials(deepcopy=False)[entry.number]
        return optuna.trial.FixedTrial(stored.params)

    def _resumed_run(self, entry: Entry, pool: Any = None) -> Run:
        run = self._fresh_run(entry)
        path = segment_file(self.context, {"candidate": entry.candidate, "rung": entry.rung}, "pt")
        if path.is_file():
            resume(run, path)
        else:  # swept away: trained again from its seed
            next(train(run, [self.context.plan.rungs[entry.rung]]))
        if pool is not None:
            run.pool = pool
        return run

    def _encoder_of(self, entry: Entry) -> Encoder:
        return self.context.averaged(self._resumed_run(entry).average)

    def selection_score(self, encoder: Encoder) -> float:
        """The study's metric on the selection part, fitted on the probe part."""
        context, target = self.context, self.context.target
        fit_rows, rows = context.scored_rows, context.rows(SELECTION, labelled=True)
        z, z_new = context.embed(encoder, fit_rows), context.embed(encoder, rows)
        scores = target.transfer(z, context.data.labels[fit_rows], context.groups(fit_rows), z_new)
        return target.value(context.data.labels[rows], scores)

    def _final_training(self, best: Finalist) -> tuple[Encoder, dict[str, Any]]:
        """Train the winner on with a falling rate; keep that only if its selection score did not fall."""
        seconds = self.left("final training")
        before = self.selection_score(best.encoder)
        if seconds == 0:
            return best.encoder, {"kept": False, "why": "no time", "selection_before": before}
        self.say(f"training candidate {best.entry.candidate} ({best.entry.method}) on, with a falling learning rate")
        encoder, trained = self.train_on(best.entry, seconds)
        after = self.selection_score(encoder)
        kept = after >= before
        log.info(
            "selection score %.3f before the final training, %.3f after: %s",
            before,
            after,
            "kept" if kept else "not kept",
        )
        final = {"kept": kept, "selection_before": before, "selection_after": after, **trained}
        return (encoder if kept else best.encoder), final

    def train_on(self, entry: Entry, seconds: float | None) -> tuple[Encoder, dict[str, Any]]:
        """Train a candidate on from its checkpoint on every image outside the test part, its rate falling to zero."""
        run = self._resumed_run(entry, self.context.final_pool)
        run.mean, run.averaged = [], 0
        self._train_on(run, seconds)
        return self.context.averaged(run.average, self.context.final_pool), {"images": run.images}

    def _train_on(self, run: Run, seconds: float | None) -> None:
        first = run.images
        if seconds is None:
            plan = self.context.plan
            last = first + (plan.final_images or 3 * plan.rungs[-1])
            next(train(run, [last], anneal=lambda images: (images - first) / max(1, last - first)))
            return
        started = time.time()

        def progress(images: int) -> float:
            return (time.time() - started) / seconds

        def over() -> bool:
            self.tick()
            return time.time() - started >= seconds

        next(train(run, [1 << 50], out_of_time=over, anneal=progress))

    def _evaluate(self, winner: Finalist, final: dict[str, Any], supervised: baselines.Trained | None) -> None:
        context, target = self.context, self.context.target
        entry = winner.entry
        self.say("testing once")
        rows = context.rows(PROBE, SELECTION, labelled=True)
        adaptation, why = target.adaptation(context.config["adaptation"], len(rows))
        entrants = [Entrant("winner", winner.encoder), Entrant("untrained", baselines.untrained(context))]
        if context.config.get("weights"):
            entrants.append(Entrant("weights", baselines.given(context, context.config["weights"])))
        if supervised is not None:
            entrants.append(Entrant("supervised", supervised.encoder, supervised.head))
            entrants.append(Entrant("supervised, frozen", supervised.encoder))
        outcome = test(context, entrants)
        heads = outcome.heads
        model, head = winner.encoder, heads["winner"]
        if adaptation == "finetune":
            model, head = self._finetune(winner.encoder, head, outcome)
        if self.left("label curve") != 0:
            self.say("drawing the label curve")
            outcome.facts["label_curve"] = label_curve(context, outcome, lambda: self.left("label curve") == 0)
        result = {
            "candidate": {
                "number": entry.candidate,
                "method": entry.method,
                "paradigm": entry.paradigm,
                "rung": entry.rung,
                "hyperparameters": self._hyperparameters(entry),
                "aligned_score": entry.score,
                "se": entry.se,
            },
            "selection": list(winner.selection),
            "final_training": final,
            "adaptation": {"chosen": adaptation, "why": why},
            "supervised": None
            if supervised is None
            else {**supervised.settings, "seconds": supervised.seconds, "selection": supervised.selection},
            "test": outcome.facts,
            "tests": int(context.state("tests") or 0) + 1,
        }
        context.remember(result=result, tests=result["tests"])
        self._keep(outcome.embeddings)
        self._export(winner.encoder, result)
        export.write(
            model, context.folder.model, context.preprocessing, context.card_facts(result), head, context.data.classes
        )
        if supervised is not None:
            export.write(
                supervised.encoder,
                context.folder.root / "baselines" / "supervised",
                context.preprocessing,
                {"data": context.card_facts(result)["data"], "trained": supervised.settings},
                supervised.head,
                context.data.classes,
            )

    def _finetune(self, encoder: Encoder, head: Any, outcome: Any) -> tuple[Encoder, Any]:
        """Fine-tune a copy on every label outside the test part; it is tested beside the frozen one."""
        context = self.context
        seconds = self.left("finetune")
        if seconds == 0:
            outcome.facts["finetune"] = "planned away: no time was left, the head is frozen"
            return encoder, head
        self.say("fine-tuning on the labels")
        rows = context.rows(PROBE, SELECTION, labelled=True)
        copy = context.new_encoder(0)
        copy.load_state_dict(encoder.state_dict())
        tuned = baselines.fit(context, rows, copy, FINETUNE, seconds, lambda: False, head)
        if tuned is None:
            return encoder, head
        outcome.add(context, Entrant(ADAPTED, *tuned))
        return tuned

    def _hyperparameters(self, entry: Entry) -> dict[str, Any]:
        return suggest(self._trial(entry), self.context.space)[1]

    def _export(self, encoder: Encoder, result: dict[str, Any]) -> None:
        context = self.context
        export.write(encoder, context.folder.encoder, context.preprocessing, context.card_facts(result))

    def _keep(self, embeddings: dict[str, NDArray[np.float32]]) -> None:
        """Keep the winner's test embedding for the report's map."""
        path = self.context.folder.artifacts / "test.npz"
        labels = self.context.data.labels[self.context.rows(TEST, labelled=True)]
        replace_file(path, lambda file: np.savez(file, winner=embeddings["winner"].astype(np.float16), labels=labels))
