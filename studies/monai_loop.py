"""SimCLR on volumes as MONAI users write it: its random transforms, a CacheDataset, a DataLoader with two workers."""

import time
from typing import Any

import numpy as np
import torch
from lightly.loss import NTXentLoss
from lightly.models.modules import SimCLRProjectionHead
from monai.data.dataset import CacheDataset
from monai.transforms import transform
from monai.transforms.compose import Compose
from monai.transforms.croppad.array import RandSpatialCrop
from monai.transforms.intensity.array import RandAdjustContrast, RandGaussianNoise, RandScaleIntensity
from monai.transforms.spatial.array import RandAffine, RandFlip, Resize
from numpy.typing import NDArray
from torch import nn
from torch.utils.data import DataLoader

from autossl.nn.encoder import Encoder, channels_last

WORKERS = 2
WARM = 6  # steps before: workers start, convolutions are planned, what was fetched ahead is used up


class Channels(transform.Transform):
    """(d, h, w, c) of whole numbers -> (c, d, h, w) in [0, 1]; deterministic, so that CacheDataset keeps it."""

    def __call__(self, data: NDArray[np.uint8]) -> torch.Tensor:
        return (torch.from_numpy(np.array(data)).float() / 255).movedim(-1, 0).contiguous()


class Two(transform.Transform):
    """Two random views of one volume, made by transforms of their own: crop, turn, flips, contrast and noise."""

    def __init__(self, size: int) -> None:
        self.views = [self._view(size) for _ in range(2)]

    @staticmethod
    def _view(size: int) -> Compose:
        side = max(1, round(size * 0.3 ** (1 / 3)))
        return Compose(
            [
                RandSpatialCrop((side,) * 3, max_roi_size=(size,) * 3, random_size=True),
                Resize((size,) * 3, mode="trilinear"),
                RandAffine(prob=1.0, rotate_range=(0.17,) * 3, padding_mode="border"),
                *(RandFlip(prob=0.5, spatial_axis=axis) for axis in range(3)),
                RandAdjustContrast(prob=1.0, gamma=(0.7, 1.5)),
                RandScaleIntensity(factors=0.3, prob=1.0),
                RandGaussianNoise(prob=1.0, std=0.03),
            ]
        )

    def __call__(self, data: torch.Tensor) -> list[torch.Tensor]:
        return [torch.as_tensor(view(data)) for view in self.views]


def seconds_per_step(
    encoder: Encoder, volumes: NDArray[np.uint8], batch: int, steps: int, device: torch.device
) -> float:
    """Mean seconds of a training step, over `steps` of them after the loop has come into its stride."""
    cached = CacheDataset(list(volumes), Compose([Channels(), Two(encoder.image_size)]), progress=False)
    loader: Any = DataLoader(cached, batch, shuffle=True, num_workers=WORKERS, drop_last=True, persistent_workers=True)
    model = nn.Sequential(encoder, SimCLRProjectionHead(encoder.dim, 512, 128)).to(device)
    channels_last(model, encoder.dims)
    criterion, optimizer = NTXentLoss(0.5), torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)
    started, number = 0.0, 0
    while number < WARM + steps:
        for views in loader:
            if number == WARM:
                started = time.perf_counter()
            loss = criterion(*(model(view.to(device)) for view in views))
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            loss.item()
            number += 1
            if number == WARM + steps:
                break
    return (time.perf_counter() - started) / steps
