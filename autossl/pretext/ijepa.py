"""I-JEPA: predict what a slow teacher makes of blocks of an image from what a student makes of the rest."""

import math
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from autossl.nn.encoder import Encoder
from autossl.nn.heads import Teacher
from autossl.nn.tokens import TokenDecoder, taken, tokens
from autossl.pretext.base import Pretext
from autossl.pretext.batch import Batch
from autossl.views.images import Views

ASPECT = (0.75, 1.5)  # of a target block
CONTEXT = (0.85, 1.0)  # share of the image in the context block, before the targets are taken out of it


class IJEPA(Pretext):
    """Assran et al. 2023: target blocks' representations from a context block; no colours, no negatives.

    Every image has `targets` blocks, each between .75 and 1 times the share `area` of it, and one context block
    without them. The teacher sees the whole image; its tokens, layer-normalised, are predicted with the smooth L1
    distance by a narrow transformer of `width` (a multiple of 32) and `depth`. `teacher_rate` is 1 - momentum in the
    first step and falls to 0 along a cosine.
    """

    paradigm: ClassVar[str] = "non-contrastive and predictive"
    passes: ClassVar[float] = 1.4
    paper: ClassVar[str] = "Assran et al. 2023, arXiv 2301.08243"
    needs: ClassVar[frozenset[str]] = frozenset({"patch tokens"})

    def __init__(
        self,
        encoder: Encoder,
        views: Views,
        *,
        targets: int = 4,
        area: float = 0.2,
        teacher_rate: float = 0.01,
        width: int = 128,
        depth: int = 3,
    ) -> None:
        super().__init__(encoder, views)
        self.targets, self.area, self.teacher_rate = targets, area, teacher_rate
        self.grid = (encoder.cells[0], encoder.cells[1])
        self.predictor = TokenDecoder(encoder.dim, encoder.dim, self.grid, width=width, depth=depth)
        self.teacher = Teacher(encoder)

    def loss(self, batch: Batch) -> Tensor:
        shown = self.views.standardise(self.views.weak(batch.images, self.generator))
        context, blocks = blocks_of(len(batch.images), self.grid, self.targets, self.area, self.generator)
        context, blocks = context.to(shown.device), blocks.to(shown.device)
        found = tokens(self.encoder, shown, keep=context)
        wanted = self._targets(shown)
        distances = [
            F.smooth_l1_loss(self.predictor(found, context, block).float(), taken(wanted, block)) for block in blocks
        ]
        return torch.stack(distances).mean()

    @torch.no_grad()
    def _targets(self, images: Tensor) -> Tensor:
        teacher = self.teacher.module
        assert isinstance(teacher, Encoder)
        found = tokens(teacher, images).patches
        return F.layer_norm(found, found.shape[2:])

    def after_step(self, progress: float) -> None:
        rate = self.teacher_rate * (math.cos(math.pi * progress) + 1) / 2
        self.teacher.update(self.encoder, rate)


def blocks_of(
    n: int, grid: tuple[int, int], targets: int, area: float, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Numbers of the context patches (n, k) and of the patches of the target blocks (targets, n, m) of n images.

    Sizes are drawn once, places for each image. An image whose context is larger than another's loses random patches,
    so that all have the same number; the context block is ignored where the targets leave nothing of it.
    """
    size, aspect, whole = torch.rand(3, generator=generator, device=generator.device).tolist()
    share, shape = area * (0.75 + 0.25 * size), ASPECT[0] + (ASPECT[1] - ASPECT[0]) * aspect
    blocks = placed(targets * n, grid, rectangle(grid, share, shape), generator)
    free = ~blocks.view(targets, n, -1).any(0)
    surrounding = placed(n, grid, rectangle(grid, CONTEXT[0] + (CONTEXT[1] - CONTEXT[0]) * whole, 1.0), generator)
    context = free & surrounding
    context = torch.where(context.any(1, keepdim=True), context, free)
    # every image must have context: with too many targets for the grid, one of the patches they cover
    least = max(int(context.sum(1).min()), 1)
    order = (torch.rand(context.shape, generator=generator, device=generator.device) - context.float()).argsort(1)
    numbers: Tensor = blocks.nonzero()[:, 1].view(targets, n, -1)
    return order[:, :least].sort(1).values, numbers


def rectangle(grid: tuple[int, int], share: float, aspect: float) -> tuple[int, int]:
    """Rows and columns of a block that covers at most this share of a grid, at least one patch."""
    area = share * grid[0] * grid[1]
    rows = min(max(round(math.sqrt(area * aspect)), 1), grid[0])
    return rows, min(max(int(area / rows), 1), grid[1])


def placed(n: int, grid: tuple[int, int], size: tuple[int, int], generator: torch.Generator) -> Tensor:
    """(n, rows * columns), True in one block of this size at a random place of each grid."""
    u = torch.rand(2, n, 1, generator=generator, device=generator.device)
    inside = []
    for start, side, length in zip(u, grid, size, strict=True):
        first = (start * (side - length + 1)).floor()
        place = torch.arange(side, device=u.device)
        inside.append((place >= first) & (place < first + length))
    block: Tensor = inside[0][:, :, None] & inside[1][:, None]
    return block.flatten(1)
