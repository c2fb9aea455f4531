"""DICOM files: a header that is safe to read, and the values of one frame as its modality means them."""

import logging
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import IO, Any

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filereader import read_dataset, read_preamble
from pydicom.filewriter import write_file_meta_info
from pydicom.multival import MultiValue
from pydicom.pixels.processing import apply_color_lut, apply_modality_lut
from pydicom.pixels.utils import pixel_array
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from autossl.data.readers import codecs, disk
from autossl.data.readers.images import Unreadable, check_regular
from autossl.errors import UserError

MOST_IN_A_FRAME = 1 << 27  # values; a mammogram has 20 million, and Pillow stops at 180
MOST_IN_A_FILE = 1 << 31  # values of all frames
MOST_INFLATED = 1 << 29  # bytes that a deflated file may come to
MOST_WHOLE = 1 << 30  # largest value that is kept as a whole number
PIECE = 1 << 16
META = 2  # the group that says how a file is written
META_AT = 144  # where the elements begin whose length the first of the file gives
PALETTE, INVERTED = "PALETTE COLOR", "MONOCHROME1"
Ends = tuple[float, float]


def header(path: Path, tags: list[str] | None = None) -> Dataset:
    """All that stands before the pixels, or the elements of these names; Unreadable for what is no DICOM file."""
    with _reading(path) as file:
        return _dataset(file, tags=tags, stop=True)


def raw(path: Path, frame: int = 0) -> tuple[NDArray[Any], Ends | None]:
    """The values (h, w, 1 | 3) of a frame, and the ends of the window that its header gives to look at it.

    Grey values are what the modality means (slope, intercept, lookup table), higher where it is brighter: MONOCHROME1
    is turned around within its range. Padding has the lowest value of the others. Palettes and YBR are RGB.
    Unreadable where it is damaged, or more than its header may promise.
    """
    with _reading(path) as file:
        about = _dataset(file, stop=True)
        check_promise(about, frame)
        stored = _stored(file, about, frame)
        if about.get("PhotometricInterpretation") == PALETTE:
            return _coloured(stored, about), None
        if stored.ndim == 3:
            if stored.shape[2] != 3:
                raise Unreadable(f"it has {stored.shape[2]} samples a pixel")
            return stored, None
        values, ends = _meant(stored, about, frame)
        return values[:, :, None], ends


def frames(path: Path) -> tuple[Dataset, NDArray[Any]]:
    """The header and all frames (n, h, w) of a file as they are stored; Unreadable as for `raw`."""
    with _reading(path) as file:
        about = _dataset(file, stop=True)
        check_promise(about)
        count = max(1, int(about.get("NumberOfFrames") or 1))
        if count * about.Rows * about.Columns > MOST_IN_A_FILE:
            raise Unreadable(f"its header says {count} x {about.Rows} x {about.Columns} values")
        found = _stored(file, about, None)
        return about, found if found.ndim == 3 else found[None]


def groups(about: Dataset, frame: int, name: str) -> Dataset:
    """The item of a functional group of a frame, its own or that of all; of other files the header itself."""
    for place, at in (("PerFrameFunctionalGroupsSequence", frame), ("SharedFunctionalGroupsSequence", 0)):
        items = about.get(place) or []
        if at < len(items) and items[at].get(name):
            found = items[at].get(name)[0]
            assert isinstance(found, Dataset)
            return found
    return about


def check_promise(about: Dataset, frame: int = 0) -> None:
    """Unreadable where a header says no size, or one that no image has."""
    sides = [about.get(name) or 0 for name in ("Rows", "Columns", "SamplesPerPixel")]
    if min(sides) < 1 or frame >= max(1, int(about.get("NumberOfFrames") or 1)):
        raise Unreadable("its header gives no size")
    if sides[0] * sides[1] * sides[2] > MOST_IN_A_FRAME:
        raise Unreadable(f"its header says {sides[0]} x {sides[1]} pixels of {sides[2]} values")


