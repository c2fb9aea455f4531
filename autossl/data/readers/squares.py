"""An image brought to a square of the wanted size."""

import math

import numpy as np
from PIL import Image

from autossl.data.dataset import Pixels


def fit(image: Pixels, size: int) -> Pixels:
    """(h, w, c) -> (size, size, c): the whole image, its aspect ratio kept, padded with the median of its border.

    An image that already has this size is untouched. Resampling is bicubic with antialiasing, never leaves the
    image's own range of values, and goes through 32-bit floats for 16-bit images.
    """
    height, width = image.shape[:2]
    if (height, width) == (size, size):
        return image
    factor = size / max(height, width)
    inner = max(1, math.floor(height * factor + 0.5)), max(1, math.floor(width * factor + 0.5))
    resized = image if inner == (height, width) else _resize(image, *inner)
    if inner == (size, size):
        return resized
    border = np.concatenate([image[0], image[-1], image[:, 0], image[:, -1]])
    square = np.empty((size, size, image.shape[2]), dtype=image.dtype)
    square[:] = np.median(border, axis=0).astype(image.dtype)
    top, left = (size - inner[0]) // 2, (size - inner[1]) // 2
    square[top : top + inner[0], left : left + inner[1]] = resized
    return square


def _resize(image: Pixels, height: int, width: int) -> Pixels:
    channels = []
    for channel in np.moveaxis(image, 2, 0):
        kind = np.uint8 if image.dtype == np.uint8 else np.float32
        plane = Image.fromarray(np.ascontiguousarray(channel, dtype=kind))
        resized = np.asarray(plane.resize((width, height), Image.Resampling.BICUBIC))
        channels.append(np.clip(np.rint(resized), channel.min(), channel.max()).astype(image.dtype))
    return np.stack(channels, axis=2)
