"""Weights that a user brings, read without running code and fitted to a backbone."""

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from timm.models.vision_transformer import VisionTransformer, checkpoint_filter_fn
from torch import Tensor

from autossl.encoder import Encoder
from autossl.errors import UserError


def load_weights(encoder: Encoder, path: str) -> Encoder:
    """The encoder with weights from a file (safetensors, or a state dict that torch loads safely) or its folder.

    Filters made for another number of channels answer to the sum of what they have learnt: colour weights see grey.
    The patches and positions of a plain transformer are resampled to its own.

    Raises UserError if the file is missing, unreadable, or made for another network.
    """
    file = Path(path)
    if file.is_dir():
        file = file / "model.safetensors"
    if not file.is_file():
        raise UserError(
            f"a file of weights was wanted, found nothing at --weights {path}; give a .safetensors or .pt file"
        )
    state = _read(file, path)
    if isinstance(encoder.backbone, VisionTransformer) and "patch_embed.proj.weight" in state:
        state = checkpoint_filter_fn(state, encoder.backbone)
    wanted = encoder.backbone.state_dict()
    state = {k: _for_channels(v, wanted[k], encoder.channels) for k, v in state.items() if k in wanted}
    fitting = {k: v for k, v in state.items() if v.shape == wanted[k].shape}
    missing = [k for k in wanted if k not in fitting]
    if missing:
        raise UserError(
            f"weights for {encoder.name} were wanted, but --weights {path} lacks {len(missing)} of {len(wanted)} "
            f"tensors (for example {missing[0]}); give --backbone as it was when they were trained"
        )
    encoder.backbone.load_state_dict(fitting)
    return encoder


def _for_channels(given: Tensor, wanted: Tensor, channels: int) -> Tensor:
    """Filters (out, in, *space) spread evenly over so many input channels, where only their number differs."""
    alike = given.ndim == wanted.ndim >= 4 and given.shape[2:] == wanted.shape[2:]
    if not alike or wanted.shape[1] != channels or given.shape[1] == channels:
        return given
    return given.sum(1, keepdim=True).expand(-1, channels, *given.shape[2:]) / channels


def _read(file: Path, path: str) -> dict[str, Tensor]:
    """Tensors by the name that they have in a bare backbone."""
    try:
        state = (
            load_file(file)
            if file.suffix == ".safetensors"
            else torch.load(file, map_location="cpu", weights_only=True)
        )
        tensors = {k: v for k, v in _inner(state).items() if isinstance(v, Tensor)}
    except Exception as fault:
        raise UserError(
            f"weights that load without running code were wanted, but --weights {path} does not "
            f"({type(fault).__name__}); save the state dict as safetensors"
        ) from None
    return {k.removeprefix("module.").removeprefix("backbone.").removeprefix("swinViT."): v for k, v in tensors.items()}


def _inner(state: dict[str, Any]) -> dict[str, Any]:
    """The state dict that a training checkpoint holds beside its optimiser, or what is one itself."""
    return next((state[key] for key in ("state_dict", "model") if isinstance(state.get(key), dict)), state)
