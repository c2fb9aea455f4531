"""VICReg: equal embeddings of two views, kept from collapse by variance and covariance."""

from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from autossl.nn.encoder import Encoder
from autossl.nn.heads import mlp
from autossl.pretext.base import Pretext
from autossl.pretext.batch import Batch
from autossl.views.images import Views


class VICReg(Pretext):
    """Bardes et al. 2022: invariance, a hinge on each dimension's spread, and decorrelated dimensions."""

    paradigm: ClassVar[str] = "non-contrastive and predictive"
    dims: ClassVar[frozenset[int]] = frozenset({2, 3})
    passes: ClassVar[float] = 2.0
    paper: ClassVar[str] = "Bardes et al. 2022, arXiv 2105.04906"

    def __init__(
        self,
        encoder: Encoder,
        views: Views,
        *,
        invariance: float = 25.0,
        variance: float = 25.0,
        covariance: float = 1.0,
        width: int = 512,
    ) -> None:
        super().__init__(encoder, views)
        self.invariance, self.variance, self.covariance = invariance, variance, covariance
        self.projector = mlp(encoder.dim, width, width, width)

    def loss(self, batch: Batch) -> Tensor:
        first, second = self.projector(self.encoder(self.views(batch.images, self.generator, copies=2))).chunk(2)
        return vicreg(first, second, self.invariance, self.variance, self.covariance)


def vicreg(first: Tensor, second: Tensor, invariance: float, variance: float, covariance: float) -> Tensor:
    """The VICReg loss of two batches of projections (b, d), or (b, ..., d): then the mean over the places between."""
    first, second = first.float(), second.float()
    loss = invariance * F.mse_loss(first, second)
    for z in (first, second):
        spread = torch.sqrt(z.var(dim=0) + 1e-4)
        loss = loss + variance * F.relu(1 - spread).mean() / 2 + covariance * _off_diagonal(z)
    return loss


def _off_diagonal(z: Tensor) -> Tensor:
    """Sum of the squared covariances of different dimensions, over the number of dimensions."""
    z = (z - z.mean(dim=0)).movedim(0, -2)
    covariance = z.mT @ z / (z.shape[-2] - 1)
    own = covariance.diagonal(dim1=-2, dim2=-1)
    return (covariance.square().sum((-2, -1)) - own.square().sum(-1)).mean() / z.shape[-1]
