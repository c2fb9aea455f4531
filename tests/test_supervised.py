"""Training on labels: its recipe, and what it delivers: averaged, settled, the same when it is read again."""

import copy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim.optimizer import register_optimizer_step_post_hook

from autossl.data.truth import Truth
from autossl.finish import baselines
from autossl.finish.baselines import SEARCHED, fit, settings_of, untrained
from autossl.finish.written import read_again, write
from autossl.nn.encoder import Encoder
from autossl.targets import Readout
from autossl.targets.readouts import READOUTS, Classifier
from autossl.train.loop import AVERAGED, resume, save, settle_norms
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


def test_labels_are_smoothed_in_training_over_the_classes_that_are_there() -> None:
    raw, truth = torch.randn(20, 4, generator=torch.Generator().manual_seed(0)), torch.arange(20) % 3
    readout = Classifier(5, 4)
    readout.balance(np.repeat([0, 1, 2], [10, 5, 5]))
    plain = F.cross_entropy(raw, truth, weight=readout.class_weights)
    assert torch.allclose(readout.eval().loss(raw, truth), plain)
    wanted = 0.9 * F.one_hot(truth, 4) + 0.1 * torch.tensor([1 / 3, 1 / 3, 1 / 3, 0])
    each = -(wanted * raw.log_softmax(1)).sum(1)
    weights = readout.class_weights[truth]
    assert torch.allclose(readout.train().loss(raw, truth), (weights * each).sum() / weights.sum())


def test_jitter_is_in_units_of_the_modality(context: Context) -> None:
    for modality, jitters in {"xray": [0.5, 0.25, 1.0], "microscopy": [0.2, 0.1, 0.4]}.items():
        other = replace(context, config=replace(context.config, modality=modality))
        assert [setting.jitter for setting in settings_of(other)] == jitters


def test_what_is_delivered_is_settled_in_fp32_on_every_image_outside_the_test(context: Context) -> None:
    rows = context.rows(PROBE, SELECTION, labelled=True)
    low = replace(context, config=replace(context.config, precision="bf16"))
    start = untrained(low)
    found = fit(low, rows[:40], start, settings_of(low)[0], Terms())
    assert found is not None
    assert found.encoder.low_precision  # it may be trained on
    again = copy.deepcopy(found.encoder)
    again.low_precision = False
    settle_norms(again, context.final_pool, context.plain.standardise)
    state = found.encoder.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in again.state_dict().items())


def test_a_network_of_another_architecture_is_fitted_and_read_again(context: Context, tmp_path: Path) -> None:
    rows = context.rows(PROBE, SELECTION, labelled=True)
    size = context.config.image_size
    other = Encoder("test_vit", context.channels, size, model_args={"img_size": size, "patch_size": size // 4})
    probe = context.judged.probe(context.see(other, rows), context.truth(rows), context.groups(rows))
    found = fit(context, rows, other, settings_of(context)[0], Terms(), probe)
    assert found is not None
    write(context, found.encoder, tmp_path / "other", {}, found.head)
    encoder, model = read_again(context, tmp_path / "other")
    assert encoder.name == "test_vit"
    for one, again in ((found.encoder, encoder), (found.head, model.readout)):
        assert again is not None
        state = again.state_dict()
        assert all(torch.equal(value, state[name]) for name, value in one.state_dict().items())
    np.testing.assert_array_equal(context.embed(encoder, rows[:8]), context.embed(found.encoder, rows[:8]))


@pytest.mark.parametrize("name", READOUTS)
def test_no_readout_has_batch_norms_for_nothing_settles_them(name: str) -> None:
    own = {"Segmenter": ([8, 4], 3, 1), "Detector": ([8, 4], 3, 2), "Restorer": ([8, 4], 3, 2), "Retriever": (4, 3, 2)}
    made = READOUTS[name](*own.get(name, (4, 3)))
    assert not any(isinstance(part, nn.modules.batchnorm._BatchNorm) for part in made.modules())
