"""Columns of labels are handed over as they stand, whatever form the data have; the form says what is wrong."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from autossl.data import open_data
from autossl.data.open import _find, _picked
from autossl.data.paths import Beside
from autossl.data.readers.arrays import label_columns
from autossl.data.readers.columns import chosen
from autossl.data.truth.spelling import Column, cells
from autossl.errors import UserError
from tests.test_data_labels import noise, table


def columns_of(data: Any, **beside: Any) -> dict[str, Column] | None:
    """What a reader hands over, before a form looks at it."""
    asked = Beside(**beside)
    return _picked(_find(data, asked), data, asked).labels


TWO: dict[str, list[Any]] = {"age": [41.5, 3, 41.5], "size": ["1e+05", "", "0.1"]}


def test_several_columns_of_a_table(tmp_path: Path) -> None:
    path = table(tmp_path, TWO)
    wanted = {"age": ["41.5", "3", "41.5"], "size": ["100000", "", "0.1"]}
    for given_ in ("age,size", " age , size", ["age", "size"], ("age", "size")):
        assert columns_of(path, label_column=given_) == wanted
    assert columns_of(path, label_column="size") == {"size": wanted["size"]}
    with pytest.raises(UserError, match=r"'mass' of --label-column was wanted, found the columns image, age, size in"):
        columns_of(path, label_column="age,mass")
    with pytest.raises(UserError, match="found int as --label-column; give for example age,size"):
        columns_of(path, label_column=3)


def test_a_column_with_a_comma_in_its_name_comes_first(tmp_path: Path) -> None:
    path = table(tmp_path, {"a,b": [1, 2], "a": [3, 4], "b": [5, 6]})
    assert columns_of(path, label_column="a,b") == {"a,b": ["1", "2"]}
    assert columns_of(path, label_column=["a,b", "a"]) == {"a,b": ["1", "2"], "a": ["3", "4"]}


@pytest.mark.parametrize("kind", [np.float32, np.int16, np.bool_])
def test_labels_of_an_archive_with_a_second_axis(tmp_path: Path, kind: Any) -> None:
    labels = np.array([[0, 1, 1], [1, 0, 0]], dtype=kind)
    np.savez(tmp_path / "set.npz", images=noise(2, 12, 12), labels=labels)
    said = ("False", "True") if kind == np.bool_ else ("0", "1")
    found = columns_of(tmp_path / "set.npz")
    assert found is not None
    assert found == {str(at): [said[int(value)] for value in labels[:, at]] for at in range(3)}
    assert columns_of(tmp_path / "set.npz", label_column="2,0") == {"2": found["2"], "0": found["0"]}


def test_the_layout_of_chestmnist(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    parts = {name: random.integers(0, 2, (size, 14), dtype=np.uint8) for name, size in (("train", 6), ("test", 4))}
    images = {f"{name}_images": noise(len(part), 12, 12) for name, part in parts.items()}
    np.savez(
        tmp_path / "chest.npz", allow_pickle=False, **images, **{f"{name}_labels": part for name, part in parts.items()}
    )
    found = columns_of(tmp_path / "chest.npz")
    assert found is not None
    whole = np.concatenate(list(parts.values()))
    assert found is not None
    assert found == {str(at): [str(value) for value in whole[:, at]] for at in range(14)}
    with pytest.raises(UserError, match=r"found 14 columns of labels in .*chest.npz; several labels"):
        open_data(tmp_path / "chest.npz")
    assert open_data(tmp_path / "chest.npz", label_column="3").truth.names == ("0", "1")
    np.savez(
        tmp_path / "odd.npz",
        allow_pickle=False,
        **images,
        train_labels=parts["train"],
        test_labels=parts["test"][:, :3],
    )
    with pytest.raises(UserError, match=r"as many columns of labels in every part were wanted, found 14 and 3 in"):
        columns_of(tmp_path / "odd.npz")


def test_a_part_without_labels_has_empty_cells(tmp_path: Path) -> None:
    pixels = {f"{name}_images": noise(2, 12, 12) for name in ("train", "val")}
    np.savez(tmp_path / "set.npz", allow_pickle=False, **pixels, val_labels=np.array([[1.5, np.nan], [0, 2]]))
    assert columns_of(tmp_path / "set.npz") == {"0": ["", "", "1.5", "0"], "1": ["", "", "", "2"]}


class Frame:
    """A table as pandas has it: columns by name."""

    columns: ClassVar = ("age", "size")

    def __init__(self, **columns: Any) -> None:
        self.held = columns

    def items(self) -> Iterator[tuple[str, Any]]:
        return iter(self.held.items())

    def __iter__(self) -> Iterator[str]:
        return iter(self.held)


def test_labels_in_memory() -> None:
    images, values = noise(3, 12, 12), np.array([[0.1, 2], [np.nan, 3], [1e300, -4]])
    wanted = {"0": ["0.1", "", str(int(1e300))], "1": ["2", "3", "-4"]}
    for labels in (values, torch.from_numpy(values), values.tolist(), list(values), list(torch.from_numpy(values))):
        assert columns_of(images, labels=labels) == wanted
    assert columns_of(images, labels=Frame(age=values[:, 0], size=[2, None, "x"])) == {
        "age": wanted["0"],
        "size": ["2", "", "x"],
    }
    assert columns_of(images, labels=Frame(age=np.array([1, 2, 3]))) == {"label": ["1", "2", "3"]}
    assert columns_of(images, labels=[[1, 2], None, [0, "x"]]) == {"0": ["1", "", "0"], "1": ["2", "", "x"]}
    assert columns_of(images, labels=values, label_column="1") == {"1": wanted["1"]}
    for labels, message in (
        ([[1, 2], [1], [2, 3]], "found 1 and 2, the first such in entry 0 of the given labels; give each finding"),
        (np.zeros((2, 2)), "3 entries in labels, one per image, were wanted, found 2"),
        (np.zeros((3, 1001)), "at most 1000 columns of labels were wanted, found 1001"),
        (
            [np.zeros((2, 2))] * 3,
            r"found an array \(2, 2\) in entry 0 of the given labels; masks are for",
        ),
    ):
        with pytest.raises(UserError, match=message):
            columns_of(images, labels=labels)


def test_items_with_a_vector_of_labels() -> None:
    class Items:
        labels: ClassVar[list[Any]] = [torch.tensor([1, 0]), None, np.array([0.5, np.nan]), [1, "x"]]

        def __len__(self) -> int:
            return 4

        def __getitem__(self, row: int) -> Any:
            return noise(12, 12), self.labels[row]

    assert columns_of(Items()) == {"0": ["1", "", "0.5", "1"], "1": ["0", "", "", "x"]}


@given(st.lists(st.floats(allow_nan=True, allow_infinity=False), min_size=1, max_size=8), st.sampled_from("fd"))
def test_no_float_is_changed_by_being_text(values: list[float], kind: str) -> None:
    with np.errstate(over="ignore"):
        there = np.array(values).astype(kind)
    there = there[~np.isinf(there)]
    found = label_columns(there, len(there), "labels", "x")
    assert found is not None
    back = np.array([float(cell) if cell else np.nan for cell in found["label"]])
    np.testing.assert_array_equal(back, there.astype(np.float64))
    np.testing.assert_array_equal(back.astype(kind), there)
    assert cells(list(found["label"]), "x") == found["label"]


@given(st.lists(st.text("ab ,", min_size=1, max_size=4).map(str.strip).filter(bool), min_size=1, max_size=6))
def test_names_of_columns_are_found_by_an_oracle(names: list[str]) -> None:
    there = dict.fromkeys(names)
    assert chosen(list(there), there, "x") == tuple(there)
    plain = [name for name in there if "," not in name]
    if plain and ",".join(plain) not in there:
        assert chosen(",".join(plain), there, "x") == tuple(plain)
