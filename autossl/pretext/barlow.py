"""Barlow Twins: make the cross-correlation of two views the identity."""

from typing import ClassVar

from torch import Tensor

from autossl.nn.encoder import Encoder
from autossl.nn.heads import mlp
from autossl.pretext.base import Pretext
from autossl.pretext.batch import Batch
from autossl.views.images import Views


class BarlowTwins(Pretext):
    """Zbontar et al. 2021: redundancy reduction. `width` beyond four batches makes the correlations too noisy."""

    paradigm: ClassVar[str] = "non-contrastive and predictive"
    dims: ClassVar[frozenset[int]] = frozenset({2, 3})
    passes: ClassVar[float] = 2.0
    paper: ClassVar[str] = "Zbontar et al. 2021, arXiv 2103.03230"

    def __init__(self, encoder: Encoder, views: Views, *, redundancy: float = 5e-3, width: int = 512) -> None:
        super().__init__(encoder, views)
        self.redundancy = redundancy
        self.projector = mlp(encoder.dim, width, width, width)

    def loss(self, batch: Batch) -> Tensor:
        first, second = self.projector(self.encoder(self.views(batch.images, self.generator, copies=2))).chunk(2)
        return barlow_twins(first, second, self.redundancy)


def barlow_twins(first: Tensor, second: Tensor, redundancy: float) -> Tensor:
    """Sum of (1 - C_ii)^2 plus `redundancy` times the sum of C_ij^2, C being the correlation of (b, d) and (b, d)."""
    correlation = _normed(first.float()).T @ _normed(second.float()) / len(first)
    diagonal = correlation.diagonal()
    off = correlation.square().sum() - diagonal.square().sum()
    return (1 - diagonal).square().sum() + redundancy * off


def _normed(z: Tensor) -> Tensor:
    return (z - z.mean(dim=0)) / (z.var(dim=0, correction=0) + 1e-5).sqrt()
