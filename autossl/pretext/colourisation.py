"""Colourisation: find the colours of an image shown in grey."""

from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor

from autossl.nn.encoder import Encoder
from autossl.pretext.base import Pretext, image_decoder
from autossl.pretext.batch import Batch
from autossl.views.images import Views


class Colourisation(Pretext):
    """Zhang et al. 2016, as a regression (L1) of what each channel differs from grey by, over the whole image.

    Grey is the mean of the channels: stains have no luminance that eyes would agree on.
    """

    paradigm: ClassVar[str] = "generative"
    passes: ClassVar[float] = 1.2
    paper: ClassVar[str] = "Zhang et al. 2016, arXiv 1603.08511"
    needs: ClassVar[frozenset[str]] = frozenset({"colour"})

    def __init__(self, encoder: Encoder, views: Views, *, skips: bool = True, width: int = 64) -> None:
        super().__init__(encoder, views)
        self.decoder = image_decoder(encoder, width=width, skips=skips)

    def loss(self, batch: Batch) -> Tensor:
        coloured = self.views.weak(batch.images, self.generator)
        grey = coloured.mean(1, keepdim=True).expand_as(coloured)
        shown = self.views.standardise(grey)
        restored = self.decoder(self.encoder.features(shown), (shown.shape[2], shown.shape[3]))
        return F.l1_loss(restored.float(), self.views.standardise(coloured) - shown)
