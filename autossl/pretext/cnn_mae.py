"""Masked reconstruction for any convolutional network: fill in the blocks that were taken out."""

from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from autossl.nn.encoder import Encoder
from autossl.pretext.base import Pretext, image_decoder
from autossl.pretext.batch import Batch
from autossl.views.images import Views


class CNNMAE(Pretext):
    """He et al. 2022 as nnssl trains it on CNNs: blocks are set to the mean, the loss sees masked pixels only.

    The image is divided into `grid` blocks along each axis, of which the share `ratio` is masked.
    """

    paradigm: ClassVar[str] = "generative"
    dims: ClassVar[frozenset[int]] = frozenset({2, 3})
    passes: ClassVar[float] = 1.2
    paper: ClassVar[str] = "He et al. 2022, arXiv 2111.06377; for CNNs Wald et al. 2025, arXiv 2412.17041"

    def __init__(
        self,
        encoder: Encoder,
        views: Views,
        *,
        ratio: float = 0.75,
        grid: int = 7,
        skips: bool = True,
        width: int = 64,
    ) -> None:
        super().__init__(encoder, views)
        self.ratio, self.grid = ratio, grid
        self.decoder = image_decoder(encoder, width=width, skips=skips)

    def loss(self, batch: Batch) -> Tensor:
        target = self.views.standardise(self.views.weak(batch.images, self.generator))
        size = target.shape[2:]
        blocks = block_mask(len(batch.images), self.grid, self.ratio, self.generator, len(size)).to(target.device)
        mask = F.interpolate(blocks, size, mode="nearest")
        restored = self.decoder(self.encoder.features(target * (1 - mask)), size)
        return masked_error(restored, target, mask)


def block_mask(n: int, grid: int, ratio: float, generator: torch.Generator, dims: int = 2) -> Tensor:
    """(n, 1, grid, grid[, grid]) with 1 on a random share `ratio` of the blocks, in each the same number, else 0."""
    cells = grid**dims
    masked = min(max(round(ratio * cells), 1), cells - 1)
    places = torch.rand(n, cells, generator=generator, device=generator.device).argsort(1)[:, :masked]
    return torch.zeros(n, cells, device=places.device).scatter_(1, places, 1.0).view(n, 1, *[grid] * dims)


def masked_error(restored: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """Mean squared error of (b, c, *space) over the pixels where `mask` (b, 1, *space) is 1."""
    return ((restored.float() - target).square() * mask).sum() / (mask.sum() * target.shape[1])
