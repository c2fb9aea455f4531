"""Masks that COCO outlines: polygons and runs of pixels, drawn as they are meant, and what is refused."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from autossl.data import open_data, prepare, read_images
from autossl.data.readers.outlines import ZERO, Outlines, drawn_of, filled, unpacked
from autossl.data.truth import Masks
from autossl.errors import UserError
from tests.mask_toys import discs

N = 20


def runs(mask: NDArray[np.bool_]) -> list[int]:
    """Pixels out of and in a mask in turns, column by column."""
    flat = mask.T.ravel().astype(int)
    edges = np.flatnonzero(np.diff(flat, prepend=0)).tolist()
    found: list[int] = np.diff([0, *edges, len(flat)]).tolist()
    return found


def packed(counts: list[int]) -> str:
    """The same in COCO's compressed form, written digit by digit."""
    text = ""
    for at, count in enumerate(counts):
        value = count - (counts[at - 2] if at > 2 else 0)
        while True:
            bits, value = value & 31, value >> 5
            done = value == (-1 if bits & 16 else 0)
            text += chr((bits if done else bits | 32) + ZERO)
            if done:
                break
    return text


@given(st.lists(st.integers(0, 5000), min_size=1, max_size=12))
def test_compressed_runs_are_read_as_they_were_written(counts: list[int]) -> None:
    assert unpacked(packed(counts)) == counts


def test_compressed_runs_are_those_of_coco() -> None:
    """Two by three pixels in the middle of 4 x 5, worked out by hand."""
    assert unpacked("5220003") == [5, 2, 2, 2, 2, 2, 5]


@given(st.integers(0, 9), st.integers(0, 9), st.integers(1, 8), st.integers(1, 8))
def test_a_rectangle_fills_its_pixels(x: int, y: int, wide: int, high: int) -> None:
    corners = np.array([[x, y], [x + wide, y], [x + wide, y + high], [x, y + high]], np.float64)
    found = filled(corners, (12, 14))
    wanted = np.zeros((12, 14), bool)
    wanted[y : y + high, x : x + wide] = True
    np.testing.assert_array_equal(found, wanted)
    np.testing.assert_array_equal(filled(corners[::-1], (12, 14)), wanted)


def test_a_polygon_is_where_matplotlib_has_it() -> None:
    from matplotlib.path import Path as Outline

    corners = np.random.default_rng(0).uniform(0, 30, (7, 2))
    middle = corners.mean(0)
    corners = corners[np.argsort(np.arctan2(*(corners - middle).T))]
    y, x = np.mgrid[:30, :30] + 0.5
    wanted = Outline(corners).contains_points(np.stack([x.ravel(), y.ravel()], 1)).reshape(30, 30)
    np.testing.assert_array_equal(filled(corners, (30, 30)), wanted)


def test_small_objects_lie_over_large_ones() -> None:
    large, small = [[0, 0, 10, 0, 10, 10, 0, 10]], [[2, 2, 4, 2, 4, 4, 2, 4]]
    mask = np.asarray(Outlines((10, 10), [(2, small), (1, large)]))
    assert (mask == 2).sum() == 4
    assert (mask == 1).sum() == 96


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        ([], "no outline"),
        ([[0, 0, 1, 1]], "three or more pairs"),
        ([[0, 0, 1, 1, "a", 2]], "no number"),
        ({"size": [4, 5], "counts": [3, 3]}, "runs of 4 x 5 pixels were wanted, found 6"),
        ({"size": [4, 5], "counts": "P"}, "end within a number"),
        ({"size": [4, 5], "counts": [3, -3]}, "are no numbers"),
    ],
)
def test_outlines_that_are_none_say_so(shape: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        drawn_of(shape, (4, 5))


def written(folder: Path, names: tuple[str, str], seed: int = 0) -> NDArray[np.uint8]:
    """Images of discs with the outlines of COCO, two categories of these names: runs, compressed for every other."""
    images, drawn = discs(N, seed)
    (folder / "images").mkdir(parents=True)
    marked = []
    for row, (image, mask) in enumerate(zip(images, drawn, strict=True)):
        Image.fromarray(image).save(folder / "images" / f"{row:02d}.png")
        for kind in np.unique(mask[mask > 0]).tolist():
            counts: Any = runs(mask == kind)
            shape = {"size": list(mask.shape), "counts": packed(counts) if row % 2 else counts}
            marked.append({"image_id": row, "category_id": kind, "segmentation": shape, "iscrowd": row % 2})
    listed = [{"id": row, "file_name": f"{row:02d}.png", "height": 32, "width": 32} for row in range(N)]
    kinds = [{"id": number, "name": name} for number, name in enumerate(names, 1)]
    whole = {"images": listed, "annotations": marked, "categories": kinds}
    (folder / "instances.json").write_text(json.dumps(whole))
    return drawn


def test_a_study_takes_the_masks_of_coco_and_knows_them_by_name(tmp_path: Path) -> None:
    drawn = written(tmp_path / "data", ("large", "small"))
    truth = prepare(open_data(tmp_path / "data", form=Masks), tmp_path / "out", image_size=32).truth
    assert isinstance(truth, Masks)
    names = {name: number for number, name in enumerate(truth.structures, 1)}
    for name, kind in (("large", 1), ("small", 2)):
        np.testing.assert_array_equal(truth.array == names[name], drawn == kind)
    other = written(tmp_path / "new", ("small", "large"), seed=1)  # 1 is small there
    found = read_images(tmp_path / "new", 32, 1, 255.0, truth).truth
    assert isinstance(found, Masks)
    np.testing.assert_array_equal(found.array == names["small"], other == 1)


def test_files_without_outlines_are_refused(tmp_path: Path) -> None:
    written(tmp_path, ("a", "b"))
    path = tmp_path / "instances.json"
    whole = json.loads(path.read_text())
    del whole["annotations"][3]["segmentation"]
    path.write_text(json.dumps(whole))
    with pytest.raises(UserError, match="an entry of annotations without segmentation"):
        open_data(tmp_path, form=Masks)
