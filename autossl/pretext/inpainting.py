"""Inpainting: find what stood in the holes of an image."""

from typing import ClassVar

import torch
from torch import Tensor

from autossl.encoder import Encoder
from autossl.pretext.base import Pretext, image_decoder
from autossl.pretext.cnn_mae import masked_error
from autossl.views import Views

OBLONG = 2.0  # largest ratio of a hole's sides


class Inpainting(Pretext):
    """Pathak et al. 2016, without the adversarial part: a few large holes are set to the mean; the loss sees only them.

    `area` is the share of the image that all `holes` would cover side by side.
    """

    paradigm: ClassVar[str] = "generative"
    passes: ClassVar[float] = 1.2
    paper: ClassVar[str] = "Pathak et al. 2016, arXiv 1604.07379"

    def __init__(
        self,
        encoder: Encoder,
        views: Views,
        *,
        area: float = 0.25,
        holes: int = 2,
        skips: bool = True,
        width: int = 64,
    ) -> None:
        super().__init__(encoder, views)
        self.area, self.holes = area, holes
        self.decoder = image_decoder(encoder, width=width, skips=skips)

    def loss(self, images: Tensor, groups: Tensor | None = None) -> Tensor:
        target = self.views.standardise(self.views.weak(images, self.generator))
        u = torch.rand(len(images), self.holes, 3, generator=self.generator, device=self.generator.device)
        mask = hole_mask(u.to(target.device), self.area / self.holes, target.shape[2], target.shape[3])
        restored = self.decoder(self.encoder.pyramid(target * (1 - mask)), (target.shape[2], target.shape[3]))
        return masked_error(restored, target, mask)


def hole_mask(u: Tensor, area: float, h: int, w: int) -> Tensor:
    """(b, 1, h, w) with 1 in rectangles of the share `area` each, else 0; u (b, holes, 3) gives shape and place."""
    side = area**0.5
    # a hole neither leaves the image nor is thinner than a pixel
    stretch = OBLONG ** (u[..., 0] - 0.5)
    high = (side * stretch * h).round().clamp(1, h)
    wide = (side / stretch * w).round().clamp(1, w)
    rows = _within(h, (u[..., 1] * (h - high + 1)).floor(), high)
    columns = _within(w, (u[..., 2] * (w - wide + 1)).floor(), wide)
    return (rows[..., :, None] & columns[..., None, :]).any(1, keepdim=True).float()


def _within(size: int, start: Tensor, length: Tensor) -> Tensor:
    """(b, holes, size), True on the pixels from `start` on, `length` of them (each (b, holes))."""
    place = torch.arange(size, device=start.device)
    return (place >= start[..., None]) & (place < (start + length)[..., None])
