"""Views of a batch of volumes, made on its device with own random parameters for every volume."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from autossl.intensity import along
from autossl.views import ASPECT, MILD_CROP, Preset, Views
from autossl.views import COLUMNS as IMAGE_COLUMNS
from autossl.volume_intensity import (
    GHOSTS,
    bias_field,
    box,
    coarsening,
    ghosting,
    orientations,
    rician,
    rotations,
    smoothing,
    terms,
    through,
    window,
)

COLUMNS = (
    *IMAGE_COLUMNS,
    *("deep_aspect", "front", "dflip", "pitch", "roll", "elastic", "elastic_from", "level", "width"),
    *("rician", "rician_real", "rician_imaginary", "ghost", "ghost_count", "ghost_axis", "lowres", "lowres_axis"),
    *("cutout", "cut_front", "cut_top", "cut_left"),
)  # what one volume draws, followed by the terms of a bias field
COLUMN = {name: column for column, name in enumerate(COLUMNS)}
KNOTS = 4  # of an elastic deformation, a side


class VolumeViews(Views):
    """Random views of float volumes (b, c, d, h, w) in [0, 1], with the words and the strengths of `Views`.

    `crop_min` is the smallest share of the volume. Where a preset allows vertical flips, volumes are flipped from
    front to back too; its right angles are the 24 turns of a cube, its free angle is about each of three axes.
    Operations on colour have no meaning here.
    """

    def weak(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Mildly cropped and flipped volumes (b, c, d, h, w), still in [0, 1]: what reconstruction starts from."""
        u = self.draw(images, generator)
        grid = _grid(images, u, self.preset, max(self.crop_min, MILD_CROP), rotate=0.0)
        return _sampled(images, grid)

    def standardise(self, images: Tensor) -> Tensor:
        """(images - mean) / std for each channel."""
        mean, std = self._statistics(images)
        return torch.addcmul(along((-mean / std)[None], images), images, along((1 / std)[None], images))

    def draw(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Uniform numbers in [0, 1), a row for each volume: all the randomness of one view."""
        width = len(COLUMNS) + len(terms())
        return torch.rand(len(images), width, generator=generator, device=generator.device).to(images.device)

    def apply(self, images: Tensor, u: Tensor) -> Tensor:
        """The standardised views (b, c, d, h, w) that the rows of `u` describe."""
        grid = _grid(images, u, self.preset, self.crop_min, rotate=self.preset.rotate)
        x = _sampled(images, self._bent(grid, u))
        if self.jitter == 0:
            return self.standardise(x)
        x = self._scanned(self._gamma(self._windowed(x, u), u), u)
        x = self._noise(self._contrasted(x, u), u)
        return self._cut(self._acquired(x, u), u)

    def _strength(self, u: Tensor, name: str) -> Tensor:
        """Strengths (b,) from nothing to the preset's amplitude."""
        amplitude: float = getattr(self.preset, name)
        return u[:, COLUMN[name]] * (amplitude * self.jitter)

    def _bent(self, grid: Tensor, u: Tensor) -> Tensor:
        """Elastic deformation: a smooth normal displacement whose deviation is a share of the side."""
        if self.preset.elastic * self.jitter == 0:
            return grid
        knots = self.normal(grid.new_empty(len(grid), 3, KNOTS, KNOTS, KNOTS), u[:, COLUMN["elastic_from"]])
        field = F.interpolate(knots, grid.shape[1:4], mode="trilinear", align_corners=True)
        return grid + along(2 * self._strength(u, "elastic"), grid) * field.movedim(1, -1)

    def _windowed(self, x: Tensor, u: Tensor) -> Tensor:
        if self.preset.window == 0:
            return x
        level = (2 * u[:, COLUMN["level"]] - 1) * self.preset.window * self.jitter / 2
        return window(x, level, self._factor(u[:, COLUMN["width"]], self.preset.window))

    def _scanned(self, x: Tensor, u: Tensor) -> Tensor:
        """The receiver of a magnetic resonance scanner: bias field and Rician noise."""
        if self.preset.bias:
            coefficients = (2 * u[:, len(COLUMNS) :] - 1) * (self.preset.bias * self.jitter)
            x = x * bias_field(coefficients, tuple(x.shape[2:]))
        if self.preset.rician:
            real, imaginary = (self.normal(x, u[:, COLUMN[name]]) for name in ("rician_real", "rician_imaginary"))
            x = rician(x, real, imaginary, self._strength(u, "rician"))
        return x

    def _contrasted(self, x: Tensor, u: Tensor) -> Tensor:
        """Brightness, contrast and standardisation."""
        mean, std = self._statistics(x)
        contrast = self._factor(u[:, COLUMN["contrast"]], self.preset.contrast)[:, None]
        shift = (2 * u[:, COLUMN["brightness"], None] - 1) * self.preset.brightness * self.jitter
        return torch.addcmul(along((shift - contrast * mean) / std, x), x, along(contrast / std, x))

    def _acquired(self, x: Tensor, u: Tensor) -> Tensor:
        """Ghosts along one axis, coarse voxels along one or all, and blur: one matrix for each axis."""
        p = self.preset
        if not (p.ghost or p.lowres or p.blur):
            return x
        ghosted, coarse = 3 * u[:, COLUMN["ghost_axis"]], 4 * u[:, COLUMN["lowres_axis"]]
        ghosts = (GHOSTS[0] + u[:, COLUMN["ghost_count"]] * (GHOSTS[1] + 1 - GHOSTS[0])).floor()
        zoom = 1 - self._strength(u, "lowres")
        blurred = u[:, COLUMN["blur"]] < p.blur_share
        width = u[:, COLUMN["blur_width"]] * (p.blur * self.jitter) * blurred
        for axis, side in enumerate(x.shape[2:]):
            strength = self._strength(u, "ghost") * (ghosted.floor() == axis)
            chosen = (coarse.floor() == axis) | (coarse >= 3)
            matrix = coarsening(side, torch.where(chosen, zoom, 1.0)) @ ghosting(side, strength, ghosts)
            x = through(x, smoothing(side, width * side) @ matrix, axis)
        return x.contiguous()

    def _cut(self, x: Tensor, u: Tensor) -> Tensor:
        """A box of up to the preset's share of the volume set to the mean, 0."""
        if self.preset.cutout == 0:
            return x
        corner = u[:, [COLUMN["cut_front"], COLUMN["cut_top"], COLUMN["cut_left"]]]
        return x.masked_fill(box(self._strength(u, "cutout"), corner, tuple(x.shape[2:])), 0.0)


def views_for(dims: int) -> type[Views]:
    """The class of views for images (2) or volumes (3)."""
    return VolumeViews if dims == 3 else Views


def _sampled(x: Tensor, grid: Tensor) -> Tensor:
    """Volumes at the places of a grid; what lies outside takes the value of the border."""
    return F.grid_sample(x.contiguous(), grid, mode="bilinear", padding_mode="border", align_corners=False)


def _grid(x: Tensor, u: Tensor, allowed: Preset, crop_min: float, rotate: float) -> Tensor:
    """Where each voxel of a view looks (b, d, h, w, 3): crop, flips, right angles and a small rotation."""
    share = crop_min + (1 - crop_min) * u[:, COLUMN["area"]]
    # no side grows beyond the volume: the share stays what was drawn, and a whole volume stays whole
    room = (-share.log() / 3).clamp_max(ASPECT) / 2
    stretch = (2 * u[:, [COLUMN["aspect"], COLUMN["deep_aspect"]]] - 1) * room[:, None]
    extent = share[:, None] ** (1 / 3) * torch.cat([stretch, -stretch.sum(1, keepdim=True)], 1).exp()  # x, y, z
    centre = (2 * u[:, [COLUMN["left"], COLUMN["top"], COLUMN["front"]]] - 1) * (1 - extent)
    flips = u[:, [COLUMN["hflip"], COLUMN["vflip"], COLUMN["dflip"]]]
    may = torch.tensor([allowed.hflip, allowed.vflip, allowed.vflip], device=x.device)
    extent = torch.where((flips < 0.5) & may, -extent, extent)
    angles = (2 * u[:, [COLUMN["roll"], COLUMN["pitch"], COLUMN["angle"]]] - 1) * math.radians(rotate)
    turned = rotations(angles)
    if allowed.turns:
        turned = turned @ orientations().to(x.device)[(24 * u[:, COLUMN["turn"]]).long()]
    size = torch.tensor(x.shape[:1:-1], device=x.device, dtype=turned.dtype)  # w, h, d
    matrix = turned / size[:, None] * (size * extent)[:, None]
    return F.affine_grid(torch.cat([matrix, centre[..., None]], 2), list(x.shape), align_corners=False)
