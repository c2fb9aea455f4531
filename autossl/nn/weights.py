"""Weights that a user brings, read without running code and fitted to a backbone."""

import hashlib
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save
from timm.models.vision_transformer import VisionTransformer, checkpoint_filter_fn
from torch import Tensor

from autossl.errors import UserError
from autossl.nn.encoder import Encoder
from autossl.record.folder import replace_file


def load_weights(encoder: Encoder, path: str) -> Encoder:
    """The encoder with weights from a file (safetensors, or a state dict that torch loads safely) or its folder.

    Filters made for another number of channels answer to the sum of what they have learnt: colour weights see grey.
    The patches and positions of a plain transformer are resampled to its own.

    Raises UserError if the file is missing, unreadable, or made for another network.
    """
    state = _read(path)
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


def keep_weights(path: str, copy: Path) -> None:
    """Write the tensors of a file of weights to `copy` as safetensors, so that nothing depends on the file any more."""
    tensors = {k: v.clone(memory_format=torch.contiguous_format) for k, v in _read(path).items()}
    replace_file(copy, lambda file: file.write(save(tensors)))


def sha256(path: str) -> str:
    """The SHA-256 of a file of weights, as other programs print it."""
    with open(file_of(path), "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def file_of(path: str) -> Path:
    """The file, or the one in an exported folder; UserError if there is none."""
    file = Path(path) / "model.safetensors" if Path(path).is_dir() else Path(path)
    if not file.is_file():
        raise UserError(
            f"a file of weights was wanted, found nothing at --weights {path}; give a .safetensors or .pt file"
        )
    return file


def _for_channels(given: Tensor, wanted: Tensor, channels: int) -> Tensor:
    """Filters (out, in, *space) spread evenly over so many input channels, where only their number differs."""
    alike = given.ndim == wanted.ndim >= 4 and given.shape[2:] == wanted.shape[2:]
    if not alike or wanted.shape[1] != channels or given.shape[1] == channels:
        return given
    return given.sum(1, keepdim=True).expand(-1, channels, *given.shape[2:]) / channels


def _read(path: str) -> dict[str, Tensor]:
    """Tensors by the name that they have in a bare backbone."""
    file = file_of(path)
    try:
        state = (
            load_file(file)
            if file.suffix == ".safetensors"
            else torch.load(file, map_location="cpu", weights_only=True)
        )
        tensors = {k: v for k, v in _inner(state).items() if isinstance(k, str) and isinstance(v, Tensor)}
    except Exception as fault:
        raise UserError(
            f"weights that load without running code were wanted, but --weights {path} does not "
            f"({type(fault).__name__}); save the state dict as safetensors"
        ) from None
    return {k.removeprefix("module.").removeprefix("backbone.").removeprefix("swinViT."): v for k, v in tensors.items()}


def _inner(state: dict[str, Any]) -> dict[str, Any]:
    """The state dict that a training checkpoint holds beside its optimiser, or what is one itself."""
    return next((state[key] for key in ("state_dict", "model") if isinstance(state.get(key), dict)), state)
