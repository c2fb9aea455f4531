"""What is wrong with boxes: which of them are none in their image, and how much of that is too much."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from autossl.data.truth.base import Bools, Frame
from autossl.data.truth.objects import Floats, Objects
from autossl.errors import UserError
from autossl.errors.printable import plural

LISTED = 20  # places of samples whose boxes are set aside
FEW = 0.05  # of all boxes that may be none; two always
BEYOND = 1.0  # pixels by which a box may leave its image without a word
LEAST_INSIDE = 0.5  # of a box that is inside its image


class Sound(NamedTuple):
    """The boxes of an image that can be used, cut at its border, and which they are; why others cannot; how many were
    cut by more than a pixel.
    """

    boxes: Floats
    kept: NDArray[np.bool_]
    why: str
    cut: int


def sound(boxes: Floats, sides: tuple[int, ...]) -> Sound:
    """Which boxes (k, 4) of an image of these sides (h, w) are boxes in it."""
    whole = np.all(np.isfinite(boxes), axis=1)
    upright = whole & np.all(boxes[:, 2:] >= boxes[:, :2], axis=1)
    most = np.array([sides[1], sides[0]] * 2, np.float64)
    inside = np.clip(np.where(whole[:, None], boxes, 0), 0, most)
    size, left = (np.prod(np.maximum(0, each[:, 2:] - each[:, :2]), axis=1) for each in (boxes, inside))
    area = upright & (size > 0)
    there = area & (left >= LEAST_INSIDE * np.where(area, size, 1))
    reasons = {
        "holds no numbers": ~whole,
        "is upside down": whole & ~upright,
        "has no area": upright & ~area,
        "lies outside": area & ~there,
    }
    why = next((f"a box {words}: {_told(boxes[bad][0])}" for words, bad in reasons.items() if bad.any()), "")
    cut = int(np.any(np.abs(inside - boxes)[there] > BEYOND, axis=1).sum())
    return Sound(inside[there], there, why, cut)


def _told(box: Floats) -> str:
    return ", ".join(f"{value:g}" for value in box)


class Flaws:
    """What is wrong with boxes, image by image, and whether that is too much."""

    def __init__(self, frame: Frame) -> None:
        self.frame, self.boxes, self.bad, self.cut = frame, 0, 0, 0
        self.images, self.strange = dict[int, str](), dict[int, str]()

    def looked_at(self, row: int, objects: Objects) -> tuple[Floats, Bools] | None:
        """Boxes of an image in its pixels, and which of those given they are; None where they are of another size."""
        sides = tuple(self.frame.sides[row].tolist())
        if 0 in sides:
            return None
        if objects.sides is not None and objects.sides != sides:
            size, wanted = (f"{wide} x {high}" for high, wide in (sides, objects.sides))
            self.strange[row] = f"boxes on {wanted}, the image is {size}"
            return None
        given = objects.boxes * np.array([sides[1], sides[0]] * 2) if objects.shares else objects.boxes
        found = sound(given, sides)
        self.boxes, self.cut = self.boxes + len(given), self.cut + found.cut
        if found.why:
            self.bad += int((~found.kept).sum())
            self.images[row] = found.why
        return found.boxes, found.kept

    def notes(self) -> tuple[str, ...]:
        """What is said of them; UserError where too many are bad."""
        place = self.frame.place
        if len(self.strange) > self.frame.failures:
            row, why = next(iter(self.strange.items()))
            raise UserError(
                f"boxes on images of the size they were drawn on were wanted, found {len(self.strange)} images of "
                f"another size in {place}, the first {self.frame.naming(row)} ({why}); scale the boxes"
            )
        if self.bad > max(2, self.boxes * FEW):
            row, why = next(iter(self.images.items()))
            raise UserError(
                f"boxes with an area, inside their images, as x0, y0, x1, y1 were wanted, found {self.bad} of "
                f"{self.boxes} that are not in {place}, the first in {self.frame.naming(row)} ({why}); mend them"
            )
        said = []
        if self.bad:
            verb = "box is none and is" if self.bad == 1 else "boxes are none and are"
            said.append(
                f"{self.bad} {verb} set aside (no area, or outside; images in order, from 0: {_listed(self.images)})"
            )
        if self.strange:
            images = plural(len(self.strange), "image")
            said.append(f"boxes of {images} of another size are set aside ({_listed(self.strange)})")
        if self.cut:
            said.append(f"{self.cut} boxes reached beyond their images and were cut at the border")
        return tuple(said)


def _listed(rows: Mapping[int, str]) -> str:
    return ", ".join(map(str, list(rows)[:LISTED])) + (", ..." if len(rows) > LISTED else "")
