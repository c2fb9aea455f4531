"""What a model says of images that it sees in windows: overlapping ones, at their own resolution, put together."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from autossl.data import Source
from autossl.data.fresh import read_as
from autossl.model.card import Preprocessing

Answer = Callable[[Tensor], NDArray[Any]]  # to standardised windows (b, c, *space): (b, k, *space)
Slid = Callable[[Source, int], NDArray[np.float32]]  # to an image of a source: (k, *space) of its own size

AT_ONCE = 16  # windows
OVERLAP = 0.5  # of neighbouring windows, whose middle counts most


def white_of(p: Preprocessing, source: Source, row: int) -> float:
    """The value of an image that means 1."""
    return float(source.white[row] or p.scale)


def slid(answer: Answer, p: Preprocessing, source: Source, row: int) -> NDArray[np.float32]:
    """The answer to an image of a source, (k, *space) of the image's own size: means over its windows."""
    from monai.inferers.utils import sliding_window_inference  # slow to import: only where it is needed

    image = read_as(source, row, len(p.mean)) / white_of(p, source, row)
    x = torch.from_numpy(((image - np.array(p.mean)) / np.array(p.std)).astype(np.float32)).movedim(-1, 0)[None]
    roi = [p.image_size] * (image.ndim - 1)
    with torch.inference_mode():
        found = sliding_window_inference(
            x, roi, AT_ONCE, lambda part: torch.from_numpy(answer(part).astype(np.float32)), overlap=OVERLAP,
            mode="gaussian", padding_mode="replicate",
        )  # fmt: skip
    assert isinstance(found, Tensor)
    return np.asarray(found[0].cpu().numpy())
