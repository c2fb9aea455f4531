"""Rotation: tell by which right angle an image was turned."""

from dataclasses import replace
from typing import ClassVar

import torch
from torch import Tensor, nn

from autossl.nn.encoder import Encoder
from autossl.pretext.base import Pretext
from autossl.pretext.batch import Batch
from autossl.views.images import Views

PLANES = {2: ((2, 3),), 3: ((2, 3), (2, 4), (3, 4))}  # axes between which an image or a volume is turned
RADIUS = 0.94  # of the disc, in halves of the side: where it touched them, lines along the edges gave the angle away


class Rotation(Pretext):
    """Gidaris et al. 2018: four-way classification of right-angle turns; of volumes ten-way, about each of three axes.

    Only a disc (a ball) is shown, so that neither corners, collimator edges nor burned-in text give the angle away; no
    view fades with depth (`unfaded`).
    """

    paradigm: ClassVar[str] = "non-contrastive and predictive"
    dims: ClassVar[frozenset[int]] = frozenset({2, 3})
    passes: ClassVar[float] = 1.0
    paper: ClassVar[str] = "Gidaris et al. 2018, arXiv 1803.07728; in 3-D Taleb et al. 2020, arXiv 2006.03829"
    needs: ClassVar[frozenset[str]] = frozenset({"orientation"})

    def __init__(self, encoder: Encoder, views: Views) -> None:
        super().__init__(encoder, views)
        self.unfaded = unfaded(views)
        self.turns = turns(encoder.dims)
        self.head = nn.Linear(encoder.dim, len(self.turns))

    def loss(self, batch: Batch) -> Tensor:
        x = in_ball(self.unfaded(batch.images, self.generator))
        first = int(torch.randint(len(self.turns), (), generator=self.generator, device=self.generator.device))
        turned, label = turn(x, first, self.turns)
        return self.answered(self.head(self.encoder(turned)), label)


def unfaded(views: Views) -> Views:
    """These views without fading: it always runs down the image, and would tell how that was turned afterwards."""
    return views.under(replace(views.preset, depth=0.0), views.crop_min)


def turns(dims: int) -> list[tuple[int, tuple[int, int]]]:
    """Right angles and the plane of each turn, nothing first: 4 of images, 10 of volumes (Taleb et al. 2020)."""
    return [(0, PLANES[dims][0]), *((angle, plane) for plane in PLANES[dims] for angle in (1, 2, 3))]


def turn(x: Tensor, first: int, allowed: list[tuple[int, tuple[int, int]]]) -> tuple[Tensor, Tensor]:
    """Images (b, c, s, s[, s]) turned by number `first`, `first` + 1, ... of `allowed`, and those numbers (b,).

    A batch is in random order, so taking the turns one after the other is as random and keeps the classes balanced.
    """
    label = (torch.arange(len(x), device=x.device) + first) % len(allowed)
    turned = torch.empty_like(x)
    for place in range(len(allowed)):
        angle, plane = allowed[(first + place) % len(allowed)]
        turned[place :: len(allowed)] = torch.rot90(x[place :: len(allowed)], angle, plane)
    return turned, label


def in_ball(x: Tensor) -> Tensor:
    """The middle square of standardised images with everything outside a disc within it set to the mean, 0."""
    size = x.shape[2:]
    side = min(size)
    for axis, length in enumerate(size):
        x = x.narrow(axis + 2, (length - side) // 2, side)
    squares = ((torch.arange(side, device=x.device) * 2 + 1) / side - 1).square()
    radius = sum(squares.view(-1, *[1] * axis) for axis in range(len(size)))
    return x * (radius <= RADIUS**2)
