"""Candidates after the search: their encoders, and training one on with a learning rate that falls to zero."""

import time
from collections.abc import Callable
from typing import Any

import optuna

from autossl.context import Context
from autossl.encoder import Encoder
from autossl.scheduler import Entry
from autossl.segments import new_run, segment_file
from autossl.space import suggest
from autossl.train import Run, resume, train

PASSES = 3  # without a time limit: the final training sees so many times the images of the top rung


def hyperparameters_of(context: Context, entry: Entry) -> tuple[str, dict[str, Any]]:
    """Method and hyperparameters of a candidate."""
    stored = context.study.get_trials(deepcopy=False)[entry.number]
    return suggest(optuna.trial.FixedTrial(stored.params), context.space)


def fresh_run(context: Context, entry: Entry, seed_shift: int = 0) -> Run:
    """A candidate before its first step; `seed_shift` gives it another training seed."""
    return new_run(context, entry.candidate + seed_shift, *hyperparameters_of(context, entry))


def encoder_of(context: Context, entry: Entry, out_of_time: Callable[[], bool] = lambda: False) -> Encoder:
    """The encoder that was scored for this entry."""
    return context.averaged(_resumed(context, entry, out_of_time).average)


def _resumed(context: Context, entry: Entry, out_of_time: Callable[[], bool]) -> Run:
    run = fresh_run(context, entry)
    path = segment_file(context, {"candidate": entry.candidate, "rung": entry.rung}, "pt")
    if path.is_file():
        resume(run, path)
    else:  # swept away: trained again from its seed
        next(train(run, [context.plan.rungs[entry.rung]], out_of_time=out_of_time))
    return run


def train_on(
    context: Context, entry: Entry, seconds: float | None, stopped: Callable[[], bool] = lambda: False
) -> tuple[Encoder, dict[str, Any]]:
    """Train a candidate on from its checkpoint for `seconds`, on every image outside the test part.

    Without a limit it sees a fixed number of images; `stopped` (asked at every step) ends it early. Returns the encoder
    and facts about the training.
    """
    started = time.monotonic()

    def over() -> bool:
        return stopped() or (seconds is not None and time.monotonic() - started >= seconds)

    run = _resumed(context, entry, over)
    run.pool = context.final_pool
    run.mean, run.averaged = [], 0
    first, plan = run.images, context.plan
    last = first + (plan.final_images or PASSES * plan.rungs[-1])
    begun = time.monotonic() - started

    def progress(images: int) -> float:
        if seconds is None:
            return (images - first) / max(1, last - first)
        return (time.monotonic() - started - begun) / max(seconds - begun, 1e-9)

    next(train(run, [last if seconds is None else 1 << 50], out_of_time=over, anneal=progress))
    return context.averaged(run.average, context.final_pool), {"images": run.images, "images_before": first}
