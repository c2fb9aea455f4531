"""Sparse convolutions by dense means: what is hidden stays empty at every layer of a convolutional network."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from autossl.nn.encoder import Encoder

MIXING = (nn.Linear, nn.LayerNorm, nn.GroupNorm, nn.MultiheadAttention)  # these see hidden cells, or fill them


def is_convolutional(encoder: Encoder) -> bool:
    """Whether `sparse` serves this encoder: convolutions and batch norms, without tokens or other norms."""
    modules = list(encoder.backbone.modules())
    return any(isinstance(m, nn.Conv2d) for m in modules) and not any(isinstance(m, MIXING) for m in modules)


@contextmanager
def sparse(encoder: Encoder, visible: Tensor) -> Iterator[None]:
    """Within this context the encoder computes as on sparse images, of which `visible` (b, 1, rows, columns) is seen.

    After Tian et al. 2023: the mask is applied again after every layer, so nothing spreads into hidden cells, and a
    batch norm takes its statistics from visible cells alone. Computed densely: it saves no time. A map coarser than
    the mask counts a cell as visible where any part of it is.
    """
    visible = visible.bool()
    handles: list[Any] = []
    norms = [m for m in encoder.backbone.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    within = {id(part) for norm in norms for part in norm.modules()}
    for norm in norms:
        packing = _Packing(visible)
        handles.append(norm.register_forward_pre_hook(packing.pack))
        handles.append(norm.register_forward_hook(packing.unpack))
    for module in encoder.backbone.modules():
        if id(module) not in within and not any(module.children()):
            handles.append(module.register_forward_hook(lambda _module, _args, output: hidden(output, visible)))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def hidden(found: Any, visible: Tensor) -> Any:
    """A map (b, c, h, w) with zeros where it is not visible; anything else stays as it is."""
    if not isinstance(found, Tensor) or found.ndim != 4:
        return found
    return found * resized(visible, (found.shape[2], found.shape[3]))


def resized(visible: Tensor, size: tuple[int, int]) -> Tensor:
    """The mask (b, 1, rows, columns) at another size: the nearest cell if finer, visible where a part is if coarser."""
    if size[0] < visible.shape[2] or size[1] < visible.shape[3]:
        return F.adaptive_max_pool2d(visible.float(), size).bool()
    return F.interpolate(visible.float(), size, mode="nearest").bool()


class _Packing:
    """Hands a batch norm the visible cells of a map as one long row, and puts its answers back into their places."""

    def __init__(self, visible: Tensor) -> None:
        self.visible = visible
        self.seen = visible

    def pack(self, _norm: nn.Module, args: tuple[Tensor, ...]) -> tuple[Tensor]:
        (x,) = args
        self.seen = resized(self.visible, (x.shape[2], x.shape[3]))[:, 0]
        return (x.permute(0, 2, 3, 1)[self.seen].T[None, :, :, None],)

    def unpack(self, _norm: nn.Module, _args: tuple[Tensor, ...], output: Tensor) -> Tensor:
        full = output.new_zeros(*self.seen.shape, output.shape[1])
        return full.masked_scatter(self.seen[..., None], output[0, :, :, 0].T.contiguous()).permute(0, 3, 1, 2)
