"""DiRA: recognise a disturbed view among others and restore it."""

import copy
from typing import ClassVar

import torch
from torch import Tensor, nn

from autossl.nn.encoder import Encoder
from autossl.nn.heads import Teacher, mlp
from autossl.pretext.base import Pretext, image_decoder
from autossl.pretext.batch import Batch
from autossl.pretext.contrast import Queue
from autossl.pretext.inpainting import hole_mask
from autossl.pretext.moco import keys, queued_nce
from autossl.views.images import Views
from autossl.views.intensity import along


class DiRA(Pretext):
    """Haghighi et al. 2022: MoCo v2 whose query view is disturbed and has to be restored too; without the GAN.

    The query has other intensities and `holes` holes of noise, together of the share `area`; the restored image is
    compared with the undisturbed crop, by `weight` times the mean squared error in units of the full range (the paper:
    10). The adversarial part, which only sharpens what is restored, is left out.
    """

    paradigm: ClassVar[str] = "hybrid"
    passes: ClassVar[float] = 1.6
    paper: ClassVar[str] = "Haghighi et al. 2022, arXiv 2204.10437"

    def __init__(
        self,
        encoder: Encoder,
        views: Views,
        *,
        weight: float = 10.0,
        area: float = 0.25,
        holes: int = 3,
        temperature: float = 0.2,
        teacher_rate: float = 0.01,
        queue: int = 2048,
        skips: bool = True,
        hidden: int = 512,
        out: int = 128,
    ) -> None:
        super().__init__(encoder, views)
        self.weight, self.area, self.holes = weight, area, holes
        self.temperature, self.teacher_rate = temperature, teacher_rate
        self.plain = copy.copy(views)
        self.plain.jitter = 0.0
        self.projector = mlp(encoder.dim, hidden, out)
        self.teacher = Teacher(nn.Sequential(encoder, self.projector))
        self.queue = Queue(queue, out)
        self.decoder = image_decoder(encoder, width=64, skips=skips)

    def loss(self, batch: Batch) -> Tensor:
        images = batch.images
        u, other = self.views.draw(images, self.generator, copies=2).chunk(2)
        clean = self.plain.apply(images, u)
        seen = self.encoder.features(self.disturbed(self.views.apply(images, u)))
        key = keys(self.teacher, self.views.apply(images, other), self.generator)
        query = self.projector(seen.pooled)
        discrimination = queued_nce(query, key, self.queue, self.temperature, batch.groups, self.population)
        restored = self.decoder(seen, (clean.shape[2], clean.shape[3]))
        error: Tensor = (restored.float() - clean) * along(self.views.std.to(clean.device)[None], clean)
        return discrimination + self.weight * error.square().mean()

    def disturbed(self, x: Tensor) -> Tensor:
        """Standardised images (b, c, h, w) with holes of noise."""
        device = self.generator.device
        u = torch.rand(len(x), self.holes, 3, generator=self.generator, device=device).to(x.device)
        place = torch.rand(len(x), generator=self.generator, device=device).to(x.device)
        mask = hole_mask(u, self.area / self.holes, x.shape[2], x.shape[3])
        return torch.where(mask > 0, self.views.normal(x, place), x)

    def after_step(self, progress: float) -> None:
        self.teacher.update(nn.Sequential(self.encoder, self.projector), self.teacher_rate)
