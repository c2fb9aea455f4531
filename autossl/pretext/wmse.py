"""W-MSE: equal embeddings of two views after whitening, which leaves no room for collapse."""

from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from autossl.nn.encoder import Encoder
from autossl.nn.heads import mlp
from autossl.pretext.base import Pretext
from autossl.pretext.batch import Batch
from autossl.views.images import Views

SMALLEST = 1e-8  # variance that equal embeddings are taken to have


class WMSE(Pretext):
    """Ermolov et al. 2021: views are whitened in random sub-batches (Cholesky) and compared by cosine.

    A sub-batch has at least `ratio` * `out` images where the batch allows it; `rounds` divisions are averaged, as
    each gives another estimate of the covariance. The covariance is mixed with `shrink` of the identity times its mean
    variance, so that a sub-batch smaller than `out` can be whitened too, and small embeddings as well as large ones.
    """

    paradigm: ClassVar[str] = "non-contrastive and predictive"
    dims: ClassVar[frozenset[int]] = frozenset({2, 3})
    passes: ClassVar[float] = 2.0
    paper: ClassVar[str] = "Ermolov et al. 2021, arXiv 2007.06346"

    def __init__(
        self,
        encoder: Encoder,
        views: Views,
        *,
        ratio: int = 2,
        rounds: int = 4,
        shrink: float = 1e-4,
        hidden: int = 512,
        out: int = 32,
    ) -> None:
        super().__init__(encoder, views)
        self.size, self.rounds, self.shrink = ratio * out, rounds, shrink
        self.projector = mlp(encoder.dim, hidden, out)

    def loss(self, batch: Batch) -> Tensor:
        first, second = self.projector(self.encoder(self.views(batch.images, self.generator, copies=2))).chunk(2)
        drawn = torch.rand(self.rounds, len(first), generator=self.generator, device=self.generator.device)
        losses = [wmse(first, second, order, self.size, self.shrink) for order in drawn.argsort(1).to(first.device)]
        return torch.stack(losses).mean()


def wmse(first: Tensor, second: Tensor, order: Tensor, size: int, shrink: float) -> Tensor:
    """Mean of 2 - 2 cos between whitened embeddings (b, d); `order` (b,) is cut into sub-batches of `size` or more."""
    first, second = first.float(), second.float()
    parts = order.tensor_split(max(1, len(order) // size))
    cosine = [F.cosine_similarity(whitened(first[part], shrink), whitened(second[part], shrink)) for part in parts]
    return 2 - 2 * torch.cat(cosine).mean()


def whitened(z: Tensor, shrink: float) -> Tensor:
    """Embeddings (b, d) without mean and, as far as `shrink` allows, with the identity as covariance."""
    z = z - z.mean(0)
    covariance = z.T @ z / max(len(z) - 1, 1)
    # in proportion to the variance: a fixed share would undo the whitening of an embedding that shrinks
    even = torch.eye(z.shape[1], device=z.device) * covariance.diagonal().mean().clamp_min(SMALLEST)
    root, fault = torch.linalg.cholesky_ex(torch.lerp(covariance, even, shrink))
    root = root.masked_fill(fault > 0, torch.nan)  # what cannot be factorised has diverged: the trainer says so
    white: Tensor = torch.linalg.solve_triangular(root, z.T, upper=False)
    return white.T
