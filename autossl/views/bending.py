"""Smooth fields that bend images: cubic splines through random knots."""

from functools import cache

import torch
from torch import Tensor

KNOTS = 5  # of an elastic deformation, along each axis


def displacement(u: Tensor, cells: tuple[int, int]) -> Tensor:
    """Smooth fields (b, 2, rows, columns) in (-1, 1), across and down: cubic splines through random knots."""
    knots = (2 * u - 1).view(len(u), 2, KNOTS, KNOTS)
    down, across = (_splines(side).to(u.device) for side in cells)
    return down @ knots @ across.T


@cache
def _splines(side: int) -> Tensor:
    """(side, KNOTS): cubic B-splines at cell centres, each row adding up to 1."""
    place = (torch.arange(side) + 0.5) / side * (KNOTS - 3) + 1
    away = (place[:, None] - torch.arange(KNOTS)).abs()
    return torch.where(away < 1, 2 / 3 - away**2 + away**3 / 2, (2 - away).clamp_min(0) ** 3 / 6)
