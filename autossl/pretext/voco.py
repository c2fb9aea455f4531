"""VoCo: tell how far a random crop overlaps each cell of a grid over its volume."""

import math
from dataclasses import replace
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from autossl.nn.encoder import Encoder
from autossl.nn.heads import mlp
from autossl.pretext.base import Pretext
from autossl.pretext.batch import Batch
from autossl.pretext.jigsaw import fitted
from autossl.views.images import Views

FLOOR = 1e-6  # added inside the logarithm, as in the published code


class VoCo(Pretext):
    """Wu et al. 2024: the cosine of a random crop with each base crop is to be the share of it that lies in there.

    Base crops are the cells of `grid` by `grid` columns, in volumes of `layers` cells from front to back (the paper: 4,
    4 and 1); `crops` random crops of the same size lie anywhere in the grid, so that their shares add up to 1. Sizes
    follow from the image: a crop is as long and wide as a cell. Random crops are taken from the image at another
    intensity than base crops, as equal voxels would give overlaps away. The embedding is projected, not all stages as
    in the paper, because it is what is scored.

    Paper and code differ. The paper has one loss for all pairs, -log(1 - |overlap - cosine|); here, as in the code,
    that is for pairs that overlap, weighted by their overlap, and pairs that do not have the squared cosine, both with
    cosines below 0 set to 0. Base crops get no gradient from the prediction and there is no teacher, as in the paper;
    the code averages both directions between a student and a teacher. The regulariser, weighted by `spread`, is the
    paper's mean cosine between base crops of an image, those below 0 set to 0 as in the code, which squares the rest.
    """

    paradigm: ClassVar[str] = "contrastive"
    dims: ClassVar[frozenset[int]] = frozenset({2, 3})
    passes: ClassVar[float] = 2.9  # measured 3.5 for images, 2.4 for volumes of 28 pixels a side: small crops are slow
    paper: ClassVar[str] = "Wu et al. 2024, arXiv 2402.17300"

    def __init__(
        self,
        encoder: Encoder,
        views: Views,
        *,
        grid: int = 3,
        layers: int = 1,
        crops: int = 4,
        spread: float = 1.0,
        hidden: int = 512,
        out: int = 128,
    ) -> None:
        super().__init__(encoder, views)
        self.counts = (layers, grid, grid)[-encoder.dims :]
        self.crops, self.spread = crops, spread
        self.intensity = intensity_only(views)
        self.projector = mlp(encoder.dim, hidden, out)

    def loss(self, batch: Batch) -> Tensor:
        x = self.views.weak(batch.images, self.generator)
        b, dims = len(x), len(self.counts)
        one, other = self.intensity(x, self.generator, copies=2).chunk(2)
        cell = [side // count for side, count in zip(x.shape[2:], self.counts, strict=True)]
        drawn = torch.rand(b, self.crops, dims, generator=self.generator, device=self.generator.device).to(x.device)
        corner = random_corners(drawn, cell, self.counts)
        based = grid_corners(cell, self.counts, x.device).expand(b, -1, -1)
        crops = torch.cat([cut(one, based, cell), cut(other, corner, cell)])
        seen = self.projector(self.encoder(fitted(crops, self.encoder)))
        base, random = seen[: based[..., 0].numel()], seen[based[..., 0].numel() :]
        return voco(
            base.view(b, -1, base.shape[1]),
            random.view(b, self.crops, -1),
            overlaps(corner, cell, self.counts),
            self.spread,
        )


def intensity_only(views: Views) -> Views:
    """Views with the same intensities that leave every pixel in its place."""
    still = replace(views.preset, hflip=False, vflip=False, turns=False, rotate=0.0, elastic=0.0, shear=0.0)
    return views.under(still, crop_min=1.0)


def grid_corners(cell: list[int], counts: tuple[int, ...], device: torch.device) -> Tensor:
    """First pixels (cells, dims) of the cells of a grid, the last axis running fastest."""
    axes = [torch.arange(count, device=device) * side for side, count in zip(cell, counts, strict=True)]
    return torch.cartesian_prod(*axes)


def random_corners(drawn: Tensor, cell: list[int], counts: tuple[int, ...]) -> Tensor:
    """First pixels (b, n, dims) of crops as large as a cell, anywhere in the grid, from `drawn` in [0, 1)."""
    room = [side * (count - 1) + 1 for side, count in zip(cell, counts, strict=True)]
    return (drawn * torch.tensor(room, device=drawn.device)).long()


def cut(x: Tensor, corner: Tensor, size: list[int]) -> Tensor:
    """Crops (b * n, c, *size) of images (b, c, *space) from their corners (b, n, dims) on, image by image."""
    b, n, dims = corner.shape
    at = []
    for axis, side in enumerate(size):
        along = [1] * dims
        along[axis] = side
        at.append((corner[..., axis, None] + torch.arange(side, device=x.device)).view(b, n, *along))
    image = torch.arange(b, device=x.device).view(b, *[1] * (dims + 1))
    found = x.movedim(1, -1)[image, *at]  # (b, n, *size, c)
    return found.flatten(0, 1).movedim(-1, 1)


def overlaps(corner: Tensor, cell: list[int], counts: tuple[int, ...]) -> Tensor:
    """The share of each crop (b, n, dims) that lies in each cell of the grid, (b, n, cells)."""
    share = torch.ones(*corner.shape[:2], 1, device=corner.device)
    for axis, (side, count) in enumerate(zip(cell, counts, strict=True)):
        away = (corner[..., axis, None] - torch.arange(count, device=corner.device) * side).abs()
        along = (1 - away / side).clamp_min(0)
        share = (share[..., None] * along[..., None, :]).flatten(2)
    return share


def voco(base: Tensor, random: Tensor, share: Tensor, spread: float) -> Tensor:
    """Prediction and regularisation of base crops (b, k, d) and random crops (b, n, d) that overlap by `share`.

    `share` (b, n, k) is the part of each random crop that lies in each base crop.
    """
    base, random = F.normalize(base.float(), dim=2), F.normalize(random.float(), dim=2)
    cosine = (random @ base.detach().mT).relu()
    apart = (share == 0).float()
    positive = -(share * (1 - (share - cosine).abs() + FLOOR).log()).sum() / share.sum()
    negative = (apart * cosine.square()).sum() / apart.sum().clamp_min(1)
    return positive + negative + spread * alike(base)


def alike(base: Tensor) -> Tensor:
    """Mean cosine, not below 0, of different base crops (b, k, d) of an image; they have length 1."""
    k = base.shape[1]
    pairs = (base @ base.mT).relu()
    own = pairs.diagonal(dim1=1, dim2=2).sum()
    return (pairs.sum() - own) / max(math.perm(k, 2) * len(base), 1)
