"""The triple of Swin UNETR: fill in what was cut out, know an image again, tell how it was turned."""

import math
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from autossl.nn.encoder import Encoder
from autossl.pretext.base import Pretext, image_decoder
from autossl.pretext.batch import Batch
from autossl.pretext.inpainting import within
from autossl.pretext.rotation import in_ball, turn, unfaded
from autossl.pretext.simclr import nt_xent
from autossl.views.images import Views

SHORTEST = 0.05  # side of a box at least, as a share of the image's
SPARE = 1.5  # boxes drawn for each that is needed on average


class SwinUNETR(Pretext):
    """Tang et al. 2022: L1 inpainting, NT-Xent and four-way rotation of two disturbed views of an image, summed.

    A view is turned by a right angle in the plane of the last two axes; then boxes with sides of SHORTEST to `side`,
    together up to a random part of `share`, are filled with noise, and further boxes up to another such part with the
    same place of another image, also turned. So up to twice the share is cut out, as in the code; the paper says up to
    30 %. Boxes are added while they fit, where the code's last one may go over. The restored image is compared with the
    turned view everywhere. The three heads are a linear layer, a linear layer and a decoder without skips.

    The paper takes one crop for both views; here each has its own, as brightness and background are otherwise enough to
    know an image again (on toy letters the embedding became worse).

    As in `rotation` only a disc is shown, of volumes a cylinder, and no view fades with depth: nothing gives the
    angle away. Images of one patient are no negatives where patients are known.
    """

    paradigm: ClassVar[str] = "hybrid"
    dims: ClassVar[frozenset[int]] = frozenset({2, 3})
    passes: ClassVar[float] = 2.5  # measured 1.9 for images, 3.1 for volumes of 28 pixels a side
    paper: ClassVar[str] = "Tang et al. 2022, arXiv 2111.14791"
    needs: ClassVar[frozenset[str]] = frozenset({"orientation"})

    def __init__(
        self,
        encoder: Encoder,
        views: Views,
        *,
        inpainting: float = 1.0,
        contrast: float = 1.0,
        rotation: float = 1.0,
        share: float = 0.3,
        side: float = 0.25,
        temperature: float = 0.5,
        skips: bool = False,
        width: int = 64,
        out: int = 512,
    ) -> None:
        super().__init__(encoder, views)
        self.unfaded = unfaded(views)
        self.weights = (inpainting, contrast, rotation)
        self.share, self.side, self.temperature = share, side, temperature
        plane = (encoder.dims, encoder.dims + 1)
        self.turns = [(angle, plane) for angle in range(4)]
        self.boxes = math.ceil(SPARE * share / ((SHORTEST + side) / 2) ** encoder.dims)
        self.head = nn.Linear(encoder.dim, len(self.turns))
        self.projector = nn.Linear(encoder.dim, out)
        self.decoder = image_decoder(encoder, width=width, skips=skips)

    def loss(self, batch: Batch) -> Tensor:
        x = in_disc(self.unfaded(batch.images, self.generator, copies=2))
        device = self.generator.device
        first = torch.randint(len(self.turns), (2,), generator=self.generator, device=device).tolist()
        copies = [turn(view, number, self.turns) for view, number in zip(x.chunk(2), first, strict=True)]
        target, label = torch.cat([copy for copy, _ in copies]), torch.cat([number for _, number in copies])
        seen = self.encoder.features(self.disturbed(target))
        restored = self.decoder(seen, target.shape[2:])
        losses = (
            F.l1_loss(restored.float(), target),
            nt_xent(self.projector(seen.pooled), self.temperature, batch.groups),
            self.answered(self.head(seen.pooled), label),
        )
        return torch.stack([weight * loss for weight, loss in zip(self.weights, losses, strict=True)]).sum()

    def disturbed(self, x: Tensor) -> Tensor:
        """Two views (2b, c, *space) of a batch with boxes of noise and then of another image."""
        n, device, dims = len(x), self.generator.device, x.ndim - 2
        u = torch.rand(2, n, self.boxes, 2 * dims, generator=self.generator, device=device).to(x.device)
        drawn = torch.rand(3, n, generator=self.generator, device=device).to(x.device)
        shift = int(torch.randint(1, max(n // 2, 2), (), generator=self.generator, device=device))
        noisy, foreign = (
            box_mask(boxes, self.share * part, self.side, *x.shape[2:]) for boxes, part in zip(u, drawn, strict=False)
        )
        return torch.where(foreign, x.roll(shift, 0), torch.where(noisy, self.views.normal(x, drawn[2]), x))


def in_disc(x: Tensor) -> Tensor:
    """Standardised images (b, c, *space) with the mean, 0, outside a disc in the plane of the last two axes."""
    shown = in_ball(x.flatten(1, -3))
    return shown.reshape(*x.shape[:-2], *shown.shape[2:])


def box_mask(u: Tensor, share: Tensor, side: float, *size: int) -> Tensor:
    """(b, 1, *size), True in the first boxes that together have at most the share `share` (b,) of the image.

    u (b, boxes, 2 * dims) gives lengths and places; a box is SHORTEST to `side` of the image long along each axis.
    """
    dims = len(size)
    inside, volume = [], torch.ones(u.shape[:2], device=u.device)
    for axis, whole in enumerate(size):
        length = (whole * torch.lerp(torch.full_like(u[..., axis], SHORTEST), u.new_tensor(side), u[..., axis])).round()
        length = length.clamp(1, whole)
        inside.append(within(whole, (u[..., dims + axis] * (whole - length + 1)).floor(), length))
        volume = volume * length
    used = volume.cumsum(1) <= share[:, None] * math.prod(size)
    first, second, *last = [(inside[0] & used[..., None]), *inside[1:]]
    across = (second[..., None] & last[0][..., None, :]).flatten(2) if last else second
    # how many boxes cover a pixel is one matrix product, so no mask of every box is held
    covered = first.float().mT @ across.float() > 0
    return covered.view(len(u), 1, *size)
