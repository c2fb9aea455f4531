"""Times the whole pretraining loop, from a store on disk, against what it cannot do without and against lightly's.

    python -m studies.bench_pipeline                    # SimCLR on resnet10t at 28 px against "bare": a minute
    python -m studies.bench_pipeline --methods simclr,cnn_mae --backbones resnet10t,resnet18,vit_tiny_patch16_224 \\
        --sizes 28,64,224 --parts bare,lightly --json pipeline.json
    python -m studies.bench_pipeline --methods mae --backbones vit_tiny_patch16_224 --parts bare,bf16,compile
    python -m studies.bench_pipeline --methods simclr,cnn_mae --backbones resnet10_half_3d,resnet10_3d \\
        --sizes 32,64 --parts bare,monai                # volumes

Run from the top of a checkout. "ours" is our loop in fp32: images from a memory-mapped file, views, loss, optimiser.
Parts: "bare" is the same network, loss and optimiser on random tensors already in memory, so ours / bare is the
efficiency of the pipeline; "lightly" is SimCLR as lightly's examples have it (SimCLRTransform on PIL images, a
DataLoader with two workers, NTXentLoss) with the same backbone in channels_last and fp32; "monai" is the same on
volumes with MONAI's random transforms and a CacheDataset; "bf16" and "compile" are our loop with one of the two, the
seconds of compilation stated apart. Ours and each part are timed in turn, a few steps each, and medians are compared:
what else runs on the machine slows both. Workers of a DataLoader would take part in everybody's time, so those loops
run alone, between two halves of ours.
"""

import argparse
import importlib
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from autossl.errors import UserError
from autossl.nn.encoder import LAYOUTS, Encoder, channels_last, dims_of, fit_to_size
from autossl.pretext import METHODS
from autossl.pretext.batch import Batch
from autossl.train.loop import Run, Settings, train
from autossl.train.pool import Pool
from autossl.views.images import Views
from autossl.views.presets import preset
from autossl.views.volumes import views_for
from studies.rows import markdown

Pixels = NDArray[np.uint8]
Work = Callable[[], None]

BATCHES = {2: {28: 256, 64: 128, 224: 32}, 3: {32: 32, 64: 8}}  # images or volumes of a step
STEPS = 4  # in one turn
VIEWS = {"simclr": 2}  # of each image; 1 elsewhere
PARTS = ("bare", "lightly", "monai", "bf16", "compile")
HEADS = {
    "method": "method", "backbone": "backbone", "px": "px", "batch": "batch", "ours": "views/s",
    "bare": "ours / bare", "lightly": "ours / lightly", "monai": "ours / MONAI", "bf16": "bf16 / ours",
    "compile": "compiled / ours", "compile_seconds": "s to compile",
}  # fmt: skip


class Case(NamedTuple):
    """What is trained."""

    method: str
    backbone: str
    px: int
    batch: int
    modality: str
    device: torch.device

    @property
    def dims(self) -> int:
        return dims_of(self.backbone)

    @property
    def channels(self) -> int:
        return 3 if self.dims == 2 else 1


class Resident(Views):
    """Views that cost nothing: random tensors made beforehand."""

    held: Tensor

    def __call__(self, images: Tensor, generator: torch.Generator, copies: int = 1) -> Tensor:
        if not hasattr(self, "held"):
            shape = (copies * len(images), *images.shape[1:])
            layout = LAYOUTS[images.ndim - 2]
            self.held = torch.randn(shape, device=images.device).contiguous(memory_format=layout)
        return self.held

    def weak(self, images: Tensor, generator: torch.Generator) -> Tensor:
        return images

    def standardise(self, images: Tensor) -> Tensor:
        return self(images, torch.Generator())


class Held(Pool):
    """A pool whose batches cost nothing."""

    held: Batch

    def batch(self, at: NDArray[np.int64]) -> Batch:
        if not hasattr(self, "held"):
            self.held = super().batch(at)
        return self.held


def store(folder: Path, case: Case) -> Pixels:
    """Random images or volumes in a memory-mapped file, as a study has them."""
    path = folder / f"{case.dims}-{case.px}.npy"
    if not path.is_file():
        shape = (max(1024 if case.dims == 2 else 128, 2 * case.batch), *[case.px] * case.dims, case.channels)
        np.save(path, np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8))
    images: Pixels = np.load(path, mmap_mode="r")
    return images


def new_encoder(case: Case) -> Encoder:
    model_args, upsample = fit_to_size(case.backbone, case.channels, case.px)
    torch.manual_seed(0)
    return Encoder(case.backbone, case.channels, case.px, model_args=model_args, upsample=upsample)


