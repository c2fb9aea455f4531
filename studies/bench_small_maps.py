"""Times a step forward and back with convolutions on small maps as matrix products, and as torch has them.

    python -m studies.bench_small_maps

Run from the top of a checkout. Both are timed in turn; the table gives milliseconds of torch's over ours.
"""

import time
from statistics import median

import torch

from autossl.nn import small_maps
from autossl.nn.encoder import LAYOUTS, Encoder, channels_last, dims_of, fit_to_size
from studies.rows import markdown

CASES = (
    ("resnet10t", 28, 128),
    ("resnet18", 28, 128),
    ("resnet10t", 64, 64),
    ("resnet18", 64, 64),
    ("resnet50", 64, 32),
    ("resnet10_half_3d", 28, 32),
)
TURNS, STEPS = 3, 4


def seconds(encoder: Encoder, images: torch.Tensor) -> float:
    """Of one step forward and back."""
    started = time.perf_counter()
    for _ in range(STEPS):
        encoder.zero_grad()
        encoder(images).square().sum().backward()
    return (time.perf_counter() - started) / STEPS


def ratio(backbone: str, side: int, batch: int, low_precision: bool) -> str:
    """Milliseconds of torch's path and of ours, and their ratio."""
    model_args, upsample = fit_to_size(backbone, 1, side)
    encoder = Encoder(backbone, 1, side, model_args=model_args, upsample=upsample)
    channels_last(encoder, encoder.dims)
    encoder.low_precision = low_precision
    images = torch.randn(batch, 1, *encoder.size).contiguous(memory_format=LAYOUTS[encoder.dims])
    found: dict[int, list[float]] = {0: [], small_maps.BLOCKS: []}
    for turn in range(TURNS + 1):  # the first one warms up
        for blocks, times in found.items():
            small_maps.BLOCKS = blocks
            taken = seconds(encoder, images)
            times.extend([taken] if turn else [])
    theirs, ours = (1e3 * median(times) for times in found.values())
    return f"{theirs:.0f} / {ours:.0f} = {theirs / ours:.2f}"


def main() -> None:
    lines = []
    for backbone, side, batch in CASES:
        bf16 = ratio(backbone, side, batch, True) if dims_of(backbone) == 2 else "-"
        lines.append((backbone, side, batch, ratio(backbone, side, batch, False), bf16))
    print(markdown(["backbone", "px", "batch", "fp32", "bf16"], lines))


if __name__ == "__main__":
    main()
