"""SimCLR: recognise the other view of an image among all images of the batch."""

from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from autossl.nn.encoder import Encoder
from autossl.nn.heads import mlp
from autossl.pretext.base import Pretext
from autossl.pretext.batch import Batch
from autossl.views.images import Views


class SimCLR(Pretext):
    """Chen et al. 2020: normalised temperature-scaled cross entropy between two views of each image.

    Other images of the same patient are no negatives where patients are known (MedAug, Vu et al. 2021).
    """

    paradigm: ClassVar[str] = "contrastive"
    dims: ClassVar[frozenset[int]] = frozenset({2, 3})
    passes: ClassVar[float] = 2.0
    paper: ClassVar[str] = "Chen et al. 2020, arXiv 2002.05709"

    def __init__(
        self, encoder: Encoder, views: Views, *, temperature: float = 0.5, hidden: int = 512, out: int = 128
    ) -> None:
        super().__init__(encoder, views)
        self.temperature = temperature
        self.projector = mlp(encoder.dim, hidden, out, last_norm=True)

    def loss(self, batch: Batch) -> Tensor:
        z = self.projector(self.encoder(self.views(batch.images, self.generator, copies=2)))
        return nt_xent(z, self.temperature, batch.groups)


def nt_xent(z: Tensor, temperature: float, groups: Tensor | None = None) -> Tensor:
    """NT-Xent of projections (2b, d), the second half being the other views of the first.

    With `groups` (b,), different images of one group are left out of each other's denominator.
    """
    z = F.normalize(z.float(), dim=1)
    b = len(z) // 2
    logits = z @ z.T / temperature
    index = torch.arange(b, device=z.device)
    image = index.repeat(2)
    excluded = torch.eye(2 * b, dtype=torch.bool, device=z.device)
    if groups is not None:
        patient = groups.repeat(2)
        excluded |= (patient[:, None] == patient) & (image[:, None] != image)
    return F.cross_entropy(logits.masked_fill(excluded, -torch.inf), torch.cat([index + b, index]))
