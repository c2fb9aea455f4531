"""Patient positives: the other view of an image may be an image of the same patient."""

from typing import ClassVar

import torch
from torch import Tensor

from autossl.errors import UserError
from autossl.nn.encoder import Encoder
from autossl.pretext.barlow import BarlowTwins
from autossl.pretext.base import Pretext, lend
from autossl.pretext.batch import Batch
from autossl.pretext.byol import BYOL
from autossl.pretext.dcl import DCL
from autossl.pretext.simclr import SimCLR
from autossl.pretext.vicreg import VICReg
from autossl.views.images import Views
from autossl.views.volumes import VolumeViews

BASES: dict[str, type[Pretext]] = {
    "simclr": SimCLR,
    "dcl": DCL,
    "vicreg": VICReg,
    "barlow": BarlowTwins,
    "byol": BYOL,
}


class PatientPositives(Pretext):
    """Azizi et al. 2021 (MICLe), Vu et al. 2021 (MedAug): any method of two views, the second of a patient's image.

    For the share `share` of the images the second view is made of the next image of that patient in the batch; images
    without one there, or without known patients, keep a second view of their own. The trainer lays images of a patient
    side by side in pairs, so only a patient's odd image and the pair that a batch's end cuts are left alone. Images of
    one patient are never negatives of each other.
    """

    paradigm: ClassVar[str] = "contrastive"
    dims: ClassVar[frozenset[int]] = frozenset({2, 3})
    passes: ClassVar[float] = 2.0
    paper: ClassVar[str] = "Azizi et al. 2021, arXiv 2101.05224; Vu et al. 2021, arXiv 2102.10663"
    needs: ClassVar[frozenset[str]] = frozenset({"patients"})
    paired = True

    def __init__(self, encoder: Encoder, views: Views, *, base: str = "simclr", share: float = 1.0) -> None:
        super().__init__(encoder, views)
        if base not in BASES:
            raise UserError(f"a method of two views was wanted, found base {base!r}; choose one of {', '.join(BASES)}")
        self.share = share
        self.pairs = (PairVolumeViews if encoder.dims == 3 else PairViews)(views)
        self.base = lend(encoder, BASES[base](encoder, self.pairs))

    def loss(self, batch: Batch) -> Tensor:
        images = batch.images
        self.base.generator, self.base.population = self.generator, self.population
        alone = torch.arange(len(images), device=images.device)
        if batch.groups is None:
            self.pairs.partner = alone
        else:
            drawn = torch.rand(len(images), generator=self.generator, device=self.generator.device).to(images.device)
            self.pairs.partner = torch.where(drawn < self.share, partners(batch.groups), alone)
        loss = self.base.loss(batch)
        self.accuracy = self.base.accuracy
        return loss

    def after_step(self, progress: float) -> None:
        self.base.after_step(progress)


class PairViews(Views):
    """Views of which the second shows the partner of an image: that of image i is image `partner[i]`."""

    def __init__(self, views: Views) -> None:
        self.__dict__.update(views.__dict__)
        self.partner = torch.empty(0, dtype=torch.long)

    def __call__(self, images: Tensor, generator: torch.Generator, copies: int = 1) -> Tensor:
        """Standardised views (copies * b, c, *space): one of every image, then one of every partner, and so on.

        The crops of a pair overlap as those of one image.
        """
        batch = torch.cat([images[self.partner] if copy % 2 else images for copy in range(copies)])
        return self.apply(batch, self.draw(images, generator, copies))


class PairVolumeViews(PairViews, VolumeViews):
    """The same of volumes."""


def partners(groups: Tensor) -> Tensor:
    """For each image the next one of its group (b,), the first after the last; an image alone is its own partner."""
    order = groups.argsort(stable=True)
    ordered = groups[order]
    first = torch.searchsorted(ordered, ordered)
    following = torch.arange(1, len(groups) + 1, device=groups.device)
    ends = torch.searchsorted(ordered, ordered, right=True) == following
    return torch.empty_like(order).scatter_(0, order, order[torch.where(ends, first, following % len(groups))])
