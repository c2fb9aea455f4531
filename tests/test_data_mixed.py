"""Grey and colours in one set: grey stays grey, or becomes three equal channels without loss, and it is said."""

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from autossl.data import Data, open_data, prepare, read_images
from autossl.data.readers.images import OtherChannels, to_channels
from autossl.errors import UserError
from tests.image_writers import png

NUMBER = itertools.count()


def noise(seed: int, channels: int, white: int = 255, side: int = 12) -> NDArray[Any]:
    return np.random.default_rng(seed).integers(0, white + 1, (side, side, channels), dtype=np.uint16)


def write(root: Path, images: list[NDArray[Any]], bits: list[int] | int = 8) -> Path:
    """Class folders a and b, half of the images in each."""
    depths = [bits] * len(images) if isinstance(bits, int) else bits
    for at, (image, depth) in enumerate(zip(images, depths, strict=True)):
        folder = root / ("a" if at < len(images) / 2 else "b")
        folder.mkdir(parents=True, exist_ok=True)
        png(folder / f"{at:03}.png", image, depth)
    return root


def prepared(tmp_path: Path, images: list[NDArray[Any]], bits: list[int] | int = 8) -> Data:
    place = tmp_path / str(next(NUMBER))
    return prepare(open_data(write(place / "set", images, bits)), place / "cache")


@pytest.mark.parametrize("bits", [8, 16])
def test_grey_among_colours_becomes_three_equal_channels(tmp_path: Path, bits: int) -> None:
    white = 2**bits - 1
    images = [noise(at, 1 if at % 4 else 3, white) for at in range(40)]
    data = prepared(tmp_path, images, bits)
    assert data.images.shape == (40, 12, 12, 3)
    np.testing.assert_array_equal(data.images, [np.broadcast_to(image, (12, 12, 3)) for image in images])
    assert "30 grey images became three equal channels" in data.notes
    assert data.record["flaws"]["unreadable"] == 0


@pytest.mark.parametrize("bits", [8, 16])
def test_equal_channels_are_grey(tmp_path: Path, bits: int) -> None:
    images = [noise(at, 1, 2**bits - 1) for at in range(40)]
    files = [image if at % 4 else np.repeat(image, 3, axis=2) for at, image in enumerate(images)]
    data = prepared(tmp_path, files, bits)
    assert data.images.shape == (40, 12, 12, 1)
    np.testing.assert_array_equal(data.images, images)
    assert "10 images grey but stored as RGB: one channel is kept" in data.notes


def test_a_single_pixel_of_colour_in_the_last_file_makes_a_set_of_colours(tmp_path: Path) -> None:
    images = [np.repeat(noise(at, 1), 3, axis=2) for at in range(200)]
    images[-1][5, 6, 2] ^= 1
    data = prepared(tmp_path, images)
    np.testing.assert_array_equal(data.images, images)
    assert not any("grey" in note for note in data.notes)


def test_8_bit_grey_among_16_bit_colours(tmp_path: Path) -> None:
    """Of white at 65535, 8-bit values are exactly 257 times as large."""
    bits = [8 if at % 2 else 16 for at in range(40)]
    images = [noise(at, 1 if depth == 8 else 3, 2**depth - 1) for at, depth in enumerate(bits)]
    data = prepared(tmp_path, images, bits)
    wanted = [image * (257 if depth == 8 else 1) for image, depth in zip(images, bits, strict=True)]
    np.testing.assert_array_equal(data.images, [np.broadcast_to(image, (12, 12, 3)) for image in wanted])
    assert any("20 8-bit images among 16-bit ones" in note for note in data.notes)


def test_opaque_alpha_and_palettes_are_no_colours(tmp_path: Path) -> None:
    """A grey image in each of the forms in which public sets have it."""
    root = write(tmp_path / "set", [noise(at, 1) for at in range(40)])
    for at, form in enumerate(("RGBA", "LA", "P", "RGB")):
        image = Image.open(root / "a" / f"00{at}.png").convert("L")
        if form == "P":
            image.putpalette([value for value in range(256) for _ in range(3)])
        else:
            image = image.convert(form)
        image.save(root / "a" / f"00{at}.png")
    data = prepare(open_data(root), tmp_path / "cache")
    np.testing.assert_array_equal(data.images, [noise(at, 1) for at in range(40)])


def test_a_partly_transparent_image_is_set_aside(tmp_path: Path) -> None:
    images = [noise(at, 1) for at in range(40)]
    images[3] = noise(3, 4)
    data = prepared(tmp_path, images)
    assert data.record["flaws"]["unreadable"] == 1
    assert data.images.shape[-1] == 1
    with pytest.raises(UserError, match=r"found 3 of 40 .* the first a/003.png \(it is partly transparent"):
        prepared(tmp_path, images[:37] + [noise(at, 4) for at in (38, 39, 40)][:2] + images[39:])


def test_the_same_grey_image_in_two_forms_is_a_duplicate(tmp_path: Path) -> None:
    images = [noise(at, 3 if at > 30 else 1) for at in range(40)]
    images[30] = np.repeat(images[2], 3, axis=2)
    data = prepared(tmp_path, images)
    assert data.record["flaws"]["duplicate_images"] == 2
    assert data.groups[2] == data.groups[30]