@contextmanager
def _reading(path: Path) -> Iterator[IO[bytes]]:
    """The file, open; whatever goes wrong with it is Unreadable, in words that hold nothing of it."""
    _silence()
    try:
        check_regular(path)
        with disk.opened(path) as file:
            yield file
    except Unreadable:
        raise
    except UserError as fault:
        raise Unreadable(str(fault)) from None
    except MemoryError:
        raise Unreadable("it is larger than the memory") from None
    except Exception as fault:  # as for images: what damage makes a reader raise knows no bounds
        raise Unreadable(f"it is damaged ({type(fault).__name__})") from None


def _silence() -> None:
    """What pydicom complains of quotes headers: it goes to no terminal and no log.

    Each time, and not for a while: filters belong to the process, and files are read by several threads.
    """
    warnings.filterwarnings("ignore", module="pydicom")
    logging.getLogger("pydicom").propagate = False


def _dataset(file: IO[bytes], tags: list[str] | None = None, stop: bool = False) -> Dataset:
    file.seek(0)
    inflated = _inflated(file)
    found = pydicom.dcmread(inflated or file, stop_before_pixels=stop, specific_tags=tags, force=True)
    if not kind_of(found) and not found.get("Rows"):
        raise Unreadable("it is no DICOM file")
    return found


def _inflated(file: IO[bytes]) -> IO[bytes] | None:
    """A deflated file as if it were not, within bounds that pydicom does not set; None for other files."""
    try:
        read_preamble(file, False)  # type: ignore[arg-type]
        meta = FileMetaDataset(read_dataset(file, False, True, stop_when=lambda tag, *_: tag.group != META))  # type: ignore[arg-type]
    except Exception:  # without a preamble
        file.seek(0)
        return None
    file.seek(META_AT + meta.get("FileMetaInformationGroupLength", 0))
    if meta.get("TransferSyntaxUID") != DeflatedExplicitVRLittleEndian:
        file.seek(0)
        return None
    unpack, parts, size = zlib.decompressobj(-zlib.MAX_WBITS), list[bytes](), 0
    while piece := file.read(PIECE):
        parts.append(unpack.decompress(piece, MOST_INFLATED - size))
        size += len(parts[-1])
        if unpack.unconsumed_tail or size >= MOST_INFLATED:
            raise Unreadable("it unpacks to more than an image holds")
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    whole = BytesIO()
    whole.write(b"\0" * 128 + b"DICM")
    write_file_meta_info(whole, meta, enforce_standard=False)  # type: ignore[arg-type]
    whole.write(b"".join(parts))
    whole.seek(0)
    return whole


def _stored(file: IO[bytes], about: Dataset, frame: int | None) -> NDArray[Any]:
    """A frame as it is stored, (h, w) or (h, w, c), YBR as RGB; None: all, (n, ...)."""
    syntax = syntax_of(about)
    plugin = codecs.plugin_of(syntax, int(about.get("BitsStored") or 0)) if syntax else ""
    file.seek(0)
    inflated = _inflated(file)
    if syntax and inflated is None:
        file.seek(0)
        found = pixel_array(file, index=frame, decoding_plugin=plugin)  # type: ignore[arg-type]
    else:
        found = pixel_array(_with_syntax(inflated or file), index=frame)
    if found.dtype.kind == "f" and not np.isfinite(found).all():
        raise Unreadable("it holds pixels that are NaN or infinite")
    return found.astype(found.dtype.newbyteorder("="), copy=False)


def kind_of(about: Dataset) -> str:
    """The class of a file's object (SOP), "" where none is named; folders of media name theirs before the header."""
    meta: Any = getattr(about, "file_meta", {})
    return str(about.get("SOPClassUID") or meta.get("MediaStorageSOPClassUID") or "")


def _with_syntax(file: IO[bytes]) -> Dataset:
    """The whole of a file, which may lack the part that says how it is written."""
    file.seek(0)
    whole = pydicom.dcmread(file, force=True)
    if syntax_of(whole) is None:
        whole.file_meta = FileMetaDataset()
        implicit = whole.original_encoding[0]
        whole.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian
    return whole


