"""The one place that makes networks, also from settings of unknown origin: known names, listed keywords, no weights.

A library's function for a network takes more than sizes: timm's reads weights by `checkpoint_path`, asks the network by
`pretrained` and goes where `pretrained_cfg` says. What a file may set is therefore listed here, and numbers only.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import timm
from torch import nn

from autossl.errors import UserError
from autossl.nn.volume_networks import VOLUMES
from autossl.nn.volume_networks import build as build_volume_network

# what libraries raise at keywords and sizes that a network cannot take
REFUSED = (ArithmeticError, AssertionError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)
SIZES = (  # what a network may be told besides its channels: what AutoSSL writes, and measures of its parts
    "img_size", "patch_size", "output_stride", "no_max_pool", "conv1_t_stride", "conv1_t_size", "blocks_down",
    "block_inplanes", "window_size", "embed_dim", "depth", "depths", "num_heads", "num_layers",
)  # fmt: skip
POOLS = ("avg", "token", "max", "avgmax", "map")  # of `global_pool`, the one word among the keywords
LARGEST, LONGEST = 1 << 16, 16  # of a size, and of a list of them
NAME = re.compile(r"\w+(\.\w+)?")  # of timm, perhaps with the tag of its weights: no "hf-hub:", no "local-dir:"


def create(
    backbone: str,
    channels: int,
    image_size: int,
    model_args: Mapping[str, Any],
    *,
    upsample: int = 1,
    classes: int = 0,
    where: str | Path = "",
) -> nn.Module:
    """A network with random weights for images or volumes of a size that are enlarged first; 0 `classes`: no head.

    `where` is the file that the settings come from. Raises UserError if the backbone is unknown, a keyword is not in
    the list or no size, or if the library refuses what it is told.
    """
    place = f" in {where}" if where else ""
    for name, value in {"channels": channels, "image_size": image_size, "upsample": upsample}.items():
        _check_sizes(name, [value], place)
    _check_arguments(model_args, place)
    if isinstance(backbone, str) and backbone in VOLUMES:
        return build_volume_network(backbone, channels, image_size * upsample, dict(model_args))
    _check_name(backbone, place)
    try:
        made = timm.create_model(backbone, pretrained=False, num_classes=classes, in_chans=channels, **model_args)
    except REFUSED as fault:
        line = (str(fault).splitlines() or [type(fault).__name__])[0][:160]
        raise UserError(
            f"timm cannot build {backbone!r} with {dict(model_args)}{place}: {line}; choose others"
        ) from fault
    return made


def _check_name(backbone: object, place: str) -> None:
    """UserError for a name that is not in the lists of timm and VOLUMES."""
    if isinstance(backbone, str) and NAME.fullmatch(backbone) and timm.is_model(backbone):
        return
    close = ", ".join(timm.list_models(f"*{backbone[:6]}*")[:5]) if isinstance(backbone, str) else ""
    raise UserError(
        f"a backbone that timm knows was wanted, but timm has no {backbone!r}{place}; "
        f"similar names: {close or 'resnet10t, resnet18, vit_small_patch16_224'}; for volumes {', '.join(VOLUMES)} "
        "(autossl list backbones shows all)"
    )


def _check_arguments(model_args: object, place: str) -> None:
    if not isinstance(model_args, Mapping):
        raise UserError(
            f"keywords of a network were wanted, found model_args = {model_args!r}{place}; get the file anew from "
            "whoever made it"
        )
    pool = model_args.get("global_pool", POOLS[0])
    if pool not in POOLS:
        raise UserError(
            f"one of {', '.join(POOLS)} was wanted, found global_pool = {pool!r} in model_args{place}; mend it"
        )
    sizes = {key: value for key, value in model_args.items() if key != "global_pool"}
    unknown = [key for key in sizes if key not in SIZES]
    if unknown:
        raise UserError(
            f"keywords that give sizes of a network were wanted, found {unknown[0]!r} in model_args{place}, which "
            f"AutoSSL never writes and does not obey; use the file only after asking whoever made it (known are "
            f"{', '.join(SIZES)})"
        )
    for key, value in sizes.items():
        _check_sizes(f"{key} in model_args", value if isinstance(value, list | tuple) else [value], place)


def _check_sizes(name: str, values: Sequence[object], place: str) -> None:
    """UserError for anything but a few whole numbers; truth values are such."""
    if not 0 < len(values) <= LONGEST or not all(isinstance(v, int) and 0 <= v <= LARGEST for v in values):
        found = repr(values[0] if len(values) == 1 else values)[:160]
        raise UserError(f"whole numbers up to {LARGEST} were wanted, found {name} = {found}{place}; mend it")
