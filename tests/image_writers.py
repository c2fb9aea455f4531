"""Image files written byte by byte, so that nothing that reads them has written them."""

import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

PNG_TYPES = {1: 0, 3: 2, 2: 4, 4: 6}  # colour type by channels


def png(
    path: Path, image: NDArray[Any], bits: int, more: tuple[tuple[bytes, bytes], ...] = (), late: bytes = b""
) -> None:
    """A PNG of (h, w, 1 | 2 | 3 | 4), with further chunks before and EXIF behind the pixels."""
    height, width, channels = image.shape
    rows = image.reshape(height, -1).astype(">u2" if bits == 16 else "u1")
    if bits < 8:
        each = np.unpackbits(rows[:, :, None], axis=2)[:, :, 8 - bits :]
        rows = np.packbits(each.reshape(height, -1), axis=1)
    raw = b"".join(b"\0" + row.tobytes() for row in rows)
    head = struct.pack(">IIBBBBB", width, height, bits, PNG_TYPES[channels], 0, 0, 0)
    chunks = [
        (b"IHDR", head),
        *more,
        (b"IDAT", zlib.compress(raw)),
        *([(b"eXIf", late)] if late else []),
        (b"IEND", b""),
    ]
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + b"".join(
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
            for kind, data in chunks
        )
    )


def tiff(
    path: Path, image: NDArray[Any], order: str = "<", *, planar: bool = False, packed: bool = False,
    tags: dict[int, tuple[int, ...]] | None = None,
) -> None:  # fmt: skip
    """A TIFF of (h, w, c) in a byte order ("<" or ">"), each plane or the image in one strip, deflated if `packed`.

    `tags` are set or replaced (262: photometric, 274: orientation, 338: further samples, 339: sample format).
    """
    height, width, channels = image.shape
    planes = np.moveaxis(image, 2, 0) if planar else image[None]
    strips = [
        np.ascontiguousarray(plane).astype(image.dtype.newbyteorder("<" if order == "<" else ">")).tobytes()
        for plane in planes
    ]
    strips = [zlib.compress(strip) for strip in strips] if packed else strips
    starts = np.cumsum([8, *map(len, strips)]).tolist()
    kind = {"u": 1, "i": 2, "f": 3}[image.dtype.kind]
    values: dict[int, tuple[int, ...]] = {
        256: (width,), 257: (height,), 258: (8 * image.dtype.itemsize,) * channels, 259: (8 if packed else 1,),
        262: (2 if channels >= 3 else 1,), 273: tuple(starts[:-1]), 277: (channels,), 278: (height,),
        279: tuple(map(len, strips)), 284: (2 if planar else 1,), 339: (kind,) * channels, **(tags or {}),
    }  # fmt: skip
    entries, behind, at = b"", b"", starts[-1]
    for tag, numbers in sorted(values.items()):
        long = tag in (273, 279)
        content = struct.pack(f"{order}{len(numbers)}{'I' if long else 'H'}", *numbers)
        entries += struct.pack(f"{order}HHI", tag, 4 if long else 3, len(numbers))
        if len(content) <= 4:
            entries += content.ljust(4, b"\0")
        else:
            entries += struct.pack(f"{order}I", at + len(behind))
            behind += content
    ifd = at + len(behind)
    head = (b"II" if order == "<" else b"MM") + struct.pack(f"{order}HI", 42, ifd)
    path.write_bytes(head + b"".join(strips) + behind + struct.pack(f"{order}H", len(values)) + entries + b"\0" * 4)


def pnm(path: Path, image: NDArray[Any], white: int, plain: bool = False) -> None:
    """A PNM of (h, w, 1 | 3), in text if `plain`."""
    height, width, channels = image.shape
    kind = {(1, True): "P2", (3, True): "P3", (1, False): "P5", (3, False): "P6"}[channels, plain]
    if plain:
        body = "\n".join(" ".join(map(str, row)) for row in image.reshape(height, -1).tolist()).encode() + b" # end\n"
    else:
        body = image.astype(">u2" if white > 255 else "u1").tobytes()
    path.write_bytes(f"{kind}\n# made by hand\n{width} {height}\n{white}\n".encode() + body)
