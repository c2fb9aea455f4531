"""Images that are arrays: npz archives, and the layout of any array of images."""

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autossl.data.parts import OFFICIAL_TEST, TRAIN, VAL
from autossl.data.readers import npy
from autossl.data.readers.archive import LAYOUT, Arrays, read_arrays
from autossl.data.readers.found import Found, encode_split
from autossl.data.readers.npy import LEAST_SIDE, MOST_CHANNELS
from autossl.data.readers.pages import Unreadable
from autossl.data.truth.naming import LABEL
from autossl.data.truth.spelling import Column, cells
from autossl.errors import UserError
from autossl.errors.printable import shown

MOST_COLUMNS = 1000  # of labels
OFFICIAL = (("train", TRAIN), ("val", VAL), ("test", OFFICIAL_TEST))
COLUMNS = ("labels", "masks", "targets", "patients", "groups", "slices")
PLAIN = ("images", *COLUMNS, "split")
KNOWN = frozenset((*PLAIN, *(f"{name}_{key}" for name, _ in OFFICIAL for key in ("images", *COLUMNS))))


def read_npz(path: Path) -> Found:
    """`{train,val,test}_{images,labels[,patients, slices]}` or `images`, `labels`[, `patients`, `slices`, `split`].

    `groups` is another word for patients.
    """
    return of_arrays(*read_arrays(path, KNOWN), path)


def read_npy(path: Path) -> Found:
    """All images of a set, (n, h, w[, c]) or (n, d, h, w[, c]), without labels."""
    try:
        return of_arrays({"images": npy.read_values(path)}, [], path)
    except UserError:
        raise
    except MemoryError:
        raise UserError(f"an array that fits into memory was wanted, found a larger one at {path}") from None
    except Exception as fault:  # whatever the parser of NumPy raises for damage
        why = str(fault) if isinstance(fault, Unreadable) else f"it is damaged: {type(fault).__name__}"
        raise UserError(f"a whole array was wanted, found another file at {path} ({why}); save it again") from None


def of_arrays(arrays: Arrays, others: list[str], path: Path) -> Found:
    """Arrays of these names, as `read_npz` has it; `others` are not used."""
    place = str(path)
    official = [(name, code) for name, code in OFFICIAL if f"{name}_images" in arrays]
    _refuse_two_names(arrays, bool(official), place)
    if official:
        return _medmnist(arrays, official, path)
    if "images" not in arrays:
        names = sorted((*arrays, *others))
        found = f"the arrays {', '.join(map(shown, names))}" if names else "no array"
        raise UserError(f"{LAYOUT} was wanted, found {found} in {place}; save the arrays under these names")
    images = stack(arrays["images"], place)
    n = len(images)

    def given(key: str) -> Column | None:
        return column(arrays[key], n, key, place) if key in arrays else None

    split = given("split")
    return Found(
        path.stem,
        place,
        images,
        labels=label_columns(arrays.get("labels"), n, "labels", place),
        patients=given("groups") or given("patients"),
        slices=given("slices"),
        masks=None if "masks" not in arrays else mask_stack(arrays["masks"], images.shape[:-1], "masks", place),
        targets=None if "targets" not in arrays else target_stack(arrays["targets"], images.shape, "targets", place),
        split=None if split is None else encode_split(split, place),
    )


def _refuse_two_names(arrays: Arrays, official: bool, place: str) -> None:
    """UserError for two arrays of which one would be passed over in silence."""
    both = [(name, "train_images and the like") for name in PLAIN if official and name in arrays]
    both += [
        (key, key.replace("groups", "patients"))
        for key in arrays
        if key.endswith("groups") and key.replace("groups", "patients") in arrays
    ]
    both += [(key, "no images of that part") for key in sorted(arrays) if official and _alone(key, arrays)]
    if both:
        raise UserError(
            f"one array for each thing was wanted, found {both[0][0]} beside {both[0][1]} in {place}; leave one out"
        )


def _alone(key: str, arrays: Arrays) -> bool:
    """Whether an array belongs to an official part that has no images."""
    part = key.partition("_")[0]
    return key not in PLAIN and f"{part}_images" not in arrays


def _medmnist(arrays: Arrays, official: list[tuple[str, int]], path: Path) -> Found:
    place = str(path)
    parts = [stack(arrays[f"{name}_images"], place) for name, _ in official]
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
        labels=_all_labels(arrays, official, sizes, place),
        patients=_columns(arrays, official, sizes, ("patients", "groups"), place),
        slices=_columns(arrays, official, sizes, ("slices",), place),
        masks=_all_drawn(arrays, official, parts, "masks", place),
        targets=_all_drawn(arrays, official, parts, "targets", place),
        split=np.repeat(np.array([code for _, code in official], dtype=np.int8), sizes),
    )


def _columns(
    arrays: Arrays, official: list[tuple[str, int]], sizes: list[int], keys: tuple[str, ...], place: str
) -> Column | None:
    """One column over all splits; empty cells for a split that lacks it."""
    found: Column = []
    for (name, _), size in zip(official, sizes, strict=True):
        key = next((f"{name}_{key}" for key in keys if f"{name}_{key}" in arrays), "")
        found += column(arrays[key], size, key, place) if key else [""] * size
    return found if any(found) else None


