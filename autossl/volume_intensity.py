"""What changes the intensities of volumes: pure functions of a batch and one strength or place for each volume."""

import math
from functools import cache

import numpy as np
import torch
from torch import Tensor

from autossl.intensity import along, gaussian

DEGREE = 3  # of the polynomials of a bias field (Van Leemput et al. 1999)
GHOSTS = (2, 5)  # fewest and most copies of a ghosted volume


def window(x: Tensor, level: Tensor, factor: Tensor) -> Tensor:
    """Volumes (b, c, *space) seen through a grey-level window `factor` (b,) times as steep and moved by `level` (b,).

    What lies beyond the window is cut off at 0 and 1, as on a screen.
    """
    return ((x - 0.5 - along(level, x)) * along(factor, x) + 0.5).clamp_(0, 1)


@cache
def terms() -> tuple[tuple[int, int, int], ...]:
    """Degrees along the three axes of the terms of a bias field, without the constant one, which is brightness."""
    span = range(DEGREE + 1)
    return tuple((i, j, k) for i in span for j in span for k in span if 0 < i + j + k <= DEGREE)


def bias_field(coefficients: Tensor, space: tuple[int, ...]) -> Tensor:
    """(b, 1, d, h, w): exp of the sum of Legendre polynomials with `coefficients` (b, terms)."""
    b, size = len(coefficients), DEGREE + 1
    cube = coefficients.new_zeros(b, size, size, size)
    i, j, k = (list(axis) for axis in zip(*terms(), strict=True))
    cube[:, i, j, k] = coefficients
    down, high, wide = (_legendre(side).to(coefficients) for side in space)
    return torch.einsum("bijk,id,jh,kw->bdhw", cube, down, high, wide).exp_()[:, None]


@cache
def _legendre(side: int) -> Tensor:
    """(DEGREE + 1, side): the polynomials at even steps over [-1, 1]."""
    values = np.polynomial.legendre.legvander(np.linspace(-1, 1, side), DEGREE)
    return torch.from_numpy(values.T.astype(np.float32))


def rician(x: Tensor, real: Tensor, imaginary: Tensor, sigma: Tensor) -> Tensor:
    """The magnitude of volumes with normal noise of `sigma` (b,) in both channels of the receiver."""
    s = along(sigma, x)
    return torch.hypot(x + s * real, s * imaginary)


def ghosting(side: int, strength: Tensor, ghosts: Tensor) -> Tensor:
    """(b, side, side): weakens all lines of k-space but each `ghosts`th by `strength` (b,), so that copies appear."""
    line = torch.arange(side // 2 + 1, device=strength.device)
    kept = line % ghosts.long()[:, None] == 0
    kernel = torch.fft.irfft(torch.where(kept, 1.0, 1 - strength[:, None]), n=side)
    place = torch.arange(side, device=strength.device)
    circulant: Tensor = kernel[:, (place[:, None] - place) % side]
    return circulant


def coarsening(side: int, zoom: Tensor) -> Tensor:
    """(b, side, side): means over cells of 1 / `zoom` (b,) voxels, enlarged linearly again; zoom is in (0, 1]."""
    cell = (1 / zoom).view(-1, 1, 1)
    place = torch.arange(side, device=zoom.device, dtype=torch.float32)
    last = (side * zoom - 1e-4).ceil().view(-1, 1, 1) - 1
    at = ((place + 0.5)[:, None] / cell - 0.5).clamp_min(0).minimum(last)  # (b, side, 1), in cells
    low = at.floor()
    weight = at - low
    return (1 - weight) * _means(low, cell, place) + weight * _means((low + 1).minimum(last), cell, place)


def _means(number: Tensor, cell: Tensor, place: Tensor) -> Tensor:
    """(b, side, side): weights of voxels at `place` (side,) in the mean over a row's cell `number` (b, side, 1)."""
    covered = torch.minimum(place + 1, (number + 1) * cell) - torch.maximum(place, number * cell)
    covered = covered.clamp_min(0)
    return covered / covered.sum(-1, keepdim=True)


def smoothing(side: int, sigma: Tensor) -> Tensor:
    """(b, side, side): a Gaussian of `sigma` (b,) voxels."""
    return gaussian(side, sigma)[:, 0]


def through(x: Tensor, matrix: Tensor, axis: int) -> Tensor:
    """Volumes (b, c, d, h, w) with a matrix (b, side, side) applied along one of their axes, 0 to 2."""
    product = ("bij,bcjhw->bcihw", "bij,bcdjw->bcdiw", "bij,bcdhj->bcdhi")[axis]
    return torch.einsum(product, matrix, x)


def box(share: Tensor, corner: Tensor, space: tuple[int, ...]) -> Tensor:
    """(b, 1, d, h, w), True inside a box with `share` (b,) of the volume whose `corner` (b, 3) is in [0, 1)."""
    side = share ** (1 / len(space))
    down, high, wide = (_inside(n, corner[:, axis] * (1 - side), side) for axis, n in enumerate(space))
    return (down[:, :, None, None] & high[:, None, :, None] & wide[:, None, None, :])[:, None]


def _inside(n: int, start: Tensor, length: Tensor) -> Tensor:
    centre = (torch.arange(n, device=start.device) + 0.5) / n
    return (centre >= start[:, None]) & (centre < (start + length)[:, None])


def rotations(angles: Tensor) -> Tensor:
    """(b, 3, 3): turns about x, then y, then z by angles (b, 3) in radians, for coordinates (x, y, z)."""
    result = torch.eye(3, device=angles.device).expand(len(angles), 3, 3)
    for axis, (i, j) in enumerate(((1, 2), (2, 0), (0, 1))):
        turn = torch.eye(3, device=angles.device).repeat(len(angles), 1, 1)
        cos, sin = angles[:, axis].cos(), angles[:, axis].sin()
        turn[:, i, i], turn[:, j, j], turn[:, i, j], turn[:, j, i] = cos, cos, -sin, sin
        result = turn @ result
    return result


@cache
def orientations() -> Tensor:
    """(24, 3, 3): the turns of a cube onto itself, the identity first."""
    quarter = [0.0, math.pi / 2, math.pi, 3 * math.pi / 2]
    every = rotations(torch.cartesian_prod(*[torch.tensor(quarter)] * 3)).round()
    found: list[Tensor] = []
    for turn in every:
        if not any(torch.equal(turn, other) for other in found):
            found.append(turn)
    return torch.stack(found)
