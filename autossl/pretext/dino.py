"""DINO: give the answer that a slow teacher gives to another crop, over prototypes that nobody named."""

import copy
import math
from typing import ClassVar

import torch
from torch import Tensor, nn

from autossl.nn.encoder import Encoder
from autossl.nn.heads import Prototypes, Teacher, has_batch_norm, mlp
from autossl.pretext.base import Pretext
from autossl.pretext.batch import Batch
from autossl.views.images import COLUMN, Views

LOCAL = (0.05, 0.4)  # share of the area in a local crop


class DINO(Pretext):
    """Caron et al. 2021: self-distillation with a centred and sharpened teacher; two global crops, some local ones.

    Local crops are enlarged to the size of the others, so each costs a whole pass. `teacher_rate` is 1 - momentum in
    the first step and falls to 0 along a cosine; `centre_rate` is the share that the newest batch has in the centre.
    The loss is the paper's cross-entropy less the teacher's entropy, which has no gradient and drifts with the centre.
    The head has `layers` before the prototypes (the paper: 3) and, as in the paper, batch norms only where the encoder
    has some.
    """

    paradigm: ClassVar[str] = "non-contrastive and predictive"
    dims: ClassVar[frozenset[int]] = frozenset({2, 3})
    passes: ClassVar[float] = 2.7
    paper: ClassVar[str] = "Caron et al. 2021, arXiv 2104.14294"

    centre: Tensor

    def __init__(
        self,
        encoder: Encoder,
        views: Views,
        *,
        prototypes: int = 512,
        student_temperature: float = 0.1,
        teacher_temperature: float = 0.04,
        teacher_rate: float = 0.01,
        centre_rate: float = 0.1,
        local_crops: int = 0,
        layers: int = 3,
        hidden: int = 512,
        bottleneck: int = 128,
    ) -> None:
        super().__init__(encoder, views)
        self.temperatures = (student_temperature, teacher_temperature)
        self.teacher_rate, self.centre_rate, self.local_crops = teacher_rate, centre_rate, local_crops
        inner = mlp(encoder.dim, *[hidden] * (layers - 1), bottleneck, normed=has_batch_norm(encoder))
        self.head = nn.Sequential(inner, Prototypes(bottleneck, prototypes))
        self.teacher = Teacher(nn.Sequential(encoder, self.head))
        self.register_buffer("centre", torch.zeros(prototypes))
        self.local = copy.copy(views)
        self.local.crop_min = LOCAL[0]

    def loss(self, batch: Batch) -> Tensor:
        images = batch.images
        views = self.views(images, self.generator, copies=2)
        seen = self.encoder(views)
        if self.local_crops:  # by themselves: batch norms of the teacher see no local crops either
            seen = torch.cat([seen, self.encoder(self.small(images))])
        student = self.head(seen).unflatten(0, (-1, len(images)))
        teacher = self.teacher(views).unflatten(0, (2, len(images)))
        centred = teacher - self.centre
        self.centre.lerp_(teacher.mean((0, 1)), self.centre_rate)
        return dino(student, centred, *self.temperatures) - entropy(centred, self.temperatures[1])

    def small(self, images: Tensor) -> Tensor:
        """Standardised local crops (local_crops * b, c, *space), enlarged to the size of the images."""
        batch = images.repeat(self.local_crops, *[1] * (images.ndim - 1))
        u = self.local.draw(batch, self.generator)
        u[:, COLUMN["area"]] *= (LOCAL[1] - LOCAL[0]) / (1 - LOCAL[0])
        return self.local.apply(batch, u)

    def after_step(self, progress: float) -> None:
        rate = self.teacher_rate * (math.cos(math.pi * progress) + 1) / 2
        self.teacher.update(nn.Sequential(self.encoder, self.head), rate)


def dino(student: Tensor, teacher: Tensor, student_temperature: float, teacher_temperature: float) -> Tensor:
    """Mean cross-entropy of a student's crops (s, b, k) with a centred teacher's (2, b, k), the first two of them.

    A crop is never compared with itself.
    """
    target = (teacher / teacher_temperature).softmax(-1)
    predicted = (student / student_temperature).log_softmax(-1)
    cross = -torch.einsum("tbk,sbk->ts", target, predicted) / target.shape[1]
    return (cross.sum() - cross.diagonal().sum()) / (cross.numel() - len(target))


def entropy(logits: Tensor, temperature: float) -> Tensor:
    """Mean entropy of the answers that logits (..., k) give at this temperature."""
    logs = (logits / temperature).log_softmax(-1)
    return -(logs.exp() * logs).sum(-1).mean()
