"""Do views on which the labels can no longer be told make worse encoders? Asked before and after training.

    python -m studies.harm.run DATA_FOLDER WORK_FOLDER [--sets cells pbc ...] [--seeds 2]

DATA_FOLDER holds the public sets by name; run from the top of a checkout. For each set a method is trained on as many
images under views that differ in one thing from those of the fixed preset: jitter, smallest crop, or no flip and turn
at all. What its encoders score on the labels of the probe part, for each target of the set, is the truth. Rows are kept
as they come, and a row that is there is not made again. What the labels say before any training is asked by
`studies.harm.asked`, and `studies.harm.judged` holds it against these rows.
"""

import argparse
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from autossl.train.loop import train
from autossl.trials.context import Context
from autossl.trials.segments import new_run
from autossl.trials.tolerance import CROP, JITTER
from autossl.views.presets import Preset
from studies.harm.sets import HERE, SETS, place
from studies.opened import first_prior, opened
from studies.rows import Rows

JITTERS, CROPS = (0.0, 0.05, 0.2, 0.5, 0.8), (0.8, 0.5, 0.3, 0.15)
METHOD, IMAGES = "simclr", 8192
ALONG = ("moves", JITTER, CROP)


class Strength(NamedTuple):
    """The views of one training; `still`: without flips and turns."""

    jitter: float
    crop_min: float
    still: bool = False

    def __str__(self) -> str:
        return f"jitter {self.jitter} crop {self.crop_min}{' still' * self.still}"


def preset_of(context: Context) -> Strength:
    """With which views a search begins."""
    prior = first_prior(context, METHOD)
    return Strength(prior["jitter"], prior["crop_min"])


def strengths(preset: Strength, along: Sequence[str]) -> Iterator[Strength]:
    """The fixed preset, and what differs from it in one thing."""
    yield preset
    if "moves" in along:
        yield preset._replace(still=True)
    if JITTER in along:
        yield from (preset._replace(jitter=jitter) for jitter in JITTERS if jitter != preset.jitter)
    if CROP in along:
        yield from (preset._replace(crop_min=crop) for crop in CROPS if crop != preset.crop_min)


def without_moves(allowed: Preset) -> Preset:
    """The preset without flips and turns."""
    return replace(allowed, hflip=False, vflip=False, turns=False, rotate=0.0)


def contexts_of(name: str, data: Path, work: Path, images: int = IMAGES) -> dict[str, Context]:
    """The open studies of a set, by target."""
    found = SETS[name]
    return {
        target: opened(
            place(name, target, data, work), work / f"{name}-{target}", images, **{**found.options, **options}
        )
        for target, options in found.targets.items()
    }


def fill(name: str, seed: int, contexts: dict[str, Context], rows: Rows, along: Sequence[str] = ALONG) -> None:
    """The rows of one set, one a training: what its encoder scores by every target."""
    first = next(iter(contexts.values()))
    allowed = first.preset
    for at in strengths(preset_of(first), along):
        if (key := f"{name} seed {seed} {at}") in rows:
            continue
        started = time.monotonic()
        first.preset = without_moves(allowed) if at.still else allowed
        run = new_run(first, seed, METHOD, {**first_prior(first, METHOD), "jitter": at.jitter, "crop_min": at.crop_min})
        next(train(run, first.plan.rungs))
        encoder = first.averaged(run)
        scores = {target: context.score(encoder) for target, context in contexts.items()}
        found = {target: [round(score.value, 4), round(score.se, 4)] for target, score in scores.items()}
        rows.add(key, {"scores": found, "s": round(time.monotonic() - started, 1)})
        print(key, rows.rows[key], flush=True)
    first.preset = allowed


def arguments(words: str | None, out: str) -> argparse.Namespace:
    """What both scripts are told."""
    parser = argparse.ArgumentParser(description=words, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS))
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--images", type=int, default=IMAGES, help="seen in a training")
    parser.add_argument("--along", nargs="+", choices=ALONG, default=list(ALONG))
    parser.add_argument("--out", type=Path, default=HERE / out)
    found = parser.parse_args()
    found.work.mkdir(parents=True, exist_ok=True)
    return found


def main() -> None:
    """The command line."""
    found = arguments(__doc__, "trained.json")
    rows = Rows(found.out, {"method": METHOD, "images": found.images})
    for seed in range(found.seeds):
        for name in found.sets:
            fill(name, seed, contexts_of(name, found.data, found.work, found.images), rows, found.along)


if __name__ == "__main__":
    main()
