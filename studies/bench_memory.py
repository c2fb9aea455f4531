"""Trains every method for a thousand steps on small tensors and states how much resident memory grows meanwhile.

    python -m studies.bench_memory                        # all methods, a few minutes on one core
    python -m studies.bench_memory --methods dino,moco --steps 400 --json memory.json

Growth is measured from step 200, when buffers and allocators have settled, to the last step; a queue or a teacher that
held on to what it should forget would show as MB that grow with the steps. Linux only.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

from autossl.encoder import Encoder
from autossl.errors import UserError
from autossl.pool import Pool
from autossl.presets import preset
from autossl.pretext import METHODS, Pretext
from autossl.space import build, read_space
from autossl.train import Run, Settings, train
from studies.memory import resident
from studies.rows import markdown

SETTLED = 200  # steps
BATCH, SIDE, CHANNELS = 16, 16, 3
ALLOWED = 5.0  # MB of growth above which a method is named


def small_run(method: str) -> Run:
    """A method with its first prior on a small encoder and 256 images of noise, some of them of one patient."""
    images = np.random.default_rng(0).integers(0, 256, (256, SIDE, SIDE, CHANNELS), dtype=np.uint8)
    table = read_space()[method]
    chosen = {**table.fixed, **table.priors[0], "batch_size": BATCH}
    torch.manual_seed(0)
    try:
        pretext, settings = _on(Encoder("test_resnet", CHANNELS, SIDE, model_args={"output_stride": 8}), method, chosen)
    except UserError:  # a method of transformers
        vit = Encoder("test_vit", CHANNELS, SIDE, model_args={"img_size": SIDE, "patch_size": 4})
        pretext, settings = _on(vit, method, chosen)
    pool = Pool(images, np.arange(256), 255.0, torch.device("cpu"), np.arange(256) // 2)
    return Run(pretext.to(memory_format=torch.channels_last), settings, pool, 0, warmup=0, horizon=1 << 20)


def _on(encoder: Encoder, method: str, chosen: dict[str, Any]) -> tuple[Pretext, Settings]:
    return build(method, chosen, encoder, preset("colour", CHANNELS), (0.5,) * CHANNELS, (0.3,) * CHANNELS)


def grown(method: str, steps: int) -> dict[str, Any]:
    """Resident MB of the process after `SETTLED` steps and after all, and the seconds they took."""
    run = small_run(method)
    held = []
    for _ in train(run, [min(SETTLED, steps) * run.batch, steps * run.batch]):
        held.append(resident())
    growth = held[-1] - held[0]
    return {
        "method": method,
        "settled_mb": round(held[0], 1),
        "last_mb": round(held[-1], 1),
        "growth_mb": round(growth, 2),
        "seconds": round(run.seconds, 1),
        "grows": growth > ALLOWED,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--methods", default=",".join(name for name, cls in METHODS.items() if 2 in cls.dims))
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    rows = []
    for name in asked.methods.split(","):
        rows.append(grown(name, asked.steps))
        print(f"{name}: {rows[-1]['growth_mb']:+.2f} MB", flush=True)
    heads = ["method", f"MB after {min(SETTLED, asked.steps)}", f"MB after {asked.steps}", "growth, MB", "s"]
    keys = ("method", "settled_mb", "last_mb", "growth_mb", "seconds")
    print(markdown(heads, [[row[key] for key in keys] for row in rows]))
    growing = [row["method"] for row in rows if row["grows"]]
    print(f"more than {ALLOWED:.0f} MB: {', '.join(growing) or 'none'}")
    if asked.json:
        asked.json.write_text(json.dumps({"steps": asked.steps, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
