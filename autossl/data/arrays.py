"""Reads images that are arrays already: npz archives, NumPy arrays, torch datasets."""

import hashlib
import sys
import zipfile
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from autossl.data.dataset import OFFICIAL_TEST, TRAIN, VAL
from autossl.data.found import Found, Values, cells, encode_split
from autossl.data.images import Unreadable, from_pillow
from autossl.errors import UserError

MOST_CHANNELS, LEAST_SIDE = 4, 8  # what tells (n, h, w, c) from (n, d, h, w)
LAYOUT = "a MedMNIST-layout npz (train_images, train_labels, val_..., test_...) or images and labels"
OFFICIAL = (("train", TRAIN), ("val", VAL), ("test", OFFICIAL_TEST))
MAGIC = (b"PK", b"\x93NUMPY")  # how archives and single arrays begin
Arrays = dict[str, NDArray[Any]]


def read_npz(path: Path) -> Found:
    """`{train,val,test}_{images,labels[,patients, slices]}` or `images`, `labels`[, `patients`, `slices`, `split`].

    `groups` is another word for patients.
    """
    arrays = _load(path)
    place = str(path)
    official = [(name, code) for name, code in OFFICIAL if f"{name}_images" in arrays]
    if official:
        return _medmnist(arrays, official, path)
    if "images" not in arrays:
        found = f"the arrays {', '.join(sorted(arrays))}" if arrays else "no array"
        raise UserError(f"{LAYOUT} was wanted, found {found} in {place}; save the arrays under these names")
    images = _stack(arrays["images"], place)
    patients = arrays.get("patients", arrays.get("groups"))
    split = arrays.get("split")
    return Found(
        path.stem,
        place,
        images,
        labels=_column(arrays.get("labels"), len(images), "labels", place),
        patients=_column(patients, len(images), "patients", place),
        slices=_column(arrays.get("slices"), len(images), "slices", place),
        split=None if split is None else encode_split(cells(split), place),
    )


def _medmnist(arrays: Arrays, official: list[tuple[str, int]], path: Path) -> Found:
    place = str(path)
    parts = [_stack(arrays[f"{name}_images"], place) for name, _ in official]
    if len({(part.shape[1:], part.dtype) for part in parts}) > 1:
        found = ", ".join(
            f"{name}_images {part.shape} {part.dtype}" for (name, _), part in zip(official, parts, strict=True)
        )
        raise UserError(f"images of one shape and type were wanted, found {found} in {place}; save them alike")
    sizes = [len(part) for part in parts]
    return Found(
        path.stem,
        place,
        np.concatenate(parts),
        labels=_columns(arrays, official, sizes, ("labels",), place),
        patients=_columns(arrays, official, sizes, ("patients", "groups"), place),
        slices=_columns(arrays, official, sizes, ("slices",), place),
        split=np.repeat(np.array([code for _, code in official], dtype=np.int8), sizes),
    )


def _columns(
    arrays: Arrays, official: list[tuple[str, int]], sizes: list[int], keys: tuple[str, ...], place: str
) -> Values | None:
    """One column over all splits; empty cells for a split that lacks it."""
    column: Values = []
    for (name, _), size in zip(official, sizes, strict=True):
        key = next((f"{name}_{key}" for key in keys if f"{name}_{key}" in arrays), "")
        column += (_column(arrays[key], size, key, place) or []) if key else [""] * size
    return column if any(column) else None


def _load(path: Path) -> Arrays:
    try:
        with open(path, "rb") as file:  # opened here, because np.load leaves a damaged file open
            if not file.read(len(MAGIC[1])).startswith(MAGIC) and path.stat().st_size:
                raise UserError(
                    f"{LAYOUT} was wanted, found a file of another kind at {path}; save the arrays by numpy.savez"
                )
            file.seek(0)
            archive = np.load(file, allow_pickle=False)
            if isinstance(archive, np.ndarray):
                raise UserError(f"{LAYOUT} was wanted, found a single array in {path}; pass it to autossl.search")
            with archive:
                return {key: archive[key] for key in archive.files}
    except UserError:
        raise
    except ValueError as fault:
        if "allow_pickle" in str(fault) or "Object arrays" in str(fault):
            raise UserError(
                f"arrays of numbers were wanted, found an object array in {path}, which could run code when opened; "
                "save it as one numeric array, images of one size"
            ) from None
        raise _damaged(path) from None
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, KeyError, NotImplementedError):
        raise _damaged(path) from None


def _damaged(path: Path) -> UserError:
    return UserError(
        f"a whole npz archive was wanted, found one that is truncated or damaged at {path} "
        f"({path.stat().st_size:,} bytes); copy or download it again"
    )


def _column(values: NDArray[Any] | None, n: int, key: str, place: str) -> Values | None:
    if values is None:
        return None
    if values.ndim == 2 and values.shape[1] > 1:
        raise UserError(
            f"one label per image was wanted, found {values.shape[1]} columns in {key} of {place}; "
            "several labels per image are not served yet: choose one column"
        )
    if values.size != n:
        raise UserError(f"{n} entries in {key}, one per image, were wanted, found {values.size} in {place}; align them")
    return cells(values.reshape(-1))


