"""A worker: asks what to do next, trains that segment, scores it, tells Optuna."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import optuna
import torch
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial, TrialState

from autossl.pretext import METHODS
from autossl.record.entries import METHOD
from autossl.record.folder import replace_file
from autossl.record.journal import entries, sampler, storage_faults
from autossl.targets import Score
from autossl.train.loop import Diverged, resume
from autossl.train.resumable import Terms, Training
from autossl.train.shortcut import monitored
from autossl.trials.context import Context
from autossl.trials.drawing import drawn
from autossl.trials.scheduler import Promote, Sample, Stop, Wait, next_step, search_end, search_left
from autossl.trials.segments import (
    Silence,
    configuration,
    finish,
    new_run,
    next_candidate,
    outcomes_of,
    parent_file,
    requeue_lost,
    result,
    seconds_per,
    segment_file,
    sweep,
)
from autossl.trials.space import as_trial, suggest

log = logging.getLogger("autossl")

LEASE_SECONDS = 20.0  # how often a worker says that it lives
INHERITED = frozenset({"candidate", "method", "paradigm", "prior_index", "checkpoint"})
LIVE = (TrialState.RUNNING, TrialState.PRUNED, TrialState.COMPLETE)


class Cut(Exception):
    """Time ran out, or a stop was asked for, before the segment's rung."""


@dataclass(frozen=True)
class Repeat:
    """One segment of an earlier study, to be repeated as it was."""

    candidate: int
    rung: int
    prior_index: int | None
    params: dict[str, Any]

    def attrs(self, trials: list[FrozenTrial]) -> dict[str, Any]:
        """User attributes of the queued trial."""
        method = str(self.params[METHOD])
        attrs = {"candidate": self.candidate, "rung": self.rung, "prior_index": self.prior_index, "method": method}
        attrs["paradigm"] = METHODS[method].paradigm
        if self.rung > 0:
            attrs["checkpoint"] = result(trials, self.candidate, self.rung - 1).user_attrs["checkpoint"]
        return attrs


