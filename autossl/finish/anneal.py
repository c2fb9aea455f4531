"""Candidates after the search: their encoders, and training one on with a learning rate that falls to zero."""

from collections.abc import Callable
from typing import Any

import optuna

from autossl.errors import UserError
from autossl.nn.encoder import Encoder
from autossl.record.entries import Entry
from autossl.train.loop import Run, resume
from autossl.train.resumable import Terms, Training
from autossl.trials.context import Context
from autossl.trials.segments import new_run, segment_file
from autossl.trials.space import suggest

PASSES = 3  # without a time limit: the final training sees so many times the images of the top rung


def hyperparameters_of(context: Context, entry: Entry) -> tuple[str, dict[str, Any]]:
    """Method and hyperparameters of a candidate."""
    stored = context.study.get_trials(deepcopy=False)[entry.number]
    try:
        return suggest(optuna.trial.FixedTrial(stored.params), context.space)
    except (KeyError, ValueError):
        raise UserError(
            f"a candidate of this study's search space was wanted, found number {entry.candidate} with other settings "
            "in study.journal; copy the study again from where it is whole"
        ) from None


def fresh_run(context: Context, entry: Entry, seed_shift: int = 0) -> Run:
    """A candidate before its first step; `seed_shift` gives it another training seed."""
    return new_run(context, entry.candidate + seed_shift, *hyperparameters_of(context, entry))


def encoder_of(context: Context, entry: Entry, stopped: Callable[[], bool]) -> Encoder:
    """The encoder that was scored for this entry; where it must be trained again, until `stopped`."""
    return context.averaged(_as_scored(context, entry, Terms(stopped=stopped), keep=True))


def _as_scored(context: Context, entry: Entry, terms: Terms, keep: bool) -> Run:
    """The run as it was scored; one whose checkpoint was swept away is trained again from its seed, on these terms.

    `keep`: that has a checkpoint too, and leaves the one that was swept away.
    """
    run, attrs = fresh_run(context, entry), {"candidate": entry.candidate, "rung": entry.rung}
    scored = segment_file(context, attrs, "pt")
    if scored.is_file():
        resume(run, scored)
        return run
    again = Training(run, segment_file(context, attrs, "partial.pt") if keep else None)
    if again.to(context.plan.rungs[entry.rung], terms) and keep:
        again.keep_as(scored)
    return run


def train_on(context: Context, entry: Entry, terms: Terms) -> tuple[Encoder, dict[str, Any]]:
    """Train a candidate on from its checkpoint, on every image outside the test part, with a rate that falls to zero.

    Without a limit it sees a fixed number of images. Where the time or a stop ends it early, it is as far as it came.
    Returns the encoder and facts about the training.
    """
    if terms.begun:
        run = fresh_run(context, entry)
    else:
        run = _as_scored(context, entry, terms, keep=terms.path is not None)
        run.mean, run.averaged = [], 0
    training = Training(run, terms.path)
    run.pool = context.final_pool
    first, plan = training.first, context.plan
    images = plan.final_images or PASSES * plan.rungs[-1]

    def progress(seen: int, share: float) -> float:
        return (seen - first) / max(1, images) if terms.left is None else share

    last = first + images if terms.left is None else 1 << 50
    training.to(last, terms, progress)
    return context.averaged(run, context.final_pool), {"images": run.images, "images_before": first}
