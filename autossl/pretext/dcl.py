"""DCL: SimCLR without the positive pair in its own denominator, which serves small batches."""

from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from autossl.nn.encoder import Encoder
from autossl.nn.heads import mlp
from autossl.pretext.base import Pretext
from autossl.pretext.batch import Batch
from autossl.pretext.contrast import kin
from autossl.views.images import Views

SIGMA = 0.5  # concentration of the weights (Yeh et al. 2022, section 4)


class DCL(Pretext):
    """Yeh et al. 2022: decoupled contrastive learning; `weighted` gives distant positives more weight (DCLW).

    Other images of the same patient are no negatives where patients are known.
    """

    paradigm: ClassVar[str] = "contrastive"
    dims: ClassVar[frozenset[int]] = frozenset({2, 3})
    passes: ClassVar[float] = 2.0
    paper: ClassVar[str] = "Yeh et al. 2022, arXiv 2110.06848"

    def __init__(
        self,
        encoder: Encoder,
        views: Views,
        *,
        temperature: float = 0.2,
        weighted: bool = False,
        hidden: int = 512,
        out: int = 128,
    ) -> None:
        super().__init__(encoder, views)
        self.temperature, self.weighted = temperature, weighted
        self.projector = mlp(encoder.dim, hidden, out, last_norm=True)

    def loss(self, batch: Batch) -> Tensor:
        z = self.projector(self.encoder(self.views(batch.images, self.generator, copies=2)))
        return dcl(z, self.temperature, self.weighted, batch.groups)


def dcl(z: Tensor, temperature: float, weighted: bool = False, groups: Tensor | None = None) -> Tensor:
    """The decoupled loss of projections (2b, d), the second half being the other views of the first.

    With `groups` (b,), different images of one group are left out of each other's denominator. An image without any
    negative is only pulled.
    """
    z = F.normalize(z.float(), dim=1)
    b = len(z) // 2
    positive = (z[:b] * z[b:]).sum(1)
    weight = von_mises_weights(positive.detach()) if weighted else torch.ones_like(positive)
    logits = (z @ z.T / temperature).masked_fill(kin(b, groups, like=z).repeat(2, 2), -torch.inf)
    pushed = logits[~logits.isneginf().all(1)].logsumexp(1).sum() / (2 * b)
    return pushed - (weight * positive).mean() / temperature


def von_mises_weights(cosine: Tensor) -> Tensor:
    """Weights (b,) of mean 1 that fall with the cosine (b,) of a pair: 2 minus its share of the von Mises density."""
    return 2 - len(cosine) * (cosine / SIGMA).softmax(0)
