"""Decoders of compressed DICOM: those that come with pydicom and Pillow, and those of the extra `dicom`."""

import importlib
import importlib.util
import sys
from threading import Lock
from typing import Any

from pydicom.pixels.decoders.base import DecodeRunner, get_decoder
from pydicom.uid import (
    JPEG2000,
    UID,
    AllTransferSyntaxes,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)

from autossl.data.readers.forms import Unreadable

# BSD, and of 3,000 damaged frames none ended the process, where GDCM did on 70 (docs/decisions.md)
LIBRARY = "imagecodecs"
REMEDY = "install autossl-imaging[dicom]"
PILLOWS = frozenset({JPEGBaseline8Bit, JPEG2000Lossless, JPEG2000})
JPEG, JPEGLS = "jpeg8_decode", "jpegls_decode"
CODECS = {
    JPEGExtended12Bit: JPEG,
    JPEGLossless: JPEG,
    JPEGLosslessSV1: JPEG,
    JPEGLSLossless: JPEGLS,
    JPEGLSNearLossless: JPEGLS,
}
DECODER_DEPENDENCIES = {syntax: (LIBRARY,) for syntax in CODECS}  # what pydicom asks of a plug-in
NO_FRAME = frozenset({0xC4, 0xC8, 0xCC})  # markers among those of frames (SOF) that begin something else
LS_FRAME, NO_LENGTH = 0xF7, frozenset({0x01, *range(0xD0, 0xD9)})
_adding = Lock()


def plugin_of(syntax: UID, bits: int) -> str:
    """What decodes pixels of a transfer syntax, in pydicom's words; "" where nothing is compressed.

    Unreadable for what nothing decodes, and where the extra is missing.
    """
    if not syntax.is_encapsulated:
        return ""
    if syntax == RLELossless:
        return "pydicom"
    if syntax in PILLOWS or (syntax == JPEGExtended12Bit and bits == 8):
        return "pillow"
    if syntax not in CODECS:
        raise Unreadable(f"it is compressed as {syntax.name if syntax in AllTransferSyntaxes else 'something unknown'}")
    if lacking(syntax, bits):
        raise Unreadable(f"it is compressed as {syntax.name}: {REMEDY}")
    with _adding:
        decoder = get_decoder(syntax)
        if LIBRARY not in decoder.available_plugins:
            decoder.add_plugin(LIBRARY, (__name__, "decode_frame"))
    return LIBRARY


def lacking(syntax: UID, bits: int) -> bool:
    """Whether pixels of a transfer syntax need the extra, and it is not installed."""
    return syntax in CODECS and not (syntax == JPEGExtended12Bit and bits == 8) and not is_available(syntax)


def is_available(uid: str) -> bool:
    """Whether the library is installed; pydicom asks a plug-in so."""
    return LIBRARY in sys.modules or importlib.util.find_spec(LIBRARY) is not None


def decode_frame(source: bytes, runner: DecodeRunner) -> bytes:
    """A compressed frame as bytes, colours as they are in it; Unreadable where it is not of the size of its header."""
    if _sides(source) != (runner.rows, runner.columns):
        raise Unreadable("its pixels are of another size than its header says")
    library: Any = importlib.import_module(LIBRARY)
    name = CODECS[runner.transfer_syntax]
    plain = {"colorspace": "RGB", "outcolorspace": "RGB"} if name == JPEG and runner.samples_per_pixel == 3 else {}
    found = getattr(library, name)(source, **plain)
    runner.set_option("bits_allocated", 8 * found.dtype.itemsize)
    if found.ndim == 3:
        runner.set_option("planar_configuration", 0)
    return bytes(found.tobytes())


def _sides(source: bytes) -> tuple[int, int]:
    """Height and width as the frame header of a JPEG or JPEG-LS says: decoders take memory by it."""
    at = 2
    while at + 9 <= len(source) and source[at] == 0xFF:
        marker = source[at + 1]
        if marker == LS_FRAME or (0xC0 <= marker <= 0xCF and marker not in NO_FRAME):
            return int.from_bytes(source[at + 5 : at + 7], "big"), int.from_bytes(source[at + 7 : at + 9], "big")
        fill = marker == 0xFF
        at += 1 if fill else 2 if marker in NO_LENGTH else 2 + int.from_bytes(source[at + 2 : at + 4], "big")
    return 0, 0
