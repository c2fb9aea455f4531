"""Convolutions on maps of a few positions, computed on the CPU as one matrix product.

Small images leave the last stages of a network with maps of 2 x 2 positions or fewer. There most taps of a 3 x 3 filter
see padding alone, and oneDNN's gradients of such layers took half of all training time (docs/decisions.md). The same
layer is a linear map of all inputs at once; its matrix consists of the filter's taps, so that nothing meets padding.
"""

from itertools import product
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

BLOCKS = 16  # pairs of an output and an input position up to which the matrix was faster

Place = tuple[int, ...]


class _SmallMaps:
    """What the two kinds of convolution share: small maps (b, c, *space) on the CPU take the other path."""

    def forward(self: Any, input: Tensor) -> Tensor:
        if torch.onnx.is_in_onnx_export():  # an export keeps convolutions
            return super().forward(input)  # type: ignore[misc,no-any-return]
        after = positions_after(self, input.shape[2:])
        if input.device.type != "cpu" or input.shape[2:].numel() * after.numel() > BLOCKS:
            return super().forward(input)  # type: ignore[misc,no-any-return]
        return as_product(self, input, after)


class Conv2d(_SmallMaps, nn.Conv2d):
    """torch's, but for small maps on the CPU."""


class Conv3d(_SmallMaps, nn.Conv3d):
    """torch's, but for small maps on the CPU."""


KINDS: dict[type[nn.Module], type[nn.Module]] = {nn.Conv2d: Conv2d, nn.Conv3d: Conv3d}


def serve_small_maps(network: nn.Module) -> None:
    """Let the convolutions of a network that have no groups compute small maps so; their weights stay what they are."""
    for layer in network.modules():
        if type(layer) in KINDS and _is_plain(layer):
            layer.__class__ = KINDS[type(layer)]


def _is_plain(conv: Any) -> bool:
    return conv.groups == 1 and conv.padding_mode == "zeros" and not isinstance(conv.padding, str)


def positions_after(conv: Any, space: Place) -> torch.Size:
    """The spatial shape that a convolution makes of `space`."""
    axes = zip(space, conv.kernel_size, conv.stride, conv.padding, conv.dilation, strict=True)
    return torch.Size(
        (size + 2 * gap - step * (kernel - 1) - 1) // stride + 1 for size, kernel, stride, gap, step in axes
    )


def as_product(conv: Any, maps: Tensor, after: torch.Size) -> Tensor:
    """What a convolution gives for maps (b, c, *space), (b, o, *after): a product with a block for each two places."""
    filters = conv.weight.movedim(1, -1)  # taps are taken as the weights lie; their gradients then lie so too
    rows = maps.movedim(1, -1)
    sources = list(product(*map(range, maps.shape[2:])))
    taps = [[_tap(conv, place, source) for source in sources] for place in product(*map(range, after))]
    met = {tap for row in taps for tap in row if tap is not None}
    if len(met) == 1 and after == maps.shape[2:]:  # every position sees itself alone
        return F.linear(rows, filters[(slice(None), *met.pop())], conv.bias).movedim(-1, 1)
    if torch.is_autocast_enabled("cpu"):  # before they are laid out: half the memory to write
        filters = filters.to(torch.get_autocast_dtype("cpu"))
    nothing = filters.new_zeros(len(filters), filters.shape[-1])
    blocks = [torch.cat([nothing if tap is None else filters[(slice(None), *tap)] for tap in row], 1) for row in taps]
    bias = None if conv.bias is None else conv.bias.repeat(len(taps))
    return F.linear(rows.flatten(1), torch.cat(blocks), bias).view(len(maps), *after, -1).movedim(-1, 1)


def _tap(conv: Any, place: Place, source: Place) -> Place | None:
    """The tap of the filter with which the output at `place` sees the input at `source`, if one does."""
    found = []
    for at, of, kernel, stride, gap, step in zip(
        place, source, conv.kernel_size, conv.stride, conv.padding, conv.dilation, strict=True
    ):
        tap, between = divmod(of - at * stride + gap, step)
        if between or not 0 <= tap < kernel:
            return None
        found.append(tap)
    return tuple(found)
