"""What is trained of given weights: frozen layers keep every bit, adapters become the network's own weights."""

import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import load_file
from torch import Tensor

from autossl.errors import UserError
from autossl.finish.baselines import BOLDER, Setting, fit, settings_of
from autossl.finish.written import write
from autossl.nn.encoder import Encoder
from autossl.nn.weights import keep_weights
from autossl.run.outset import needed
from autossl.train.loop import Run, resume, save, train
from autossl.train.partial import ALL, LAST, LORA, offered, restrict, whole
from autossl.train.rates import usual_decay
from autossl.train.resumable import Terms
from autossl.trials.context import PROBE, Context
from autossl.trials.costs import Costs
from autossl.trials.fitted import GENTLE, in_parts, late_from, offering
from autossl.trials.segments import new_run
from autossl.trials.sizing import Method, order
from autossl.trials.space import MethodSpace, Range, Space
from autossl.trials.starts import Start, plainest
from studies.opened import first_prior, opened
from tests.test_starts import shades

VIT: dict[str, Any] = {"img_size": 16, "patch_size": 4}
EVA: dict[str, Any] = {"img_size": 16, "patch_size": 4, "depth": 3, "embed_dim": 48, "num_heads": 4}
KINDS = {"test_vit": (LAST, ALL, LORA), "test_resnet": (ALL, LAST)}


def state_of(encoder: Encoder) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in encoder.backbone.state_dict().items()}


def same(a: Mapping[str, Tensor], b: Mapping[str, Tensor]) -> set[str]:
    """Names of the tensors that are equal, bit for bit."""
    return {name for name in a if name in b and torch.equal(a[name], b[name])}


