"""Labels: none vanishes without a word, numbers are classes or refused, several findings are not one class."""

import csv
import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from autossl.data import Source, open_data, read_images
from autossl.data.truth import Classes
from autossl.data.truth.naming import MISSING, missing_words, without_missing
from autossl.data.truth.spelling import canonical
from autossl.errors import UserError


def noise(*shape: int) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def folder(root: Path, *names: str, count: int = 3) -> Path:
    for name in names:
        (root / name).mkdir(parents=True)
        for at in range(count):
            Image.fromarray(noise(12, 12)).save(root / name / f"{at}.png")
    return root


def table(root: Path, columns: dict[str, list[Any]]) -> Path:
    """A CSV with an image for each row."""
    count = len(next(iter(columns.values())))
    for at, image in enumerate(noise(count, 12, 12)):
        Image.fromarray(image).save(root / f"{at}.png")
    with open(root / "list.csv", "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(
            [["image", *columns], *zip(*[[f"{at}.png" for at in range(count)], *columns.values()], strict=True)]
        )
    return root / "list.csv"


def names(source: Source) -> list[str]:
    return ["" if label < 0 else source.truth.names[label] for label in source.truth.strata]


@pytest.mark.parametrize(
    "name", ["NA", "none", "null", "nan", "-1", "N/A".replace("/", "-"), "None", "1.0", "0.5", "a|b", "01"]
)
def test_the_name_of_a_folder_is_never_missing(tmp_path: Path, name: str) -> None:
    source = open_data(folder(tmp_path, "ben", "mal", name))
    assert sorted(source.truth.names) == sorted(["ben", "mal", name])
    assert (np.bincount(source.truth.strata) == 3).all()
    assert source.notes == ()


def test_a_folder_of_unlabelled_images_is_a_class_and_said_to_be_one(tmp_path: Path) -> None:
    source = open_data(folder(tmp_path, "ben", "mal", "unlabeled"))
    assert len(source.truth.names) == 3
    assert source.notes == (
        "the folder unlabeled is a class; move it away and give it by --unlabeled if its images have no label",
    )


def test_missing_words_are_not_for_folders(tmp_path: Path) -> None:
    source = open_data(folder(tmp_path, "ben", "mal", "none"), missing="none")
    assert "none" in source.truth.names
    assert source.notes == ("folders are classes, whatever their names: --missing is for the labels of tables",)


LABELS = ["ben"] * 3 + ["mal"] * 3 + ["NA"] * 2 + ["none"] * 4 + ["", "-1"]


def test_missing_labels_are_counted_and_named(tmp_path: Path) -> None:
    source = open_data(table(tmp_path, {"label": LABELS}))
    assert source.truth.names == ("ben", "mal", "none")
    assert source.notes == (
        "4 of 14 images have no label (1 empty, 2 'NA', 1 '-1'): --missing says which words mean that",
        "'none' is a class (4 images): if it means no label, give --missing none",
    )


@pytest.mark.parametrize(
    ("missing", "classes"),
    [
        ("", ("-1", "NA", "ben", "mal", "none")),
        ("none", ("-1", "NA", "ben", "mal")),
        (" None ,mal", ("-1", "NA", "ben")),
        (["-1.0", "na", "none"], ("ben", "mal")),
    ],
)
def test_other_words_for_missing_labels(tmp_path: Path, missing: str | list[str], classes: tuple[str, ...]) -> None:
    labels = [*LABELS, "NA", "-1"]
    for source in (
        open_data(table(tmp_path, {"label": labels}), missing=missing),
        open_data(noise(16, 12, 12), labels=labels, missing=missing),
    ):
        assert source.truth.names == classes
        assert (source.truth.strata < 0).sum() == sum(label not in classes for label in labels)


def test_a_word_that_no_label_is_was_misspelled(tmp_path: Path) -> None:
    source = open_data(table(tmp_path, {"label": ["a", "b"] * 3}), missing="unknwon")
    assert source.notes == ("no label is 'unknwon', which --missing names",)


@pytest.mark.parametrize("missing", [3, ["a", 3], {"a"}])
def test_words_for_missing_labels_are_text(missing: Any) -> None:
    with pytest.raises(UserError, match=r"words that mean a missing label were wanted, found .* as --missing; give"):
        open_data(noise(6, 12, 12), labels=[0, 1] * 3, missing=missing)


