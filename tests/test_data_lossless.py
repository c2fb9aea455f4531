"""Every value of an image file arrives as it stands, or the file is refused by name: formats, depths, channels."""

import os
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import ExifTags, Image

from autossl.data import CT, open_data, prepare, read_images
from autossl.data.readers.images import Unreadable, decode, look
from autossl.data.readers.volume_files import look as look_at_volume
from autossl.data.readers.volume_files import raw
from autossl.data.readers.volumes import to_voxels
from autossl.errors import UserError
from tests.image_writers import png, pnm, tiff

RANDOM = np.random.default_rng(0)
SIDES = st.tuples(st.integers(8, 20), st.integers(8, 20))
SEEDS = st.integers(0, 2**32 - 1)


def noise(seed: int, *shape: int, most: int = 255) -> NDArray[Any]:
    return np.random.default_rng(seed).integers(0, most + 1, shape, dtype=np.uint16)


def reads_as(path: Path, values: NDArray[Any]) -> None:
    """The file has these values in their own type, and its header says so."""
    image, header = decode(path), look(path)
    assert image.dtype == values.dtype
    np.testing.assert_array_equal(image, values)
    assert header is not None
    assert (header.size, header.channels) == (values.shape[:2], values.shape[2])
    assert header.white == (255 if values.dtype == np.uint8 else 0)


