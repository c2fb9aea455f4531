"""The curve over numbers of labels: whole patients, a supervised rival on equal terms, and what the report says."""

import time
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

import autossl
from autossl.data.truth import Classes, Truth, Values
from autossl.finish.baselines import Effort, untrained
from autossl.finish.curve import LEAST_PASSES, after_training, draw_labels, granted, label_curve
from autossl.finish.steps import Steps
from autossl.finish.tested import Entrant, Outcome
from autossl.report.label_curve import whole, words
from autossl.study import Study
from autossl.trials.context import PROBE, SELECTION, Context, open_context
from tests.same_numbers import textures

Ints = NDArray[np.int64]


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory, short_runs_on_labels: None) -> Study:
    """A finished study of 180 images of 60 patients, of 120 labels outside the test part, with short trainings."""
    settings: dict[str, Any] = {"time_limit": None, "max_candidates": 1, "methods": "denoising"}
    settings |= {"backbone": "test_resnet", "adaptation": "frozen", "workers": 1, "device": "cpu", "seed": 3}
    out = tmp_path_factory.mktemp("curve") / "run"
    given = textures()
    return autossl.search(given.pop("images"), out=out, **given, **settings)


@st.composite
def samples(draw: st.DrawFn) -> tuple[Classes, Ints]:
    """Labels of three kinds, and patients with one to six images, some with several kinds."""
    random = np.random.default_rng(draw(st.integers(0, 1000)))
    patients = np.repeat(np.arange(60), random.integers(1, draw(st.integers(2, 7)), 60))
    mixed = random.random(len(patients)) < draw(st.sampled_from([0.0, 0.2]))
    return Classes(np.where(mixed, random.integers(0, 3, len(patients)), patients % 3), ("a", "b", "c")), patients


@given(samples(), st.integers(3, 60))
def test_labels_are_drawn_by_whole_patients_of_every_class(given: tuple[Classes, Ints], wanted: int) -> None:
    truth, patients = given
    places = draw_labels(truth, patients, wanted, [0, wanted, 0])
    rest = np.setdiff1d(np.arange(len(truth)), places)
    assert not np.intersect1d(patients[places], patients[rest]).size
    assert len(places) <= wanted
    if len(places):
        assert set(truth.strata[places]) == {0, 1, 2}
    else:
        assert wanted < 3 * 6  # of three patients with six images each
    assert np.array_equal(places, draw_labels(truth, patients, wanted, [0, wanted, 0]))


@pytest.mark.parametrize("wanted", [3, 10, 30, 100])
def test_images_without_patients_are_drawn_one_by_one_in_proportion(wanted: int) -> None:
    labels = np.repeat([0, 1, 2], [200, 60, 40])
    places = draw_labels(Classes(labels, ("a", "b", "c")), np.arange(300), wanted, [0, 0, 0])
    assert len(places) == wanted
    if wanted >= 30:
        assert np.bincount(labels[places]) == pytest.approx(wanted * np.array([200, 60, 40]) / 300, abs=1)


def test_few_labels_hold_one_patient_of_each_class_where_two_are_too_many() -> None:
    truth, patients = Classes(np.arange(80) % 8, tuple("abcdefgh")), np.arange(80)
    assert np.bincount(truth.strata[draw_labels(truth, patients, 10, [0])], minlength=8).min() == 1
    assert np.bincount(truth.strata[draw_labels(truth, patients, 16, [0])], minlength=8).min() == 2
    assert not len(draw_labels(truth, patients, 7, [0]))


def test_soft_strata_that_do_not_fit_are_drawn_alike() -> None:
    values: Truth = Values.load({"values": np.arange(60.0)[:, None]}, Values.nothing(0).about | {"columns": ["a"]})
    assert values.soft
    assert len(draw_labels(values, np.arange(60), 2, [0])) == 2


BASELINE: dict[str, Any] = {"settings": {}, "seconds": 100.0, "images": 10_000, "passes": 20.0}


def baseline(**facts: Any) -> Effort:
    """How a supervised baseline was trained."""
    return Effort(**{**BASELINE, **facts})


@given(st.floats(0, 400), st.integers(1, 5), st.integers(0, 6000))
def test_trainings_share_the_time_and_stay_within_it(seconds: float, points: int, embedded: int) -> None:
    numbers = [10, 30, 100, 300, 1000][:points]
    left, made, pace = seconds, 0, 100.0 / 10_000
    for at, number in enumerate(numbers):
        given = granted(left, numbers[at:], baseline(), embedded)
        assert given is not None
        if given == 0:
            break
        assert given >= LEAST_PASSES * 20 * number * pace * 0.999
        left -= min(given, 20 * number * pace) + after_training(baseline(), embedded)
        assert left >= -1e-6
        made += 1
    needed = after_training(baseline(), embedded) + LEAST_PASSES * 20 * numbers[0] * pace
    assert (made > 0) == (seconds >= needed)


