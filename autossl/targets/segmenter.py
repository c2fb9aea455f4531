"""The readout that says of every pixel or voxel what it belongs to: linear on all maps, a decoder on top of that."""

from collections.abc import Sequence
from typing import Any, ClassVar, Self, final

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from autossl.data.truth.structures import IGNORED
from autossl.nn.heads import CONV
from autossl.nn.sight import Maps
from autossl.targets.decoding import Decoding, enlarged, give
from autossl.targets.readout import Readout
from autossl.views.images import Views

WHOLE = 255  # a share of 1 in raw answers that are kept


@final
class Segmenter(Decoding):
    """Logits of the background and each structure at every place of an image (b, structures + 1, *space).

    The linear part is one 1 x 1 convolution of each map, laid over each other at the size of the image: what a probe
    fits in closed form. A decoder adds to it, so that fine-tuning begins with the probe's answers. Trained by
    cross-entropy and soft Dice, as nnU-Net is (Isensee et al. 2021); places that are not judged count in neither.
    """

    use: ClassVar[str] = "`model.masks(DATA)` gives masks of the size of the images"

    def __init__(
        self, maps: Sequence[int], channels: int, structures: int, dims: int = 2, decoder: bool = True
    ) -> None:
        super().__init__(maps, channels, dims)
        self.structures, self.decoder = structures, decoder
        conv = CONV[dims]
        self.linear = nn.ModuleList([conv(c, structures + 1, 1, bias=False) for c in maps])
        self.bias = nn.Parameter(torch.zeros(structures + 1))
        if decoder:
            self.add_decoder(maps, channels, structures + 1)

    @classmethod
    def of(cls, weights: Sequence[NDArray[Any]], intercept: NDArray[Any], channels: int, dims: int) -> Self:
        """The linear one with these weights (c, structures + 1) of each map and intercepts (structures + 1,)."""
        with torch.random.fork_rng(devices=[]):
            made = cls([len(each) for each in weights], channels, len(intercept) - 1, dims, decoder=False)
        give(made.linear, weights, made.bias, intercept)
        return made

    @property
    def arguments(self) -> dict[str, Any]:
        return {**self.shape, "structures": self.structures, "decoder": self.decoder}

    def forward(self, seen: Maps) -> Tensor:
        """Logits (b, structures + 1, *space) at the size of the images."""
        space = tuple(seen.images.shape[2:])
        found = self.bias.view(1, -1, *[1] * self.dims)
        for layer, each in zip(self.linear, seen.pyramid, strict=True):
            found = found + enlarged(layer(each), space)
        return found + self.decoded(seen, space) if self.decoder else found

    def loss(self, raw: Tensor, truth: Tensor) -> Tensor:
        raw, judged = raw.float(), truth != IGNORED
        if not judged.any():
            return raw.sum() * 0
        each = F.cross_entropy(raw, truth.long(), ignore_index=IGNORED)
        shares = raw.softmax(1).movedim(1, -1)[judged]
        wanted = F.one_hot(truth[judged].long(), raw.shape[1]).to(shares.dtype)
        both, total = (shares * wanted).sum(0)[1:], (shares + wanted).sum(0)[1:]
        there = wanted.sum(0)[1:] > 0
        overlap = (2 * both + 1) / (total + 1)
        missed = 1 - (overlap[there].mean() if there.any() else overlap.mean())
        return each + missed

    def learn(self, raw: Tensor, taught: Tensor) -> Tensor:
        return F.cross_entropy(raw, taught.float() / WHOLE)

    def moved(self, truth: Tensor, views: Views, u: Tensor) -> Tensor:
        return views.followed(truth, u, IGNORED)

    def kept(self, raw: Tensor) -> NDArray[np.uint8]:
        """The share of each structure (b, structures + 1, *space) in steps of 1/255."""
        return np.asarray((raw.float().softmax(1) * WHOLE).round().to(torch.uint8).cpu().numpy())

    def begins_as(self, probe: Readout) -> None:
        """The linear part is the probe's; a decoder adds nothing yet."""
        self.load_state_dict(probe.state_dict(), strict=False)
