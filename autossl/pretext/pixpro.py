"""PixPro: a pixel, smoothed with its like, agrees with what lies at the same place in the other view."""

import math
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from autossl.nn.encoder import Encoder
from autossl.nn.heads import Teacher, mlp
from autossl.pretext.base import Pretext
from autossl.pretext.batch import Batch
from autossl.pretext.dense import cells, dense_level, dense_map, each
from autossl.views.images import Views


class PixPro(Pretext):
    """Xie et al. 2021: pixel-to-propagation consistency against an averaged teacher; no negatives.

    Cells are positives where they lie closer in the original image than `reach` times the diagonal of the larger of
    their views' cells. Propagation replaces a cell by the transformed cells of its view, weighted by their cosines to
    the power `sharpness` (>= 1). `teacher_rate` is 1 - momentum in the first step and falls to 0 along a cosine. On
    small images the cells are those of a finer stage (`dense_map`).
    """

    paradigm: ClassVar[str] = "non-contrastive and predictive"
    passes: ClassVar[float] = 2.7
    paper: ClassVar[str] = "Xie et al. 2021, arXiv 2011.10043"
    needs: ClassVar[frozenset[str]] = frozenset({"dense map", "mean pooling"})

    def __init__(
        self,
        encoder: Encoder,
        views: Views,
        *,
        reach: float = 0.7,
        sharpness: float = 2.0,
        teacher_rate: float = 0.01,
        hidden: int = 512,
        out: int = 128,
    ) -> None:
        super().__init__(encoder, views)
        self.reach, self.sharpness, self.teacher_rate = reach, sharpness, teacher_rate
        self.level = dense_level(encoder)
        self.projector = mlp(sum(encoder.pyramid_channels[self.level :]), hidden, out)
        self.transform = nn.Linear(out, out)
        self.teacher = Teacher(nn.ModuleList([encoder, self.projector]))

    def loss(self, batch: Batch) -> Tensor:
        images = batch.images
        u = self.views.draw(images, self.generator, copies=2)
        shown = self.views.apply(images, u)
        found = dense_map(self.encoder.pyramid(shown), self.level)
        student = each(self.projector, cells(found))
        first, second = propagated(student, each(self.transform, student), self.sharpness).chunk(2)
        one, other = self._target(shown).chunk(2)
        size, grid = (images.shape[2], images.shape[3]), (found.shape[2], found.shape[3])
        here, there = self.views.places(u, size, grid).chunk(2)
        near = neighbours(here, there, self.reach)
        return pixpro(first, other, near) + pixpro(second, one, near.mT)

    @torch.no_grad()
    def _target(self, views: Tensor) -> Tensor:
        assert isinstance(self.teacher.module, nn.ModuleList)
        encoder, projector = self.teacher.module
        assert isinstance(encoder, Encoder)
        return each(projector, cells(dense_map(encoder.pyramid(views), self.level)))

    def after_step(self, progress: float) -> None:
        rate = self.teacher_rate * (math.cos(math.pi * progress) + 1) / 2
        self.teacher.update(nn.ModuleList([self.encoder, self.projector]), rate)


def propagated(x: Tensor, transformed: Tensor, sharpness: float) -> Tensor:
    """Each cell of x (b, n, d) as the sum of the transformed cells, weighted by max(cosine, 0) ** sharpness."""
    unit = F.normalize(x.float(), dim=2)
    return (unit @ unit.mT).clamp_min(0).pow(sharpness) @ transformed.float()


def neighbours(first: Tensor, second: Tensor, reach: float) -> Tensor:
    """(b, n, n), True where cells of two views with places (b, rows, columns, 2) lie within `reach` diagonals."""
    diagonal = torch.stack([(p[:, 1, 1] - p[:, 0, 0]).norm(dim=1) for p in (first, second)]).amax(0)
    return torch.cdist(first.flatten(1, 2), second.flatten(1, 2)) < reach * diagonal[:, None, None]


def pixpro(predicted: Tensor, target: Tensor, near: Tensor) -> Tensor:
    """Mean of 1 - cos between cells (b, n, d) of two views over the pairs `near` (b, n, n) of an image.

    Averaged over the images that have such pairs; 0 if none has.
    """
    cosines = F.normalize(predicted.float(), dim=2) @ F.normalize(target.float(), dim=2).mT
    pairs = near.sum((1, 2))
    distances = ((1 - cosines) * near).sum((1, 2)) / pairs.clamp_min(1)
    return distances.sum() / (pairs > 0).sum().clamp_min(1)
