"""Volume fusion: segment by how much each pixel comes from a second image."""

from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from autossl.errors import UserError
from autossl.nn.encoder import Encoder
from autossl.pretext.base import Pretext, image_decoder
from autossl.pretext.batch import Batch
from autossl.pretext.inpainting import within
from autossl.views.images import Views

SMALLEST = 0.06  # side of a box as a share of the image's
FEWEST = 0.25  # boxes at least, as a share of the most
MOST = 52  # boxes, a bit of a float64 each


class VolumeFusion(Pretext):
    """Wang et al. 2023: two images are mixed in boxes, and each pixel's mixing coefficient is its class.

    A quarter to all of `boxes` boxes are laid over each other, each with a coefficient of 1 / `levels` to 1, drawn for
    it; outside all of them it is 0. A box has 6 % to the share `side` of the image along each axis, drawn for each
    axis. The partner is another image of the batch. The loss is cross-entropy plus soft Dice over all levels + 1
    classes, the empty ones too. The paper has 10 to 40 boxes in volumes; in images as many cover nearly everything.

    Raises UserError for more than 52 boxes.
    """

    paradigm: ClassVar[str] = "generative"
    dims: ClassVar[frozenset[int]] = frozenset({2, 3})
    passes: ClassVar[float] = 1.6  # of images 1.0
    paper: ClassVar[str] = "Wang et al. 2023, arXiv 2306.16925"

    def __init__(
        self,
        encoder: Encoder,
        views: Views,
        *,
        levels: int = 4,
        boxes: int = 40,
        side: float = 0.62,
        skips: bool = True,
        width: int = 64,
    ) -> None:
        super().__init__(encoder, views)
        if not 1 <= boxes <= MOST:
            raise UserError(f"1 to {MOST} boxes were wanted for volume fusion, found {boxes}; use 10 to 40")
        self.levels, self.boxes, self.side = levels, boxes, max(side, SMALLEST)
        self.decoder = image_decoder(encoder, width=width, skips=skips, channels=levels + 1)

    def loss(self, batch: Batch) -> Tensor:
        x = self.views.standardise(self.views.weak(batch.images, self.generator))
        fused, classes = self.fused(x)
        answers = self.decoder(self.encoder.features(fused), x.shape[2:]).float()
        return self.answered(answers, classes) + dice(answers, classes)

    def fused(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Images (b, c, *space) mixed with partners, and the class of each pixel, (b, *space) in 0 to `levels`."""
        size, device = x.shape[2:], self.generator.device
        u = torch.rand(len(x), 1 + self.boxes * (1 + 2 * len(size)), generator=self.generator, device=device)
        u = u.to(x.device)
        step = 1 + torch.randint(max(len(x) - 1, 1), (), generator=self.generator, device=device)
        partner = x.roll(int(step), 0)  # a batch is in random order
        count = (FEWEST + (1 - FEWEST) * u[:, 0]) * self.boxes
        classes = painted(u[:, 1:].view(len(x), self.boxes, -1), count.round(), self.levels, self.side, *size)
        return torch.lerp(x, partner, (classes / self.levels)[:, None]), classes


def painted(u: Tensor, count: Tensor, levels: int, side: float, *size: int) -> Tensor:
    """Classes (b, *size): 0, or that of the last box over a pixel, of the first `count` (b,) of n boxes.

    u (b, n, 1 + 2 * dims) in [0, 1) gives a box's class from 1 to `levels`, then its shape and place along each axis.
    """
    dims, (b, n) = len(size), u.shape[:2]
    used = torch.arange(n, device=u.device) < count[:, None]
    bit = 2 ** torch.arange(n, device=u.device)
    over = torch.where(used, bit, 0).sum(1).view(b, *[1] * dims)  # a number whose bits are the boxes over a pixel
    for axis, length in enumerate(size):
        span = ((SMALLEST + (side - SMALLEST) * u[..., 1 + axis]) * length).round().clamp_min(1)
        start = (u[..., 1 + dims + axis] * (length - span + 1)).floor()
        along = [length if other == axis else 1 for other in range(dims)]
        over = over & (within(length, start, span) * bit[:, None]).sum(1).view(b, *along)
    last = torch.frexp(over.double()).exponent  # number of the highest bit, counted from 1
    drawn = F.pad(1 + (u[..., 0] * levels).long(), (1, 0))
    return drawn.gather(1, last.flatten(1).long()).view(b, *size)


def dice(answers: Tensor, classes: Tensor) -> Tensor:
    """One minus the soft Dice coefficient of answers (b, k, *space) and classes (b, *space), averaged over k.

    Sums run over the batch, so that a class which an image lacks does not count as missed.
    """
    k = answers.shape[1]
    shares = answers.softmax(1).transpose(0, 1).flatten(1)
    right = F.one_hot(classes.flatten(), k).T.to(shares)
    overlap, total = (shares * right).sum(1), (shares + right).sum(1)
    return 1 - (2 * overlap / total.clamp_min(1e-6)).mean()
