"""Jigsaw: tell in which order the tiles of an image were laid."""

import itertools
import math
from typing import ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from autossl.encoder import Encoder
from autossl.heads import mlp
from autossl.pretext.base import Pretext
from autossl.views import Views

CANDIDATES = 2000  # permutations among which the most different ones are chosen


class Jigsaw(Pretext):
    """Noroozi and Favaro 2016: classify the permutation of grid x grid tiles that one encoder sees one by one.

    Tiles keep a gap, jitter in their cells and are normalised one by one, so that neither edges nor brightness give
    the order away. Of colour images one channel, drawn for each, is shown in the place of all: lenses shift colours
    against each other, outwards from the middle, and that gave it away (colour dropping, Doersch et al. 2015). `gap` is
    the share of a cell's side that is left out.
    """

    paradigm: ClassVar[str] = "non-contrastive and predictive"
    passes: ClassVar[float] = 0.9
    paper: ClassVar[str] = "Noroozi and Favaro 2016, arXiv 1603.09246"

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
        self.register_buffer("order", torch.from_numpy(different_orders(grid * grid, permutations)), persistent=False)
        self.head = mlp(encoder.dim * grid * grid, hidden, len(self.order))

    def loss(self, images: Tensor, groups: Tensor | None = None) -> Tensor:
        x = self.views.standardise(self.views.weak(images, self.generator))
        b = len(x)
        device = self.generator.device
        label = torch.randint(len(self.order), (b,), generator=self.generator, device=device).to(x.device)
        shift = torch.rand(b, self.grid**2, 2, generator=self.generator, device=device).to(x.device)
        x = one_channel(x, torch.rand(b, generator=self.generator, device=device).to(x.device))
        shuffled = tiles(x, self.order[label], shift, self.grid, self.gap)
        seen = self.encoder(self._resized(normalised(shuffled)))
        return self.answered(self.head(seen.reshape(b, -1)), label)

    def _resized(self, patches: Tensor) -> Tensor:
        """Plain transformers take one size only; networks with several stages take the tiles as they are."""
        if len(self.encoder.pyramid_channels) > 1:
            return patches
        return F.interpolate(patches, self.encoder.image_size, mode="bilinear", align_corners=False)


def one_channel(x: Tensor, drawn: Tensor) -> Tensor:
    """Images (b, c, h, w) with one of their channels, by numbers `drawn` (b,) in [0, 1), in the place of all."""
    chosen = (drawn * x.shape[1]).long()
    return x[torch.arange(len(x), device=x.device), chosen][:, None].expand_as(x)


def tiles(x: Tensor, order: Tensor, shift: Tensor, grid: int, gap: float) -> Tensor:
    """Tiles (b * n, c, t, t) of images (b, c, h, w), n = grid * grid, image by image in the order given.

    `order` (b, n) names the cell of each place; `shift` (b, n, 2) in [0, 1) places the tile within its cell.
    """
    b, c, h, w = x.shape
    cell = min(h, w) // grid
    side = max(cell - max(round(gap * cell), 1), 1)
    top = order // grid * cell + (shift[..., 0] * (cell - side + 1)).long()
    left = order % grid * cell + (shift[..., 1] * (cell - side + 1)).long()
    span = torch.arange(side, device=x.device)
    rows, columns = (top[..., None] + span)[..., :, None], (left[..., None] + span)[..., None, :]
    image = torch.arange(b, device=x.device).view(b, 1, 1, 1)
    found = x.permute(0, 2, 3, 1)[image, rows, columns]  # (b, n, t, t, c)
    return found.view(b * grid * grid, side, side, c).permute(0, 3, 1, 2)


def normalised(x: Tensor) -> Tensor:
    """Each tile and channel with mean 0 and standard deviation 1; an empty tile stays 0."""
    mean, std = x.mean((2, 3), keepdim=True), x.std((2, 3), keepdim=True)
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
