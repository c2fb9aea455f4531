"""What TPE draws, shown one trial for each candidate: its highest rung."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import optuna
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial, TrialState

from autossl.trials.space import Space, suggest

SEEN = (TrialState.RUNNING, TrialState.PRUNED, TrialState.COMPLETE)


def drawn(
    trials: Sequence[FrozenTrial], space: Space, sampler: BaseSampler, known: Mapping[str, Any] = MappingProxyType({})
) -> dict[str, Any]:
    """Parameters of a new candidate, as Optuna stores them; what is `known` of them stays.

    Shown every segment, TPE counts a candidate that was promoted twice once among the good and twice among the bad,
    and so avoids what did best.
    """
    shown = optuna.create_study(direction="maximize", sampler=sampler)
    shown.add_trials(highest(trials))
    shown.enqueue_trial(dict(known))
    trial = shown.ask()
    suggest(trial, space)
    return dict(trial.params)


def highest(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """One trial for each candidate in their order: of the highest rung that was scored, else the one that runs."""
    found: dict[int, FrozenTrial] = {}
    for trial in sorted(trials, key=lambda t: (t.state != TrialState.RUNNING, t.user_attrs.get("rung", 0), t.number)):
        if trial.state in SEEN and "candidate" in trial.user_attrs:
            found[trial.user_attrs["candidate"]] = trial
    return [found[candidate] for candidate in sorted(found)]
