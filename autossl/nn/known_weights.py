"""The table of known weights: what they were made for and with, and what their licence asks."""

import tomllib
from dataclasses import dataclass, fields
from functools import cache
from typing import Any

from autossl.record.offered import shipped

HUB = "hub:"


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
    """A row of search_spaces/weights.toml, whose head explains the columns.

    `repository` is where timm has a tag of its own: OWNER/REPOSITORY[@REVISION][/FILE].
    """

    name: str
    modality: str
    trained_on: str
    parameters: float
    source: str
    package: str = ""
    repository: str = ""


def facts(*of: Facts) -> dict[str, Any]:
    """The facts alone, as keyword arguments: of each what the first says that knows it."""
    told = {field.name: [getattr(each, field.name) for each in of] for field in fields(Facts)}
    return {name: next((value for value in values if value), values[0]) for name, values in told.items()}


@cache
def known() -> dict[str, Known]:
    """Every known row by name, in the order of the table."""
    return {name: _row(name, table) for name, table in _tables("weights").items()}


def _row(name: str, table: dict[str, Any]) -> Known:
    own: dict[str, Any] = {**_tables("timm").get(name, {}), **table}
    told: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in own.items()}
    return Known(name=name, **told)


@cache
def _tables(name: str) -> dict[str, dict[str, Any]]:
    return tomllib.loads(shipped(name).decode())
