"""ReSSL: keep the relations to earlier images that a slow teacher sees in a mildly changed view."""

import math
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from autossl.nn.encoder import Encoder
from autossl.nn.heads import Teacher, mlp
from autossl.pretext.base import Pretext
from autossl.pretext.batch import Batch
from autossl.pretext.contrast import Queue, kin
from autossl.views.images import Views

NEVER = -1e4  # a cosine over a temperature that leaves no share, and unlike infinity no NaN where nothing is left


class ReSSL(Pretext):
    """Zheng et al. 2021: the student's similarities to a queue follow the teacher's sharper ones.

    The teacher sees a weak view (crop and flip), so augmentation does less harm. The batch's other images count as the
    newest entries of the queue; where patients are known, an image is not related to its own patient.
    """

    paradigm: ClassVar[str] = "contrastive"
    dims: ClassVar[frozenset[int]] = frozenset({2, 3})
    passes: ClassVar[float] = 1.4
    paper: ClassVar[str] = "Zheng et al. 2021, arXiv 2107.09282"

    def __init__(
        self,
        encoder: Encoder,
        views: Views,
        *,
        student_temperature: float = 0.1,
        teacher_temperature: float = 0.04,
        teacher_rate: float = 0.01,
        queue: int = 2048,
        hidden: int = 512,
        out: int = 128,
    ) -> None:
        super().__init__(encoder, views)
        self.temperatures, self.teacher_rate = (student_temperature, teacher_temperature), teacher_rate
        self.projector = mlp(encoder.dim, hidden, out)
        self.teacher = Teacher(nn.Sequential(encoder, self.projector))
        self.queue = Queue(queue, out)

    def loss(self, batch: Batch) -> Tensor:
        images = batch.images
        student = self.projector(self.encoder(self.views(images, self.generator)))
        teacher = self.teacher(self.views.standardise(self.views.weak(images, self.generator)))
        earlier, owners = self.queue.entries(self.population)
        excluded = kin(len(images), batch.groups, owners, like=student)
        loss = ressl(student, teacher, torch.cat([teacher, earlier]), *self.temperatures, excluded)
        self.queue.push(teacher, batch.groups, self.population)
        return loss

    def after_step(self, progress: float) -> None:
        rate = self.teacher_rate * (math.cos(math.pi * progress) + 1) / 2
        self.teacher.update(nn.Sequential(self.encoder, self.projector), rate)


def ressl(
    student: Tensor,
    teacher: Tensor,
    others: Tensor,
    student_temperature: float,
    teacher_temperature: float,
    excluded: Tensor,
) -> Tensor:
    """Divergence of the student's relations (b, d) to others (n, d) from the teacher's (b, d), by cosine.

    It is the paper's cross-entropy less the teacher's entropy, which has no gradient and would grow with the queue.
    Others that are `excluded` (b, n) have no share.
    """
    student, teacher, others = (F.normalize(z.float(), dim=1) for z in (student, teacher, others))
    seen = (student @ others.T / student_temperature).masked_fill(excluded, NEVER)
    meant = (teacher @ others.T / teacher_temperature).masked_fill(excluded, NEVER)
    return F.kl_div(seen.log_softmax(1), meant.log_softmax(1), reduction="batchmean", log_target=True)
