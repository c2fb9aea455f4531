"""What cannot be known is said first: too few patients of a class, noisy rankings, scores that do not carry over."""

import copy
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from autossl.data import open_data, prepare
from autossl.data.scarce import few_patients, few_tested
from autossl.data.truth import Classes
from autossl.finish.tested import Entrant, Outcome
from autossl.model import card
from autossl.model.entrants import MEAN, TUNED
from autossl.nn.encoder import Encoder
from autossl.proxies import METRICS
from autossl.record.folder import Folder, write_json
from autossl.report import verdict
from autossl.report.leaderboard import noisy
from autossl.report.verdict import remarks
from autossl.study import Study
from autossl.trials.context import TEST, open_context
from tests.test_cli import run
from tests.test_report import add, begin, page_of, searched
from tests.test_verdict import GOOD, outcome

FEW = "the test part has 1 patient of class 'died'"


def unmeasured() -> dict[str, Any]:
    """A result as the end of a study writes it where a class has too few test patients."""
    result = copy.deepcopy(outcome(GOOD, tuned=True))
    test = result["test"]
    test["few"] = FEW
    for found in test["entrants"].values():
        found["interval"] = {}
    for gaps in (test["differences"], test["adapted_differences"]):
        for gap in gaps.values():
            del gap["low"], gap["high"]
    return result


def test_two_networks_that_answer_together_are_no_proof_by_themselves() -> None:
    result = copy.deepcopy(outcome(GOOD))
    result["choice"] = {"arm": MEAN, "arms": {MEAN: {"members": [TUNED, "supervised"]}, "supervised": {}}}
    assert any("two networks without self-supervision have as well" in said for said in remarks(result))
    for arm in ("supervised", TUNED):
        result["choice"]["arm"] = arm
        assert not any("answer together" in said for said in remarks(result))


def test_the_first_sentence_says_that_nothing_can_be_measured() -> None:
    first = verdict.verdict(unmeasured())
    assert first.kind == "unclear"
    assert first.first.startswith("The test part has 1 patient of class 'died': what follows cannot be measured")
    assert (
        "The winner (rotation) reaches a balanced accuracy of 0.800 there, the untrained encoder 0.700" in first.first
    )
    assert "[" not in first.first


def test_no_interval_stands_in_report_and_card(tmp_path: Path) -> None:
    result = unmeasured()
    folder = searched(tmp_path, {"stage": "done", "finished": True, "tests": 1, "result": result})
    page = page_of(folder)
    assert "No intervals are drawn: the test part has 1 patient of class 'died'." in page.text
    assert "could not be drawn" not in page.text
    tested = page.text.split("winner minus this")[1].split("Winner and adaptation")[0]
    assert "[" not in tested
    lines = card._tested(result["test"])
    assert "the scores cannot be measured" in lines[0]
    assert not any("[" in line for line in lines)


def test_classes_with_few_patients_are_named_by_part() -> None:
    counts = {"probe": {"a": 2, "b": 30}, "test": {"a": 0, "b": 5}}
    assert few_patients(counts, "patient") == (
        "the probe part has 2 patients of class 'a': this class cannot be judged by patients",
        "the test part has no patients of class 'a': what is tested there cannot be measured",
    )
    assert few_patients({"probe": {"a": 3}, "test": {"a": 5}}, "patient") == ()
    many = few_tested(dict.fromkeys("abcdefg", 1), "image")
    assert many.endswith("1 image of class 'd' and as few of 3 more")


def few_of_one_class(folder: Path) -> Any:
    """40 patients of two images; one patient of the rare class is in the official test part."""
    rng = np.random.default_rng(0)
    patients = np.repeat(np.arange(40), 2)
    labels = np.where(patients % 10 == 9, "rare", "common")
    split = np.where(patients % 10 < 7, "train", "test")
    split[patients == 9] = "test"
    split[np.isin(patients, (19, 29, 39))] = "train"
    images = rng.integers(0, 255, (80, 16, 16), dtype=np.uint8)
    np.savez(folder / "few.npz", images=images, labels=labels, patients=patients, split=split)
    return prepare(open_data(str(folder / "few.npz")), folder / "cache", image_size=16)


def test_notes_and_record_count_patients_not_images(tmp_path: Path) -> None:
    data = few_of_one_class(tmp_path)
    assert data.record["parts"]["test"]["class_groups"]["rare"] == 1
    assert data.record["parts"]["test"]["classes"]["rare"] == 2
    said = " ".join(data.notes)
    assert "the test part has 1 patient of class 'rare': what is tested there cannot be measured" in said
    assert "of class 'rare': this class cannot be judged by patients" in said


