"""Several findings per image: yes, no and unknown stay apart, and rare findings are divided first."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from autossl.data import PROBE, SELECTION, TEST, check_enough, load, open_data, prepare, read_images
from autossl.data.truth import Cells, Labels
from autossl.errors import UserError
from tests.test_data_labels import folder, noise, table


def found(**columns: list[str]) -> tuple[list[list[int]], tuple[str, ...], tuple[str, ...]]:
    truth, notes = Labels.find(Cells(columns, "x.csv"))
    return truth.marks.tolist(), truth.called, notes


def test_columns_of_yes_and_no() -> None:
    marks, called, notes = found(a=["1", "0", "-1", ""], b=["yes", "NO", "True", "false"])
    assert marks == [[1, 1], [0, 0], [-1, 1], [-1, 0]]
    assert called == ("a", "b")
    assert notes == ("column a: 2 of 4 images have no label (1 empty, 1 '-1'): --missing says which words mean that",)
    assert found(a=["yes", "no", ""])[0] == [[1], [0], [-1]]
    with pytest.raises(UserError, match=r"found '2' in entry 1 of the column 'b' of x.csv; mend it, or name other"):
        found(a=["0", "1"], b=["1", "2"])


def test_lists_in_one_column() -> None:
    cells = ["Mass|Effusion", "Effusion", "No Finding", "", "Effusion | Mass", "no_finding", "Effusion"]
    marks, called, notes = found(label=cells)
    assert called == ("Effusion", "Mass")
    assert marks == [[1, 1], [1, 0], [0, 0], [-1, -1], [1, 1], [0, 0], [1, 0]]
    assert notes == (
        "1 of 7 images have no label",
        "'No Finding' means that no finding is there (1 images)",
        "'no_finding' means that no finding is there (1 images)",
    )
    assert found(label=["a;b", "a", "b;a", "none", "a", "b"])[1] == ("a", "b")
    assert found(label=["a|b", "", "a", "b|a"])[2][-1].endswith(
        "nothing is known: where nothing was found, write none into it"
    )
    assert (
        "'normal' is a finding (2 images): if it means that none is there, write none"
        in found(label=["a|b", "normal", "a|b", "normal", "a", "b"])[2]
    )
    with pytest.raises(
        UserError, match=r"findings or 'none' were wanted, found both in entry 2 \('a\|none'\) of x.csv"
    ):
        found(label=["a|b", "b|a", "a|none"])
    with pytest.raises(UserError, match="found 40 different ones of 40 images in") as caught:
        found(label=[f"Ann {at}" for at in range(40)])
    assert "Ann" not in str(caught.value)


def test_the_rarest_finding_is_the_stratum() -> None:
    truth, _ = Labels.find(
        Cells({"often": list("1110") * 10, "rare": list("1000") * 10, "half": list("1100") * 10}, "x")
    )
    assert truth.rarest == (1, 2, 0)
    assert truth.strata[:4].tolist() == [1, 2, 0, 3]
    assert truth.names == ("often", "rare", "half", "none of them")
    assert truth.counts() == {"often": 30, "rare": 10, "half": 20, "none of them": 10}
    assert truth.groups_per_stratum(slice(None), np.arange(40) // 4)["often"] == 10


def chest(n: int = 200, t: int = 5) -> np.ndarray[Any, Any]:
    random = np.random.default_rng(0)
    return (random.random((n, t)) < np.linspace(0.08, 0.5, t)).astype(np.uint8)


def test_a_study_of_findings(tmp_path: Path) -> None:
    marks = chest()
    np.savez(tmp_path / "set.npz", images=noise(200, 12, 12), labels=marks, patients=np.arange(200) // 2)
    source = open_data(tmp_path / "set.npz", form=Labels)
    check_enough(source, None)
    assert source.truth.described() == "200 with 5 labels"
    data = prepare(source, tmp_path / "cache", image_size=12, max_labels=80)
    again = load(tmp_path / "cache").truth
    assert isinstance(again, Labels)
    np.testing.assert_array_equal(again.marks, data.truth.columns()["marks"])
    np.testing.assert_array_equal(again.marks[again.known], marks[again.known])
    for part in (PROBE, SELECTION, TEST):
        held = data.truth.counts(data.rows(part, labelled=True))
        assert min(held.values()) > 0
    whole = prepare(source, tmp_path / "whole", image_size=12)
    share = np.array(list(whole.truth.counts(whole.rows(TEST)).values())) / list(source.truth.counts().values())
    assert (abs(share - 0.2) < 0.13).all()
    fresh = read_images(tmp_path / "set.npz", 12, 1, 255.0, again)
    np.testing.assert_array_equal(fresh.truth.columns()["marks"], marks)


def test_lists_of_new_images_are_told_in_the_findings_of_the_study() -> None:
    cells = ["Mass|Effusion", "Effusion", "none", "Mass"] * 6
    truth = open_data(noise(24, 12, 12), labels=cells, form=Labels).truth
    fresh = read_images(noise(3, 12, 12), 12, 1, 255.0, truth, labels=["Mass|Mass", "", "none"])
    assert fresh.truth.columns()["marks"].tolist() == [[0, 1], [-1, -1], [0, 0]]
    with pytest.raises(UserError, match=r"findings of the study \(Effusion, Mass\) were wanted, found 'Hernia' in"):
        read_images(noise(2, 12, 12), 12, 1, 255.0, truth, labels=["Mass|Hernia", "Mass"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ((slice(None), 2, 1), "at least 2 images with and without '2' were wanted, found none without it in the given"),
        ((slice(1, None), 2, 0), "images with and without '2' were wanted, found 1 with it|found none with it"),
        ((slice(None), 2, -1), "images with and without '2' were wanted, found none with it in the given array; leave"),
        ((slice(None), slice(None), -1), "images with findings were wanted, found 60 without in the given array"),
    ],
)
def test_findings_that_make_no_study(change: tuple[Any, Any, int], message: str) -> None:
    marks = chest(60, 3).astype(np.int8)
    marks[:2], marks[2:4] = 0, 1
    marks[change[0], change[1]] = change[2]
    with pytest.raises(UserError, match=message):
        open_data(noise(60, 12, 12), labels=marks, form=Labels)


def test_tables_of_findings(tmp_path: Path) -> None:
    path = table(tmp_path, {"effusion": [0, 1] * 8, "mass": [1, 1, 0, ""] * 4, "age": list(range(20, 36))})
    with pytest.raises(UserError, match=r"found none, but candidates \(effusion, mass\), in .*; choose by --label-col"):
        open_data(path, form=Labels)
    source = open_data(path, form=Labels, label_column="effusion,mass")
    assert source.truth.described() == "16 with 2 labels, 4 entries unknown"
    assert source.notes == ("column mass: 4 of 16 images have no label",)
    with pytest.raises(UserError, match="findings were wanted, found a different number in every row"):
        open_data(path, form=Labels, label_column="age")
    with pytest.raises(UserError, match="columns of findings were wanted, found class folders in"):
        open_data(folder(tmp_path / "f", "a", "b"), form=Labels)


def test_a_finding_that_a_part_lacks_is_said(tmp_path: Path) -> None:
    marks = chest(80, 3)
    marks[60:, 0] = 0
    split = np.array(["train"] * 60 + ["test"] * 20)
    np.savez(tmp_path / "set.npz", images=noise(80, 12, 12), labels=marks, split=split)
    data = prepare(open_data(tmp_path / "set.npz", form=Labels), tmp_path / "cache", image_size=12)
    assert "label 0 is not scored in the test part: too few images are with it" in data.notes
    marks[60:] = 1
    np.savez(tmp_path / "set.npz", images=noise(80, 12, 12), labels=marks, split=split)
    with pytest.raises(UserError, match="with and without one finding were wanted in the test part, found fewer of"):
        prepare(open_data(tmp_path / "set.npz", form=Labels), tmp_path / "cache", image_size=12)