class Worker:
    """Runs segments of one study until nothing fits any more.

    `now` is the study's clock; `stopped` says whether a stop was asked for; `tick` is called at every training step.
    """

    def __init__(
        self,
        context: Context,
        number: int = 0,
        *,
        now: Callable[[], float],
        stopped: Callable[[], bool] = lambda: False,
        tick: Callable[[], None] = lambda: None,
    ) -> None:
        self.context, self.number = context, number
        self.now, self.stopped, self.tick = now, stopped, tick
        self.study, self.silent = context.study, Silence()

    def work(self) -> None:
        """Run segments until the scheduler stops."""
        while not self.stopped():
            with storage_faults():
                requeue_lost(self.study, silent=self.silent)
                trials = self._trials()
                if any(t.state == TrialState.WAITING for t in trials):
                    self._segment(self._ask(trials))
                    continue
                step = self._next(trials)
                if isinstance(step, Stop):
                    log.info("worker %d: %s", self.number, step.reason)
                    return
                if isinstance(step, Wait):
                    self.tick()
                    time.sleep(0.5)
                    continue
                self._queue(step, trials)
                self._segment(self._ask(trials))

    def _next(self, trials: list[FrozenTrial]) -> Promote | Sample | Wait | Stop | Repeat:
        repeat = self.context.state("repeat")
        if repeat is None:
            everything, plan = entries(trials), self.context.plan
            left = search_left(everything, plan, self.now())
            return next_step(everything, plan, left, seconds_per(trials, self.context), self._paired)
        done = {(t.user_attrs.get("candidate"), t.user_attrs.get("rung")) for t in trials}
        rest = [Repeat(**segment) for segment in repeat if (segment["candidate"], segment["rung"]) not in done]
        return rest[0] if rest else Stop("every segment of the earlier study was repeated")

    def _trials(self) -> list[FrozenTrial]:
        return self.study.get_trials(deepcopy=False)

    def _queue(self, step: Promote | Sample | Repeat, trials: list[FrozenTrial]) -> None:
        """Put a promotion, a prior or what TPE draws into Optuna's queue."""
        if isinstance(step, Promote):
            parent = result(trials, step.candidate, step.rung - 1)
            attrs: dict[str, Any] = {k: v for k, v in parent.user_attrs.items() if k in INHERITED}
            attrs |= {"rung": step.rung, "parent": parent.number}
            self.study.enqueue_trial(parent.params, user_attrs=attrs)
        elif isinstance(step, Repeat):
            self.study.enqueue_trial(step.params, user_attrs=step.attrs(trials))
        else:
            attrs, known = {"rung": 0}, {}
            if step.method is not None and step.prior is not None:
                attrs["prior_index"] = step.prior
                known = as_trial(step.method, self.context.space[step.method].priors[step.prior])
            self.study.enqueue_trial(drawn(trials, self.context.space, self._sampler(trials), known), user_attrs=attrs)

    def _sampler(self, trials: list[FrozenTrial]) -> BaseSampler:
        return sampler(self.context.seed, next_candidate(trials), self.number)

    def _ask(self, trials: list[FrozenTrial]) -> optuna.Trial:
        """The oldest waiting trial, whoever queued it."""
        self.study.sampler = self._sampler(trials)  # what an earlier version queued may leave something to be drawn
        return self.study.ask()

    def _segment(self, trial: optuna.Trial) -> None:
        method, hyperparameters = suggest(trial, self.context.space)
        self._introduce(trial, method)
        if self._is_double(trial):
            self._fail(trial, "double")
            return
        trial.set_user_attr("lease", round(self.now(), 1))
        trial.set_user_attr("worker", self.number)
        started = self.now()
        try:
            training, score = self._train_and_score(trial, method, hyperparameters)
        except Cut:
            self._fail(trial, "out of time", seconds=self.now() - started)
        except Diverged as fault:
            self._fail(trial, "nan", why=str(fault), seconds=self.now() - started)
        except torch.OutOfMemoryError:
            self._fail(trial, "out of memory", why="out of memory even in micro-batches", seconds=self.now() - started)
        else:
            self._tell(trial, training, score, self.now() - started)

    def _introduce(self, trial: optuna.Trial, method: str) -> None:
        """Say which candidate this trial belongs to; the first trial of a candidate gets the next free number."""
        if "candidate" in trial.user_attrs:
            return
        trial.set_user_attr("method", method)
        trial.set_user_attr("paradigm", METHODS[method].paradigm)
        trial.set_user_attr("rung", 0)
        while True:
            trials = self._trials()
            number = next_candidate(trials)
            trial.set_user_attr("candidate", number)
            same = [t.number for t in self._trials() if t.user_attrs.get("candidate") == number]
            if min(same) == trial.number:
                return

    def _is_double(self, trial: optuna.Trial) -> bool:
        """Whether another live trial with a lower number does the same: it has the claim."""
        attrs = trial.user_attrs
        for other in self._trials():
            if other.number >= trial.number or other.state not in LIVE or "candidate" not in other.user_attrs:
                continue
            same_segment = all(other.user_attrs[k] == attrs[k] for k in ("candidate", "rung"))
            both_new = attrs["rung"] == 0 == other.user_attrs["rung"]
            same_configuration = both_new and configuration(other.params) == configuration(trial.params)
            if same_segment or same_configuration:
                return True
        return False

    def _train_and_score(
        self, trial: optuna.Trial, method: str, hyperparameters: dict[str, Any]
    ) -> tuple[Training, Score]:
        attrs, context = trial.user_attrs, self.context
        self._inherit(trial)
        run = new_run(context, int(attrs["candidate"]), method, hyperparameters)
        own = segment_file(context, attrs, "partial.pt")
        parent = parent_file(context, attrs)
        if parent.is_file() and not own.is_file():
            resume(run, parent)
        training = Training(run, own)
        self._train(trial, training)
        return training, context.score(context.averaged(run))

    def _train(self, trial: optuna.Trial, training: Training) -> None:
        run, images = training.run, self.context.plan.rungs[int(trial.user_attrs["rung"])]
        end = search_end(entries(self._trials()), self.context.plan)
        leased = self.now()

        def out_of_time() -> bool:
            nonlocal leased
            self.tick()
            if self.now() - leased > LEASE_SECONDS:
                leased = self.now()
                trial.set_user_attr("lease", round(leased, 1))
                trial.set_user_attr("headway", training.headway)
            return self.stopped() or (end is not None and self.now() >= end)

        terms = Terms(stopped=out_of_time)
        try:
            reached = training.to(images, terms)
        except torch.OutOfMemoryError:
            if run.accumulate > 1:
                raise
            run.accumulate = 4
            trial.set_user_attr("accumulate", run.accumulate)
            reached = training.to(images, terms)
        if not reached:
            raise Cut

    def _inherit(self, trial: optuna.Trial) -> None:
        """A queued trial cannot carry a curve, so whoever gets it reports the earlier rungs first."""
        attrs, rungs = trial.user_attrs, self.context.plan.rungs
        for rung in range(int(attrs["rung"])):
            parent = result(self._trials(), int(attrs["candidate"]), rung)
            trial.report(float(parent.user_attrs["score"]), step=rungs[rung])

    def _tell(self, trial: optuna.Trial, training: Training, score: Score, seconds: float) -> None:
        attrs, context, run = trial.user_attrs, self.context, training.run
        checkpoint = segment_file(context, attrs, "pt")
        training.keep_as(checkpoint)
        predicted = segment_file(context, attrs, "npz", context.folder.artifacts)
        losses = np.array(run.losses, dtype=np.float32)
        replace_file(
            predicted, lambda file: np.savez(file, allow_pickle=False, losses=losses, **score.outcomes.arrays())
        )
        facts: dict[str, Any] = {
            "score": score.value,
            "se": score.se,
            "ranked": context.target.ranks,
            "seconds": round(seconds, 2),
            "train_seconds": round(run.seconds, 2),
            "proxy_seconds": round(score.seconds, 3),
            "images": run.images,
            "checkpoint": str(checkpoint.relative_to(context.folder.root)),
            **{k: round(v, 5) for k, v in score.proxies.items()},
            **monitored(run.early_accuracy, run.watched),
        }
        if score.collapsed:
            self._fail(trial, "collapsed", why=score.collapsed, **facts)
            return
        for name, value in facts.items():
            trial.set_user_attr(name, value)
        rung = int(attrs["rung"])
        trial.report(score.value, step=context.plan.rungs[rung])
        top = rung == len(context.plan.rungs) - 1
        # below the top rung a trial ends PRUNED with its value: TPE then ranks by rung first
        finish(self.study, trial, TrialState.COMPLETE if top else TrialState.PRUNED, score.value if top else None)
        told = (attrs["candidate"], attrs["method"], rung, context.target.line(score), seconds)
        log.info("candidate %d %s rung %d: %s (%.0f s)", *told)
        sweep(context, entries(self._trials()))

    def _fail(self, trial: optuna.Trial, reason: str, **facts: Any) -> None:
        for name, value in {"reason": reason, **facts}.items():
            trial.set_user_attr(name, value)
        finish(self.study, trial, TrialState.FAIL, None)
        if reason != "double":
            cut = "cut off by the stop" if self.stopped() else "cut off by the end of the search"
            log.info("candidate %s: %s", trial.user_attrs.get("candidate"), cut if reason == "out of time" else reason)

    def _paired(self, a: int, b: int, rung: int) -> tuple[float, float]:
        """Difference of two candidates' aligned scores at a rung, on the same patients, with its standard error."""
        context, groups = self.context, self.context.groups(self.context.scored_rows)
        first, second = (outcomes_of(context, candidate, rung) for candidate in (a, b))
        gap = first.minus(second, context.target.metric, groups, draws=200)
        return gap.value, gap.se