def _stack(images: NDArray[Any], place: str) -> NDArray[Any]:
    """(n, h, w[, c]) -> (n, h, w, c), and volumes (n, d, h, w[, c]) -> (n, d, h, w, c).

    Of four axes the last one tells: up to 4 are channels of an image, three sides of 8 or more are a volume.
    """
    if images.dtype == object:
        raise UserError(
            f"one numeric array of images was wanted, found an object array in {place}; "
            "bring the images to one size, or give a folder of files"
        )
    if images.ndim not in (3, 4, 5):
        raise UserError(
            f"images (n, h, w) or (n, h, w, c), or volumes (n, d, h, w) or (n, d, h, w, c), were wanted, found "
            f"{images.shape} in {place}; reshape them"
        )
    if len(images) == 0:
        raise UserError(f"at least two images were wanted, found an empty array {images.shape} in {place}; fill it")
    if images.ndim > 3 and images.shape[1] <= MOST_CHANNELS < min(images.shape[2:]):
        axes = (0, *range(2, images.ndim), 1)
        raise UserError(
            f"images (n, h, w, c) or volumes (n, d, h, w, c) were wanted, found {images.shape} in {place}, channels "
            f"first; move the channels last: images.transpose{axes}"
        )
    return images if _has_channels(images.shape[1:], place) else images[..., None]


def _has_channels(shape: tuple[int, ...], place: str) -> bool:
    """Whether the last axis of an image or volume of this shape holds channels."""
    if len(shape) == 4 and shape[-1] > MOST_CHANNELS:
        raise UserError(
            f"volumes (d, h, w, c) of up to {MOST_CHANNELS} channels were wanted, found {shape} in {place}; "
            "move the channels last or leave some out"
        )
    if len(shape) == 3 and shape[-1] > MOST_CHANNELS and min(shape) < LEAST_SIDE:
        raise UserError(
            f"images (h, w, c) of up to {MOST_CHANNELS} channels or volumes (d, h, w) of {LEAST_SIDE} voxels a side "
            f"were wanted, found {shape} in {place}, which could be either; leave channels out, or pad the volumes "
            "and give them an axis of channels: images[..., None]"
        )
    return len(shape) > 2 and shape[-1] <= MOST_CHANNELS


def read_array(images: NDArray[Any], labels: Any) -> Found:
    """A NumPy array (n, h, w[, c]) or (n, d, h, w[, c]) with labels (n,)."""
    stacked = _stack(np.asarray(images), "the given array")
    column = _column(_given(labels), len(stacked), "labels", "the given labels")
    return Found("array", "the given array", stacked, labels=column)


def _given(labels: Any) -> NDArray[Any] | None:
    """Labels as an array; lists and table columns may hold text and gaps."""
    if labels is None:
        return None
    return np.asarray(labels) if isinstance(labels, np.ndarray) else np.asarray(list(labels), dtype=object)


def read_dataset(dataset: Any, labels: Any) -> Found:
    """A map-style torch dataset of (image, label) or of images; it is decoded into memory, once."""
    name = type(dataset).__name__
    place = f"the given {name}"
    arrays, column = [], []
    for row in range(len(dataset)):
        item = _get(dataset, row, place)
        pair = isinstance(item, tuple | list)
        arrays.append(_item(item[0] if pair else item, f"item {row} of {place}"))
        column.append(_label(item[1], place) if pair and len(item) > 1 else None)
    if not arrays:
        raise UserError(f"at least two images were wanted, found an empty dataset, {place}; fill it")
    given = cells(column) if labels is None else _column(_given(labels), len(arrays), "labels", place)
    return Found(name, place, arrays, labels=given if given and any(given) else None)


def _get(dataset: Any, row: int, place: str) -> Any:
    try:
        return dataset[row]
    except (KeyError, TypeError, IndexError) as fault:
        raise UserError(
            f"a map-style dataset of (image, label) was wanted, found no item {row} in {place} "
            f"({type(fault).__name__}); pass an array, a path or a torch dataset"
        ) from None


def _item(image: Any, place: str) -> NDArray[Any]:
    """(h, w, c) or (d, h, w, c) from an array, a Pillow image, a tensor (c, h, w) or anything (c, d, h, w)."""
    try:
        array = from_pillow(image) if isinstance(image, Image.Image) else np.asarray(image)
    except Unreadable as fault:
        raise UserError(
            f"images that can be read without loss were wanted, found {place}: {fault}; convert it"
        ) from None
    if array.ndim not in (2, 3, 4):
        raise UserError(
            f"images (h, w) or (h, w, c), or volumes (d, h, w) or (c, d, h, w), were wanted, found {array.shape} in "
            f"{place}; reshape them"
        )
    torch = sys.modules.get("torch")
    tensor = torch is not None and isinstance(image, torch.Tensor)
    if array.ndim > 2 and array.shape[0] <= MOST_CHANNELS and (tensor or array.ndim == 4):
        array = np.moveaxis(array, 0, -1)
    return array if _has_channels(array.shape, place) else array[..., None]


def _label(value: Any, place: str) -> Any:
    array = np.asarray(value)
    if array.size != 1:
        raise UserError(
            f"one label per image was wanted, found {array.size} in {place}; "
            "several labels per image are not served yet: choose one"
        )
    return array.reshape(-1)[0].item()


def content_key(arrays: Iterable[NDArray[Any]]) -> str:
    """A digest of arrays, their shapes and types."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(f"{array.shape}{array.dtype.str}".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()
