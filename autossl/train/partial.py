"""What of an encoder is trained on from given weights: all of it, its last layers, or adapters beside frozen ones."""

import re
from importlib.util import find_spec
from typing import Any

from torch import nn

from autossl.errors import UserError
from autossl.nn.encoder import Encoder
from autossl.train.rates import layers_of

ALL, LAST, LORA = "all", "last", "lora"
PARTS = (ALL, LAST, LORA)
BLOCKS = 2  # of a plain transformer that are its last layers; of other networks one stage
# linear layers of the blocks of plain transformers, of timm and of MONAI
ADAPTED = re.compile(r"blocks\.\d+\.(attn\.(qkv|proj|out_proj)|mlp\.(fc1|fc2|fc1_g|fc1_x|linear1|linear2))")
RANK, SCALE = 8, 4  # of adapters; what they add is multiplied, for they begin at nothing and have a gentle rate


def offered(encoder: Encoder) -> tuple[str, ...]:
    """What can be trained of an encoder, what is tried first standing first (docs/decisions.md).

    Adapters are for plain transformers, and need the package `peft`.
    """
    if not _is_plain(encoder):
        return ALL, LAST
    return (LAST, ALL, LORA) if find_spec("peft") is not None and _linear(encoder) else (LAST, ALL)


def restrict(encoder: Encoder, part: str) -> None:
    """Freeze what is not trained, in place; before a method is built on the encoder, whose teacher is then alike.

    Frozen weights have no gradient, and their modules stay in evaluation: batch norms keep the statistics that they
    came with. Those are what the frozen weights were made for, and layers behind them are trained on what they give.
    Adapters (Hu et al. 2022, arXiv 2106.09685) add nothing at first. Raises UserError if they are not to be had.
    """
    if part == ALL:
        return
    kept = _last(encoder) if part == LAST else frozenset()
    for name, parameter in encoder.backbone.named_parameters():
        parameter.requires_grad_(name in kept)
    if part == LORA:
        _adapt(encoder)
    encoder.frozen = [module for module in encoder.backbone.modules() if _is_frozen(module)]


def whole(encoder: Encoder) -> Encoder:
    """The encoder with adapters merged into its own weights and nothing frozen any more, in place."""
    for module in list(encoder.backbone.modules()):
        for name, layer in module.named_children():
            if hasattr(layer, "lora_A"):
                adapted: Any = layer
                adapted.merge(safe_merge=False)
                setattr(module, name, adapted.get_base_layer())
    encoder.backbone.__dict__.pop("peft_config", None)  # or other adapters could not follow
    encoder.frozen = []
    encoder.backbone.requires_grad_(True)
    return encoder


def _is_plain(encoder: Encoder) -> bool:
    """Whether all blocks of a network work at one resolution: a plain transformer."""
    return len(encoder.pyramid_channels) == 1


def _last(encoder: Encoder) -> frozenset[str]:
    """Names of the parameters of the last stage or blocks that hold matrices or filters, and of all behind them."""
    layers, parameters = layers_of(encoder, coarse=True), dict(encoder.backbone.named_parameters())
    heavy = sorted({number for name, number in layers.items() if parameters[name].ndim > 1})
    first = heavy[-BLOCKS if _is_plain(encoder) else -1]
    return frozenset(name for name, number in layers.items() if number >= first)


def _is_frozen(module: nn.Module) -> bool:
    parameters = list(module.parameters())
    return bool(parameters) and not any(parameter.requires_grad for parameter in parameters)


def _linear(encoder: Encoder) -> list[str]:
    """Names of the layers that adapters stand beside; none where a network reads their weights past them.

    Such a one is timm's Eva with biases of its own for queries and values.
    """
    modules = dict(encoder.backbone.named_modules())
    found = [name for name, layer in modules.items() if isinstance(layer, nn.Linear) and ADAPTED.fullmatch(name)]
    past = any(getattr(module, "q_bias", None) is not None for module in modules.values())
    return [] if past or not any(name.endswith(".qkv") for name in found) else found


def _adapt(encoder: Encoder) -> None:
    try:
        import peft  # takes seconds, so that it is imported here
    except ImportError:
        raise UserError(
            "the package peft was wanted for adapters (trained = lora), found none; pip install 'autossl-imaging[lora]'"
        ) from None
    layers = _linear(encoder)
    if not layers:
        raise UserError(
            f"a plain transformer was wanted for adapters (trained = lora), found {encoder.name}; train all or last"
        )
    config = peft.LoraConfig(r=RANK, lora_alpha=RANK * SCALE, target_modules=layers)
    peft.inject_adapter_in_model(config, encoder.backbone)