def _all_labels(
    arrays: Arrays, official: list[tuple[str, int]], sizes: list[int], place: str
) -> dict[str, Column] | None:
    """The columns of labels over all splits; empty cells for a split that has none."""
    parts = [
        label_columns(arrays.get(f"{name}_labels"), size, f"{name}_labels", place)
        for (name, _), size in zip(official, sizes, strict=True)
    ]
    names = [tuple(part) for part in parts if part is not None]
    if len(set(names)) > 1:
        raise UserError(
            f"as many columns of labels in every part were wanted, found {' and '.join(str(len(n)) for n in names)} in "
            f"{place}; save them alike"
        )
    found = {
        name: [cell for part, size in zip(parts, sizes, strict=True) for cell in (part[name] if part else [""] * size)]
        for name in (names[0] if names else ())
    }
    return found if any(map(any, found.values())) else None


def _all_drawn(
    arrays: Arrays, official: list[tuple[str, int]], parts: list[NDArray[Any]], what: str, place: str
) -> list[NDArray[Any] | None] | None:
    """The masks or targets over all splits; None for the images of a split that has none."""
    found: list[NDArray[Any] | None] = []
    for (name, _), images in zip(official, parts, strict=True):
        key = f"{name}_{what}"
        if key not in arrays:
            found += [None] * len(images)
        elif what == "masks":
            found += [*mask_stack(arrays[key], images.shape[:-1], key, place)]
        else:
            found += [*target_stack(arrays[key], images.shape, key, place)]
    return found if any(each is not None for each in found) else None


def mask_stack(masks: NDArray[Any], shape: tuple[int, ...], key: str, place: str) -> NDArray[Any]:
    """Masks (n, [d,] h, w), one for each image; UserError for another shape."""
    found = masks[..., 0] if masks.shape == (*shape, 1) else masks
    if found.shape != shape or found.dtype.kind not in "biuf":
        raise UserError(
            f"masks {shape} of whole numbers, one for each image, were wanted in {key}, found {masks.shape} of "
            f"{shown(str(masks.dtype))} in {place}; bring them to the size of the images"
        )
    return found


def target_stack(targets: NDArray[Any], shape: tuple[int, ...], key: str, place: str) -> NDArray[Any]:
    """Targets (n, [d,] h, w, c), one for each image; UserError for other sizes."""
    found = stack(targets, place)
    if found.shape[:-1] != shape[:-1]:
        raise UserError(
            f"targets {shape[:-1]}, one for each image and of its size, were wanted in {key}, found {targets.shape} in "
            f"{place}; a target that is finer than its image needs the image enlarged first"
        )
    return found


def label_columns(values: NDArray[Any] | None, n: int, key: str, place: str) -> dict[str, Column] | None:
    """Labels (n,) as the column "label", (n, t) as the columns "0" to "t - 1"; UserError for anything else."""
    if values is None:
        return None
    if values.ndim != 2 or values.shape[1] <= 1:
        return {LABEL: column(values, n, key, place)}
    if len(values) != n:
        raise _misaligned(len(values), n, key, place)
    if values.shape[1] > MOST_COLUMNS:
        raise UserError(
            f"at most {MOST_COLUMNS} columns of labels were wanted, found {values.shape[1]} in {key} of {place}; "
            "choose some"
        )
    return {str(at): column(values[:, at], n, key, place) for at in range(values.shape[1])}


def column(values: NDArray[Any], n: int, key: str, place: str) -> Column:
    """One cell for each of n images; UserError for another number of them, or for cells that are no text or number."""
    if values.ndim == 2 and values.shape[1] > 1:
        raise UserError(
            f"one entry per image was wanted, found {values.shape[1]} columns in {key} of {place}; choose one column"
        )
    if values.size != n:
        raise _misaligned(values.size, n, key, place)
    if values.dtype.kind not in "biufUS":
        raise UserError(
            f"text or numbers were wanted in {key}, found {shown(str(values.dtype))} in {place}; save them as text"
        )
    return cells(values.reshape(-1), f"{key} of {place}")


def _misaligned(found: int, n: int, key: str, place: str) -> UserError:
    return UserError(f"{n} entries in {key}, one per image, were wanted, found {found} in {place}; align them")


def stack(images: NDArray[Any], place: str) -> NDArray[Any]:
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
    if 0 in images.shape:
        raise UserError(f"at least two images were wanted, found an empty array {images.shape} in {place}; fill it")
    if images.ndim > 3 and images.shape[1] <= MOST_CHANNELS < min(images.shape[2:]):
        axes = (0, *range(2, images.ndim), 1)
        raise UserError(
            f"images (n, h, w, c) or volumes (n, d, h, w, c) were wanted, found {images.shape} in {place}, channels "
            f"first; move the channels last: images.transpose{axes}"
        )
    return images if has_channels(images.shape[1:], place) else images[..., None]


def has_channels(shape: tuple[int, ...], place: str) -> bool:
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


def content_key(arrays: Iterable[NDArray[Any]]) -> str:
    """A digest of arrays, their shapes and types."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(f"{array.shape}{array.dtype.str}".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()