def syntax_of(about: Dataset) -> UID | None:
    """The transfer syntax of a file; None where it does not say."""
    return getattr(about, "file_meta", {}).get("TransferSyntaxUID") or None


def _coloured(stored: NDArray[Any], about: Dataset) -> NDArray[np.uint8]:
    """Indices (h, w) as RGB (h, w, 3) of 8 bit: tables have eight bits, or in the upper half of sixteen."""
    colours = apply_color_lut(stored, about)[:, :, :3]
    if colours.dtype == np.uint8 or colours.max(initial=0) < 256:
        return np.asarray(colours.astype(np.uint8))
    return np.asarray((colours >> 8).astype(np.uint8))


def _meant(stored: NDArray[Any], about: Dataset, frame: int) -> tuple[NDArray[Any], Ends | None]:
    """Grey values (h, w) as the modality means them, and the ends of their window."""
    values, ends = _rescaled(stored, about, frame), _window(groups(about, frame, "FrameVOILUTSequence"))
    if about.get("PhotometricInterpretation") == INVERTED:
        total = _rescaled(_limits(about, stored.dtype), about, frame).sum()
        values = total - values
        ends = None if ends is None else (float(total) - ends[1], float(total) - ends[0])
    padded = _padded(stored, about)
    if padded.any() and not padded.all():
        values = np.where(padded, values[~padded].min(), values)
    return values, ends


def _limits(about: Dataset, dtype: np.dtype[Any]) -> NDArray[Any]:
    """The least and the greatest value that may be stored."""
    bits = int(about.get("BitsStored") or 8 * dtype.itemsize)
    if dtype.kind == "f":
        raise Unreadable("it says that 0 is white of fractional values")
    return np.array([-(1 << (bits - 1)), (1 << (bits - 1)) - 1] if dtype.kind == "i" else [0, (1 << bits) - 1])


def _rescaled(stored: NDArray[Any], about: Dataset, frame: int) -> NDArray[Any]:
    """Slope and intercept, or the lookup table, applied; whole numbers stay whole."""
    if about.get("ModalityLUTSequence"):
        return apply_modality_lut(stored, about)
    slope, shift = rescale(about, frame)
    if (slope, shift) == (1, 0):
        return stored
    largest = abs(slope) * (np.abs(stored.astype(np.float64)).max(initial=0)) + abs(shift)
    if slope.is_integer() and shift.is_integer() and stored.dtype.kind in "iu" and largest < MOST_WHOLE:
        return stored.astype(np.int32) * np.int32(slope) + np.int32(shift)
    found = stored.astype(np.float64) * slope + shift
    if not np.isfinite(found).all():
        raise Unreadable("its slope and intercept give values that are no numbers")
    return found


def rescale(about: Dataset, frame: int) -> Ends:
    """Slope and intercept of a frame; 1 and 0 where there are none."""
    given = groups(about, frame, "PixelValueTransformationSequence")
    slope, shift = given.get("RescaleSlope"), given.get("RescaleIntercept")
    return (1.0 if slope is None else float(slope)), (0.0 if shift is None else float(shift))


def _window(given: Dataset) -> Ends | None:
    """The ends of the first window of a header; None where there is none that shows anything."""
    both: list[Any] = [given.get(name) for name in ("WindowCenter", "WindowWidth")]
    firsts: list[Any] = [each[0] if isinstance(each, list | MultiValue) and each else each for each in both]
    try:
        centre, width = (float(each) for each in firsts if each not in (None, ""))
    except (TypeError, ValueError):
        return None
    if not (np.isfinite([centre, width]).all() and width > 1):
        return None
    return centre - 0.5 - (width - 1) / 2, centre - 0.5 + (width - 1) / 2


def _padded(stored: NDArray[Any], about: Dataset) -> NDArray[np.bool_]:
    """Pixels (h, w) that show nothing."""
    first = about.get("PixelPaddingValue")
    if not isinstance(first, int):
        return np.zeros(stored.shape, dtype=bool)
    last = about.get("PixelPaddingRangeLimit")
    ends = sorted((first, last if isinstance(last, int) else first))
    return np.asarray((stored >= ends[0]) & (stored <= ends[1]))
