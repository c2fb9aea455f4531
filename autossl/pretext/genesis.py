"""Models Genesis: restore an image whose intensities, texture and context were disturbed."""

import math
from typing import ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from autossl.nn.encoder import Encoder
from autossl.pretext.base import Pretext, image_decoder
from autossl.pretext.batch import Batch
from autossl.views.images import Views
from autossl.views.intensity import along

KNOTS = 64  # points of an intensity curve
SHUFFLES = 16  # ready pixel orders that images choose from
WINDOWS = {2: 200, 3: 2000}  # windows shuffled in each of them, by dimensions
BOXES = 5  # most boxes painted in or kept
AGAIN = 0.95  # probability of one more box


class ModelsGenesis(Pretext):
    """Zhou et al. 2019, 2021: non-linear intensity, local shuffle, in- and out-painting, each with its probability.

    `paint` is the probability of either painting, of which the share `outside` keeps boxes and paints the rest.
    Intensity curves may also fall, but not where intensity is a physical quantity.
    """

    paradigm: ClassVar[str] = "generative"
    dims: ClassVar[frozenset[int]] = frozenset({2, 3})
    passes: ClassVar[float] = 1.3
    paper: ClassVar[str] = "Zhou et al. 2021, arXiv 2004.07882"

    def __init__(
        self,
        encoder: Encoder,
        views: Views,
        *,
        intensity: float = 0.9,
        shuffle: float = 0.5,
        paint: float = 0.9,
        outside: float = 0.8,
        skips: bool = True,
        width: int = 64,
    ) -> None:
        super().__init__(encoder, views)
        self.intensity, self.shuffle, self.paint, self.outside = intensity, shuffle, paint, outside
        self.decoder = image_decoder(encoder, width=width, skips=skips)
        self._orders = torch.empty(0, 0, dtype=torch.long)

    def loss(self, batch: Batch) -> Tensor:
        target = self.views.weak(batch.images, self.generator)
        disturbed = self.views.standardise(self.disturbed(target))
        restored = self.decoder(self.encoder.features(disturbed), target.shape[2:])
        return F.mse_loss(restored.float(), self.views.standardise(target))

    def disturbed(self, x: Tensor) -> Tensor:
        """A disturbed copy of images (b, c, *space) in [0, 1]."""
        width = 12 + 2 * BOXES * (x.ndim - 2)
        u = torch.rand(len(x), width, generator=self.generator, device=self.generator.device).to(x.device)
        falling = (u[:, 1] < 0.5) & (not self.views.preset.quantitative)
        curved = through_curve(x, intensity_curve(u[:, 2:6], falling))
        x = torch.where(along(u[:, 0] < self.intensity, x), curved, x)
        x = torch.where(along(u[:, 6] < self.shuffle, x), self._shuffled(x, u[:, 7]), x)
        noise = torch.special.ndtr(self.views.normal(x, u[:, 8]))  # uniform in [0, 1]
        outward = u[:, 9] < self.outside
        boxed = boxes(u[:, 12:], outward, u[:, 10], *x.shape[2:])
        painted = (boxed ^ along(outward, x)) & along(u[:, 11] < self.paint, x)
        return torch.where(painted, noise, x)

    def _shuffled(self, x: Tensor, which: Tensor) -> Tensor:
        size = x.shape[2:]
        if self._orders.shape[1] != size.numel() or self._orders.device != x.device:
            self._orders = local_shuffles(*size).to(x.device)
        order = self._orders[(which * SHUFFLES).long()][:, None].expand(-1, x.shape[1], -1)
        return x.flatten(2).gather(2, order).view_as(x)


