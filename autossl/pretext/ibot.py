"""iBOT: say of hidden patches, and of the image seen otherwise, what a slow teacher says who sees it all."""

import math
from typing import ClassVar

import torch
from torch import Tensor, nn

from autossl.nn.encoder import Encoder
from autossl.nn.heads import Prototypes, Teacher, mlp
from autossl.nn.tokens import tokens
from autossl.pretext.base import Pretext
from autossl.pretext.batch import Batch
from autossl.pretext.dino import dino, entropy
from autossl.views.images import Views

SPREAD = 2 / 3  # a masked share lies within this part of `ratio` around it: .1 to .5 for .3
CENTRES = 2  # blocks of masked patches in a view


class IBOT(Pretext):
    """Zhou et al. 2022: DINO on the pooled embeddings of two views, and on the masked patch tokens of each view.

    Half of the views are masked, in blocks that cover the share `ratio` give or take two thirds of it. One head
    serves both; each has its own centre, which follows the teacher by `centre_rate`. `teacher_rate` is 1 - momentum
    in the first step and falls to 0 along a cosine. As in DINO here, the teacher's entropy is taken off.
    """

    paradigm: ClassVar[str] = "non-contrastive and predictive"
    passes: ClassVar[float] = 2.8
    paper: ClassVar[str] = "Zhou et al. 2022, arXiv 2111.07832"
    needs: ClassVar[frozenset[str]] = frozenset({"patch tokens"})

    centre: Tensor
    patch_centre: Tensor

    def __init__(
        self,
        encoder: Encoder,
        views: Views,
        *,
        weight: float = 1.0,
        ratio: float = 0.3,
        prototypes: int = 512,
        student_temperature: float = 0.1,
        teacher_temperature: float = 0.04,
        teacher_rate: float = 0.01,
        centre_rate: float = 0.1,
        hidden: int = 512,
        bottleneck: int = 128,
    ) -> None:
        super().__init__(encoder, views)
        self.weight, self.ratio = weight, ratio
        self.temperatures = (student_temperature, teacher_temperature)
        self.teacher_rate, self.centre_rate = teacher_rate, centre_rate
        self.grid = (encoder.cells[0], encoder.cells[1])
        # no batch norm, as in the paper: pooled embeddings and patch tokens are two populations
        inner = mlp(encoder.dim, hidden, hidden, bottleneck, normed=False)
        self.head = nn.Sequential(inner, Prototypes(bottleneck, prototypes))
        self.token = nn.Parameter(torch.zeros(encoder.dim))
        self.teacher = Teacher(nn.ModuleList([encoder, self.head]))
        self.register_buffer("centre", torch.zeros(prototypes))
        self.register_buffer("patch_centre", torch.zeros(prototypes))

    def loss(self, batch: Batch) -> Tensor:
        views = self.views(batch.images, self.generator, copies=2)
        mask = block_masks(len(views), self.grid, self.ratio, self.generator).to(views.device)
        found = tokens(self.encoder, views, mask=mask, token=self.token)
        seen, seen_patches = self._teacher(views, mask)
        pair = (2, len(batch.images), -1)
        whole = dino(self.head(found.pooled).view(pair), seen.view(pair), *self.temperatures)
        patches = masked_answers(self.head(found.patches[mask]), seen_patches, mask, *self.temperatures)
        return whole - entropy(seen, self.temperatures[1]) + self.weight * patches

    @torch.no_grad()
    def _teacher(self, views: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Centred answers to whole views (2b, k) and to their masked patches (m, k); moves the centres on."""
        assert isinstance(self.teacher.module, nn.ModuleList)
        encoder, head = self.teacher.module
        assert isinstance(encoder, Encoder)
        found = tokens(encoder, views)
        whole, patches = head(found.pooled), head(found.patches[mask])
        answers = whole - self.centre, patches - self.patch_centre
        self.centre.lerp_(whole.mean(0), self.centre_rate)
        if len(patches):
            self.patch_centre.lerp_(patches.mean(0), self.centre_rate)
        return answers

    def after_step(self, progress: float) -> None:
        rate = self.teacher_rate * (math.cos(math.pi * progress) + 1) / 2
        self.teacher.update(nn.ModuleList([self.encoder, self.head]), rate)


def masked_answers(
    student: Tensor, teacher: Tensor, mask: Tensor, student_temperature: float, teacher_temperature: float
) -> Tensor:
    """Cross-entropy less entropy of answers (m, k) to the patches where `mask` (b, n) is True.

    A mean over the masked patches of a view, then over all views; one without any counts as 0.
    """
    targets = (teacher / teacher_temperature).log_softmax(1)
    divergence = (targets.exp() * (targets - (student / student_temperature).log_softmax(1))).sum(1)
    count = mask.sum(1, keepdim=True)
    weights = (1 / count.clamp_min(1)).expand_as(mask)[mask]
    return (divergence * weights).sum() / len(mask)


def block_masks(n: int, grid: tuple[int, int], ratio: float, generator: torch.Generator) -> Tensor:
    """(n, rows * columns), True where a patch is masked: in every other view two blocks that grow until they cover it.

    Blocks have random centres and shapes (Bao et al. 2022); their share of the patches lies around `ratio`.
    """
    u = torch.rand(n, 1 + 3 * CENTRES, generator=generator, device=generator.device)
    row, column = (torch.arange(float(side), device=u.device) for side in grid)
    top, left, shape = u[:, 1:].view(n, 3, CENTRES, 1, 1).unbind(1)
    aspect = torch.exp((2 * shape - 1) * math.log(3.0))
    away = torch.maximum((row[:, None] - top * (grid[0] - 1)).abs() / aspect, (column - left * (grid[1] - 1)).abs())
    rank = away.amin(1).flatten(1).argsort(1).argsort(1)
    share = ratio * (1 + SPREAD * (2 * u[:, 0] - 1))
    count = (share * rank.shape[1]).round().clamp(1, rank.shape[1] - 1)
    masked = torch.rand(n, generator=generator, device=generator.device).argsort() < (n + 1) // 2
    return (rank < count[:, None]) & masked[:, None]
