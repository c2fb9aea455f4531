"""Context restoration: put exchanged patches of an image back."""

from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from autossl.encoder import Encoder
from autossl.pretext.base import Pretext, image_decoder
from autossl.views import Views

SMALLEST = 0.07  # side of a patch as a share of the image's


class ContextRestoration(Pretext):
    """Chen et al. 2019: `swaps` pairs of patches change places, so that intensities stay what they were.

    The loss is over the whole image. Patches have up to `side` of the image's side.
    """

    paradigm: ClassVar[str] = "generative"
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

    def loss(self, images: Tensor, groups: Tensor | None = None) -> Tensor:
        target = self.views.standardise(self.views.weak(images, self.generator))
        restored = self.decoder(self.encoder.pyramid(self.swapped(target)), (target.shape[2], target.shape[3]))
        return F.mse_loss(restored.float(), target)

    def swapped(self, x: Tensor) -> Tensor:
        """A copy of images (b, c, h, w) in which patches changed places."""
        b, _, h, w = x.shape
        sides = torch.rand(self.swaps, generator=self.generator, device=self.generator.device).tolist()
        u = torch.rand(self.swaps, b, 4, generator=self.generator, device=self.generator.device).to(x.device)
        order = torch.arange(h * w, device=x.device).repeat(b, 1)
        for size, places in zip(sides, u, strict=True):
            share = SMALLEST + (max(self.side, SMALLEST) - SMALLEST) * size
            order = swap(order, places, max(1, round(share * min(h, w))), h, w)
        moved = x.flatten(2).gather(2, order[:, None].expand(-1, x.shape[1], -1))
        return moved.view(x.shape).contiguous(memory_format=torch.channels_last)


def swap(order: Tensor, u: Tensor, side: int, h: int, w: int) -> Tensor:
    """Pixel orders (b, h * w) with two patches of `side` pixels exchanged in each; u (b, 4) says which.

    Patches are cells of a grid whose corner is drawn too: two different cells never overlap.
    """
    down, across = h // side, w // side
    if down * across < 2:
        return order
    top, left = ((u[:, i] * (length % side + 1)).long() for i, length in ((0, h), (1, w)))
    first = (u[:, 2] * down * across).long()
    second = (first + 1 + (u[:, 3] * (down * across - 1)).long()) % (down * across)
    span = torch.arange(side, device=order.device)
    one, other = (
        (
            (top + cell // across * side)[:, None, None] * w
            + (left + cell % across * side)[:, None, None]
            + span[:, None] * w
            + span
        ).flatten(1)
        for cell in (first, second)
    )
    return order.scatter(1, one, order.gather(1, other)).scatter(1, other, order.gather(1, one))
