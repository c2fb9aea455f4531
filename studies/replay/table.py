"""The table as cells: one for each set, target and start, with all candidates that were trained to the last rung."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autossl.views.presets import preset
from studies.table.cells import SETS

Array = NDArray[np.float64]
SCORE, SE = "score", "se"
LABELS = "250"  # of the truth that decides; of sets with fewer, the most that are drawn
BEGUN = 512  # images up to which an encoder counts as untrained


@dataclass(frozen=True, eq=False)
class Candidate:
    """One training. Rungs are the first axis, draws of labels the second."""

    method: str
    paradigm: str
    views: str  # strength
    rate: str
    images: tuple[int, ...]  # of the rungs that all candidates have
    per_image: float  # seconds
    proxies: dict[str, Array]  # name -> (rungs, draws)
    truths: Array  # (rungs, draws), on the test part
    tuned: float | None = None

    @property
    def name(self) -> str:
        """Its configuration, the same in every cell."""
        return f"{self.method} {self.views} {self.rate}"

    @cached_property
    def truth(self) -> float:
        """At the last rung."""
        return float(self.truths[-1].mean())

    def at(self, images: float, untrained: float) -> float:
        """Truth after so many images: between rungs along their logarithm, after the last one as it is there."""
        known = np.log([BEGUN, *self.images])
        return float(np.interp(np.log(max(images, BEGUN)), known, [untrained, *self.truths.mean(1)]))


@dataclass(frozen=True, eq=False)
class Cell:
    """A set with a target and a start."""

    set: str
    target: str
    start: str
    candidates: tuple[Candidate, ...]
    untrained: float
    scoring: float  # seconds
    usual: tuple[str, ...]  # methods in the order in which the engine tries them

    @property
    def name(self) -> str:
        """As tables have it."""
        return f"{self.set} {self.target}"

    @property
    def draws(self) -> int:
        """How many draws of labels a search may see; one where there are no more labels."""
        return min(int(values.shape[1]) for c in self.candidates for values in c.proxies.values())

    @cached_property
    def best(self) -> float:
        """The highest truth."""
        return max(c.truth for c in self.candidates)

    @cached_property
    def whole(self) -> float:
        """Seconds of a training to the last rung, the mean of all candidates."""
        return float(np.mean([c.per_image * c.images[-1] + self.scoring for c in self.candidates]))

    def seconds(self, at: int, below: int, rung: int) -> float:
        """What a candidate costs from one rung (-1: its start) to another, scored at each in between."""
        candidate = self.candidates[at]
        images = candidate.images[rung] - (candidate.images[below] if below >= 0 else 0)
        return candidate.per_image * images + (rung - below) * self.scoring

    def regret(self, value: float) -> float:
        """How far a truth lies below the best one, in units of what the best one gained."""
        return (self.best - value) / (self.best - self.untrained)


def in_seconds(cell: Cell) -> Cell:
    """The cell as it is where rungs are equal seconds instead of equal images: dear candidates see fewer by each.

    What was not measured is taken from between the rungs, along the logarithm of images; beyond them it is that of the
    nearest one.
    """
    usual = float(np.mean([c.per_image for c in cell.candidates]))

    def moved(candidate: Candidate) -> Candidate:
        known = np.log(candidate.images)
        wanted = known + np.log(usual / candidate.per_image)

        def at(values: Array) -> Array:
            return np.stack([np.interp(wanted, known, column) for column in values.T], axis=1)

        proxies = {name: at(values) for name, values in candidate.proxies.items()}
        return replace(candidate, per_image=usual, proxies=proxies, truths=at(candidate.truths))

    return replace(cell, candidates=tuple(moved(c) for c in cell.candidates))


class Elsewhere:
    """What the cells of other sets say of configurations: their regret there, 1 at most.

    Where one is missing it counts with its mean over the cells that have it, and with 1 where there is none.
    """

    def __init__(self, others: list[Cell], names: Sequence[str]) -> None:
        self.names = list(names)
        told = [{c.name: min(1.0, cell.regret(c.truth)) for c in cell.candidates} for cell in others]
        sets = [cell.set for cell in others]
        self.weight = np.array([1 / sets.count(name) for name in sets]) / max(1, len(set(sets)))  # sets count alike
        known = np.array([[one.get(name, np.nan) for name in names] for one in told]).reshape(len(told), len(names))
        there = np.isfinite(known) * self.weight[:, None]
        total = (np.nan_to_num(known) * there).sum(0)
        usual = np.divide(total, there.sum(0), out=np.ones(len(names)), where=there.any(0))
        self.regrets = np.where(np.isfinite(known), known, usual)

    @property
    def mean(self) -> Array:
        """Mean regret of each configuration over sets; halves where there are no others."""
        return self.weight @ self.regrets if len(self.weight) else np.full(len(self.names), 0.5)

    def order(self) -> list[int]:
        """Configurations by their mean."""
        return [int(at) for at in np.argsort(self.mean, kind="stable")]

    def spread(self) -> list[int]:
        """The best first, then whichever lowers the mean of the best so far in each cell most."""
        left, chosen = self.order(), []
        so_far = np.ones(len(self.weight))
        while left:
            means = [float(self.weight @ np.minimum(so_far, self.regrets[:, at])) for at in left]
            chosen.append(left.pop(int(np.argmin(means))))
            so_far = np.minimum(so_far, self.regrets[:, chosen[-1]])
        return chosen


def cells(folder: Path, least: int = 5) -> list[Cell]:
    """All cells of a folder of rows with at least so many candidates, and with something to gain."""
    found: list[Cell] = []
    for path in sorted(folder.glob("*.json")):
        stored = json.loads(path.read_text())
        found += _of_set(path.stem, stored["rows"], len(stored["settings"]["rungs"]))
    return [cell for cell in found if len(cell.candidates) >= least and cell.best > cell.untrained]


def _of_set(name: str, rows: dict[str, Any], rungs: int) -> Iterable[Cell]:
    whole = [row for row in rows.values() if row.get("whole") and "note" not in row]
    usual = preset(SETS[name].options["modality"], channels=3).methods
    for start in dict.fromkeys(row["start"] for row in whole):
        of_start = [row for row in whole if row["start"] == start]
        untrained = rows[f"{start} untrained"]["rungs"][0]["targets"]
        for target, told in untrained.items():
            scoring = np.mean([rung["scoring"] for row in of_start for rung in row["rungs"]]) / len(untrained)
            candidates = tuple(_candidate(row, target, rungs) for row in of_start)
            yield Cell(name, target, start, candidates, float(np.mean(_frozen(told))), float(scoring), usual)


def _candidate(row: dict[str, Any], target: str, rungs: int) -> Candidate:
    told = [rung["targets"][target] for rung in row["rungs"][:rungs]]
    proxies = {name: np.array([t["proxies"][name] for t in told], float) for name in told[0]["proxies"]}
    truths = np.array([_frozen(t) for t in told], float)
    images = tuple(rung["images"] for rung in row["rungs"][:rungs])
    per_image = [1e-3 * rung["busy"] for rung in row["rungs"] if "busy" in rung][-1]
    tuned = row.get("tuned", {}).get(target)
    facts = row["method"], row["paradigm"], row["strength"], row["rate"]
    return Candidate(*facts, images, per_image, proxies, truths, tuned)


def _frozen(told: dict[str, Any]) -> list[float]:
    frozen: dict[str, list[float]] = told["frozen"]
    return frozen[LABELS] if LABELS in frozen else list(frozen.values())[-2]
