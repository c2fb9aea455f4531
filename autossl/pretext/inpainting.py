"""Inpainting: find what stood in the holes of an image."""

from typing import ClassVar

import torch
from torch import Tensor

from autossl.nn.encoder import Encoder
from autossl.pretext.base import Pretext, image_decoder
from autossl.pretext.batch import Batch
from autossl.pretext.cnn_mae import masked_error
from autossl.views.images import Views

OBLONG = 2.0  # largest ratio of a hole's sides


class Inpainting(Pretext):
    """Pathak et al. 2016, without the adversarial part: a few large holes are set to the mean; the loss sees only them.

    `area` is the share of the image that all `holes` would cover side by side.
    """

    paradigm: ClassVar[str] = "generative"
    dims: ClassVar[frozenset[int]] = frozenset({2, 3})
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

    def loss(self, batch: Batch) -> Tensor:
        images = batch.images
        target = self.views.standardise(self.views.weak(images, self.generator))
        numbers = 2 * images.ndim - 5  # shape and place of a hole
        u = torch.rand(len(images), self.holes, numbers, generator=self.generator, device=self.generator.device)
        mask = hole_mask(u.to(target.device), self.area / self.holes, *target.shape[2:])
        restored = self.decoder(self.encoder.features(target * (1 - mask)), target.shape[2:])
        return masked_error(restored, target, mask)


def hole_mask(u: Tensor, area: float, *size: int) -> Tensor:
    """(b, 1, *size) with 1 in boxes of the share `area` each, else 0.

    u (b, holes, 2 * dims - 1) gives their shapes (one number less than axes) and places.
    """
    dims = len(size)
    # a hole neither leaves the image nor is thinner than a pixel
    shape = (u[..., : dims - 1] - 0.5) / (dims - 1)
    stretch = OBLONG ** torch.cat([shape, -shape.sum(-1, keepdim=True)], -1)
    mask = torch.ones(*u.shape[:2], *[1] * dims, dtype=torch.bool, device=u.device)
    for axis, side in enumerate(size):
        length = (area ** (1 / dims) * stretch[..., axis] * side).round().clamp(1, side)
        start = (u[..., dims - 1 + axis] * (side - length + 1)).floor()
        along = [1] * dims
        along[axis] = side
        mask = mask & within(side, start, length).view(*u.shape[:2], *along)
    return mask.any(1, keepdim=True).float()


def within(size: int, start: Tensor, length: Tensor) -> Tensor:
    """(b, holes, size), True on the pixels from `start` on, `length` of them (each (b, holes))."""
    place = torch.arange(size, device=start.device)
    return (place >= start[..., None]) & (place < (start + length)[..., None])
