"""Plays ways to search over the table, leaving the set at hand out of all that they know beforehand.

    python -m studies.replay [--rows studies/table/rows] [--seeds 200] [--out studies/replay/result]

Writes OUT.json and OUT.md: normalised regret over time of every way with intervals, differences to today's scheduler,
speed-ups, and how well every proxy ranks. Times are in trainings of a mean candidate to the last rung.
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np

from autossl.record.folder import write_json
from studies.replay.bootstrap import Hierarchy
from studies.replay.engine import ENGINE, TIMED
from studies.replay.proxies import agreement, tuned
from studies.replay.strategies import CONTROLS, RANDOM, Play, Strategy, play
from studies.replay.table import Array, Cell, Elsewhere, cells, in_seconds
from studies.rows import markdown

HERE = Path(__file__).parent
TIMES = (0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0)
LATE = len(TIMES) // 2  # from here on changes are judged
BASE = "today"
WAYS = {**ENGINE, **CONTROLS}


def regrets(found: list[Cell], ways: dict[str, Strategy], seeds: int) -> dict[str, Array]:
    """Normalised regret (times, cells, seeds) of each way."""
    played = {name: np.zeros((len(TIMES), len(found), seeds)) for name in ways}
    for at, cell in enumerate(found):
        known = elsewhere(found, cell)
        order, spread, draws = known.order(), known.spread(), cell.draws
        for name, way in ways.items():
            there = in_seconds(cell) if name in TIMED else cell
            different = seeds if _by_lot(name, cell) else min(draws, seeds)
            for time, times in enumerate(TIMES):
                for seed in range(different):
                    random = np.random.default_rng([seed, at])
                    now = Play(there, times * cell.whole, seed % draws, random, order, spread)
                    played[name][time, at, seed::different] = cell.regret(play(way, now))
    return played


def _by_lot(name: str, cell: Cell) -> bool:
    """Whether seeds differ in more than the draw of labels."""
    return name in RANDOM or (name in ENGINE and len({c.method for c in cell.candidates}) < len(cell.candidates))


def elsewhere(found: list[Cell], cell: Cell) -> Elsewhere:
    """What all other sets say of the candidates of a cell."""
    return Elsewhere([other for other in found if other.set != cell.set], [c.name for c in cell.candidates])


def speed_up(one: Array, other: Array) -> float | None:
    """How much sooner a way comes to the final regret of another than that does itself (regrets over TIMES).

    None where it never does.
    """
    own, sooner = (_reached(curve, other[-1]) for curve in (other, one))
    return round(own / sooner, 2) if np.isfinite(sooner) else None


def _reached(curve: Array, level: float) -> float:
    """The first time at which a curve is as low; infinity if never."""
    below = np.flatnonzero(curve <= level + 1e-9)
    return TIMES[below[0]] if len(below) else float("inf")


def summary(found: list[Cell], played: dict[str, Array]) -> dict[str, Any]:
    """Everything that is told, as data."""
    seeds = next(iter(played.values())).shape[2]
    hierarchy = Hierarchy(found, seeds)
    late = {name: values[LATE:].mean(0) for name, values in played.items()}
    curves = {name: np.array([hierarchy.mean(v) for v in values]) for name, values in played.items()}
    ways = {name: _told(hierarchy, late[name], late[name] - late[BASE], curves[name]) for name in played}
    for name, way in ways.items():
        way["sooner"] = speed_up(curves[name], curves[BASE])
    ranks = [agreement(cell, elsewhere(found, cell)) for cell in found]
    names = list(dict.fromkeys(name for one in ranks for name in one))
    proxies = {name: _short(np.nanmedian([one[name] for one in ranks if name in one], axis=0)) for name in names}
    listed = [_about(cell) for cell in found]
    return {"times": TIMES, "seeds": seeds, "ways": ways, "proxies": proxies, "cells": listed}


def _told(hierarchy: Hierarchy, late: Array, less: Array, curve: Array) -> dict[str, Any]:
    """Mean regret over time, and late with its interval, itself and less that of the base."""
    return {
        "curve": _short(curve),
        "late": _short([hierarchy.mean(late), *hierarchy.interval(late)]),
        "less": _short([hierarchy.mean(less), *hierarchy.interval(less)]),
    }


def _about(cell: Cell) -> dict[str, Any]:
    first = max(cell.candidates, key=lambda one: one.truth)
    values = {"untrained": cell.untrained, "best": cell.best, "fine-tuned": tuned(cell)}
    return {"cell": cell.name, "candidates": len(cell.candidates), **_rounded(values), "first": first.name}


def _rounded(values: dict[str, float]) -> dict[str, float | None]:
    return {name: round(value, 4) if np.isfinite(value) else None for name, value in values.items()}


def _short(values: Any) -> list[float]:
    return [round(float(value), 4) for value in values]


def as_markdown(told: dict[str, Any]) -> str:
    """The same for people."""
    sets = len({one["cell"].split()[0] for one in told["cells"]})
    text = (
        f"{len(told['cells'])} cells of {sets} sets, {told['seeds']} seeds. Regret is 0 at the best candidate "
        "of a cell and 1 at its untrained encoder; times are trainings of a mean candidate.\n\n"
    )
    heads = ["way", *(f"{time:g}" for time in TIMES), "late", "95 %", f"less {BASE}", "95 % ", "sooner"]
    lines = [
        (name, *way["curve"], way["late"][0], _span(way["late"]), way["less"][0], _span(way["less"]), way["sooner"])
        for name, way in sorted(told["ways"].items(), key=lambda item: item[1]["late"][0])
    ]
    rungs = len(next(iter(told["proxies"].values())))
    ranked = sorted(told["proxies"].items(), key=lambda item: -item[1][0])
    proxies = markdown(["proxy", *(f"rung {rung}" for rung in range(rungs))], [(name, *row) for name, row in ranked])
    about = markdown(list(told["cells"][0]), [tuple(one.values()) for one in told["cells"]])
    return f"{text}{markdown(heads, lines)}\nWeighted Kendall with the truth, median over cells:\n\n{proxies}\n{about}"


def _span(values: list[float]) -> str:
    return f"{values[1]:.3f} to {values[2]:.3f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=Path, default=HERE.parent / "table" / "rows")
    parser.add_argument("--seeds", type=int, default=200)
    parser.add_argument("--out", type=Path, default=HERE / "result")
    asked = parser.parse_args()
    found = cells(asked.rows)
    if len({cell.set for cell in found}) < 2:
        raise SystemExit(f"cells of two sets were wanted, found fewer in {asked.rows}; fill the table further")
    told = summary(found, regrets(found, WAYS, asked.seeds))
    write_json(asked.out.with_suffix(".json"), told)
    asked.out.with_suffix(".md").write_text(as_markdown(told))
    print(as_markdown(told))


if __name__ == "__main__":
    main()
