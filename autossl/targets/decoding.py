"""What readouts that answer at every place of an image share: a narrow U-Net on an encoder's maps."""

from collections.abc import Iterable, Sequence
from typing import Any, ClassVar, cast

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from autossl.nn.encoder import Encoder
from autossl.nn.heads import CONV
from autossl.nn.intake import LINEAR
from autossl.nn.sight import MAPS, Maps, Sight
from autossl.targets.readout import Readout

WIDTH, GROUPS = 32, 8  # channels of the decoder, and of its norms


class Decoding(Readout):
    """A readout that sees all maps and the image itself.

    Its decoder, where it has one, is a narrow U-Net (Ronneberger et al. 2015) with a path of its own for the image at
    full resolution; the last layer begins at zero.
    """

    sees: ClassVar[Sight] = MAPS
    sight: Sight = MAPS

    def __init__(self, maps: Sequence[int], channels: int, dims: int) -> None:
        super().__init__()
        self.dims = dims
        self.shape: dict[str, Any] = {"maps": list(maps), "channels": channels, "dims": dims}

    def add_decoder(self, maps: Sequence[int], channels: int, out: int) -> None:
        """Make the layers of a decoder with so many channels of answers."""
        conv, dims = CONV[self.dims], self.dims
        self.enter = conv(maps[-1], WIDTH, 1)
        self.lateral = nn.ModuleList([conv(c, WIDTH, 1) for c in reversed(maps[:-1])])
        self.blocks = nn.ModuleList([block(WIDTH, WIDTH, dims) for _ in maps])
        self.stem = block(channels, WIDTH, dims)
        self.leave = conv(WIDTH, out, 1)
        nn.init.zeros_(self.leave.weight)
        nn.init.zeros_(cast(Tensor, self.leave.bias))

    def fits(self, encoder: Encoder) -> bool:
        own = (tuple(self.shape["maps"]), self.shape["channels"], self.dims)
        return own == (encoder.pyramid_channels, encoder.channels, encoder.dims)

    def decoded(self, seen: Maps, space: tuple[int, ...]) -> Tensor:
        """What the decoder answers (b, out, *space)."""
        x = self.enter(seen.pyramid[-1])
        for finer, lateral, block in zip(reversed(seen.pyramid[:-1]), self.lateral, self.blocks, strict=False):
            x = block(enlarged(x, tuple(finer.shape[2:])) + lateral(finer))
        return cast(Tensor, self.leave(self.blocks[-1](enlarged(x, space) + self.stem(seen.images))))


def give(layers: Iterable[nn.Module], weights: Sequence[NDArray[Any]], bias: nn.Parameter, own: NDArray[Any]) -> None:
    """Give convolutions these weights (inputs, out), each laid out as its own are, and a bias its own (out,)."""
    with torch.no_grad():
        for layer, each in zip(layers, weights, strict=True):
            into = cast(nn.Conv2d, layer).weight
            into.copy_(torch.from_numpy(np.ascontiguousarray(each.T, dtype=np.float32)).view_as(into))
        bias.copy_(torch.from_numpy(own.astype(np.float32)))


def block(wide: int, narrow: int, dims: int) -> nn.Sequential:
    """A convolution of 3 a side that learns a pattern, normalised by groups: without batch norms, see `Readout`."""
    conv = CONV[dims](wide, narrow, 3, padding=1, bias=False)
    return nn.Sequential(conv, nn.GroupNorm(GROUPS, narrow), nn.ReLU(inplace=True))


def enlarged(x: Tensor, space: tuple[int, ...]) -> Tensor:
    """Maps (b, c, *) at another size, linear in between."""
    return x if tuple(x.shape[2:]) == space else F.interpolate(x, space, mode=LINEAR[len(space)], align_corners=False)
