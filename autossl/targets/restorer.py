"""The readout that says what an image should have been: what it lacks, added to the image itself."""

from collections.abc import Sequence
from typing import Any, ClassVar, Self, cast, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from autossl.data.truth import SHARE
from autossl.nn.heads import CONV
from autossl.nn.sight import Maps
from autossl.targets.decoding import Decoding, enlarged, give
from autossl.targets.readout import Readout
from autossl.views.images import Views

AROUND = 2  # pixels around a cell that its pixels are told from, beside the maps
SOFT = 1e-3  # of the image's standard deviation, where the loss turns from squares to absolute values


@final
class Restorer(Decoding):
    """Restored images (b, c, *space) in [0, 1], where 1 is white: the image and what is missing, in full resolution.

    The linear part tells the pixels of each cell, `cell` a side, from the maps there and from the image in and around
    the cell: what a probe fits in closed form. A decoder adds to it. Without either the image is as it is. Trained by
    the Charbonnier loss (Lai et al. 2017, arXiv 1704.03915). `mean` and `sd` are those by which images were
    standardised, one per channel.
    """

    use: ClassVar[str] = "`model.restored(DATA)` gives images of their own size, seen in windows that are not resized"
    mean: Tensor
    sd: Tensor

    def __init__(
        self, maps: Sequence[int], channels: int, cell: int, dims: int = 2, linear: bool = True, decoder: bool = True
    ) -> None:
        super().__init__(maps, channels, dims)
        self.cell, self.linear, self.decoder = cell, linear, decoder
        shaped = torch.ones(channels, *[1] * dims)
        self.register_buffer("mean", 0 * shaped)
        self.register_buffer("sd", shaped)
        if linear:
            conv, out = CONV[dims], channels * cell**dims
            self.maps = nn.ModuleList([conv(c, out, 1, bias=False) for c in maps])
            self.own = conv(channels, out, cell + 2 * AROUND, stride=cell, padding=AROUND, padding_mode="replicate")
            for layer in (*self.maps, self.own):
                nn.init.zeros_(cast(Tensor, layer.weight))
            nn.init.zeros_(cast(Tensor, self.own.bias))
        if decoder:
            self.add_decoder(maps, channels, channels)

    @classmethod
    def of(
        cls, weights: Sequence[NDArray[Any]], own: NDArray[Any], intercept: NDArray[Any], channels: int, dims: int
    ) -> Self:
        """The linear one with these weights (c, t) of each map, (p, t) of the image around a cell, and intercepts."""
        cell = round((len(intercept) / channels) ** (1 / dims))
        with torch.random.fork_rng(devices=[]):
            made = cls([len(each) for each in weights], channels, cell, dims, decoder=False)
        give((*made.maps, made.own), (*weights, own), cast(nn.Parameter, made.own.bias), intercept)
        return made

    def standardised(self, mean: Sequence[float], sd: Sequence[float]) -> Self:
        """The same for images that were standardised so."""
        for into, values in ((self.mean, mean), (self.sd, sd)):
            into.copy_(torch.tensor(values).view_as(into))
        return self

    @property
    def arguments(self) -> dict[str, Any]:
        return {**self.shape, "cell": self.cell, "linear": self.linear, "decoder": self.decoder}

    def forward(self, seen: Maps) -> Tensor:
        found, space = seen.images, tuple(seen.images.shape[2:])
        if self.linear:
            grid = tuple(side // self.cell for side in space)
            cells = self.own(seen.images)
            for layer, each in zip(self.maps, seen.pyramid, strict=True):
                cells = cells + enlarged(layer(each), grid)
            found = found + laid_out(cells, self.cell)
        if self.decoder:
            found = found + self.decoded(seen, space)
        return found.float() * self.sd + self.mean

    def loss(self, raw: Tensor, truth: Tensor) -> Tensor:
        missing = (raw - truth) / self.sd
        return (missing.square() + SOFT**2).sqrt().mean()

    def moved(self, truth: Tensor, views: Views, u: Tensor) -> Tensor:
        """Targets (b, c, *space) in [0, 1] from those (b, *space, c) of a batch."""
        return views.moved((truth.float() / SHARE).movedim(-1, 1).contiguous(), u)

    def kept(self, raw: Tensor) -> NDArray[np.uint16]:
        """Restored images (b, c, *space) as SHARE times their values."""
        return np.asarray((raw.float().clamp(0, 1) * SHARE).round().to(torch.int32).cpu().numpy(), dtype=np.uint16)

    def begins_as(self, probe: Readout) -> None:
        """The linear part is the probe's; a decoder adds nothing yet."""
        self.load_state_dict(probe.state_dict(), strict=False)


def laid_out(cells: Tensor, side: int) -> Tensor:
    """Cells (b, c * side ** dims, *grid) whose channels are pixels, as pixels (b, c, *(grid * side))."""
    grid = cells.shape[2:]
    dims = len(grid)
    apart = cells.reshape(len(cells), -1, *[side] * dims, *grid)
    order = [0, 1, *(axis for at in range(dims) for axis in (2 + dims + at, 2 + at))]
    return apart.permute(order).reshape(len(cells), -1, *(side * each for each in grid))
