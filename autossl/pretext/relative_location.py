"""Relative location: tell where around the middle tile another tile was cut."""

from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from autossl.encoder import Encoder
from autossl.heads import mlp
from autossl.pretext.base import Pretext
from autossl.pretext.jigsaw import normalised, tiles
from autossl.views import Views

GRID = 3
MIDDLE = 4
AROUND = (0, 1, 2, 3, 5, 6, 7, 8)  # cells of the grid, row by row; a place in this list is a class


class RelativeLocation(Pretext):
    """Doersch et al. 2015: from the embeddings of two tiles, which of the eight neighbours of the first the second is.

    Tiles keep a gap, jitter in their cells and are normalised one by one, so that neither edges nor brightness give
    the place away; colours are not dropped, as they are no artefact of a lens here. All eight pairs of an image are in
    the loss, for its nine tiles have to be embedded only once. `gap` is the share of a cell's side that is left out.
    """

    paradigm: ClassVar[str] = "non-contrastive and predictive"
    passes: ClassVar[float] = 2.0  # of 64 px images about one: tiles of 8 px are slow for their area
    paper: ClassVar[str] = "Doersch et al. 2015, arXiv 1505.05192"

    def __init__(self, encoder: Encoder, views: Views, *, gap: float = 0.15, hidden: int = 512) -> None:
        super().__init__(encoder, views)
        self.gap = gap
        self.head = mlp(2 * encoder.dim, hidden, len(AROUND))

    def loss(self, images: Tensor, groups: Tensor | None = None) -> Tensor:
        x = self.views.standardise(self.views.weak(images, self.generator))
        b, n = len(x), GRID * GRID
        shift = torch.rand(b, n, 2, generator=self.generator, device=self.generator.device).to(x.device)
        cut = tiles(x, torch.arange(n, device=x.device).expand(b, n), shift, GRID, self.gap)
        pairs = location_pairs(self.encoder(self._resized(normalised(cut))).view(b, n, -1))
        return self.answered(self.head(pairs), torch.arange(len(AROUND), device=x.device).repeat(b))

    def _resized(self, patches: Tensor) -> Tensor:
        """Plain transformers take one size only; networks with several stages take the tiles as they are."""
        if len(self.encoder.pyramid_channels) > 1:
            return patches
        return F.interpolate(patches, self.encoder.image_size, mode="bilinear", align_corners=False)


def location_pairs(z: Tensor) -> Tensor:
    """The middle's embedding beside each neighbour's, (b * 8, 2 * d), from those of all tiles (b, 9, d)."""
    around = z[:, list(AROUND)]
    return torch.cat([z[:, MIDDLE, None].expand_as(around), around], 2).flatten(0, 1)
