"""TIFF of several pages and levels, and WebP: the page that is meant, to the last bit, and pyramids to a level."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from autossl.data import open_data
from autossl.data.readers.images import Unreadable, decode, look
from autossl.data.readers.volume_files import raw

tifffile: Any = pytest.importorskip("tifffile", reason="tifffile is not installed")


def noise(dtype: str, *shape: int) -> NDArray[Any]:
    return np.random.default_rng(0).integers(0, np.iinfo(dtype).max, shape, dtype=dtype, endpoint=True)


@pytest.mark.parametrize("dtype", ["u1", "u2"])
@pytest.mark.parametrize("colours", [(), (3,)])
@pytest.mark.parametrize("packing", [None, "zlib"])
def test_a_page_is_named_by_its_number(
    tmp_path: Path, dtype: str, colours: tuple[int, ...], packing: str | None
) -> None:
    pages = noise(dtype, 5, 20, 16, *colours)
    photometric = "rgb" if colours else "minisblack"
    tifffile.imwrite(path := tmp_path / "x.tif", pages, compression=packing, photometric=photometric, metadata=None)
    for at in (0, 3):
        np.testing.assert_array_equal(decode(tmp_path / f"x.tif::{at}"), pages[at].reshape(20, 16, -1), strict=True)
    with pytest.raises(Unreadable, match="it holds 5 frames: choose one by ::0 to ::4 behind its name"):
        decode(path)
    for wrong in ("5", "-1", "x"):
        with pytest.raises(Unreadable, match=f"it holds 5 frames, and number {wrong} was wanted"):
            decode(tmp_path / f"x.tif::{wrong}")


def test_pages_are_slices_where_that_is_said(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for at in range(3):
            tifffile.imwrite(tmp_path / name / f"{at}.tif", noise("u2", 9, 20, 16) + at, photometric="minisblack")
    source = open_data(f"{tmp_path}::stack")
    assert (source.n, source.dims) == (6, 3)
    np.testing.assert_array_equal(source.read(4)[..., 0], noise("u2", 9, 20, 16) + 1)
    first = open_data(f"{tmp_path}::2")
    np.testing.assert_array_equal(first.read(0)[..., 0], noise("u2", 9, 20, 16)[2])
    tifffile.imwrite(tmp_path / "one.tif", noise("u2", 20, 16))
    with pytest.raises(Unreadable, match="no pages that could be slices"):
        raw(tmp_path / "one.tif::stack")


@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("as_pages", [False, True])
@pytest.mark.parametrize("packing", [None, "zlib"])
def test_a_pyramid_is_read_at_its_finest_or_a_named_level(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, big: bool, as_pages: bool, packing: str | None
) -> None:
    """Levels as pages of their own, and inside of the first page as OME has them; tiles, with and without packing."""
    levels = [noise("u2", 256 >> at, 192 >> at) for at in range(3)]
    tile: dict[str, Any] = {"tile": (32, 32), "photometric": "minisblack", "compression": packing, "metadata": None}
    with tifffile.TiffWriter(path := tmp_path / "x.tif", bigtiff=big) as file:
        file.write(levels[0], subifds=0 if as_pages else 2, **tile)
        for level in levels[1:]:
            file.write(level, subfiletype=1, **tile)
    np.testing.assert_array_equal(decode(path)[..., 0], levels[0], strict=True)
    for at, level in enumerate(levels):
        np.testing.assert_array_equal(decode(tmp_path / f"x.tif::{at}")[..., 0], level, strict=True)
    monkeypatch.setattr("PIL.Image.MAX_IMAGE_PIXELS", 20000)
    np.testing.assert_array_equal(decode(path)[..., 0], levels[1], strict=True)
    header = look(path)
    assert header is not None
    assert (header.size, header.reduced) == (levels[1].shape, True)
    with pytest.raises(Unreadable, match="192 x 256 pixels, and none of its levels can be read"):
        decode(tmp_path / "x.tif::0")


def test_a_pyramid_that_is_reduced_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for row in range(3):
            with tifffile.TiffWriter(tmp_path / name / f"{row}.tif") as file:
                for at in range(3):
                    file.write(noise("u1", 256 >> at, 192 >> at), subfiletype=min(at, 1), metadata=None)
    monkeypatch.setattr("PIL.Image.MAX_IMAGE_PIXELS", 20000)
    source = open_data(tmp_path)
    assert source.sizes.tolist() == [[128, 96]] * 6
    assert "6 pyramids read at the finest level that is not too large" in source.notes


def test_webp_without_loss_and_frames_of_animations(tmp_path: Path) -> None:
    colours = noise("u1", 3, 20, 16, 3)
    frames = [Image.fromarray(each) for each in colours]
    frames[0].save(tmp_path / "x.webp", lossless=True)
    np.testing.assert_array_equal(decode(tmp_path / "x.webp"), colours[0], strict=True)
    frames[0].save(tmp_path / "y.webp", save_all=True, append_images=frames[1:], lossless=True)
    np.testing.assert_array_equal(decode(tmp_path / "y.webp::2"), colours[2], strict=True)
