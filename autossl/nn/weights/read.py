"""Files of weights: their tensors, read without running code, a copy and a fingerprint."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save
from torch import Tensor

from autossl.errors import UserError
from autossl.record.folder import replace_file


def file_of(path: str) -> Path:
    """The file, or the one in an exported folder; UserError if there is none."""
    file = Path(path) / "model.safetensors" if Path(path).is_dir() else Path(path)
    if not file.is_file():
        raise UserError(
            f"a file of weights was wanted, found nothing at --weights {path}; give a .safetensors or .pt file"
        )
    return file


def tensors(path: str) -> dict[str, Tensor]:
    """The tensors of a file (safetensors, or what torch loads with `weights_only`) or of its folder, by name.

    Of a checkpoint that holds state dicts in one another, the name of a tensor begins with the keys that lead to it.
    Raises UserError if the file is missing or unreadable.
    """
    file = file_of(path)
    try:
        held = load_file(file) if file.suffix == ".safetensors" else torch.load(file, "cpu", weights_only=True)
        return dict(_named(held))
    except Exception as fault:
        raise UserError(
            f"weights that load without running code were wanted, but --weights {path} does not "
            f"({type(fault).__name__}); save the state dict as safetensors"
        ) from None


def _named(held: dict[Any, Any], place: str = "") -> Iterator[tuple[str, Tensor]]:
    """Tensors under keys that are texts: those of an optimiser's state are numbers."""
    for key, value in held.items():
        if isinstance(key, str) and isinstance(value, Tensor):
            yield place + key, value
        elif isinstance(key, str) and isinstance(value, dict):
            yield from _named(value, f"{place}{key}.")


def keep_weights(path: str, copy: Path) -> None:
    """Write the tensors of a file of weights to `copy` as safetensors, so that nothing depends on the file any more."""
    kept = {name: value.clone(memory_format=torch.contiguous_format) for name, value in tensors(path).items()}
    replace_file(copy, lambda file: file.write(save(kept)))


def sha256(path: str) -> str:
    """The SHA-256 of a file of weights, as other programs print it."""
    with open(file_of(path), "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
