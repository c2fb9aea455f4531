"""What the intensities of two views may differ in: pure functions of images, uniform numbers and an amplitude.

Images are (b, c, *space), with any number of axes of space unless a function says otherwise, in [0, 1] before they are
standardised. `u` holds the uniform numbers in [0, 1) of an operation, a row for each image; an amplitude of 0 leaves
every image as it is. No result depends on the other images of the batch.
"""

import math
from collections.abc import Callable
from functools import cache

import numpy as np
import torch
from torch import Tensor

RARE = 0.25  # share of the images that ghosts and low resolution touch, as nnU-Net does with low resolution
DEGREE = 3  # of the polynomials of a bias field (Van Leemput et al. 1999)
GHOSTS = (4, 10)  # fewest and most ghosts of an image, as in TorchIO
POOL = 1 << 17  # normal deviates drawn once; an image takes a run of them from a random place
TAIL = -16.0  # exponent below which a Gaussian counts as 0: less than the rounding of its largest weight
DARKEST = 1 / 255  # added before a logarithm
STAINS = (  # optical densities of haematoxylin, eosin and DAB in red, green and blue (Ruifrok and Johnston 2001)
    (0.65, 0.70, 0.29),
    (0.07, 0.99, 0.11),
    (0.27, 0.57, 0.78),
)


def along(values: Tensor, x: Tensor) -> Tensor:
    """Values (b,) or (b, c) with axes of length 1 added, so that they meet every pixel of x (b, c, *space)."""
    return values.reshape(*values.shape, *[1] * (x.ndim - values.ndim))


def factor(u: Tensor, amplitude: float) -> Tensor:
    """Factors between 1 / (1 + amplitude) and 1 + amplitude: as often up as down."""
    return torch.exp((2 * u - 1) * math.log1p(amplitude))


def gamma(x: Tensor, u: Tensor, amplitude: float) -> Tensor:
    """Images cut off to [0, 1], to the power of a factor; u (b,)."""
    # half the time of a power, on a CPU; 0 goes by way of -inf to 0
    return x.clamp(0, 1).log_().mul_(along(factor(u, amplitude), x)).exp_()


def window(x: Tensor, u: Tensor, amplitude: float) -> Tensor:
    """Images seen through another grey-level window: its width times a factor, its level moved; u (b, 2).

    The level moves by up to half the amplitude. What lies beyond the window is cut off at 0 and 1, as on a screen.
    """
    narrower, level = factor(u[:, 0], amplitude), (u[:, 1] - 0.5) * amplitude
    return torch.addcmul(along(0.5 - narrower * (0.5 + level), x), x, along(narrower, x)).clamp_(0, 1)


def bias(x: Tensor, u: Tensor, amplitude: float) -> Tensor:
    """Images times the exponential of a smooth random polynomial, their mean kept; u (b, 4 ** axes).

    The coefficients of the Legendre polynomials up to degree 3 lie in ±amplitude. To keep the brightest pixel instead
    would darken all of an image that is bright in a corner. What becomes brighter than 1 is cut off.
    """
    space = x.shape[2:]
    field = ((2 * u - 1) * amplitude).view(len(x), *[DEGREE + 1] * len(space)) * _terms(len(space)).to(x.device)
    for side in space:
        field = field.movedim(1, -1) @ _legendre(side).to(x.device)
    shaded = x * field.exp_()[:, None]
    return shaded.mul_(along(x.flatten(1).mean(1) / shaded.flatten(1).mean(1).clamp_min(1e-6), x)).clamp_(0, 1)


@cache
def _terms(axes: int) -> Tensor:
    """(4, ..., 4) with 1 where the degrees add up to 1 to 3: the constant is brightness."""
    total = np.indices([DEGREE + 1] * axes).sum(0)
    return torch.from_numpy(((total > 0) & (total <= DEGREE)).astype(np.float32))


@cache
def _legendre(side: int) -> Tensor:
    """(4, side): Legendre polynomials at the centres of `side` pixels over [-1, 1]."""
    place = (np.arange(side) * 2 + 1) / side - 1
    return torch.from_numpy(np.polynomial.legendre.legvander(place, DEGREE).T.astype(np.float32))


def depth(x: Tensor, u: Tensor, amplitude: float) -> Tensor:
    """Images that fade along their first axis, to as little as 1 / (1 + amplitude) at its end; u (b, 1)."""
    below = (torch.arange(x.shape[2], device=x.device) + 0.5) / x.shape[2]
    kept = torch.exp(-math.log1p(amplitude) * u * below)
    return x * along(kept[:, None], x)


