"""Times the views of every modality against a SimCLR training step of resnet10t on tensors already in memory.

    OMP_NUM_THREADS=1 python studies/bench_views.py      # 28 and 64 px, at jitter 0.3

What is printed is the share of a step that the views of the same images add to it. The fastest of a few repeats
counts, in CPU time where there is no accelerator: what else runs on the machine only slows.
"""

import argparse
import time
from collections.abc import Callable

import torch

from autossl.nn.encoder import Encoder, fit_to_size
from autossl.pretext.simclr import nt_xent
from autossl.views.images import Views
from autossl.views.presets import Preset, modalities, preset

BATCH = 128
SIZES = (28, 64)


def fastest(work: Callable[[], object], device: torch.device, repeats: int) -> float:
    clock = time.perf_counter if device.type == "cuda" else time.process_time
    times = []
    for _ in range(repeats + 1):  # the first warms up
        started = clock()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize()
        times.append(clock() - started)
    return min(times[1:])


def step(size: int, channels: int, device: torch.device) -> Callable[[], None]:
    """A training step on two views of each image that are there already."""
    model_args, upsample = fit_to_size("resnet10t", channels, size)
    encoder = Encoder("resnet10t", channels, size, model_args=model_args, upsample=upsample)
    encoder = encoder.to(device).to(memory_format=torch.channels_last).train()
    optimizer = torch.optim.AdamW(encoder.parameters(), fused=True)
    shown = torch.randn(2 * BATCH, channels, size, size, device=device).contiguous(memory_format=torch.channels_last)

    def once() -> None:
        optimizer.zero_grad()
        nt_xent(encoder(shown), 0.5).backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    return once


def share(allowed: Preset, size: int, channels: int, device: torch.device, whole: float, repeats: int) -> float:
    """The time of two views of each image, as a share of a step."""
    views = Views(allowed, (0.5,) * channels, (0.3,) * channels)
    images = torch.rand(BATCH, size, size, channels, device=device).permute(0, 3, 1, 2)
    generator = torch.Generator(device=device).manual_seed(0)
    return fastest(lambda: views(images, generator, copies=2), device, repeats) / whole


def main() -> None:
    parser = argparse.ArgumentParser(description="cost of the views of each modality")
    parser.add_argument("--repeats", type=int, default=6)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    asked = parser.parse_args()
    device = torch.device(asked.device)
    where = torch.cuda.get_device_name() if device.type == "cuda" else f"{torch.get_num_threads()} threads"
    print(f"resnet10t, batch {BATCH}, {where}, torch {torch.__version__}: share of a training step, by pixels a side")
    print(f"| modality | {' | '.join(map(str, SIZES))} |\n|---|{'---|' * len(SIZES)}")
    steps = {(n, c): fastest(step(n, c, device), device, asked.repeats // 2) for n in SIZES for c in (1, 3)}
    for name, found in modalities().items():
        channels = 1 if "colour" in found.lacks else 3
        allowed = preset(name, channels)
        shares = [share(allowed, n, channels, device, steps[n, channels], asked.repeats) for n in SIZES]
        print(f"| {name} | {' | '.join(f'{part:.1%}' for part in shares)} |", flush=True)


if __name__ == "__main__":
    main()
