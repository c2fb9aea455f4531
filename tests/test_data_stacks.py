"""Slices of a stack: read from a column, placed by patient, kept with the data, and asked about by methods."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from autossl.cli.inspection import held
from autossl.data import load, open_data, positions, prepare
from autossl.data.readers.found import encode_slices, stack_positions
from autossl.run.asked import Asked
from autossl.run.settings import resolve
from tests.test_data_formats import noise

ASKED = Asked(device="cpu", image_size=16, modality="mr", time_limit="1h")


def stacked(folder: Path, slices: list[str], patients: list[str] | None = None, name: str = "slice") -> Path:
    """A CSV of twelve noisy images for each slice number that is given, three patients if none are."""
    patients = patients or [f"p{at // 4}" for at in range(len(slices))]
    lines = [f"image,label,patient,{name}"]
    for at, (number, patient) in enumerate(zip(slices, patients, strict=True)):
        Image.fromarray(noise(16, 16)).save(folder / f"{at}.png")
        lines.append(f"{at}.png,{'ab'[at % 2]},{patient},{number}")
    (folder / "list.csv").write_text("\n".join(lines))
    return folder / "list.csv"


@given(st.lists(st.tuples(st.integers(0, 4), st.sampled_from([0.0, 1.5, -3.0, 7.0, np.nan])), min_size=1, max_size=30))
def test_positions_by_patient_as_one_would_write_them(rows: list[tuple[int, float]]) -> None:
    groups, slices = np.array([g for g, _ in rows]), np.array([s for _, s in rows])
    found = stack_positions(slices, groups)
    for at, (group, value) in enumerate(rows):
        own = [s for g, s in rows if g == group and not np.isnan(s)]
        if np.isnan(value) or max(own) == min(own):
            assert np.isnan(found[at])
        else:
            assert found[at] == pytest.approx((value - min(own)) / (max(own) - min(own)))


def test_what_is_no_number_is_no_column_of_slices() -> None:
    found = encode_slices(["3", "-1", "", "nan", "7e1"])  # places in mm may be -1, which as a label is none
    assert found is not None
    assert np.array_equal(found, [3, -1, np.nan, np.nan, 70], equal_nan=True)
    assert encode_slices(["1", "upper"]) is None
    assert encode_slices(["1", "inf"]) is None


def test_a_column_of_slices_reaches_the_methods_through_the_store(tmp_path: Path) -> None:
    numbers = ["10", "30", "20", ""] * 12
    source = open_data(stacked(tmp_path, numbers))
    config = resolve(ASKED, source)
    assert {"slice_order", "slice_position"} <= set(config.methods)
    assert dict(held(source))["slices"] == "36 in 12 stacks, one for each patient"
    data = prepare(source, tmp_path / "cache", image_size=16)
    expected = np.tile([0, 1, 0.5, np.nan], 12).astype(np.float32)
    for kept in (data.positions, load(tmp_path / "cache").positions):
        assert kept is not None
        assert np.array_equal(kept, expected, equal_nan=True)
    assert "36 images lie in 12 stacks of slices, one for each patient" in data.notes
    moved = open_data(stacked(tmp_path, ["10", "30", "40", ""] * 12))
    assert prepare(moved, tmp_path / "again", image_size=16).record["fingerprint"] != data.record["fingerprint"]


def test_an_empty_slice_has_no_place_and_ends_the_stack(tmp_path: Path) -> None:
    path = stacked(tmp_path, ["1", "2", "3", "5"] * 10)
    for at in range(0, 40, 4):
        Image.fromarray(np.full((16, 16), at, dtype=np.uint8)).save(tmp_path / f"{at}.png")
    found = prepare(open_data(path), tmp_path / "cache", image_size=16).positions
    assert found is not None
    assert np.allclose(found, np.tile([np.nan, 0, 1 / 3, 1], 10), equal_nan=True)


@pytest.mark.parametrize(
    ("slices", "patients", "note"),
    [
        (["upper", "lower", "1", "2"], ["p", "p", "q", "q"], "passed over: numbers were wanted there"),
        (["1", "2", "3", "4"], [""] * 4, "passed over: without patient ids one stack cannot be told from another"),
        ([""] * 4, ["p", "p", "q", "q"], None),
    ],
)
def test_a_column_that_says_nothing_is_passed_over_and_named(
    tmp_path: Path, slices: list[str], patients: list[str], note: str | None
) -> None:
    source = open_data(stacked(tmp_path, slices, patients))
    assert source.slices is None
    assert positions(source) is None
    assert "slice_order" in resolve(ASKED, source).left_out
    said = [text for text in source.notes if "column slice" in text]
    assert len(said) == (note is not None)
    assert note is None or note in said[0]
    assert "upper" not in " ".join(source.notes)  # a cell may be an identifier


def test_few_known_slices_leave_the_methods_out(tmp_path: Path) -> None:
    source = open_data(stacked(tmp_path, ["1", "2", "", "", "", "", "", "", "", "", "", ""]))
    assert resolve(ASKED, source).left_out["slice_order"] == "these images have no known order of slices"


def test_stacks_reach_from_labelled_into_unlabelled_images(tmp_path: Path) -> None:
    images = noise(4, 12, 12)
    patients = np.array([1, 1, 2, 2])
    np.savez(tmp_path / "a.npz", images=images, labels=np.array([0, 1, 0, 1]), patients=patients, slices=[0, 1, 0, 4])
    np.savez(tmp_path / "b.npz", images=images[:2], patients=np.array([1, 2]), slices=[2.0, 8.0])
    np.savez(tmp_path / "c.npz", images=images[:2], patients=np.array([1, 2]))
    found = positions(open_data(tmp_path / "a.npz", unlabeled=tmp_path / "b.npz"))
    assert found is not None
    assert found.tolist() == [0, 0.5, 0, 0.5, 1, 1]
    found = positions(open_data(tmp_path / "a.npz", unlabeled=tmp_path / "c.npz"))
    assert found is not None
    assert np.array_equal(found, np.array([0, 1, 0, 1, np.nan, np.nan]), equal_nan=True)


def test_stacks_among_images_without_labels_are_none_where_the_labelled_ones_have_no_patients(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    labelled = stacked(tmp_path / "one", [""] * 8, [""] * 8)
    source = open_data(labelled, unlabeled=stacked(tmp_path / "two", ["1", "2"], ["p", "p"]))
    assert source.slices is not None
    assert positions(source) is None
