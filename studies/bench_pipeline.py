"""Times SimCLR training with its views against the same network, loss and optimiser on tensors already in memory.

    python studies/bench_pipeline.py                     # resnet10t and resnet18 at 28 px, resnet18 at 64 px
    python studies/bench_pipeline.py --modality microscopy

The ratio of the two is the pipeline's efficiency. Both are timed in turn, a few steps each, and medians are compared:
what else runs on the machine slows both.
"""

import argparse
import time
from collections.abc import Callable
from statistics import median

import numpy as np
import torch

from autossl.encoder import Encoder, fit_to_size
from autossl.pool import Pool
from autossl.pretext.simclr import SimCLR
from autossl.train import Run, Settings, train
from autossl.views import Views, preset

BATCH = 256
STEPS = 4  # of each kind in a round
CASES = (("resnet10t", 28), ("resnet18", 28), ("resnet18", 64))


class Resident(Views):
    """Views that cost nothing: random tensors made beforehand."""

    def __call__(self, images: torch.Tensor, generator: torch.Generator, copies: int = 1) -> torch.Tensor:
        if not hasattr(self, "held"):
            shape = (copies * len(images), *images.shape[1:])
            self.held = torch.randn(shape, device=images.device).contiguous(memory_format=torch.channels_last)
        return self.held


class Held(Pool):
    """A pool whose batches cost nothing."""

    def batch(self, at: np.ndarray) -> torch.Tensor:
        if not hasattr(self, "held"):
            self.held = super().batch(at)
        return self.held


def steps(backbone: str, size: int, modality: str, device: torch.device, *, bare: bool) -> Callable[[], None]:
    """A few training steps through the project's own loop."""
    model_args, upsample = fit_to_size(backbone, 3, size)
    encoder = Encoder(backbone, 3, size, model_args=model_args, upsample=upsample)
    images = np.random.default_rng(0).integers(0, 256, (4096, size, size, 3), dtype=np.uint8)
    pool = (Held if bare else Pool)(images, np.arange(len(images)), 255.0, device)
    views = (Resident if bare else Views)(preset(modality, 3), (0.5,) * 3, (0.3,) * 3, crop_min=0.3, jitter=0.3)
    method = SimCLR(encoder, views).to(device).to(memory_format=torch.channels_last)
    method.generator = torch.Generator(device=device)
    run = Run(method, Settings(batch_size=BATCH), pool, 0, 0, 1 << 30)

    def some() -> None:
        next(train(run, [run.images + STEPS * BATCH]))
        if device.type == "cuda":
            torch.cuda.synchronize()

    some()
    return some


def timed(work: Callable[[], None]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description="efficiency of the views")
    parser.add_argument("--modality", default="auto")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    asked = parser.parse_args()
    device = torch.device(asked.device)
    where = torch.cuda.get_device_name() if device.type == "cuda" else f"{torch.get_num_threads()} threads"
    print(f"SimCLR, batch {BATCH}, views of {asked.modality!r} at jitter 0.3, {where}, torch {torch.__version__}")
    print("| backbone | px | views/s | bare views/s | efficiency |\n|---|---|---|---|---|")
    for backbone, size in CASES:
        full = steps(backbone, size, asked.modality, device, bare=False)
        bare = steps(backbone, size, asked.modality, device, bare=True)
        pairs = [(timed(full), timed(bare)) for _ in range(asked.rounds)]
        views = 2 * BATCH * STEPS
        speeds = [views / median(times) for times in zip(*pairs, strict=True)]
        print(
            f"| {backbone} | {size} | {speeds[0]:,.0f} | {speeds[1]:,.0f} | {speeds[0] / speeds[1]:.2f} |", flush=True
        )


if __name__ == "__main__":
    main()
