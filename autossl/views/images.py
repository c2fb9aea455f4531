"""Views of a batch of images, made on its device with own random parameters for every image."""

import math
from collections.abc import Mapping
from dataclasses import replace
from itertools import accumulate
from typing import ClassVar, Self

import torch
import torch.nn.functional as F
from torch import Tensor

from autossl.errors import UserError
from autossl.views import intensity
from autossl.views.bending import KNOTS, displacement
from autossl.views.overlap import overlapping
from autossl.views.presets import Preset

ASPECT = math.log(4 / 3)  # widest aspect ratio of a crop (Szegedy et al. 2015)
MOST_OVERLAP = 0.5  # always possible: the widest crop and the highest have 3/4 of an area in common, of a volume 9/16
MILD_CROP = 0.5  # smallest crop for reconstruction, which learns little from a corner
PIECE = 2**21  # values that are changed at a time on a CPU: fresh memory for larger ones costs more than the work
COLUMNS = (
    *("area", "aspect", "left", "top", "hflip", "vflip", "angle", "turn", "brightness", "contrast", "saturation"),
    *("hue", "grey", "gamma", "noise", "noise_from", "blur", "blur_width"),
)  # what one image draws, followed by what EXTRA needs if the preset has any of it, and by a gain for each channel
COLUMN = {name: column for column, name in enumerate(COLUMNS)}
PLACE = [COLUMN["left"], COLUMN["top"]]
WIDTHS = {
    **{"elastic": 2 * KNOTS**2, "shear": 1, "window": 2, "bias": 16, "rician": 3, "ghost": 3},
    **{"lowres": 1, "speckle": 2, "depth": 1, "stain": 6, "cutout": 3},
}


def slices(widths: Mapping[str, int], start: int) -> dict[str, slice]:
    """Where each of the names finds its numbers in a row, the first at `start`."""
    ends = list(accumulate(widths.values(), initial=start))
    return {name: slice(*ends[at : at + 2]) for at, name in enumerate(widths)}


EXTRA = slices(WIDTHS, len(COLUMNS))


