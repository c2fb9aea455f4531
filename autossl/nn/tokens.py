"""Patch tokens of a plain vision transformer: all of them, only some, or with some of them hidden."""

from typing import Any, NamedTuple, cast

import torch
from timm.layers.patch_embed import PatchEmbed
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from autossl.nn.encoder import MIN_TOKENS, Encoder

HEAD = 32  # channels of an attention head in a decoder


class Tokens(NamedTuple):
    """The pooled embedding (b, d) and the patch tokens (b, n, d), row by row."""

    pooled: Tensor
    patches: Tensor


def has_tokens(encoder: Encoder) -> bool:
    """Whether patches can be left out of the encoder: at least 4 x 4 of them, each embedded by itself.

    That is timm's VisionTransformer (class token, registers, neither; pooled by token, mean or attention; DeiT too).
    Not served: convolutional stems, which mix patches; rotary and relative positions (Eva, DINOv3, BEiT), which do
    not travel with the tokens; windows (Swin, Hiera); patches that do not divide the image.
    """
    model = encoder.backbone
    plain = isinstance(model, VisionTransformer) and type(model.patch_embed) is PatchEmbed
    divides = all(encoder.image_size % side == 0 for side in encoder.cells)
    return plain and divides and min(encoder.cells) >= MIN_TOKENS


def tokens(
    encoder: Encoder,
    images: Tensor,
    *,
    keep: Tensor | None = None,
    mask: Tensor | None = None,
    token: Tensor | None = None,
) -> Tokens:
    """What an encoder with tokens gives for standardised images (b, c, h, w).

    Only the patches numbered in `keep` (b, k) enter the transformer, if it is given, and k tokens come out. Where
    `mask` (b, n) is True a patch is replaced by `token` (d,) before its position is added.
    """
    model = cast(Any, encoder.backbone)
    with encoder._autocast(images):
        x = model.patch_embed(encoder.intake(images))  # (b, n, d), or (b, rows, columns, d) where sizes may vary
        if mask is not None:
            assert token is not None
            x = torch.where(mask.view(*x.shape[:-1], 1), token.to(x.dtype), x)
        x = model._pos_embed(x)
        first = model.num_prefix_tokens
        if keep is not None:
            x = torch.cat([x[:, :first], taken(x[:, first:], keep)], 1)
        x = model.norm(model.blocks(model.norm_pre(x)))
        pooled = model.forward_head(x, pre_logits=True)
    return Tokens(pooled.float(), x[:, first:].float())


def taken(rows: Tensor, at: Tensor) -> Tensor:
    """The rows (b, k, c) of (b, n, c) that stand at `at` (b, k)."""
    return rows.gather(1, at[..., None].expand(-1, -1, rows.shape[2]))


def patches(images: Tensor, grid: tuple[int, int]) -> Tensor:
    """The pixels (b, n, height * width * c) of the patches of images (b, c, h, w) that a grid divides."""
    b, c, h, w = images.shape
    rows, columns = grid
    cut = images.reshape(b, c, rows, h // rows, columns, w // columns)
    return cut.permute(0, 2, 4, 3, 5, 1).reshape(b, rows * columns, -1)


def normalised(pixels: Tensor) -> Tensor:
    """Patches (b, n, p) less their mean, over their standard deviation (He et al. 2022)."""
    variance, mean = torch.var_mean(pixels, dim=2, keepdim=True)
    return (pixels - mean) / (variance + 1e-6).sqrt()


def positions(grid: tuple[int, int], width: int) -> Tensor:
    """Fixed sines and cosines (n, width) of the places of a grid, half of them for the row; width divides by 4."""
    frequency = 10000.0 ** -(torch.arange(width // 4) / (width // 4))
    row, column = torch.meshgrid(*(torch.arange(float(side)) for side in grid), indexing="ij")
    angles = [place.flatten()[:, None] * frequency for place in (row, column)]
    return torch.cat([wave(angle) for angle in angles for wave in (torch.sin, torch.cos)], 1)


class TokenDecoder(nn.Module):
    """A narrow transformer that answers at some places of a grid from the tokens at others, (b, m, out).

    The pooled embedding is one more thing that it is told: in a network with a class token that is the class token, as
    in MAE, and without it what is scored afterwards would get no gradient. `width` is a multiple of 32.
    """

    places: Tensor

    def __init__(self, dim: int, out: int, grid: tuple[int, int], *, width: int, depth: int) -> None:
        super().__init__()
        self.enter = nn.Linear(dim, width)
        self.asked = nn.Parameter(0.02 * torch.randn(width))
        self.register_buffer("places", positions(grid, width), persistent=False)
        self.blocks = nn.Sequential(*(_block(width) for _ in range(depth)))
        self.leave = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, out))

    def forward(self, found: Tokens, known: Tensor, asked: Tensor) -> Tensor:
        """Answers at the places `asked` (b, m), given tokens that stand at the places `known` (b, k)."""
        told = self.enter(found.patches) + self.places[known]
        questions = self.asked + self.places[asked]
        x = torch.cat([self.enter(found.pooled)[:, None], told, questions], 1)
        answers: Tensor = self.leave(self.blocks(x)[:, -asked.shape[1] :])
        return answers


def _block(width: int) -> nn.Module:
    return nn.TransformerEncoderLayer(
        width, width // HEAD, 4 * width, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
    )
