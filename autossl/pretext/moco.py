"""MoCo v2: recognise the other view, seen by a slow encoder, among a queue of earlier images."""

from typing import ClassVar

import torch
from torch import Tensor, nn

from autossl.nn.encoder import Encoder
from autossl.nn.heads import Teacher, mlp
from autossl.pretext.base import Pretext
from autossl.pretext.batch import Batch
from autossl.pretext.contrast import Queue, chance, halves, info_nce, kin
from autossl.views.images import Views


class MoCo(Pretext):
    """He et al. 2020, Chen et al. 2020: an averaged key encoder and a queue of its keys, the batch's own the newest.

    `teacher_rate` is 1 - momentum. Images of the same patient are no negatives where patients are known. The loss is
    InfoNCE minus the logarithm of the number of candidates (0 is chance), so that it stays comparable while the queue
    fills.
    """

    paradigm: ClassVar[str] = "contrastive"
    dims: ClassVar[frozenset[int]] = frozenset({2, 3})
    passes: ClassVar[float] = 1.4
    paper: ClassVar[str] = "Chen et al. 2020, arXiv 2003.04297; He et al. 2020, arXiv 1911.05722"

    def __init__(
        self,
        encoder: Encoder,
        views: Views,
        *,
        temperature: float = 0.2,
        teacher_rate: float = 0.01,
        queue: int = 2048,
        hidden: int = 512,
        out: int = 128,
    ) -> None:
        super().__init__(encoder, views)
        self.temperature, self.teacher_rate = temperature, teacher_rate
        self.projector = mlp(encoder.dim, hidden, out)
        self.teacher = Teacher(nn.Sequential(encoder, self.projector))
        self.queue = Queue(queue, out)

    def loss(self, batch: Batch) -> Tensor:
        first, second = self.views(batch.images, self.generator, copies=2).chunk(2)
        query, key = self.projector(self.encoder(first)), keys(self.teacher, second, self.generator)
        return queued_nce(query, key, self.queue, self.temperature, batch.groups, self.population)

    def after_step(self, progress: float) -> None:
        self.teacher.update(nn.Sequential(self.encoder, self.projector), self.teacher_rate)


def queued_nce(
    query: Tensor, key: Tensor, queue: Queue, temperature: float, groups: Tensor | None, population: int | None
) -> Tensor:
    """InfoNCE, less that of guessing, of queries (b, d) and their keys (b, d) among these and a queue, which grows."""
    earlier, owners = queue.entries(population)
    excluded = kin(len(key), groups, owners, like=key)
    loss = info_nce(query, key, torch.cat([key, earlier]), temperature, excluded)
    queue.push(key, groups, population)
    return loss - chance(excluded)


def keys(teacher: Teacher, views: Tensor, generator: torch.Generator) -> Tensor:
    """Keys (b, out), encoded in two random halves: shared batch statistics would give the positive away."""
    order, parts = halves(len(views), generator, views.device)
    found: Tensor = torch.cat([teacher(views[part]) for part in parts])
    return found[order.argsort()]
