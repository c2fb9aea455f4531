"""VICRegL: VICReg on whole images and on cells matched by their place and by their features."""

from typing import ClassVar

import torch
from torch import Tensor

from autossl.nn.encoder import Encoder
from autossl.nn.heads import mlp
from autossl.nn.tokens import taken
from autossl.pretext.base import Pretext
from autossl.pretext.batch import Batch
from autossl.pretext.dense import cells, dense_level, dense_map, each
from autossl.pretext.vicreg import vicreg
from autossl.views.images import Views


class VICRegL(Pretext):
    """Bardes et al. 2022: alpha * VICReg of pooled embeddings + (1 - alpha) * VICReg of matched cells.

    A cell is matched with the cell of the other view that is nearest in the original image, and with the one whose
    projection is nearest; of both matchings the best `share` of the cells counts (20 of 49 in the paper). On small
    images the cells are those of a finer stage (`dense_map`).
    """

    paradigm: ClassVar[str] = "non-contrastive and predictive"
    passes: ClassVar[float] = 2.1
    paper: ClassVar[str] = "Bardes et al. 2022, arXiv 2210.01571"
    needs: ClassVar[frozenset[str]] = frozenset({"dense map"})

    def __init__(
        self,
        encoder: Encoder,
        views: Views,
        *,
        alpha: float = 0.75,
        share: float = 0.4,
        invariance: float = 25.0,
        variance: float = 25.0,
        covariance: float = 1.0,
        width: int = 512,
        dense_width: int = 128,
    ) -> None:
        super().__init__(encoder, views)
        self.alpha, self.share = alpha, share
        self.coefficients = (invariance, variance, covariance / 2)  # the mean over the views; VICReg takes their sum
        self.level = dense_level(encoder)
        self.projector = mlp(encoder.dim, width, width, width)
        self.dense_projector = mlp(sum(encoder.pyramid_channels[self.level :]), dense_width, dense_width, dense_width)

    def loss(self, batch: Batch) -> Tensor:
        images = batch.images
        u = self.views.draw(images, self.generator, copies=2)
        found = self.encoder.features(self.views.apply(images, u))
        first, second = self.projector(found.pooled).chunk(2)
        whole = vicreg(first, second, *self.coefficients)
        dense = dense_map(found.pyramid, self.level)
        local = each(self.dense_projector, cells(dense))
        size, grid = (images.shape[2], images.shape[3]), (dense.shape[2], dense.shape[3])
        places = self.views.places(u, size, grid).flatten(1, 2)
        best = max(1, round(self.share * local.shape[1]))
        (here, there), (at, to) = local.chunk(2), places.chunk(2)
        return torch.lerp(vicregl(here, there, at, to, best, self.coefficients), whole, self.alpha)


def vicregl(
    first: Tensor,
    second: Tensor,
    first_places: Tensor,
    second_places: Tensor,
    best: int,
    coefficients: tuple[float, float, float],
) -> Tensor:
    """VICReg of the cells (b, n, d) of two views, matched by place (b, n, 2) plus matched by feature."""
    total = first.new_zeros(())
    for distances in (torch.cdist(first_places, second_places), torch.cdist(first.detach(), second.detach())):
        for here, there, away in ((first, second, distances), (second, first, distances.mT)):
            mine, theirs = matched(away, best)
            total = total + vicreg(taken(here, mine), taken(there, theirs), *coefficients) / 2
    return total


def matched(distances: Tensor, best: int) -> tuple[Tensor, Tensor]:
    """The `best` rows (b, k) of distances (b, n, m) that lie closest to any column, and those columns (b, k)."""
    least, nearest = distances.min(2)
    rows = least.topk(best, largest=False).indices
    return rows, nearest.gather(1, rows)
