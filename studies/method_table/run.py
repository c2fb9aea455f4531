"""Trains every method that a data set can serve for one rung, with its first prior, and writes a table.

    python -m studies.method_table.run DATA.npz --images 32768 --modality microscopy
    python -m studies.method_table.run DATA.npz --images 32768 --methods simclr,cnn_mae --out TABLE

Run from the top of a checkout. Rows are kept in TABLE.json as they come, and methods that are there are not trained
again; TABLE.md is written anew after each. The aligned score is that of the search (ridge, leaving out whole patients,
on the probe part), the seconds are those of the training steps alone, views are whole images' worth of pixels that the
encoder was shown, and memory is the peak during training over what was held before.
"""

import argparse
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

from autossl.errors import UserError
from autossl.pretext import METHODS
from autossl.train.loop import Diverged, train
from autossl.train.shortcut import monitored
from autossl.trials.context import Context
from autossl.trials.segments import new_run
from studies import memory
from studies.opened import facts, first_prior, opened, shown
from studies.rows import Rows, markdown

HERE = Path(__file__).parent
ENDS = 5  # steps over which the first and the last loss are means
COLUMNS = {
    "score": "aligned score", "se": "±", "knn": "k-NN", "seconds": "s", "views_per_second": "views/s",
    "memory": "peak MB", "first_loss": "first loss", "last_loss": "last loss", "note": "note",
}  # fmt: skip


def trained(context: Context, method: str) -> dict[str, Any]:
    """The row of one method."""
    try:
        run = new_run(context, 0, method, first_prior(context, method))
        views = shown(run.method.encoder)
        before = _start(context.device)
        next(train(run, context.plan.rungs))
    except (Diverged, UserError) as fault:  # the latter: a method that this encoder cannot serve
        return {"paradigm": METHODS[method].paradigm, "note": str(fault)}
    used = _peak(context.device) - before
    score = context.score(context.averaged(run))
    losses = [loss for _, loss in run.losses]
    early = monitored(run.early_accuracy, run.watched)
    return {
        "paradigm": run.method.paradigm,
        "score": round(score.value, 4),
        "se": round(score.se, 4),
        "knn": round(score.proxies["knn"], 4) if score.proxies else None,
        "seconds": round(run.seconds, 2),
        "views_per_second": round(sum(views) / run.seconds, 1),
        "memory": round(used, 1),
        "first_loss": round(float(np.mean(losses[:ENDS])), 5),
        "last_loss": round(float(np.mean(losses[-ENDS:])), 5),
        "note": score.collapsed or ("shortcut?" if "shortcut" in early else ""),
        **early,
    }


def _start(device: torch.device) -> float:
    """Memory held before, in MB; on an accelerator what torch gave out there."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
        return torch.cuda.memory_allocated() / 1e6
    before = memory.resident()
    memory.forget_peak()
    return before


def _peak(device: torch.device) -> float:
    return torch.cuda.max_memory_allocated() / 1e6 if device.type == "cuda" else memory.peak()


def fill(context: Context, methods: list[str], table: Path) -> Rows:
    """Train what is not yet in TABLE.json; write both files after each method."""
    space = Path(context.config.space).name
    rows = Rows(table.with_suffix(".json"), {**facts(context), "images": context.plan.rungs[-1], "space": space})
    for name in methods:
        if name in rows:
            continue
        rows.add(name, trained(context, name))
        table.with_suffix(".md").write_text(as_markdown(rows, context.config.left_out))
        print(f"{name}: {rows.rows[name]}", flush=True)
    return rows


def as_markdown(rows: Rows, left_out: dict[str, str]) -> str:
    """Settings, and the methods by their score."""
    best = sorted(rows.rows.items(), key=lambda item: -(item[1].get("score") or 0.0))
    lines = [(name, row["paradigm"], *(row.get(column) for column in COLUMNS)) for name, row in best]
    text = ", ".join(f"{name} {value}" for name, value in rows.settings.items() if value is not None)
    without = "".join(f"\nNot trained: {name} ({why})." for name, why in left_out.items())
    return f"{text}\n\n{markdown(['method', 'paradigm', *COLUMNS.values()], lines)}{without}\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("--images", type=int, default=32768, help="images seen by each method")
    parser.add_argument("--methods", default="all")
    parser.add_argument("--modality", default="auto")
    parser.add_argument("--backbone", default="auto")
    parser.add_argument("--image-size", default="auto")
    parser.add_argument("--precision", default="fp32")
    parser.add_argument("--max-labels", type=int)
    parser.add_argument("--space", default="auto", help="search space, whose first priors are trained")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="TABLE.json and TABLE.md  [default: named after DATA, beside this]")
    asked = vars(parser.parse_args())
    data, images, table, methods = (asked.pop(name) for name in ("data", "images", "out", "methods"))
    with tempfile.TemporaryDirectory() as folder:
        context = opened(data, Path(folder), images, **asked)
        served = list(context.config.methods)
        chosen = served if methods == "all" else [name for name in methods.split(",") if name in served]
        fill(context, chosen, table or HERE / Path(data).stem)


if __name__ == "__main__":
    main()