@pytest.fixture(scope="module", params=list(KINDS))
def context(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Context:
    """A study of small images whose candidates begin from weights of a transformer, or of a convolutional network."""
    tmp, name = tmp_path_factory.mktemp(request.param), str(request.param)
    torch.manual_seed(3)
    given = Encoder(name, 1, 16, model_args=VIT if name == "test_vit" else {})
    with torch.no_grad():  # statistics that no image of the study has
        for _ in range(3):
            given.train()(torch.randn(8, 1, 16, 16) * 3 + 1)
    torch.save(given.backbone.state_dict(), tmp / "mine.pt")
    settings = {"backbone": name, "weights": (str(tmp / "mine.pt"),), "start": "weights"}
    context = opened(str(shades(tmp / "shades.npz")), tmp / "run", 160, **settings)
    keep_weights(context.config.given[0]["file"], context.folder.weights(0))
    plain = replace(plainest(context.config, 0), model_args=given.model_args)
    begins = replace(plain, trained=offered(given), layer_decay=usual_decay(given))
    facts = {"given": begins.to_dict(), "trains": begins.to_dict(), "ways": [], "begins": True}
    context.remember(starts=facts, costs={"supervised": 0.1})
    return context


def candidate(context: Context, part: str, method: str = "byol") -> Run:
    return new_run(context, 0, method, {**first_prior(context, method), "batch_size": 16, "trained": part})


def trained(run: Run, images: int = 96) -> Run:
    assert next(train(run, [images]))
    return run


@pytest.mark.parametrize(
    ("name", "arguments", "first", "before"),
    [
        ("test_resnet", {}, "layer4.", "layer3."),
        ("test_convnext", {}, "stages.3.", "stages.2."),
        ("tf_efficientnet_lite0", {}, "blocks.6.", "blocks.5."),
        ("test_vit", VIT, "blocks.4.", "blocks.3."),
        ("vit_small_patch16_dinov3", EVA, "blocks.1.", "blocks.0."),
        ("resnet10_half_3d", {}, "layer4.", "layer3."),
    ],
)
def test_the_last_layers_are_a_stage_or_two_blocks_and_what_follows(
    name: str, arguments: dict[str, Any], first: str, before: str
) -> None:
    encoder = Encoder(name, 1, arguments.get("img_size", 32), model_args=arguments)
    restrict(encoder, LAST)
    names = [name for name, p in encoder.backbone.named_parameters() if p.requires_grad]
    assert any(name.startswith(first) for name in names)
    assert not any(name.startswith(before) for name in names)
    everything = list(dict(encoder.backbone.named_parameters()))
    assert names == everything[len(everything) - len(names) :]
    encoder.train()
    assert not any(part.training for part in encoder.frozen)


def test_what_is_offered_suits_the_network(monkeypatch: pytest.MonkeyPatch) -> None:
    dinov3 = Encoder("vit_small_patch16_dinov3", 1, 16, model_args=EVA)
    past = Encoder("vit_small_patch16_dinov3_qkvb", 1, 16, model_args=EVA)  # reads the weights of qkv by itself
    assert offered(dinov3) == (LAST, ALL, LORA)
    assert offered(past) == (LAST, ALL)
    for other in (past, Encoder("test_resnet", 1, 16)):
        with pytest.raises(UserError, match=r"a plain transformer was wanted for adapters .*; train all or last"):
            restrict(other, LORA)
    monkeypatch.setitem(sys.modules, "peft", None)
    assert offered(dinov3) == (LAST, ALL)
    with pytest.raises(UserError, match=r"pip install 'autossl-imaging\[lora\]'"):
        restrict(dinov3, LORA)


@pytest.mark.parametrize(
    ("name", "arguments"), [("vit_tiny_3d", {"img_size": 16, "patch_size": 8}), ("vit_small_patch16_dinov3", EVA)]
)
def test_adapters_of_other_transformers_learn_and_are_merged(name: str, arguments: dict[str, Any]) -> None:
    encoder = Encoder(name, 1, 16, model_args=arguments).eval()
    images, names = torch.randn(2, 1, *encoder.size), list(encoder.backbone.state_dict())
    restrict(encoder, LORA)
    encoder(images).square().sum().backward()
    added = {name: p for name, p in encoder.backbone.named_parameters() if p.requires_grad}
    assert len(added) == 2 * 4 * sum(name.endswith("qkv.base_layer.weight") for name in encoder.backbone.state_dict())
    with torch.no_grad():
        for name, p in added.items():
            if "lora_B" in name:
                assert p.grad is not None
                assert p.grad.abs().sum() > 0, name
                p.copy_(0.05 * torch.randn_like(p))
        apart = encoder(images)
        torch.testing.assert_close(whole(encoder)(images), apart, rtol=1e-4, atol=1e-5)
    assert list(encoder.backbone.state_dict()) == names


def test_frozen_layers_keep_every_bit_and_the_rest_moves(context: Context) -> None:
    assert context.begins.trained == KINDS[context.config.given[0]["backbone"]]
    was = state_of(context.encoder(context.begins, 0))
    for part in context.begins.trained:
        run = candidate(context, part)
        with torch.no_grad():
            images = context.plain.standardise(context.probe_pool.images_at(np.arange(4)))
            first = run.method.encoder.eval()(images)
            assert torch.equal(first, context.encoder(context.begins, 0).eval()(images))
        moving = {name.replace("backbone.", "") for name, p in run.method.encoder.named_parameters() if p.requires_grad}
        averaged = context.averaged(trained(run))
        now = state_of(averaged)
        assert list(now) == list(was)
        kept = same(was, now)
        if part == ALL:
            assert not kept & moving
        elif part == LAST:
            assert kept == {name for name in was if not _behind(name, moving)}
        else:
            layers = {name.partition(".lora_")[0] + ".weight" for name in moving}
            assert kept == set(was) - layers
        assert all(p.requires_grad for p in averaged.parameters())
        assert averaged.frozen == []


def _behind(name: str, moving: set[str]) -> bool:
    """Whether a tensor is trained, or a statistic of a norm that is."""
    return name in moving or f"{name.rpartition('.')[0]}.weight" in moving


@pytest.mark.parametrize("context", ["test_vit"], indirect=True)
def test_adapters_are_merged_into_a_network_that_timm_loads(context: Context, tmp_path: Path) -> None:
    run = trained(candidate(context, LORA))
    images = context.plain.standardise(context.probe_pool.images_at(np.arange(6)))
    run.mean = []
    with torch.no_grad():
        apart = run.method.encoder.eval()(images)
        merged = context.averaged(run).eval()
        torch.testing.assert_close(merged(images), apart, rtol=1e-5, atol=1e-5)
        assert not torch.allclose(apart, context.encoder(context.begins, 0).eval()(images), atol=1e-3)
        write(context, merged, tmp_path / "out", {"candidate": 0}, start=context.begins)
        plain = timm.create_model("test_vit", in_chans=1, num_classes=0, **VIT).eval()
        plain.load_state_dict(load_file(tmp_path / "out" / "model.safetensors"))
        torch.testing.assert_close(plain(images), merged(images), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("context", ["test_vit"], indirect=True)
def test_a_candidate_with_adapters_goes_on_from_its_checkpoint(context: Context, tmp_path: Path) -> None:
    once, twice = (candidate(context, LORA) for _ in range(2))
    save(trained(twice, 48), tmp_path / "half.pt")
    again = candidate(context, LORA)
    resume(again, tmp_path / "half.pt")
    states = [trained(run).method.state_dict() for run in (once, again)]
    assert same(*states) == set(states[0])


def test_labels_train_what_a_setting_says(context: Context) -> None:
    tried = sorted(settings_of(context, context.begins))
    wanted = BOLDER if LORA in context.begins.trained else (ALL, ALL, ALL)
    assert tuple(setting.trained for setting in tried) == wanted
    assert {setting.trained for setting in settings_of(context)} == {ALL}
    rows, was = context.rows(PROBE, labelled=True), state_of(context.encoder(context.begins, 0))
    head = context.judged.probe(context.see(context.encoder(context.begins, 0), rows), context.truth(rows), rows)
    for part in set(context.begins.trained) - {ALL}:
        setting = Setting(1e-3, 0.7, 0.1, part)
        found = fit(context, rows, context.encoder(context.begins, 0), setting, Terms(), head, 2)
        assert found is not None
        kept = same(was, state_of(found.encoder))
        assert {"patch_embed.proj.weight", "conv1.0.weight"} & kept
        assert set(was) - kept
        assert found.encoder.frozen == []


def test_the_space_has_what_training_on_needs_from_given_weights_alone(context: Context) -> None:
    table, begins = context.space["simclr"], context.begins
    assert table.searched["trained"] == begins.trained
    assert [prior["trained"] for prior in table.priors] == [begins.trained[at % len(begins.trained)] for at in range(3)]
    assert table.fixed.get("layer_decay", 1.0) == begins.layer_decay
    state = context.state("starts")
    context.remember(starts={**state, "begins": False})
    random = context.space["simclr"]
    assert "trained" not in random.searched
    assert "layer_decay" not in random.fixed
    assert all("trained" not in prior for prior in random.priors)
    assert table.priors[0]["lr"] == pytest.approx(GENTLE * random.priors[0]["lr"])
    context.remember(starts=state)


def test_a_space_of_ones_own_keeps_what_the_network_offers() -> None:
    lr: dict[str, Any] = {"lr": Range(1e-4, 1e-3)}
    priors = ({"lr": 1e-3, "trained": LORA}, {"lr": 1e-4, "trained": LAST})
    space: Space = {
        "searched": MethodSpace({**lr, "trained": (LORA, LAST)}, {}, priors),
        "fixed": MethodSpace(lr, {"trained": LORA}, ({"lr": 1e-3},)),
    }
    assert in_parts(space, (LAST, ALL)) == space
    assert offering(space, (LAST, LORA, ALL)) == space
    found = offering(space, (ALL, LAST))
    assert (found["searched"].searched["trained"], found["searched"].priors) == ((LAST,), priors[1:])
    assert found["fixed"].fixed == {}
    at_random = offering(space, ())
    assert at_random["searched"] == MethodSpace(lr, {}, ({"lr": 1e-3}, {"lr": 1e-4}))


def test_masked_reconstruction_comes_last_from_weights_that_were_not_masked(context: Context) -> None:
    late = late_from({"objective": "distillation"})
    assert "mae" in late
    assert late_from({}) == late
    assert late_from(None) == late_from({"objective": "masked"}) == frozenset()
    table = needed(context, Costs()).methods
    names = [row.name for row in table]
    tried = [name for name in context.config.methods if name in late]
    assert names == [*(name for name in context.config.methods if name not in late), *tried]
    for short in (None, 4):
        assert order(table, short)[0] not in late
    cheap = [Method("mae", "generative", 1, 0.5, True), Method("simclr", "contrastive"), Method("dcl", "contrastive")]
    assert order(cheap) == ("simclr", "mae", "dcl")
    assert order(cheap, 2) == ("simclr", "mae")
    assert Start.from_dict(context.begins.to_dict()) == context.begins
