"""Rates that fall from the last layer to the first: timm's own numbers, stages of MONAI's networks, the trainer."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from timm.optim._param_groups import param_groups_layer_decay

from autossl.nn.encoder import Encoder
from autossl.pretext import METHODS
from autossl.train.loop import Run, Settings, train
from autossl.train.pool import Pool
from autossl.train.rates import layers_of, shares, usual_decay
from autossl.views.images import Views
from autossl.views.presets import preset


def made(name: str, channels: int = 1, size: int = 32, **arguments: Any) -> Encoder:
    return Encoder(name, channels, size, model_args=arguments)


def run(**settings: Any) -> Run:
    images = np.random.default_rng(0).integers(0, 256, (40, 16, 16, 1), dtype=np.uint8)
    encoder = made("test_resnet", size=16, output_stride=8)
    method = METHODS["rotation"](encoder, Views(preset("grey", 1), (0.5,), (0.25,)))
    pool = Pool(images, np.arange(40), 255.0, torch.device("cpu"))
    return Run(method, Settings(1e-3, 0.0, 10, **settings), pool, 0, 0, 400, rise=0.05)


def test_shares_of_images_are_those_of_timm() -> None:
    encoder = made("test_vit", 3, 160)
    own = shares(encoder, 0.6)
    for group in param_groups_layer_decay(encoder.backbone, layer_decay=0.6):
        assert all(own[p] == pytest.approx(group["lr_scale"]) for p in group["params"])
    assert max(own.values()) == 1


@pytest.mark.parametrize(
    ("name", "layers", "first", "last"),
    [
        ("resnet10_half_3d", 5, "conv1.weight", "layer4.0.conv2.weight"),
        ("segresnet_3d", 5, "conv_init.weight", "layers.3.blocks.0.conv1.weight"),
        ("vit_tiny_3d", 13, "patch_embedding.position_embeddings", "norm.weight"),
        ("swin_unetr_small", 5, "patch_embed.proj.weight", "layers4.0.blocks.0.norm1.weight"),
    ],
)
def test_shares_of_volumes_go_by_stages(name: str, layers: int, first: str, last: str) -> None:
    encoder = made(name, **({"patch_size": 8} if name.startswith("vit") else {}))
    found = layers_of(encoder)
    assert set(found.values()) == set(range(layers))
    assert (found[first], found[last]) == (0, layers - 1)
    named = dict(encoder.backbone.named_parameters())
    assert shares(encoder, 0.5)[named[first]] == 0.5 ** (layers - 1)


def test_only_networks_with_layer_norms_are_slowed_down_by_default() -> None:
    assert usual_decay(made("test_vit", 3, 160)) == usual_decay(made("test_convnext")) == 0.75
    assert usual_decay(made("test_resnet")) == usual_decay(made("resnet10_half_3d")) == 1


def test_the_trainer_gives_each_layer_its_share_and_heads_the_whole_rate() -> None:
    slow = run(layer_decay=0.5)
    next(train(slow, [40], anneal=lambda seen: seen / 400))
    found = {p: group["lr"] for group in slow.optimizer.param_groups for p in group["params"]}
    own = shares(slow.method.encoder, 0.5)
    whole = max(found.values())
    assert len(set(found.values())) > 2
    for p in slow.method.parameters():
        assert found[p] == pytest.approx(whole * own.get(p, 1.0))
    assert {group["lr"] for group in run().optimizer.param_groups} == {1e-3}


def test_the_rate_rises_in_the_first_twentieth_and_falls_afterwards() -> None:
    training, rates = run(), []
    for rung in range(10, 410, 10):
        next(train(training, [rung], anneal=lambda seen: seen / 400))
        rates.append(training.optimizer.param_groups[0]["lr"])
    share = [rate / 1e-3 / (0.5 * (1 + math.cos(math.pi * at / 40))) for at, rate in enumerate(rates)]
    assert share == pytest.approx([0.5] + 39 * [1.0])
