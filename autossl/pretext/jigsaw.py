"""Jigsaw: tell in which order the tiles of an image, or the cubes of a volume, were laid."""

import itertools
import math
from typing import ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from autossl.nn.encoder import Encoder
from autossl.nn.heads import mlp
from autossl.nn.intake import LINEAR
from autossl.pretext.base import Pretext
from autossl.pretext.batch import Batch
from autossl.views.images import Views

CANDIDATES = 2000  # permutations among which the most different ones are chosen


class Jigsaw(Pretext):
    """Noroozi and Favaro 2016: classify the permutation of tiles, `grid` along each axis, that one encoder sees singly.

    Of volumes the tiles are cubes and the orders a few that lie far apart (Taleb et al. 2020). Tiles keep a gap, jitter
    in their cells and are normalised one by one, so that neither edges nor brightness give the order away; the image
    keeps the intensities of its view (`Views.upright`), which reach the tiles as another gamma, noise and sharpness. Of
    colour images one channel, drawn for each, is shown in the place of all: lenses shift colours against each other,
    outwards from the middle, and that gave it away (colour dropping, Doersch et al. 2015). `gap` is the share of a
    cell's side that is left out.
    """

    paradigm: ClassVar[str] = "non-contrastive and predictive"
    dims: ClassVar[frozenset[int]] = frozenset({2, 3})
    passes: ClassVar[float] = 1.2  # of volumes .8
    paper: ClassVar[str] = "Noroozi and Favaro 2016, arXiv 1603.09246; in 3-D Taleb et al. 2020, arXiv 2006.03829"

    order: Tensor

    def __init__(
        self,
        encoder: Encoder,
        views: Views,
        *,
        grid: int = 2,
        permutations: int = 24,
        gap: float = 0.15,
        hidden: int = 512,
    ) -> None:
        super().__init__(encoder, views)
        self.grid, self.gap = grid, gap
        self.upright = views.upright()
        cells = grid**encoder.dims
        self.register_buffer("order", torch.from_numpy(different_orders(cells, permutations)), persistent=False)
        self.head = mlp(encoder.dim * cells, hidden, len(self.order))

    def loss(self, batch: Batch) -> Tensor:
        x = self.upright(batch.images, self.generator)
        b, cells = len(x), self.order.shape[1]
        device = self.generator.device
        label = torch.randint(len(self.order), (b,), generator=self.generator, device=device).to(x.device)
        shift = torch.rand(b, cells, self.encoder.dims, generator=self.generator, device=device).to(x.device)
        if self.encoder.dims == 2:
            x = one_channel(x, torch.rand(b, generator=self.generator, device=device).to(x.device))
        shuffled = normalised(tiles(x, self.order[label], shift, self.grid, self.gap))
        seen = self.encoder(fitted(shuffled, self.encoder))
        return self.answered(self.head(seen.reshape(b, -1)), label)


def fitted(patches: Tensor, encoder: Encoder) -> Tensor:
    """Tiles (n, c, *space) as they are where the encoder takes their size, else enlarged to its own."""
    if encoder.takes(*patches.shape[2:]):
        return patches
    return F.interpolate(patches, encoder.image_size, mode=LINEAR[encoder.dims], align_corners=False)


def one_channel(x: Tensor, drawn: Tensor) -> Tensor:
    """Images (b, c, h, w) with one of their channels, by numbers `drawn` (b,) in [0, 1), in the place of all."""
    chosen = (drawn * x.shape[1]).long()
    return x[torch.arange(len(x), device=x.device), chosen][:, None].expand_as(x)


def tiles(x: Tensor, order: Tensor, shift: Tensor, grid: int, gap: float) -> Tensor:
    """Tiles (b * n, c, t, t[, t]) of images (b, c, *space), n = grid to the power of axes, in the order given.

    `order` (b, n) names the cell of each place, row by row; `shift` (b, n, axes) in [0, 1) places the tile in its cell.
    """
    space = x.shape[2:]
    dims, cell = len(space), min(space) // grid
    side = max(cell - max(round(gap * cell), 1), 1)
    span = torch.arange(side, device=x.device)
    image = torch.arange(len(x), device=x.device).view(-1, *[1] * (dims + 1))
    places = []
    for axis in range(dims):
        number = order // grid ** (dims - 1 - axis) % grid
        start = number * cell + (shift[..., axis] * (cell - side + 1)).long()
        places.append((start[..., None] + span).view(*order.shape, *[1] * axis, side, *[1] * (dims - 1 - axis)))
    found = x.movedim(1, -1)[image, *places]  # (b, n, t, t[, t], c)
    return found.flatten(0, 1).movedim(-1, 1)


def normalised(x: Tensor) -> Tensor:
    """Each tile and channel with mean 0 and standard deviation 1; an empty tile stays 0."""
    space = tuple(range(2, x.ndim))
    mean, std = x.mean(space, keepdim=True), x.std(space, correction=0, keepdim=True)
    return (x - mean) / (std + 0.1)  # 0.1: the noise of an empty tile must not be blown up


def different_orders(n: int, count: int) -> NDArray[np.int64]:
    """Permutations of n places (at most `count`), each as far as possible from those before it in Hamming distance."""
    if math.factorial(n) <= count:
        return np.array(list(itertools.permutations(range(n))))
    rng = np.random.default_rng(0)
    candidates = rng.permuted(np.tile(np.arange(n), (CANDIDATES, 1)), axis=1)
    chosen = [candidates[0]]
    distance = np.full(CANDIDATES, n)
    for _ in range(count - 1):
        distance = np.minimum(distance, (candidates != chosen[-1]).sum(1))
        chosen.append(candidates[distance.argmax()])
    return np.array(chosen)
