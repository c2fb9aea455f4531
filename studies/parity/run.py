"""Compares our methods with the same ones put together from lightly's parts: same encoder, views, batches and steps.

    python -m studies.parity.run DATA.npz --images 32768 --modality microscopy
    python -m studies.parity.run DATA.npz --images 32768 --methods simclr,byol --seeds 5 --out TABLE

Run from the top of a checkout with the development dependencies. Both sides of a pair begin with the same encoder and
are shown the same views; the hyperparameters are our first priors. What differs is the head, the loss, the teacher and
that lightly's loop passes the views through the encoder one after the other. Rows are kept in TABLE.json as they come;
a pair that is there is not trained again. TABLE.md gives the mean difference of the aligned scores (ours less
lightly's) and its standard error over the seeds.
"""

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import torch

from autossl.pretext import METHODS
from autossl.train.loop import Run, train
from autossl.train.pool import Pool
from autossl.trials.context import Context
from autossl.trials.segments import new_run
from studies.opened import facts, first_prior, opened
from studies.parity.theirs import THEIRS, TRANSFORMERS
from studies.rows import Rows, markdown

HERE = Path(__file__).parent
HEADS = ("method", "encoder", "seeds", "ours", "lightly", "ours - lightly", "± (standard error)")


def hyperparameters(context: Context, method: str) -> dict[str, Any]:
    """Our first prior; masks of a transformer are its patches, and DINO's head has three layers, as lightly's have."""
    chosen = first_prior(context, method)
    if method == "dino":
        chosen["layers"] = 3
    if method in TRANSFORMERS and "grid" in chosen:
        chosen["grid"] = context.new_encoder(0).cells[0]
    return chosen


def ours(context: Context, method: str, seed: int) -> Run:
    """Our method before its first step; patients are left out, since lightly's losses do not know them."""
    run = new_run(context, seed, method, hyperparameters(context, method))
    run.pool = Pool(context.data.images, run.pool.rows, context.data.scale, context.device)
    return run


def theirs(context: Context, method: str, seed: int) -> Run:
    """The same around the same untrained encoder with lightly's parts."""
    run = ours(context, method, seed)
    made = THEIRS[method](run.method.encoder, run.method.views, hyperparameters(context, method))
    made.to(context.device).to(memory_format=torch.channels_last)
    made.generator = run.method.generator
    return Run(made, run.settings, run.pool, run.seed, run.warmup, run.horizon)


def pair(context: Context, method: str, seed: int) -> dict[str, Any]:
    """Aligned scores of both after the same steps; how fast they are is for `studies.bench_pipeline` to say."""
    found: dict[str, Any] = {}
    for name, make in (("ours", ours), ("theirs", theirs)):
        run = make(context, method, seed)
        next(train(run, context.plan.rungs))
        found[name] = round(context.score(context.averaged(run)).value, 5)
        found[f"{name}_last_loss"] = round(run.losses[-1][1], 5)
    return {"method": method, "seed": seed, "encoder": context.config.backbone, **found}


def fill(context_of: Callable[[str], Context], methods: list[str], seeds: int, rows: Rows) -> None:
    """Train the pairs that are not there yet, one seed of all methods after the other; write both files each time."""
    for seed in range(seeds):
        for method in methods:
            key = f"{method}/{seed}"
            if key in rows:
                continue
            rows.add(key, pair(context_of(method), method, seed))
            rows.path.with_suffix(".md").write_text(as_markdown(rows))
            print(rows.rows[key], flush=True)


def as_markdown(rows: Rows) -> str:
    """Settings and one line for each method."""
    lines = [summary([row for row in rows.rows.values() if row["method"] == method]) for method in _methods(rows)]
    text = ", ".join(f"{name} {value}" for name, value in rows.settings.items() if value is not None)
    return f"{text}\n\n{markdown(HEADS, lines)}"


def _methods(rows: Rows) -> list[str]:
    return list(dict.fromkeys(row["method"] for row in rows.rows.values()))


def summary(pairs: list[dict[str, Any]]) -> list[Any]:
    """Means over the seeds of one method; a standard error needs two."""
    gaps = [row["ours"] - row["theirs"] for row in pairs]
    means = [mean(row[key] for row in pairs) for key in ("ours", "theirs")]
    error = stdev(gaps) / len(gaps) ** 0.5 if len(gaps) > 1 else None
    return [pairs[0]["method"], pairs[0]["encoder"], len(pairs), *means, mean(gaps), error]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("--images", type=int, default=32768, help="images seen in each training")
    parser.add_argument("--methods", default=",".join(name for name in THEIRS if name in METHODS))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--modality", default="auto")
    parser.add_argument("--backbone", default="auto")
    parser.add_argument("--transformer", default="vit_tiny_patch16_224", help="for the methods of masked tokens")
    parser.add_argument("--image-size", default="auto")
    parser.add_argument("--max-labels", type=int)
    parser.add_argument("--out", type=Path, help="TABLE.json and TABLE.md  [default: named after DATA, beside this]")
    asked = vars(parser.parse_args())
    data, images, methods, seeds, transformer, table = (
        asked.pop(name) for name in ("data", "images", "methods", "seeds", "transformer", "out")
    )
    with tempfile.TemporaryDirectory() as folder:
        open_: dict[str, Context] = {}

        def context_of(method: str) -> Context:
            backbone = transformer if method in TRANSFORMERS else asked["backbone"]
            if backbone not in open_:
                settings = {**asked, "backbone": backbone, "precision": "fp32"}
                open_[backbone] = opened(data, Path(folder) / backbone, images, **settings)
            return open_[backbone]

        common = {k: v for k, v in facts(context_of("simclr")).items() if k != "backbone"}
        rows = Rows((table or HERE / Path(data).stem).with_suffix(".json"), {**common, "images": images})
        fill(context_of, methods.split(","), seeds, rows)


if __name__ == "__main__":
    main()
