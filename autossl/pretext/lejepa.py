"""LeJEPA: views predict their centre, and the embedding is kept Gaussian along random directions."""

from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from autossl.nn.encoder import Encoder
from autossl.nn.heads import mlp
from autossl.pretext.base import Pretext
from autossl.pretext.batch import Batch
from autossl.views.images import Views

REACH = 3.0  # largest frequency at which characteristic functions are compared


class LeJEPA(Pretext):
    """Balestriero and LeCun 2025: one trade-off `weight`, no teacher, no stopped gradient, no predictor.

    `slices` random directions are drawn in each step; `knots` are the frequencies of the statistic.
    """

    paradigm: ClassVar[str] = "non-contrastive and predictive"
    dims: ClassVar[frozenset[int]] = frozenset({2, 3})
    passes: ClassVar[float] = 2.0
    paper: ClassVar[str] = "Balestriero and LeCun 2025, arXiv 2511.08544"

    def __init__(
        self,
        encoder: Encoder,
        views: Views,
        *,
        weight: float = 0.05,
        slices: int = 256,
        knots: int = 17,
        copies: int = 2,
        hidden: int = 512,
        out: int = 64,
    ) -> None:
        super().__init__(encoder, views)
        self.weight, self.slices, self.knots, self.copies, self.out = weight, slices, knots, copies, out
        self.projector = mlp(encoder.dim, hidden, out)

    def loss(self, batch: Batch) -> Tensor:
        z = self.projector(self.encoder(self.views(batch.images, self.generator, copies=self.copies)))
        drawn = torch.randn(self.out, self.slices, generator=self.generator, device=self.generator.device)
        return lejepa(z.unflatten(0, (self.copies, -1)), drawn.to(z.device), self.weight, self.knots)


def lejepa(z: Tensor, directions: Tensor, weight: float, knots: int) -> Tensor:
    """(1 - weight) * distance of views (v, b, d) from their centre + weight * SIGReg of each view, both means.

    `directions` (d, m) need not be of unit length.
    """
    z = z.float()
    distance = (z - z.mean(0)).square().mean()
    along = z @ F.normalize(directions, dim=0)  # (v, b, m)
    return (1 - weight) * distance + weight * epps_pulley(along, knots).mean()


def epps_pulley(x: Tensor, knots: int) -> Tensor:
    """The statistic of Epps and Pulley 1983 against the standard normal law for samples (v, b, m), over b: (v, m).

    b times the integral of |characteristic function of x - exp(-t^2 / 2)|^2 exp(-t^2 / 2) over -REACH to REACH, by
    the trapezium rule; the integrand is even, so that `knots` frequencies on one side do.
    """
    t = torch.linspace(0, REACH, knots, device=x.device)
    normal = torch.exp(-t.square() / 2)
    angle = x[..., None] * t
    error = (angle.cos().mean(1) - normal).square() + angle.sin().mean(1).square()
    return 2 * x.shape[1] * torch.trapezoid(error * normal, t)
