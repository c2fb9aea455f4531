"""The harm test held against training: does what labels say of views before training tell which views train best?

    python -m studies.harm.judged [--trained trained.json] [--asked asked.json]

Along one axis of strengths, everything else as in the fixed preset: the rank correlation of what is kept of the labels
with what was scored after training, and regrets against the best of the axis: of the pick, of the fixed preset and of
the strongest views. The pick is the preset, as much milder as the harm test wants it; in the product all eyes judge
together, and crops only are picked so. Then flips and turns: what was kept of the labels in each, and what
training without any of them gained.
"""

import argparse
import json
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy.stats import spearmanr

from autossl.trials.tolerance import CROP, JITTER, Reading, Tolerance
from autossl.views.presets import MOVES
from studies.harm.sets import HERE
from studies.rows import markdown

Rows = dict[str, dict[str, Any]]
PROBES, ALL = ("kept", "shifted"), "all eyes"
MILDER = {JITTER: min, CROP: max}


class Trained(NamedTuple):
    """What was trained of one set: scores by target and words of the views, means over seeds, and their error."""

    scores: dict[str, dict[str, float]]
    se: dict[str, float]
    preset: tuple[float, float]  # jitter and smallest crop


class Axis(NamedTuple):
    """Scores after training by strength, the strongest last."""

    view: str
    preset: float
    scores: dict[float, float]
    se: float


def trained(rows: Rows) -> Iterator[tuple[str, Trained]]:
    """By set, the preset being what was trained first."""
    for of in dict.fromkeys(key.split()[0] for key in rows):
        found: dict[str, dict[str, list[list[float]]]] = defaultdict(lambda: defaultdict(list))
        for key, row in rows.items():
            own, _, _, views = key.split(maxsplit=3)
            for target, score in row["scores"].items() if own == of else ():
                found[target][views].append(score)
        first = next(iter(found.values()))
        words = next(iter(first)).split()
        means = {
            target: {at: float(np.mean([s[0] for s in each])) for at, each in views.items()}
            for target, views in found.items()
        }
        errors = {
            target: float(np.mean([s[1] for each in views.values() for s in each])) for target, views in found.items()
        }
        yield of, Trained(means, errors, (float(words[1]), float(words[3])))


def axes(found: Trained, target: str) -> Iterator[Axis]:
    """Both axes through the fixed preset."""
    words = {at: at.split() for at in found.scores[target] if "still" not in at}
    jitter, crop = found.preset
    along = {
        JITTER: {float(w[1]): found.scores[target][at] for at, w in words.items() if float(w[3]) == crop},
        CROP: {float(w[3]): found.scores[target][at] for at, w in words.items() if float(w[1]) == jitter},
    }
    for view, scores in along.items():
        if len(scores) > 1:
            ordered = dict(sorted(scores.items(), reverse=view == CROP))
            yield Axis(view, jitter if view == JITTER else crop, ordered, found.se[target])


def judged(axis: Axis, tolerance: Tolerance) -> list[Any]:
    """Rank correlation, pick and preset, and their regrets with that of the strongest views."""
    kept = {0.0 if axis.view == JITTER else 1.0: 0.0} | {r.strength: r.kept for r in tolerance.of(axis.view)}
    both = [at for at in axis.scores if at in kept]
    rank = spearmanr([kept[at] for at in both], [axis.scores[at] for at in both]).statistic
    mild, best = tolerance.mild(axis.view), max(axis.scores.values())
    pick = axis.preset if mild is None else MILDER[axis.view](axis.preset, mild)
    regrets = [round(best - axis.scores[at], 4) for at in (pick, axis.preset, list(axis.scores)[-1])]
    return [None if np.isnan(rank) else round(float(rank), 2), pick, axis.preset, *regrets, round(axis.se, 4)]


def seen(asked: Rows) -> Iterator[tuple[str, str, str, dict[str, Tolerance]]]:
    """Set, target, eye and what each probe told; last of a target what the eyes told together, as in the product."""
    by_target: dict[tuple[str, str], dict[str, dict[str, Any]]] = defaultdict(dict)
    for key, row in asked.items():
        name, target, eye = key.split(maxsplit=2)
        by_target[name, target][eye] = row
    for (name, target), eyes in by_target.items():
        for eye, row in eyes.items():
            yield name, target, eye, {probe: _tolerance(row["readings"], probe) for probe in PROBES}
        best = max(row["clean"] for row in eyes.values())
        together = []
        for same in zip(*(row["readings"] for row in eyes.values()), strict=True):
            left = [
                (row["clean"] - best + each["kept"][0], each) for row, each in zip(eyes.values(), same, strict=True)
            ]
            kept, each = max(left, key=lambda found: found[0])
            together.append({**each, "kept": [kept, each["kept"][1]]})
        yield name, target, ALL, {"kept": _tolerance(together, "kept")}


def _tolerance(readings: list[dict[str, Any]], probe: str) -> Tolerance:
    found = tuple(Reading(each["view"], each["strength"], *each[probe]) for each in readings)
    return Tolerance(("one", "another"), readings=found)


def ladders(found: dict[str, Trained], asked: Rows) -> Iterator[list[Any]]:
    """A row for each set, target, eye, probe and axis."""
    for name, target, eye, told in seen(asked):
        if name in found and target in found[name].scores:
            for probe, tolerance in told.items():
                for axis in axes(found[name], target):
                    yield [name, target, axis.view, eye, probe, *judged(axis, tolerance)]


def moves(found: dict[str, Trained], asked: Rows) -> Iterator[list[Any]]:
    """A row for each set and target, by all eyes."""
    for name, target, eye, told in seen(asked):
        scores = found[name].scores.get(target, {}) if name in found else {}
        still = next((at for at in scores if "still" in at), None)
        if still is None or eye != ALL:
            continue
        readings = [each for each in told["kept"].readings if each.view in MOVES]
        gain = scores[still] - scores[still.removesuffix(" still")]
        least = min(each.kept for each in readings)
        yield [name, target, round(least, 3), ", ".join(told["kept"].struck), round(gain, 4), found[name].se[target]]


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trained", type=Path, default=HERE / "trained.json")
    parser.add_argument("--asked", type=Path, default=HERE / "asked.json")
    told = parser.parse_args()
    found = dict(trained(json.loads(told.trained.read_text())["rows"]))
    asked = json.loads(told.asked.read_text())["rows"]
    heads = ["set", "target", "view", "eye", "probe", "rank", "pick", "preset"]
    heads += ["regret of the pick", "of the preset", "of the strongest", "se"]
    print("## Along one axis of strengths\n")
    print(markdown(heads, list(ladders(found, asked))))
    print("## Without flips and turns\n")
    heads = ["set", "target", "least kept in a move", "clearly lost in", "gained without moves", "se"]
    print(markdown(heads, list(moves(found, asked))))


if __name__ == "__main__":
    main()
