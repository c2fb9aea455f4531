"""What dense methods share: one map that is fine enough, its cells as rows, and heads that take them one by one."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from autossl.nn.encoder import Encoder

MIN_CELLS = 4  # cells a side below which two views have too little to match


def map_sides(encoder: Encoder) -> list[int]:
    """Cells along the shorter side of each map of the encoder, finest first."""
    training, device = encoder.training, next(encoder.parameters()).device
    with torch.no_grad():
        blank = torch.zeros(1, encoder.channels, encoder.image_size, encoder.image_size, device=device)
        sides = [min(m.shape[2:]) for m in encoder.eval().pyramid(blank)]
    encoder.train(training)
    return sides


def dense_level(encoder: Encoder) -> int:
    """The number of the coarsest map that has at least 4 x 4 cells, or of the finest one."""
    return max((level for level, side in enumerate(map_sides(encoder)) if side >= MIN_CELLS), default=0)


def dense_map(maps: list[Tensor], level: int) -> Tensor:
    """Map number `level` and, enlarged to its size, all coarser ones behind it: (b, sum of their channels, h, w).

    Where the last stage is fine enough this is the last stage, as in the papers. Where images are small it is too
    coarse to match cells, and a finer stage alone would leave the stages behind it untrained.
    """
    size = maps[level].shape[2:]
    deeper = [F.interpolate(m, size, mode="bilinear", align_corners=False) for m in maps[level + 1 :]]
    return torch.cat([maps[level], *deeper], 1)


def cells(found: Tensor) -> Tensor:
    """The cells (b, h * w, c) of a map (b, c, h, w), row by row."""
    return found.flatten(2).transpose(1, 2)


def each(head: nn.Module, rows: Tensor) -> Tensor:
    """What a head for (n, c) gives for each cell of (b, n, c)."""
    result: Tensor = head(rows.flatten(0, 1))
    return result.view(*rows.shape[:2], -1)
