"""Numbers as labels: none is changed, none is guessed, and splits keep their ranges in proportion."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autossl.data import PROBE, SELECTION, TEST, check_enough, load, open_data, prepare, read_images
from autossl.data.truth import Cells, Values
from autossl.data.truth.ranges import Ranges
from autossl.data.truth.spelling import cells
from autossl.errors import UserError
from tests.test_data_labels import noise, table


def found(*values: Any, missing: Any = None) -> tuple[list[float], tuple[str, ...]]:
    truth, notes = Values.find(Cells({"age": cells(list(values), "x")}, "x.csv", missing=missing))
    return truth.values[:, 0].tolist(), notes


@given(st.lists(st.floats(-1e100, 1e100), min_size=1))
def test_a_number_that_is_read_is_the_number_that_was_given(values: list[float]) -> None:
    assert found(*values)[0] == values
    assert found(*map(repr, values))[0] == values


def test_what_is_a_number_and_what_is_missing() -> None:
    values = ["1e5", "+3", ".5", "7.", "-1024", "1234567.89", "-0.0"]
    assert found(*values)[0] == [1e5, 3, 0.5, 7, -1024, 1234567.89, 0]
    read, notes = found(1, "NA", "", "nan", 2, "<NA>", None)
    np.testing.assert_array_equal(read, [1, np.nan, np.nan, np.nan, 2, np.nan, np.nan])
    assert notes[0].startswith("5 of 7 images have no label (2 empty, 1 'NA'")
    assert np.isnan(found(1, 2, "?", missing="?")[0][2])


def test_minus_one_is_a_number_and_said_to_be_one() -> None:
    read, notes = found(-1, 3, 4, -1)
    assert read == [-1, 3, 4, -1]
    assert notes == ("-1 in column age is a number (2 images): if it means none, give --missing=-1",)
    assert found(-1, 3, -2)[1] == ()
    assert np.isnan(found(-1, 3, 4, missing="-1")[0][0])


def test_decimal_commas_are_read_where_they_can_be_nothing_else() -> None:
    assert found("0,5", "12,25", "3") == (
        [0.5, 12.25, 3],
        ("commas in the column 'age' of x.csv are read as decimal points",),
    )
    for values in (("1,234", "2,500"), ("0,5", "1.5")):
        with pytest.raises(UserError, match=r"which may mean thousands, in the column 'age' of x.csv; write 1234"):
            found(*values)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ((1, 2, "12 mm"), "numbers were wanted, found '12 mm' in entry 2 of the column 'age' of x.csv; mend it"),
        ((1, 2, "unknown"), "found 'unknown' in entry 2 of .*say by --missing that it means none"),
        ((1, 2, "inf"), "finite numbers up to 1e.100 were wanted, found inf in entry 2"),
        ((1, 2, "1e999"), "finite numbers up to 1e.100 were wanted, found 1e999"),
        (("Ann", "Bob", "3"), "found text in 2 of 3 cells of the column 'age' of x.csv; name a column of numbers"),
    ],
)
def test_what_is_no_number_is_named(values: tuple[Any, ...], message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        found(*values)
    assert "Ann" not in str(caught.value)


@given(st.lists(st.one_of(st.floats(-1e9, 1e9), st.integers(0, 3).map(float)), min_size=1, max_size=80))
def test_ranges_are_quintiles_none_of_them_empty(values: list[float]) -> None:
    column = np.array(values)[:, None]
    ranges = Ranges.cut(column)
    strata = ranges.of(column)
    held = np.bincount(strata, minlength=len(ranges.names))
    assert len(held) == len(ranges.names) == len(set(ranges.names)) <= 5
    assert held.min() > 0
    order = np.argsort(column[:, 0], kind="stable")
    assert (np.diff(strata[order]) >= 0).all()
    if len(set(values)) == len(values) and len(values) >= 20:
        assert len(held) == 5
        assert held.max() - held.min() <= 2


def test_ranges_name_no_extreme_value() -> None:
    ages = np.array([*range(20, 60), 103.0])[:, None]
    assert Ranges.cut(ages).names == ("up to 28", "28 to 36", "36 to 44", "44 to 52", "above 52")
    volumes = 1e6 + np.arange(20.0)[:, None] / 8
    assert len(set(Ranges.cut(volumes).names)) == 5
    both = np.concatenate([ages, -ages], 1)
    assert all(
        name.endswith(" sd") for name in Ranges.cut(both + np.random.default_rng(0).normal(size=both.shape)).names
    )


def ages(n: int = 60) -> np.ndarray[Any, Any]:
    return np.random.default_rng(1).integers(20, 80, n) + 0.5


def test_a_study_of_numbers_from_a_table_to_its_parts(tmp_path: Path) -> None:
    values = ages()
    path = table(
        tmp_path, {"age": values.tolist(), "volume": [1e6 + at / 3 for at in range(60)], "sex": ["f", "m"] * 30}
    )
    with pytest.raises(UserError, match=r"found none, but candidates \(age, volume\), in .*list.csv; choose by"):
        open_data(path, form=Values)
    source = open_data(path, form=Values, label_column="age,volume")  # a different number in every row
    check_enough(source, None)
    assert isinstance(source.truth, Values)
    assert source.truth.described() == "60 with numbers (age and volume)"
    np.testing.assert_array_equal(source.truth.values[:, 0], values)
    data = prepare(source, tmp_path / "cache", image_size=12, max_labels=30)
    again = load(tmp_path / "cache")
    assert isinstance(again.truth, Values)
    np.testing.assert_array_equal(again.truth.values, data.truth.columns()["values"])
    assert 20 <= len(data.rows(PROBE, SELECTION, labelled=True)) <= 30
    assert np.isnan(again.truth.values[~again.truth.known]).all()
    for part in (PROBE, SELECTION, TEST):
        assert set(data.truth.strata[data.rows(part, labelled=True)]) == set(range(5))
    assert data.record["classes"] == list(data.truth.names)
    fresh = read_images(path, 12, 1, 255.0, again.truth)  # the columns of the study, if none is named
    assert isinstance(fresh.truth, Values)
    np.testing.assert_array_equal(fresh.truth.values, source.truth.values)
    for name in ("age", ["age"]):
        with pytest.raises(UserError, match=r"the columns age, volume, as in the study, were wanted, found age in"):
            read_images(path, 12, 1, 255.0, again.truth, label_column=name)
    bare = read_images(noise(3, 12, 12), 12, 1, 255.0, again.truth)
    assert not bare.truth.known.any()
    assert bare.truth.about == again.truth.about


def test_new_images_may_call_a_single_column_otherwise() -> None:
    truth = open_data(noise(20, 12, 12), labels=ages(20), form=Values).truth
    fresh = read_images(noise(3, 12, 12), 12, 1, 255.0, truth, labels=[1e9, None, 50])
    assert fresh.truth.strata.tolist() == [4, -1, truth[np.array([0])].ranges.of(np.array([[50.0]]))[0]]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([3.5] * 20, "different numbers were wanted in the column 'label', found only 3.5 in the given array; leave"),
        ([None] * 20, r"images with numbers \(label\) were wanted, found 20 without in the given array; give --labels"),
        ([[at, None] for at in range(20)], "different numbers were wanted in the column '1', found none in"),
        ([1, 2, 3, *[None] * 17], r"at least 4 images with numbers \(label\) were wanted.*found 3 in"),
    ],
)
def test_numbers_that_make_no_study(labels: list[Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        open_data(noise(20, 12, 12), labels=labels, form=Values)


def test_class_folders_are_no_numbers(tmp_path: Path) -> None:
    from tests.test_data_labels import folder

    with pytest.raises(UserError, match="numbers were wanted, found class folders in"):
        open_data(folder(tmp_path / "a", "ben", "mal"), form=Values)
    assert open_data(folder(tmp_path / "b", "0", "1", "2"), form=Values).truth.known.all()


def test_identifiers_are_refused_and_not_shown(tmp_path: Path) -> None:
    path = table(tmp_path, {"name": [f"Ann {at}" for at in range(8)], "mrn": [f"77{at}" for at in range(8)]})
    for column, said in (("name", "a different text in every row"), ("mrn", "patient ids"), ("image", "file names")):
        with pytest.raises(UserError, match=f"numbers were wanted, found {said} in the column '{column}'") as caught:
            open_data(path, form=Values, label_column=column)
        assert "Ann" not in str(caught.value)


def test_parts_that_cannot_be_judged(tmp_path: Path) -> None:
    split = ["train"] * 30 + ["val"] * 5 + ["test"] * 5
    path = table(tmp_path, {"age": [*range(50, 85), *[50] * 5], "size": [at / 4 for at in range(40)], "split": split})
    with pytest.raises(
        UserError, match=r"different numbers \(age\) were wanted in the test part, found fewer than two"
    ):
        prepare(open_data(path, form=Values, label_column="age"), tmp_path / "a", image_size=12)
    data = prepare(open_data(path, form=Values, label_column="age,size"), tmp_path / "b", image_size=12)
    assert "the test part has no two different numbers in column age" in data.notes
