"""Pages of an image file: the one that is meant, and of a pyramid the finest that can be read."""

import struct
from typing import IO, Any

from PIL import Image, ImageFile, TiffImagePlugin

PART, REDUCED = "part", "reduced"  # entries in what Pillow tells of an image
KIND, LEVELS = 254, 330  # tags of TIFF: what a page is to others, and where levels lie that are no pages
COARSER = 1  # bit of that kind
TIFFS = (b"II", b"MM")
BIG, LONG = 43, (16, 18)  # a TIFF whose places have eight bytes, and kinds of entries that hold such
MOST_TAGS, MOST_LEVELS = 4096, 64


class Unreadable(ValueError):
    """An image file that cannot be decoded, or not without loss."""


def opened(file: IO[bytes], part: str, formats: tuple[str, ...]) -> ImageFile.ImageFile:
    """The page of this number, or of a pyramid the level, not decoded; without one the only page.

    Unreadable where there are several that are no pyramid, or none of this number.
    """
    image = _whole(file, formats)
    levels = _offsets(image, file)
    several = 1 + len(levels) if levels else 1 if image.format == "MPO" and not part else _count(image)
    # of a photograph (MPO) the first is meant
    if part:
        at = _number(part, several)
    elif several > 1 and not levels and not _is_pyramid(image, several):
        raise Unreadable(f"it holds {several} frames: choose one by ::0 to ::{several - 1} behind its name")
    else:
        at = _finest(image, file, levels, several)
    image = _page(image, file, levels, at)
    if _too_large(image, 2):
        raise Unreadable(f"it has {image.width} x {image.height} pixels, and none of its levels can be read: cut it")
    if several > 1:
        image.info[PART] = str(at)
    if at and not part:
        image.info[REDUCED] = True
    return image


def count(file: IO[bytes], formats: tuple[str, ...]) -> int:
    """How many pages there are."""
    return _count(_whole(file, formats))


def _whole(file: IO[bytes], formats: tuple[str, ...]) -> ImageFile.ImageFile:
    """The first page; one of TIFF may be too large, for coarser ones may follow."""
    file.seek(0)
    try:
        # by its handle: of a name Pillow maps a plain TIFF into memory and scrambles it where it is to be turned
        image = Image.open(file, formats=formats)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        file.seek(0)
        if file.read(2) not in TIFFS:
            raise
        file.seek(0)
        image = TiffImagePlugin.TiffImageFile(file)
    assert isinstance(image, ImageFile.ImageFile)
    return image


def _count(image: Any) -> int:
    return int(getattr(image, "n_frames", 1))


def _number(part: str, count: int) -> int:
    if not part.isdecimal() or int(part) >= count:
        raise Unreadable(f"it holds {count} frames, and number {part[:20]} was wanted, counted from 0")
    return int(part)


def _is_pyramid(image: Any, count: int) -> bool:
    """Whether all pages but the first are that one, only coarser."""
    if image.format != "TIFF":
        return False
    shape, coarser = image.width / image.height, True
    for at in range(1, count):
        image.seek(at)
        coarser = bool(image.tag_v2.get(KIND, 0) & COARSER) and abs(image.width / image.height / shape - 1) < 0.1
        if not coarser:
            break
    image.seek(0)
    return coarser


def _offsets(image: ImageFile.ImageFile, file: IO[bytes]) -> tuple[int, ...]:
    """Where levels of a pyramid lie that are no pages, as OME has them: Pillow does not know places of eight bytes."""
    if image.format != "TIFF" or _count(image) > 1:
        return ()
    file.seek(0)
    head = file.read(16)
    order = "<" if head[:2] == TIFFS[0] else ">"
    big = struct.unpack(order + "H", head[2:4])[0] == BIG
    place, size = ("Q", 20) if big else ("I", 12)
    file.seek(struct.unpack(order + place, head[8:] if big else head[4:8])[0])
    count = struct.unpack(order + ("Q" if big else "H"), file.read(8 if big else 2))[0]
    for _ in range(min(count, MOST_TAGS)):
        entry = file.read(size)
        if struct.unpack(order + "H", entry[:2])[0] == LEVELS:
            return _places(file, entry, order, place)
    return ()


def _places(file: IO[bytes], entry: bytes, order: str, place: str) -> tuple[int, ...]:
    """The places that an entry of a directory holds, or leads to."""
    kind, count = struct.unpack(f"{order}H{place}", entry[2 : 4 + struct.calcsize(order + place)])
    form = f"{order}{min(count, MOST_LEVELS)}{'Q' if kind in LONG else 'I'}"
    held, length = entry[-struct.calcsize(order + place) :], struct.calcsize(form)
    if length > len(held):
        file.seek(struct.unpack(order + place, held)[0])
        held = file.read(length)
    return struct.unpack(form, held[:length])


def _finest(image: ImageFile.ImageFile, file: IO[bytes], levels: tuple[int, ...], count: int) -> int:
    """The first level that can be read; the last where none can."""
    for at in range(count):
        if not _too_large(_page(image, file, levels, at)):
            return at
    return count - 1


def _page(image: ImageFile.ImageFile, file: IO[bytes], levels: tuple[int, ...], at: int) -> ImageFile.ImageFile:
    if levels and at:
        return TiffImagePlugin.TiffImageFile(_Level(file, levels[at - 1]))  # type: ignore[arg-type]
    if at or (_count(image) > 1 and image.tell()):
        image.seek(at)
    return image


def _too_large(image: ImageFile.ImageFile, times: int = 1) -> bool:
    return image.width * image.height > times * (Image.MAX_IMAGE_PIXELS or 1 << 62)


class _Level:
    """A TIFF as if another of its directories were the first, for Pillow knows no way to one that is no page."""

    def __init__(self, file: IO[bytes], offset: int) -> None:
        self.file = file
        file.seek(0)
        head = file.read(16)
        order: Any = "little" if head[:2] == TIFFS[0] else "big"
        big = int.from_bytes(head[2:4], order) == BIG
        self.head = head[:8] + offset.to_bytes(8, order) if big else head[:4] + offset.to_bytes(4, order)
        file.seek(0)

    def read(self, size: int = -1) -> bytes:
        at = self.file.tell()
        data = self.file.read(size)
        return self.head[at : at + len(data)] + data[max(0, len(self.head) - at) :]

    def seek(self, to: int, whence: int = 0) -> int:
        return self.file.seek(to, whence)

    def tell(self) -> int:
        return self.file.tell()

    def fileno(self) -> int:  # from which libtiff reads the directory that Pillow names
        return self.file.fileno()
