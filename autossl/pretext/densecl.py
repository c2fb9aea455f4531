"""DenseCL: tell the cell that shows the same thing in the other view from earlier images, and whole images likewise."""

from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from autossl.nn.encoder import Encoder
from autossl.nn.heads import Teacher, mlp
from autossl.nn.tokens import taken
from autossl.pretext.base import Pretext
from autossl.pretext.batch import Batch
from autossl.pretext.contrast import Queue, chance, halves, info_nce, kin
from autossl.pretext.dense import cells, dense_level, dense_map, each
from autossl.views.images import Views


class DenseCL(Pretext):
    """Wang et al. 2021: MoCo on images and on cells, (1 - weight) * global + weight * dense, each with its queue.

    The key of a cell is the cell of the other view whose backbone features are most alike; its negatives are the mean
    dense keys of other images. Images of the same patient are no negatives where patients are known. `teacher_rate` is
    1 - momentum. Both losses are taken less their chance level, as in MoCo. On small images the cells are those of a
    finer stage (`dense_map`).
    """

    paradigm: ClassVar[str] = "contrastive"
    passes: ClassVar[float] = 1.5
    paper: ClassVar[str] = "Wang et al. 2021, arXiv 2011.09157"
    needs: ClassVar[frozenset[str]] = frozenset({"dense map"})

    def __init__(
        self,
        encoder: Encoder,
        views: Views,
        *,
        weight: float = 0.5,
        temperature: float = 0.2,
        teacher_rate: float = 0.01,
        queue: int = 2048,
        hidden: int = 512,
        out: int = 128,
    ) -> None:
        super().__init__(encoder, views)
        self.weight, self.temperature, self.teacher_rate = weight, temperature, teacher_rate
        self.level = dense_level(encoder)
        self.projector = mlp(encoder.dim, hidden, out)
        self.dense_projector = mlp(sum(encoder.pyramid_channels[self.level :]), hidden, out)
        self.teacher = Teacher(self._student())
        self.queue, self.dense_queue = Queue(queue, out), Queue(queue, out)

    def loss(self, batch: Batch) -> Tensor:
        first, second = self.views(batch.images, self.generator, copies=2).chunk(2)
        query, features, dense_query = encoded(self._student(), first, self.level)
        key, key_features, dense_key = self._keys(second)
        positive = taken(dense_key, most_alike(features, key_features))
        mean_key = F.normalize(dense_key, dim=2).mean(1)
        whole = self._contrast(query[:, None], key[:, None], key, self.queue, batch.groups)
        dense = self._contrast(dense_query, positive, mean_key, self.dense_queue, batch.groups)
        return torch.lerp(whole, dense, self.weight)

    def _student(self) -> nn.Module:
        return nn.ModuleList([self.encoder, self.projector, self.dense_projector])

    @torch.no_grad()
    def _keys(self, views: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The teacher's answers, given in two random halves: shared batch statistics would give the positive away."""
        order, parts = halves(len(views), self.generator, views.device)
        answers = [encoded(self.teacher.module, views[part], self.level) for part in parts]
        whole, features, dense = (torch.cat(found)[order.argsort()] for found in zip(*answers, strict=True))
        return whole, features, dense

    def _contrast(self, query: Tensor, positive: Tensor, keys: Tensor, queue: Queue, groups: Tensor | None) -> Tensor:
        """InfoNCE of queries (b, n, d) against the keys (b, d) of other images and the queue, which takes them in."""
        earlier, owners = queue.entries(self.population)
        excluded = kin(len(keys), groups, owners, like=keys)
        rows = excluded.repeat_interleave(query.shape[1], 0)
        others = torch.cat([keys, earlier])
        loss = info_nce(query.flatten(0, 1), positive.flatten(0, 1), others, self.temperature, rows)
        queue.push(keys, groups, self.population)
        return loss - chance(excluded)

    def after_step(self, progress: float) -> None:
        self.teacher.update(self._student(), self.teacher_rate)


def encoded(network: nn.Module, views: Tensor, level: int) -> tuple[Tensor, Tensor, Tensor]:
    """Projections (b, d), backbone features of the cells (b, n, c) and their projections (b, n, d)."""
    assert isinstance(network, nn.ModuleList)
    encoder, projector, dense_projector = network
    assert isinstance(encoder, Encoder)
    found = encoder.features(views)
    features = cells(dense_map(found.pyramid, level))
    return projector(found.pooled), features, each(dense_projector, features)


def most_alike(mine: Tensor, theirs: Tensor) -> Tensor:
    """For each cell of (b, n, c) the number (b, n) of the cell of the other view with the largest cosine."""
    mine, theirs = F.normalize(mine.detach().float(), dim=2), F.normalize(theirs.float(), dim=2)
    return (mine @ theirs.mT).argmax(2)
