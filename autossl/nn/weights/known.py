"""The table of known weights: what they were made for and with, and what their licence asks."""

import math
import tomllib
from dataclasses import dataclass, fields
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import timm

from autossl.errors.keywords import Kind, counted, number
from autossl.nn.networks import NAME
from autossl.record.stored import Damaged, read_json

HUB = "hub:"
FINITE, SIDE = number(-math.inf), counted(1, 1 << 16)


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What is known of weights; None is unknown.

    `architecture` is a name of timm or a network for volumes, `size` the pixels or voxels a side that they were trained
    with, `mean` and `sd` of the channels are those of values in [0, 1], `shares_outputs` says where a licence binds
    what is made from them, `words` what else to know.
    """

    architecture: str | None = None
    dims: int | None = None
    channels: int | None = None
    size: int | None = None
    mean: tuple[float, ...] | None = None
    sd: tuple[float, ...] | None = None
    licence: str | None = None
    shares_outputs: str = ""
    objective: str | None = None
    words: str = ""

    def statistics(self, channels: int) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
        """Mean and sd with which to standardise images of so many channels; None where they are unknown.

        Images of another number of channels get the averages in each, for their filters answer to the sum of what the
        given ones have learnt.
        """
        if self.mean is None or self.sd is None:
            return None
        if len(self.mean) == channels:
            return self.mean, self.sd
        return _averages(self.mean, channels), _averages(self.sd, channels)


def _averages(values: tuple[float, ...], channels: int) -> tuple[float, ...]:
    return (sum(values) / len(values),) * channels


@dataclass(frozen=True, kw_only=True)
class Known(Facts):
    """A row of search_spaces/weights.toml, whose head explains the columns."""

    name: str
    modality: str
    trained_on: str
    parameters: float
    source: str
    package: str = ""


def facts(*of: Facts) -> dict[str, Any]:
    """The facts alone, as keyword arguments: of each what the first says that knows it."""
    told = {field.name: [getattr(each, field.name) for each in of] for field in fields(Facts)}
    return {name: next((value for value in values if value), values[0]) for name, values in told.items()}


@cache
def known() -> dict[str, Known]:
    """Every known row by name, in the order of the table."""
    text = resources.files("autossl").joinpath("search_spaces/weights.toml").read_text(encoding="utf-8")
    return {name: _row(name, table) for name, table in tomllib.loads(text).items()}


def _row(name: str, table: dict[str, Any]) -> Known:
    told = of_timm(name.removeprefix(HUB)) if name.startswith(HUB) else None
    own = {key: tuple(value) if isinstance(value, list) else value for key, value in table.items()}
    return Known(name=name, **{**({} if told is None else facts(told)), **own})


def of_timm(tag: str) -> Facts | None:
    """What timm says of its own weights; None if it has none of that name."""
    config = pretrained(tag)
    if config is None:
        return None
    return Facts(
        architecture=config.architecture, dims=2, channels=config.input_size[0], size=max(config.input_size[1:]),
        mean=tuple(config.mean), sd=tuple(config.std), licence=config.license,
    )  # fmt: skip


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