@given(SIDES, SEEDS, st.sampled_from([1, 2, 4, 8, 16]), st.sampled_from([1, 2, 3, 4]))
def test_png(
    tmp_path_factory: pytest.TempPathFactory, sides: tuple[int, int], seed: int, bits: int, stored: int
) -> None:
    path, white = tmp_path_factory.getbasetemp() / "any.png", 2**bits - 1
    stored = stored if bits >= 8 else 1
    image, kept = noise(seed, *sides, stored, most=white), 1 if stored < 3 else 3
    image[..., kept:] = white  # opaque
    png(path, image, bits)
    reads_as(path, image[..., :kept] if bits == 16 else (image[..., :kept] * (255 // white)).astype(np.uint8))


@given(SIDES, SEEDS, st.sampled_from([8, 16]), st.sampled_from([2, 4]))
def test_a_png_that_is_partly_transparent_is_refused(
    tmp_path_factory: pytest.TempPathFactory, sides: tuple[int, int], seed: int, bits: int, stored: int
) -> None:
    path, white = tmp_path_factory.getbasetemp() / "clear.png", 2**bits - 1
    image = noise(seed, *sides, stored, most=white)
    image[..., -1] = white
    image[3, 4, -1] = white - 1
    png(path, image, bits)
    with pytest.raises(Unreadable, match="it is partly transparent"):
        decode(path)


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_transparent_colour_of_a_png_matters_where_a_pixel_has_it(tmp_path: Path, bits: int, channels: int) -> None:
    if channels == 3 and bits < 8:
        pytest.skip("PNG has no colours of this depth")
    image = np.zeros((9, 11, channels), np.uint16)
    colour = struct.pack(f">{channels}H", *[1] * channels)
    png(tmp_path / "unused.png", image, bits, ((b"tRNS", colour),))
    assert not decode(tmp_path / "unused.png").any()
    image[2, 3] = 1
    png(tmp_path / "used.png", image, bits, ((b"tRNS", colour),))
    with pytest.raises(Unreadable, match="it is partly transparent"):
        decode(tmp_path / "used.png")


@given(SIDES, SEEDS, st.sampled_from([np.uint8, np.uint16]), st.sampled_from([1, 3]), *[st.booleans()] * 3)
def test_tiff(
    tmp_path_factory: pytest.TempPathFactory, sides: tuple[int, int], seed: int, dtype: type, channels: int,
    big: bool, packed: bool, planar: bool,
) -> None:  # fmt: skip
    path = tmp_path_factory.getbasetemp() / "any.tif"
    planar = planar and channels == 3
    image: NDArray[Any] = noise(seed, *sides, channels, most=np.iinfo(dtype).max).astype(dtype)
    tiff(path, image, ">" if big else "<", planar=planar, packed=packed)
    if planar and dtype is np.uint16:
        with pytest.raises(Unreadable, match="its 16-bit channels lie in separate planes"):
            decode(path)
        assert look(path) is None
    else:
        reads_as(path, image)


@given(SIDES, SEEDS, st.sampled_from(["i2", "i4", "u4", "f4"]), st.booleans(), st.booleans())
def test_tiff_of_other_numbers(
    tmp_path_factory: pytest.TempPathFactory, sides: tuple[int, int], seed: int, dtype: str, big: bool, packed: bool
) -> None:
    """Pillow swaps the bytes of compressed big-endian ones twice; some it does not know at all."""
    path = tmp_path_factory.getbasetemp() / "other.tif"
    values = noise(seed, *sides, 1, most=32767)
    image = (values / 65535 if dtype == "f4" else values).astype(dtype)
    tiff(path, image, ">" if big else "<", packed=packed)
    if dtype == "u4" and big:
        with pytest.raises(Unreadable, match="it is a TIFF that is damaged or of a form that is not read"):
            decode(path)
    else:
        reads_as(path, values)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_white_is_zero_is_inverted_at_any_depth_and_said(tmp_path: Path, dtype: type, packed: bool) -> None:
    white = 1 if dtype is np.float32 else np.iinfo(dtype).max
    for name in ("a", "b"):
        (tmp_path / "set" / name).mkdir(parents=True)
        for at in range(8):
            image: NDArray[Any] = (noise(at, 12, 15, 1, most=1023) / 1023 * white).astype(dtype)
            tiff(tmp_path / "set" / name / f"{at}.tif", image, packed=packed, tags={262: (at % 2,)})
    path = tmp_path / "set" / "a" / "2.tif"
    image = (noise(2, 12, 15, 1, most=1023) / 1023 * white).astype(dtype)
    whole = np.rint(image.astype(np.float64) * 65535).astype(np.uint16) if dtype is np.float32 else image
    reads_as(path, np.iinfo(whole.dtype).max - whole)
    assert "8 images inverted, for the file says that 0 is white" in open_data(tmp_path / "set").notes


def test_negative_8_bit_values_are_not_taken_for_large_ones(tmp_path: Path) -> None:
    image = np.arange(-60, 60).reshape(10, 12, 1).astype(np.int8)
    tiff(tmp_path / "one.tif", image)
    with pytest.raises(Unreadable, match="pixel values from 0 to 65535 were wanted, found -60 to 59"):
        decode(tmp_path / "one.tif")
    tiff(tmp_path / "two.tif", np.abs(image))
    reads_as(tmp_path / "two.tif", np.abs(image).astype(np.uint8))


@pytest.mark.parametrize(
    ("channels", "tags", "message"),
    [
        (4, {338: (0,)}, "it holds channels besides colours and alpha"),
        (2, {338: (0,)}, "it holds channels besides colours and alpha"),
        (5, {338: (2, 0)}, "it holds channels besides colours and alpha"),
        (4, {338: (2,)}, "it is partly transparent"),
        (4, {338: (1,)}, "it is partly transparent"),
        (3, {262: (6,), 530: (1, 1)}, "it is an uncompressed YCbCr TIFF"),
        (3, {262: (8,)}, "colours in the form LAB are not read"),
    ],
)
def test_tiff_that_holds_something_else_is_refused_by_name(
    tmp_path: Path, channels: int, tags: dict[int, tuple[int, ...]], message: str
) -> None:
    tiff(tmp_path / "one.tif", noise(0, 12, 15, channels).astype(np.uint8), tags=tags)
    with pytest.raises(Unreadable, match=message):
        decode(tmp_path / "one.tif")


@pytest.mark.parametrize("deep", [False, True])
def test_a_palette_of_16_bit_is_refused_where_it_has_more_than_8(tmp_path: Path, deep: bool) -> None:
    image = np.arange(256, dtype=np.uint8).reshape(16, 16, 1)
    palette = noise(1, 3, 256).astype(int) * 257 + deep
    tiff(tmp_path / "one.tif", image, tags={262: (3,), 320: tuple((palette % 65536).ravel().tolist())})
    if deep:
        with pytest.raises(Unreadable, match="its palette has 16 bits a colour"):
            decode(tmp_path / "one.tif")
    else:
        reads_as(tmp_path / "one.tif", (palette[:, image[..., 0]] // 257).transpose(1, 2, 0).astype(np.uint8))


@given(SIDES, SEEDS, st.sampled_from([1, 100, 255, 256, 799, 4095, 65535]), st.sampled_from([1, 3]), st.booleans())
def test_pnm(
    tmp_path_factory: pytest.TempPathFactory, sides: tuple[int, int], seed: int, white: int, channels: int, plain: bool
) -> None:
    path, image = tmp_path_factory.getbasetemp() / "any.pnm", noise(seed, *sides, channels, most=white)
    pnm(path, image, white, plain)
    reads_as(path, image if white > 255 else np.rint(image / white * 255).astype(np.uint8))


@pytest.mark.parametrize("bits", [8, 10, 12, 16])
def test_jpeg_2000(tmp_path: Path, bits: int) -> None:
    """Pillow writes 16 bit; that a file has fewer stands in one byte of its header."""
    path = tmp_path / "one.jp2"
    values = noise(0, 32, 40, 1, most=2**bits - 1)
    if bits > 8:
        Image.fromarray(values[..., 0]).save(path)
        content = bytearray(path.read_bytes())
        content[content.index(b"\xff\x4f\xff\x51") + 42] = bits - 1
        path.write_bytes(content)
        assert decode(path).max() < 2**bits
        if bits == 16:
            reads_as(path, values)
    else:
        Image.fromarray(values[..., 0].astype(np.uint8)).save(path)
        reads_as(path, values.astype(np.uint8))


@pytest.mark.parametrize(
    ("size", "message"), [(15, "JPEG 2000 of 16 bit in 3 channels"), (135, "its values are signed")]
)
def test_jpeg_2000_that_pillow_would_cut_is_refused(tmp_path: Path, size: int, message: str) -> None:
    path = tmp_path / "one.jp2"
    Image.fromarray(noise(0, 32, 40, 3).astype(np.uint8)).save(path)
    content = bytearray(path.read_bytes())
    start = content.index(b"\xff\x4f\xff\x51") + 42
    content[start : start + 9 : 3] = bytes([size] * 3)
    path.write_bytes(content)
    with pytest.raises(Unreadable, match=message):
        decode(path)


@pytest.mark.parametrize("suffix", ["png", "webp", "gif"])
def test_opaque_palettes_and_alpha_are_resolved_and_others_refused(tmp_path: Path, suffix: str) -> None:
    colours = Image.fromarray(noise(0, 12, 14, 3).astype(np.uint8))
    path = tmp_path / f"one.{suffix}"
    flat = colours.quantize(16) if suffix == "gif" else colours.convert("RGBA")
    flat.save(path, lossless=True)
    np.testing.assert_array_equal(decode(path), np.asarray(flat.convert("RGB")))
    if suffix == "gif":
        flat.save(path, transparency=int(np.asarray(flat)[3, 4]))
    else:
        flat.putpixel((3, 4), (1, 2, 3, 254))
        flat.save(path, lossless=True, exact=True)
    with pytest.raises(Unreadable, match="it is partly transparent"):
        decode(path)


def turned_back(image: NDArray[Any], orientation: int) -> NDArray[Any]:
    """What the standard says: where row 0 and column 0 of the stored image lie in the shown one."""
    rows = {1: "top", 2: "top", 3: "bottom", 4: "bottom", 5: "left", 6: "right", 7: "right", 8: "left"}[orientation]
    columns = {1: "left", 2: "right", 3: "right", 4: "left", 5: "top", 6: "top", 7: "bottom", 8: "bottom"}[orientation]
    if rows in ("left", "right"):
        image = image.swapaxes(0, 1)
        rows, columns = columns, rows
    return image[:: -1 if rows == "bottom" else 1, :: -1 if columns == "right" else 1]


def exif(value: Any) -> Image.Exif:
    made = Image.Exif()
    made[ExifTags.Base.Orientation] = value
    return made


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize(
    "form", ["one.png", "late.png", "one.webp", "one.tif", "packed.tif", "deep.tif", "colour.tif", "f4.tif"]
)
def test_every_format_is_turned_by_its_tag(tmp_path: Path, form: str, orientation: int) -> None:
    path = tmp_path / form
    image = noise(
        0, 12, 17, 3 if form in ("colour.tif", "one.webp") else 1, most=65535 if form in ("deep.tif", "f4.tif") else 255
    )
    image = image if form in ("deep.tif", "f4.tif") else image.astype(np.uint8)
    if form.endswith("tif"):
        stored = (image / 65535).astype(np.float32) if form == "f4.tif" else image
        tiff(path, stored, packed=form == "packed.tif", tags={274: (orientation,)})
    elif form == "one.webp":
        Image.fromarray(image).save(path, lossless=True, exif=exif(orientation))
    else:
        chunk = exif(orientation).tobytes().removeprefix(b"Exif\0\0")
        png(path, image, 8, () if form == "late.png" else ((b"eXIf", chunk),), chunk if form == "late.png" else b"")
    reads_as(path, turned_back(image, orientation))
    header = look(path)
    assert header is not None
    assert header.turned == (orientation > 1)


def odd_exif(kind: int, content: bytes) -> bytes:
    """EXIF whose orientation is of a kind of value that it should not be."""
    entry = struct.pack("<HHI", ExifTags.Base.Orientation, kind, 1) + content.ljust(4, b"\0")
    return b"Exif\0\0II*\0\x08\0\0\0\x01\0" + entry + b"\0" * 12


@pytest.mark.parametrize("value", [0, 9, 10, 255, float("inf"), float("nan"), b"\6", "no fraction"])
def test_an_invalid_orientation_is_passed_over(tmp_path: Path, value: Any) -> None:
    """As Pillow and browsers do."""
    image = Image.fromarray(noise(0, 12, 17, 3).astype(np.uint8))
    odd = {float: lambda: odd_exif(11, struct.pack("<f", value)), bytes: lambda: odd_exif(7, value)}
    odd |= {int: lambda: odd_exif(3, struct.pack("<H", value)), str: lambda: odd_exif(5, struct.pack("<I", 26))}
    image.save(tmp_path / "one.jpg", exif=odd[type(value)]())
    image.save(tmp_path / "two.jpg")
    np.testing.assert_array_equal(decode(tmp_path / "one.jpg"), decode(tmp_path / "two.jpg"))
    tiff(tmp_path / "one.tif", noise(0, 12, 17, 1), tags={274: (9,)})
    reads_as(tmp_path / "one.tif", noise(0, 12, 17, 1))


def test_turned_files_are_counted_and_alike_in_store_and_new_images(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / "set" / name).mkdir(parents=True)
        for at in range(8):
            image = noise(at + 8 * (name == "b"), 16, 24, 1).astype(np.uint8)
            tiff(tmp_path / "set" / name / f"{at}.tif", image, tags={274: (at + 1,)})
    data = prepare(open_data(tmp_path / "set"), tmp_path / "cache", image_size=24)
    assert "14 images turned as the orientation tag says" in data.notes
    assert data.record["flaws"]["unreadable"] == 0
    fresh = read_images(tmp_path / "set", 24, 1, data.scale, data.truth)
    np.testing.assert_array_equal(fresh.images, data.images)
    upright = turned_back(noise(5, 16, 24, 1).astype(np.uint8), 6)
    np.testing.assert_array_equal(data.images[5][:, 4:20], upright)


def broken_tiff(path: Path) -> None:
    """No tags of its size: Pillow raises a TypeError."""
    path.write_bytes(b"II*\0\x08\0\0\0\x01\0" + struct.pack("<HHIHH", 258, 3, 1, 8, 0) + b"\0" * 4)


def huge_tiff(path: Path) -> None:
    tiff(path, noise(0, 12, 12, 1), tags={256: (65535,), 257: (65535,)})


def pipe(path: Path) -> None:
    os.mkfifo(path)


def device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def postscript(path: Path) -> None:
    """Pillow would run a program for it, whatever its name."""
    Image.fromarray(noise(0, 12, 12, 3).astype(np.uint8)).save(path, format="EPS")


BROKEN = {
    broken_tiff: "it is a TIFF that is damaged or of a form that is not read|Missing dimensions",
    huge_tiff: "exceeds limit|none of its levels can be read",
    pipe: "it is a (pipe|device), no file",
    device: "it is a (pipe|device), no file",
    postscript: "it is no image",
}


@pytest.mark.parametrize(("damage", "reason"), BROKEN.items(), ids=lambda value: getattr(value, "__name__", ""))
def test_one_broken_file_is_set_aside(tmp_path: Path, damage: Any, reason: str) -> None:
    for name in ("a", "b"):
        (tmp_path / "set" / name).mkdir(parents=True)
        for at in range(20):
            png(tmp_path / "set" / name / f"{at}.png", noise(at + 20 * (name == "b"), 12, 12, 1), 8)
    path = tmp_path / "set" / "a" / "7.tif"
    damage(path)
    with pytest.raises(Unreadable, match=reason) as caught:
        decode(path)
    assert "\n" not in str(caught.value)
    assert str(path) not in str(caught.value)
    data = prepare(open_data(tmp_path / "set"), tmp_path / "cache")
    assert data.record["flaws"]["unreadable"] == 1
    with pytest.raises(UserError, match="found a damaged one"):
        read_images(tmp_path / "set", 12, 1, data.scale)


def test_a_volume_that_is_a_pipe_is_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "one.nii")
    assert look_at_volume(tmp_path / "one.nii") is None
    with pytest.raises(Unreadable, match=r"it is a (pipe|device), no file"):
        raw(tmp_path / "one.nii")


@pytest.mark.parametrize("dtype", [np.int16, np.uint16, np.int32, np.float32, np.float64])
def test_hounsfield_units_of_every_type(dtype: type) -> None:
    """Unsigned types cannot hold the lower limit."""
    values: NDArray[Any] = np.array([0, 5, 3071, 9000], dtype=dtype).reshape(1, 2, 2, 1)
    voxels, white = to_voxels(values, CT, "it")
    assert voxels.ravel().tolist() == [1024, 1029, 4095, 4095]
    assert white == 4095


@pytest.mark.parametrize("dtype", ["u1", ">u2", "<i4", ">i4", "<f8", ">f4"])
def test_nifti_of_every_type_keeps_its_values(tmp_path: Path, dtype: str) -> None:
    nib: Any = pytest.importorskip("nibabel", reason="nibabel is not installed")
    values: NDArray[Any] = noise(0, 9, 10, 11, most=255).astype(dtype)
    if values.dtype.itemsize > 2:
        values += 0 if dtype == ">f4" else 2**24 + 1  # single precision rounds such
    header = nib.Nifti1Header(endianness=">" if ">" in dtype else "<")
    header.set_data_dtype(dtype)
    image = nib.Nifti1Image(values, np.eye(4), header)
    nib.save(image, tmp_path / "one.nii")
    np.testing.assert_array_equal(raw(tmp_path / "one.nii")[..., 0], values.transpose(2, 1, 0))


def test_pillow_images_of_a_dataset_show_what_they_are(tmp_path: Path) -> None:
    """An index into a palette is no pixel value, and Pillow has lost half of a 16-bit colour."""
    colours = Image.fromarray(noise(0, 12, 14, 3).astype(np.uint8))

    class Pictures:
        def __init__(self, *images: Image.Image) -> None:
            self.images = images

        def __len__(self) -> int:
            return 4

        def __getitem__(self, row: int) -> tuple[Image.Image, int]:
            return self.images[row % len(self.images)], row % 2

    flat = colours.quantize(16)
    source = open_data(Pictures(flat, colours.convert("RGBA")))
    np.testing.assert_array_equal(source.read(0), np.asarray(flat.convert("RGB")))
    np.testing.assert_array_equal(source.read(1), np.asarray(colours))
    clear = colours.convert("RGBA")
    clear.putpixel((1, 1), (0, 0, 0, 0))
    with pytest.raises(UserError, match="found item 0 of the given Pictures: it is partly transparent"):
        open_data(Pictures(clear))
    png(tmp_path / "deep.png", noise(0, 12, 14, 3, most=65535), 16)
    with Image.open(tmp_path / "deep.png") as deep, pytest.raises(UserError, match="8 of the 16 bits"):
        open_data(Pictures(deep))
