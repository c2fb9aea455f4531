"""Denoising: find the clean image in a noisy one."""

from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from autossl.nn.encoder import Encoder
from autossl.pretext.base import Pretext, image_decoder
from autossl.pretext.batch import Batch
from autossl.views.images import Views
from autossl.views.intensity import along


class Denoising(Pretext):
    """Vincent et al. 2008: Gaussian noise of an own strength for each image, up to `sigma` of the full range."""

    paradigm: ClassVar[str] = "generative"
    dims: ClassVar[frozenset[int]] = frozenset({2, 3})
    passes: ClassVar[float] = 1.2
    paper: ClassVar[str] = "Vincent et al. 2008, doi 10.1145/1390156.1390294"

    def __init__(
        self, encoder: Encoder, views: Views, *, sigma: float = 0.25, skips: bool = True, width: int = 64
    ) -> None:
        super().__init__(encoder, views)
        self.sigma = sigma
        self.decoder = image_decoder(encoder, width=width, skips=skips)

    def loss(self, batch: Batch) -> Tensor:
        clean = self.views.weak(batch.images, self.generator)
        drawn = torch.rand(len(clean), 2, generator=self.generator, device=self.generator.device).to(clean.device)
        strength = along(drawn[:, 0] * self.sigma, clean)
        noisy = torch.addcmul(clean, self.views.normal(clean, drawn[:, 1]), strength)
        restored = self.decoder(self.encoder.features(self.views.standardise(noisy)), clean.shape[2:])
        return F.mse_loss(restored.float(), self.views.standardise(clean))
