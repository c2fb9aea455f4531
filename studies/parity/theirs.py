"""Methods put together from lightly's losses and heads, with the sizes, views and schedules of ours.

Each view passes the encoder by itself, as in lightly's own examples; ours pass it together.
"""

import copy
import math
from collections.abc import Callable, Mapping
from typing import Any, cast

import torch
import torch.nn.functional as F
from lightly import loss as losses
from lightly.models import modules, utils
from lightly.models.modules.heads import VICRegProjectionHead
from torch import Tensor, nn

from autossl.nn.encoder import Encoder
from autossl.pretext import Pretext
from autossl.pretext.batch import Batch
from autossl.views.images import Views

Sizes = Mapping[str, Any]  # hyperparameters of our method, by keyword


class TwoViews(Pretext):
    """A loss of two batches of projections: SimCLR, VICReg, Barlow Twins."""

    def __init__(self, encoder: Encoder, views: Views, head: nn.Module, criterion: nn.Module) -> None:
        super().__init__(encoder, views)
        self.head, self.criterion = head, criterion

    def loss(self, batch: Batch) -> Tensor:
        first, second = self.views(batch.images, self.generator, copies=2).chunk(2)
        return cast(Tensor, self.criterion(self.head(self.encoder(first)), self.head(self.encoder(second))))


class Momentum(nn.Module):
    """A copy of modules that follows them; ours names the share that it moves, lightly the share that it keeps."""

    def __init__(self, rate: float, *parts: tuple[nn.Module, nn.Module]) -> None:
        super().__init__()
        self.rate = rate
        self.followed = [part for part, _ in parts]
        self.copies = nn.Sequential(*(copied for _, copied in parts))
        utils.deactivate_requires_grad(self.copies)

    @torch.no_grad()
    def forward(self, images: Tensor) -> Tensor:
        return cast(Tensor, self.copies(images))

    @torch.no_grad()
    def update(self, progress: float) -> None:
        kept = 1 - self.rate * (math.cos(math.pi * progress) + 1) / 2
        for part, copied in zip(self.followed, self.copies, strict=True):
            utils.update_momentum(part, copied, kept)


class BYOL(Pretext):
    """Grill et al. 2020."""

    def __init__(self, encoder: Encoder, views: Views, h: Sizes) -> None:
        super().__init__(encoder, views)
        self.head = modules.BYOLProjectionHead(encoder.dim, h["hidden"], h["out"])
        self.predictor = modules.BYOLPredictionHead(h["out"], h["hidden"], h["out"])
        pairs = [(part, copy.deepcopy(part)) for part in (encoder, self.head)]
        self.teacher = Momentum(h["teacher_rate"], *pairs)
        self.criterion = losses.NegativeCosineSimilarity()

    def loss(self, batch: Batch) -> Tensor:
        views = self.views(batch.images, self.generator, copies=2).chunk(2)
        first, second = (self.predictor(self.head(self.encoder(view))) for view in views)
        one, other = (self.teacher(view) for view in views)
        return cast(Tensor, 0.5 * (self.criterion(first, other) + self.criterion(second, one)))

    def after_step(self, progress: float) -> None:
        self.teacher.update(progress)


class DINO(Pretext):
    """Caron et al. 2021 with two global crops; batch norm in the head as in ours."""

    def __init__(self, encoder: Encoder, views: Views, h: Sizes) -> None:
        super().__init__(encoder, views)
        assert h["local_crops"] == 0, "only global crops are compared"
        sizes = (encoder.dim, h["hidden"], h["bottleneck"], h["prototypes"])
        # two heads with one state: lightly's cannot be copied
        self.head, follower = (modules.DINOProjectionHead(*sizes, batch_norm=True) for _ in range(2))
        follower.load_state_dict(self.head.state_dict())
        self.teacher = Momentum(h["teacher_rate"], (encoder, copy.deepcopy(encoder)), (self.head, follower))
        sharp = h["teacher_temperature"]
        self.criterion = losses.DINOLoss(
            h["prototypes"], sharp, sharp, student_temp=h["student_temperature"], center_momentum=1 - h["centre_rate"]
        )

    def loss(self, batch: Batch) -> Tensor:
        views = self.views(batch.images, self.generator, copies=2).chunk(2)
        taught = [self.teacher(view) for view in views]
        return cast(Tensor, self.criterion(taught, [self.head(self.encoder(view)) for view in views]))

    def after_step(self, progress: float) -> None:
        self.teacher.update(progress)


class SwAV(Pretext):
    """Caron et al. 2020: swapped assignments of two crops, without a queue."""

    def __init__(self, encoder: Encoder, views: Views, h: Sizes) -> None:
        super().__init__(encoder, views)
        self.head = modules.SwaVProjectionHead(encoder.dim, h["hidden"], h["out"])
        self.prototypes = modules.SwaVPrototypes(h["out"], h["prototypes"])
        self.criterion = losses.SwaVLoss(h["temperature"], 3, h["epsilon"])

    def loss(self, batch: Batch) -> Tensor:
        self.prototypes.normalize()
        views = self.views(batch.images, self.generator, copies=2).chunk(2)
        scores = [self.prototypes(F.normalize(self.head(self.encoder(view)), dim=1)) for view in views]
        return cast(Tensor, self.criterion(scores, []))


