"""SimSiam: predict the other view's embedding, held still, with neither negatives nor a teacher."""

from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor

from autossl.nn.encoder import Encoder
from autossl.nn.heads import mlp
from autossl.pretext.base import Pretext
from autossl.pretext.batch import Batch
from autossl.views.images import Views


class SimSiam(Pretext):
    """Chen and He 2021: a narrow predictor and a stopped gradient are all that keeps the embedding from collapse."""

    paradigm: ClassVar[str] = "non-contrastive and predictive"
    dims: ClassVar[frozenset[int]] = frozenset({2, 3})
    passes: ClassVar[float] = 2.0
    paper: ClassVar[str] = "Chen and He 2021, arXiv 2011.10566"

    def __init__(self, encoder: Encoder, views: Views, *, width: int = 512, narrow: int = 128) -> None:
        super().__init__(encoder, views)
        self.projector = mlp(encoder.dim, width, width, last_norm=True)
        self.predictor = mlp(width, narrow, width)

    def loss(self, batch: Batch) -> Tensor:
        z = self.projector(self.encoder(self.views(batch.images, self.generator, copies=2)))
        (first, second), (one, other) = self.predictor(z).chunk(2), z.chunk(2)
        return (simsiam(first, other) + simsiam(second, one)) / 2


def simsiam(predicted: Tensor, target: Tensor) -> Tensor:
    """Minus the mean cosine of predictions and targets (b, d); no gradient reaches the targets."""
    return -F.cosine_similarity(predicted.float(), target.detach().float(), dim=1).mean()