class Views:
    """Random views of float images (b, c, h, w) in [0, 1], standardised with `mean` and `std` of the channels.

    `crop_min` is the smallest share of the area that a crop keeps, in (0, 1]; `jitter` scales every intensity
    operation of the preset, elastic deformation and shear, in [0, 1]: at 0 intensities stay as they are. Views of an
    image that are drawn together share with the first of them at least `overlap`, in [0, 0.5], of the area of the
    smaller crop, before crops are turned and bent. A call draws all its randomness first, one row of numbers for each
    view, and is deterministic from there. Raises UserError if a strength is outside its range.
    """

    rows: ClassVar[Mapping[str, slice]] = EXTRA  # what may be drawn beside the first `fewest` numbers
    fewest: ClassVar[int] = len(COLUMNS)
    place: ClassVar[list[int]] = PLACE  # where a crop lies along each axis
    layout: ClassVar[torch.memory_format] = torch.channels_last
    idle: ClassVar[frozenset[str]] = frozenset()  # operations of a preset that have no meaning here

    def __init__(
        self,
        preset: Preset,
        mean: tuple[float, ...],
        std: tuple[float, ...],
        *,
        crop_min: float = 0.3,
        jitter: float = 0.3,
        overlap: float = 0.2,
    ) -> None:
        if not 0 < crop_min <= 1:
            raise UserError(f"crop_min in (0, 1] was wanted (share of the area), found {crop_min}; use 0.3 to 1")
        if not 0 <= jitter <= 1:
            raise UserError(f"jitter in [0, 1] was wanted, found {jitter}; use 0 for none")
        if not 0 <= overlap <= MOST_OVERLAP:
            raise UserError(f"overlap in [0, {MOST_OVERLAP}] was wanted (share of a crop), found {overlap}; use 0.2")
        self.preset, self.crop_min, self.jitter, self.overlap = preset, crop_min, jitter, overlap
        self.bent = replace(preset, elastic=preset.elastic * jitter, shear=preset.shear * jitter)
        self.extra = any(getattr(preset, name) for name in WIDTHS)
        self.mean, self.std = torch.tensor(mean), torch.tensor(std).clamp_min(1e-6)

    def __call__(self, images: Tensor, generator: torch.Generator, copies: int = 1) -> Tensor:
        """Standardised views (copies * b, c, h, w), channels_last: first one view of every image, then the next."""
        return self.apply(images, self.draw(images, generator, copies))

    def weak(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Mildly cropped and flipped images (b, c, h, w), still in [0, 1]: what reconstruction starts from."""
        u = self.draw(images, generator)
        return _cropped(images.contiguous(), u, _level(self.preset), max(self.crop_min, MILD_CROP))

    def upright(self) -> Self:
        """These views without free angles and bending, cropped as mildly as `weak`: what is cut into tiles.

        The fill beside a turned image would tell which tiles lie at its border.
        """
        return self.under(_level(self.preset), max(self.crop_min, MILD_CROP))

    def under(self, allowed: Preset, crop_min: float) -> Self:
        """Views of the same images at the same jitter and overlap under another preset."""
        mean, std = (tuple(values.tolist()) for values in (self.mean, self.std))
        return type(self)(allowed, mean, std, crop_min=crop_min, jitter=self.jitter, overlap=self.overlap)

    def standardise(self, images: Tensor) -> Tensor:
        """(images - mean) / std for each channel, channels_last."""
        mean, std = self._statistics(images)
        shift, scale = (intensity.along(values[None], images) for values in (-mean / std, 1 / std))
        return self._laid(torch.addcmul(shift, images, scale))

    def draw(self, images: Tensor, generator: torch.Generator, copies: int = 1) -> Tensor:
        """Numbers in [0, 1], a row for each view of each image, one of every image first: all the randomness of a view.

        Uniform, but that later copies may have been moved to overlap the first.
        """
        width = (max(at.stop for at in self.rows.values()) if self.extra else self.fewest) + images.shape[1]
        drawn = torch.rand(copies * len(images), width, generator=generator, device=generator.device)
        u = drawn.to(images.device)
        if copies > 1 and self.overlap:
            places, sides = u[:, self.place], self._sides(u)
            apart = (copies, len(images), places.shape[1])
            u[:, self.place] = overlapping(places.view(apart), sides.view(apart), self.overlap).flatten(0, 1)
        return u

    def apply(self, images: Tensor, u: Tensor) -> Tensor:
        """The standardised views (len(u), c, h, w) that the rows of `u` describe, channels_last.

        The first rows are of one view of every image, and so on; there are a whole number of views of each.
        """
        images, n = images.contiguous(), len(images)
        some = max(1, PIECE // images[0].numel())
        if images.device.type != "cpu" or len(u) <= some:
            batch = images if len(u) == n else images.repeat(len(u) // n, *[1] * (images.ndim - 1))
            return self._laid(self._applied(batch, u))
        found = torch.empty(len(u), *images.shape[1:], memory_format=self.layout)
        for view in range(0, len(u), n):
            for first in range(0, n, some):
                part = images[first : first + some]
                rows = slice(view + first, view + first + len(part))
                found[rows] = self._applied(part, u[rows])
        return found

    def _applied(self, images: Tensor, u: Tensor) -> Tensor:
        x = self.moved(images, u)
        if self.jitter == 0:
            return self.standardise(x)
        x = self._acquired(x, u)
        x = self._gamma(x, u)
        x = self._colour(x, u)
        x = self._noise(x, u)
        x = self._blur(x, u)
        if self.preset.cutout:
            x = intensity.cutout(x, u[:, self.rows["cutout"]], self.preset.cutout * self.jitter)
        return x

    def _sides(self, u: Tensor) -> Tensor:
        """Sides of the crops along x and y (b, 2), in units of the image's."""
        return _sides(u, self.crop_min)

    def moved(self, images: Tensor, u: Tensor) -> Tensor:
        """Images (b, c, *space) after everything in the views that `u` describes that moves pixels."""
        return _cropped(images, u, self.bent, self.crop_min)

    def followed(self, masks: Tensor, u: Tensor, outside: int) -> Tensor:
        """Masks (b, *space) of whole numbers as the views that `u` describes have them; `outside` beyond the image."""
        shifted = (masks.float() - outside)[:, None]  # beyond the image there are zeros
        found = F.grid_sample(
            shifted, self._grid(shifted, u), mode="nearest", padding_mode="zeros", align_corners=False
        )
        return (found[:, 0] + outside).round().to(masks.dtype)

    def _grid(self, images: Tensor, u: Tensor) -> Tensor:
        """Where each place of a view looks in its image, (b, *space, dims) in [-1, 1]."""
        size = (images.shape[2], images.shape[3])
        return _looks_at(u, size, size, self.bent, self.crop_min)

    def _laid(self, x: Tensor) -> Tensor:
        """In the layout that encoders want."""
        return x.contiguous(memory_format=self.layout)

    def places(self, u: Tensor, size: tuple[int, int], cells: tuple[int, int]) -> Tensor:
        """Where cells (rows, columns) of the views that `u` describes lie in their images of `size` (h, w).

        Centres (b, rows, columns, 2) as (x, y) in pixels of the image, after crop, flips and rotation.
        """
        grid = _looks_at(u, size, cells, self.bent, self.crop_min)
        return (grid + 1) / 2 * torch.tensor([size[1], size[0]], device=u.device)

    def _statistics(self, images: Tensor) -> tuple[Tensor, Tensor]:
        if self.mean.device != images.device:
            self.mean, self.std = self.mean.to(images.device), self.std.to(images.device)
        return self.mean, self.std

    def _factor(self, u: Tensor, amplitude: float) -> Tensor:
        """Factors between 1 / (1 + a) and 1 + a: as often up as down."""
        return intensity.factor(u, amplitude * self.jitter)

    def _acquired(self, x: Tensor, u: Tensor) -> Tensor:
        """The images as another device would have taken them."""
        for name, operation in intensity.ACQUIRED.items():
            amplitude: float = getattr(self.preset, name)
            if amplitude and name in self.rows:
                x = operation(x, u[:, self.rows[name]], amplitude * self.jitter)
        return x

    def _gamma(self, x: Tensor, u: Tensor) -> Tensor:
        if self.preset.gamma == 0:
            return x
        return intensity.gamma(x, u[:, COLUMN["gamma"]], self.preset.gamma * self.jitter)

    def _colour(self, x: Tensor, u: Tensor) -> Tensor:
        """Brightness, contrast, gain, saturation, hue, grey-scale and standardisation: one affine map an image."""
        c = x.shape[1]
        mean, std = self._statistics(x)
        contrast = self._factor(u[:, COLUMN["contrast"]], self.preset.contrast)
        shift = (2 * u[:, COLUMN["brightness"]] - 1) * self.preset.brightness * self.jitter
        gains = self._factor(u[:, -c:], self.preset.gain) * contrast[:, None]
        offset = (shift[:, None] - contrast[:, None] * mean) / std
        if c != 3 or x.ndim != 4:
            return torch.addcmul(intensity.along(offset, x), x, intensity.along(gains / std, x))
        matrix = self._colour_matrix(u) * gains[:, None, :] / std[:, None]
        return torch.baddbmm(offset[..., None], matrix, x.flatten(2)).view_as(x)

    def _colour_matrix(self, u: Tensor) -> Tensor:
        """(b, 3, 3): a turn about the grey axis and a stretch away from it; grey-scale is a stretch of nothing."""
        p = self.preset
        angle = (2 * u[:, COLUMN["hue"]] - 1) * (2 * math.pi * p.hue * self.jitter)
        away = self._factor(u[:, COLUMN["saturation"]], p.saturation)
        away = torch.where(u[:, COLUMN["grey"]] < p.grey * self.jitter, 0.0, away)
        return intensity.colour_matrix(angle, away)

    def _noise(self, x: Tensor, u: Tensor) -> Tensor:
        if self.preset.noise == 0:
            return x
        amplitude = u[:, COLUMN["noise"]] * self.preset.noise * self.jitter
        weight = amplitude[:, None] / self._statistics(x)[1]
        return torch.addcmul(x, self.normal(x, u[:, COLUMN["noise_from"]]), intensity.along(weight, x))

    normal = staticmethod(intensity.normal)

    def _blur(self, x: Tensor, u: Tensor) -> Tensor:
        """A Gaussian of own width for a share of the images, one matrix product along each axis."""
        chosen = u[:, COLUMN["blur"]] < self.preset.blur_share
        if self.preset.blur == 0 or not bool(chosen.any()):
            return x
        x[chosen] = intensity.blur(x[chosen], u[chosen, COLUMN["blur_width"]] * self.preset.blur * self.jitter)
        return x


def _level(allowed: Preset) -> Preset:
    """The preset without free angles and bending."""
    return replace(allowed, rotate=0.0, elastic=0.0, shear=0.0)


def _cropped(x: Tensor, u: Tensor, allowed: Preset, crop_min: float) -> Tensor:
    """Crop, flips and rotation by one bilinear sampling; what lies outside takes the colour of the border."""
    size = (x.shape[2], x.shape[3])
    grid = _looks_at(u, size, size, allowed, crop_min)
    return F.grid_sample(x, grid, mode="bilinear", padding_mode="border", align_corners=False)


def _looks_at(u: Tensor, size: tuple[int, int], cells: tuple[int, int], allowed: Preset, crop_min: float) -> Tensor:
    """Where cells (rows, columns) of a view look in their image of `size`, (b, rows, columns, 2) in [-1, 1]."""
    h, w = size
    sides = _sides(u, crop_min)
    centre = (2 * u[:, PLACE] - 1) * (1 - sides)
    wide, high = sides.unbind(1)
    wide = wide * torch.where(u[:, COLUMN["hflip"]] < 0.5 * allowed.hflip, -1.0, 1.0)
    high = high * torch.where(u[:, COLUMN["vflip"]] < 0.5 * allowed.vflip, -1.0, 1.0)
    angle = (2 * u[:, COLUMN["angle"]] - 1) * math.radians(allowed.rotate)
    angle = angle + (4 * u[:, COLUMN["turn"]]).floor() * (math.pi / 2 * allowed.turns)
    cos, sin = angle.cos(), angle.sin()
    # an output cell (i, j) in [-1, 1] looks at centre + i * along + j * across
    along = torch.stack([wide * cos, wide * sin * (w / h)], 1)
    across = torch.stack([-high * sin * (h / w), high * cos], 1)
    if allowed.shear:
        across = across + (2 * u[:, EXTRA["shear"]] - 1) * (allowed.shear * h / w) * along
    columns = _centres(cells[1], u)[None, :, None] * along[:, None]
    rows = _centres(cells[0], u)[None, :, None] * across[:, None] + centre[:, None]
    grid = rows[:, :, None] + columns[:, None]
    if allowed.elastic:
        moved = 2 * allowed.elastic * displacement(u[:, EXTRA["elastic"]], cells)
        grid = grid + moved[:, 0, ..., None] * along[:, None, None] + moved[:, 1, ..., None] * across[:, None, None]
    return grid


def _sides(u: Tensor, crop_min: float) -> Tensor:
    """Sides of the crops along x and y (b, 2), in units of the image's."""
    area = crop_min + (1 - crop_min) * u[:, COLUMN["area"]]
    # an aspect ratio that would not fit is narrowed: the area stays what was drawn, and a whole image stays whole
    aspect = (2 * u[:, COLUMN["aspect"]] - 1) * (-area.log()).clamp_max(ASPECT)
    return torch.stack([torch.sqrt(area * aspect.exp()), torch.sqrt(area / aspect.exp())], 1)


def _centres(side: int, x: Tensor) -> Tensor:
    """Centres of cells along one axis, in [-1, 1]."""
    return (torch.arange(side, device=x.device) * 2 + 1) / side - 1
