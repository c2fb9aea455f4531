"""Views of a batch of volumes, made on its device with own random parameters for every volume."""

import math
from collections.abc import Mapping, Sequence
from functools import cache
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from autossl.views import trilinear
from autossl.views.images import ASPECT, MILD_CROP, Views, slices
from autossl.views.images import COLUMNS as IMAGE_COLUMNS
from autossl.views.intensity import along
from autossl.views.presets import Preset
from autossl.views.trilinear import KNOTS  # of an elastic deformation, a side

COLUMNS = (
    *IMAGE_COLUMNS,
    *("deep_aspect", "front", "dflip", "pitch", "roll", "elastic", "elastic_from"),
)  # what one volume draws, followed by what operations on intensities need, and by a gain for each channel
COLUMN = {name: column for column, name in enumerate(COLUMNS)}
PLACE = [COLUMN["left"], COLUMN["top"], COLUMN["front"]]
WIDTHS = {"window": 2, "bias": 64, "rician": 3, "ghost": 3, "lowres": 2, "speckle": 2, "cutout": 4}
EXTRA = slices(WIDTHS, len(COLUMNS))


class VolumeViews(Views):
    """Random views of float volumes (b, c, d, h, w) in [0, 1], with the words and the strengths of `Views`.

    `crop_min` and `overlap` are shares of volumes. Where a preset allows vertical flips, volumes are flipped from
    front to back too; its right angles are the 24 turns of a cube, its free angle is about each of three axes.
    Hue, saturation, grey and stain have no meaning here, nor has depth, whose axis is not known, and there is no shear.
    """

    rows: ClassVar[Mapping[str, slice]] = EXTRA
    fewest: ClassVar[int] = len(COLUMNS)
    place: ClassVar[list[int]] = PLACE
    layout: ClassVar[torch.memory_format] = torch.channels_last_3d
    idle: ClassVar[frozenset[str]] = frozenset({"hue", "saturation", "grey", "stain", "depth", "shear"})

    def weak(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Mildly cropped and flipped volumes (b, c, d, h, w), still in [0, 1]: what reconstruction starts from."""
        u = self.draw(images, generator)
        matrix = _matrix(images, u, self.preset, max(self.crop_min, MILD_CROP), rotate=0.0)
        return sampled(images, matrix)

    def _sides(self, u: Tensor) -> Tensor:
        return _sides(u, self.crop_min)

    def moved(self, images: Tensor, u: Tensor) -> Tensor:
        matrix = _matrix(images, u, self.preset, self.crop_min, rotate=self.preset.rotate)
        return sampled(images, matrix, self._bends(u))

    def _grid(self, images: Tensor, u: Tensor) -> Tensor:
        matrix = _matrix(images, u, self.preset, self.crop_min, rotate=self.preset.rotate)
        return grid(matrix, images.shape[2:], self._bends(u))

    def _bends(self, u: Tensor) -> Tensor | None:
        """Elastic deformation: normal displacements of knots (b, k, k, k, 3), their deviation a share of the side."""
        if self.bent.elastic == 0:
            return None
        moved = self.normal(u.new_empty(len(u), 3, KNOTS, KNOTS, KNOTS), u[:, COLUMN["elastic_from"]])
        return along(u[:, COLUMN["elastic"]] * (2 * self.bent.elastic), moved).mul(moved).movedim(1, -1)


def views_for(dims: int) -> type[Views]:
    """The class of views for images (2) or volumes (3)."""
    return VolumeViews if dims == 3 else Views


def sampled(x: Tensor, matrix: Tensor, moved: Tensor | None = None) -> Tensor:
    """Volumes where `grid` looks, trilinearly; what lies outside takes the value of the border."""
    size = x.shape[2:]
    if x.device.type != "cpu" or x.dtype != torch.float32:
        places = grid(matrix, size, moved)
        return F.grid_sample(x.contiguous(), places, mode="bilinear", padding_mode="border", align_corners=False)
    if moved is None:
        moved = matrix.new_zeros(len(x), KNOTS, KNOTS, KNOTS, 3)
    half = torch.tensor(size[::-1]) / 2  # of w, h, d: places in voxels
    return trilinear.sampled(x, _lines(matrix, size, moved) * half + (half - 0.5), _hats(size[2], KNOTS).T)


def _matrix(x: Tensor, u: Tensor, allowed: Preset, crop_min: float, rotate: float) -> Tensor:
    """Where a view looks, (b, 3, 4) for (x, y, z, 1) in [-1, 1]: crop, flips, right angles and a small rotation."""
    extent = _sides(u, crop_min)
    centre = (2 * u[:, PLACE] - 1) * (1 - extent)
    flips = u[:, [COLUMN["hflip"], COLUMN["vflip"], COLUMN["dflip"]]]
    may = torch.tensor([allowed.hflip, allowed.vflip, allowed.vflip], device=x.device)
    extent = torch.where((flips < 0.5) & may, -extent, extent)
    angles = (2 * u[:, [COLUMN["roll"], COLUMN["pitch"], COLUMN["angle"]]] - 1) * math.radians(rotate)
    turned = rotations(angles)
    if allowed.turns:
        turned = turned @ orientations().to(x.device)[(24 * u[:, COLUMN["turn"]]).long()]
    size = torch.tensor(x.shape[:1:-1], device=x.device, dtype=turned.dtype)  # w, h, d
    matrix = turned / size[:, None] * (size * extent)[:, None]
    return torch.cat([matrix, centre[..., None]], 2)


def _sides(u: Tensor, crop_min: float) -> Tensor:
    """Sides of the crops along x, y and z (b, 3), in units of the volume's."""
    share = crop_min + (1 - crop_min) * u[:, COLUMN["area"]]
    # no side grows beyond the volume: the share stays what was drawn, and a whole volume stays whole
    room = (-share.log() / 3).clamp_max(ASPECT) / 2
    stretch = (2 * u[:, [COLUMN["aspect"], COLUMN["deep_aspect"]]] - 1) * room[:, None]
    return share[:, None] ** (1 / 3) * torch.cat([stretch, -stretch.sum(1, keepdim=True)], 1).exp()


def grid(matrix: Tensor, size: Sequence[int], moved: Tensor | None = None) -> Tensor:
    """The place (x, y, z) that each voxel looks at, (b, d, h, w, 3), by affine maps (b, 3, 4) and moved knots.

    `moved` (b, k, k, k, 3) displaces k knots along each axis, the outer ones in the outer voxels; voxels between them
    follow by linear interpolation. As that reproduces affine maps, both are computed at the knots only.
    """
    lines = _lines(matrix, size, moved)
    wide = _hats(size[2], lines.shape[3]).T.to(matrix.device).contiguous()
    rows = lines.flatten(3).flatten(0, 2) @ torch.kron(wide, torch.eye(3, device=matrix.device))
    return rows.view(-1, *size, 3)


def _lines(matrix: Tensor, size: Sequence[int], moved: Tensor | None) -> Tensor:
    """The places of the knots of each line along w, (b, d, h, k, 3): interpolated between planes, then rows."""
    k = 2 if moved is None else moved.shape[1]
    ends = [torch.linspace(1 / side - 1, 1 - 1 / side, k, device=matrix.device) for side in size]
    z, y, x = torch.meshgrid(*ends, indexing="ij")
    knots = (torch.stack([x, y, z, torch.ones_like(x)], -1).view(-1, 4) @ matrix.mT).view(-1, k, k, k, 3)
    if moved is not None:
        knots = knots + moved
    deep, high = (_hats(side, k).to(matrix.device) for side in size[:2])
    return (high @ (deep @ knots.flatten(2)).view(-1, k, 3 * k)).view(-1, *size[:2], k, 3)


@cache
def _hats(side: int, knots: int) -> Tensor:
    """(side, knots): what each of `knots` evenly spaced knots contributes to each of `side` voxels between them."""
    place = torch.linspace(0, knots - 1, side)
    return (1 - (place[:, None] - torch.arange(knots)).abs()).clamp_min(0)


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