def intensity_curve(u: Tensor, falling: Tensor) -> Tensor:
    """Values (b, KNOTS) of Bézier curves from (0, 0) to (1, 1) with two control points from u (b, 4), at even steps.

    The control points are sorted, so that the curve rises; where `falling` (b,), it is turned upside down.
    """
    t = torch.linspace(0, 1, KNOTS, device=u.device)
    weights = torch.stack([3 * t * (1 - t) ** 2, 3 * t**2 * (1 - t)])
    across = u[:, :2].sort(1).values @ weights + t**3
    up = u[:, 2:].sort(1).values @ weights + t**3
    right = torch.searchsorted(across, t.expand_as(across).contiguous()).clamp_(1, KNOTS - 1)
    x0, x1 = across.gather(1, right - 1), across.gather(1, right)
    y0, y1 = up.gather(1, right - 1), up.gather(1, right)
    curve = y0 + (y1 - y0) * ((t - x0) / (x1 - x0).clamp_min(1e-6)).clamp(0, 1)
    return torch.where(falling[:, None], 1 - curve, curve)


def through_curve(x: Tensor, curve: Tensor) -> Tensor:
    """Images (b, c, *space) in [0, 1] with every intensity replaced by the value of the image's curve (b, KNOTS)."""
    place = x.clamp(0, 1).flatten(1) * (KNOTS - 1)
    left = place.floor().clamp_max_(KNOTS - 2)
    index = left.long()
    low, high = curve.gather(1, index), curve.gather(1, index + 1)
    return torch.lerp(low, high, place - left).view_as(x)


def local_shuffles(*size: int) -> Tensor:
    """(SHUFFLES, pixels) ready pixel orders, each made by shuffling small windows of at most a tenth of the side."""
    rng = np.random.default_rng(0)
    orders = np.tile(np.arange(math.prod(size)).reshape(size), (SHUFFLES, *[1] * len(size)))
    largest = max(min(size) // 10, 2)
    for order in orders:
        for _ in range(WINDOWS[len(size)]):
            side = rng.integers(2, largest + 1)
            corner = [rng.integers(0, length - side + 1) for length in size]
            window = order[tuple(slice(start, start + side) for start in corner)]
            window[:] = rng.permutation(window.ravel()).reshape(window.shape)
    return torch.from_numpy(orders.reshape(SHUFFLES, -1))


def boxes(u: Tensor, large: Tensor, count: Tensor, *size: int) -> Tensor:
    """(b, 1, *size), True inside random boxes from u (b, 2 * dims * BOXES), how many by `count` (b,) in [0, 1).

    Boxes have a sixth to a third of the side, where `large` (b,) three to four sevenths, as the paper's code has it.
    """
    shape, place = u.view(len(u), 2, len(size), BOXES).unbind(1)  # each (b, axis, BOXES)
    least = torch.where(large, 3 / 7, 1 / 6).view(-1, 1, 1)
    spread = torch.where(large, 1 / 7, 1 / 6).view(-1, 1, 1)
    side = least + spread * shape
    start = place * (1 - side)
    used = torch.arange(BOXES, device=u.device) < how_many(count, large)[:, None]
    inside = [_within(length, start[:, axis], side[:, axis]) for axis, length in enumerate(size)]
    inside[0] = inside[0] * used[..., None]
    product = "bnh,bnw->bhw" if len(size) == 2 else "bnd,bnh,bnw->bdhw"
    return (torch.einsum(product, *inside) > 0)[:, None]


def how_many(u: Tensor, large: Tensor) -> Tensor:
    """Numbers of boxes (b,) from u (b,) in [0, 1): after each there is another with probability AGAIN, up to BOXES.

    As in the paper's code there may be no small one, but there is always a first large one.
    """
    run = ((1 - u).log() / math.log(AGAIN)).floor()  # of draws in a row that said "another"
    return torch.where(large, 1 + run, run).clamp_max(BOXES)


def _within(size: int, start: Tensor, side: Tensor) -> Tensor:
    """(b, BOXES, size) with 1 on the pixels whose centre lies in [start, start + side)."""
    centre = (torch.arange(size, device=start.device) + 0.5) / size
    return ((centre >= start[..., None]) & (centre < (start + side)[..., None])).float()
