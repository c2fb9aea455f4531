"""Training on labels: what it delivers is averaged, encoder and readout alike."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.optim.optimizer import register_optimizer_step_post_hook

from autossl.data.truth import Truth
from autossl.finish import baselines
from autossl.finish.baselines import SEARCHED, fit, untrained
from autossl.nn.encoder import Encoder
from autossl.targets import Readout
from autossl.targets.readouts import READOUTS
from autossl.train.loop import AVERAGED, resume, save
from autossl.train.resumable import Terms, Training
from autossl.trials.context import PROBE, SELECTION, Context, open_context
from tests.test_report import STATE, begin


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory, short_runs_on_labels: None) -> Context:
    """A study of 150 small images before its search, and short runs on its labels."""
    return open_context(begin(tmp_path_factory.mktemp("supervised") / "run", STATE))


def test_the_readout_that_is_delivered_is_the_mean_over_the_last_steps(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(baselines, "LABEL_PASSES", 6)  # enough steps for a mean that is not the last of them
    trained, seen = list[Readout](), list[Tensor]()
    new = context.judged.readout

    def remembered(encoder: Encoder, truth: Truth) -> Readout:
        trained.append(new(encoder, truth))
        return trained[-1]

    monkeypatch.setattr(context.judged, "readout", remembered)
    watched = register_optimizer_step_post_hook(lambda *_: seen.append(next(trained[-1].parameters()).detach().clone()))
    found = fit(context, context.rows(PROBE, SELECTION, labelled=True), untrained(context), SEARCHED[0], Terms())
    watched.remove()
    assert found is not None
    mean = seen[0]
    for number, now in enumerate(seen, 1):
        mean = mean.lerp(now, min(1.0, 1 / (AVERAGED * number)))
    delivered = next(found.head.parameters())
    assert torch.allclose(delivered, mean, atol=1e-7)
    assert not torch.allclose(delivered, seen[-1], atol=1e-5)


def test_a_checkpoint_of_a_version_that_averaged_the_encoder_alone_goes_on(context: Context, tmp_path: Path) -> None:
    rows = context.rows(PROBE, labelled=True)
    old, new = (baselines._run(context, rows, untrained(context), SEARCHED[0], None) for _ in range(2))
    assert Training(old).to(old.horizon // 2, Terms(), lambda seen, _: seen / old.horizon)
    old.mean = [torch.ones_like(p) for p in old.method.encoder.parameters()]
    old.averaged = 20
    save(old, tmp_path / "run.pt")
    resume(new, tmp_path / "run.pt")
    _, readout = new.method.delivered
    assert all(torch.equal(mean, torch.ones_like(mean)) for mean in new.mean[: len(old.mean)])
    for name, value in readout.state_dict().items():
        assert torch.equal(new.average_of(readout)[name], value)
    assert Training(new).to(new.horizon, Terms(), lambda seen, _: seen / new.horizon)


@pytest.mark.parametrize("name", READOUTS)
def test_no_readout_has_batch_norms_for_nothing_settles_them(name: str) -> None:
    made = READOUTS[name](4, 3)
    assert not any(isinstance(part, nn.modules.batchnorm._BatchNorm) for part in made.modules())
