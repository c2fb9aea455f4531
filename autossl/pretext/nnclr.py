"""NNCLR: recognise the nearest earlier image of one view from the other view."""

from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from autossl.nn.encoder import Encoder
from autossl.nn.heads import mlp
from autossl.pretext.base import Pretext
from autossl.pretext.batch import Batch
from autossl.pretext.contrast import Queue, info_nce, kin
from autossl.views.images import Views


class NNCLR(Pretext):
    """Dwibedi et al. 2021: positives are nearest neighbours in a queue of earlier projections, the support set.

    Where patients are known, a neighbour is never of the same patient, nor is a negative.
    """

    paradigm: ClassVar[str] = "contrastive"
    dims: ClassVar[frozenset[int]] = frozenset({2, 3})
    passes: ClassVar[float] = 2.0
    paper: ClassVar[str] = "Dwibedi et al. 2021, arXiv 2104.14548"

    def __init__(
        self,
        encoder: Encoder,
        views: Views,
        *,
        temperature: float = 0.2,
        queue: int = 2048,
        hidden: int = 512,
        out: int = 128,
    ) -> None:
        super().__init__(encoder, views)
        self.temperature = temperature
        self.projector = mlp(encoder.dim, hidden, out, last_norm=True)
        self.predictor = mlp(out, hidden, out)
        self.queue = Queue(queue, out)

    def loss(self, batch: Batch) -> Tensor:
        z = self.projector(self.encoder(self.views(batch.images, self.generator, copies=2)))
        (one, other), (first, second) = z.detach().chunk(2), self.predictor(z).chunk(2)
        support, owners = self.queue.entries(self.population)
        barred = kin(len(one), batch.groups, owners, like=one)
        excluded, barred = barred[:, : len(one)], barred[:, len(one) :]
        near, near_other = (neighbours(x, support, barred) for x in (one, other))
        loss = info_nce(near, second, second, self.temperature, excluded)
        loss = loss + info_nce(near_other, first, first, self.temperature, excluded)
        self.queue.push(one, batch.groups, self.population)
        return loss / 2


def neighbours(z: Tensor, support: Tensor, barred: Tensor) -> Tensor:
    """For each of z (b, d) the row of `support` (n, d), of unit length, nearest by cosine and not `barred` (b, n).

    What finds none stands for itself.
    """
    if len(support) == 0:
        return z
    cosine = (F.normalize(z.float(), dim=1) @ support.T).masked_fill(barred, -torch.inf)
    best, place = cosine.max(1)
    return torch.where(best.isneginf()[:, None], z.float(), support[place])
