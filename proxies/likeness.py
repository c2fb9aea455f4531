"""How alike two images are to the eye: structural similarity."""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.ndimage import correlate1d

Array = NDArray[np.float64]

TAPS, WIDTH = 11, 1.5  # of the Gaussian window, fewer taps where a side is shorter
STABLE = (0.01**2, 0.03**2)  # of means and of variances, in units of white squared


def ssim(target: ArrayLike, restored: ArrayLike) -> float:
    """Structural similarity of two images (c, *space) in which white is 1, the mean over channels and places.

    In [-1, 1], 1 where they are equal; windows that reach beyond the border are left out (Wang et al. 2004). ValueError
    for images of other shapes.
    """
    first, second = (np.asarray(image, np.float64) for image in (target, restored))
    if first.shape != second.shape or first.ndim < 2:
        raise ValueError(f"two images (c, *space) of one shape were wanted, found {first.shape} and {second.shape}.")
    a, b, aa, bb, ab = (_smooth(field) for field in (first, second, first**2, second**2, first * second))
    means = (2 * a * b + STABLE[0]) / (a**2 + b**2 + STABLE[0])
    spreads = (2 * (ab - a * b) + STABLE[1]) / (aa - a**2 + bb - b**2 + STABLE[1])
    return float(np.mean(means * spreads))


def _smooth(field: Array) -> Array:
    """Means under the window, where it lies inside."""
    for axis in range(1, field.ndim):
        side = field.shape[axis]
        taps = min(TAPS, side - 1 + side % 2)
        weights = np.exp(-((np.arange(taps) - taps // 2) ** 2) / (2 * WIDTH**2))
        field = correlate1d(field, weights / weights.sum(), axis=axis)
        field = field[(slice(None),) * axis + (slice(taps // 2, side - taps // 2),)]
    return field
