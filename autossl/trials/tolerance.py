"""What the labels of a study tolerate of views, as it was asked before the search, and what follows from that."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

from autossl.errors.printable import joined
from autossl.views.presets import MOVES, Preset

JITTER, CROP = "jitter", "crop_min"
WORDS = {CROP: "crops", "hflip": "mirrored", "vflip": "upside down", "turns": "quarter turns", "rotate": "free turns"}
SURE, LEAST = 2.0, 0.02  # a loss counts from so many standard errors on, and from so much of the metric


class Reading(NamedTuple):
    """What views of one kind and strength leave of the labels.

    `kept` is their score minus that of images as they are, in the study's metric, with its standard error by patients.
    """

    view: str  # JITTER, CROP or an operation of the preset
    strength: float  # the jitter, the smallest share of a crop, 1 for what has no strength
    kept: float
    se: float

    @property
    def costs(self) -> bool:
        """Whether such views clearly take labels away."""
        return self.kept < -max(SURE * self.se, LEAST)


@dataclass(frozen=True)
class Tolerance:
    """Readings, weak to strong within each view, by the best of these `eyes`; or why there are none."""

    eyes: tuple[str, ...] = ()
    clean: float = 0.0  # the score of images as they are
    images: int = 0
    readings: tuple[Reading, ...] = ()
    left_out: str = ""  # what was not asked, and why

    def of(self, view: str) -> tuple[Reading, ...]:
        """The readings of one view."""
        return tuple(reading for reading in self.readings if reading.view == view)

    @property
    def struck(self) -> tuple[str, ...]:
        """Moves that the labels do not survive."""
        return tuple(reading.view for reading in self.readings if reading.view in MOVES and reading.costs)

    def allowed(self, preset: Preset) -> Preset:
        """The preset without moves that the labels do not survive."""
        return preset.without(*self.struck)

    def mild(self, view: str) -> float | None:
        """The strongest views of a kind before the first that clearly cost labels, or the mildest that were asked.

        None where none do, and where a single eye says so: pixels alone lose what an encoder still tells.
        """
        readings = self.of(view)
        dear = next((at for at, reading in enumerate(readings) if reading.costs), None)
        return None if dear is None or len(self.eyes) < 2 else readings[max(0, dear - 1)].strength

    def words(self) -> str:
        """What clearly costs labels and what follows for the search, as a sentence without its full stop."""
        if not self.readings:
            return f"what the labels tolerate was not asked: {self.left_out or 'this study is older'}"
        costly = joined([f"{_told(one)} by {-one.kept:.3f} ± {one.se:.3f}" for one in self.readings if one.costs])
        seen = f"{self.images} labels, seen as {joined(list(self.eyes))}"
        told = f"{seen}, are clearly harmed by {costly or 'no view'}{f'; {self.left_out}' if self.left_out else ''}"
        follows = [f"{named(view)} left out" for view in self.struck]
        follows += [f"crops of {mild:.0%} or more first" for mild in [self.mild(CROP)] if mild]
        return f"{told}; so: {joined(follows)}" if follows else told

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {**vars(self), "eyes": list(self.eyes), "readings": [list(reading) for reading in self.readings]}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """What `to_dict` wrote; of an older study, which wrote nothing, nothing."""
        readings = tuple(Reading(*reading) for reading in values.get("readings", ()))
        return cls(**{**values, "eyes": tuple(values.get("eyes", ())), "readings": readings})


def _told(reading: Reading) -> str:
    """A view with its strength, where it has one."""
    name = named(reading.view)
    return name if reading.view in MOVES else f"{name} {reading.strength:g}"


def named(view: str) -> str:
    """What an operation is called where people read it."""
    return WORDS.get(view, view)
