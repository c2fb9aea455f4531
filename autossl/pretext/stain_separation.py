"""Stain separation: from where one stain of a slide lies, find where the other lies."""

from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from autossl.nn.encoder import Encoder
from autossl.pretext.base import Pretext, image_decoder
from autossl.pretext.batch import Batch
from autossl.views.images import Views

STAINS = (  # Ruifrok and Johnston 2001: share of red, green and blue that each stain absorbs, as unit vectors
    (0.65, 0.70, 0.29),  # haematoxylin
    (0.07, 0.99, 0.11),  # eosin
    (0.27, 0.57, 0.78),  # DAB, which takes what the two do not explain
)
DARKEST = 1 / 255  # intensities below are taken for this: the logarithm of nothing has no end


class StainSeparation(Pretext):
    """Yang et al. 2022 (CS-CO): the image in haematoxylin alone or in eosin alone gives the density of the other.

    Densities are optical (decadic), unmixed after Ruifrok and Johnston 2001; which of the two is shown is drawn for
    each image, and the same encoder sees both. The loss is the mean squared error of the density.
    """

    paradigm: ClassVar[str] = "generative"
    passes: ClassVar[float] = 1.2
    paper: ClassVar[str] = "Yang et al. 2022, doi 10.1016/j.media.2022.102539"
    needs: ClassVar[frozenset[str]] = frozenset({"colour", "stain"})

    def __init__(self, encoder: Encoder, views: Views, *, skips: bool = True, width: int = 64) -> None:
        super().__init__(encoder, views)
        self.decoder = image_decoder(encoder, width=width, skips=skips, channels=1)

    def loss(self, batch: Batch) -> Tensor:
        images = batch.images
        density = stain_densities(self.views.weak(images, self.generator)).clamp_min(0)
        drawn = torch.rand(len(images), generator=self.generator, device=self.generator.device).to(images.device)
        haematoxylin = (drawn < 0.5).view(-1, 1, 1, 1)
        shown = torch.zeros_like(density)
        shown[:, :2] = density[:, :2] * torch.cat([haematoxylin, ~haematoxylin], 1)
        hidden = torch.where(haematoxylin, density[:, 1:2], density[:, :1])
        alone = self.views.standardise(stained(shown))
        restored = self.decoder(self.encoder.features(alone), (hidden.shape[2], hidden.shape[3]))
        return F.mse_loss(restored.float(), hidden)


def stain_densities(rgb: Tensor) -> Tensor:
    """Optical densities of haematoxylin, eosin and DAB (b, 3, h, w) from intensities in [0, 1] of the same shape.

    Negative where a colour lies outside what the three stains can mix.
    """
    return _through(_matrix(rgb).inverse(), -rgb.clamp_min(DARKEST).log10())


def stained(densities: Tensor) -> Tensor:
    """Intensities in red, green and blue (b, 3, h, w) of stains with these densities; inverts `stain_densities`."""
    return torch.pow(10.0, -_through(_matrix(densities), densities))


def _matrix(like: Tensor) -> Tensor:
    return F.normalize(torch.tensor(STAINS, device=like.device), dim=1)


def _through(matrix: Tensor, x: Tensor) -> Tensor:
    """Pixels of x (b, 3, h, w) as row vectors times the matrix (3, 3)."""
    return torch.einsum("bihw,io->bohw", x, matrix)
