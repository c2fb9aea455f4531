"""What every pretext method is: a module that turns plain images into a loss."""

import math
from abc import ABC, abstractmethod
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from autossl.nn.encoder import Encoder
from autossl.nn.heads import Decoder
from autossl.pretext.batch import Batch
from autossl.views.images import Views


class Pretext(nn.Module, ABC):
    """A pretext task on an encoder. Subclasses are final; their keyword arguments are their hyperparameters.

    Class attributes describe a method to the search: its paradigm, the dimensions of image it takes, its cost in
    encoder passes (forward and backward) for each image, its paper, and what it needs of the images ("orientation",
    "colour", "order", "patients", "stain") and of the encoder ("patch tokens", "dense map", "convolutions", "mean
    pooling": see `offers`). Everything that has to survive a checkpoint is a parameter or a buffer; all randomness of a
    step comes from `generator`, which the trainer seeds before each step. The trainer also sets `population`, the
    number of images trained on, which bounds what a method may remember of them.

    Where a task has right answers, `accuracy` is the share of them in the last loss, and None elsewhere: a task that is
    solved at once has a shortcut (`autossl.train.shortcut`).
    """

    paradigm: ClassVar[str]
    dims: ClassVar[frozenset[int]] = frozenset({2})
    passes: ClassVar[float]
    paper: ClassVar[str]
    needs: ClassVar[frozenset[str]] = frozenset()
    parts: ClassVar[tuple[str, ...]] = ()  # keyword arguments that name other methods, whose needs come on top
    of_volumes: ClassVar[frozenset[str]] = frozenset()  # keyword arguments without effect on images
    paired: bool = False  # whether images of a patient should lie side by side in a batch

    def __init__(self, encoder: Encoder, views: Views) -> None:
        super().__init__()
        self.encoder, self.views = encoder, views
        self.generator = torch.Generator().manual_seed(0)
        self.population: int | None = None
        self.accuracy: Tensor | None = None

    @property
    def delivered(self) -> tuple[nn.Module, ...]:
        """What outlives the training: its weights are averaged at the end."""
        return (self.encoder,)

    @abstractmethod
    def loss(self, batch: Batch) -> Tensor:
        """Scalar loss of a batch of images."""

    def answered(self, answers: Tensor, right: Tensor, asked: Tensor | None = None) -> Tensor:
        """Cross-entropy of answers (b, k) with the right ones (b,); keeps the share of right answers.

        Only what is `asked` (b,) counts, if that is given; where nothing is, the loss and the share are 0.
        """
        weight = torch.ones_like(right) if asked is None else asked
        weight = weight / weight.sum().clamp_min(1)
        self.accuracy = (weight * (answers.detach().argmax(1) == right)).sum()
        return (weight * F.cross_entropy(answers, right, reduction="none")).sum()

    def after_step(self, progress: float) -> None:
        """Move averages and schedules on; `progress` in [0, 1] leads to the top rung, then through the final one."""


def image_decoder(
    encoder: Encoder, *, width: int, skips: bool, channels: int | None = None, told: bool = True
) -> Decoder:
    """A decoder from what the encoder saw back to its input size, and to its channels unless others are asked for.

    `width` is that for images; volumes have many more cells at the finest map and get half of it. It is `told` the
    pooled embedding where that is more than the mean of the coarsest map.
    """
    training, device = encoder.training, next(encoder.parameters()).device
    with torch.no_grad():
        blank = torch.zeros(1, encoder.channels, *encoder.size, device=device)
        finest = encoder.eval().pyramid(blank)[0].shape[-1]
    encoder.train(training)
    factor = math.ceil(encoder.image_size / finest)
    return Decoder(
        encoder.pyramid_channels,
        channels or encoder.channels,
        factor,
        width=width if encoder.dims == 2 else max(width // 2, 1),
        skips=skips,
        dims=encoder.dims,
        told=encoder.dim if told and not encoder.mean_pooled else None,
    )


def lend(encoder: Encoder, part: Pretext) -> Pretext:
    """The part of a method, without its own claim to their common encoder.

    As a submodule of its parts too, the encoder would stand several times in a state dict.
    """
    del part._modules["encoder"]
    object.__setattr__(part, "encoder", encoder)
    return part
