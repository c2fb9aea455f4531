"""Writes generated images of marks on a ground, whose shape, tone, direction and texture are drawn apart.

    python -m studies.table.marks FOLDER             # three channels: the tone is a colour
    python -m studies.table.marks FOLDER --grey      # one channel: it is a level

What tells a mark in one column is nuisance in the others, so that views which serve one target harm another on the
very same images.
"""

import argparse
import colorsys
import csv
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter

SIDE, IMAGES, TESTED = 28, 5000, 1500
SHAPES = ("disc", "square", "triangle", "cross")
COLOURS = (0.00, 0.09, 0.18, 0.27)  # of the circle: neighbours, told apart where light and ground vary
LEVELS = (-0.22, -0.10, 0.10, 0.22)  # of a grey mark beside its ground
DIRECTIONS = (0, 45, 90, 135)  # degrees, of stripes
PERIODS = (2.6, 3.6, 5.0)  # pixels
COLUMNS = ("shape", "tone", "direction", "texture")
NOISE = 0.07

Pixels = NDArray[np.float64]


def inside(shape: str, x: Pixels, y: Pixels) -> Pixels:
    """How far within a shape of radius 1 places are, from 0 to 1 at its soft edge."""
    if shape == "disc":
        depth = 1 - np.hypot(x, y)
    elif shape == "square":
        depth = 0.85 - np.maximum(np.abs(x), np.abs(y))
    elif shape == "triangle":
        depth = np.minimum(0.6 + y, 0.62 - y / 2 - 0.87 * np.abs(x))
    else:
        arm = np.minimum(np.abs(x), np.abs(y))
        depth = np.minimum(0.38 - arm, 1.05 - np.maximum(np.abs(x), np.abs(y)))
    return np.asarray(np.clip(6 * depth, 0, 1))


def mark(random: np.random.Generator, drawn: dict[str, int], grey: bool) -> Pixels:
    """One image (28, 28, 3), or (28, 28, 1), in [0, 1]."""
    down, right = np.mgrid[:SIDE, :SIDE] - (SIDE - 1) / 2
    x, y = right - random.uniform(-4, 4), down - random.uniform(-4, 4)
    radius, tilt = random.uniform(7, 10), np.deg2rad(random.uniform(-15, 15))
    turned_x, turned_y = (x * np.cos(tilt) - y * np.sin(tilt)) / radius, (x * np.sin(tilt) + y * np.cos(tilt)) / radius
    mask = inside(SHAPES[drawn["shape"]], turned_x, turned_y)
    angle = np.deg2rad(DIRECTIONS[drawn["direction"]] + random.uniform(-12, 12))
    period = PERIODS[drawn["texture"]] * random.lognormal(0, 0.06)
    along = x * np.cos(angle) + y * np.sin(angle)
    stripes = random.uniform(0.06, 0.14) * np.sin(2 * np.pi * along / period + random.uniform(0, 2 * np.pi))
    ground = 0.5 + 0.3 * gaussian_filter(random.normal(0, 3, (SIDE, SIDE)), random.uniform(2, 4))
    if grey:
        level = 0.5 + LEVELS[drawn["tone"]] + random.normal(0, 0.03)
        clean = (ground * (1 - mask) + (level + stripes) * mask)[..., None]
    else:
        hue = (COLOURS[drawn["tone"]] + random.normal(0, 0.022)) % 1
        ink = np.array(colorsys.hsv_to_rgb(hue, random.uniform(0.25, 0.6), random.uniform(0.5, 0.8)))
        tint = random.uniform(0.85, 1.15, 3)
        clean = (ground * (1 - mask))[..., None] * tint + (ink + stripes[..., None]) * mask[..., None]
    light = random.lognormal(0, 0.10)
    return np.asarray(np.clip(clean * light + random.normal(0, NOISE, clean.shape), 0, 1))


def write(folder: Path, grey: bool = False, images: int = IMAGES, tested: int = TESTED) -> Path:
    """Images and their manifest, which is returned."""
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng([28, grey])
    kinds = {"shape": len(SHAPES), "tone": len(COLOURS), "direction": len(DIRECTIONS), "texture": len(PERIODS)}
    manifest = folder / "marks.csv"
    with manifest.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["image", *COLUMNS, "split"])
        for number in range(images):
            drawn = {name: int(random.integers(count)) for name, count in kinds.items()}
            pixels = np.rint(255 * mark(random, drawn, grey)).astype(np.uint8)
            Image.fromarray(pixels[..., 0] if grey else pixels).save(folder / f"{number:05d}.png")
            labels = [f"{name} {value}" for name, value in drawn.items()]
            writer.writerow([f"{number:05d}.png", *labels, "test" if number < tested else "train"])
    return manifest


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--grey", action="store_true", help="one channel")
    asked = parser.parse_args()
    write(asked.folder, asked.grey)


if __name__ == "__main__":
    main()
