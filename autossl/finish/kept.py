"""Arms that are trained on labels: kept as folders when they are whole, and read again after a kill."""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from autossl.finish.arms import Arm
from autossl.finish.baselines import Effort
from autossl.finish.steps import Steps
from autossl.finish.written import begun, read_again, write
from autossl.model.entrants import DISTILLED, ENTRANTS, SOUPS, TUNED, WEIGHTS_TUNED
from autossl.proxies import Outcomes
from autossl.record.folder import Folder, replace_file
from autossl.train.resumable import Terms
from autossl.trials.context import Context
from autossl.trials.plan import Step

DOING = {
    "supervised": "training on the labels alone, the baseline",
    WEIGHTS_TUNED: "fine-tuning the given weights on the labels",
    TUNED: "fine-tuning the winner on the labels",
    DISTILLED: "teaching a student by the answers of the fine-tuned winner",
}


def kept(steps: Steps, name: str, step: Step, make: Callable[[Terms], list[Arm]], part: float = 1.0) -> list[Arm]:
    """The arms of this name that `make` trains in a `part` of a step's time, or as they were kept.

    It may give the mean of several fits as an arm of its own. Empty where there was no time.
    """
    context, stem = steps.context, _stem(name)
    done = context.state("arms") or {}
    if name in done:
        return [_read(steps, own, done[own]) for own in dict.fromkeys((name, SOUPS.get(name, name))) if own in done]
    if not steps.begun(stem):
        steps.forget(stem)  # of a training that was killed before the study was extended
        if steps.left(step) == 0:
            return []
    steps.say(DOING[name])
    made = make(steps.terms(step, stem, part))
    facts = {arm.name: _written(context, arm) for arm in made}
    if made:
        context.remember(arms={**done, **facts})
    steps.forget(stem)
    return made


def _written(context: Context, arm: Arm) -> dict[str, Any]:
    """Export an arm and keep its outcomes; returns facts about its training."""
    facts, name = asdict(arm.effort) if arm.effort else {}, arm.name
    words = {"arm": {"name": ENTRANTS[name].words, **facts}}
    write(context, arm.encoder, folder_of(context.folder, name), words, arm.head, begun(context, name))
    found = {} if arm.outcomes is None else arm.outcomes.arrays()
    replace_file(outcomes_of(context.folder, name), lambda file: np.savez(file, allow_pickle=False, **found))
    if arm.soft:
        soft = {str(number): raw.astype(np.float32) for number, raw in enumerate(arm.soft)}
        replace_file(_soft_of(context.folder, name), lambda file: np.savez(file, allow_pickle=False, **soft))
    return facts


def folder_of(folder: Folder, name: str) -> Path:
    """Where an arm that was trained on labels is exported to."""
    return folder.root / ("baselines" if ENTRANTS[name].role == "control" else "arms") / _stem(name)


def outcomes_of(folder: Folder, name: str) -> Path:
    """Where its outcomes on the folds are."""
    return folder.artifacts / f"{_stem(name)}.npz"


def _soft_of(folder: Folder, name: str) -> Path:
    """Where its soft answers are until the study ends."""
    return folder.checkpoints / f"{_stem(name)}.npz"


def _stem(name: str) -> str:
    """A name for files: winner-tuned, winner-soup."""
    return name.replace(", fine-", "-").replace(", ", "-")


def _read(steps: Steps, name: str, facts: dict[str, Any]) -> Arm:
    context = steps.context
    encoder, model = read_again(context, folder_of(context.folder, name), name)
    assert model.readout is not None
    with np.load(outcomes_of(context.folder, name), allow_pickle=False) as stored:
        outcomes = Outcomes.loaded(dict(stored)) if stored.files else None
    soft = tuple[Any, ...]()
    if _soft_of(context.folder, name).is_file():
        with np.load(_soft_of(context.folder, name), allow_pickle=False) as stored:
            soft = tuple(stored[str(number)] for number in range(len(stored.files)))
    return Arm(name, encoder, model.readout, outcomes, Effort(**facts), soft=soft)
