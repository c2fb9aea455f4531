"""What a pretext method is given: images, and what is known of them."""

from dataclasses import dataclass
from typing import Any

from torch import Tensor


@dataclass(frozen=True)
class Batch:
    """Images and the columns beside them; None is what nobody knows, and `Batch(images)` knows nothing else."""

    images: Tensor  # (b, c, *space), floats in [0, 1]
    groups: Tensor | None = None  # (b,) patient numbers
    positions: Tensor | None = None  # (b,) in the patient's stack of slices, 0 to 1, NaN where unknown
    truth: Any = None  # labels, in whatever form its readout takes them; only the supervised baseline is given any
    places: Tensor | None = None  # (b,) numbers of the images in their pool, which they keep where it grows
    pool: int | None = None  # how many images it holds
