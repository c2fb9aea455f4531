"""One image file becomes pixels without loss, and a square without distortion."""

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps

from autossl.data.readers.images import Header, decode, look
from autossl.data.readers.squares import fit

RANDOM = np.random.default_rng(0)
RAMP = (np.arange(64 * 64).reshape(64, 64) % 4096).astype(np.uint16)  # every 12-bit value


def noise(*shape: int) -> NDArray[np.uint8]:
    return RANDOM.integers(0, 256, shape, dtype=np.uint8)


def deep_png(path: Path, image: NDArray[np.uint16], colour_type: int) -> None:
    """A 16-bit PNG with rows filtered by difference, which Pillow cannot write for colour."""
    height, width, channels = image.shape
    rows = image.astype(">u2").tobytes()
    stride, step = width * channels * 2, channels * 2
    raw = b""
    for at in range(height):
        row = np.frombuffer(rows[at * stride : (at + 1) * stride], np.uint8)
        raw += b"\1" + (row - np.concatenate([np.zeros(step, np.uint8), row[:-step]])).tobytes()

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 16, colour_type, 0, 0, 0)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(raw)) + chunk(b"IEND", b"")
    )


def deep_tiff(path: Path, image: NDArray[np.uint16], order: str) -> None:
    """An uncompressed 16-bit RGB TIFF in a byte order ("<" or ">")."""
    height, width, channels = image.shape
    data = image.astype(f"{order}u2").tobytes()
    bits_at = 8 + len(data)
    tags = [(256, 3, 1, width), (257, 3, 1, height), (258, 3, channels, bits_at), (259, 3, 1, 1), (262, 3, 1, 2)]
    tags += [(273, 4, 1, 8), (277, 3, 1, channels), (278, 3, 1, height), (279, 4, 1, len(data))]
    ifd = struct.pack(f"{order}H", len(tags))
    for tag, kind, count, value in tags:
        short = kind == 3 and count == 1
        packed = struct.pack(f"{order}HH", value, 0) if short else struct.pack(f"{order}I", value)
        ifd += struct.pack(f"{order}HHI", tag, kind, count) + packed
    bits = struct.pack(f"{order}{channels}H", *[16] * channels)
    head = (b"II" if order == "<" else b"MM") + struct.pack(f"{order}HI", 42, bits_at + len(bits))
    path.write_bytes(head + data + bits + ifd + struct.pack(f"{order}I", 0))


@pytest.mark.parametrize("name", ["ramp.png", "ramp.tif"])
def test_a_12_bit_ramp_in_a_16_bit_file_survives(tmp_path: Path, name: str) -> None:
    Image.fromarray(RAMP).save(tmp_path / name)
    image = decode(tmp_path / name)
    assert image.dtype == np.uint16
    np.testing.assert_array_equal(image[:, :, 0], RAMP)


def test_a_big_endian_tiff_survives(tmp_path: Path) -> None:
    Image.frombytes("I;16B", (64, 64), RAMP.astype(">u2").tobytes()).save(tmp_path / "big.tif")
    image = decode(tmp_path / "big.tif")
    assert image.dtype == np.uint16
    np.testing.assert_array_equal(image[:, :, 0], RAMP)


@pytest.mark.parametrize("colour_type", [0, 2, 4, 6])
def test_16_bit_png_of_every_colour_type_is_read_without_loss(tmp_path: Path, colour_type: int) -> None:
    stored = {0: 1, 2: 3, 4: 2, 6: 4}[colour_type]
    kept = 1 if stored <= 2 else 3
    image = RANDOM.integers(0, 65536, (9, 11, stored), dtype=np.uint16)
    image[:, :, kept:] = 65535  # opaque
    deep_png(tmp_path / "deep.png", image, colour_type)
    assert look(tmp_path / "deep.png") == Header((9, 11), kept, 0)
    np.testing.assert_array_equal(decode(tmp_path / "deep.png"), image[:, :, :kept])


@pytest.mark.parametrize("order", ["<", ">"])
def test_16_bit_colour_tiff_is_read_without_loss(tmp_path: Path, order: str) -> None:
    image = RANDOM.integers(0, 65536, (9, 11, 3), dtype=np.uint16)
    deep_tiff(tmp_path / "deep.tif", image, order)
    assert look(tmp_path / "deep.tif") == Header((9, 11), 3, 0)
    np.testing.assert_array_equal(decode(tmp_path / "deep.tif"), image)


@pytest.mark.parametrize(("mode", "channels"), [("1", 1), ("L", 1), ("LA", 1), ("P", 3), ("RGBA", 3), ("CMYK", 3)])
def test_every_8_bit_mode_becomes_grey_or_rgb(tmp_path: Path, mode: str, channels: int) -> None:
    path = tmp_path / ("image.tif" if mode == "CMYK" else "image.png")
    colours = Image.fromarray(noise(10, 14, 3))
    colours.convert(mode).save(path)
    assert look(path) == Header((10, 14), channels, 255)
    assert decode(path).shape == (10, 14, channels)
    if mode == "RGBA":
        np.testing.assert_array_equal(decode(path), np.asarray(colours))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_turned_jpeg_is_turned_back(tmp_path: Path, orientation: int) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    path = tmp_path / "turned.jpg"
    Image.fromarray(noise(20, 30, 3)).save(path, exif=exif)
    with Image.open(path) as image:
        upright = np.asarray(ImageOps.exif_transpose(image))
    np.testing.assert_array_equal(decode(path), upright)
    assert look(path) == Header(upright.shape[:2], 3, 255, turned=orientation > 1)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_fit_keeps_the_whole_image_its_aspect_ratio_and_its_range(dtype: type) -> None:
    image: NDArray[np.uint8 | np.uint16] = np.full((40, 80, 1), 1000 if dtype is np.uint16 else 100, dtype=dtype)
    image[10:30, 20:60] *= 2
    small = fit(image, 20)
    assert small.shape == (20, 20, 1)
    assert small.dtype == dtype
    assert small.min() == image.min()
    assert small.max() == image.max()
    assert (small[:5] == image[0, 0]).all()  # padded with the border's median
    assert small[10, 10] == image[20, 40]


def test_fit_leaves_an_image_of_the_wanted_size_untouched() -> None:
    image = noise(28, 28, 3)
    assert fit(image, 28) is image


def test_fit_averages_what_it_shrinks() -> None:
    stripes = np.zeros((64, 64, 1), dtype=np.uint8)
    stripes[:, ::2] = 200
    assert abs(int(fit(stripes, 16)[8, 8, 0]) - 100) < 15
