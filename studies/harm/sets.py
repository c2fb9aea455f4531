"""The sets of the study of views and labels: public ones, the sample, and public images under a nuisance of our own.

Two targets of one set share its images, so that the same encoders are judged by both: what one target needs, the other
does not. `tinted` are blood cells in light of a colour of their own, drawn image by image: the kind of a cell has
nothing to do with it, `tint` is nothing else. `mirrored` are chest films half of which are mirrored: pneumonia is where
it was, `side` says which. `lit` are the same films as dark as a lot says: pneumonia is there as before, `light` is
nothing else.
"""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

HERE = Path(__file__).parent
Options = dict[str, Any]
CLASSES: Options = {"task": "classification"}
PARTS = ("train", "val", "test")
TINTS, STRENGTH = 4, 0.5  # colours of light, and how far its logarithm goes
LIGHTS, DARKEST = 3, 0.4  # ranges of brightness, and the share of light in the darkest film


class Set(NamedTuple):
    """Where the images are, what a search is told of them, and each target with what is told for it alone."""

    data: str
    options: Options
    targets: dict[str, Options]


SETS = {
    "mirrored": Set("pneumoniamnist/pneumoniamnist.npz", {"modality": "grey"}, {"class": CLASSES, "side": CLASSES}),
    "lit": Set("pneumoniamnist/pneumoniamnist.npz", {"modality": "grey"}, {"class": CLASSES, "light": CLASSES}),
    "tinted": Set("pbc_blood_28/pbc_blood_28.npz", {"modality": "microscopy"}, {"class": CLASSES, "tint": CLASSES}),
    "cells": Set(
        "sample:cells",
        {"image_size": 32},
        {
            "kind": CLASSES,
            "area": {"task": "regression", "label_column": "nuclear_area"},
            "stain": {"task": "regression", "label_column": "stain_age"},
            "maturity": {"task": "ordinal"},
        },
    ),
    "pbc": Set("pbc_blood_28/pbc_blood_28.npz", {"modality": "microscopy"}, {"class": CLASSES}),
    "pneumonia": Set("pneumoniamnist/pneumoniamnist.npz", {"modality": "xray"}, {"class": CLASSES}),
}


def place(name: str, target: str, data: Path, work: Path) -> str:
    """Where the images of a set are with the labels of a target; those that are made are written first."""
    found = SETS[name].data
    if found.startswith("sample:"):
        return found
    if name not in MADE:
        return str(data / found)
    file = work / f"{name}-{target}.npz"
    if not file.is_file():
        np.savez(file, allow_pickle=False, **_made(data / found, name, target))
    return str(file)


def _made(source: Path, name: str, target: str) -> dict[str, NDArray[Any]]:
    """The arrays of a set whose images have been changed, with the labels of this target."""
    arrays, random = dict(np.load(source)), np.random.default_rng(0)
    for part in PARTS:
        images, drawn = MADE[name](arrays[f"{part}_images"], random)
        arrays[f"{part}_images"] = images
        if target != "class":
            arrays[f"{part}_labels"] = drawn[:, None]
    return arrays


def tinted(images: NDArray[np.uint8], random: np.random.Generator) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Images (n, h, w, 3) in light of a colour each, and which quarter of the colour circle that is from (n,)."""
    angle = random.random(len(images)) * 2 * np.pi
    light = np.exp(STRENGTH * np.cos(angle[:, None] + np.arange(3) * 2 * np.pi / 3) - STRENGTH)
    seen = (images * light[:, None, None]).round().astype(np.uint8)
    return seen, (angle / (2 * np.pi) * TINTS).astype(np.int64)


def mirrored(images: NDArray[np.uint8], random: np.random.Generator) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Images (n, h, w), half of them mirrored by lot, and which (n,)."""
    side = random.integers(2, size=len(images))
    return np.where(side[:, None, None] == 1, images[:, :, ::-1], images), side


def lit(images: NDArray[np.uint8], random: np.random.Generator) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Images (n, h, w), each with a share of its light, and in which third of all shares that lies (n,)."""
    drawn = random.random(len(images))
    seen = (images * (DARKEST + (1 - DARKEST) * drawn)[:, None, None]).round().astype(np.uint8)
    return seen, (drawn * LIGHTS).astype(np.int64)


MADE = {"tinted": tinted, "mirrored": mirrored, "lit": lit}
