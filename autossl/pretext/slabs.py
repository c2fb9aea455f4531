"""What slice order and slice position share: slices that lie in stacks, slabs of volumes that show something."""

import torch
import torch.nn.functional as F
from torch import Tensor

from autossl.pretext.batch import Batch

EMPTY = 0.1  # of the spread of a volume's richest slice: below it a slice shows nothing but its ground


def known(batch: Batch) -> Tensor:
    """Where images lie in their stacks (b,), NaN where nobody knows."""
    nowhere = batch.images.new_full((len(batch.images),), torch.nan)
    return nowhere if batch.positions is None else batch.positions


def extent(volumes: Tensor, least: int) -> tuple[Tensor, Tensor]:
    """First and last slice (b,) along the first axis of space of volumes (b, c, d, h, w) that show something.

    A slice's spread is its pixels' standard deviation, the mean over channels. Where fewer than `least` slices are
    left the whole depth is given.
    """
    spread = volumes.flatten(3).std(3).mean(1)  # (b, d)
    shown = spread >= EMPTY * spread.amax(1, keepdim=True)
    depth = volumes.shape[2]
    first, last = shown.float().argmax(1), depth - 1 - shown.flip(1).float().argmax(1)
    short = last - first + 1 < least
    return first.masked_fill(short, 0), last.masked_fill(short, depth - 1)


def cut(volumes: Tensor, start: Tensor, thickness: int) -> Tensor:
    """Slabs of volumes (b, c, d, h, w): `thickness` slices from `start` (b,) on, enlarged to the volume's depth."""
    slices = start[:, None] + torch.arange(thickness, device=volumes.device)
    rows = torch.arange(len(volumes), device=volumes.device)[:, None]
    found = volumes.transpose(1, 2)[rows, slices].transpose(1, 2)  # (b, c, thickness, h, w)
    return F.interpolate(found, volumes.shape[2:], mode="trilinear", align_corners=False)


def slices_of(share: float, depth: int) -> int:
    """A thickness in slices: a share of the depth, at least one slice and at most half of them."""
    return min(max(round(share * depth), 1), max(depth // 2, 1))
