"""Forms of image files that Pillow reads with loss or in silence: what they hold, and their values as they stand."""

import re
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageFile

from autossl.data.readers import pages
from autossl.data.readers.pages import Unreadable as Unreadable

# all that is opened, whatever a file is called: others run a program (EPS) or hold layers and pages
FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "GIF", "WEBP", "PPM", "JPEG2000")
BEGINNINGS = {b"II": "TIFF", b"MM": "TIFF", b"\xff\xd8": "JPEG", b"\x89P": "PNG", b"BM": "BMP", b"GI": "GIF"}
BITS, WHITE_IS, EXTRA, PLANES, COLOURS, SAMPLES = 258, 262, 338, 284, 320, 339  # tags of TIFF
SWAPPED = {"16B": "16L", "16L": "16B", "16N": "16B"}  # reads the other byte of each 16-bit value
# libtiff hands values over in the order of this machine, and for these Pillow swaps them a second time
NATIVE = {"I;16BS": "I;16S", "I;32BS": "I;32S", "F;32BF": "F;32F"}
STARTS = b"\xff\x4f\xff\x51"  # of a JPEG 2000 codestream; depths of its components stand 42 bytes further


def opened(file: IO[bytes], part: str = "") -> ImageFile.ImageFile:
    """The image in a file, not decoded, of several pages that of this number.

    Unreadable where none of several pages is named, and for forms that would lose something.
    """
    image = pages.opened(file, part, FORMATS)
    if image.format == "TIFF":
        _check_tiff(image)
    elif image.format == "JPEG2000":
        _check_depths(depths(file), image.mode)
    return image


def what_else(file: IO[bytes]) -> str:
    """Why Pillow knows no image in a file."""
    file.seek(0)
    kind = BEGINNINGS.get(file.read(2))
    return "it is no image" if kind is None else f"it is a {kind} that is damaged or of a form that is not read"


def _check_tiff(image: Any) -> None:
    tags = image.tag_v2
    if tags.get(PLANES, 1) == 2 and max(tags.get(BITS, (1,))) > 8:
        raise Unreadable("its 16-bit channels lie in separate planes: save them interleaved")
    extra = tags.get(EXTRA, ())
    if len(extra) > 1 or 0 in extra:
        raise Unreadable("it holds channels besides colours and alpha: save those that are meant")
    if image.mode in ("P", "PA") and any(value % 256 and value % 257 for value in tags[COLOURS]):
        raise Unreadable("its palette has 16 bits a colour")
    if image.mode == "YCbCr":  # not compressed: Pillow passes over how much coarser colours lie in the file
        raise Unreadable("it is an uncompressed YCbCr TIFF: save it as RGB")
    if image.use_load_libtiff:
        image.tile = [
            tile._replace(args=(NATIVE.get(tile.args[0], tile.args[0]), *tile.args[1:])) for tile in image.tile
        ]


def is_inverted(image: Any) -> bool:
    """Whether a grey TIFF says that 0 is white; Pillow heeds that up to 8 bit."""
    if image.format != "TIFF":
        return False
    return bool(image.tag_v2.get(WHITE_IS, 0) == 0 and max(image.tag_v2.get(BITS, (1,))) > 1)


def is_signed(image: Any) -> bool:
    """Whether a TIFF of 8 bit holds negative values, which Pillow takes for large ones."""
    return image.format == "TIFF" and image.mode == "L" and bool(image.tag_v2.get(SAMPLES, (1,))[0] == 2)


def depths(file: IO[bytes]) -> list[int]:
    """Bits of each component of a JPEG 2000 file, negative where they are signed."""
    file.seek(0)
    head = file.read(1 << 20)
    at = head.index(STARTS)
    count = int.from_bytes(head[at + 40 : at + 42], "big")
    sizes = head[at + 42 : at + 42 + 3 * count : 3]
    return [-(size - 127) if size > 127 else size + 1 for size in sizes]


def _check_depths(found: list[int], mode: str) -> None:
    if min(found) < 0:
        raise Unreadable("its values are signed")
    if set(found) != {8} and not (mode == "I;16" and found[0] <= 16):
        raise Unreadable(f"JPEG 2000 of {max(found)} bit in {len(found)} channels cannot be read without loss")


def depth_of_pnm(image: ImageFile.ImageFile) -> int:
    """The white value that a PNM names; Pillow scales others than 255 and 65535, and colours to 8 bit."""
    args = image.tile[0].args
    if isinstance(args, tuple) and len(args) == 2:
        return int(args[1])
    return 65535 if args == "I;16B" else 255


def read_pnm(image: ImageFile.ImageFile, file: IO[bytes]) -> NDArray[np.integer[Any]]:
    """The values (h, w, 1 | 3) of a PNM of more than 8 bit."""
    tile, (width, height) = image.tile[0], image.size
    channels = 1 if image.mode == "I" else 3
    file.seek(tile.offset)
    data = file.read()
    if tile.codec_name == "ppm_plain":
        values: NDArray[np.integer[Any]] = np.array(re.sub(rb"#[^\r\n]*", b" ", data).split()).astype(np.int64)
    else:
        values = np.frombuffer(data, ">u2", height * width * channels)
    return values[: height * width * channels].reshape(height, width, channels)


def rawmode(image: Image.Image) -> str:
    """How the values of an image that is not decoded yet lie in its file, in Pillow's words."""
    tiles: list[Any] = getattr(image, "tile", [])
    args = tiles[0].args if tiles else ""
    first = args if isinstance(args, str) else args[0] if args else ""
    return first if isinstance(first, str) else ""


def reread(known: Image.Image, file: IO[bytes], as_rawmode: str) -> NDArray[np.uint8]:
    """The page of a known image decoded again, its bytes taken for those of another form."""
    image = opened(file, known.info.get(pages.PART, ""))
    image.tile = [
        tile._replace(args=as_rawmode if isinstance(tile.args, str) else (as_rawmode, *(tile.args or ())[1:]))
        for tile in image.tile
    ]
    return np.asarray(image)


def orientation(image: Image.Image, file: IO[bytes]) -> int:
    """1 to 8, how the image must be turned; 1 where nothing or nothing valid is said.

    Pillow turns a TIFF itself when it is decoded.
    """
    try:
        exif = image.getexif() if image.format != "PNG" else _exif_of_png(image, file)
        found = exif.get(ExifTags.Base.Orientation, 1)
    except Exception:  # whatever damaged metadata do to Pillow, the pixels are fine
        return 1
    return found if isinstance(found, int) and 1 <= found <= 8 else 1


def size(image: Any, turn: int) -> tuple[int, int]:
    """Height and width of an image when it is turned."""
    turned_already = image.format == "TIFF" and image.tag_v2.get(ExifTags.Base.Orientation) in (5, 6, 7, 8)
    width, height = image.size
    return (width, height) if turn >= 5 and not turned_already else (height, width)


def _exif_of_png(image: Image.Image, file: IO[bytes]) -> Image.Exif:
    """Pillow decodes a PNG to see whether EXIF comes behind its pixels; here chunks are passed over."""
    exif, content, at = Image.Exif(), image.info.get("exif"), file.tell()
    file.seek(8)
    while content is None and len(head := file.read(8)) == 8:
        size = int.from_bytes(head[:4], "big")
        content = b"Exif\0\0" + file.read(size) if head[4:] == b"eXIf" else None
        file.seek(size + 4, 1)
    file.seek(at)
    exif.load(content or b"")
    return exif
