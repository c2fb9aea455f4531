"""The segments of a study: how one begins, what it leaves, what it costs, how a lost one is queued again."""

import json
import shutil
import time
from collections.abc import Callable
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import torch
from optuna.trial import FrozenTrial, TrialState

from autossl.nn.encoder import channels_last
from autossl.proxies import Outcomes
from autossl.record.entries import Entry
from autossl.record.journal import entries
from autossl.train.loop import Run
from autossl.trials.context import Context
from autossl.trials.space import build

STALE_SECONDS = 180.0  # silence after which a worker's segment is given to another
RETRIES = 2  # of a segment whose worker died while the study lived
KILLS = 8  # of the whole study in one segment, in a row and without a checkpoint between, before that is its doing
SEGMENT = "c*-r?.pt"  # a checkpoint from which a candidate goes on
SCORED = (TrialState.PRUNED, TrialState.COMPLETE)


def new_run(context: Context, candidate: int, method: str, hyperparameters: dict[str, Any]) -> Run:
    """A candidate before its first step; everything random in it follows from the study's seed and its number."""
    seed = context.seed * 100_003 + candidate
    encoder = context.new_candidate(seed)
    pretext, settings = build(method, hyperparameters, encoder, context.preset, context.data.mean, context.data.std)
    channels_last(pretext.to(context.device), encoder.dims)
    pretext.generator = torch.Generator(device=context.device)
    plan = context.plan
    warmup = plan.rungs[0] // (8 if context.begins.given else 4)
    return Run(pretext, settings, context.probe_pool, seed, warmup, plan.rungs[-1])


def segment_file(context: Context, attrs: dict[str, Any], ending: str, folder: Path | None = None) -> Path:
    """Where a segment leaves a file."""
    candidate, rung = int(attrs["candidate"]), int(attrs["rung"])
    return (folder or context.folder.checkpoints) / f"c{candidate:04d}-r{rung}.{ending}"


def parent_file(context: Context, attrs: dict[str, Any]) -> Path:
    """The checkpoint that a segment goes on from, whatever folder its journal names: they are all in one."""
    return context.folder.checkpoints / (Path(str(attrs.get("checkpoint", ""))).name or "none")


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


def give_up(study: optuna.Study, gone: Callable[[FrozenTrial], bool], **facts: Any) -> None:
    """Declare running trials lost whose worker is `gone`; the facts are noted with them."""
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        if gone(trial):
            for name, value in {"reason": "lost", **facts}.items():
                study._storage.set_trial_user_attr(trial._trial_id, name, value)
            finish(study, trial, TrialState.FAIL, None)


class Silence:
    """Tells running trials whose lease has not changed for long, by the clock of whoever asks and no other."""

    def __init__(self) -> None:
        self._heard: dict[int, tuple[float | None, float]] = {}  # by trial: its lease, and when that was first seen

    def __call__(self, trial: FrozenTrial) -> bool:
        now, lease = time.monotonic(), trial.user_attrs.get("lease")
        known = self._heard.get(trial.number)
        if known is None or known[0] != lease:
            self._heard[trial.number] = known = (lease, now)
        return now - known[1] > STALE_SECONDS


def requeue_lost(study: optuna.Study, everything: bool = False, silent: Silence | None = None) -> None:
    """Give up trials whose worker fell silent, and queue lost segments again.

    `everything` gives up every running trial and takes up segments that time cut off: for the first process of a
    study, when no worker can be alive. A kill of the whole study says nothing of the segments that ran, unless it
    comes again and again in one that gets no further; a worker that died alone is tried twice more.
    """
    give_up(study, lambda trial: everything or (silent is not None and silent(trial)), killed=everything)
    for lost in _lost_segments(study.get_trials(deepcopy=False), ("lost", "out of time") if everything else ("lost",)):
        attrs = {k: v for k, v in lost.user_attrs.items() if k in KEPT} | _counted(lost.user_attrs)
        if attrs["retry"] <= RETRIES and attrs["kills"] < KILLS:
            # one that was lost before it was begun has its parameters in the queue only
            study.enqueue_trial({**lost.system_attrs.get("fixed_params", {}), **lost.params}, user_attrs=attrs)


def _counted(attrs: dict[str, Any]) -> dict[str, int]:
    """How often a segment was lost: with its worker alone, and with the whole study since it last got further."""
    retry, kills = int(attrs.get("retry", 0)), int(attrs.get("kills", 0))
    if attrs.get("headway"):
        kills = 0
    if attrs["reason"] != "lost":
        return {"retry": retry, "kills": kills}
    killed = bool(attrs.get("killed"))
    return {"retry": retry + (not killed), "kills": kills + killed}


KEPT = ("candidate", "method", "paradigm", "rung", "prior_index", "checkpoint", "parent")


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
    for path in context.folder.checkpoints.glob(SEGMENT):
        name = path.stem
        if name not in keep and name.split("-")[0] not in live:
            path.unlink(missing_ok=True)


def leave_nothing(context: Context) -> None:
    """Clear away what a finished study needs no more: what was cut off, and what is only half there.

    What still waits or runs is closed like a segment that time cut off: an extension takes it up.
    """
    study, folder = context.study, context.folder
    for trial in study.get_trials(deepcopy=False, states=(TrialState.WAITING, TrialState.RUNNING)):
        study._storage.set_trial_user_attr(trial._trial_id, "reason", "out of time")
        study._storage.set_trial_state_values(trial._trial_id, TrialState.FAIL)
    sweep(context, entries(study.get_trials(deepcopy=False)))
    for path in folder.checkpoints.iterdir():
        if not fnmatch(path.name, SEGMENT):
            path.unlink()
    for path in [*folder.root.rglob(".*.part"), folder.stop]:
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


def next_candidate(trials: list[FrozenTrial]) -> int:
    return 1 + max((int(t.user_attrs["candidate"]) for t in trials if "candidate" in t.user_attrs), default=-1)


def result(trials: list[FrozenTrial], candidate: int, rung: int) -> FrozenTrial:
    for trial in trials:
        attrs = trial.user_attrs
        if attrs.get("candidate") == candidate and attrs.get("rung") == rung and trial.state in SCORED:
            return trial
    raise AssertionError(f"candidate {candidate} has no result at rung {rung}")


def outcomes_of(context: Context, candidate: int, rung: int) -> Outcomes:
    """What a segment's encoder predicted of the scored images, without their own patients."""
    path = segment_file(context, {"candidate": candidate, "rung": rung}, "npz", context.folder.artifacts)
    with np.load(path, allow_pickle=False) as stored:
        if "predicted" in stored:  # of a study before November 28, 2026
            return context.judged.judge(stored["predicted"], context.truth(context.scored_rows))
        return Outcomes.loaded(dict(stored))


def configuration(params: dict[str, Any]) -> str:
    """A canonical name of a configuration: equal to four digits is equal."""
    return json.dumps({k: float(f"{v:.4g}") if isinstance(v, float) else v for k, v in sorted(params.items())})


def finish(study: optuna.Study, trial: Any, state: TrialState, value: float | None) -> None:
    """Tell Optuna, unless somebody gave this trial up meanwhile."""
    try:
        study.tell(trial.number, value, state=state)
    except ValueError as fault:
        if "finished" not in str(fault).lower():
            raise
