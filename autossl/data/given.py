"""New images that are handed over in memory or one by one: arrays, tensors, Pillow images, paths, lists of these."""

import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from autossl.data.channels import of_channels
from autossl.data.checks import check_sizes
from autossl.data.dataset import KEPT, Pixels, Source
from autossl.data.parts import NO_SPLIT
from autossl.data.readers.columns import Wanted
from autossl.data.readers.dicom_folder import is_dicom_file, read_dicom_files
from autossl.data.readers.found import Found
from autossl.data.readers.images import finite, to_pixels, upright
from autossl.data.readers.memory import as_array
from autossl.data.readers.volumes import to_voxels
from autossl.data.sources import make_source
from autossl.data.truth import Classes
from autossl.errors import UserError

MOST_CHANNELS = 4
SHAPES = {2: ("(h, w) or (h, w, c)", "(c, h, w)"), 3: ("(d, h, w) or (d, h, w, c)", "(c, d, h, w)")}
BATCHES = {2: ("(n, h, w) or (n, h, w, c)", "(n, c, h, w)"), 3: ("(n, d, h, w) or (n, d, h, w, c)", "(n, c, d, h, w)")}


class Kind(NamedTuple):
    """What the pixels of a study were: of images (2) or volumes (3), and how values were stored."""

    dims: int = 2
    window: str = KEPT
    depth: str = ""  # uint8 or uint16; "": not known
    floats: bool = False  # given as floats in [0, 1]


def open_given(data: Any, kind: Kind, channels: int) -> Source | None:
    """Images in memory, or a list of paths, as a source without labels; None where `data` is anything else.

    Grey images and such of three equal channels get the number of `channels` that is wanted.
    Arrays hold their channels last, tensors first. UserError for values or shapes that the study's images had not:
    they would be embedded, but as something else.
    """
    if isinstance(data, list | tuple):
        if not data:
            raise UserError("images were wanted, found an empty list; give one at least")
        if all(isinstance(item, str | os.PathLike) for item in data):
            return _of_files([Path(item) for item in data], kind.window, channels, kind.dims)
        return _of_items(data, "the given list", kind, channels)
    if isinstance(data, np.ndarray) and not _may_be(data.shape, kind.dims):
        return None  # of the other kind, which is said where it is opened
    if _is_tensor(data) or isinstance(data, np.ndarray):
        return _of_items(_unstacked(data, kind.dims), "the given batch", kind, channels)
    return _of_items([data], "the given image", kind, channels) if isinstance(data, Image.Image) else None


def _of_files(files: list[Path], window: str, channels: int, dims: int) -> Source:
    found = Found("list", "the given list", files=files)
    if any(map(is_dicom_file, files)):
        found = read_dicom_files(files, Path(), "the given list", None, Wanted(needed=False, read=False), dims)
    source = make_source(found, window, channels=channels)
    check_sizes(source)
    return source


def _of_items(items: Sequence[Any], place: str, kind: Kind, channels: int) -> Source:
    places = [place if len(items) == 1 else f"item {row} of {place}" for row in range(len(items))]
    arrays = [_array(item, kind.dims, at) for item, at in zip(items, places, strict=True)]
    found = [_pixels(array, kind, at) for array, at in zip(arrays, places, strict=True)]
    images, n = [pixels for pixels, _ in found], len(found)
    source = Source(
        "given", place, Classes.nothing(n), np.arange(n), np.full(n, NO_SPLIT, dtype=np.int8),
        lambda row: images[row], np.array([image.shape[:-1] for image in images]), images[0].shape[-1],
        np.array([white for _, white in found]), "",
    )  # fmt: skip
    check_sizes(source)
    if kind.dims == 2:
        return of_channels(source, [image.shape[-1] for image in images], channels)
    values = None if kind.window == KEPT else lambda row: arrays[row]
    return replace(source, spacing=np.ones((n, 3)), window=kind.window, values=values)


def _may_be(shape: tuple[int, ...], dims: int) -> bool:
    return len(shape) == dims + 1 or (len(shape) == dims + 2 and shape[-1] <= MOST_CHANNELS)


def _is_tensor(value: Any) -> bool:
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.Tensor)


def _unstacked(batch: Any, dims: int) -> list[Any]:
    """The images of a batch; UserError for one image alone, whose rows would pass for images."""
    arrays, tensors = BATCHES[dims]
    tensor, shape = _is_tensor(batch), tuple(batch.shape)
    if (len(shape) == dims + 2 and shape[0]) or (not tensor and _stacked(shape, dims)):
        return list(batch)
    raise UserError(
        f"a batch {tensors if tensor else arrays} was wanted, found {'a tensor' if tensor else 'an array'} of "
        f"shape {shape}; reshape it: a single image is x[None]"
    )


def _stacked(shape: tuple[int, ...], dims: int) -> bool:
    """Whether an array of this shape is a batch without an axis of channels."""
    return len(shape) == dims + 1 and shape[0] > 0 and shape[-1] > MOST_CHANNELS


def _array(item: Any, dims: int, place: str) -> NDArray[Any]:
    """(h, w, c) or (d, h, w, c) from an array, a tensor with channels first, or a Pillow image."""
    tensor, pillow = _is_tensor(item), isinstance(item, Image.Image)
    if not (tensor or pillow or isinstance(item, np.ndarray)):
        raise UserError(
            f"arrays, tensors or Pillow images, or paths alone, were wanted, found {type(item).__name__} as {place}; "
            "pass one of these"
        )
    array = as_array(item, place)
    if isinstance(item, Image.Image):
        array = upright(array, item)
    if array.ndim == dims:
        return array[..., None]
    if array.ndim == dims + 1 and array.shape[0 if tensor else -1] <= MOST_CHANNELS:
        return np.moveaxis(array, 0, -1) if tensor else array
    arrays, tensors = SHAPES[dims]
    raise UserError(
        f"{f'a tensor {tensors}' if tensor else f'an array {arrays}'} of up to {MOST_CHANNELS} channels was wanted, "
        f"found {tuple(array.shape)} as {place}; reshape it"
    )


def _pixels(array: NDArray[Any], kind: Kind, place: str) -> tuple[Pixels, int]:
    """The values as the study's were stored, and the one that means 1.0 (0: unknown, 16 bit)."""
    if kind.window != KEPT:
        finite(array[None], place)
        return to_voxels(array, kind.window, place)
    if array.dtype.kind == "f" and not kind.floats:
        raise UserError(
            f"whole numbers, as in the study, were wanted, found {array.dtype} as {place}; "
            f"give the pixels as they were before they were divided ({kind.depth or 'uint8 or uint16'})"
        )
    if kind.depth == "uint8" and array.dtype == np.uint16:
        raise UserError(
            f"8-bit images, as in the study, were wanted, found {array.dtype} as {place}; rescale them to 0 to 255 "
            "and give them as uint8"
        )
    # a wide type holds 16-bit values also where none exceeds 255
    wide = kind.depth == "uint16" and array.dtype.kind in "iu" and array.dtype.itemsize > 1
    return to_pixels(array, place, deep=wide)
