"""A worker: asks what to do next, trains that segment, scores it, tells Optuna."""

import json
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import torch
from optuna.trial import FrozenTrial, TrialState

from autossl.context import Context
from autossl.folder import replace_file
from autossl.journal import entries, sampler, storage_faults
from autossl.pretext import METHODS
from autossl.proxies import paired
from autossl.scheduler import Entry, Promote, Sample, Stop, Wait, next_step
from autossl.space import METHOD, as_trial, build, suggest
from autossl.targets import Score
from autossl.train import Diverged, Run, resume, save, train

log = logging.getLogger("autossl")

LEASE_SECONDS = 20.0  # how often a worker says that it lives
STALE_SECONDS = 180.0  # silence after which its segment is given to another
RETRIES = 2
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
            attrs["checkpoint"] = _result(trials, self.candidate, self.rung - 1).user_attrs["checkpoint"]
        return attrs


class Worker:
    """Runs segments of one study until nothing fits any more.

    `time_left` gives the seconds until the search must end (None without a limit); `stopped` says whether a stop was
    asked for; `tick` is called at every training step.
    """

    def __init__(
        self,
        context: Context,
        number: int = 0,
        *,
        time_left: Callable[[], float | None] = lambda: None,
        stopped: Callable[[], bool] = lambda: False,
        tick: Callable[[], None] = lambda: None,
    ) -> None:
        self.context, self.number = context, number
        self.time_left, self.stopped, self.tick = time_left, stopped, tick
        self.study = context.study

    def work(self) -> None:
        """Run segments until the scheduler stops."""
        while not self.stopped():
            with storage_faults():
                requeue_lost(self.study)
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
            costs = seconds_per(trials, self.context)
            return next_step(entries(trials), self.context.plan, self.time_left(), costs, self._paired)
        done = {(t.user_attrs.get("candidate"), t.user_attrs.get("rung")) for t in trials}
        rest = [Repeat(**segment) for segment in repeat if (segment["candidate"], segment["rung"]) not in done]
        return rest[0] if rest else Stop("every segment of the earlier study was repeated")

    def _trials(self) -> list[FrozenTrial]:
        return self.study.get_trials(deepcopy=False)

    def _queue(self, step: Promote | Sample | Repeat, trials: list[FrozenTrial]) -> None:
        """Put a promotion or a prior into Optuna's queue; what TPE decides needs no queueing."""
        if isinstance(step, Promote):
            parent = _result(trials, step.candidate, step.rung - 1)
            attrs: dict[str, Any] = {k: v for k, v in parent.user_attrs.items() if k in INHERITED}
            attrs |= {"rung": step.rung, "parent": parent.number}
            self.study.enqueue_trial(parent.params, user_attrs=attrs)
        elif isinstance(step, Repeat):
            self.study.enqueue_trial(step.params, user_attrs=step.attrs(trials))
        elif step.method is not None and step.prior is not None:
            prior = self.context.space[step.method].priors[step.prior]
            params = as_trial(step.method, prior)
            self.study.enqueue_trial(params, user_attrs={"rung": 0, "prior_index": step.prior})

    def _ask(self, trials: list[FrozenTrial]) -> optuna.Trial:
        """The oldest waiting trial, whoever queued it, or a new one by TPE."""
        self.study.sampler = sampler(self.context.seed, _next_candidate(trials), self.number)
        return self.study.ask()

    def _segment(self, trial: optuna.Trial) -> None:
        method, hyperparameters = suggest(trial, self.context.space)
        self._introduce(trial, method)
        if self._is_double(trial):
            self._fail(trial, "double")
            return
        trial.set_user_attr("lease", time.time())
        trial.set_user_attr("worker", self.number)
        started = time.time()
        try:
            run, score = self._train_and_score(trial, method, hyperparameters)
        except Cut:
            self._fail(trial, "out of time", seconds=time.time() - started)
        except Diverged as fault:
            self._fail(trial, "nan", why=str(fault), seconds=time.time() - started)
        except torch.OutOfMemoryError:
            self._fail(trial, "out of memory", why="out of memory even in micro-batches", seconds=time.time() - started)
        else:
            self._tell(trial, run, score, time.time() - started)

    def _introduce(self, trial: optuna.Trial, method: str) -> None:
        """Say which candidate this trial belongs to; the first trial of a candidate gets the next free number."""
        if "candidate" in trial.user_attrs:
            return
        trial.set_user_attr("method", method)
        trial.set_user_attr("paradigm", METHODS[method].paradigm)
        trial.set_user_attr("rung", 0)
        while True:
            trials = self._trials()
            number = _next_candidate(trials)
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
            same_configuration = attrs["rung"] == 0 == other.user_attrs["rung"] and _key(other.params) == _key(
                trial.params
            )
            if same_segment or same_configuration:
                return True
        return False

    def _train_and_score(self, trial: optuna.Trial, method: str, hyperparameters: dict[str, Any]) -> tuple[Run, Score]:
        attrs, context = trial.user_attrs, self.context
        self._inherit(trial)
        run = new_run(context, int(attrs["candidate"]), method, hyperparameters)
        own = segment_file(context, attrs, "partial.pt")
        parent = attrs.get("checkpoint")
        for path in (own, context.folder.root / parent if parent else None):
            if path is not None and path.is_file():
                resume(run, path)
                break
        self._train(trial, run, own)
        score = context.score(context.averaged(run.average))
        return run, score

    def _train(self, trial: optuna.Trial, run: Run, partial: Path) -> None:
        images = self.context.plan.rungs[int(trial.user_attrs["rung"])]
        leased = time.time()

        def out_of_time() -> bool:
            nonlocal leased
            self.tick()
            if time.time() - leased > LEASE_SECONDS:
                leased = time.time()
                trial.set_user_attr("lease", leased)
            left = self.time_left()
            return self.stopped() or (left is not None and left <= 0)

        try:
            reached = next(train(run, [images], out_of_time=out_of_time))
        except torch.OutOfMemoryError:
            if run.accumulate > 1:
                raise
            run.accumulate = 4
            trial.set_user_attr("accumulate", run.accumulate)
            reached = next(train(run, [images], out_of_time=out_of_time))
        except KeyboardInterrupt:
            save(run, partial)
            raise
        if not reached:
            save(run, partial)
            raise Cut
        partial.unlink(missing_ok=True)

    def _inherit(self, trial: optuna.Trial) -> None:
        """A queued trial cannot carry a curve, so whoever gets it reports the earlier rungs first."""
        attrs, rungs = trial.user_attrs, self.context.plan.rungs
        for rung in range(int(attrs["rung"])):
            parent = _result(self._trials(), int(attrs["candidate"]), rung)
            trial.report(float(parent.user_attrs["score"]), step=rungs[rung])

    def _tell(self, trial: optuna.Trial, run: Run, score: Score, seconds: float) -> None:
        attrs, context = trial.user_attrs, self.context
        checkpoint = segment_file(context, attrs, "pt")
        save(run, checkpoint)
        predicted = segment_file(context, attrs, "npz", context.folder.artifacts)
        losses = np.array(run.losses, dtype=np.float32)
        replace_file(
            predicted, lambda file: np.savez(file, predicted=score.predicted.astype(np.float16), losses=losses)
        )
        facts: dict[str, Any] = {
            "score": score.value,
            "se": score.se,
            "seconds": round(seconds, 2),
            "train_seconds": round(run.seconds, 2),
            "images": run.images,
            "checkpoint": str(checkpoint.relative_to(context.folder.root)),
            **{k: round(v, 5) for k, v in score.proxies.items()},
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
        _finish(self.study, trial, TrialState.COMPLETE if top else TrialState.PRUNED, score.value if top else None)
        log.info(
            "candidate %d %s rung %d: %.3f ± %.3f (%.0f s)",
            attrs["candidate"],
            attrs["method"],
            rung,
            score.value,
            score.se,
            seconds,
        )
        sweep(context, entries(self._trials()))

    def _fail(self, trial: optuna.Trial, reason: str, **facts: Any) -> None:
        for name, value in {"reason": reason, **facts}.items():
            trial.set_user_attr(name, value)
        _finish(self.study, trial, TrialState.FAIL, None)
        if reason != "double":
            log.info("candidate %s: %s", trial.user_attrs.get("candidate"), reason)

    def _paired(self, a: int, b: int, rung: int) -> tuple[float, float]:
        """Difference of two candidates' aligned scores at a rung, on the same patients, with its standard error."""
        context = self.context
        rows = context.scored_rows
        scores = [_predicted(context, candidate, rung) for candidate in (a, b)]
        groups = None if context.data.groups is None else context.data.groups[rows]
        gap = paired(context.data.labels[rows], scores[0], scores[1], groups, context.target.metric, draws=200)
        return gap.value, gap.se


def new_run(context: Context, candidate: int, method: str, hyperparameters: dict[str, Any], pool: Any = None) -> Run:
    """A candidate before its first step; everything random in it follows from the study's seed and its number."""
    seed = context.seed * 100_003 + candidate
    encoder = context.new_encoder(seed)
    pretext, settings = build(method, hyperparameters, encoder, context.preset, context.data.mean, context.data.std)
    pretext.to(context.device).to(memory_format=torch.channels_last)
    pretext.generator = torch.Generator(device=context.device)
    plan = context.plan
    return Run(pretext, settings, pool or context.probe_pool, seed, plan.rungs[0] // 4, plan.rungs[-1])


def segment_file(context: Context, attrs: dict[str, Any], ending: str, folder: Path | None = None) -> Path:
    """Where a segment leaves a file."""
    return (folder or context.folder.checkpoints) / f"c{attrs['candidate']:04d}-r{attrs['rung']}.{ending}"


def seconds_per(trials: list[FrozenTrial], context: Context) -> Callable[[str, int], float]:
    """What training a method on a number of images costs, scoring included: measured where there are results."""
    plan = context.plan
    if plan.limit is None:  # nothing may depend on measured time
        return lambda method, images: plan.method(method).per_image * images
    costs = context.state("costs")
    measured: dict[str, list[float]] = {}
    for trial in trials:
        attrs = trial.user_attrs
        if attrs.get("train_seconds") and attrs.get("images"):
            measured.setdefault(attrs["method"], []).append(attrs["train_seconds"] / attrs["images"])

    def cost(method: str, images: int) -> float:
        per_image = float(np.median(measured[method])) if method in measured else costs["per_image"][method]
        return per_image * images + float(costs["score"])

    return cost


def give_up(study: optuna.Study, gone: Callable[[FrozenTrial], bool]) -> None:
    """Declare running trials lost whose worker is `gone`."""
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        if gone(trial):
            study._storage.set_trial_user_attr(trial._trial_id, "reason", "lost")
            _finish(study, trial, TrialState.FAIL, None)


def _silent(trial: FrozenTrial) -> bool:
    lease = trial.user_attrs.get("lease") or (trial.datetime_start.timestamp() if trial.datetime_start else 0.0)
    return time.time() - float(lease) > STALE_SECONDS


def requeue_lost(study: optuna.Study, everything: bool = False) -> None:
    """Give up trials whose worker fell silent, and queue lost segments again, each twice at most.

    `everything` gives up every running trial and takes up segments that time cut off: for the first process of a
    study, when no worker can be alive.
    """
    give_up(study, lambda trial: everything or _silent(trial))
    for lost in _lost_segments(study.get_trials(deepcopy=False), ("lost", "out of time") if everything else ("lost",)):
        attrs = {k: v for k, v in lost.user_attrs.items() if k in KEPT}
        lost_before = int(attrs.get("retry", 0))
        attrs["retry"] = lost_before + (lost.user_attrs["reason"] == "lost")
        if attrs["retry"] <= RETRIES:
            study.enqueue_trial(lost.params, user_attrs=attrs)


KEPT = ("candidate", "method", "paradigm", "rung", "prior_index", "checkpoint", "parent", "retry")


def _lost_segments(trials: list[FrozenTrial], reasons: tuple[str, ...]) -> list[FrozenTrial]:
    """The last trial of every segment that ended for one of these reasons and was not yet queued again."""
    last: dict[tuple[int, int], FrozenTrial] = {}
    for trial in trials:
        attrs = trial.user_attrs
        if "candidate" in attrs and attrs.get("reason") != "double":
            last[attrs["candidate"], attrs["rung"]] = trial
    return [t for t in last.values() if t.state == TrialState.FAIL and t.user_attrs.get("reason") in reasons]


def sweep(context: Context, all_entries: list[Entry]) -> None:
    """Delete checkpoints that will hardly be needed: superseded ones, and those of the lower half of a rung.

    A candidate whose checkpoint is gone can still be promoted: it is trained again from its seed.
    """
    top: dict[int, Entry] = {}
    for e in all_entries:
        if e.state == "scored" and (e.candidate not in top or e.rung > top[e.candidate].rung):
            top[e.candidate] = e
    keep = set()
    for rung in {e.rung for e in top.values()}:
        here = sorted((e for e in top.values() if e.rung == rung), key=lambda e: -(e.score or 0.0))
        keep |= {f"c{e.candidate:04d}-r{e.rung}" for e in here[: max(8, len(here) // 2)]}
    live = {f"c{e.candidate:04d}" for e in all_entries if e.state in ("running", "waiting")}
    for path in context.folder.checkpoints.glob("c*-r?.pt"):
        name = path.stem
        if name not in keep and name.split("-")[0] not in live:
            path.unlink(missing_ok=True)


def _next_candidate(trials: list[FrozenTrial]) -> int:
    return 1 + max((int(t.user_attrs["candidate"]) for t in trials if "candidate" in t.user_attrs), default=-1)


def _result(trials: list[FrozenTrial], candidate: int, rung: int) -> FrozenTrial:
    for trial in trials:
        attrs = trial.user_attrs
        if attrs.get("candidate") == candidate and attrs.get("rung") == rung and trial.state in LIVE[1:]:
            return trial
    raise AssertionError(f"candidate {candidate} has no result at rung {rung}")


def _predicted(context: Context, candidate: int, rung: int) -> np.ndarray[Any, Any]:
    path = segment_file(context, {"candidate": candidate, "rung": rung}, "npz", context.folder.artifacts)
    with np.load(path, allow_pickle=False) as stored:
        return np.asarray(stored["predicted"], dtype=np.float32)


def _key(params: dict[str, Any]) -> str:
    """A canonical name of a configuration: equal to four digits is equal."""
    return json.dumps({k: float(f"{v:.4g}") if isinstance(v, float) else v for k, v in sorted(params.items())})


def _finish(study: optuna.Study, trial: Any, state: TrialState, value: float | None) -> None:
    """Tell Optuna, unless somebody gave this trial up meanwhile."""
    try:
        study.tell(trial.number, value, state=state)
    except ValueError as fault:
        if "finished" not in str(fault).lower():
            raise
