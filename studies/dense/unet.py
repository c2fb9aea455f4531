"""A plain U-Net of MONAI, trained for some seconds on what a study had for training: a control for its segmentation.

    python -m studies.dense.unet RUN --seconds 600 --seed 0

RUN is a finished study of `--task segmentation`. The network sees the same images at the same size, with the masks
that lie outside the test part, and is tested on the same test part: flips, Adam at 1e-3 with the rate falling to zero,
Dice and cross-entropy, as in MONAI's tutorials. Prints pooled Dice and Dice per image.
"""

import argparse
import json
import math
import time
from pathlib import Path

import numpy as np
import torch
from monai.losses.dice import DiceCELoss
from monai.networks.nets.unet import UNet

from autossl.data import PROBE, SELECTION, TEST
from autossl.record.folder import Folder
from autossl.trials.context import Context, open_context

BATCH = {2: 16, 3: 4}
CHANNELS = (16, 32, 64, 128)


def trained(context: Context, seconds: float, seed: int) -> tuple[UNet, int]:
    """The network after so many seconds, and how many images it has seen."""
    torch.manual_seed(seed)
    data, dims = context.data, context.data.dims
    rows = context.rows(PROBE, SELECTION, labelled=True)
    pool, truth = context.pool(rows), torch.from_numpy(context.truth(rows).array).long()
    kinds = len(data.truth.about["structures"]) + 1
    network = UNet(dims, data.images.shape[-1], kinds, CHANNELS, (2,) * (len(CHANNELS) - 1), num_res_units=2)
    optimizer = torch.optim.Adam(network.parameters(), 1e-3)
    loss = DiceCELoss(include_background=False, softmax=True, reduction="none")
    random, began, seen = np.random.default_rng(seed), time.perf_counter(), 0
    while (gone := (time.perf_counter() - began) / seconds) < 1:
        for group in optimizer.param_groups:
            group["lr"] = 1e-3 * 0.5 * (1 + math.cos(math.pi * gone))
        at = random.integers(0, len(rows), BATCH[dims])
        images, masks = context.plain.standardise(pool.images_at(at)), truth[at]
        axes = [axis for axis in range(1, dims + 1) if random.random() < 0.5]
        images, masks = images.flip([axis + 1 for axis in axes]), masks.flip(axes)
        judged = masks != 255
        shares = torch.nn.functional.one_hot(masks.clamp(max=kinds - 1), kinds).movedim(-1, 1).float()
        optimizer.zero_grad()
        raw = network(images) * judged[:, None] + shares * 20 * ~judged[:, None]  # outside it is right
        loss(raw, shares).mean().backward()
        optimizer.step()
        seen += len(at)
    return network.eval(), seen


@torch.inference_mode()
def tested(context: Context, network: UNet) -> dict[str, float]:
    """Its metrics on the test part."""
    rows = context.rows(TEST, labelled=True)
    pool = context.pool(rows)
    parts = np.array_split(np.arange(len(rows)), max(1, len(rows) // 16))
    raw = np.concatenate([network(context.plain.standardise(pool.images_at(at))).numpy() for at in parts])
    outcomes = context.judged.judge(raw, context.truth(rows))
    return {metric: round(outcomes.value(metric), 4) for metric in context.judged.reported}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    context = open_context(Folder(asked.run))
    network, seen = trained(context, asked.seconds, asked.seed)
    print(json.dumps({"seconds": asked.seconds, "seed": asked.seed, "images": seen, **tested(context, network)}))


if __name__ == "__main__":
    main()
