"""SimCLR as lightly's examples have it: transforms of PIL images in the workers of a DataLoader, its head and loss."""

import time
from collections.abc import Generator
from typing import cast

import numpy as np
import timm
import torch
from lightly.loss import NTXentLoss
from lightly.models.modules import SimCLRProjectionHead
from lightly.transforms.simclr_transform import SimCLRTransform
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from autossl.nn.encoder import Encoder

WORKERS = 2
WARM = 6  # steps before: workers start, convolutions are planned, what was fetched ahead is used up


class Images(Dataset[list[Tensor]]):
    """Two views of each image of a store."""

    def __init__(self, images: NDArray[np.uint8], px: int) -> None:
        self.images, self.transform = images, SimCLRTransform(input_size=px)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, row: int) -> list[Tensor]:
        return cast(list[Tensor], self.transform(Image.fromarray(self.images[row])))


def batches(images: NDArray[np.uint8], px: int, batch: int) -> Generator[list[Tensor], None, None]:
    """Endless shuffled batches of two views."""
    loader = DataLoader(
        Images(images, px), batch, shuffle=True, num_workers=WORKERS, drop_last=True, persistent_workers=True
    )
    while True:
        yield from loader


def seconds_per_step(
    encoder: Encoder, images: NDArray[np.uint8], batch: int, steps: int, device: torch.device
) -> float:
    """Mean seconds of a training step, over `steps` of them after the loop has come into its stride."""
    head = SimCLRProjectionHead(encoder.dim, 512, 128)
    plain = timm.create_model(encoder.name, num_classes=0, in_chans=encoder.channels, **encoder.model_args)
    model = nn.Sequential(plain, head).to(device).to(memory_format=torch.channels_last)
    criterion = NTXentLoss(0.5)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)
    started = 0.0
    source = batches(images, encoder.image_size, batch)
    for number in range(WARM + steps):
        if number == WARM:
            started = time.perf_counter()
        views = [view.to(device, memory_format=torch.channels_last) for view in next(source)]
        loss = criterion(model(views[0]), model(views[1]))
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        loss.item()
    found = (time.perf_counter() - started) / steps
    source.close()
    return found