def ours(case: Case, images: Pixels, *, bare: bool = False, bf16: bool = False, compiled: bool = False) -> Work:
    """A few training steps through the project's own loop."""
    encoder = new_encoder(case)
    encoder.low_precision = bf16
    channels = case.channels
    kind = Resident if bare else views_for(case.dims)
    views = kind(preset(case.modality, channels), (0.5,) * channels, (0.3,) * channels, crop_min=0.3, jitter=0.3)
    method = METHODS[case.method](encoder, views).to(case.device)
    channels_last(method, case.dims)
    method.generator = torch.Generator(device=case.device)
    if compiled:
        for name in ("forward", "features"):
            setattr(encoder, name, torch.compile(getattr(encoder, name)))
    pool = (Held if bare else Pool)(images, np.arange(len(images)), 255.0, case.device)
    run = Run(method, Settings(batch_size=case.batch), pool, 0, 0, 1 << 30)

    def some() -> None:
        next(train(run, [run.images + STEPS * case.batch]))
        if case.device.type == "cuda":
            torch.cuda.synchronize()

    return some


def seconds_of(work: Work) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def in_turn(works: dict[str, Work], rounds: int) -> dict[str, float]:
    """Median seconds of each, timed one after the other in every round."""
    times: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(rounds):
        for name, work in works.items():
            times[name].append(seconds_of(work))
    return {name: median(values) for name, values in times.items()}


def measured(case: Case, images: Pixels, parts: list[str], rounds: int) -> dict[str, Any]:
    """One row: views per second of ours, and the ratios that were asked for."""
    works = {"ours": ours(case, images)}
    if "bare" in parts:
        works["bare"] = ours(case, images, bare=True)
    if "bf16" in parts:
        works["bf16"] = ours(case, images, bf16=True)
    if "compile" in parts:
        works["compile"] = ours(case, images, compiled=True)
    first = {name: seconds_of(work) for name, work in works.items()}
    times = in_turn(works, rounds)
    base = times["ours"]
    views = VIEWS.get(case.method, 1) * case.batch * STEPS
    row: dict[str, Any] = {**case._asdict(), "device": str(case.device), "ours": round(views / base, 1)}
    row |= {name: round(base / times[name], 3) for name in ("bf16", "compile") if name in times}
    if "bare" in times:
        row["bare"] = round(times["bare"] / base, 3)
    if "compile" in times:
        row["compile_seconds"] = round(first["compile"] - times["compile"], 1)
    other = "lightly" if case.dims == 2 else "monai"
    if other in parts and case.method == "simclr":
        row[other] = round(_beside(other, case, images, works["ours"], rounds), 3)
    return row


def _beside(other: str, case: Case, images: Pixels, work: Work, rounds: int) -> float:
    """How many times as many views per second ours makes; the other loop stands between two halves of ours."""
    seconds_per_step = importlib.import_module(f"studies.{other}_loop").seconds_per_step
    half = max(1, rounds // 2)
    before = in_turn({"ours": work}, half)["ours"]
    theirs: float = seconds_per_step(new_encoder(case), images, case.batch, STEPS * rounds, case.device)
    after = in_turn({"ours": work}, half)["ours"]
    return theirs * STEPS / ((before + after) / 2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--methods", default="simclr", help=f"of {', '.join(METHODS)}")
    parser.add_argument("--backbones", default="resnet10t")
    parser.add_argument("--sizes", default="28", help="28, 64 or 224 px; 32 or 64 voxels")
    parser.add_argument("--parts", default="bare", help=f"of {', '.join(PARTS)}")
    parser.add_argument("--modality", default="auto")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batch", type=int, help=f"images of a step  [default by size: {BATCHES}]")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    device = torch.device(asked.device)
    where = torch.cuda.get_device_name() if device.type == "cuda" else f"{torch.get_num_threads()} threads"
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        for px in map(int, asked.sizes.split(",")):
            for backbone in asked.backbones.split(","):
                batch = asked.batch or BATCHES[dims_of(backbone)][px]
                for method in asked.methods.split(","):
                    case = Case(method, backbone, px, batch, asked.modality, device)
                    try:
                        rows.append(measured(case, store(Path(folder), case), asked.parts.split(","), asked.rounds))
                    except UserError as fault:
                        print(f"{method} on {backbone} at {px} px: {fault}", flush=True)
                        continue
                    print(rows[-1], flush=True)
    heads = {key: head for key, head in HEADS.items() if any(key in row for row in rows)}
    print(f"\n{where}, torch {torch.__version__}, views of {asked.modality!r} at jitter 0.3\n")
    print(markdown(list(heads.values()), [[row.get(key) for key in heads] for row in rows]))
    if asked.json:
        asked.json.write_text(json.dumps({"where": where, "torch": torch.__version__, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
