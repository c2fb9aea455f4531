"""Searches data sets for some minutes each, and writes a table of all arms beside what is delivered.

    python -m studies.arms.run DATA_FOLDER RUNS_FOLDER --cells pbc-250 --weights none packaged:lite0 --seeds 0 1 2

DATA_FOLDER holds the public sets by name, RUNS_FOLDER gets the studies. A run that is in the result already is passed
over, one that was cut off is taken up by `autossl search` itself and has no more time than was left to it. The runs of
a table should have the machine for themselves.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from studies.method_table.hippocampus import write as write_hippocampi
from studies.rows import Rows, markdown

HERE = Path(__file__).parent
CELLS: dict[str, tuple[str, ...]] = {  # data and options
    "pbc-50": ("pbc_blood_28/pbc_blood_28.npz", "--modality", "microscopy", "--max-labels", "50"),
    "pbc-250": ("pbc_blood_28/pbc_blood_28.npz", "--modality", "microscopy", "--max-labels", "250"),
    "pbc-1000": ("pbc_blood_28/pbc_blood_28.npz", "--modality", "microscopy", "--max-labels", "1000"),
    "pbc-all": ("pbc_blood_28/pbc_blood_28.npz", "--modality", "microscopy"),
    "pneumonia-100": ("pneumoniamnist/pneumoniamnist.npz", "--modality", "xray", "--max-labels", "100"),
    "pneumonia-all": ("pneumoniamnist/pneumoniamnist.npz", "--modality", "xray"),
    "folder-all": ("pbc_blood_folder", "--modality", "microscopy"),
    "hippocampus-all": ("msd_hippocampus", "--modality", "mr"),
    "sample-cells": ("sample:cells",),
    "sample-volumes": ("sample:volumes",),
}
NAMES = {  # of the columns: entrants of a test
    "winner": "winner frozen", "winner, fine-tuned": "fine-tuned", "winner, soup": "soup", "mean": "mean of two",
    "supervised": "supervised",
    "weights": "weights frozen", "weights, fine-tuned": "weights fine-tuned", "weights, mean": "mean of these",
    "untrained": "untrained",
}  # fmt: skip


def command(cell: str, data: Path, out: Path, weights: str, seed: int, limit: str) -> list[str]:
    """What a user types."""
    name, *options = CELLS[cell]
    if cell == "hippocampus-all":
        table = out.parent / "hippocampus.csv"
        write_hippocampi(data / name, table)
        place = f"{table}::{data / name}"  # the folder that its images may lie in
    else:
        place = name if name.startswith("sample:") else str(data / name)
    asked = ["--weights", weights, "--seed", str(seed), "--time-limit", limit, "--out", str(out)]
    return [sys.executable, "-m", "autossl", "search", place, *options, *asked]


def row(out: Path) -> dict[str, Any]:
    """What a finished study tells."""
    state = json.loads((out / "state.json").read_text())
    result = state["result"]
    test = result["test"]
    metric = test["metric"]
    return {
        "labels": test["labels"],
        "metric": metric,
        "chosen": test["chosen"],
        "test": {name: found[metric] for name, found in test["entrants"].items()},
        "interval": {name: found["interval"].get(metric) for name, found in test["entrants"].items()},
        "differences": test["chosen_differences"],
        "folds": {name: arm.get("score") for name, arm in result["choice"]["arms"].items()},
        "candidate": result["candidate"].get("method"),
        "start": result["candidate"].get("start"),
        "seconds": state.get("seconds"),
    }


def table(rows: dict[str, dict[str, Any]]) -> str:
    """One line a run: what each arm has on the test part, what was chosen, and how far it is from the best."""
    heads = ["cell", "weights", "seed", "chosen", "delivered", *NAMES.values(), "best - delivered"]
    lines = []
    for key, found in sorted(rows.items()):
        cell, weights, seed = key.split(" | ")
        test = found["test"]
        best = max(value for name, value in test.items() if name != "constant")
        values = [_three(test.get(name)) for name in NAMES]
        delivered = test[found["chosen"]]
        lines.append([cell, weights, seed, found["chosen"], _three(delivered), *values, f"{best - delivered:+.3f}"])
    return markdown(heads, lines)


def _three(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def runs(asked: argparse.Namespace) -> Iterator[tuple[str, str, int]]:
    """Seed by seed, so that a campaign that ends early has every cell once."""
    for seed in asked.seeds:
        for cell in asked.cells:
            for weights in asked.weights:
                yield cell, weights, seed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("runs", type=Path)
    parser.add_argument("--cells", nargs="+", choices=CELLS, default=list(CELLS))
    parser.add_argument("--weights", nargs="+", default=["none", "packaged:lite0"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--limit", default="10m")
    parser.add_argument("--out", type=Path, default=HERE / "result.json")
    asked = parser.parse_args()
    asked.runs.mkdir(parents=True, exist_ok=True)
    kept = Rows(asked.out, {"limit": asked.limit})
    for cell, weights, seed in runs(asked):
        key = f"{cell} | {weights} | {seed}"
        if key in kept:
            continue
        out = asked.runs / f"{cell}-{weights.replace(':', '-')}-{seed}"
        done = subprocess.run(command(cell, asked.data, out, weights, seed, asked.limit), check=False)
        if done.returncode == 0:
            kept.add(key, row(out))  # on disk at once
    told = f"`python -m studies.arms.run`, {asked.limit} a run\n\n{table(kept.rows)}"
    asked.out.with_suffix(".md").write_text(told)


if __name__ == "__main__":
    main()
