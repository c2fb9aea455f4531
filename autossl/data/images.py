"""One image file or array, decoded without loss and brought to a square of the wanted size."""

import math
import struct
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageFile, UnidentifiedImageError

from autossl.data.dataset import Pixels
from autossl.errors import UserError

SUFFIXES = frozenset(
    {".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".gif", ".webp", ".pgm", ".ppm", ".pnm", ".jp2"}
)
# by what is in a file, whatever its name: Pillow would hand PostScript (EPS) to Ghostscript, another program
FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "GIF", "WEBP", "PPM", "JPEG2000")
GREY = frozenset({"1", "L", "LA", "La"})
DEEP = frozenset({"I", "I;16", "I;16B", "I;16L", "I;16N", "F"})
SWAPPED = {"16B": "16L", "16L": "16B", "16N": "16B"}  # reads the other byte of each 16-bit value
FAULTS = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    IndexError,
    struct.error,
    Image.DecompressionBombError,
)


class Unreadable(ValueError):
    """An image file that cannot be decoded, or not without loss."""


class Header(NamedTuple):
    """What the header of an image or volume file says."""

    size: tuple[int, ...]  # height, width or depth, height, width
    channels: int
    white: int  # 255, or 0 for 16 bit, or -1 where values are signed, fractional or scaled
    spacing: tuple[float, ...] = ()  # of volumes: mm between voxels


def look(path: Path) -> Header | None:
    """The header of an image file, without decoding it; None where it cannot be read."""
    try:
        with Image.open(path, formats=FORMATS) as image:
            _refuse_frames(image)
            width, height = image.size[::-1] if _orientation(image) >= 5 else image.size
            deep = image.mode in DEEP or ";16" in _rawmode(image)
            grey = image.mode in GREY | DEEP or _rawmode(image) == "LA;16B"
            return Header((height, width), 1 if grey else 3, 0 if deep else 255)
    except FAULTS:
        return None


def decode(path: Path) -> Pixels:
    """An image file as (h, w, 1 | 3), uint8 or uint16, without loss of depth; Unreadable where that fails.

    Transparency is dropped, palettes and CMYK become RGB; floating-point TIFF in [0, 1] becomes uint16.
    """
    try:
        with Image.open(path, formats=FORMATS) as image:
            _refuse_frames(image)
            turned = _orientation(image)
            pixels = _deep(image, path) if image.mode in DEEP or ";16" in _rawmode(image) else _shallow(image)
    except (Unreadable, UserError):
        raise
    except UnidentifiedImageError:
        raise Unreadable("it is no image") from None
    except FileNotFoundError:
        raise Unreadable("it is a link to a file that is not there") from None
    except FAULTS as fault:
        raise Unreadable(getattr(fault, "strerror", None) or str(fault)) from fault
    return _turn(pixels if pixels.ndim == 3 else pixels[:, :, None], turned)


def _refuse_frames(image: Image.Image) -> None:
    frames = getattr(image, "n_frames", 1) if image.format in ("TIFF", "GIF") else 1
    if frames > 1:
        raise Unreadable(f"it holds {frames} frames")


def _shallow(image: Image.Image) -> Pixels:
    if image.mode in GREY:
        return np.asarray(image.convert("L"))
    if image.mode != "RGB":
        # Pillow asks for this detour where a palette is partly transparent
        image = (image.convert("RGBA") if "transparency" in image.info else image).convert("RGB")
    return np.asarray(image)


def _deep(image: Image.Image, path: Path) -> Pixels:
    raw = _rawmode(image)
    if raw == "LA;16B":  # grey with alpha: four bytes a pixel, as in 8-bit RGBA
        both = _reread(path, "RGBA")
        return _join_bytes(both[:, :, :1], both[:, :, 1:2])
    if image.mode in DEEP:
        return to_pixels(np.asarray(image), "it", deep=True)[0]
    kind, _, order = raw.partition(";")
    if kind not in ("RGB", "RGBA", "RGBX") or order not in SWAPPED:
        raise Unreadable(f"16-bit images in the form {raw} cannot be read without loss")
    # Pillow keeps one byte of each value of a 16-bit colour image: the high one, or with the order swapped the low one
    return _join_bytes(np.asarray(image)[:, :, :3], _reread(path, f"{kind};{SWAPPED[order]}")[:, :, :3])


def _join_bytes(high: NDArray[np.uint8], low: NDArray[np.uint8]) -> NDArray[np.uint16]:
    return np.asarray(high.astype(np.uint16) * np.uint16(256) + low, dtype=np.uint16)


def _reread(path: Path, rawmode: str) -> NDArray[np.uint8]:
    """The file decoded again, its bytes taken for those of another form."""
    with Image.open(path, formats=FORMATS) as image:
        assert isinstance(image, ImageFile.ImageFile)
        image.tile = [
            tile._replace(args=rawmode if isinstance(tile.args, str) else (rawmode, *(tile.args or ())[1:]))
            for tile in image.tile
        ]
        return np.asarray(image)


