"""Images with bright discs and masks of these, for tests of segmentation."""

import numpy as np
from numpy.typing import NDArray

SIZE = 32


def discs(n: int, seed: int = 0, dims: int = 2, size: int = SIZE) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Images (n, *space) with one to three discs each, and masks: 1 for large ones, 2 for small ones."""
    random = np.random.default_rng(seed)
    grid = np.meshgrid(*[np.arange(size)] * dims, indexing="ij")
    images = random.normal(90, 12, (n, *[size] * dims))
    masks = np.zeros(images.shape, np.uint8)
    for image, mask in zip(images, masks, strict=True):
        for _ in range(random.integers(1, 4)):
            centre, large = random.uniform(5, size - 5, dims), random.random() < 0.5
            far = np.sqrt(sum((axis - at) ** 2 for axis, at in zip(grid, centre, strict=True)))
            inside = far < (6 if large else 3)
            image[inside] = (180 if large else 20) + random.normal(0, 12, int(inside.sum()))
            mask[inside] = 1 if large else 2
    return np.clip(images, 0, 255).astype(np.uint8), masks
