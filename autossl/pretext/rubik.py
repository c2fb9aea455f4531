"""Rubik's cube: tell in which order the cubes of a volume were laid, which were turned and which were masked."""

from typing import ClassVar, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from autossl.nn.encoder import Encoder
from autossl.nn.heads import mlp
from autossl.pretext.base import Pretext
from autossl.pretext.batch import Batch
from autossl.pretext.cnn_mae import block_mask
from autossl.pretext.jigsaw import different_orders, fitted, normalised, tiles
from autossl.views.images import Views

GRID = 2  # cubes along each axis
BLOCKS = 4  # of a cube along each axis, of which a mask takes some away
TURNS = ((3, 4), (2, 3))  # axes that a half turn about the vertical and about the horizontal line reverses


class Rubik(Pretext):
    """Zhuang et al. 2019 with the masks of Zhu et al. 2020 (Rubik's cube+): 2 x 2 x 2 cubes, each by one encoder.

    From the embeddings of all cubes a head tells their order, one of `permutations` that lie far apart in Hamming
    distance, by cross-entropy, and by binary cross-entropies which cubes were turned by 180 degrees about the vertical
    and which about the horizontal line, and which were masked, each with probability one half. `turned` and `masked`
    are the weights of the two beside an order of weight 1. The papers sum the binary terms over the cubes; here they
    are means, so that the weights keep their meaning. Published code turns a cube about one line at most and masks
    half of its single voxels; here both turns may meet, and a mask takes the share `ratio` of a cube's blocks, for
    single voxels are told by their noise. Cubes keep a gap, jitter in their cells and are standardised one by one, so
    that neither edges nor brightness give anything away. `gap` is the share of a cell's side that is left out.
    """

    paradigm: ClassVar[str] = "non-contrastive and predictive"
    dims: ClassVar[frozenset[int]] = frozenset({3})
    passes: ClassVar[float] = 0.8
    paper: ClassVar[str] = "Zhuang et al. 2019, arXiv 1910.02241; Zhu et al. 2020, doi 10.1016/j.media.2020.101746"
    needs: ClassVar[frozenset[str]] = frozenset({"orientation"})

    order: Tensor

    def __init__(
        self,
        encoder: Encoder,
        views: Views,
        *,
        permutations: int = 24,
        turned: float = 1.0,
        masked: float = 1.0,
        ratio: float = 0.5,
        gap: float = 0.15,
        hidden: int = 512,
    ) -> None:
        super().__init__(encoder, views)
        self.turned, self.masked, self.ratio, self.gap = turned, masked, ratio, gap
        self.upright = views.upright()
        cubes = GRID**3
        self.register_buffer("order", torch.from_numpy(different_orders(cubes, permutations)), persistent=False)
        self.head = mlp(encoder.dim * cubes, hidden, len(self.order) + 3 * cubes)

    def loss(self, batch: Batch) -> Tensor:
        x = self.upright(batch.images, self.generator)
        drawn = self._draw(len(x), x.device)
        cubes = normalised(tiles(x, self.order[drawn.label], drawn.shift, GRID, self.gap))
        cubes = half_turned(cubes, drawn.turned.flatten(0, 1))
        cubes = cubes * (1 - drawn.masked.view(-1, 1, 1, 1, 1) * self._masks(cubes))
        answers = self.head(self.encoder(fitted(cubes, self.encoder)).reshape(len(x), -1)).float()
        order, turned, masked = answers.split([len(self.order), 2 * GRID**3, GRID**3], 1)
        return (
            self.answered(order, drawn.label)
            + self.turned * F.binary_cross_entropy_with_logits(turned, drawn.turned.flatten(1))
            + self.masked * F.binary_cross_entropy_with_logits(masked, drawn.masked)
        )

    def _draw(self, b: int, device: torch.device) -> "Drawn":
        u = torch.rand(b, GRID**3, 6, generator=self.generator, device=self.generator.device).to(device)
        number = torch.randint(len(self.order), (b,), generator=self.generator, device=self.generator.device)
        coins = (u[..., 3:] < 0.5).float()
        return Drawn(number.to(device), u[..., :3], coins[..., :2], coins[..., 2])

    def _masks(self, cubes: Tensor) -> Tensor:
        """1 on a random share of the blocks of each cube (n, c, t, t, t), else 0: (n, 1, t, t, t)."""
        blocks = block_mask(len(cubes), BLOCKS, self.ratio, self.generator, 3).to(cubes.device)
        return F.interpolate(blocks, cubes.shape[2:], mode="nearest")


class Drawn(NamedTuple):
    """What is done to each volume: its order (b,), and by cube its place (b, n, 3), turns (b, n, 2) and mask (b, n)."""

    label: Tensor
    shift: Tensor
    turned: Tensor
    masked: Tensor


def half_turned(cubes: Tensor, which: Tensor) -> Tensor:
    """Cubes (n, c, t, t, t) turned by 180 degrees about either line where `which` (n, 2) is 1."""
    for number, axes in enumerate(TURNS):
        cubes = torch.where(which[:, number, None, None, None, None] > 0, cubes.flip(axes), cubes)
    return cubes
