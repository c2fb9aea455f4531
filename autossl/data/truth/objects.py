"""Boxes as readers hand them over, one image at a time, and as an array of all."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import find_objects, label

from autossl.data.truth.spelling import look_alikes
from autossl.errors.printable import joined, shown

Floats = NDArray[np.float64]
Raw = Callable[[int], NDArray[Any]]  # as in `Cells`


class Objects(NamedTuple):
    """What is marked on one image: boxes (k, 4) as x0, y0, x1, y1 in its pixels, and the class of each.

    Where they are in `shares`, they are parts of its width and height. `sides`: height and width that it should have.
    """

    boxes: Floats
    kinds: tuple[str, ...]
    shares: bool = False
    sides: tuple[int, int] | None = None


MOST = 32  # different values of masks above which they number objects, all of one class
OBJECT = "object"
NOTHING = Objects(np.zeros((0, 4)), ())


def classes_of(given: Iterable[Objects]) -> tuple[tuple[str, ...], dict[str, str], tuple[str, ...]]:
    """Classes, the commonest by images first; each name's class; and notes.

    Names that differ in case, blanks or leading zeros only are one class, called as it is most often.
    """
    images, every = Counter[str](), Counter[str]()
    listed = list(given)
    for objects in listed:
        every.update(objects.kinds)
    called, notes = {name: name for name in every}, []
    for alike in look_alikes(sorted(every)):
        usual = max(alike, key=lambda name: every[name])
        called |= dict.fromkeys(alike, usual)
        notes.append(f"objects called {joined([shown(name) for name in alike])} count as one class, {shown(usual)}")
    for objects in listed:
        images.update({called[name] for name in objects.kinds})
    return tuple(sorted(images, key=lambda name: (-images[name], name))), called, tuple(notes)


def of_masks(names: Sequence[str], raw: Raw, titles: Mapping[str, str]) -> list[Objects | None]:
    """A box around each connected part of every value of the masks that have a name; None where one is damaged.

    Values that are called by `titles`, or are few, are classes; more number the objects of one class.
    """
    parts = [_parts(raw, row) if name else None for row, name in enumerate(names)]
    values = sorted({value for found in parts if found is not None for value, _ in found})
    usual = OBJECT if len(values) == 1 else "structure {}"
    called = {value: titles.get(str(value), usual.format(value)) for value in values}
    if len(values) > MOST:
        called = dict.fromkeys(values, OBJECT)
    return [
        None if found is None else Objects(np.array([box for _, box in found]).reshape(-1, 4),
                                           tuple(called[value] for value, _ in found))
        for found in parts
    ]  # fmt: skip


def _parts(raw: Raw, row: int) -> list[tuple[int, list[float]]] | None:
    """Value and box of each connected part of a mask that is more than a pixel."""
    try:
        mask = raw(row)
    except ValueError:
        return None
    if mask.ndim != 2:
        return None
    found = []
    for value in np.unique(mask[mask > 0]).tolist():
        numbered, _ = label(mask == value)
        for down, across in find_objects(numbered):
            box = [across.start, down.start, across.stop, down.stop]
            found += [(value, list(map(float, box)))] * ((box[2] - box[0]) * (box[3] - box[1]) > 1)
    return found


def packed(rows: Sequence[tuple[Floats, Sequence[int]] | None], most: int) -> Floats:
    """Boxes and classes of n images as (n, most, 5) in one order, so that equal ones are equal; NaN where none is."""
    found = np.full((len(rows), most, 5), np.nan)
    for place, row in enumerate(rows):
        if row is not None and len(row[1]):
            table = np.column_stack([row[0], np.asarray(row[1], np.float64)])
            found[place, : len(table)] = table[np.lexsort(table.T)] + 0.0  # no negative zero
    return found


def indices(objects: Objects, called: Mapping[str, str], classes: Sequence[str]) -> list[int]:
    """The classes of an image's objects as places among these."""
    at = {name: place for place, name in enumerate(classes)}
    return [at[called.get(name, name)] for name in objects.kinds]
