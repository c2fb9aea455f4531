"""Arms that are trained on labels: kept as folders when they are whole, and read again after a kill."""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

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

RAWS = " raw"  # after the name of an arm's file, of its raw answers

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
    for word, raws in (("", [raw.astype(np.float32) for raw in arm.soft]), (RAWS, arm.raws)):
        if raws:
            _keep(_beside(context.folder, name, word), raws)
    return facts


def _keep(path: Path, raws: Sequence[NDArray[Any]]) -> None:
    held: dict[str, Any] = {str(number): raw for number, raw in enumerate(raws)}
    replace_file(path, lambda file: np.savez(file, allow_pickle=False, **held))


def folder_of(folder: Folder, name: str) -> Path:
    """Where an arm that was trained on labels is exported to."""
    return folder.root / ("baselines" if ENTRANTS[name].role == "control" else "arms") / _stem(name)


def outcomes_of(folder: Folder, name: str) -> Path:
    """Where its outcomes on the folds are."""
    return folder.artifacts / f"{_stem(name)}.npz"


def _beside(folder: Folder, name: str, word: str = "") -> Path:
    """Where its soft answers, or its raw ones, are until the study ends."""
    return folder.checkpoints / f"{_stem(name)}{word}.npz"


def _answers(path: Path) -> tuple[NDArray[Any], ...]:
    """Those in this file, if there is one."""
    if not path.is_file():
        return ()
    with np.load(path, allow_pickle=False) as stored:
        return tuple(stored[str(number)] for number in range(len(stored.files)))


def _stem(name: str) -> str:
    """A name for files: winner-tuned, winner-soup."""
    return name.replace(", fine-", "-").replace(", ", "-")


def _read(steps: Steps, name: str, facts: dict[str, Any]) -> Arm:
    context = steps.context
    encoder, model = read_again(context, folder_of(context.folder, name), name)
    assert model.readout is not None
    with np.load(outcomes_of(context.folder, name), allow_pickle=False) as stored:
        outcomes = Outcomes.loaded(dict(stored)) if stored.files else None
    soft, raws = (_answers(_beside(context.folder, name, word)) for word in ("", RAWS))
    return Arm(name, encoder, model.readout, outcomes, Effort(**facts), soft=soft, raws=raws)
