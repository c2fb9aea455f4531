"""Ordered classes: numbers order themselves, words are ordered as given, others than the study's are refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from autossl.data import TEST, open_data, prepare, read_images
from autossl.data.truth import Grades
from autossl.errors import UserError
from tests.test_data_labels import folder, names, noise, table

WORDS = ["moderate", "mild", "severe", "NA"] * 10


def test_whole_numbers_order_themselves() -> None:
    source = open_data(noise(40, 12, 12), labels=[10, 9, 2, 8] * 10, form=Grades)
    assert source.truth.names == ("2", "8", "9", "10")
    assert source.notes == ("grades 2, 8, 9, 10 are taken as steps of equal size",)
    assert source.truth.described() == "40 in 4 grades"
    assert open_data(noise(40, 12, 12), labels=[3, 0, 1, 2] * 10, form=Grades).notes == ()


@pytest.mark.parametrize("order", ["mild,moderate,severe", ["mild", "moderate", "severe"], " mild , moderate,severe"])
def test_words_are_ordered_as_given(order: Any) -> None:
    source = open_data(noise(40, 12, 12), labels=WORDS, form=Grades, order=order)
    assert source.truth.names == ("mild", "moderate", "severe")
    assert source.truth.strata[:4].tolist() == [1, 0, 2, -1]


def test_an_order_may_turn_numbers_about_and_name_what_is_not_there() -> None:
    source = open_data(noise(40, 12, 12), labels=[1, 2] * 20, form=Grades, order="3,2,1")
    assert source.truth.names == ("2", "1")
    assert source.notes == ("no image has the grade '3' that --order names",)


@pytest.mark.parametrize(
    ("labels", "order", "message"),
    [
        (
            WORDS,
            None,
            "found the words mild,moderate,severe in the given array; give them by --order, the lowest first",
        ),
        (WORDS, "mild,severe", r"a grade of --order \(mild, severe\) was wanted, found 'moderate' in the given array"),
        (WORDS, "mild,mild", "found 'mild' twice in --order"),
        (WORDS, 3, "found int as --order; give for example mild,moderate,severe"),
        ([f"Ann {at}" for at in range(40)], None, "found 40 different words in the given array; give the grades by"),
        ([0.5, 1, 2, 3] * 10, None, "grades as whole numbers were wanted, found 0.5 in .*--task regression"),
        (list(range(18, 58)), None, "at most 20 grades were wanted, found 40 different numbers in .*--task regression"),
        ([2] * 40, None, "at least two grades were wanted, found only '2'"),
        ([None] * 40, None, "found 40 images without a label"),
        ([1, *[2] * 39], None, "two images of each of two grades at least were wanted"),
        (np.ones((40, 2)), None, "one column of grades was wanted, found 2 columns of labels in the given array"),
    ],
)
def test_grades_that_make_no_study(labels: Any, order: Any, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        open_data(noise(40, 12, 12), labels=labels, form=Grades, order=order)
    assert "Ann" not in str(caught.value)


def test_folders_may_be_grades(tmp_path: Path) -> None:
    assert open_data(folder(tmp_path, "0", "1", "2"), form=Grades).truth.names == ("0", "1", "2")


def test_new_images_are_told_in_the_grades_of_the_study() -> None:
    truth = open_data(noise(40, 12, 12), labels=WORDS, form=Grades, order="mild,moderate,severe").truth
    fresh = read_images(noise(3, 12, 12), 12, 1, 255.0, truth, labels=["severe", None, "mild"])
    assert fresh.truth.strata.tolist() == [2, -1, 0]
    assert fresh.truth.names == truth.names
    with pytest.raises(UserError, match=r"among the grades of the study \(mild, moderate, severe\).*found 'fatal' in"):
        read_images(noise(2, 12, 12), 12, 1, 255.0, truth, labels=["mild", "fatal"])
    truth = open_data(noise(40, 12, 12), labels=[0, 1] * 20, form=Grades).truth
    with pytest.raises(UserError, match=r"among the grades of the study \(0, 1\) were wanted, found '7' in"):
        read_images(noise(2, 12, 12), 12, 1, 255.0, truth, labels=[1, 7])


def test_a_study_of_grades(tmp_path: Path) -> None:
    path = table(tmp_path, {"stage": [0, 1, 2, 2] * 20, "patient": [f"p{at // 2}" for at in range(80)]})
    source = open_data(path, form=Grades, label_column="stage")
    data = prepare(source, tmp_path / "cache", image_size=12, max_labels=24)
    assert isinstance(data.truth, Grades)
    assert set(data.truth.strata[data.rows(TEST)]) == {0, 1, 2}
    assert names(source)[:4] == ["0", "1", "2", "2"]
    with pytest.raises(UserError, match="at least 2 labelled patients of each of 3 grades were wanted, found --max-la"):
        prepare(source, tmp_path / "cache", image_size=12, max_labels=2)
