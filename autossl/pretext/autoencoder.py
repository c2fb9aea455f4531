"""Autoencoder: the image through the encoder's last stage and back, the plainest control."""

from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor

from autossl.nn.encoder import Encoder
from autossl.pretext.base import Pretext, image_decoder
from autossl.pretext.batch import Batch
from autossl.views.images import Views


class Autoencoder(Pretext):
    """Hinton and Salakhutdinov 2006: nothing is disturbed; without skips, all has to pass the coarsest map."""

    paradigm: ClassVar[str] = "generative"
    dims: ClassVar[frozenset[int]] = frozenset({2, 3})
    passes: ClassVar[float] = 1.2
    paper: ClassVar[str] = "Hinton and Salakhutdinov 2006, doi 10.1126/science.1127647"

    def __init__(self, encoder: Encoder, views: Views, *, width: int = 64) -> None:
        super().__init__(encoder, views)
        self.decoder = image_decoder(encoder, width=width, skips=False)

    def loss(self, batch: Batch) -> Tensor:
        target = self.views.standardise(self.views.weak(batch.images, self.generator))
        restored = self.decoder(self.encoder.features(target), target.shape[2:])
        return F.mse_loss(restored.float(), target)
