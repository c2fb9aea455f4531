"""Arms that are trained on labels: kept as folders when they are whole, and read again after a kill."""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from autossl.finish.arms import Arm
from autossl.finish.baselines import Effort
from autossl.finish.folds import Folds
from autossl.finish.steps import Steps
from autossl.finish.trained import trained
from autossl.finish.written import read_again, write
from autossl.model.entrants import ENTRANTS, TUNED, WEIGHTS_TUNED
from autossl.nn.encoder import Encoder
from autossl.proxies import Outcomes
from autossl.record.folder import Folder, replace_file
from autossl.trials.plan import Step

DOING = {
    "supervised": "training on the labels alone, the baseline",
    WEIGHTS_TUNED: "fine-tuning the given weights on the labels",
    TUNED: "fine-tuning the winner on the labels",
}


def kept(
    steps: Steps, folds: Folds, name: str, step: Step, start: Callable[[], Encoder], part: float = 1.0
) -> Arm | None:
    """The arm of this name, trained from what `start` makes in a `part` of a step's time, or as it was kept.

    One that does not start from random weights starts from the probe too. None where there was no time.
    """
    context, stem, place = steps.context, _stem(name), folder_of(steps.context.folder, name)
    outcomes = context.folder.artifacts / f"{stem}.npz"
    done = (context.state("arms") or {}).get(name)
    if done is not None:
        return _read(steps, name, done)
    if not steps.begun(stem):
        steps.forget(stem)  # of a training that was killed before the study was extended
        if steps.left(step) == 0:
            return None
    steps.say(DOING[name])
    arm = trained(context, name, start, folds, steps.terms(step, stem, part), probed=step == "finetune")
    if arm is not None:
        given = name == WEIGHTS_TUNED or (name == TUNED and context.starts_from_weights)
        facts = asdict(arm.effort) if arm.effort else {}
        write(context, arm.encoder, place, {"arm": {"name": ENTRANTS[name].words, **facts}}, arm.head, given)
        found = {} if arm.outcomes is None else arm.outcomes.arrays()
        replace_file(outcomes, lambda file: np.savez(file, allow_pickle=False, **found))
        context.remember(arms={**(context.state("arms") or {}), name: facts})
    steps.forget(stem)
    return arm


def folder_of(folder: Folder, name: str) -> Path:
    """Where an arm that was trained on labels is exported to."""
    return folder.root / ("baselines" if ENTRANTS[name].role == "control" else "arms") / _stem(name)


def _stem(name: str) -> str:
    """A name for files: winner-tuned."""
    return name.replace(", fine-", "-")


def _read(steps: Steps, name: str, facts: dict[str, Any]) -> Arm:
    context = steps.context
    encoder, model = read_again(context, folder_of(context.folder, name))
    assert model.readout is not None
    with np.load(context.folder.artifacts / f"{_stem(name)}.npz", allow_pickle=False) as stored:
        outcomes = Outcomes.loaded(dict(stored)) if stored.files else None
    return Arm(name, encoder, model.readout, outcomes, Effort(**facts))
