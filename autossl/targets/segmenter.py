"""The readout that says of every pixel or voxel what it belongs to: linear on all maps, a decoder on top of that."""

from collections.abc import Sequence
from typing import Any, ClassVar, Self, cast, final

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from autossl.data.truth.structures import IGNORED
from autossl.nn.encoder import Encoder
from autossl.nn.heads import CONV
from autossl.nn.intake import LINEAR
from autossl.nn.sight import MAPS, Maps, Sight
from autossl.targets.readout import Readout
from autossl.views.images import Views

WIDTH, GROUPS = 32, 8  # channels of the decoder, and of its norms
WHOLE = 255  # a share of 1 in raw answers that are kept


@final
class Segmenter(Readout):
    """Logits of the background and each structure at every place of an image (b, structures + 1, *space).

    The linear part is one 1 x 1 convolution of each map, laid over each other at the size of the image: what a probe
    fits in closed form. A decoder adds to it, a narrow U-Net (Ronneberger et al. 2015) with a path of its own for the
    image; its last layer begins at zero, so that fine-tuning begins with the probe's answers. Trained by cross-entropy
    and soft Dice, as nnU-Net is (Isensee et al. 2021); places that are not judged count in neither.
    """

    sees: ClassVar[Sight] = MAPS
    sight: Sight = MAPS
    use: ClassVar[str] = "`model.masks(DATA)` gives masks of the size of the images"

    def __init__(
        self, maps: Sequence[int], channels: int, structures: int, dims: int = 2, decoder: bool = True
    ) -> None:
        super().__init__()
        self.dims, self.decoder = dims, decoder
        self.shape: dict[str, Any] = {"maps": list(maps), "channels": channels, "structures": structures}
        conv = CONV[dims]
        self.linear = nn.ModuleList([conv(c, structures + 1, 1, bias=False) for c in maps])
        self.bias = nn.Parameter(torch.zeros(structures + 1))
        if decoder:
            self.enter = conv(maps[-1], WIDTH, 1)
            self.lateral = nn.ModuleList([conv(c, WIDTH, 1) for c in reversed(maps[:-1])])
            self.blocks = nn.ModuleList([block(WIDTH, WIDTH, dims) for _ in maps])
            self.stem = block(channels, WIDTH, dims)
            self.leave = conv(WIDTH, structures + 1, 1)
            nn.init.zeros_(self.leave.weight)
            nn.init.zeros_(cast(Tensor, self.leave.bias))

    @classmethod
    def of(cls, weights: Sequence[NDArray[Any]], intercept: NDArray[Any], channels: int, dims: int) -> Self:
        """The linear one with these weights (c, structures + 1) of each map and intercepts (structures + 1,)."""
        with torch.random.fork_rng(devices=[]):
            made = cls([len(each) for each in weights], channels, len(intercept) - 1, dims, decoder=False)
        with torch.no_grad():
            for layer, each in zip(made.linear, weights, strict=True):
                own = cast(nn.Conv2d, layer).weight
                own.copy_(torch.from_numpy(np.ascontiguousarray(each.T, dtype=np.float32)).view_as(own))
            made.bias.copy_(torch.from_numpy(intercept.astype(np.float32)))
        return made

    @property
    def arguments(self) -> dict[str, Any]:
        return {**self.shape, "dims": self.dims, "decoder": self.decoder}

    def fits(self, encoder: Encoder) -> bool:
        own = (tuple(self.shape["maps"]), self.shape["channels"], self.dims)
        return own == (encoder.pyramid_channels, encoder.channels, encoder.dims)

    def forward(self, seen: Maps) -> Tensor:
        """Logits (b, structures + 1, *space) at the size of the images."""
        space = tuple(seen.images.shape[2:])
        found = self.bias.view(1, -1, *[1] * self.dims)
        for layer, each in zip(self.linear, seen.pyramid, strict=True):
            found = found + enlarged(layer(each), space)
        return found + self._decoded(seen, space) if self.decoder else found

    def _decoded(self, seen: Maps, space: tuple[int, ...]) -> Tensor:
        x = self.enter(seen.pyramid[-1])
        for finer, lateral, block in zip(reversed(seen.pyramid[:-1]), self.lateral, self.blocks, strict=False):
            x = block(enlarged(x, tuple(finer.shape[2:])) + lateral(finer))
        return cast(Tensor, self.leave(self.blocks[-1](enlarged(x, space) + self.stem(seen.images))))

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


def block(wide: int, narrow: int, dims: int) -> nn.Sequential:
    """A convolution of 3 a side that learns a pattern, normalised by groups: without batch norms, see `Readout`."""
    conv = CONV[dims](wide, narrow, 3, padding=1, bias=False)
    return nn.Sequential(conv, nn.GroupNorm(GROUPS, narrow), nn.ReLU(inplace=True))


def enlarged(x: Tensor, space: tuple[int, ...]) -> Tensor:
    """A map (b, c, *space) laid over another of this space."""
    return x if tuple(x.shape[2:]) == space else F.interpolate(x, space, mode=LINEAR[len(space)], align_corners=False)
