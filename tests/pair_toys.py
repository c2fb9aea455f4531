"""Images of discs with noise, and the same without it, for tests of reconstruction."""

import numpy as np
from numpy.typing import NDArray

from tests.mask_toys import discs

NOISE = 40  # standard deviation in grey levels


def noisy(n: int, seed: int = 0, dims: int = 2, size: int = 32) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Images (n, *space) and their targets: large discs are bright, small ones dark."""
    _, masks = discs(n, seed, dims, size)
    targets = np.array([90, 180, 30], np.uint8)[masks]
    noise = np.random.default_rng([seed, 1]).normal(0, NOISE, targets.shape)
    return np.clip(targets + noise, 0, 255).astype(np.uint8), targets
