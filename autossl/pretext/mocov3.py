"""MoCo v3: both views predict each other's key, seen by a slow encoder, among the keys of the batch."""

import math
from typing import ClassVar

from torch import Tensor, nn

from autossl.nn.encoder import Encoder
from autossl.nn.heads import Teacher, mlp
from autossl.pretext.base import Pretext
from autossl.pretext.batch import Batch
from autossl.pretext.contrast import info_nce, kin
from autossl.views.images import Views


class MoCoV3(Pretext):
    """Chen et al. 2021: symmetric InfoNCE with a predictor and an averaged key encoder, without a queue.

    `teacher_rate` is 1 - momentum in the first step and falls to 0 along a cosine. Images of the same patient are no
    negatives where patients are known. Patch embeddings are trained, not frozen.
    """

    paradigm: ClassVar[str] = "contrastive"
    dims: ClassVar[frozenset[int]] = frozenset({2, 3})
    passes: ClassVar[float] = 2.7
    paper: ClassVar[str] = "Chen et al. 2021, arXiv 2104.02057"

    def __init__(
        self,
        encoder: Encoder,
        views: Views,
        *,
        temperature: float = 0.2,
        teacher_rate: float = 0.01,
        hidden: int = 512,
        out: int = 128,
    ) -> None:
        super().__init__(encoder, views)
        self.temperature, self.teacher_rate = temperature, teacher_rate
        self.projector = mlp(encoder.dim, hidden, out, last_norm=True)
        self.predictor = mlp(out, hidden, out, last_norm=True)
        self.teacher = Teacher(nn.Sequential(encoder, self.projector))

    def loss(self, batch: Batch) -> Tensor:
        views = self.views(batch.images, self.generator, copies=2)
        first, second = self.predictor(self.projector(self.encoder(views))).chunk(2)
        one, other = self.teacher(views).chunk(2)
        excluded = kin(len(one), batch.groups, like=one)
        return mocov3(first, other, self.temperature, excluded) + mocov3(second, one, self.temperature, excluded)

    def after_step(self, progress: float) -> None:
        rate = self.teacher_rate * (math.cos(math.pi * progress) + 1) / 2
        self.teacher.update(nn.Sequential(self.encoder, self.projector), rate)


def mocov3(query: Tensor, key: Tensor, temperature: float, excluded: Tensor) -> Tensor:
    """InfoNCE of queries and keys (b, d) times 2 * temperature; `excluded` (b, b) keys are no negatives."""
    return 2 * temperature * info_nce(query, key, key, temperature, excluded)