def test_without_a_limit_trainings_have_none() -> None:
    assert granted(None, [10], baseline(), 100) is None


def test_the_supervised_curve_ends_at_the_tested_baseline(study: Study) -> None:
    assert study.result is not None
    test = study.result["test"]
    own = [point for point in test["label_curve"] if point["name"] == "supervised"]
    assert [point["draws"] for point in own] == [1] * len(own)
    assert len(own) > 1
    assert own[-1]["labels"] == test["labels"]
    for point in test["label_curve"]:
        if point["labels"] == test["labels"]:
            assert point["mean"] == test["entrants"][point["name"]][test["metric"]]
    assert {point["name"] for point in test["label_curve"]} == {"winner", "untrained", "supervised"}
    drawn = {point["labels"] for point in own[:-1]}
    assert all(0 < labels < test["labels"] for labels in drawn)


def test_the_report_draws_both_curves_and_says_what_they_are(study: Study) -> None:
    assert study.result is not None
    page = study.folder.report.read_text()
    figure = page[page.index("How many labels are needed") : page.index("Embedding map")]
    for name in ("the winner", "the untrained encoder", "training on the same labels alone", "labels alone, all of"):
        assert f">{name}" in figure
    for told in (
        "mean and standard deviation over 3 draws of whole patients",
        "chosen by its score on all labels",
        "one training from scratch per point, on the first draw",
    ):
        assert told in page


def test_points_without_time_are_left_out_and_said_otherwise() -> None:
    def points(name: str, *numbers: int) -> list[dict[str, object]]:
        return [{"labels": n, "name": name, "mean": 0.5, "sd": 0.1, "draws": 1 if n >= 1000 else 3} for n in numbers]

    cut = points("winner", 10, 1000, 3000, 5000) + points("untrained", 10, 1000, 5000) + points("supervised", 5000)
    test = {"label_curve": cut, "labels": 5000}
    assert sorted({p["labels"] for p in whole(test)}) == [10, 1000, 5000]
    told = words(test, patients=False)
    assert "3 draws of images (one draw where labels are many)" in told
    assert "from scratch" not in told
    assert whole({"label_curve": points("winner", 5000) + points("untrained", 5000)}) == []
    assert words({"labels": 5000}, patients=False) == ""


@pytest.fixture(scope="module")
def fitted(study: Study) -> tuple[Context, Outcome, Effort]:
    """An untrained encoder in the place of the winner, and the study's baseline, of which only its terms are used."""
    context, outcome = open_context(study.folder), Outcome()
    outcome.facts["labels"] = len(context.rows(PROBE, SELECTION, labelled=True))
    outcome.add(context, Entrant("winner", untrained(context)))
    outcome.facts["entrants"]["supervised"] = outcome.facts["entrants"]["winner"]
    return context, outcome, Effort(**context.state("arms")["supervised"])


@pytest.mark.parametrize(("passes", "points"), [(1.0, [10, 30, 100]), (1e6, [])])
def test_a_training_that_would_be_too_short_is_left_out(
    fitted: tuple[Context, Outcome, Effort], passes: float, points: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    context, outcome, trained = fitted
    monkeypatch.setitem(context.__dict__, "plan", replace(context.plan, until={"label curve": 60.0}))
    began = time.monotonic()
    steps = Steps(context, lambda: time.monotonic() - began, lambda _: None, lambda: None)
    found = label_curve(steps, outcome, replace(trained, passes=passes))
    own = [point["labels"] for point in found if point["name"] == "supervised"]
    assert [round(labels, -1) for labels in own[:-1]] == points
    assert time.monotonic() - began < 60


def test_a_stop_ends_the_curve(fitted: tuple[Context, Outcome, Effort]) -> None:
    context, outcome, trained = fitted
    steps = Steps(context, lambda: 0.0, lambda _: None, context.folder.stop.touch)
    found = label_curve(steps, outcome, trained)
    context.folder.stop.unlink()
    assert {point["name"] for point in found} == {"winner", "supervised"}
    assert [point["labels"] for point in found if point["name"] == "supervised"] == [outcome.facts["labels"]]
