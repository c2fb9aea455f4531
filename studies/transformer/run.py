"""Trains on from a plain transformer that was trained on another set: all of it, its last blocks, or adapters.

    python -m studies.transformer.run DATA_FOLDER RUNS_FOLDER --rows random all last lora

Weights are made first: MAE for the whole limit, without labels, on blood cells. Then SimCLR goes on from them on
radiographs, once for each row, with one candidate that takes all the time of search and final training; `random` is the
same without weights. Rows that are in the result already are passed over.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import autossl
from autossl.study import Study
from studies.rows import Rows, markdown

HERE = Path(__file__).parent
BACKBONE = "test_vit"  # six blocks of 64 channels: a quarter of a million parameters
FROM, ONTO = "pbc_blood_28/pbc_blood_28.npz", "pneumoniamnist/pneumoniamnist.npz"
LABELS = 250
RANDOM = "random"
# the first prior of the default space, at the jitter of the modality; from given weights at the gentle rate
SPACE = """[simclr]
temperature = 0.5
hidden = 512
crop_min = 0.5
jitter = 0.5
batch_size = 128
weight_decay = 1e-4
lr = {lr}
layer_decay = {layer_decay}
trained = "{trained}"
"""
HEADS = {
    "winner": "trained on, frozen", "winner, fine-tuned": "fine-tuned", "winner, soup": "soup",
    "weights": "as given, frozen", "weights, fine-tuned": "given, fine-tuned", "supervised": "supervised",
    "untrained": "untrained",
}  # fmt: skip


def weights(data: Path, runs: Path, limit: str) -> Path:
    """The encoder that the rows go on from, made where it is not there yet."""
    made = runs / "weights"
    if not made.is_dir():
        asked: dict[str, Any] = {"task": "none", "methods": "mae", "max_candidates": 1, "backbone": BACKBONE}
        study = autossl.search(
            data / FROM, modality="microscopy", weights="none", time_limit=limit, out=runs / "mae", **asked
        )
        study.export(made)
    return made


def trained_on(data: Path, runs: Path, row: str, start: Path, limit: str, seed: int) -> Study:
    """A study that goes on from these weights, and trains this part of them."""
    space = runs / f"{row}.toml"
    given = row != RANDOM
    rate = {"lr": 1e-3, "layer_decay": 0.75, "trained": row} if given else {"lr": 3.5e-3, "layer_decay": 1.0}
    space.write_text(SPACE.format(**{"trained": "all", **rate}))
    begins: dict[str, Any] = {"weights": start, "start": "weights"} if given else {"weights": "none"}
    return autossl.search(
        data / ONTO, modality="xray", max_labels=LABELS, methods="simclr", max_candidates=1, space=space,
        backbone=BACKBONE, time_limit=limit, seed=seed, out=runs / f"{row}-{seed}", **begins,
    )  # fmt: skip


def facts(study: Study) -> dict[str, Any]:
    """What a finished study tells."""
    state = json.loads((study.folder.root / "state.json").read_text())
    result, test, arms = state["result"], state["result"]["test"], state["result"]["choice"]["arms"]
    row = next(row for row in study.leaderboard() if row["paradigm"] != "baseline")
    return {
        "test": {name: found[test["metric"]] for name, found in test["entrants"].items()},
        "metric": test["metric"],
        "chosen": test["chosen"],
        "aligned": row["score"],
        "images": result["final_training"]["images"],
        "kept": result["final_training"]["kept"],
        "tuned": {name: (arm["trained"], arm["settings"]) for name, arm in arms.items() if "trained" in arm},
    }


def table(rows: dict[str, dict[str, Any]]) -> str:
    """One line a row: images seen, and what each arm has on the test part."""
    lines = []
    for key, found in sorted(rows.items()):
        test = [None if (value := found["test"].get(name)) is None else round(value, 3) for name in HEADS]
        lines.append([key, found["images"], *test])
    return markdown(["trained", "images", *HEADS.values()], lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("runs", type=Path)
    parser.add_argument("--rows", nargs="*", default=[RANDOM, "all", "last", "lora"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--limit", default="5m")
    parser.add_argument("--out", type=Path, default=HERE / "result.json")
    asked = parser.parse_args()
    asked.runs.mkdir(parents=True, exist_ok=True)
    kept = Rows(asked.out, {"limit": asked.limit, "labels": LABELS, "backbone": BACKBONE, "from": FROM, "onto": ONTO})
    start = weights(asked.data, asked.runs, asked.limit)
    for seed in asked.seeds:
        for row in asked.rows:
            if (key := f"{row}, seed {seed}") not in kept:
                kept.add(key, facts(trained_on(asked.data, asked.runs, row, start, asked.limit, seed)))
    told = f"`python -m studies.transformer.run`, {asked.limit} a row, {LABELS} labels\n\n{table(kept.rows)}"
    asked.out.with_suffix(".md").write_text(told)


if __name__ == "__main__":
    main()