def test_minus_one_of_an_npz_is_missing_and_said_so(tmp_path: Path) -> None:
    np.savez(tmp_path / "set.npz", images=noise(9, 12, 12), labels=np.repeat([-1.0, 0, 1], 3))
    source = open_data(tmp_path / "set.npz")
    assert names(source) == [""] * 3 + ["0"] * 3 + ["1"] * 3
    assert source.notes == ("3 of 9 images have no label (3 '-1'): --missing says which words mean that",)
    assert open_data(tmp_path / "set.npz", missing="").truth.names == ("-1", "0", "1")


def test_a_study_evaluates_what_its_classes_are_called() -> None:
    images, labels = noise(6, 12, 12), ["NA", "a", "none"] * 2
    assert (
        read_images(
            images, 12, 1, 255.0, Classes.nothing(0, {"classes": ("NA", "a", "none")}), labels=labels
        ).truth.strata.tolist()
        == [0, 1, 2] * 2
    )
    fresh = read_images(images, 12, 1, 255.0, Classes.nothing(0, {"classes": ("a", "none")}), labels=labels)
    assert fresh.truth.strata.tolist() == [-1, 0, 1] * 2
    fresh = read_images(images, 12, 1, 255.0, Classes.nothing(0, {"classes": ("a",)}), labels=labels, missing="none,NA")
    assert fresh.truth.strata.tolist() == [-1, 0, -1] * 2


def test_classes_of_a_study_in_any_spelling() -> None:
    fresh = read_images(
        noise(4, 12, 12),
        12,
        1,
        255.0,
        Classes.nothing(0, {"classes": ("1.0", "1", "e\u0301")}),
        labels=["1.0", 1, "é", "e\u0301"],
    )
    assert fresh.truth.strata.tolist() == [1, 1, 2, 2]
    assert read_images(
        noise(2, 12, 12), 12, 1, 255.0, Classes.nothing(0, {"classes": ("1.0", "2")}), labels=[1, 2]
    ).truth.strata.tolist() == [0, 1]


WORDS = st.text("aNn-10é ,|", max_size=4)
CELLS = st.one_of(st.sampled_from(["", "NA", "nan", "none", "-1", "0", "1", "2", "A", "a", "é", "1.0", "-1.0"]), WORDS)


@given(
    st.lists(CELLS, min_size=1, max_size=30),
    st.one_of(st.none(), st.lists(CELLS.filter(lambda w: "," not in w), max_size=3)),
)
def test_no_label_changes_and_none_vanishes_without_a_word(raw: list[str], words: list[str] | None) -> None:
    """By an oracle of one line: an image has its label unless it is empty or a missing word, and these are counted."""
    values = [canonical(cell) for cell in raw]
    chosen = set(MISSING) if words is None else {canonical(word).lower() for word in words}
    kept, notes = without_missing(values, words)
    assert kept == ["" if value == "" or value.lower() in chosen else value for value in values]
    lost = sum(bool(value) and not now for value, now in zip(values, kept, strict=True))
    assert bool(lost) == any("--missing says" in note for note in notes)
    if count := kept.count(""):
        assert notes[0].startswith(f"{count:,} of {len(raw):,} images have no label")
    assert missing_words(words) == chosen - {""}


@given(st.text(max_size=12))
def test_one_spelling_is_stable_and_touches_whole_floats_only(text: str) -> None:
    once = canonical(text)
    assert canonical(once) == once
    if once != unicodedata.normalize("NFC", text).strip():
        assert float(text) == float(once)


NAMES = ["a", "b", "", "x;y", 'say "ah"', "ä", "a\u0308", "2.0", "2", "NA"]
ROWS = st.lists(st.tuples(st.sampled_from(NAMES), st.sampled_from(["7", "7.0", "P1", "", "p1"])), max_size=12)


@given(
    rows=ROWS,
    mark=st.sampled_from(",;\t"),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    bom=st.booleans(),
)
def test_what_a_table_says_is_what_is_read(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str]], mark: str, quoting: Any, bom: bool
) -> None:
    """Random studies against an independent reading of the same rows."""
    root = tmp_path_factory.getbasetemp() / "studies"
    root.mkdir(exist_ok=True)
    rows = [("a", "q1"), ("b", "q2"), ("a", "q3"), ("b", "q4"), *rows, *((label, "") for label, _ in rows)]
    for at in range(len(rows)):
        if not (root / f"{at}.png").exists():
            Image.fromarray(noise(12, 12)).save(root / f"{at}.png")
    with open(root / "list.csv", "w", newline="", encoding="utf-8-sig" if bom else "utf-8") as file:
        writer = csv.writer(file, delimiter=mark, quoting=quoting)
        writer.writerow(["image", "label", "patient"])
        writer.writerows([f"{at}.png", *row] for at, row in enumerate(rows))
    source = open_data(root / "list.csv")
    one = {"2.0": "2", "a\u0308": "ä", "NA": ""}
    assert names(source) == [one.get(label, label) for label, _ in rows]
    who = [{"7.0": "7"}.get(patient, patient) or f"alone {at}" for at, (_, patient) in enumerate(rows)]
    assert source.has_patients
    for first in range(len(rows)):
        same = [source.groups[first] == other for other in source.groups]
        assert same == [who[first] == other for other in who]


