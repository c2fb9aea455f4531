"""SwAV: predict to which cluster the other view of an image was assigned."""

from typing import ClassVar

from torch import Tensor

from autossl.nn.encoder import Encoder
from autossl.nn.heads import Prototypes, mlp
from autossl.pretext.base import Pretext
from autossl.pretext.batch import Batch
from autossl.views.images import Views

ITERATIONS = 3


class SwAV(Pretext):
    """Caron et al. 2020: balanced codes (Sinkhorn) of one view are predicted from the other; two crops, no queue."""

    paradigm: ClassVar[str] = "contrastive"
    dims: ClassVar[frozenset[int]] = frozenset({2, 3})
    passes: ClassVar[float] = 2.0
    paper: ClassVar[str] = "Caron et al. 2020, arXiv 2006.09882"

    def __init__(
        self,
        encoder: Encoder,
        views: Views,
        *,
        prototypes: int = 128,
        temperature: float = 0.1,
        epsilon: float = 0.05,
        hidden: int = 512,
        out: int = 128,
    ) -> None:
        super().__init__(encoder, views)
        self.temperature, self.epsilon = temperature, epsilon
        self.projector = mlp(encoder.dim, hidden, out)
        self.prototypes = Prototypes(out, prototypes)

    def loss(self, batch: Batch) -> Tensor:
        views = self.views(batch.images, self.generator, copies=2)
        first, second = self.prototypes(self.projector(self.encoder(views))).chunk(2)
        return swav(first, second, self.temperature, self.epsilon)


def swav(first: Tensor, second: Tensor, temperature: float, epsilon: float) -> Tensor:
    """Cross-entropy of each view's prediction with the other's code, from cosines with prototypes (b, k)."""
    losses = [
        -(sinkhorn(code.detach(), epsilon) * (seen / temperature).log_softmax(1)).sum(1).mean()
        for code, seen in ((first, second), (second, first))
    ]
    return (losses[0] + losses[1]) / 2


def sinkhorn(scores: Tensor, epsilon: float, iterations: int = ITERATIONS) -> Tensor:
    """Codes (b, k) from scores (b, k): each row adds up to 1, and all prototypes get about the same share."""
    code = ((scores - scores.max()) / epsilon).exp()
    b, k = code.shape
    for _ in range(iterations):
        # a prototype so far away that its column underflows has no share to balance
        code = code / code.sum(0).clamp_min(1e-30) / k
        code = code / code.sum(1, keepdim=True).clamp_min(1e-30) / b
    return code * b
