"""Noise2Void: find the value of a pixel that was overwritten from the pixels around it."""

import copy
from typing import ClassVar

import torch
from torch import Tensor

from autossl.nn.encoder import Encoder
from autossl.pretext.base import Pretext, image_decoder
from autossl.pretext.batch import Batch
from autossl.pretext.cnn_mae import masked_error
from autossl.views.images import Views


class Noise2Void(Pretext):
    """Krull et al. 2019: blind spots take the value of a random pixel near them; the loss looks at blind spots only.

    There is one in each box of `spacing` x `spacing` pixels, and the value comes from at most `reach` pixels away. What
    cannot be foreseen from the neighbours is noise, if noise is independent between pixels: images are flipped and
    turned, but never cropped, as resampling would spread it.
    """

    paradigm: ClassVar[str] = "generative"
    passes: ClassVar[float] = 1.2
    paper: ClassVar[str] = "Krull et al. 2019, arXiv 1811.10980"

    def __init__(
        self,
        encoder: Encoder,
        views: Views,
        *,
        spacing: int = 5,
        reach: int = 2,
        skips: bool = True,
        width: int = 64,
    ) -> None:
        super().__init__(encoder, views)
        self.spacing, self.reach = spacing, reach
        self.whole = copy.copy(views)
        self.whole.crop_min = 1.0
        self.decoder = image_decoder(encoder, width=width, skips=skips)

    def loss(self, batch: Batch) -> Tensor:
        target = self.whole.standardise(self.whole.weak(batch.images, self.generator))
        b, _, h, w = target.shape
        boxes = -(-h // self.spacing), -(-w // self.spacing)
        u = torch.rand(b, *boxes, 3, generator=self.generator, device=self.generator.device).to(target.device)
        spot, source = blind_spots(u, self.spacing, self.reach, h, w)
        mask = torch.zeros(b, 1, h * w, device=target.device).scatter_(2, spot[:, None], 1.0).view(b, 1, h, w)
        restored = self.decoder(self.encoder.features(overwritten(target, spot, source)), (h, w))
        return masked_error(restored, target, mask)


def blind_spots(u: Tensor, spacing: int, reach: int, h: int, w: int) -> tuple[Tensor, Tensor]:
    """Pixels (b, n) to overwrite, one in each box of `spacing` pixels a side, and those to take a value from.

    Pixels are numbered row by row. u (b, boxes down, boxes across, 3) in [0, 1) says which pixel of a box, and which
    of those at most `reach` away; beyond the border the one on the other side is taken, never the pixel itself.
    """
    down, across = torch.arange(0, h, spacing, device=u.device)[:, None], torch.arange(0, w, spacing, device=u.device)
    row = down + (u[..., 0] * (h - down).clamp_max(spacing)).long()
    column = across + (u[..., 1] * (w - across).clamp_max(spacing)).long()
    width = 2 * reach + 1
    middle = width * width // 2
    away = (u[..., 2] * (width * width - 1)).long()
    away = away + (away >= middle).long()  # every offset but none at all
    there = [_mirrored(p, p + step - reach, side) for p, step, side in
             ((row, away // width, h), (column, away % width, w))]  # fmt: skip
    return (row * w + column).flatten(1), (there[0] * w + there[1]).flatten(1)


def _mirrored(place: Tensor, aim: Tensor, side: int) -> Tensor:
    """`aim`, or where it is outside [0, side) the point as far on the other side of `place`."""
    return torch.where((aim < 0) | (aim >= side), 2 * place - aim, aim)


def overwritten(x: Tensor, spot: Tensor, source: Tensor) -> Tensor:
    """A copy of x (b, c, h, w) whose pixels `spot` (b, n) have the values that the pixels `source` (b, n) had."""
    flat = x.flatten(2)
    to, origin = (at[:, None].expand(-1, x.shape[1], -1) for at in (spot, source))
    copied = flat.scatter(2, to, flat.gather(2, origin)).view(x.shape)
    return copied.contiguous(memory_format=torch.channels_last)