def test_a_test_of_few_patients_writes_no_interval(tmp_path: Path) -> None:
    folder = begin(tmp_path)
    context = open_context(folder, "cpu")
    rows = context.rows(TEST, labelled=True)
    labels = context.data.truth.strata.copy()
    gone = rows[labels[rows] == 1][4:]
    labels[gone] = 0
    object.__setattr__(context.data, "truth", Classes(labels, context.data.truth.names))
    context.config = replace(context.config, metric="balanced_accuracy")
    found = Outcome()
    encoder = Encoder("test_resnet", 1, 16).eval()
    for name in ("winner", "untrained"):
        found.add(context, Entrant(name, encoder))
    assert found.facts["few"] == "the test part has 4 images of class 'benign'"
    assert found.facts["entrants"]["winner"]["interval"] == {}
    assert set(found.facts["differences"]["untrained"]) == {"value"}
    assert TUNED not in found.facts["entrants"]


@pytest.mark.parametrize(
    ("score", "se", "tested", "half", "said"),
    [
        (0.977, 0.02, 0.48, None, True),
        (0.90, 0.01, 0.80, 0.03, True),
        (0.90, 0.04, 0.80, 0.07, False),  # within two standard errors
        (0.85, 0.001, 0.82, 0.002, False),  # sure, but little
        (0.60, 0.01, 0.80, 0.02, False),  # better than it looked
    ],
)
def test_a_search_score_that_the_test_does_not_bear_out_is_remarked_on(
    score: float, se: float, tested: float, half: float | None, said: bool
) -> None:
    result = copy.deepcopy(outcome(GOOD))
    result["candidate"] |= {"aligned_score": score, "se": se}
    winner = result["test"]["entrants"]["winner"]
    winner["balanced_accuracy"] = tested
    winner["interval"] = {} if half is None else {"balanced_accuracy": [tested - half, tested + half]}
    found = remarks(result)
    assert bool(found) is said
    if said:
        told = f"did not carry over to the test: {score:.3f} on the probe part, {tested:.3f} on the test part"
        assert told in found[0]


def test_the_remark_stands_in_the_report_and_in_python(tmp_path: Path) -> None:
    result = copy.deepcopy(outcome(GOOD))
    result["candidate"]["aligned_score"] = 0.95
    folder = searched(tmp_path, {"stage": "done", "finished": True, "tests": 1, "result": result})
    assert "The search score did not carry over to the test: 0.950 on the probe part, 0.800" in page_of(folder).text
    assert Study(folder.root).remarks == remarks(result)


def test_a_ranking_by_few_labels_is_called_noise_wherever_it_is_shown(tmp_path: Path) -> None:
    folder = searched(tmp_path, {"stage": "searching"})
    labels = json.loads(folder.data.read_text())["parts"]["probe"]["labels"]
    told = noisy(labels, 2)
    words = "labels the ranking of candidates is mostly noise: the leader's score is the best of 2 and too high"
    assert told == f"with {labels} {words}"
    assert Study(folder.root).caution == told
    assert told[1:] in page_of(folder).text
    assert "the best of 2 and too high" in " ".join(run("leaderboard", str(folder.root)).output.split())
    assert noisy(100, 5) == ""


def test_what_was_cut_off_is_no_failure_in_status(tmp_path: Path) -> None:
    folder = searched(tmp_path, {"stage": "searching"})
    add(folder, 4, "rotation", 0, None, reason="out of time")
    add(folder, 5, "rotation", 0, None, reason="lost")
    assert Study(folder.root).status()["segments"] == {
        "scored": 3, "running": 0, "waiting": 0, "failed": 1, "cut off": 2,
    }  # fmt: skip
    assert "1 failed, 2 cut off" in run("status", str(folder.root)).output


def test_an_export_before_the_end_says_what_to_do(tmp_path: Path) -> None:
    folder = begin(tmp_path, {"stage": "searching"})
    for candidate, word in (("best", "encoder"), ("model", "network")):
        told = run("export", str(folder.root), str(tmp_path / "out"), "--candidate", candidate)
        assert told.exit_code == 2
        assert "unfinished (stage: searching)" in told.output
        assert f"without the {word} that --candidate {candidate} names" in told.output
        assert "autossl stop" in told.output
    write_json(Folder(folder.root).state, {"stage": "done", "finished": True})
    told = run("export", str(folder.root), str(tmp_path / "out"), "--candidate", "supervised")
    assert "labels alone was wanted, found that it did not fit" in told.output


def test_a_device_that_is_not_here_says_so() -> None:
    told = run("search", "sample:cells", "--device", "cuda:7")
    assert told.exit_code == 2
    assert "--device cuda:7" in told.output
    assert "--device cpu or auto" in told.output


def test_a_test_part_that_can_show_nothing_is_called_too_small() -> None:
    assert verdict.detectable(60, "images", 0.676, METRICS["balanced_accuracy"]).startswith(
        "the test part is too small to tell"
    )
    assert "hardly a smaller one" in verdict.detectable(6000, "images", 0.01, METRICS["accuracy"])
