"""Objects of an image as COCO outlines them, polygons or runs of pixels, drawn into a mask when it is asked for."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Bools = NDArray[np.bool_]

DIGIT, MORE, SIGN = 31, 32, 16  # bits of a character of compressed runs
ZERO = 48  # that stands for 0


@dataclass(frozen=True)
class Outlines:
    """What an image of these sides (height, width) shows: pairs of a structure's number and its `segmentation`.

    As an array it is the mask (h, w), small objects over large ones; ValueError where an outline is none.
    """

    sides: tuple[int, int]
    shapes: Sequence[tuple[int, Any]]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        drawn = [(number, drawn_of(shape, self.sides)) for number, shape in self.shapes]
        found = np.zeros(self.sides, dtype=np.int64)
        for number, inside in sorted(drawn, key=lambda each: -int(each[1].sum())):
            found[inside] = number
        return found if dtype is None else found.astype(dtype)

    @property
    def stamp(self) -> NDArray[np.uint8]:
        """What tells that it is still the same."""
        text = json.dumps([self.sides, *self.shapes]).encode()
        return np.frombuffer(hashlib.blake2b(text, digest_size=16).digest(), dtype=np.uint8)


def drawn_of(shape: Any, sides: tuple[int, int]) -> Bools:
    """An object (h, w): polygons, each [x, y, x, y ...] in pixels from the upper left corner, or runs of pixels."""
    if isinstance(shape, Mapping):
        return _of_runs(shape, sides)
    if not isinstance(shape, list) or not shape:
        raise ValueError("an object has no outline")
    found = np.zeros(sides, dtype=bool)
    for polygon in shape:
        found |= filled(_corners(polygon), sides)
    return found


def _corners(polygon: Any) -> NDArray[np.float64]:
    if not isinstance(polygon, list) or len(polygon) < 6 or len(polygon) % 2:
        raise ValueError("a polygon is not three or more pairs of numbers")
    if not all(isinstance(value, int | float) and np.isfinite(value) for value in polygon):
        raise ValueError("a polygon holds what is no number")
    return np.array(polygon, dtype=np.float64).reshape(-1, 2)


def filled(corners: NDArray[np.float64], sides: tuple[int, int]) -> Bools:
    """The pixels (h, w) whose middle lies inside a polygon (k, 2) of x and y; where it crosses itself, by parity."""
    high, wide = sides
    turns = np.zeros((high, wide + 1), dtype=np.int64)
    for (x0, y0), (x1, y1) in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        low, top = sorted((y0, y1))
        rows = np.arange(max(0, int(np.ceil(low - 0.5))), min(high, int(np.ceil(top - 0.5))))
        if len(rows):
            crossed = x0 + (rows + 0.5 - y0) * (x1 - x0) / (y1 - y0)
            turns[rows, np.clip(np.ceil(crossed - 0.5), 0, wide).astype(np.int64)] += 1
    return np.asarray(turns.cumsum(axis=1)[:, :wide] % 2 == 1)


def _of_runs(shape: Mapping[str, Any], sides: tuple[int, int]) -> Bools:
    """Pixels out of and in the object in turns, column by column."""
    counts = shape.get("counts")
    runs = unpacked(counts) if isinstance(counts, str) else counts
    if not isinstance(runs, list) or not all(isinstance(run, int) and run >= 0 for run in runs):
        raise ValueError("its runs of pixels are no numbers")
    size = shape.get("size")
    if size != list(sides) or sum(runs) != sides[0] * sides[1]:
        raise ValueError(f"runs of {sides[0]} x {sides[1]} pixels were wanted, found {sum(runs)} of {size}")
    inside = np.repeat(np.arange(len(runs)) % 2 == 1, runs)
    return np.asarray(inside.reshape(sides[::-1]).T)


def unpacked(text: str) -> list[int]:
    """Runs of COCO's compressed form: digits of five bits, the lowest first, from the fourth on less the last but one.

    ValueError where it ends within a number.
    """
    found, value, shift = list[int](), 0, 0
    for letter in text:
        bits = ord(letter) - ZERO
        value |= (bits & DIGIT) << shift
        shift += 5
        if bits & MORE:
            continue
        if bits & SIGN:
            value -= 1 << shift
        found.append(value + (found[-2] if len(found) > 2 else 0))
        value, shift = 0, 0
    if shift:
        raise ValueError("its compressed runs end within a number")
    return found