class DenseCL(Pretext):
    """Wang et al. 2021: a queue for images and one for the cells of the last map."""

    def __init__(self, encoder: Encoder, views: Views, h: Sizes) -> None:
        super().__init__(encoder, views)
        self.weight = h["weight"]
        self.head = modules.DenseCLProjectionHead(encoder.dim, h["hidden"], h["out"])
        self.dense_head = modules.DenseCLProjectionHead(encoder.pyramid_channels[-1], h["hidden"], h["out"])
        followed = nn.ModuleList([encoder, self.head, self.dense_head])
        self.teacher = Momentum(h["teacher_rate"], *((part, copy.deepcopy(part)) for part in followed))
        bank = (h["queue"], h["out"])
        self.criterion, self.dense_criterion = (losses.NTXentLoss(h["temperature"], bank) for _ in range(2))

    def loss(self, batch: Batch) -> Tensor:
        first, second = self.views(batch.images, self.generator, copies=2).chunk(2)
        query, cells, dense_query = _dense(first, self.encoder, self.head, self.dense_head)
        with torch.no_grad():
            key, key_cells, dense_key = _dense(second, *self.teacher.copies)
        chosen = utils.select_most_similar(cells, key_cells, dense_key)
        whole = self.criterion(query, key)
        dense = self.dense_criterion(dense_query.flatten(end_dim=1), chosen.flatten(end_dim=1))
        return torch.lerp(whole, dense, self.weight)

    def after_step(self, progress: float) -> None:
        self.teacher.update(0.0)  # a constant rate


def _dense(images: Tensor, encoder: nn.Module, head: nn.Module, dense_head: nn.Module) -> tuple[Tensor, Tensor, Tensor]:
    """Projections (b, d), cells of the last map (b, n, c) and their projections (b, n, d)."""
    found = cast(Encoder, encoder).features(images)
    cells = found.pyramid[-1].flatten(2).transpose(1, 2)
    return head(found.pooled), cells, dense_head(cells)


class MaskedTokens(Pretext):
    """Pixels of masked patches of a timm transformer: SimMIM (mask tokens in the encoder) and MAE (in a decoder)."""

    def __init__(self, encoder: Encoder, views: Views, ratio: float, decoder: tuple[int, int] | None = None) -> None:
        super().__init__(encoder, views)
        self.ratio = ratio
        # the weights are those with which ours begins
        self.transformer = modules.MaskedVisionTransformerTIMM(
            cast(Any, encoder.backbone), weight_initialization="skip", pos_embed_initialization="skip"
        )
        embed = cast(Any, encoder.backbone).patch_embed
        self.patch = embed.patch_size[0]
        self.decoder: nn.Module | None = None
        width = encoder.dim
        if decoder is not None:
            width, depth = decoder
            self.narrow = nn.Linear(encoder.dim, width)
            self.decoder = modules.MaskedVisionTransformerDecoderTIMM(embed.num_patches, width, depth, width // 32)
        self.head = nn.Linear(width, encoder.channels * self.patch**2)

    def loss(self, batch: Batch) -> Tensor:
        target = self.views.standardise(self.views.weak(batch.images, self.generator))
        size = (len(target), self.transformer.sequence_length)
        kept, masked = utils.random_token_mask(size, self.ratio, device=target.device)
        pixels = utils.get_at_index(utils.patchify(target, self.patch), masked - 1)  # number 0 is the class token
        if self.decoder is None:
            tokens = self.transformer.encode(target, idx_mask=masked)
            return F.l1_loss(self.head(utils.get_at_index(tokens, masked)), pixels)
        tokens = self.narrow(self.transformer.encode(target, idx_keep=kept))
        whole = utils.repeat_token(cast(Any, self.decoder).mask_token, size)
        whole = utils.set_at_index(whole, kept, tokens.type_as(whole))
        restored = self.head(utils.get_at_index(self.decoder(whole), masked))
        return F.mse_loss(restored, utils.normalize_mean_var(pixels))  # patch by patch, as ours


THEIRS: dict[str, Callable[[Encoder, Views, Sizes], Pretext]] = {
    "simclr": lambda e, v, h: TwoViews(
        e, v, modules.SimCLRProjectionHead(e.dim, h["hidden"], h["out"]), losses.NTXentLoss(h["temperature"])
    ),
    "byol": BYOL,
    "vicreg": lambda e, v, h: TwoViews(
        e, v, VICRegProjectionHead(e.dim, h["width"], h["width"]),
        losses.VICRegLoss(h["invariance"], h["variance"], h["covariance"]),
    ),
    "barlow": lambda e, v, h: TwoViews(
        e, v, modules.BarlowTwinsProjectionHead(e.dim, h["width"], h["width"]), losses.BarlowTwinsLoss(h["redundancy"])
    ),
    "dino": DINO,
    "swav": SwAV,
    "simmim": lambda e, v, h: MaskedTokens(e, v, h["ratio"]),
    "mae": lambda e, v, h: MaskedTokens(e, v, h["ratio"], (h["width"], h["depth"])),
    "densecl": DenseCL,
}  # fmt: skip
TRANSFORMERS = frozenset({"simmim", "mae"})  # which lightly has for transformers only