def _rawmode(image: Image.Image) -> str:
    tiles: list[Any] = getattr(image, "tile", [])
    args = tiles[0].args if tiles else ""
    first = args if isinstance(args, str) else args[0] if args else ""
    return first if isinstance(first, str) else ""


def _orientation(image: Image.Image) -> int:
    """Only JPEG: Pillow turns TIFF itself, and other forms seldom carry it."""
    return int(image.getexif().get(ExifTags.Base.Orientation, 1)) if image.format in ("JPEG", "MPO") else 1


def _turn(pixels: Pixels, orientation: int) -> Pixels:
    """Undo an EXIF orientation."""
    if orientation >= 5:
        pixels = pixels.transpose(1, 0, 2)
    rows = -1 if orientation in (3, 4, 7, 8) else 1
    columns = -1 if orientation in (2, 3, 6, 7) else 1
    return pixels[::rows, ::columns]


def to_pixels(array: NDArray[Any], place: str, deep: bool = False) -> tuple[Pixels, int]:
    """Any numeric array of images as uint8 or uint16 and the value that means 1.0 (0: unknown, 16 bit).

    Whole numbers keep their values. Floats in [0, 1] become uint8 where they are exact multiples of 1/255, else
    uint16 over the full range; `deep` asks for uint16 in any case. UserError for anything else.
    """
    if array.dtype == np.uint8 and not deep:
        return array, 255
    if array.dtype == np.bool_:
        return array.astype(np.uint8) * np.uint8(255), 255
    if array.dtype.kind in "iu":
        return _whole(array, place, deep)
    if array.dtype.kind == "f":
        return _fractions(array, place, deep)
    raise UserError(
        f"images as whole numbers or as floats in [0, 1] were wanted, found an array of {array.dtype} in {place}; "
        "save them as uint8 or uint16"
    )


def _whole(array: NDArray[Any], place: str, deep: bool) -> tuple[Pixels, int]:
    low, high = (int(array.min()), int(array.max())) if array.size else (0, 0)
    if low < 0 or high > 65535:
        raise UserError(
            f"pixel values from 0 to 65535 were wanted, found {low} to {high} in {place}; "
            "shift or rescale them and save them as uint16"
        )
    if high <= 255 and not deep and array.dtype.newbyteorder("=") != np.uint16:
        return array.astype(np.uint8), 255
    return array.astype(np.uint16, copy=False), 0


def finite(array: NDArray[Any], place: str) -> None:
    """UserError where floats are NaN or infinite."""
    if array.dtype.kind == "f" and (bad := ~np.isfinite(array)).any():
        rows = np.flatnonzero(bad.reshape(len(array), -1).any(1))
        raise UserError(
            f"finite pixel values were wanted, found NaN or infinity in {len(rows)} of {len(array)} rows of {place}, "
            f"the first at row {rows[0]}; replace them or leave these images out"
        )


def _fractions(array: NDArray[Any], place: str, deep: bool) -> tuple[Pixels, int]:
    finite(array, place)
    low, high = (float(array.min()), float(array.max())) if array.size else (0.0, 0.0)
    if low < 0 or high > 1:
        raise UserError(
            f"float pixels in [0, 1] were wanted, found {low:.4g} to {high:.4g} in {place}; "
            "divide by the white value, or save whole numbers as uint8 or uint16"
        )
    eighth = np.rint(array * 255).astype(np.uint8)
    if not deep and np.abs(array * 255 - eighth).max(initial=0) < 1e-3:
        return eighth, 255
    return np.rint(array.astype(np.float64) * 65535).astype(np.uint16), 65535


def fit(image: Pixels, size: int) -> Pixels:
    """(h, w, c) -> (size, size, c): the whole image, its aspect ratio kept, padded with the median of its border.

    An image that already has this size is untouched. Resampling is bicubic with antialiasing, never leaves the
    image's own range of values, and goes through 32-bit floats for 16-bit images.
    """
    height, width = image.shape[:2]
    if (height, width) == (size, size):
        return image
    factor = size / max(height, width)
    inner = max(1, math.floor(height * factor + 0.5)), max(1, math.floor(width * factor + 0.5))
    resized = image if inner == (height, width) else _resize(image, *inner)
    if inner == (size, size):
        return resized
    border = np.concatenate([image[0], image[-1], image[:, 0], image[:, -1]])
    square = np.empty((size, size, image.shape[2]), dtype=image.dtype)
    square[:] = np.median(border, axis=0).astype(image.dtype)
    top, left = (size - inner[0]) // 2, (size - inner[1]) // 2
    square[top : top + inner[0], left : left + inner[1]] = resized
    return square


def _resize(image: Pixels, height: int, width: int) -> Pixels:
    channels = []
    for channel in np.moveaxis(image, 2, 0):
        kind = np.uint8 if image.dtype == np.uint8 else np.float32
        plane = Image.fromarray(np.ascontiguousarray(channel, dtype=kind))
        resized = np.asarray(plane.resize((width, height), Image.Resampling.BICUBIC))
        channels.append(np.clip(np.rint(resized), channel.min(), channel.max()).astype(image.dtype))
    return np.stack(channels, axis=2)
