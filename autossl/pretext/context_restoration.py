"""Context restoration: put exchanged patches of an image back."""

import math
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from autossl.nn.encoder import Encoder
from autossl.pretext.base import Pretext, image_decoder
from autossl.pretext.batch import Batch
from autossl.views.images import Views

SMALLEST = 0.07  # side of a patch as a share of the image's


class ContextRestoration(Pretext):
    """Chen et al. 2019: `swaps` pairs of patches change places, so that intensities stay what they were.

    The loss is over the whole image. Patches have up to `side` of the image's side.
    """

    paradigm: ClassVar[str] = "generative"
    dims: ClassVar[frozenset[int]] = frozenset({2, 3})
    passes: ClassVar[float] = 1.2
    paper: ClassVar[str] = "Chen et al. 2019, doi 10.1016/j.media.2019.101539"

    def __init__(
        self,
        encoder: Encoder,
        views: Views,
        *,
        swaps: int = 10,
        side: float = 0.25,
        skips: bool = True,
        width: int = 64,
    ) -> None:
        super().__init__(encoder, views)
        self.swaps, self.side = swaps, side
        self.decoder = image_decoder(encoder, width=width, skips=skips)

    def loss(self, batch: Batch) -> Tensor:
        target = self.views.standardise(self.views.weak(batch.images, self.generator))
        restored = self.decoder(self.encoder.features(self.swapped(target)), target.shape[2:])
        return F.mse_loss(restored.float(), target)

    def swapped(self, x: Tensor) -> Tensor:
        """A copy of images (b, c, *space) in which patches changed places."""
        b, size = len(x), x.shape[2:]
        sides = torch.rand(self.swaps, generator=self.generator, device=self.generator.device).tolist()
        u = torch.rand(self.swaps, b, len(size) + 2, generator=self.generator, device=self.generator.device)
        order = torch.arange(size.numel(), device=x.device).repeat(b, 1)
        for drawn, places in zip(sides, u.to(x.device), strict=True):
            share = SMALLEST + (max(self.side, SMALLEST) - SMALLEST) * drawn
            order = swap(order, places, max(1, round(share * min(size))), *size)
        moved = x.flatten(2).gather(2, order[:, None].expand(-1, x.shape[1], -1))
        moved = moved.view(x.shape)
        return moved.contiguous(memory_format=torch.channels_last) if x.ndim == 4 else moved


def swap(order: Tensor, u: Tensor, side: int, *size: int) -> Tensor:
    """Pixel orders (b, pixels) of images of this size with two patches of `side` pixels exchanged in each.

    u (b, dims + 2) says which. Patches are cells of a grid whose corner is drawn too, so that they never overlap.
    """
    dims, cells = len(size), [length // side for length in size]
    count = math.prod(cells)
    if count < 2:
        return order
    corner = [(u[:, axis] * (length % side + 1)).long() for axis, length in enumerate(size)]
    first = (u[:, dims] * count).long()
    second = (first + 1 + (u[:, dims + 1] * (count - 1)).long()) % count
    one, other = (_patch(cell, cells, corner, side, size) for cell in (first, second))
    return order.scatter(1, one, order.gather(1, other)).scatter(1, other, order.gather(1, one))


def _patch(cell: Tensor, cells: list[int], corner: list[Tensor], side: int, size: tuple[int, ...]) -> Tensor:
    """(b, side^dims): the pixels of cell number `cell` (b,) of a grid that begins at `corner`."""
    span = torch.arange(side, device=cell.device)
    pixels = torch.zeros(len(cell), 1, dtype=torch.long, device=cell.device)
    for axis, length in enumerate(size):
        number = cell // math.prod(cells[axis + 1 :]) % cells[axis]
        along = corner[axis][:, None] + number[:, None] * side + span
        pixels = (pixels[:, :, None] * length + along[:, None]).flatten(1)
    return pixels
