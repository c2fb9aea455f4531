"""Rotation: tell by which right angle an image was turned."""

from typing import ClassVar

import torch
from torch import Tensor, nn

from autossl.encoder import Encoder
from autossl.pretext.base import Pretext
from autossl.views import Views

TURNS = 4
RADIUS = 0.94  # of the disc, in halves of the side: where it touched them, lines along the edges gave the angle away


class Rotation(Pretext):
    """Gidaris et al. 2018: four-way classification of right-angle turns.

    Only a disc of the image is shown, so that neither corners, edges of a collimator nor burned-in text give the angle
    away.
    """

    paradigm: ClassVar[str] = "non-contrastive and predictive"
    passes: ClassVar[float] = 1.0
    paper: ClassVar[str] = "Gidaris et al. 2018, arXiv 1803.07728"
    needs: ClassVar[frozenset[str]] = frozenset({"orientation"})

    def __init__(self, encoder: Encoder, views: Views) -> None:
        super().__init__(encoder, views)
        self.head = nn.Linear(encoder.dim, TURNS)

    def loss(self, images: Tensor, groups: Tensor | None = None) -> Tensor:
        x = in_disc(self.views(images, self.generator))
        first = int(torch.randint(TURNS, (), generator=self.generator, device=self.generator.device))
        turned, turns = turn(x, first)
        return self.answered(self.head(self.encoder(turned)), turns)


def turn(x: Tensor, first: int) -> tuple[Tensor, Tensor]:
    """Square images (b, c, s, s) turned by `first`, `first` + 1, ... right angles in turn, and those angles (b,).

    A batch is in random order, so taking the angles in turn is as random and keeps the classes balanced.
    """
    turned = torch.empty_like(x)
    for place in range(TURNS):
        turned[place::TURNS] = torch.rot90(x[place::TURNS], first + place, (2, 3))
    return turned, (torch.arange(len(x), device=x.device) + first) % TURNS


def in_disc(x: Tensor) -> Tensor:
    """The middle square of standardised images with everything outside a disc within it set to the mean, 0."""
    h, w = x.shape[2:]
    side = min(h, w)
    top, left = (h - side) // 2, (w - side) // 2
    place = (torch.arange(side, device=x.device) * 2 + 1) / side - 1
    inside = place[:, None].square() + place.square() <= RADIUS**2
    return x[:, :, top : top + side, left : left + side] * inside
