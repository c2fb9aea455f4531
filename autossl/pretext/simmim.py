"""SimMIM: raw pixels of masked patches from one linear layer on the last map."""

import math
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from autossl.nn.encoder import Encoder
from autossl.nn.heads import CONV, shuffle
from autossl.nn.intake import LINEAR
from autossl.pretext.base import Pretext
from autossl.pretext.batch import Batch
from autossl.pretext.cnn_mae import block_mask
from autossl.views.images import Views
from autossl.views.intensity import along


class SimMIM(Pretext):
    """Xie et al. 2022: masked patches take a learnt colour, a one-layer head restores them, L1 on masked pixels only.

    The image is divided into `grid` patches along each axis, of which the share `ratio` is masked. Where the pooled
    embedding is more than the mean of the last map (a class token) the head is told it too, as in `heads.Decoder`.
    """

    paradigm: ClassVar[str] = "generative"
    dims: ClassVar[frozenset[int]] = frozenset({2, 3})
    passes: ClassVar[float] = 1.3  # of volumes; of images .9
    paper: ClassVar[str] = "Xie et al. 2022, arXiv 2111.09886"

    def __init__(self, encoder: Encoder, views: Views, *, ratio: float = 0.6, grid: int = 7) -> None:
        super().__init__(encoder, views)
        self.ratio, self.grid = ratio, grid
        self.token = nn.Parameter(torch.zeros(1, encoder.channels, *[1] * encoder.dims))
        self.factor = math.ceil(encoder.image_size / min(encoder.cells))
        pixels = encoder.channels * self.factor**encoder.dims
        self.head = CONV[encoder.dims](encoder.pyramid_channels[-1], pixels, 1)
        self.told = None if encoder.mean_pooled else nn.Linear(encoder.dim, pixels)

    def loss(self, batch: Batch) -> Tensor:
        target = self.views.standardise(self.views.weak(batch.images, self.generator))
        size = target.shape[2:]
        blocks = block_mask(len(batch.images), self.grid, self.ratio, self.generator, len(size)).to(target.device)
        mask = F.interpolate(blocks, size, mode="nearest")
        shown = torch.lerp(target, self.token.expand_as(target), mask)
        seen = self.encoder.features(shown)
        answers = self.head(seen.pyramid[-1])
        if self.told is not None:
            answers = answers + along(self.told(seen.pooled), answers)
        restored = shuffle(answers, self.factor)
        if restored.shape[2:] != size:
            restored = F.interpolate(restored, size, mode=LINEAR[len(size)], align_corners=False)
        return masked_distance(restored, target, mask)


def masked_distance(restored: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """Mean absolute error of (b, c, *space) over the pixels where `mask` (b, 1, *space) is 1."""
    return ((restored.float() - target).abs() * mask).sum() / (mask.sum() * target.shape[1])