def test_arrays_and_datasets_follow_the_same_rule(tmp_path: Path) -> None:
    grey = np.stack([noise(at, 1) for at in range(40)]).astype(np.uint8)
    source = open_data(np.repeat(grey, 3, axis=3), labels=np.arange(40) % 2)
    assert source.channels == 1
    np.testing.assert_array_equal(prepare(source, tmp_path / "array").images, grey)

    class Pictures:
        def __len__(self) -> int:
            return 40

        def __getitem__(self, row: int) -> tuple[Image.Image, int]:
            return Image.fromarray(grey[row, :, :, 0]).convert("L" if row else "RGB"), row % 2

    np.testing.assert_array_equal(prepare(open_data(Pictures()), tmp_path / "dataset").images, grey)


def test_8_and_16_bit_items_of_a_dataset_have_the_same_white() -> None:
    class Pictures:
        def __len__(self) -> int:
            return 4

        def __getitem__(self, row: int) -> tuple[NDArray[Any], int]:
            return (noise(row, 1).astype(np.uint8) if row else noise(row, 1, 65535)), row % 2

    assert open_data(Pictures()).white.tolist() == [0, 255, 255, 255]


@pytest.mark.parametrize("colours_first", [True, False])
def test_unlabelled_images_of_another_form_join(tmp_path: Path, colours_first: bool) -> None:
    colours = write(tmp_path / "colours", [noise(at, 3) for at in range(24)])
    grey = write(tmp_path / "grey", [noise(at, 1) for at in range(24, 48)])
    first, second = (colours, grey) if colours_first else (grey, colours)
    source = open_data(first, unlabeled=second)
    assert source.channels == 3
    assert "24 grey images became three equal channels" in source.notes
    data = prepare(source, tmp_path / "cache")
    wanted = np.stack([np.broadcast_to(noise(at, 3 if at < 24 else 1), (12, 12, 3)) for at in range(48)])
    np.testing.assert_array_equal(data.images, wanted if colours_first else np.roll(wanted, 24, axis=0))


def test_new_images_follow_the_channels_of_the_study(tmp_path: Path) -> None:
    grey = [noise(at, 1) for at in range(6)]
    mixed = write(
        tmp_path / "mixed", [image if at % 2 else np.repeat(image, 3, axis=2) for at, image in enumerate(grey)]
    )
    np.testing.assert_array_equal(read_images(mixed, 12, 1, 255.0).images, grey)
    fresh = read_images(mixed, 12, 3, 255.0)
    np.testing.assert_array_equal(fresh.images, [np.repeat(image, 3, axis=2) for image in grey])
    assert "3 grey images became three equal channels" in fresh.notes
    write(mixed, [np.repeat(grey[0], 3, axis=2), noise(9, 3)])
    with pytest.raises(UserError, match=r"images with 1 channels, as in the study, were wanted, found 3 in .*b/001"):
        read_images(mixed, 12, 1, 255.0)


def test_a_grey_image_has_one_digest_in_every_study(tmp_path: Path) -> None:
    """So that an image of the study's own is known again in another form."""
    image = noise(1, 1)
    first = read_images(write(tmp_path / "one", [image]), 12, 3, 255.0)
    second = read_images(write(tmp_path / "three", [np.repeat(image, 3, axis=2)]), 12, 1, 255.0)
    np.testing.assert_array_equal(first.digests, second.digests)


@given(st.integers(0, 2**32 - 1), st.sampled_from([1, 2, 3, 4]), st.sampled_from([1, 3]), st.booleans())
def test_channels_change_without_loss_or_not_at_all(seed: int, found: int, wanted: int, equal: bool) -> None:
    image = noise(seed, found)
    image = np.repeat(image[..., :1], found, axis=2) if equal else image
    if found == wanted or found == 1 or (equal and found == 3):
        changed = to_channels(image, wanted)
        assert changed.shape == (12, 12, wanted)
        np.testing.assert_array_equal(changed, np.repeat(image, 3, axis=2) if found < wanted else image[..., :wanted])
    else:
        with pytest.raises(OtherChannels, match=f"it has {found} channels, unlike the others"):
            to_channels(image, wanted)


def test_real_nuclei_are_grey_and_coloured(shared_data: Path) -> None:
    source = open_data(shared_data / "dsb2018_nuclei" / "manifest.csv", label_column="image_type")
    assert source.channels == 3
    assert "527 grey images became three equal channels" in source.notes
    grey = next(row for row, name in enumerate(source.truth.strata) if source.truth.names[name] == "fluorescence")
    image = source.read(grey)
    assert image.shape[2] == 3
    assert (image == image[..., :1]).all()


def test_real_masks_beside_photographs(shared_data: Path, tmp_path: Path) -> None:
    """Masks are grey PNG, fundus images colour JPEG: one folder holds both."""
    for at, path in enumerate((shared_data / "chase_db1").rglob("*.[jp][pn]g")):  # without the table beside them
        (tmp_path / f"{at}{path.suffix}").symlink_to(path)
    fresh = read_images(tmp_path, 32, 3, 255.0)
    assert fresh.images.shape == (84, 32, 32, 3)
    assert "56 grey images became three equal channels" in fresh.notes
