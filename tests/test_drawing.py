"""What TPE draws of methods when it is shown one trial for each candidate."""

from collections import Counter
from collections.abc import Sequence

import optuna
import pytest
from optuna.distributions import CategoricalDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from autossl.record.entries import METHOD
from autossl.record.journal import sampler
from autossl.trials.drawing import drawn, highest
from autossl.trials.space import MethodSpace, Range

METHODS = (
    "simclr", "dcl", "swav", "vicreg", "nnclr", "byol", "barlow", "moco", "mocov3", "ressl", "cnn_mae", "denoising",
    "inpainting", "spark", "simmim", "hybrid", "dino", "lejepa", "wmse", "jigsaw", "genesis",
)  # fmt: skip
SPACE = {name: MethodSpace({"lr": Range(1e-4, 1e-2, log=True)}, {"batch_size": 64}, ()) for name in METHODS}
GOOD, BROKE = METHODS[:4], METHODS[-2:]  # were promoted twice; broke down, of which Optuna shows TPE nothing


def trial(candidate: int, method: str, rung: int, state: TrialState, score: float) -> FrozenTrial:
    """A segment as the worker leaves it."""
    made = create_trial(
        state=state,
        value=score if state == TrialState.COMPLETE else None,
        params={METHOD: method},
        distributions={METHOD: CategoricalDistribution(METHODS)},
        user_attrs={"candidate": candidate, "rung": rung},
        intermediate_values={10 * 3**k: score for k in range(rung + 1)},
    )
    made.number = 100 * rung + candidate
    return made


def searched() -> list[FrozenTrial]:
    """Every method once at the first rung; some of them once at the second and the last."""
    whole = METHODS[: -len(BROKE)]
    first = [trial(at, name, 0, TrialState.PRUNED, 0.9 - 0.02 * at) for at, name in enumerate(whole)]
    second = [trial(at, name, 1, TrialState.PRUNED, 0.91 - 0.01 * at) for at, name in enumerate(GOOD)]
    return [*first, *second, *(trial(at, name, 2, TrialState.COMPLETE, 0.92) for at, name in enumerate(GOOD))]


def test_one_trial_stands_for_each_candidate() -> None:
    running = trial(1, "dcl", 2, TrialState.RUNNING, 0.0)
    found = highest([*searched()[:21], running, trial(19, "jigsaw", 0, TrialState.RUNNING, 0.0)])
    rungs = {t.user_attrs["candidate"]: t.user_attrs["rung"] for t in found}
    assert rungs == {0: 1, 1: 1, **dict.fromkeys(range(2, 20), 0)}
    failed = trial(0, "simclr", 0, TrialState.FAIL, 0.0)
    assert highest([failed]) == []


@pytest.mark.parametrize(("shown", "least", "most"), [("candidates", 0.7, 1.0), ("segments", 0.0, 0.3)])
def test_what_did_best_is_drawn_most_and_was_avoided(shown: str, least: float, most: float) -> None:
    taken = Counter(_method(searched(), shown, seed) for seed in range(60))
    share = sum(taken[name] for name in GOOD) / 60
    assert least <= share <= most, taken


def _method(trials: Sequence[FrozenTrial], shown: str, seed: int) -> str:
    if shown == "candidates":
        return str(drawn(trials, SPACE, sampler(seed))[METHOD])
    study = optuna.create_study(direction="maximize", sampler=sampler(seed))
    study.add_trials(trials)
    return str(study.ask().suggest_categorical(METHOD, METHODS))


def test_what_is_known_stays_and_the_rest_is_drawn_alike_for_the_same_seed() -> None:
    known = {METHOD: "swav"}
    found = [drawn(searched(), SPACE, sampler(3), known) for _ in range(2)]
    assert found[0] == found[1]
    assert found[0][METHOD] == "swav"
    assert 1e-4 <= found[0]["swav.lr"] <= 1e-2
