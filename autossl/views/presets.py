"""What views of each modality may differ in, as search_spaces/modalities.toml has it."""

import tomllib
from dataclasses import dataclass, fields, replace
from functools import cache
from importlib import resources
from typing import Any, Self

from autossl.errors import UserError

MOVES = ("hflip", "vflip", "turns", "rotate")  # of whole images, whatever the jitter
NO_VIEWS = ("about", "quantitative", "first_jitter", "blur_share", "lacks", "methods")  # what moves and changes nothing


@dataclass(frozen=True)
class Preset:
    """What views of one modality may differ in; amplitudes at jitter 1, units in search_spaces/modalities.toml."""

    hflip: bool = False
    vflip: bool = False
    turns: bool = False
    rotate: float = 0.0
    brightness: float = 0.0
    contrast: float = 0.0
    gain: float = 0.0
    saturation: float = 0.0
    hue: float = 0.0
    grey: float = 0.0
    gamma: float = 0.0
    noise: float = 0.0
    blur: float = 0.0
    blur_share: float = 0.0
    elastic: float = 0.0
    shear: float = 0.0
    window: float = 0.0
    bias: float = 0.0
    rician: float = 0.0
    ghost: float = 0.0
    lowres: float = 0.0
    speckle: float = 0.0
    depth: float = 0.0
    stain: float = 0.0
    cutout: float = 0.0
    quantitative: bool = False
    first_jitter: float | None = None
    lacks: frozenset[str] = frozenset()
    methods: tuple[str, ...] = ()
    about: str = ""

    @property
    def operations(self) -> tuple[str, ...]:
        """What views of this preset differ in, moves first."""
        named = [field.name for field in fields(self) if field.name not in NO_VIEWS]
        return tuple(name for name in named if getattr(self, name))

    def without(self, *names: str) -> Self:
        """The preset in which these operations do nothing."""
        return replace(self, **{name: type(getattr(self, name))() for name in names})

    def only(self, *names: str) -> Self:
        """The preset in which no operation but these does anything."""
        return self.without(*(name for name in self.operations if name not in names))


@cache
def modalities() -> dict[str, Preset]:
    """The presets by modality, as search_spaces/modalities.toml has them."""
    text = resources.files("autossl").joinpath("search_spaces/modalities.toml").read_text(encoding="utf-8")
    return {name: _preset(table) for name, table in tomllib.loads(text).items()}


def _preset(table: dict[str, Any]) -> Preset:
    kept = {key: value for key, value in table.items() if key not in ("lacks", "methods")}
    return Preset(**kept, lacks=frozenset(table.get("lacks", ())), methods=tuple(table["methods"]))


def preset(modality: str, channels: int) -> Preset:
    """The preset of a modality for images with so many channels; "auto" is colour for three, grey for others.

    Operations on colour are struck out unless there are three channels, per-channel gains unless there are several.
    Raises UserError if the modality is unknown.
    """
    name = ("colour" if channels == 3 else "grey") if modality == "auto" else modality
    known = modalities()
    if name not in known:
        raise UserError(f"a modality was wanted, found {modality!r}; choose one of auto, {', '.join(known)}")
    found = known[name]
    if channels != 3:
        found = replace(found, saturation=0.0, hue=0.0, grey=0.0, stain=0.0)
    return replace(found, gain=0.0) if channels == 1 else found
