"""One image file or array, decoded without loss."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageFile, UnidentifiedImageError

from autossl.data.dataset import Pixels
from autossl.data.readers import forms, npy, pages
from autossl.data.readers.disk import is_file, opened, parted, what_is
from autossl.data.readers.forms import Unreadable as Unreadable
from autossl.errors import UserError

SUFFIXES = frozenset(
    {".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".gif", ".webp", ".pgm", ".ppm", ".pnm", ".jp2", npy.SUFFIX}
)
GREY = frozenset({"1", "L", "LA", "La"})
DEEP = frozenset({"I", "I;16", "I;16B", "I;16L", "I;16N", "F"})
COLOURS = frozenset({"RGB", "P", "PA", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr"})
SHALLOW = (np.uint8, np.bool_)  # arrays of which are of 8 bit
LOW_DEPTHS = {"L;2": 85, "L;4": 17}  # what PNG values of 2 and 4 bit are multiplied by, but not their transparent one


class OtherChannels(Unreadable):
    """An image whose channels are not those of its set, and cannot become them without loss."""

    def __init__(self, found: int) -> None:
        super().__init__(f"it has {found} channels, unlike the others")
        self.found = found


class Header(NamedTuple):
    """What the header of an image or volume file says."""

    size: tuple[int, ...]  # height, width or depth, height, width
    channels: int
    white: int  # 255, or 0 for 16 bit, or -1 where values are signed, fractional or scaled
    spacing: tuple[float, ...] = ()  # of volumes: mm between voxels
    turned: bool = False  # by an orientation tag
    inverted: bool = False  # because the file says that 0 is white
    reduced: bool = False  # it is of a pyramid, the finest level of which is too large
    sided: bool = True  # whether a volume says which side is the left


def look(path: Path) -> Header | None:
    """The header of an image file, without decoding it; None where it cannot be read."""
    try:
        with image_file(path) as file:
            if npy.is_array(path):
                shape, dtype = npy.shape_of(path)
                return Header(shape[:2], shape[2], 255 if dtype in SHALLOW else 0)
            image = forms.opened(file, parted(path)[1])
            turn = forms.orientation(image, file)
            channels = 1 if image.mode in GREY | DEEP or forms.rawmode(image) == "LA;16B" else 3
            inverted, reduced = forms.is_inverted(image), pages.REDUCED in image.info
            return Header(
                forms.size(image, turn), channels, 0 if _is_deep(image) else 255, (), turn > 1, inverted, reduced
            )
    except Unreadable:
        return None


def decode(path: Path) -> Pixels:
    """An image file as (h, w, 1 | 3), uint8 or uint16, without loss of depth; Unreadable where that fails.

    Opaque alpha is dropped, palettes, CMYK and YCbCr become RGB; floating-point TIFF in [0, 1] becomes uint16. What
    an orientation tag asks for is done, and grey TIFF that says that 0 is white is inverted. Of several pages one must
    be named behind the path; of a pyramid the finest level that can be read is taken. Arrays keep up to 4 channels.
    """
    with image_file(path) as file:
        if npy.is_array(path):
            shape, dtype = npy.shape_of(path)
            return to_pixels(npy.read_values(path).reshape(shape), "it", deep=dtype not in SHALLOW)[0]
        image = forms.opened(file, parted(path)[1])
        turn = forms.orientation(image, file)
        pixels = _deep(image, file) if _is_deep(image) else shallow(image)
        pixels = pixels if pixels.ndim == 3 else pixels[:, :, None]
        return pixels if image.format == "TIFF" else turned(pixels, turn)


def check_regular(path: Path) -> None:
    """Unreadable for what is not a file: opening a pipe waits for ever, and a device never ends."""
    if what := what_is(path):
        raise Unreadable(f"it is {what}, no file")
    if not is_file(path):
        raise Unreadable("it is a link to a file that is not there")


@contextmanager
def image_file(path: Path) -> Iterator[IO[bytes]]:
    """The file of an image, open; whatever goes wrong with it is Unreadable and says why."""
    try:
        check_regular(path)
        with opened(path) as file:
            try:
                yield file
            except UnidentifiedImageError:
                raise Unreadable(forms.what_else(file)) from None
    except Unreadable:
        raise
    except UserError as fault:
        raise Unreadable(str(fault)) from None
    except Exception as fault:  # what a damaged file makes Pillow raise knows no bounds, and one must not end a run
        raise Unreadable(_in_words(fault)) from fault


def _in_words(fault: Exception) -> str:
    if isinstance(fault, OSError) and fault.errno:
        return os.strerror(fault.errno)  # without the file's name
    return str(fault).partition("\n")[0] or f"it is damaged ({type(fault).__name__})"


def _is_deep(image: ImageFile.ImageFile) -> bool:
    deep = image.mode in DEEP or ";16" in forms.rawmode(image)
    return image.mode == "F" or forms.depth_of_pnm(image) > 255 if image.format == "PPM" else deep


def shallow(image: Image.Image) -> Pixels:
    """A Pillow image of up to 8 bit as (h, w) or (h, w, 3); Unreadable where it is partly transparent."""
    if "transparency" in image.info and (factor := LOW_DEPTHS.get(forms.rawmode(image))):
        image.info["transparency"] *= factor
    if image.has_transparency_data and np.asarray(image.convert("RGBA"))[:, :, 3].min() < 255:
        raise _transparent()
    if forms.is_signed(image):
        return to_pixels(np.asarray(image).view(np.int8), "it")[0]
    if image.mode in GREY:
        return np.asarray(image.convert("L"))
    if image.mode not in COLOURS:
        raise Unreadable(f"colours in the form {image.mode} are not read: save it as RGB")
    if image.mode != "RGB":
        # Pillow asks for this detour where a palette is partly transparent
        image = (image.convert("RGBA") if "transparency" in image.info else image).convert("RGB")
    return np.asarray(image)


def from_pillow(image: Image.Image) -> NDArray[Any]:
    """What a Pillow image shows, for `to_pixels`: (h, w) or (h, w, 3), palettes and opaque alpha resolved."""
    if ";16" in forms.rawmode(image) and image.mode not in DEEP:
        raise Unreadable("Pillow keeps 8 of the 16 bits of its colours: give an array or a file")
    return np.asarray(image) if image.mode in DEEP else shallow(image)


def upright(pixels: NDArray[Any], image: Image.Image) -> NDArray[Any]:
    """The pixels (h, w[, c]) of a Pillow image, turned as its orientation tag says."""
    turn = image.getexif().get(ExifTags.Base.Orientation, 1)  # a TIFF has none any more: Pillow has turned it
    return turned(pixels, turn) if isinstance(turn, int) and 1 <= turn <= 8 else pixels


def _transparent() -> Unreadable:
    return Unreadable("it is partly transparent: put it on a background")


def _deep(image: ImageFile.ImageFile, file: IO[bytes]) -> Pixels:
    if image.format == "PPM" and image.mode != "F":
        return to_pixels(forms.read_pnm(image, file), "it", deep=True)[0]
    if image.mode in DEEP:
        return _deep_grey(image, file)
    raw, key = forms.rawmode(image), image.info.get("transparency")
    if raw == "LA;16B":  # grey with alpha: four bytes a pixel, as in 8-bit RGBA
        both = forms.reread(image, file, "RGBA")
        return _without_alpha(_join_bytes(both[:, :, ::2], both[:, :, 1::2]), key)
    kind, _, order = raw.partition(";")
    if kind not in ("RGB", "RGBA") or order not in forms.SWAPPED:
        raise Unreadable(f"16-bit images in the form {raw} cannot be read without loss")
    # Pillow keeps one byte of each value of a 16-bit colour image: the high one, or with the order swapped the low one
    low = forms.reread(image, file, f"{kind};{forms.SWAPPED[order]}")
    return _without_alpha(_join_bytes(np.asarray(image), low), key)


def _without_alpha(pixels: Pixels, key: Any) -> Pixels:
    """16-bit (h, w, 2 | 3 | 4) without alpha, which must be opaque; nor may any pixel have the transparent colour."""
    colours = 1 if pixels.shape[-1] == 2 else 3
    clear = (pixels[..., colours:] < 65535).any() or (key is not None and (pixels[..., :colours] == key).all(-1).any())
    if clear:
        raise _transparent()
    return pixels[..., :colours]


def _deep_grey(image: ImageFile.ImageFile, file: IO[bytes]) -> Pixels:
    inverted = forms.is_inverted(image)
    depth = forms.depths(file)[0] if image.format == "JPEG2000" else 16
    pixels = to_pixels(np.asarray(image), "it", deep=True)[0] >> np.uint16(16 - depth)  # Pillow fills up to 16 bit
    if (pixels == image.info.get("transparency", -1)).any():
        raise _transparent()
    return np.uint16(65535) - pixels if inverted else pixels


def _join_bytes(high: NDArray[np.uint8], low: NDArray[np.uint8]) -> NDArray[np.uint16]:
    return np.asarray(high.astype(np.uint16) * np.uint16(256) + low, dtype=np.uint16)


def turned(pixels: NDArray[Any], orientation: int) -> NDArray[Any]:
    """Undo an EXIF orientation."""
    if orientation >= 5:
        pixels = pixels.swapaxes(0, 1)
    rows = -1 if orientation in (3, 4, 7, 8) else 1
    columns = -1 if orientation in (2, 3, 6, 7) else 1
    return pixels[::rows, ::columns]


def is_grey(image: Pixels) -> bool:
    """Whether all channels of an image (h, w, c) are equal."""
    return bool((image[:, :, 1:] == image[:, :, :1]).all())


def to_channels(image: Pixels, channels: int) -> Pixels:
    """An image (h, w, c) with this number of channels: grey in three equal ones, three equal ones as grey.

    OtherChannels where that is not possible without loss.
    """
    if image.shape[2] == channels:
        return image
    if image.shape[2] == 1 and channels == 3:
        return np.repeat(image, 3, axis=2)
    if image.shape[2] == 3 and channels == 1 and is_grey(image):
        return image[:, :, :1]
    raise OtherChannels(image.shape[2])


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
