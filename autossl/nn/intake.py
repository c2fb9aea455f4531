"""What every image passes before it reaches a backbone: another normalisation, a larger size, a faster layout."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Rescaling = tuple[tuple[float, ...], tuple[float, ...]]  # factors and summands, one per channel
LINEAR = {2: "bilinear", 3: "trilinear"}  # what torch calls linear interpolation in so many dimensions


class Intake(nn.Module):
    """What every image passes before it reaches a backbone: rescaled, enlarged, laid out as it is fastest."""

    factors: Tensor
    summands: Tensor

    def __init__(self, dims: int, factor: int) -> None:
        super().__init__()
        self.dims, self.mode, self.factor = dims, LINEAR[dims], factor
        self.rescale(None, torch.device("cpu"))

    def rescale(self, by: Rescaling | None, device: torch.device) -> None:
        """Multiply channels and add to them, in this order; None: neither."""
        self.changes = by is not None
        for name, values in zip(("factors", "summands"), by or ((1.0,), (0.0,)), strict=True):
            shaped = torch.tensor(values, dtype=torch.float32, device=device).view(-1, *[1] * self.dims)
            self.register_buffer(name, shaped, persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        if self.changes:
            images = images * self.factors + self.summands
        if self.factor > 1:
            images = F.interpolate(images, scale_factor=float(self.factor), mode=self.mode, align_corners=False)
        return _channels_behind(images)


def _channels_behind(images: Tensor) -> Tensor:
    """Dense images of one channel with the strides of channels last; others as they are.

    To torch such images are in either layout, but oneDNN goes by the stride of the channel, and takes a fifth longer
    for a step of a network for volumes of 64^3 on what looks like channels first (docs/decisions.md).
    """
    if images.shape[1] > 1 or not images.is_contiguous():
        return images
    return images.as_strided(images.shape, [1 if axis == 1 else step for axis, step in enumerate(images.stride())])
