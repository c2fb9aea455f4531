"""Slice position: tell how far along a volume's first axis a slab was cut."""

from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from autossl.encoder import Encoder
from autossl.heads import mlp
from autossl.pretext.base import Pretext
from autossl.pretext.slabs import cut, extent, slices_of
from autossl.views import Views


class SlicePosition(Pretext):
    """The normalised position of a slab by smooth L1, as in body part regression (Yan et al. 2018) but with its target.

    Yan et al. learn a coordinate from order and equal steps alone, as scans cover different parts of a body; here
    positions run from 0 at the first slice that shows something (`slabs.extent`) to 1 at the last, so that neither an
    empty end of a volume nor its padding tells the place. Slabs have the `thickness`, a share of the depth, and are
    enlarged to the encoder's size. Each is a view of its own in crop and intensity; one of each volume is shown. Errors
    beyond `beta` count linearly, smaller ones by their square / (2 beta).
    """

    paradigm: ClassVar[str] = "non-contrastive and predictive"
    dims: ClassVar[frozenset[int]] = frozenset({3})
    passes: ClassVar[float] = 1.0
    paper: ClassVar[str] = "Yan et al. 2018, arXiv 1707.03891; Blendowski et al. 2019, doi 10.1007/978-3-030-32226-7_72"
    needs: ClassVar[frozenset[str]] = frozenset({"order"})

    def __init__(
        self,
        encoder: Encoder,
        views: Views,
        *,
        thickness: float = 0.15,
        beta: float = 0.1,
        hidden: int = 512,
    ) -> None:
        super().__init__(encoder, views)
        self.thickness, self.beta = thickness, beta
        self.head = mlp(encoder.dim, hidden, 1)

    def loss(self, images: Tensor, groups: Tensor | None = None) -> Tensor:
        thick = slices_of(self.thickness, images.shape[2])
        u = torch.rand(len(images), generator=self.generator, device=self.generator.device).to(images.device)
        start, target = place(*extent(images, 2 * thick), u, thick)
        slabs = cut(images, start, thick)
        answer = self.head(self.encoder(self.views(slabs, self.generator)))[:, 0]
        return F.smooth_l1_loss(answer.float(), target, beta=self.beta)


def place(first: Tensor, last: Tensor, u: Tensor, thick: int) -> tuple[Tensor, Tensor]:
    """Start (b,) of a slab between slices `first` and `last` (b,), and its position in [0, 1] by `u` (b,) in [0, 1)."""
    room = last - first + 1 - thick
    step = (u * (room + 1)).long()
    return first + step, step / room
