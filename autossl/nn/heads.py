"""Heads that methods put on an encoder and drop afterwards: projectors, prototypes, decoders and teachers."""

import copy
from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from autossl.nn.encoder import Features
from autossl.nn.intake import LINEAR
from autossl.views.intensity import along

CONV: dict[int, type[nn.Conv2d] | type[nn.Conv3d]] = {2: nn.Conv2d, 3: nn.Conv3d}
NORM: dict[int, type[nn.BatchNorm2d] | type[nn.BatchNorm3d]] = {2: nn.BatchNorm2d, 3: nn.BatchNorm3d}


def mlp(*widths: int, last_norm: bool = False, normed: bool = True) -> nn.Sequential:
    """Linear layers of these widths, (b, widths[0]) -> (b, widths[-1]), with batch norm and ReLU between them.

    `last_norm` adds a batch norm without scale after the last layer, as SimSiam's and MoCo v3's projectors have it.
    Without `normed` there are no norms, and GELU takes the place of ReLU, as in heads of transformers.
    """
    layers: list[nn.Module] = []
    for number, (wide, narrow) in enumerate(pairwise(widths), start=2):
        inner = number < len(widths)
        norm = normed and (inner or last_norm)
        layers.append(nn.Linear(wide, narrow, bias=not norm))
        if norm:
            layers.append(nn.BatchNorm1d(narrow, affine=inner))
        if inner:
            layers.append(nn.ReLU(inplace=True) if normed else nn.GELU())
    return nn.Sequential(*layers)


def has_batch_norm(module: nn.Module) -> bool:
    """Whether a network normalises over its batch."""
    return any(isinstance(part, nn.modules.batchnorm._BatchNorm) for part in module.modules())


class Prototypes(nn.Module):
    """Cosines of embeddings (b, dim) with `count` learnt directions, (b, count): only directions can be learnt."""

    def __init__(self, dim: int, count: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(F.normalize(torch.randn(count, dim), dim=1))

    def forward(self, z: Tensor) -> Tensor:
        """Cosines (b, count) of z (b, dim) and the prototypes."""
        return F.linear(F.normalize(z.float(), dim=1), F.normalize(self.weight, dim=1))


class Decoder(nn.Module):
    """Feature maps, finest first, -> image (b, channels, *space): a narrow U-Net that ends in a pixel shuffle.

    It works at the resolution of the maps, so that its cost stays a small part of the encoder's. Without `skips` only
    the coarsest map is used and everything has to pass the encoder's last stage. `told` is the width of a pooled
    embedding that is added to the coarsest map everywhere: where it is not the mean of that map (a class token, a
    wider head) it would get no gradient otherwise, and it is what is scored.
    """

    def __init__(
        self,
        maps: Sequence[int],
        channels: int,
        factor: int,
        *,
        width: int = 64,
        skips: bool = True,
        dims: int = 2,
        told: int | None = None,
    ) -> None:
        super().__init__()
        self.skips, self.factor = skips, factor
        self.told = None if told is None else nn.Linear(told, width)
        conv = CONV[dims]
        finer = reversed(maps[:-1])
        self.enter = conv(maps[-1], width, 1)
        self.lateral = nn.ModuleList([conv(c, width, 1) if skips else nn.Identity() for c in finer])
        self.blocks = nn.ModuleList([_block(width, dims) for _ in range(max(len(maps) - 1, 1))])
        self.leave = conv(width, channels * factor**dims, 1)

    def forward(self, seen: Features, size: tuple[int, ...]) -> Tensor:
        """Image (b, channels, *size) from what the encoder saw."""
        maps = seen.pyramid
        x = self.enter(maps[-1])
        if self.told is not None:
            x = x + along(self.told(seen.pooled), x)
        if len(maps) == 1:
            x = self.blocks[0](x)
        for finer, lateral, block in zip(reversed(maps[:-1]), self.lateral, self.blocks, strict=False):
            x = F.interpolate(x, finer.shape[2:], mode="nearest")
            x = block(x + lateral(finer) if self.skips else x)
        x = shuffle(self.leave(x), self.factor)
        return x if x.shape[2:] == size else F.interpolate(x, size, mode=LINEAR[len(size)], align_corners=False)


def _block(width: int, dims: int) -> nn.Sequential:
    conv, norm = CONV[dims](width, width, 3, padding=1, bias=False), NORM[dims](width)
    return nn.Sequential(conv, norm, nn.ReLU(inplace=True))


def shuffle(x: Tensor, factor: int) -> Tensor:
    """(b, c * factor^dims, *space) -> (b, c, *(factor * space)): pixel shuffle (Shi et al. 2016), for volumes too."""
    if x.ndim == 4:
        return F.pixel_shuffle(x, factor)
    b, c, *space = x.shape
    cells = x.reshape(b, c // factor**3, factor, factor, factor, *space).permute(0, 1, 5, 2, 6, 3, 7, 4)
    return cells.flatten(6, 7).flatten(4, 5).flatten(2, 3)


class Teacher(nn.Module):
    """An exponential moving average of a student, buffers included; it learns nothing by itself.

    `update(student, rate)` moves every number the share `rate` of the way towards the student's.
    """

    def __init__(self, student: nn.Module) -> None:
        super().__init__()
        self.module = copy.deepcopy(student).requires_grad_(False)

    @torch.no_grad()
    def forward(self, images: Tensor) -> Tensor:
        """What the averaged student gives for the images, without gradient."""
        result: Tensor = self.module(images)
        return result

    @torch.no_grad()
    def update(self, student: nn.Module, rate: float) -> None:
        """Follow the student by the share `rate` in [0, 1]."""
        mine, theirs = self.module.state_dict(), student.state_dict()
        for name, value in mine.items():
            if value.is_floating_point():
                value.lerp_(theirs[name], rate)
            else:
                value.copy_(theirs[name])
