"""Fine-tune an exported encoder with timm and torch alone.

    python fine_tune_with_timm.py ENCODER IMAGES

ENCODER is a folder that `autossl export` wrote, IMAGES a folder with a folder of images for each class.
"""

import sys

import timm
import torch
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder


def main(encoder: str, images: str, epochs: int = 10, batch: int = 32) -> float:
    """Train all layers and a new head; returns the mean loss of the last epoch."""
    torch.manual_seed(0)
    plain = timm.create_model(f"local-dir:{encoder}", pretrained=True, num_classes=0)
    transform = timm.data.create_transform(**timm.data.resolve_model_data_config(plain), is_training=False)
    grey = plain.pretrained_cfg["input_size"][0] == 1
    data = ImageFolder(images, lambda image: transform(image.convert("L" if grey else "RGB")))
    model = timm.create_model(f"local-dir:{encoder}", pretrained=True, num_classes=len(data.classes))
    optimiser = torch.optim.AdamW(model.parameters(), lr=3e-4)
    loss = torch.tensor(0.0)
    for epoch in range(epochs):
        losses = []
        for x, y in DataLoader(data, batch, shuffle=True):
            loss = torch.nn.functional.cross_entropy(model(x), y)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            losses.append(loss.item())
        print(f"epoch {epoch + 1}: loss {sum(losses) / len(losses):.3f}")
    return sum(losses) / len(losses)


if __name__ == "__main__":
    main(*sys.argv[1:3])
