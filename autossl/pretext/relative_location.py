"""Relative location: tell where around the middle tile of an image, or cube of a volume, another one was cut."""

from typing import ClassVar

import torch
from torch import Tensor

from autossl.nn.encoder import Encoder
from autossl.nn.heads import mlp
from autossl.pretext.base import Pretext
from autossl.pretext.batch import Batch
from autossl.pretext.jigsaw import fitted, normalised, one_channel, tiles
from autossl.views.images import Views

GRID = 3


class RelativeLocation(Pretext):
    """Doersch et al. 2015: from the embeddings of two tiles, which neighbour of the first the second is.

    Eight neighbours in an image, 26 in a volume (Taleb et al. 2020): a grid of 2 has no middle, and the seven
    neighbours of a corner would show the first tile from one side only. Tiles keep a gap, jitter in their cells, are
    normalised one by one and show one channel in the place of all, as in `jigsaw`, so that neither edges nor brightness
    nor the colours of a lens give the place away. All pairs of an image are in the loss, for its tiles have to be
    embedded only once. `gap` is the share of a cell's side that is left out.
    """

    paradigm: ClassVar[str] = "non-contrastive and predictive"
    dims: ClassVar[frozenset[int]] = frozenset({2, 3})
    passes: ClassVar[float] = 2.0  # of volumes 1.2, of 64 px images about one: tiles of 8 px are slow for their area
    paper: ClassVar[str] = "Doersch et al. 2015, arXiv 1505.05192; in 3-D Taleb et al. 2020, arXiv 2006.03829"

    def __init__(self, encoder: Encoder, views: Views, *, gap: float = 0.15, hidden: int = 512) -> None:
        super().__init__(encoder, views)
        self.gap, self.cells = gap, GRID**encoder.dims
        self.upright = views.upright()
        self.head = mlp(2 * encoder.dim, hidden, self.cells - 1)

    def loss(self, batch: Batch) -> Tensor:
        x = self.upright(batch.images, self.generator)
        b, n, dims = len(x), self.cells, self.encoder.dims
        device = self.generator.device
        shift = torch.rand(b, n, dims, generator=self.generator, device=device).to(x.device)
        if dims == 2:
            x = one_channel(x, torch.rand(b, generator=self.generator, device=device).to(x.device))
        cut = tiles(x, torch.arange(n, device=x.device).expand(b, n), shift, GRID, self.gap)
        pairs = location_pairs(self.encoder(fitted(normalised(cut), self.encoder)).view(b, n, -1))
        return self.answered(self.head(pairs), torch.arange(n - 1, device=x.device).repeat(b))


def location_pairs(z: Tensor) -> Tensor:
    """The middle's embedding beside each neighbour's, (b * (n - 1), 2 * d), from those of all n tiles (b, n, d).

    Neighbours keep the order of their cells; a place in it is a class.
    """
    middle = z.shape[1] // 2
    around = torch.cat([z[:, :middle], z[:, middle + 1 :]], 1)
    return torch.cat([z[:, middle, None].expand_as(around), around], 2).flatten(0, 1)
