"""Large images in windows: every pixel in one of them, put together as it was, judged as the image that they are of."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from autossl.data import cut_or_whole, open_data, prepare, windowed
from autossl.data.truth import Masks
from autossl.data.truth.structures import IGNORED, width
from autossl.data.windows import MOST, corners, laid, whole
from autossl.errors import UserError
from autossl.run.asked import Asked
from autossl.run.opening import ready
from autossl.targets.segmentation import Segmentation
from tests.mask_toys import discs

nib: Any = pytest.importorskip("nibabel", reason="nibabel is not installed")


def masks_of(images: Any, labels: Any, folder: Path, windows: str, size: int) -> Masks:
    source = cut_or_whole(open_data(images, form=Masks, labels=labels), windows, size)
    truth = prepare(source, folder, image_size=size).truth
    assert isinstance(truth, Masks)
    return truth


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(5, 70), min_size=2, max_size=3), st.integers(16, 40))
def test_windows_cover_images_and_give_them_back(sides: list[int], size: int) -> None:
    found = corners(np.array(sides), size, 10_000, 0, covered=True)
    assert len(found) == np.prod([max(1, -(-side // size)) for side in sides])
    image = np.random.default_rng(0).integers(0, 200, sides).astype(np.uint8)
    parts = np.full((len(found), *[size] * len(sides)), IGNORED, np.uint8)
    for part, corner in zip(parts, found, strict=True):
        own = image[tuple(slice(at, at + size) for at in corner)]
        part[tuple(slice(side) for side in own.shape)] = own
    inside = tuple(slice(side) for side in sides)
    again = whole(parts, found, IGNORED)
    np.testing.assert_array_equal(again[inside], image)
    assert (again != IGNORED).sum() == image.size
    shares = np.stack([parts == 1, parts != 1], axis=1)
    np.testing.assert_array_equal(laid(shares, found).argmax(0)[inside] == 0, image == 1)


def test_windows_are_judged_as_the_images_that_they_are_of(tmp_path: Path) -> None:
    images, drawn = discs(20, size=40)
    entire, parts = (
        masks_of(images, drawn, tmp_path / windows, windows, size) for windows, size in (("never", 40), ("always", 16))
    )
    assert len(parts) == 20 * 9
    own, said = Segmentation(entire.about), np.roll(drawn, 1, axis=2)
    tiles = [said[image][y : y + 16, x : x + 16] for image, (y, x, _) in zip(parts.image, parts.corner, strict=True)]
    found = own.judge(np.eye(3)[np.stack(tiles)].transpose(0, 3, 1, 2), parts)
    wanted = own.judge(np.eye(3)[said].transpose(0, 3, 1, 2), entire)
    assert found.n == len(parts)
    assert len(found.owner) == 20
    np.testing.assert_array_equal(found.columns["y"], wanted.columns["y"])
    np.testing.assert_allclose(found.columns["scores"], wanted.columns["scores"])
    for metric in own.reported:
        pair = found.drawn((metric,), parts.image, draws=5)[metric], wanted.drawn((metric,), draws=5)[metric]
        np.testing.assert_allclose(*pair)
    shown = parts.shown(found.owner)
    assert (parts.image[shown] == parts.image[found.owner]).all()
    assert (parts.shares[shown].sum(1) >= parts.shares[found.owner].sum(1)).all()


def test_windows_of_volumes_keep_their_voxels(tmp_path: Path) -> None:
    values, drawn = discs(8, dims=3, size=20)
    for kind, each in (("images", values), ("masks", drawn)):
        (tmp_path / "deep" / kind).mkdir(parents=True)
        for row, volume in enumerate(each):
            file = tmp_path / "deep" / kind / f"{row}.nii.gz"
            nib.save(nib.Nifti1Image(volume[:, :14], np.diag([1.5, 0.5, 2.0, 1])), file)
    source = windowed(cut_or_whole(open_data(tmp_path / "deep", form=Masks), "always", 16), 16)
    data = prepare(source, tmp_path / "out", image_size=16)
    truth = data.truth
    assert isinstance(truth, Masks)
    assert (len(truth), truth.unit) == (8 * 4, "mm")
    np.testing.assert_allclose(truth.grains, np.tile([2.0, 0.5, 1.5], (32, 1)))
    for row in range(8):
        own = np.flatnonzero(truth.image == row)
        again = whole(truth.array[own], truth.corner[own], IGNORED)
        np.testing.assert_array_equal(again[:20, :14, :20], drawn[row, :, :14].transpose(2, 1, 0))


def thin(n: int = 20, size: int = 128) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Images of lines that are three pixels wide."""
    drawn = np.zeros((n, size, size), np.uint8)
    drawn[:, :, 20:23] = drawn[:, 60:63] = 1
    noise = np.random.default_rng(0).integers(0, 60, drawn.shape)
    return (noise + 150 * drawn).astype(np.uint8), drawn


def test_images_are_cut_where_what_masks_show_would_be_lost() -> None:
    images, drawn = thin()
    assert width(drawn[0]) == pytest.approx(3, abs=0.2)
    source = open_data(images, form=Masks, labels=drawn)
    assert not cut_or_whole(source, "auto", 96).truth.cropped  # 2.2 pixels there
    found = cut_or_whole(source, "auto", 32)
    assert found.truth.cropped
    assert "in whole images of 32 x 32 what masks show would be 0.8 pixels wide" in found.notes[-1]
    assert not cut_or_whole(source, "never", 32).truth.cropped
    source = open_data(images[:, :40, :40], form=Masks, labels=drawn[:, :40, :40])
    assert not cut_or_whole(source, "auto", 24).truth.cropped  # they are hardly finer than that


def test_of_very_large_images_some_windows_are_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(MOST, 2, 100)
    images, drawn = thin()
    found = windowed(cut_or_whole(open_data(images, form=Masks, labels=drawn), "always", 32), 32)
    assert found.n == 100
    assert (np.bincount(found.groups) == 5).all()


@pytest.mark.parametrize(
    ("task", "windows", "words"),
    [
        ("classification", "always", "--windows auto or never was wanted, found always with --task classification"),
        ("reconstruction", "never", "--windows auto or always was wanted, found never with --task reconstruction"),
    ],
)
def test_tasks_whose_images_cannot_be_cut_say_so(task: str, windows: str, words: str) -> None:
    with pytest.raises(UserError, match=words):
        ready("nowhere", Asked(task=task, windows=windows, time_limit="5m"))
