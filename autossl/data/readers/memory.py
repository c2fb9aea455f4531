"""Reads images that are in memory already: NumPy arrays and torch data sets, with labels and patients beside them."""

import sys
from collections.abc import Iterable, Mapping, Set
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from autossl.data.readers.arrays import (
    column,
    has_channels,
    label_columns,
    mask_stack,
    stack,
    target_stack,
)
from autossl.data.readers.found import Found
from autossl.data.readers.images import Unreadable, from_pillow
from autossl.data.readers.npy import MOST_CHANNELS
from autossl.data.truth import NOTHING, Classes, Objects, Truth
from autossl.data.truth.naming import LABEL
from autossl.data.truth.spelling import Column, cells
from autossl.errors import UserError
from autossl.errors.printable import shown

GAPS = ("NoneType", "NAType", "NaTType")  # of pandas, which is not imported for them


def read_array(images: NDArray[Any], labels: Any, patients: Any, form: type[Truth] = Classes) -> Found:
    """A NumPy array (n, h, w[, c]) or (n, d, h, w[, c]) with labels (n,) or (n, t) and patients (n,).

    Where labels are of a `form` that lies beside images they are (n, h, w) or (n, d, h, w), targets also with channels,
    or n of these, None for an image without; those that are boxes are n of {"boxes": (k, 4) as x0, y0, x1, y1,
    "labels": (k,)}, None for an image of which nothing is known.
    """
    place = "the given array"
    stacked = stack(np.asarray(images), place)
    n = len(stacked)
    own = _patients(patients, n)
    if form.boxed and _are_boxes(labels):
        return Found("array", place, stacked, boxes=_boxes(labels, n), patients=own)
    if form.files:
        return replace(Found("array", place, stacked, patients=own), **_drawn(labels, stacked.shape, form))
    return Found("array", place, stacked, labels=_labels(labels, n), patients=own)


def _drawn(values: Any, shape: tuple[int, ...], form: type[Truth]) -> dict[str, Any]:
    """Masks or targets as an array, or a list of some and None, for `Found`; nothing where there are none."""
    word, place = form.beside, f"the given {form.beside}"
    if values is None:
        return {}
    if isinstance(values, list | tuple):
        if len(values) != shape[0]:
            raise UserError(f"{shape[0]} {word}, one per image, were wanted, found {len(values)}; align them")
        listed = [None if each is None else as_array(each, place) for each in values]
        return {word: listed if word == "masks" else [_channelled(each, len(shape) - 1) for each in listed]}
    if word == "masks":
        return {word: mask_stack(as_array(values, place), shape[:-1], "labels=", "the given array")}
    return {word: target_stack(as_array(values, place), shape, "labels=", "the given array")}


def _channelled(target: NDArray[Any] | None, axes: int) -> NDArray[Any] | None:
    """A target ([d,] h, w[, c]) with an axis of channels."""
    return target[..., None] if target is not None and target.ndim < axes else target


def _are_boxes(values: Any) -> bool:
    """Whether these are boxes of images as torchvision has them, not masks."""
    return isinstance(values, list | tuple) and any(isinstance(each, Mapping) for each in values)


def _boxes(values: Any, n: int) -> list[Objects | None]:
    if len(values) != n:
        raise UserError(f"boxes of {n} images were wanted, found {len(values)} entries as labels=; align them")
    return [None if each is None else _objects(each, f"entry {at} of the labels") for at, each in enumerate(values)]


def _objects(value: Any, place: str) -> Objects:
    """What torchvision's detectors are trained on: {"boxes": (k, 4), "labels": (k,)}."""
    if not isinstance(value, Mapping) or not {"boxes", "labels"} <= value.keys():
        found = f"{', '.join(shown(str(key)) for key in value)}" if isinstance(value, Mapping) else type(value).__name__
        raise UserError(f"boxes and labels were wanted, found {found or 'nothing'} as {place}; give both")
    boxes, kinds = (as_array(value[key], place) for key in ("boxes", "labels"))
    if boxes.size == 0 and kinds.size == 0:
        return NOTHING
    if boxes.ndim != 2 or boxes.shape[1] != 4 or boxes.dtype.kind not in "iuf" or kinds.shape != boxes.shape[:1]:
        raise UserError(
            f"boxes (k, 4) of numbers and labels (k,) were wanted, found {boxes.shape} and {kinds.shape} as {place}; "
            "reshape them"
        )
    return Objects(boxes.astype(np.float64), tuple(cells(kinds, place)))


