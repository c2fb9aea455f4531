"""Writers of image files that share nothing with the readers under attack."""

import struct
import zlib
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[Any]


def exif(orientation: int, kind: int = 3) -> bytes:
    """An EXIF block with nothing but an orientation (type 3: a short)."""
    value = struct.pack("<HH", orientation, 0) if kind == 3 else struct.pack("<I", orientation)
    return b"II*\0" + struct.pack("<IHHHI", 8, 1, 274, kind, 1) + value + b"\0\0\0\0"


def png(pixels: Pixels, orientation: int = 0, alpha: int | None = None) -> bytes:
    """(h, w) grey or (h, w, 3) RGB, uint8 or uint16, with a constant `alpha` if it is given."""
    depth = 8 * pixels.dtype.itemsize
    planes = pixels if pixels.ndim == 3 else pixels[:, :, None]
    if alpha is not None:
        planes = np.concatenate([planes, np.full_like(planes[:, :, :1], alpha)], axis=2)
    height, width, channels = planes.shape
    rows = np.ascontiguousarray(planes.astype(planes.dtype.newbyteorder(">"))).tobytes()
    step = len(rows) // height
    raw = b"".join(b"\0" + rows[at : at + step] for at in range(0, len(rows), step))
    kind = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    head = _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, 0))
    turned = _chunk(b"eXIf", exif(orientation)) if orientation else b""
    return b"\x89PNG\r\n\x1a\n" + head + turned + _chunk(b"IDAT", zlib.compress(raw)) + _chunk(b"IEND", b"")


def bomb(side: int = 60000) -> bytes:
    """A small PNG whose header promises a large image."""
    head = _chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + _chunk(b"IDAT", zlib.compress(bytes(1 << 20))) + _chunk(b"IEND", b"")


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def pnm(pixels: Pixels, white: int = 0, text: bool = False) -> bytes:
    """PGM or PPM with a highest value `white` (0: that of the type), binary or as text."""
    white = white or int(np.iinfo(pixels.dtype).max)
    height, width = pixels.shape[:2]
    magic = {(2, True): "P2", (3, True): "P3", (2, False): "P5", (3, False): "P6"}[pixels.ndim, text]
    head = f"{magic}\n{width} {height}\n{white}\n".encode()
    if text:
        return head + b"\n".join(b" ".join(b"%d" % v for v in row.ravel()) for row in pixels) + b"\n"
    return head + (pixels.astype(">u2") if white > 255 else pixels.astype(np.uint8)).tobytes()


def tiff(
    pixels: Pixels,
    big: bool = False,
    planar: bool = False,
    inverted: bool = False,
    packed: bool = False,
    orientation: int = 0,
    strips: int = 1,
) -> bytes:
    """(h, w) grey or (h, w, 3) RGB of any number type: byte order, separate planes, WhiteIsZero, deflate, strips."""
    height, width = pixels.shape[:2]
    channels = 1 if pixels.ndim == 2 else pixels.shape[2]
    order: Literal[">", "<"] = ">" if big else "<"
    stored = pixels.astype(pixels.dtype.newbyteorder(order)) if pixels.dtype.itemsize > 1 else pixels
    planes = [stored[:, :, c] for c in range(channels)] if planar and channels > 1 else [stored]
    rows = -(-height // strips)
    blocks = [np.ascontiguousarray(p[at : at + rows]).tobytes() for p in planes for at in range(0, height, rows)]
    blocks = [zlib.compress(block) for block in blocks] if packed else blocks
    photometric = (0 if inverted else 1) if channels == 1 else 2
    sample = {"u": 1, "i": 2, "f": 3}[pixels.dtype.kind]
    bits = 8 * pixels.dtype.itemsize
    tags: list[tuple[int, int, list[int]]] = [
        (256, 4, [width]), (257, 4, [height]), (258, 3, [bits] * channels), (259, 3, [8 if packed else 1]),
        (262, 3, [photometric]), (273, 4, [0] * len(blocks)), (277, 3, [channels]), (278, 4, [rows]),
        (279, 4, list(map(len, blocks))), (284, 3, [2 if len(planes) > 1 else 1]), (339, 3, [sample] * channels),
    ]  # fmt: skip
    if orientation:
        tags = sorted([*tags, (274, 3, [orientation])])
    return _tiff(tags, blocks, order)


def _tiff(tags: list[tuple[int, int, list[int]]], blocks: list[bytes], order: str) -> bytes:
    extra_at = 8 + 2 + 12 * len(tags) + 4
    sizes = {3: 2, 4: 4}
    extras = sum(sizes[kind] * len(v) for _, kind, v in tags if sizes[kind] * len(v) > 4)
    at, starts = extra_at + extras + extras % 2, []
    for block in blocks:
        starts.append(at)
        at += len(block)
    entries, extra = b"", b""
    for tag, kind, given in tags:
        values = starts if tag == 273 else given
        data = b"".join(struct.pack(order + ("H" if kind == 3 else "I"), value) for value in values)
        if len(data) > 4:
            data, more = struct.pack(order + "I", extra_at + len(extra)), data
            extra += more
        entries += struct.pack(order + "HHI", tag, kind, len(values)) + data.ljust(4, b"\0")
    head = (b"MM" if order == ">" else b"II") + struct.pack(order + "HI", 42, 8) + struct.pack(order + "H", len(tags))
    return head + entries + b"\0\0\0\0" + extra + b"\0" * (extras % 2) + b"".join(blocks)
