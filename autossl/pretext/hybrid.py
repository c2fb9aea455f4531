"""The generic hybrid: a weighted sum of a global and a dense method on one encoder."""

from typing import ClassVar

import torch
from torch import Tensor

from autossl.encoder import Encoder
from autossl.errors import UserError
from autossl.pretext.barlow import BarlowTwins
from autossl.pretext.base import Pretext
from autossl.pretext.byol import BYOL
from autossl.pretext.cnn_mae import CNNMAE
from autossl.pretext.denoising import Denoising
from autossl.pretext.genesis import ModelsGenesis
from autossl.pretext.simclr import SimCLR
from autossl.pretext.vicreg import VICReg
from autossl.views import Views

GLOBAL: dict[str, type[Pretext]] = {"simclr": SimCLR, "vicreg": VICReg, "byol": BYOL, "barlow": BarlowTwins}
DENSE: dict[str, type[Pretext]] = {"cnn_mae": CNNMAE, "genesis": ModelsGenesis, "denoising": Denoising}
WARMUP = 20  # steps over which the size of each loss is measured


class Hybrid(Pretext):
    """weight * dense / its size + (1 - weight) * global / its size, after Zhou et al. 2021 (PCRL) and its kin.

    The size of a loss is its mean over the first steps and then stays fixed: a running size would turn L into log L
    and blow up a loss that goes to zero.
    """

    paradigm: ClassVar[str] = "hybrid"
    dims: ClassVar[frozenset[int]] = frozenset({2, 3})
    passes: ClassVar[float] = 3.2
    paper: ClassVar[str] = "weighted sum; compare Zhou et al. 2021 (PCRL), arXiv 2109.04379"

    total: Tensor
    count: Tensor

    def __init__(
        self,
        encoder: Encoder,
        views: Views,
        *,
        global_method: str = "simclr",
        dense_method: str = "cnn_mae",
        weight: float = 0.3,
    ) -> None:
        super().__init__(encoder, views)
        if not 0 <= weight <= 1:
            raise UserError(f"weight in [0, 1] was wanted for the dense part of a hybrid, found {weight}; use 0.3")
        self.weight = weight
        self.global_part = self._part(GLOBAL, global_method)
        self.dense_part = self._part(DENSE, dense_method)
        self.register_buffer("total", torch.zeros(2, dtype=torch.float64))
        self.register_buffer("count", torch.zeros((), dtype=torch.long))

    def _part(self, table: dict[str, type[Pretext]], name: str) -> Pretext:
        if name not in table:
            raise UserError(f"a part of a hybrid was wanted, found {name!r}; choose one of {', '.join(table)}")
        part = table[name](self.encoder, self.views)
        # the encoder belongs to the hybrid: as a submodule of its parts it would stand in a state dict three times
        del part._modules["encoder"]
        object.__setattr__(part, "encoder", self.encoder)
        return part

    def loss(self, images: Tensor, groups: Tensor | None = None) -> Tensor:
        self.global_part.generator = self.dense_part.generator = self.generator
        losses = torch.stack([self.global_part.loss(images, groups), self.dense_part.loss(images, groups)])
        shares = torch.tensor([1 - self.weight, self.weight], device=losses.device)
        return (shares * losses / self._sizes(losses.detach())).sum()

    def _sizes(self, losses: Tensor) -> Tensor:
        if int(self.count) < WARMUP:
            self.total += losses
            self.count += 1
        return (self.total / self.count).clamp_min(1e-8).to(losses.dtype)

    def after_step(self, progress: float) -> None:
        self.global_part.after_step(progress)
        self.dense_part.after_step(progress)