def _patients(values: Any, n: int) -> Column | None:
    return None if values is None else _column(_array(values, n, "patients"), n, "patients")


def _labels(values: Any, n: int) -> dict[str, Column] | None:
    """Labels as columns: those of a table by its names, those of anything else by their numbers."""
    if values is None:
        return None
    if hasattr(values, "columns") and hasattr(values, "items"):  # as tables of pandas have
        named = [(str(name), column) for name, column in values.items()]
        if len(named) > 1:
            return {name: _column(_array(column, n, "labels"), n, "labels") for name, column in named}
        values = named[0][1] if named else ()
    values = _array(values, n, "labels")
    if isinstance(values, np.ndarray) and values.dtype != object:
        return label_columns(values, n, "labels", "the given labels")
    return _side_by_side([_row(value, f"entry {at} of the given labels") for at, value in enumerate(values)], n)


def _array(values: Any, n: int, what: str) -> Any:
    """A sequence as an array where it is one; lists and table columns may hold text and gaps."""
    if isinstance(values, str | bytes | Mapping | Set) or not isinstance(values, Iterable):
        raise UserError(
            f"a sequence of {n} {what}, one per image, was wanted, found {type(values).__name__} as {what}=; "
            "give a list or an array"
        )
    if isinstance(values, np.ma.MaskedArray):
        return values.tolist()  # None where masked
    return as_array(values, f"the given {what}") if hasattr(values, "__array__") else values


def _column(values: Any, n: int, what: str) -> Column:
    place = f"the given {what}"
    if isinstance(values, np.ndarray) and values.dtype != object:
        return column(values, n, what, place)
    listed = [_scalar(value, f"entry {row} of {place}") for row, value in enumerate(values)]
    if len(listed) != n:
        raise UserError(f"{n} entries in {what}, one per image, were wanted, found {len(listed)}; align them")
    return cells(listed, place)


def _side_by_side(rows: list[list[Any]], n: int, place: str = "the given labels") -> dict[str, Column]:
    """Columns of n rows that are of one length; an image without a label has an empty one."""
    if len(rows) != n:
        raise UserError(f"{n} entries in labels, one per image, were wanted, found {len(rows)}; align them")
    lengths = sorted({len(row) for row in rows if row})
    if len(lengths) > 1:
        at = next(at for at, row in enumerate(rows) if len(row) not in (0, lengths[0]))
        raise UserError(
            f"as many labels for every image were wanted, found {lengths[0]} and {len(rows[at])}, the first such in "
            f"entry {at} of {place}; give each finding a place of its own"
        )
    t = lengths[0] if lengths else 1
    whole = [row or [None] * t for row in rows]
    return {LABEL if t == 1 else str(at): cells([row[at] for row in whole], place) for at in range(t)}


def read_dataset(dataset: Any, labels: Any, patients: Any, form: type[Truth] = Classes) -> Found:
    """A map-style torch dataset of (image, label or vector of labels) or of images; it is decoded into memory, once.

    Where labels are of a `form` that lies beside images its items are (image, mask) or (image, target), where they are
    boxes (image, {"boxes": ..., "labels": ...}).
    """
    name = type(dataset).__name__
    place = f"the given {name}"
    arrays: list[NDArray[Any]] = []
    found: list[list[Any]] = []
    marked: list[Any] = []
    for row in range(_length(dataset, place)):
        item, at = _get(dataset, row, place), f"item {row} of {place}"
        pair = isinstance(item, tuple | list)
        if pair and not item:
            raise UserError(f"(image, label) was wanted, found an empty {type(item).__name__} as {at}; leave it out")
        arrays.append(_item(item[0] if pair else item, at))
        told = item[1] if pair and len(item) > 1 and labels is None else None
        marked.append(_beside(told, form, at) if form.files else told)
        found.append([] if form.files or told is None else _row(told, at))
    if not arrays:
        raise UserError(f"at least two images were wanted, found an empty dataset, {place}; fill it")
    n = len(arrays)
    marked = marked if labels is None else labels
    if form.boxed and _are_boxes(marked):
        return Found(name, place, arrays, boxes=_boxes(marked, n), patients=_patients(patients, n))
    if form.files:
        own = _drawn(marked, (n, *arrays[0].shape), form)
        return replace(Found(name, place, arrays, patients=_patients(patients, n)), **own)
    given = _side_by_side(found, n, f"the labels of {place}") if labels is None else _labels(labels, n)
    some = given is not None and any(map(any, given.values()))
    return Found(name, place, arrays, labels=given if some else None, patients=_patients(patients, n))


