"""SparK: masked modelling for convolutional networks that never see, nor smear into, what is hidden."""

from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from autossl.nn.encoder import Encoder, Features
from autossl.nn.sparse import resized, sparse
from autossl.pretext.base import Pretext, image_decoder
from autossl.pretext.batch import Batch
from autossl.pretext.cnn_mae import block_mask, masked_error
from autossl.pretext.dense import dense_level, map_sides
from autossl.views.images import Views


class SparK(Pretext):
    """Tian et al. 2023: sparse convolutions, learnt tokens in the holes of every map, a light U-Net decoder.

    Hidden patches are the cells of the coarsest map with at least 4 x 4 cells (of the last one in the paper), the
    share `ratio` of them, the same number in each image. The loss is the mean squared error of their pixels,
    normalised patch by patch. Sparse convolutions are computed densely and masked after every layer.
    """

    paradigm: ClassVar[str] = "generative"
    passes: ClassVar[float] = 1.5
    paper: ClassVar[str] = "Tian et al. 2023, arXiv 2301.03580"
    needs: ClassVar[frozenset[str]] = frozenset({"convolutions", "dense map"})

    def __init__(self, encoder: Encoder, views: Views, *, ratio: float = 0.6, width: int = 64) -> None:
        super().__init__(encoder, views)
        self.ratio, self.grid = ratio, map_sides(encoder)[dense_level(encoder)]
        self.tokens = nn.ParameterList([0.02 * torch.randn(1, c, 1, 1) for c in encoder.pyramid_channels])
        self.decoder = image_decoder(encoder, width=width, skips=True)

    def loss(self, batch: Batch) -> Tensor:
        target = self.views.standardise(self.views.weak(batch.images, self.generator))
        size = (target.shape[2], target.shape[3])
        visible = 1 - block_mask(len(batch.images), self.grid, self.ratio, self.generator).to(target.device)
        seen = resized(visible, size)
        with sparse(self.encoder, visible):
            found = self.encoder.features(target * seen)
        filled = [
            torch.where(resized(visible, (m.shape[2], m.shape[3])), m, token)
            for m, token in zip(found.pyramid, self.tokens, strict=True)
        ]
        restored = self.decoder(Features(found.pooled, filled), size)
        return masked_error(restored, evened(target, self.grid), (~seen).float())


def evened(images: Tensor, grid: int) -> Tensor:
    """Images (b, c, h, w) with mean 0 and variance 1 over the pixels and channels of each of grid x grid patches."""
    size = (images.shape[2], images.shape[3])
    mean = F.adaptive_avg_pool2d(images.mean(1, keepdim=True), grid)
    centred = images - F.interpolate(mean, size, mode="nearest")
    variance = F.adaptive_avg_pool2d(centred.square().mean(1, keepdim=True), grid)
    return centred / (F.interpolate(variance, size, mode="nearest") + 1e-6).sqrt()
