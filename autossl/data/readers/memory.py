"""Reads images that are in memory already: NumPy arrays and torch data sets, with labels and patients beside them."""

import sys
from collections.abc import Iterable, Mapping, Set
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from autossl.data.readers.arrays import MOST_CHANNELS, column, has_channels, stack
from autossl.data.readers.found import Found
from autossl.data.readers.images import Unreadable, from_pillow
from autossl.data.truth.spelling import Values, cells
from autossl.errors import UserError
from autossl.errors.printable import shown

GAPS = ("NoneType", "NAType", "NaTType")  # of pandas, which is not imported for them


def read_array(images: NDArray[Any], labels: Any, patients: Any) -> Found:
    """A NumPy array (n, h, w[, c]) or (n, d, h, w[, c]) with labels (n,) and patients (n,)."""
    place = "the given array"
    stacked = stack(np.asarray(images), place)
    n = len(stacked)
    return Found("array", place, stacked, labels=_given(labels, n, "labels"), patients=_given(patients, n, "patients"))


def _given(values: Any, n: int, what: str) -> Values | None:
    """Labels or patients as a column; lists and table columns may hold text and gaps."""
    if values is None:
        return None
    place = f"the given {what}"
    if isinstance(values, str | bytes | Mapping | Set) or not isinstance(values, Iterable):
        raise UserError(
            f"a sequence of {n} {what}, one per image, was wanted, found {type(values).__name__} as {what}=; "
            "give a list or an array"
        )
    if isinstance(values, np.ma.MaskedArray):
        values = values.tolist()  # None where masked
    if hasattr(values, "__array__"):
        values = as_array(values, place)
        if values.dtype != object:
            return column(values, n, what, place)
    listed = [_scalar(value, f"entry {row} of {place}") for row, value in enumerate(values)]
    if len(listed) != n:
        raise UserError(f"{n} entries in {what}, one per image, were wanted, found {len(listed)}; align them")
    return cells(listed, place)


def read_dataset(dataset: Any, labels: Any, patients: Any) -> Found:
    """A map-style torch dataset of (image, label) or of images; it is decoded into memory, once."""
    name = type(dataset).__name__
    place = f"the given {name}"
    arrays: list[NDArray[Any]] = []
    found: list[Any] = []
    for row in range(_length(dataset, place)):
        item, at = _get(dataset, row, place), f"item {row} of {place}"
        pair = isinstance(item, tuple | list)
        if pair and not item:
            raise UserError(f"(image, label) was wanted, found an empty {type(item).__name__} as {at}; leave it out")
        arrays.append(_item(item[0] if pair else item, at))
        found.append(_scalar(item[1], at) if pair and len(item) > 1 and labels is None else None)
    if not arrays:
        raise UserError(f"at least two images were wanted, found an empty dataset, {place}; fill it")
    n = len(arrays)
    given = cells(found, f"the labels of {place}") if labels is None else _given(labels, n, "labels")
    return Found(
        name, place, arrays, labels=given if given and any(given) else None, patients=_given(patients, n, "patients")
    )


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


def _scalar(value: Any, place: str) -> Any:
    """One label: a number, a text, None; of an array its one value."""
    if value is None or isinstance(value, str | bytes | int | float):
        return value
    array = as_array(value, place)
    if array.size != 1:
        raise UserError(
            f"one label per image was wanted, found {array.size} in {place}; "
            "several labels per image are not served yet: choose one"
        )
    single = array.reshape(-1)[0]
    if type(single).__name__ in GAPS:
        return None
    if array.dtype.kind not in "biufUS" and not isinstance(single, str):
        raise UserError(
            f"a number or a text was wanted as label, found {type(value).__name__} in {place}; give one of these"
        )
    return single if isinstance(single, str) else single.item()
