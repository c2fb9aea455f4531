"""Trains every method for a thousand steps on small tensors and states how much resident memory grows meanwhile.

    python -m studies.bench_memory                        # all methods, a quarter of an hour on one core
    python -m studies.bench_memory --methods dino,moco --steps 400 --out TABLE

Growth is measured from step 200, when buffers and allocators have settled, to the last step; a queue or a teacher that
held on to what it should forget would show as MB that grow with the steps. Rows are kept in TABLE.json as they come,
and methods that are there are not trained again; TABLE.md is written anew after each. Linux only.
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import torch

from autossl.nn.encoder import Encoder, channels_last
from autossl.pretext import METHODS
from autossl.pretext.needs import lacking
from autossl.train.loop import Run, train
from autossl.train.pool import Pool
from autossl.trials.space import build, read_space
from autossl.views.presets import preset
from studies.memory import resident
from studies.rows import Rows, markdown

SETTLED = 200  # steps
BATCH, SIDE, CHANNELS, IMAGES = 16, 16, 3, 256
ALLOWED = 5.0  # MB of growth above which a method is named


def small_run(method: str) -> Run:
    """A method with its first prior on a small encoder and noise: images, or volumes where it takes no other.

    Two images each are slices of one patient.
    """
    table = read_space()[method]
    chosen = {**table.fixed, **table.priors[0], "batch_size": BATCH}
    torch.manual_seed(0)
    encoder = small_encoder(method)
    views = preset("colour", CHANNELS)
    pretext, settings = build(method, chosen, encoder, views, (0.5,) * CHANNELS, (0.3,) * CHANNELS)
    dims = encoder.dims
    channels_last(pretext, dims)
    images = np.random.default_rng(0).integers(0, 256, (IMAGES, *[SIDE] * dims, CHANNELS), dtype=np.uint8)
    rows, places = np.arange(IMAGES), (np.arange(IMAGES) % 2).astype(np.float32)
    pool = Pool(images, rows, 255.0, torch.device("cpu"), groups=rows // 2, positions=places)
    return Run(pretext, settings, pool, 0, warmup=0, horizon=1 << 20)


def small_encoder(method: str) -> Encoder:
    """A network for images, or for volumes where the method takes no other; a transformer where it needs one."""
    if 2 not in METHODS[method].dims:
        narrow = {"block_inplanes": [8, 8, 16, 16], "conv1_t_size": 3, "no_max_pool": True}
        return Encoder("resnet10_3d", CHANNELS, SIDE, model_args=narrow)
    convolutional = Encoder("test_resnet", CHANNELS, SIDE, model_args={"output_stride": 8})
    if not METHODS[method].needs & lacking(convolutional):
        return convolutional
    return Encoder("test_vit", CHANNELS, SIDE, model_args={"img_size": SIDE, "patch_size": 4})


def grown(method: str, steps: int) -> dict[str, Any]:
    """Resident MB of the process after `SETTLED` steps and after all, and the seconds they took."""
    run = small_run(method)
    held = []
    for _ in train(run, [min(SETTLED, steps) * run.batch, steps * run.batch]):
        held.append(resident())
    growth = held[-1] - held[0]
    return {
        "settled_mb": round(held[0], 1),
        "last_mb": round(held[-1], 1),
        "growth_mb": round(growth, 2),
        "seconds": round(run.seconds, 1),
        "grows": growth > ALLOWED,
    }


def as_markdown(rows: Rows) -> str:
    """Settings, and a line for each method."""
    steps = rows.settings["steps"]
    heads = ["method", f"MB after {min(SETTLED, steps)}", f"MB after {steps}", "growth, MB", "s"]
    keys = ("settled_mb", "last_mb", "growth_mb", "seconds")
    lines = [[name, *(row[key] for key in keys)] for name, row in rows.rows.items()]
    growing = [name for name, row in rows.rows.items() if row["grows"]]
    return f"{markdown(heads, lines)}\nMore than {ALLOWED:.0f} MB: {', '.join(growing) or 'none'}.\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--methods", default=",".join(METHODS))
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(""), help="TABLE.json and TABLE.md")
    asked = parser.parse_args()
    settings = {"steps": asked.steps, "batch": BATCH, "side": SIDE, "threads": torch.get_num_threads()}
    rows = Rows(asked.out.with_suffix(".json"), settings)
    for name in asked.methods.split(","):
        if name in rows:
            continue
        rows.add(name, grown(name, asked.steps))
        rows.path.with_suffix(".md").write_text(as_markdown(rows))
        print(f"{name}: {rows.rows[name]['growth_mb']:+.2f} MB", flush=True)
    print(as_markdown(rows))


if __name__ == "__main__":
    main()
