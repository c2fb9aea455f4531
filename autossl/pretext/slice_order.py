"""Slice order: tell which of two slices of a stack, or slabs of a volume, lies above the other."""

from typing import ClassVar

import torch
from torch import Tensor

from autossl.nn.encoder import Encoder
from autossl.nn.heads import mlp
from autossl.pretext.base import Pretext
from autossl.pretext.batch import Batch
from autossl.pretext.patient_positives import partners
from autossl.pretext.slabs import cut, extent, known, slices_of
from autossl.views.images import Views


class SliceOrder(Pretext):
    """Zhang et al. 2017: from the embeddings of two slices, whether the second lies further along their stack.

    Images are slices whose positions the data set knows; each is asked about the next one of its patient in the batch
    (the trainer lays them side by side). Of volumes, slabs of `thickness`, a share of the depth, are enlarged to what
    an encoder for volumes takes; two slabs do not overlap, and their starts are at most `gap` of the depth apart: near
    ones are hard to order, far ones easy. They are cut between the first and the last slice that show something
    (`slabs.extent`), so that no empty end of a volume gives the order away; nor does a drift of brightness, for each
    slice or slab is a view of its own in crop and intensity. The loss is the binary cross-entropy of one answer.
    """

    paradigm: ClassVar[str] = "non-contrastive and predictive"
    dims: ClassVar[frozenset[int]] = frozenset({2, 3})
    passes: ClassVar[float] = 2.3  # of volumes; of images 1
    paper: ClassVar[str] = "Zhang et al. 2017, doi 10.1109/ISBI.2017.7950587"
    needs: ClassVar[frozenset[str]] = frozenset({"order"})
    of_volumes: ClassVar[frozenset[str]] = frozenset({"thickness", "gap"})

    def __init__(
        self,
        encoder: Encoder,
        views: Views,
        *,
        thickness: float = 0.15,
        gap: float = 0.5,
        hidden: int = 512,
    ) -> None:
        super().__init__(encoder, views)
        self.thickness, self.gap = thickness, gap
        self.head = mlp(2 * encoder.dim, hidden, 1)
        self.paired = encoder.dims == 2

    def loss(self, batch: Batch) -> Tensor:
        images = batch.images
        if self.encoder.dims == 3:
            return self._of_slabs(images)
        at = known(batch)
        other = partners(torch.arange(len(images), device=images.device) if batch.groups is None else batch.groups)
        apart = at[other] - at
        seen = self.encoder(self.views(images, self.generator))
        return self._judged(seen, seen[other], apart > 0, apart.abs() > 0)  # no distance, or NaN, is not asked about

    def _judged(self, first: Tensor, second: Tensor, ascending: Tensor, asked: Tensor | None = None) -> Tensor:
        answer = self.head(torch.cat([first, second], 1))
        # the binary cross-entropy of one answer is the cross-entropy of it beside zero
        return self.answered(torch.cat([torch.zeros_like(answer), answer], 1).float(), ascending.long(), asked)

    def _of_slabs(self, images: Tensor) -> Tensor:
        thick = slices_of(self.thickness, images.shape[2])
        u = torch.rand(len(images), 3, generator=self.generator, device=self.generator.device).to(images.device)
        below, above = pair(*extent(images, 2 * thick), u, thick, max(round(self.gap * images.shape[2]), thick))
        ascending = u[:, 2] < 0.5
        starts = torch.where(ascending, below, above), torch.where(ascending, above, below)
        slabs = torch.cat([cut(images, start, thick) for start in starts])
        first, second = self.encoder(self.views(slabs, self.generator)).chunk(2)
        return self._judged(first, second, ascending)


def pair(first: Tensor, last: Tensor, u: Tensor, thick: int, most: int) -> tuple[Tensor, Tensor]:
    """Starts (b,) of a lower and an upper slab between slices `first` and `last` (b,), `thick` to `most` apart.

    `u` (b, 2 or more) are uniform numbers in [0, 1): for the distance, and for the place of the lower slab. Between
    first and last there must be room for both.
    """
    room = last - first + 1 - thick  # the greatest distance that fits
    farthest = room.clamp_max(most)
    apart = thick + (u[:, 0] * (farthest - thick + 1)).long()
    below = first + (u[:, 1] * (room - apart + 1)).long()
    return below, below + apart
