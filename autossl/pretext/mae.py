"""MAE: fill in patches that a transformer never saw, from the few that it did."""

from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from autossl.nn.encoder import Encoder
from autossl.nn.tokens import TokenDecoder, normalised, patches, taken, tokens
from autossl.pretext.base import Pretext
from autossl.pretext.batch import Batch
from autossl.views.images import Views


class MAE(Pretext):
    """He et al. 2022: the encoder gets visible patches only, a light transformer restores the pixels of the others.

    The share `ratio` of the patches is hidden, the same number in each image; the loss is the mean squared error of
    their pixels, normalised patch by patch. `width` (a multiple of 32) and `depth` are the decoder's.
    """

    paradigm: ClassVar[str] = "generative"
    passes: ClassVar[float] = 0.7
    paper: ClassVar[str] = "He et al. 2022, arXiv 2111.06377"
    needs: ClassVar[frozenset[str]] = frozenset({"patch tokens"})

    def __init__(
        self, encoder: Encoder, views: Views, *, ratio: float = 0.75, width: int = 128, depth: int = 2
    ) -> None:
        super().__init__(encoder, views)
        self.ratio, self.grid = ratio, (encoder.cells[0], encoder.cells[1])
        pixels = encoder.channels * encoder.image_size**2 // (self.grid[0] * self.grid[1])
        self.decoder = TokenDecoder(encoder.dim, pixels, self.grid, width=width, depth=depth)

    def loss(self, batch: Batch) -> Tensor:
        target = self.views.standardise(self.views.weak(batch.images, self.generator))
        seen, masked = split(len(batch.images), self.grid[0] * self.grid[1], self.ratio, self.generator)
        seen, masked = seen.to(target.device), masked.to(target.device)
        found = tokens(self.encoder, target, keep=seen)
        restored = self.decoder(found, seen, masked)
        return F.mse_loss(restored.float(), normalised(taken(patches(target, self.grid), masked)))


def split(n: int, patches: int, ratio: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Numbers of the visible (n, k) and of the masked patches of n images, the share `ratio` of them masked."""
    count = min(max(round(ratio * patches), 1), patches - 1)
    order = torch.rand(n, patches, generator=generator, device=generator.device).argsort(1)
    return order[:, count:].sort(1).values, order[:, :count].sort(1).values
