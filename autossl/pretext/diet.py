"""DIET: tell which image of the pool a view was made of."""

from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from autossl.nn.encoder import Encoder
from autossl.pretext.base import Pretext
from autossl.pretext.batch import Batch
from autossl.views.images import Views


class DIET(Pretext):
    """Ibrahim et al. 2024: an image's place in the pool is its class; one view, a linear head, smoothed labels.

    The head has `classes` rows, of which a smaller pool uses one for each image: 12 bytes a number in memory and in a
    checkpoint (AdamW keeps two more), 25 MB for 4,096 rows of 512 dimensions, and as many products for each image as
    the rows in use have numbers. In a larger pool an image shares its class with every `classes`-th other one, which
    costs quality (docs/decisions.md). Where the pool grows for the final training, images keep their places, and new
    ones take rows that were not used as long as there are any.
    """

    paradigm: ClassVar[str] = "non-contrastive and predictive"
    dims: ClassVar[frozenset[int]] = frozenset({2, 3})
    passes: ClassVar[float] = 1.0
    paper: ClassVar[str] = "Ibrahim et al. 2024, arXiv 2406.10743"

    def __init__(self, encoder: Encoder, views: Views, *, smoothing: float = 0.8, classes: int = 4096) -> None:
        super().__init__(encoder, views)
        self.smoothing = smoothing
        self.head = nn.Linear(encoder.dim, classes, bias=False)

    def loss(self, batch: Batch) -> Tensor:
        """Cross-entropy; no `accuracy`, for it is no shortcut to know every image of a small pool."""
        rows = self.head.weight[: batch.pool]
        places = torch.arange(len(batch.images)) if batch.places is None else batch.places
        answers = F.linear(self.encoder(self.views(batch.images, self.generator)), rows)
        return F.cross_entropy(answers, places.to(answers.device) % len(rows), label_smoothing=self.smoothing)
