"""Patients: one id in two spellings is one patient, ids are never shown, and a column of them is not overlooked."""

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from torch.utils.data import TensorDataset

from autossl.data import open_data, read_images
from autossl.data.readers.columns import named_as_ids
from autossl.data.readers.found import alike_note, encode_patients
from autossl.data.truth import Classes
from autossl.errors import UserError


def noise(*shape: int) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def table(root: Path, **columns: list[Any]) -> Path:
    count = len(next(iter(columns.values())))
    root.mkdir(exist_ok=True)
    for at in range(count):
        Image.fromarray(noise(12, 12)).save(root / f"{at}.png")
    rows = zip([f"{at}.png" for at in range(count)], *columns.values(), strict=True)
    with open(root / "list.csv", "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["image", *columns], *rows])
    return root / "list.csv"


TWO = ["a", "b"] * 4


def test_patients_3_and_3_0_are_one_across_tables(tmp_path: Path) -> None:
    labelled = table(tmp_path / "one", label=TWO, patient=[3, 3, 4, 4, 5, 5, 6, 6])
    more = table(tmp_path / "two", patient=["3.0", "4.0", "", "6.", "1e+05", "100000"])
    source = open_data(labelled, unlabeled=more)
    assert source.has_patients
    one, two = source.groups[:8:2], source.groups[8:]
    assert two[:2].tolist() == one[:2].tolist()
    assert two[3] == one[3]
    assert two[4] == two[5]
    assert two[2] not in one


def test_patients_of_one_table_in_two_spellings(tmp_path: Path) -> None:
    source = open_data(table(tmp_path, label=TWO, patient=["7", "7.0", "é", "e\u0301", " x", "x ", "y", "y"]))
    assert source.has_patients
    assert source.groups.tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    assert source.notes == ("patient ids that are one number in two spellings, as 3 and 3.0 are, count as one",)


def test_new_images_that_are_kept_keep_all_that_is_known_of_them(tmp_path: Path) -> None:
    path = table(tmp_path, label=["a", "", "b", "b"], patient=["x", "x", "y", "x"])
    found = read_images(path, 12, 1, 255.0, Classes.nothing(0, {"classes": ("a", "b")}))
    kept = found[found.truth.known]
    assert kept.names == ("0.png", "2.png", "3.png")
    assert (kept.groups.tolist(), kept.unit) == ([0, 1, 0], "patient")
    assert kept.truth.strata.tolist() == [0, 1, 1]
    assert np.array_equal(kept.images, found.images[[0, 2, 3]])
    assert np.array_equal(kept.digests, found.digests[[0, 2, 3]])


def test_ids_that_are_likely_one_are_counted_and_never_shown(tmp_path: Path) -> None:
    source = open_data(table(tmp_path, label=TWO, patient=["007", "7", "ZZ7", "zz7", "8", "8", "9", "10"]))
    assert source.has_patients
    assert len(set(source.groups.tolist())) == 7
    said = (
        "4 patient ids differ from another only in case, blanks or leading zeros and count as other patients; "
        "spell them alike if they are one"
    )
    assert source.notes == (said,)
    labelled = table(tmp_path / "one", label=TWO, patient=["ZZ1", "ZZ1", *"bcdefg"])
    source = open_data(labelled, unlabeled=table(tmp_path / "two", patient=["zz1", "h"]))
    assert source.notes == ("2 images without labels were added", said.replace("4", "2", 1))


def test_ids_such_as_10_and_100_are_no_spellings_of_one() -> None:
    assert alike_note(["10", "100", "1", "p10", "p1", "1p", ""]) == ()


@given(st.lists(st.sampled_from(["1", "01", "a", "A", "b 1", "b1", "", "none", "100", "10"]), max_size=20))
def test_groups_are_the_ids_and_nothing_else(values: list[str]) -> None:
    groups, identifiers, unknown = encode_patients(values)
    assert [identifiers[group] for group in groups] == ["" if value in ("", "none") else value for value in values]
    assert unknown == sum(value in ("", "none") for value in values)
    assert len(set(groups.tolist())) == len({value for value in values if value not in ("", "none")}) + unknown


def test_added_images_without_ids_are_said_to_be_able_to_leak(tmp_path: Path) -> None:
    labelled = table(tmp_path / "one", label=TWO, patient=list("aabbccdd"))
    source = open_data(labelled, unlabeled=noise(3, 12, 12))
    assert any("none may be of a patient of the test part" in note for note in source.notes)
    bare = table(tmp_path / "two", label=TWO)
    source = open_data(bare, unlabeled=labelled)
    assert any("not used: the labelled ones have none" in note for note in source.notes)
    assert not source.has_patients


CANARIES = [f"ZZCANARY{at // 2:03d}" for at in range(8)]


@pytest.mark.parametrize("column", ["patient", "Patient ID", "MRN", "PatientName", "subject_id", "case"])
def test_a_label_column_of_patient_ids_is_refused_and_not_shown(tmp_path: Path, column: str) -> None:
    path = table(tmp_path, label=TWO, **{column: CANARIES})
    with pytest.raises(UserError, match=f"found patient ids in the column '{column}'") as caught:
        open_data(path, label_column=column)
    assert "CANARY" not in str(caught.value)
    with pytest.raises(UserError) as caught:
        open_data(path, label_column=column, patient_column=column)
    assert "CANARY" not in str(caught.value)


NUMBERS = [7100, 7100, *range(7200, 7206)]


@pytest.mark.parametrize("cells", [CANARIES, [f"ZZCANARY{at}" for at in range(8)], NUMBERS])
def test_the_patient_column_is_no_label_column_under_any_name(tmp_path: Path, cells: list[Any]) -> None:
    path = table(tmp_path, label=TWO, who=cells)
    with pytest.raises(UserError, match="found patient ids in the column 'who'") as caught:
        open_data(path, label_column="who", patient_column="who")
    assert not any(str(cell) in str(caught.value) for cell in cells)


@pytest.mark.parametrize("cells", [[*CANARIES, *(f"ZZCANARY{at}" for at in range(200, 206))], [*NUMBERS, *NUMBERS[:2]]])
def test_a_label_column_with_a_value_for_each_patient_is_not_shown(tmp_path: Path, cells: list[Any]) -> None:
    with pytest.raises(UserError, match="label-column") as caught:
        open_data(table(tmp_path, who=cells), label_column="who")
    assert not any(str(cell) in str(caught.value) for cell in cells)


def test_no_note_or_refusal_holds_an_id(tmp_path: Path) -> None:
    ids = [*CANARIES[:6], "zzcanary001", ""]
    source = open_data(table(tmp_path, label=["a", "a", "a", "b", "b", "b", "a", "b"], patient=ids))
    assert len(source.notes) == 2
    assert not any("canary" in note.lower() for note in source.notes)
    for label, split in ((["a"] * 8, "train"), (["a"] * 6 + ["b"] * 2, "later"), ([1, 2, 3, 4, 5, 6, 7, 7], "train")):
        with pytest.raises(UserError) as caught:
            open_data(table(tmp_path, label=label, patient=ids, split=[split] * 8))
        assert "canary" not in str(caught.value).lower()


@pytest.mark.parametrize(
    "name", ["mrn", "MRN", "PatientID", "patient_name", "Subject ID", "case", "Fallnummer", "pid", "donor"]
)
def test_names_of_patient_ids(name: str) -> None:
    assert named_as_ids(name)


@pytest.mark.parametrize(
    "name", ["patient_age", "PatientSex", "label", "projection", "caseload", "personality", "id", ""]
)
def test_names_of_other_columns(name: str) -> None:
    assert not named_as_ids(name)


CODES = [f"x{at // 3}q" for at in range(24)]
AGES = [20 + at // 2 for at in range(24)]
HALF = ["a", "b"] * 12


def test_a_column_that_looks_like_patient_ids_is_named(tmp_path: Path) -> None:
    path = table(tmp_path, label=HALF, MRN=CODES, PatientName=CODES, age=AGES)
    said = "the columns MRN, PatientName look like patient ids and none is used: give --patient-column MRN, or none"
    assert open_data(path).notes[0].startswith(said)
    assert open_data(path, patient_column="MRN").notes == ()
    assert open_data(path, patient_column="none").notes == ()
    assert not open_data(path, patient_column="none").has_patients


@pytest.mark.parametrize(
    ("cells", "noticed"),
    [
        (CODES, True),
        ([100000 + at // 3 for at in range(24)], True),
        (AGES, False),
        ([f"x{at}" for at in range(24)], False),
        (["x1", "x2"] * 12, False),
        ([f"2020-01-{10 + at // 3}" for at in range(24)], False),
        ([f"{at // 3}.5" for at in range(24)], False),
        (["left", "right"] * 12, False),
    ],
)
def test_a_column_is_known_by_its_values(tmp_path: Path, cells: list[Any], noticed: bool) -> None:
    notes = open_data(table(tmp_path, label=HALF, who=cells)).notes
    assert [note for note in notes if "the column who looks like patient ids" in note] == list(notes)
    assert bool(notes) == noticed


def test_no_patients_is_the_users_word_beside_a_column_of_them(tmp_path: Path) -> None:
    path = table(tmp_path, label=TWO, patient=list("aabbccdd"))
    assert open_data(path).has_patients
    assert not open_data(path, patient_column="none").has_patients


PATIENTS = [3, 3, 4, 4, 5, 5, 6, None]


@pytest.mark.parametrize(
    "patients", [PATIENTS, np.array(PATIENTS, dtype=float), [f"{p}" if p else "" for p in PATIENTS]]
)
def test_arrays_and_data_sets_carry_patients(patients: Any) -> None:
    images, labels = noise(8, 12, 12), [0, 1] * 4
    dataset = TensorDataset(torch.from_numpy(images), torch.tensor(labels))
    for source in (
        open_data(images, labels=labels, patients=patients),
        open_data(dataset, patients=patients),
        open_data(torch.from_numpy(images), labels=torch.tensor(labels), patients=patients),
    ):
        assert source.has_patients
        assert source.groups.tolist() == [0, 0, 1, 1, 2, 2, 3, 4]
        assert source.notes == ("1 image has no patient id and counts as one patient",)


@pytest.mark.parametrize(
    ("patients", "message"),
    [
        ([1, 2, 3], "8 entries in patients, one per image, were wanted, found 3"),
        (np.arange(9), "8 entries in patients, one per image, were wanted, found 9"),
        ("who", "sequence of 8 patients, one per image, was wanted, found str as patients="),
        ({1: 2}, "found dict as patients="),
        (set(range(8)), "found set as patients="),
        (7, "found int as patients="),
        ([[1, 2]] * 8, "found 2 in entry 0 of the given patients"),
    ],
)
def test_patients_that_are_none(patients: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        open_data(noise(8, 12, 12), labels=[0, 1] * 4, patients=patients)


def test_patients_beside_a_path_would_be_passed_over(tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"patients= beside an array or a data set was wanted, found it beside .*list.csv"
    ):
        open_data(table(tmp_path, label=TWO), patients=range(8))
