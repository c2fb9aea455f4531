"""A student of the fine-tuned network: taught by what has not seen the fold that judges it, after kills too."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from autossl.data.truth import Classes
from autossl.finish import baselines, distilled
from autossl.finish.arms import Arm
from autossl.finish.baselines import untrained
from autossl.finish.folds import folds_of
from autossl.finish.trained import trained
from autossl.model.entrants import DISTILLED, TUNED
from autossl.targets.readouts import Classifier, Labeller, Regressor
from autossl.train import resumable
from autossl.train.resumable import Terms
from autossl.trials.context import Context, open_context
from autossl.trials.plan import Plan
from tests.processes import Killed, KilledAt
from tests.test_report import STATE, begin


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Context]:
    """A study of 150 small images before its search, and short runs on its labels."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(baselines, "LABEL_PASSES", 2)
        patch.setattr(distilled, "TIMES", 1)
        patch.setattr(distilled, "MOST", 3)
        state = {**STATE, "costs": {"supervised": 1e-3}}
        yield open_context(begin(tmp_path_factory.mktemp("distilled") / "run", state))


@pytest.fixture(scope="module")
def teacher(context: Context) -> Arm:
    folds = folds_of(context)
    return trained(context, TUNED, lambda: untrained(context), folds, Terms(), probed=True, teaches=True)[0]


def test_soft_answers_are_of_networks_that_have_not_seen_the_fold(context: Context, teacher: Arm) -> None:
    folds, pool = folds_of(context), context.final_pool.rows
    assert len(teacher.soft) == len(folds.judged) + 1
    labels = context.data.truth.strata.copy()
    held = folds.rows[folds.parts(folds.judged[0])[1]]
    labels[held] = (labels[held] + 1) % (labels.max() + 1)
    changed = replace(context, data=replace(context.data, truth=Classes(labels, context.data.truth.names)))
    again = trained(changed, TUNED, lambda: untrained(context), folds, Terms(), probed=True, teaches=True)[0]
    np.testing.assert_array_equal(again.soft[0], teacher.soft[0])
    assert not np.array_equal(again.soft[1], teacher.soft[1])
    assert teacher.soft[0].shape == (len(pool), labels.max() + 1)


def test_a_student_is_judged_on_all_folds_and_the_same_after_a_kill(
    context: Context, teacher: Arm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"EVERY": 0.0, "LAST": 0.0, "SHARE": 1e9}.items():
        monkeypatch.setattr(resumable, name, value)
    asked = KilledAt(None)

    def made(kill_at: int | None, stem: str) -> list[Arm]:
        nonlocal asked
        asked = KilledAt(kill_at)
        terms = Terms(1e6, 9e5, asked, tmp_path / f"{stem}.pt")
        return distilled.distilled(context, lambda: untrained(context), folds_of(context), terms, teacher)

    (whole,) = made(None, "whole")
    with pytest.raises(Killed):
        made(asked.steps // 2, "killed")
    (again,) = made(None, "killed")
    assert whole.name == DISTILLED
    assert whole.outcomes is not None
    assert again.outcomes is not None
    assert whole.outcomes.n == len(folds_of(context).rows)
    np.testing.assert_array_equal(whole.outcomes.columns["scores"], again.outcomes.columns["scores"])
    state = again.encoder.state_dict()
    assert all(torch.equal(value, state[key]) for key, value in whole.encoder.state_dict().items())


def test_a_student_that_sees_too_little_is_left_out(context: Context, teacher: Arm) -> None:
    folds = folds_of(context)
    assert distilled.distilled(context, lambda: untrained(context), folds, Terms(0.5), teacher) == []


def test_students_are_for_long_studies_with_many_images(context: Context) -> None:
    folds = folds_of(context)
    seconds = distilled.needed(context, folds) / distilled.PART

    def planned(limit: float | None, finetune: float) -> Context:
        other = replace(context)
        other.__dict__["plan"] = Plan((64,), (), (), (), None, limit=limit, finetune_seconds=finetune)
        return other

    assert distilled.wanted(planned(1200.0, 1.01 * seconds), folds)
    assert not distilled.wanted(planned(1200.0, 0.99 * seconds), folds)
    assert distilled.asked_for(planned(1200.0, 0.0), folds)
    for limit in (1199.0, None):
        assert not distilled.asked_for(planned(limit, 2 * seconds), folds)
    assert not distilled.asked_for(planned(1200.0, 2 * seconds), replace(folds, judged=()))


def test_what_a_student_loses_is_least_at_the_answers_of_its_teacher() -> None:
    taught = torch.randn(6, 3, generator=torch.Generator().manual_seed(0))
    for readout in (Classifier(4, 3), Regressor(4, 3), Labeller(4, 3)):
        raw = taught.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(readout.learn(raw, taught), raw)
        assert gradient.abs().max() < 1e-6
        assert readout.learn(taught + 1e-1 * F.one_hot(torch.arange(6) % 3, 3), taught) > readout.learn(taught, taught)
