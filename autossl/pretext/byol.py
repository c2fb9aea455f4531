"""BYOL: predict what a slowly moving teacher sees in the other view."""

import math
from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor, nn

from autossl.nn.encoder import Encoder
from autossl.nn.heads import Teacher, mlp
from autossl.pretext.base import Pretext
from autossl.pretext.batch import Batch
from autossl.views.images import Views


class BYOL(Pretext):
    """Grill et al. 2020: no negatives; a predictor and an averaged teacher keep the embedding from collapse.

    `teacher_rate` is the share of the way that the teacher follows the student in the first step (1 - momentum); it
    falls to 0 along a cosine.
    """

    paradigm: ClassVar[str] = "non-contrastive and predictive"
    dims: ClassVar[frozenset[int]] = frozenset({2, 3})
    passes: ClassVar[float] = 2.7
    paper: ClassVar[str] = "Grill et al. 2020, arXiv 2006.07733"

    def __init__(
        self, encoder: Encoder, views: Views, *, teacher_rate: float = 0.01, hidden: int = 512, out: int = 128
    ) -> None:
        super().__init__(encoder, views)
        self.teacher_rate = teacher_rate
        self.projector = mlp(encoder.dim, hidden, out)
        self.predictor = mlp(out, hidden, out)
        self.teacher = Teacher(nn.Sequential(encoder, self.projector))

    def loss(self, batch: Batch) -> Tensor:
        views = self.views(batch.images, self.generator, copies=2)
        predicted = self.predictor(self.projector(self.encoder(views)))
        one, other = self.teacher(views).chunk(2)
        first, second = predicted.chunk(2)
        return byol(first, other) + byol(second, one)

    def after_step(self, progress: float) -> None:
        rate = self.teacher_rate * (math.cos(math.pi * progress) + 1) / 2
        self.teacher.update(nn.Sequential(self.encoder, self.projector), rate)


def byol(predicted: Tensor, target: Tensor) -> Tensor:
    """Mean of 2 - 2 cos between predictions and targets (b, d)."""
    return 2 - 2 * F.cosine_similarity(predicted.float(), target.float(), dim=1).mean()
