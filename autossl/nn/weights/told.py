"""What timm says of its own weights, and what a config.json says of those beside it."""

import math
from pathlib import Path
from typing import Any

import timm

from autossl.errors.keywords import Kind, counted, number
from autossl.nn.known_weights import Facts
from autossl.nn.networks import NAME
from autossl.record.stored import Damaged, read_json

FINITE, SIDE = number(-math.inf), counted(1, 1 << 16)


def of_timm(tag: str) -> Facts | None:
    """What timm says of its own weights; None if it has none of that name."""
    config = pretrained(tag)
    if config is None:
        return None
    return Facts(
        architecture=config.architecture, dims=2, channels=config.input_size[0], size=max(config.input_size[1:]),
        mean=tuple(config.mean), sd=tuple(config.std), licence=config.license,
    )  # fmt: skip


def repository(tag: str) -> str:
    """Where timm has the weights of a tag: OWNER/REPOSITORY[@REVISION][/FILE]; empty if it has none."""
    config = pretrained(tag)
    if config is None or not config.hf_hub_id:
        return ""
    return f"{config.hf_hub_id}/{config.hf_hub_filename}" if config.hf_hub_filename else str(config.hf_hub_id)


def pretrained(tag: str) -> Any:
    """timm's own record of pretrained weights; None if it has none of that name."""
    if not NAME.fullmatch(tag) or not timm.is_model(tag):
        return None
    try:
        config = timm.get_pretrained_cfg(tag)
    except RuntimeError:  # the network is there, the tag is not
        return None
    return config if config is not None and config.has_weights else None


def of_config(file: Path) -> Facts:
    """What a config.json beside weights says: that of an encoder that AutoSSL exported, or one in timm's form.

    It may be anybody's: what is not of the form that it should have counts as unknown.
    """
    try:
        config = read_json(file) or {}
    except Damaged:
        return Facts()
    own = config.get("autossl")
    if own is None:
        return _of_pretrained(config)
    mean, sd = _each(FINITE, own.get("mean")), _each(FINITE, own.get("std"))
    return Facts(
        architecture=config.get("architecture"), dims=own.get("dims", 2), channels=None if mean is None else len(mean),
        size=own.get("image_size"), mean=mean, sd=sd,
    )  # fmt: skip


def _of_pretrained(config: dict[str, Any]) -> Facts:
    """What timm writes beside weights; its older form has no part of its own for them."""
    told = config.get("pretrained_cfg", config)
    told = told if isinstance(told, dict) else {}
    name, licence, shape = config.get("architecture"), told.get("license"), _each(SIDE, told.get("input_size"))
    if not (isinstance(name, str) and NAME.fullmatch(name) and timm.is_model(name)):
        return Facts()
    channels, size = (shape[0], max(shape[1:])) if shape is not None and len(shape) == 3 else (None, None)
    return Facts(
        architecture=name, dims=2, channels=channels, size=size, mean=_each(FINITE, told.get("mean")),
        sd=_each(FINITE, told.get("std")), licence=licence if isinstance(licence, str) else None,
    )  # fmt: skip


def _each(kind: Kind, values: object) -> tuple[Any, ...] | None:
    """The values of a list, if there are some and each is of this kind."""
    if not isinstance(values, list) or not values or not all(kind.takes(value) for value in values):
        return None
    return tuple(kind.plain(value) for value in values)