def stain(x: Tensor, u: Tensor, amplitude: float) -> Tensor:
    """RGB images with the optical density of each stain times a factor and moved, cut off to [0, 1]; u (b, 6).

    Densities move by up to half the amplitude (Tellez et al. 2019). Images without three channels stay as they are.
    """
    if x.shape[1] != 3:
        return x
    stains, unmixed = _separation(x.device)
    mixed = stains.T * factor(u[:, None, :3], amplitude) @ unmixed.T
    shift = (u[:, 3:] - 0.5) * amplitude @ stains
    light = (x.flatten(2) + DARKEST).log_()
    return torch.baddbmm(-shift[..., None], mixed, light).exp_().sub_(DARKEST).clamp_(0, 1).view_as(x)


@cache
def _separation(device: torch.device) -> tuple[Tensor, Tensor]:
    """The densities of the stains (3, 3), a row each, and the matrix that finds the stains in densities."""
    stains = torch.tensor(STAINS)
    return stains.to(device), torch.linalg.inv(stains).to(device)


def normal(x: Tensor, place: Tensor) -> Tensor:
    """Normal deviates shaped like x (b, c, *space): runs of one fixed pool, beginning where `place` (b,) says."""
    length = x[0].numel()
    pool = _pool(max(POOL, 2 * length), x.device)
    start = (place * (len(pool) - length)).long()
    return pool.unfold(0, length, 1)[start].view_as(x)


@cache
def _pool(size: int, device: torch.device) -> Tensor:
    return torch.randn(size, generator=torch.Generator().manual_seed(0)).to(device)


def speckle(x: Tensor, u: Tensor, amplitude: float) -> Tensor:
    """Images plus noise in proportion to themselves, not below 0, the same in all channels; u (b, 2)."""
    grains = normal(x[:, :1], u[:, 1]).mul_(along(u[:, 0] * amplitude, x))
    return torch.addcmul(x, x, grains).clamp_min_(0)


def rician(x: Tensor, u: Tensor, amplitude: float) -> Tensor:
    """The magnitude of images with normal noise in both channels of the receiver; u (b, 3).

    The deviation is up to the amplitude, the noise the same in all channels of an image (Gudbjartsson and Patz 1995).
    """
    sigma = along(u[:, 0] * amplitude, x)
    real, imaginary = (normal(x[:, :1], u[:, column]).mul_(sigma) for column in (1, 2))
    return (x + real).square_().add_(imaginary.square_()).sqrt_()


def lowres(x: Tensor, u: Tensor, amplitude: float) -> Tensor:
    """A quarter of the images at down to 1 - amplitude of their resolution, enlarged again; u (b, 1) or (b, 2).

    A second number chooses one of the axes, as thick slices have it, or all of them, each as likely.
    """
    axes = x.ndim - 2

    def coarser(some: Tensor, v: Tensor) -> Tensor:
        zoom = 1 - amplitude * v[:, 0]
        chosen = (v[:, 1] * (axes + 1)).floor() if v.shape[1] > 1 else torch.full_like(zoom, axes)
        zooms = [torch.where((chosen == axis) | (chosen == axes), zoom, 1.0) for axis in range(axes)]
        return through(some, [_coarse(side, z) for side, z in zip(x.shape[2:], zooms, strict=True)])

    return _rarely(x, u, coarser)


def _coarse(side: int, zoom: Tensor) -> Tensor:
    """(b, side, side): means over cells of 1 / `zoom` (b,) pixels, enlarged linearly; the identity at zoom 1."""
    pixel, size = torch.arange(side, device=zoom.device), (1 / zoom).view(-1, 1, 1)
    cell = pixel[:, None]
    covered = torch.minimum(pixel + 1, (cell + 1) * size) - torch.maximum(pixel, cell * size)
    means = covered.clamp_min_(0)
    means = means / means.sum(-1, keepdim=True).clamp_min(1e-6)
    last = (side * zoom - 1e-4).ceil()[:, None] - 1
    looks_at = ((pixel + 0.5) * zoom[:, None] - 0.5).clamp_min(0).minimum(last)  # in cells
    return (1 - (looks_at[..., None] - pixel).abs()).clamp_min(0) @ means


