"""What shows that a method learns: after short training the embedding of a toy set beats the untrained one by ridge."""

from functools import cache
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from autossl.nn.encoder import Encoder, channels_last
from autossl.pretext import METHODS
from autossl.proxies import PENALTIES, balanced_accuracy, ridge, standardise
from autossl.views.images import Views
from autossl.views.presets import Preset, preset
from tests.pretext_toys import fitting, glyphs, gratings, quilts, stacks, stains, train

SEED = 0
# a fault leaves a gain of chance, whose standard deviation is at most .035 for 384 images judged twice; the gains are
# .08 to .3
GAIN = 0.05
NORMS = (torch.nn.BatchNorm2d, torch.nn.BatchNorm3d)
STEADY = Preset(rotate=10.0, brightness=0.2, contrast=0.2, gamma=0.1, noise=0.1, quantitative=True)


class Setting(NamedTuple):
    """The toy set made for a method's needs, and its short training."""

    toy: str
    modality: str
    steps: int = 60
    lr: float = 2e-3
    own: dict[str, Any] = {}  # noqa: RUF012
    batch: int = 64


# letters: one object, upright, in a changing place and light; waves: the hidden part follows from the visible one;
# stains: the colour follows from the direction; quilts: places within one image look different; stacks: slices
SETTINGS = {
    "simclr": Setting("letters", "xray", steps=24),
    "vicreg": Setting("letters", "xray", steps=24),
    "byol": Setting("waves", "steady", steps=12, lr=4e-3, own={"teacher_rate": 0.05}),
    "barlow": Setting("waves", "steady", steps=12, lr=4e-3),
    "rotation": Setting("letters", "xray"),
    "jigsaw": Setting("letters", "xray", lr=4e-3),
    "cnn_mae": Setting("waves", "steady", steps=30),
    "genesis": Setting("waves", "steady", steps=24),
    "denoising": Setting("waves", "steady", steps=16),
    "hybrid": Setting("letters", "xray", steps=32),
    "dcl": Setting("letters", "xray", steps=20),
    "simsiam": Setting("waves", "steady", steps=12, lr=4e-3),
    "moco": Setting("waves", "steady", steps=12, lr=4e-3),
    "mocov3": Setting("waves", "steady", steps=12, lr=4e-3),
    "nnclr": Setting("waves", "steady", steps=12, lr=4e-3),
    "swav": Setting("waves", "steady", steps=12, lr=4e-3),
    "dino": Setting("waves", "steady", steps=12, lr=4e-3, own={"teacher_rate": 0.05}),
    "lejepa": Setting("waves", "steady", steps=12, lr=4e-3),
    "wmse": Setting("waves", "steady", steps=12, lr=4e-3),
    "ressl": Setting("waves", "steady", steps=12, lr=4e-3),
    "inpainting": Setting("waves", "steady", steps=40),
    "context_restoration": Setting("waves", "steady", steps=20),
    "super_resolution": Setting("waves", "steady", steps=28),
    "autoencoder": Setting("waves", "steady", steps=24),
    "simmim": Setting("waves", "steady", steps=84, lr=4e-3),
    "colourisation": Setting("stains", "steady", steps=12),
    "densecl": Setting("letters", "xray", steps=30),
    "pixpro": Setting("waves", "steady", steps=12, lr=4e-3, own={"teacher_rate": 0.05}),
    "vicregl": Setting("letters", "xray", steps=24),
    "mae": Setting("waves", "steady", steps=24, lr=4e-3, own={"depth": 1, "width": 48}),
    "ibot": Setting(
        "letters",
        "xray",
        steps=24,
        own={"teacher_rate": 0.05, "hidden": 128, "bottleneck": 32, "prototypes": 64},
        batch=32,
    ),
    "ijepa": Setting(
        "waves", "steady", steps=12, lr=4e-3, own={"teacher_rate": 0.05, "width": 32, "depth": 1}, batch=32
    ),
    "spark": Setting("waves", "steady", steps=60, lr=6e-3),
    "patient_positives": Setting("letters", "xray", steps=20),
    "relative_location": Setting("letters", "xray", steps=110, lr=4e-3, batch=32),
    "glcl": Setting("letters", "xray", steps=16),
    "noise2void": Setting("waves", "steady", steps=12),
    "stain_separation": Setting("stains", "steady", steps=24),
    "pcrl": Setting("letters", "xray", steps=40),
    "dira": Setting("waves", "steady", steps=12, lr=4e-3),
    "voco": Setting("quilts", "steady", steps=20, lr=4e-3),
    "swin_unetr": Setting("waves", "steady", steps=16, lr=4e-3),
    "slice_order": Setting("stacks", "steady", steps=12, lr=4e-3),
    "slice_position": Setting("stacks", "steady", steps=12, lr=4e-3),
    "diet": Setting("waves", "steady", steps=24, lr=4e-3, own={"classes": 384}),
    "volume_fusion": Setting("waves", "steady", steps=24, own={"skips": False, "boxes": 6, "levels": 1}),
}
TOYS = {"letters": glyphs, "waves": gratings, "stains": stains, "quilts": quilts, "stacks": stacks}


@torch.no_grad()
def score(encoder: Encoder, images: Tensor, y: Tensor) -> float:
    """Leave-one-out ridge accuracy of the embedding at its best penalty, batch norms settled on these very images."""
    encoder.train()
    for module in encoder.modules():
        if isinstance(module, NORMS):
            module.reset_running_stats()
            module.momentum = None
    encoder(images)
    for module in encoder.modules():
        if isinstance(module, NORMS):
            module.momentum = 0.1
    z = encoder.eval()(images).numpy()
    scaled, labels, classes = standardise(z), y.numpy(), int(y.max()) + 1
    probes = [ridge(scaled, labels, classes=classes, penalties=[penalty]) for penalty in PENALTIES[::4]]
    return max(balanced_accuracy(labels, probe.scores.argmax(1)) for probe in probes)


@cache
def trained(name: str) -> tuple[float, list[float]]:
    """How much short training adds to the score, and the losses on the way."""
    setting = SETTINGS[name]
    images, y = TOYS[setting.toy](384, SEED)
    channels = images.shape[1]
    torch.manual_seed(SEED)
    encoder = fitting(name, channels)
    mean, std = (float(images.mean()),) * channels, (float(images.std()),) * channels
    chosen = STEADY if setting.modality == "steady" else preset(setting.modality, channels)
    views = Views(chosen, mean, std)
    method = METHODS[name](encoder, views, **setting.own)
    method.population = len(images)
    shown = views.standardise(images.mean(1, keepdim=True).expand_as(images))  # a colour would tell the class
    before = score(encoder, shown, y)
    channels_last(method, 2)
    losses = train(method.train(), images, steps=setting.steps, batch=setting.batch, lr=setting.lr)
    return score(encoder, shown, y) - before, losses


def assert_embedding_beats_untrained(name: str) -> None:
    """By more than GAIN."""
    assert trained(name)[0] > GAIN


def assert_loss_falls(name: str) -> None:
    """From the first steps to the last."""
    losses = trained(name)[1]
    assert np.mean(losses[-8:]) < np.mean(losses[:4])


def family(*paradigms: str) -> list[str]:
    """The methods of these paradigms on images; a file of tests for each family, so that workers share them out."""
    return [name for name, cls in METHODS.items() if cls.paradigm in paradigms and 2 in cls.dims]
