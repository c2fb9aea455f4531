"""The generic hybrid: a weighted sum of any two methods on one encoder."""

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor

from autossl.errors import UserError
from autossl.nn.encoder import Encoder
from autossl.pretext.base import Pretext, lend
from autossl.pretext.batch import Batch
from autossl.views.images import Views

WARMUP = 20  # steps over which the size of each loss is measured
SMALLEST = 0.01  # size of a loss at least: what begins at zero, as a divergence may, must not be blown up


class Hybrid(Pretext):
    """weight * second / its size + (1 - weight) * first / its size, after Zhou et al. 2021 (PCRL) and its kin.

    The size of a loss is the mean of its absolute value over the first steps and then stays fixed: a running size
    would turn L into log L and blow up a loss that goes to zero. Both parts have their default hyperparameters and the
    hybrid's views, and draw from its generator in turn. Its accuracy is the better one of its parts': either may have
    a shortcut. `passes` is that of the default pair; a pair costs the sum of
    its parts. Raises UserError for a weight outside [0, 1] and for a part that is no other method.
    """

    paradigm: ClassVar[str] = "hybrid"
    dims: ClassVar[frozenset[int]] = frozenset({2, 3})
    passes: ClassVar[float] = 3.2
    paper: ClassVar[str] = "weighted sum; compare Zhou et al. 2021 (PCRL), arXiv 2109.04379"
    parts: ClassVar[tuple[str, ...]] = ("first", "second")
    methods: ClassVar[Mapping[str, type[Pretext]]] = {}  # every other method; filled where the table of methods stands

    total: Tensor
    count: Tensor

    def __init__(
        self,
        encoder: Encoder,
        views: Views,
        *,
        first: str = "simclr",
        second: str = "cnn_mae",
        weight: float = 0.3,
    ) -> None:
        super().__init__(encoder, views)
        if not 0 <= weight <= 1:
            raise UserError(f"weight in [0, 1] was wanted for the second part of a hybrid, found {weight}; use 0.3")
        self.weight = weight
        self.first, self.second = self._part(first), self._part(second)
        self.paired = self.first.paired or self.second.paired
        self.register_buffer("total", torch.zeros(2, dtype=torch.float64))
        self.register_buffer("count", torch.zeros((), dtype=torch.long))

    def _part(self, name: str) -> Pretext:
        if name not in self.methods:
            raise UserError(f"a part of a hybrid was wanted, found {name!r}; choose one of {', '.join(self.methods)}")
        return lend(self.encoder, self.methods[name](self.encoder, self.views))

    def loss(self, batch: Batch) -> Tensor:
        for part in (self.first, self.second):
            part.generator, part.population = self.generator, self.population
        losses = torch.stack([self.first.loss(batch), self.second.loss(batch)])
        known = [part.accuracy for part in (self.first, self.second) if part.accuracy is not None]
        self.accuracy = torch.stack(known).max() if known else None
        shares = torch.tensor([1 - self.weight, self.weight], device=losses.device)
        return (shares * losses / self._sizes(losses.detach())).sum()

    def _sizes(self, losses: Tensor) -> Tensor:
        if int(self.count) < WARMUP:
            self.total += losses.abs()
            self.count += 1
        return (self.total / self.count).clamp_min(SMALLEST).to(losses.dtype)

    def after_step(self, progress: float) -> None:
        self.first.after_step(progress)
        self.second.after_step(progress)