def ghost(x: Tensor, u: Tensor, amplitude: float) -> Tensor:
    """A quarter of the images with faint copies of themselves along one axis, 4 to 10 in number; u (b, 3).

    Every fourth to tenth line of k-space, all but the middle one, is weakened by up to the amplitude: a pulsing vessel.
    """

    def ghosted(some: Tensor, v: Tensor) -> Tensor:
        count = GHOSTS[0] + (v[:, 1] * (GHOSTS[1] + 1 - GHOSTS[0])).floor()
        axis = (v[:, 2] * (x.ndim - 2)).floor()
        weakened = [amplitude * v[:, 0] * (axis == number) for number in range(x.ndim - 2)]
        return through(some, [_combed(n, w, count) for n, w in zip(x.shape[2:], weakened, strict=True)]).abs_()

    return _rarely(x, u, ghosted)


def _combed(side: int, weakened: Tensor, count: Tensor) -> Tensor:
    """(b, side, side): weakens every `count`th (b,) spatial frequency but 0 by the share `weakened` (b,)."""
    line = torch.arange(side // 2 + 1, device=count.device)
    hit = (line % count[:, None] == 0) & (line > 0)
    kernel: Tensor = torch.fft.irfft(1 - hit * weakened[:, None], n=side)
    place = torch.arange(side, device=count.device)
    return kernel[:, (place[:, None] - place) % side]


def _rarely(x: Tensor, u: Tensor, operation: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """The operation on the images whose first number is below RARE, with that number stretched to [0, 1) again."""
    chosen = u[:, 0] < RARE
    if not bool(chosen.any()):
        return x
    v = u[chosen]
    result = x.clone()
    result[chosen] = operation(x[chosen], torch.cat([v[:, :1] / RARE, v[:, 1:]], 1))
    return result


def through(x: Tensor, matrices: list[Tensor]) -> Tensor:
    """Images (b, c, *space) with a matrix (b, side, side) for each axis of space applied along it."""
    for matrix in matrices:  # the axis in front goes to the end each time, until all are back in place
        moved = x.movedim(2, -1)
        x = (moved.flatten(1, -2) @ matrix.transpose(1, 2)).view(moved.shape)
    return x


def colour_matrix(angle: Tensor, away: Tensor) -> Tensor:
    """(b, 3, 3): a turn by `angle` (b,) about the grey axis and a stretch `away` (b,) from it; 0 makes it grey."""
    axis = torch.full((3, 3), 1 / 3, device=angle.device)
    cross = torch.tensor([[0.0, -1, 1], [1, 0, -1], [-1, 1, 0]], device=angle.device) / math.sqrt(3)
    flat = torch.eye(3, device=angle.device) - axis
    turned = flat * angle.cos()[:, None, None] + cross * angle.sin()[:, None, None]
    return axis + turned * away[:, None, None]


def blur(x: Tensor, sigma: Tensor) -> Tensor:
    """Images through a Gaussian of `sigma` (b,) in units of the side: a matrix product along each axis."""
    return through(x, [gaussian(side, sigma * side) for side in x.shape[2:]])


def gaussian(side: int, sigma: Tensor) -> Tensor:
    """(b, side, side): rows are Gaussian weights of standard deviation `sigma` (b,) pixels that add up to 1."""
    place = torch.arange(side, device=sigma.device)
    squares = (place[:, None] - place).square()
    exponent = -squares / (2 * sigma.clamp_min(0.1).square()).view(-1, 1, 1)
    # cut off: numbers too small for a normal float are ten times as slow to multiply by
    weights = exponent.clamp_min(TAIL).exp_().masked_fill_(exponent < TAIL, 0)
    return weights / weights.sum(-1, keepdim=True)


def cutout(x: Tensor, u: Tensor, amplitude: float) -> Tensor:
    """Standardised images with a box of up to the share `amplitude` at 0, the data set's mean; u (b, 1 + axes)."""
    space = x.shape[2:]
    side = (u[:, :1] * amplitude) ** (1 / len(space))
    inside = torch.ones(1, 1, *[1] * len(space), dtype=torch.bool, device=x.device)
    for axis, (n, start) in enumerate(zip(space, (u[:, 1:] * (1 - side)).T, strict=True)):
        centre = (torch.arange(n, device=x.device) + 0.5) / n
        within = (centre >= start[:, None]) & (centre < start[:, None] + side)
        inside = inside & within.view(-1, 1, *(n if axis == other else 1 for other in range(len(space))))
    return x.masked_fill(inside, 0.0)


ACQUIRED = {  # what another device would have made of an image, in this order
    "stain": stain,
    "window": window,
    "bias": bias,
    "depth": depth,
    "lowres": lowres,
    "ghost": ghost,
    "speckle": speckle,
    "rician": rician,
}
