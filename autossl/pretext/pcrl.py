"""PCRL: tell images apart by embeddings that must also restore them, turned as asked and mixed."""

import copy
from typing import ClassVar, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from autossl.nn.encoder import Encoder, Features
from autossl.nn.heads import Teacher, mlp
from autossl.pretext.base import Pretext, image_decoder
from autossl.pretext.batch import Batch
from autossl.pretext.contrast import Queue, halves
from autossl.pretext.moco import queued_nce
from autossl.views.images import Views

TURNS = 3  # left to right, upside down, rows for columns: eight ways to lay a square


class PCRL(Pretext):
    """After Zhou et al. 2021: momentum contrast, and restoration from the same maps conditioned on a transformation.

    The decoder learns from an attention over the channels of the coarsest map in which of eight ways the image is to be
    laid. It restores the view without its intensity jitter, and, from maps of the encoder and its teacher mixed at a
    random rate, the two views mixed alike. No skips, so that all passes the encoder. `weight` is the share of
    restoration. The paper has more transformations and a second contrast, with the mixed embedding.
    """

    paradigm: ClassVar[str] = "hybrid"
    passes: ClassVar[float] = 1.8
    paper: ClassVar[str] = "Zhou et al. 2021, arXiv 2109.04379"

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
        self.plain = copy.copy(views)
        self.plain.jitter = 0.0
        self.projector = mlp(encoder.dim, hidden, out)
        self.teacher = Teacher(nn.Sequential(encoder, self.projector))
        self.queue = Queue(queue, out)
        self.attention = nn.Sequential(
            nn.Linear(TURNS, 64), nn.ReLU(), nn.Linear(64, encoder.pyramid_channels[-1]), nn.Sigmoid()
        )
        self.decoder = image_decoder(encoder, width=64, skips=False, told=False)

    def loss(self, batch: Batch) -> Tensor:
        images = batch.images
        b = len(images)
        u = self.views.draw(images, self.generator, copies=2).chunk(2)
        drawn = torch.rand(b, TURNS + 1, generator=self.generator, device=self.generator.device).to(images.device)
        seen = self.encoder.features(self.views.apply(images, u[0]))
        other, key = self._taught(self.views.apply(images, u[1]))
        contrast = queued_nce(
            self.projector(seen.pooled), key, self.queue, self.temperature, batch.groups, self.population
        )
        code, rate = (drawn[:, :TURNS] < 0.5).float(), drawn[:, TURNS].view(-1, 1, 1, 1)
        one, two = (self.plain.apply(images, rows) for rows in u)
        target = laid(torch.cat([one, torch.lerp(two, one, rate)]), code.repeat(2, 1))
        coarsest = torch.cat([seen.pyramid[-1], torch.lerp(other, seen.pyramid[-1], rate)])
        attended = coarsest * self.attention(code).repeat(2, 1)[..., None, None]
        # of the finer maps a decoder without skips takes the sizes only
        maps = Features(seen.pooled, [*seen.pyramid[:-1], attended])
        restored = self.decoder(maps, (one.shape[2], one.shape[3]))
        return torch.lerp(contrast, F.mse_loss(restored.float(), target), self.weight)

    @torch.no_grad()
    def _taught(self, views: Tensor) -> tuple[Tensor, Tensor]:
        """The teacher's coarsest map and its keys (b, out), encoded in two random halves as those of MoCo."""
        encoder, projector = cast(nn.Sequential, self.teacher.module)
        order, parts = halves(len(views), self.generator, views.device)
        seen = [cast(Encoder, encoder).features(views[part]) for part in parts]
        maps, keys = [found.pyramid[-1] for found in seen], [projector(found.pooled) for found in seen]
        back = order.argsort()
        return torch.cat(maps)[back], torch.cat(keys)[back]

    def after_step(self, progress: float) -> None:
        self.teacher.update(nn.Sequential(self.encoder, self.projector), self.teacher_rate)


def laid(x: Tensor, code: Tensor) -> Tensor:
    """Square images (b, c, s, s) flipped left to right, upside down and transposed where `code` (b, 3) is 1."""
    sideways, over, across = (code[:, way].view(-1, 1, 1, 1) > 0 for way in range(TURNS))
    x = torch.where(sideways, x.flip(3), x)
    x = torch.where(over, x.flip(2), x)
    return torch.where(across, x.transpose(2, 3), x)