def _beside(told: Any, form: type[Truth], place: str) -> Any:
    """A mask as it is, a target as images are; boxes, or nothing, as they stand."""
    if told is None or isinstance(told, Mapping):
        return told
    return as_array(told, place) if form.beside == "masks" else _item(told, place)


def _length(dataset: Any, place: str) -> int:
    try:
        return len(dataset)
    except Exception as fault:  # it is the user's code
        raise UserError(
            f"a map-style dataset that knows its length was wanted, found none in {place} ({type(fault).__name__}); "
            "pass an array, a path or a torch dataset"
        ) from fault


def _get(dataset: Any, row: int, place: str) -> Any:
    try:
        return dataset[row]
    except (KeyError, TypeError, IndexError) as fault:
        raise UserError(
            f"a map-style dataset of (image, label) was wanted, found no item {row} in {place} "
            f"({type(fault).__name__}); pass an array, a path or a torch dataset"
        ) from fault
    except Exception as fault:  # it is the user's code
        raise UserError(
            f"a dataset of which every item can be read was wanted, found {type(fault).__name__} in item {row} of "
            f"{place} ({shown(str(fault))}); mend it or leave that item out"
        ) from fault


def _item(image: Any, place: str) -> NDArray[Any]:
    """(h, w, c) or (d, h, w, c) from an array, a Pillow image, a tensor (c, h, w) or anything (c, d, h, w)."""
    array = as_array(image, place)
    if array.dtype == object or (array.ndim == 0 and array.dtype.kind not in "biuf"):
        raise UserError(f"an image was wanted, found {type(image).__name__} as {place}; give (image, label)")
    if array.ndim not in (2, 3, 4):
        raise UserError(
            f"images (h, w) or (h, w, c), or volumes (d, h, w) or (c, d, h, w), were wanted, found {array.shape} in "
            f"{place}; reshape them"
        )
    torch = sys.modules.get("torch")
    tensor = torch is not None and isinstance(image, torch.Tensor)
    if array.ndim > 2 and array.shape[0] <= MOST_CHANNELS and (tensor or array.ndim == 4):
        array = np.moveaxis(array, 0, -1)
    return array if has_channels(array.shape, place) else array[..., None]


def as_array(thing: Any, place: str) -> NDArray[Any]:
    """Anything that is an array in some package; UserError where NumPy cannot hold it."""
    try:
        torch = sys.modules.get("torch")
        if torch is not None and isinstance(thing, torch.Tensor):
            thing = thing.detach().cpu()
            thing = thing.to_dense() if thing.layout is not torch.strided else thing
            return np.asarray(thing.float() if thing.dtype == torch.bfloat16 else thing)
        return from_pillow(thing) if isinstance(thing, Image.Image) else np.asarray(thing)
    except Unreadable as fault:
        raise UserError(
            f"images that can be read without loss were wanted, found {place}: {fault}; convert it"
        ) from None
    except Exception as fault:  # whatever the package of the array raises
        raise UserError(
            f"numbers that NumPy can hold were wanted, found {type(thing).__name__} ({type(fault).__name__}) as "
            f"{place}; give an array of one shape"
        ) from fault


def _row(value: Any, place: str) -> list[Any]:
    """The labels of one image: a number, a text or a vector of these; none at all where it is None."""
    if value is None or isinstance(value, str | bytes | int | float):
        return [] if value is None else [value]
    array = as_array(value, place)
    if array.size < 2:
        return [_scalar(value, place)]
    if array.ndim > 1:
        raise UserError(
            f"a label or a vector of labels was wanted, found an array {array.shape} in {place}; masks are for "
            "--task segmentation"
        )
    return [_scalar(part, place) for part in (array if array.dtype == object else array.tolist())]


def _scalar(value: Any, place: str) -> Any:
    """One label: a number, a text, None; of an array its one value."""
    if value is None or isinstance(value, str | bytes | int | float):
        return value
    array = as_array(value, place)
    if array.size != 1:
        raise UserError(f"one number or text was wanted, found {array.size} in {place}; give one")
    single = array.reshape(-1)[0]
    if type(single).__name__ in GAPS:
        return None
    if array.dtype.kind not in "biufUS" and not isinstance(single, str):
        raise UserError(
            f"a number or a text was wanted as label, found {type(value).__name__} in {place}; give one of these"
        )
    return single if isinstance(single, str) else single.item()