def test_spellings_of_one_number_are_one_class_and_said_to_be(tmp_path: Path) -> None:
    source = open_data(table(tmp_path, {"label": ["1", "1.0", "2", "2.", "01", "01"]}))
    assert sorted(source.truth.names) == ["01", "1", "2"]
    assert source.notes == (
        "labels that are one number in two spellings, as 3 and 3.0 are, count as one",
        "classes differ only in case, blanks or leading zeros: '01' and '1'; spell them alike if they are one",
    )


def test_classes_that_are_likely_one_are_named(tmp_path: Path) -> None:
    source = open_data(folder(tmp_path, "Benign", "benign", "malignant"))
    assert source.notes == (
        "classes differ only in case, blanks or leading zeros: 'Benign' and 'benign'; spell them alike if they are one",
    )


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (["Effusion", "Pneumonia", "Effusion|Pneumonia", "none"] * 3, "several findings in one label, such as 'Effus"),
        (["Mass|Nodule", "Mass|Hernia"] * 4, "several findings in one label"),
        (["a", "b", "c", "a;b"] * 3, "several findings in one label, such as 'a;b', in"),
        ([18 + at * 3 for at in range(24)], r"a different number in every row \(--task regression\)"),
        (
            [18 + at % 20 * 3 for at in range(40)],
            "found 20 different numbers for 40 images in .*; --task regression",
        ),
        ([18, 30, 30, 40, 40, 51, 51, 60, 60, 77], "found 6 different numbers for 10 images in .*; --task regression"),
        ([0.5, 1.25] * 4, "numbers with fractions such as 0.5 in .*; --task regression takes"),
        (["0,5", "1,25"] * 4, "numbers with fractions such as 0,5 in .*; --task regression takes"),
        ([f"masks/{at % 4}.png" for at in range(8)], r"names of images \(masks are for --task segmentation"),
    ],
)
def test_labels_that_are_no_classes(tmp_path: Path, labels: list[Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        open_data(table(tmp_path, {"label": labels}))


@pytest.mark.parametrize(
    "labels",
    [
        [11, 12, 21, 22] * 3,
        [tooth for quadrant in (10, 20, 30, 40) for tooth in range(quadrant + 1, quadrant + 9) for _ in range(10)],
        list(range(12)) * 2,
        ["Carcinoma, ductal", "Carcinoma, lobular"] * 3,
        ["HER2+", "HER2-"] * 3,
        ["024e7871", "1e5", "024e7871", "1e5"],
        ["T1", "T2", "T3", "T4a", "T4b", "T1"] * 4,
        ["inf", "infinity"] * 3,
    ],
)
def test_labels_that_are_classes(labels: list[Any]) -> None:
    source = open_data(noise(len(labels), 12, 12), labels=labels)
    assert names(source) == list(map(str, labels))


def test_many_numbers_as_classes_are_said_to_be_classes() -> None:
    labels = [18 + at % 20 * 3 for at in range(400)]
    source = open_data(noise(400, 12, 12), labels=labels)
    assert source.notes == (
        "each of 20 different numbers is a class of its own: --task regression takes them as numbers",
    )


def test_one_hot_columns_are_several_findings(tmp_path: Path) -> None:
    path = table(tmp_path, {"effusion": [0, 1] * 4, "pneumonia": [1, 1, 0, 0] * 2, "nodule": [0, 0, 0, 1] * 2})
    message = (
        r"several findings, each with yes or no, \(effusion, pneumonia, nodule\) in .*; several labels per image are "
        r"--task multilabel, or choose one by --label-column"
    )
    with pytest.raises(UserError, match=message):
        open_data(path)
    assert open_data(path, label_column="effusion").truth.names == ("0", "1")


def test_images_without_labels_may_have_any_labels(tmp_path: Path) -> None:
    path = table(tmp_path, {"label": [at / 7 for at in range(8)], "split": ["test"] * 8})
    source = open_data(noise(6, 12, 12), labels=[0, 1] * 3, unlabeled=path)
    assert (source.truth.strata[6:] == -1).all()
    assert source.notes == ("8 images without labels were added",)
