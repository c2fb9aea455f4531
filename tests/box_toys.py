"""Images of discs and squares on noise, with the boxes around them."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

HIGH, WIDE = 30, 40
COLOURS = {"disc": (220, 90, 60), "square": (60, 90, 220)}


class Drawn(NamedTuple):
    """An image (h, w, 3), boxes (k, 4) and their classes."""

    image: NDArray[np.uint8]
    boxes: NDArray[np.float64]
    kinds: tuple[str, ...]


def scenes(
    n: int, seed: int = 0, *, high: int = HIGH, wide: int = WIDE, most: int = 4, apart: bool = False
) -> list[Drawn]:
    """n images with up to so many objects; every eighth has none, and objects do not touch where they lie `apart`."""
    return [_scene(np.random.default_rng([seed, row]), high, wide, most * (row % 8 != 5), apart) for row in range(n)]


def _scene(random: np.random.Generator, high: int, wide: int, most: int, apart: bool) -> Drawn:
    image = random.normal(128, 12, (high, wide, 3))
    boxes: list[list[int]] = []
    kinds: list[str] = []
    for _ in range(int(random.integers(1, most + 1)) if most else 0):
        side = int(random.integers(6, 12))
        x, y = int(random.integers(0, wide - side)), int(random.integers(0, high - side))
        box = [x, y, x + side, y + side]
        if any(_near(box, other, 1 if apart else -2) for other in boxes):
            continue
        kind = ("disc", "square")[int(random.integers(0, 2))]
        rows, columns = np.mgrid[:side, :side] - (side - 1) / 2
        inside = np.hypot(rows, columns) <= side / 2 if kind == "disc" else np.ones((side, side), bool)
        image[y : y + side, x : x + side][inside] = np.array(COLOURS[kind]) + random.normal(0, 8, 3)
        boxes.append(box)
        kinds.append(kind)
    pixels = np.clip(image, 0, 255).astype(np.uint8)
    return Drawn(pixels, np.array(boxes, np.float64).reshape(-1, 4), tuple(kinds))


def _near(a: list[int], b: list[int], gap: int) -> bool:
    return a[0] - gap < b[2] and b[0] - gap < a[2] and a[1] - gap < b[3] and b[1] - gap < a[3]
