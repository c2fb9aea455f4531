"""What clinicians read of a test: intervals against scipy's, classes and findings against counting by hand."""

import numpy as np
import pytest
from scipy.stats import binomtest

from autossl.proxies import Outcomes
from autossl.report import diagnosis
from autossl.report.clinical import Reading, share

rng = np.random.default_rng(0)


@pytest.mark.parametrize(("hits", "n"), [(17, 20), (20, 20), (0, 7), (300, 1000)])
def test_with_an_image_of_each_patient_an_interval_is_wilsons(hits: int, n: int) -> None:
    found = share(np.arange(n) < hits, np.arange(n))
    ends = binomtest(hits, n).proportion_ci(method="wilson")
    assert found.value == hits / n
    assert (found.low, found.high) == pytest.approx((ends.low, ends.high), abs=2e-4)


def test_images_of_one_patient_count_as_far_as_they_differ() -> None:
    hits = rng.random(40) < 0.8
    once, often = share(hits, np.arange(40)), share(np.repeat(hits, 10), np.repeat(np.arange(40), 10))
    assert often.high - often.low == pytest.approx(once.high - once.low, rel=0.05)
    apart = share(np.repeat(hits, 10), np.arange(400))
    assert apart.high - apart.low < 0.5 * (once.high - once.low)
    whole = share(np.ones(400, bool), np.repeat(np.arange(40), 10))
    assert whole.low == pytest.approx(binomtest(40, 40).proportion_ci(method="wilson").low, abs=1e-4)


def test_one_patient_has_no_interval_and_nobody_no_share() -> None:
    assert share(np.array([True, False]), np.zeros(2, np.int64)).interval == ""
    assert np.isnan(share(np.zeros(0, bool), np.zeros(0, np.int64)).value)


def test_classes_are_judged_one_against_the_rest() -> None:
    y = np.array([0, 0, 0, 1, 1, 2, 2, 2])
    said = np.array([0, 0, 1, 1, 1, 2, 0, 2])
    scores = np.eye(4)[said] * 3
    reading = Reading.of("classes", Outcomes.of(y, scores), ("a", "b", "c", "nobody"), np.arange(8))
    assert [row.name for row in reading.rows] == ["a", "b", "c"]
    assert [row.images for row in reading.rows] == [3, 2, 3]
    assert [row.sensitivity.value for row in reading.rows] == pytest.approx([2 / 3, 1, 2 / 3])
    assert [row.specificity.value for row in reading.rows] == pytest.approx([4 / 5, 5 / 6, 1])
    assert reading.confusion[:3, :3].tolist() == [[2, 1, 0], [0, 2, 0], [1, 0, 2]]
    assert sorted(diagnosis.errors(reading).tolist()) == [2, 6]
    assert diagnosis.words(reading, np.array([2]))[0][0] == "is a"
    for drawn in (diagnosis.confusion(reading), diagnosis.roc(reading), diagnosis.calibration(reading)):
        assert drawn.startswith("<svg")
    assert "nobody" not in diagnosis.roc(reading)


def test_findings_that_are_not_known_are_left_out() -> None:
    y = np.array([[1.0, np.nan], [0, 1], [1, 0], [0, 1]])
    scores = np.array([[2.0, 9], [-1, 1], [-2, -1], [1, 2]])
    reading = Reading.of("findings", Outcomes.of(y, scores), ("x", "y"), np.arange(4))
    first, second = reading.rows
    assert (first.sensitivity.value, first.specificity.value) == (0.5, 0.5)
    assert (second.images, second.sensitivity.value, second.specificity.value, second.area) == (2, 1, 1, 1)
    assert len(reading.sure[0]) == 7
    assert not len(diagnosis.errors(reading))


def test_of_grades_the_nearest_is_said_and_nothing_is_likely() -> None:
    y, places = np.array([0.0, 1, 2, 2]), np.array([[0.4], [1.2], [1.4], [7.0]])
    reading = Reading.of("grades", Outcomes.of(y.reshape(-1, 1), places), ("0", "1", "2"), np.arange(4))
    assert reading.said.argmax(1).tolist() == [0, 1, 1, 2]
    assert diagnosis.roc(reading) == diagnosis.calibration(reading) == ""
    assert all(np.isnan(row.area) for row in reading.rows)
