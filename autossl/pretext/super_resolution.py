"""Super-resolution: find the fine image in a coarse one."""

from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor

from autossl.nn.encoder import Encoder
from autossl.nn.intake import LINEAR
from autossl.pretext.base import Pretext, image_decoder
from autossl.pretext.batch import Batch
from autossl.views.images import Views


class SuperResolution(Pretext):
    """Dong et al. 2014, Lim et al. 2017: the input has 1 / `scale` of the pixels a side; the loss is L1 everywhere.

    The coarse image is enlarged again, so that the encoder sees the size it will be used at.
    """

    paradigm: ClassVar[str] = "generative"
    dims: ClassVar[frozenset[int]] = frozenset({2, 3})
    passes: ClassVar[float] = 1.2
    paper: ClassVar[str] = "Dong et al. 2014, arXiv 1501.00092; Lim et al. 2017, arXiv 1707.02921"

    def __init__(self, encoder: Encoder, views: Views, *, scale: int = 4, skips: bool = True, width: int = 64) -> None:
        super().__init__(encoder, views)
        self.scale = scale
        self.decoder = image_decoder(encoder, width=width, skips=skips)

    def loss(self, batch: Batch) -> Tensor:
        target = self.views.standardise(self.views.weak(batch.images, self.generator))
        restored = self.decoder(self.encoder.features(coarse(target, self.scale)), target.shape[2:])
        return F.l1_loss(restored.float(), target)


def coarse(x: Tensor, scale: int) -> Tensor:
    """Images (b, c, *space) averaged over blocks of about `scale` pixels a side and enlarged linearly."""
    size = x.shape[2:]
    small = F.interpolate(x, [max(1, side // scale) for side in size], mode="area")
    return F.interpolate(small, size, mode=LINEAR[len(size)], align_corners=False)
