"""Segment volumes with MONAI, from an exported encoder for volumes of the kind segresnet_3d.

    python segment_with_monai.py ENCODER VOLUMES.npz

VOLUMES.npz holds `images` (n, d, h, w) of the encoder's size, in its study's values, and `masks` of the same shape.
"""

import json
import sys
from pathlib import Path

import numpy as np
import torch
from monai.losses import DiceCELoss
from monai.networks.nets import SegResNetDS
from safetensors.torch import load_file


def main(encoder: str, volumes: str, steps: int = 200, batch: int = 2) -> float:
    """Train MONAI's SegResNet around the encoder; returns the last loss."""
    torch.manual_seed(0)
    config = json.loads((Path(encoder) / "config.json").read_text())
    own = config["autossl"]
    with np.load(volumes, allow_pickle=False) as stored:
        images = torch.from_numpy(stored["images"].astype(np.float32))[:, None] / own["scale"]
        masks = torch.from_numpy(stored["masks"].astype(np.int64))[:, None]
    images = (images - own["mean"][0]) / own["std"][0]
    network = SegResNetDS(out_channels=int(masks.max()) + 1, **config["monai_args"])
    network.encoder.load_state_dict(load_file(Path(encoder) / "model.safetensors"))
    criterion = DiceCELoss(to_onehot_y=True, softmax=True)
    optimiser = torch.optim.AdamW(network.parameters(), lr=1e-3)
    loss = torch.tensor(0.0)
    for step in range(steps):
        rows = torch.randperm(len(images))[:batch]
        loss = criterion(network(images[rows]), masks[rows])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        if step % 20 == 0:
            print(f"step {step}: loss {loss.item():.3f}")
    return loss.item()


if __name__ == "__main__":
    main(*sys.argv[1:3])
