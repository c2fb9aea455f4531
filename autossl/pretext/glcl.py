"""Global and local contrast: tell images apart by their embeddings and places apart by the decoder's map."""

from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from autossl.nn.encoder import Encoder, Features
from autossl.nn.heads import Decoder, mlp
from autossl.pretext.base import Pretext
from autossl.pretext.batch import Batch
from autossl.pretext.simclr import nt_xent
from autossl.views.images import COLUMN, EXTRA, Views

GEOMETRY = [COLUMN[name] for name in ("area", "aspect", "left", "top", "hflip", "vflip", "angle", "turn")]
BENDING = [at for name in ("elastic", "shear") for at in range(EXTRA[name].start, EXTRA[name].stop)]


class GLCL(Pretext):
    """Chaitanya et al. 2020: NT-Xent between images, and between the places of one image under two intensities.

    The local loss compares two views of the same crop, so that a place is the same cell of both decoded maps; other
    cells of the map are the negatives. `regions` random cells are compared; a cell of the finest map covers about what
    the paper's 3 x 3 pixels of a half-size map do. The paper trains the stages one after the other and knows slices of
    volumes; here the images are the paper's random strategy, and `weight` is the share of the local loss.
    """

    paradigm: ClassVar[str] = "contrastive"
    passes: ClassVar[float] = 3.9
    paper: ClassVar[str] = "Chaitanya et al. 2020, arXiv 2006.10511"

    def __init__(
        self,
        encoder: Encoder,
        views: Views,
        *,
        temperature: float = 0.1,
        weight: float = 0.5,
        regions: int = 13,
        hidden: int = 512,
        out: int = 128,
    ) -> None:
        super().__init__(encoder, views)
        self.temperature, self.weight, self.regions = temperature, weight, regions
        self.projector = mlp(encoder.dim, hidden, out, last_norm=True)
        self.decoder = Decoder(encoder.pyramid_channels, out, 1)

    def loss(self, batch: Batch) -> Tensor:
        images = batch.images
        seen = self.encoder.features(self._three_views(images))
        z = self.projector(seen.pooled[: 2 * len(images)])
        maps = [m[len(images) :] for m in seen.pyramid]
        size = (maps[0].shape[2], maps[0].shape[3])
        places = self.decoder(Features(seen.pooled, maps), size).flatten(2).transpose(1, 2)  # (2b, cells, out)
        draw = torch.rand(len(images), places.shape[1], generator=self.generator, device=self.generator.device)
        chosen = draw.to(images.device).argsort(1)[:, : self.regions, None].expand(-1, -1, places.shape[2])
        one, other = (p.gather(1, chosen) for p in places.chunk(2))
        return torch.lerp(
            nt_xent(z, self.temperature, batch.groups),
            local_contrast(one, other, self.temperature),
            self.weight,
        )

    def _three_views(self, images: Tensor) -> Tensor:
        """One view of each image, then another crop, then that crop with other intensities (3b, c, h, w)."""
        u = self.views.draw(images, self.generator, copies=3)
        _, second, third = u.chunk(3)
        moved = GEOMETRY + BENDING if self.views.extra else GEOMETRY
        third[:, moved] = second[:, moved]
        return self.views.apply(images, u)


def local_contrast(one: Tensor, other: Tensor, temperature: float) -> Tensor:
    """Cross-entropy of finding each place (b, n, d) of one map among those of the other, by cosine, both ways."""
    one, other = F.normalize(one.float(), dim=2), F.normalize(other.float(), dim=2)
    logits = one @ other.transpose(1, 2) / temperature
    right = torch.arange(logits.shape[1], device=logits.device).expand(logits.shape[:2])
    return (F.cross_entropy(logits, right) + F.cross_entropy(logits.transpose(1, 2), right)) / 2
