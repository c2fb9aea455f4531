"""Slice position: tell how far along its stack a slice lies, or a slab along its volume."""

from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from autossl.nn.encoder import Encoder
from autossl.nn.heads import mlp
from autossl.pretext.base import Pretext
from autossl.pretext.batch import Batch
from autossl.pretext.slabs import cut, extent, known, slices_of
from autossl.views.images import Views


class SlicePosition(Pretext):
    """The normalised position of a slice by smooth L1: body part regression (Yan et al. 2018) with a target.

    Yan et al. learn a coordinate from order and equal steps alone, as scans cover different parts of a body. Here
    images are slices whose positions the data set knows, from 0 at the first of their patient to 1 at the last. Of
    volumes, slabs of `thickness`, a share of the depth, are enlarged to the encoder's size, one of each volume; their
    positions run from 0 at the first slice that shows something (`slabs.extent`) to 1 at the last, so that neither an
    empty end nor padding tells the place. Each is a view of its own in crop and intensity. Errors beyond `beta` count
    linearly, smaller ones by their square / (2 beta).
    """

    paradigm: ClassVar[str] = "non-contrastive and predictive"
    dims: ClassVar[frozenset[int]] = frozenset({2, 3})
    passes: ClassVar[float] = 1.0
    paper: ClassVar[str] = "Yan et al. 2018, arXiv 1707.03891; Blendowski et al. 2019, doi 10.1007/978-3-030-32226-7_72"
    needs: ClassVar[frozenset[str]] = frozenset({"order"})
    of_volumes: ClassVar[frozenset[str]] = frozenset({"thickness"})

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

    def loss(self, batch: Batch) -> Tensor:
        images = batch.images
        shown, target = (images, known(batch)) if self.encoder.dims == 2 else self._slabs(images)
        answer = self.head(self.encoder(self.views(shown, self.generator)))[:, 0].float()
        asked = target.isfinite()
        error = F.smooth_l1_loss(answer, target.nan_to_num(), beta=self.beta, reduction="none")
        return (error * asked).sum() / asked.sum().clamp_min(1)

    def _slabs(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """One slab of each volume, and its position (b,)."""
        thick = slices_of(self.thickness, images.shape[2])
        u = torch.rand(len(images), generator=self.generator, device=self.generator.device).to(images.device)
        start, target = place(*extent(images, 2 * thick), u, thick)
        return cut(images, start, thick), target


def place(first: Tensor, last: Tensor, u: Tensor, thick: int) -> tuple[Tensor, Tensor]:
    """Start (b,) of a slab between slices `first` and `last` (b,), and its position in [0, 1] by `u` (b,) in [0, 1)."""
    room = last - first + 1 - thick
    step = (u * (room + 1)).long()
    return first + step, step / room
