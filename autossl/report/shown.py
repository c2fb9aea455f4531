"""What a method shows its encoder: a few images of a study beside their views."""

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from autossl.nn.encoder import Encoder
from autossl.pretext.batch import Batch
from autossl.trials.context import PROBE, Context
from autossl.trials.fitted import TRAINED
from autossl.trials.space import build

IMAGES = 6
VIEWS = 5  # of each image


def shown(context: Context, method: str, hyperparameters: dict[str, Any]) -> list[NDArray[np.float32]]:
    """Columns of images (n, c, *space) in [0, 1]: a few of the probe part, then what the method makes of each."""
    rows = context.rows(PROBE)
    rows = np.sort(np.random.default_rng(context.seed).permutation(rows)[:IMAGES])
    images = context.pool(rows).images_at(np.arange(len(rows))).cpu()
    mean, std = (torch.tensor(v).view(-1, *[1] * context.data.dims) for v in (context.data.mean, context.data.std))
    columns = [images]
    for seen in _views(context, method, hyperparameters, images):
        if seen.shape[-1] == images.shape[-1]:
            columns += torch.split(seen * std + mean, len(rows))
        else:  # tiles, image by image, each standardised by itself
            columns += (0.5 + seen / 5).view(len(rows), -1, *seen.shape[1:]).unbind(1)
    return [column.numpy() for column in columns[: 1 + VIEWS]]


def _views(context: Context, method: str, hyperparameters: dict[str, Any], images: Tensor) -> list[Tensor]:
    """What the encoder is shown for these images, several times over."""
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        encoder = context.encoder(replace(context.begins, place=None), 0)
        encoder.low_precision = False  # a report is drawn on a CPU, which may have no bf16
        told = {name: value for name, value in hyperparameters.items() if name != TRAINED}  # it changes no view
        pretext, _ = build(method, told, encoder, context.preset, context.data.mean, context.data.std)
        seen = watched(encoder)
        for number in range(VIEWS):
            pretext.generator = torch.Generator().manual_seed(number)
            pretext.loss(Batch(images))
            if sum(map(len, seen)) >= VIEWS * len(images):
                break
    return seen


def watched(encoder: Encoder) -> list[Tensor]:
    """A list that takes in what the encoder is shown from now on, call by call; sizes that it tries are left out."""
    seen: list[Tensor] = []

    def note(layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        if layer.training:  # what is tried is tried in evaluation
            seen.append(inputs[0].detach())

    encoder.intake.register_forward_pre_hook(note)
    return seen
