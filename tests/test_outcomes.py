"""Outcomes: values, intervals and paired differences of samples that own one row or several."""

import io

import numpy as np
import pytest

from autossl.proxies import METRICS, Outcomes, bootstrap, interval, paired, score

rng = np.random.default_rng(0)
Y, GROUPS = rng.integers(0, 3, 60), rng.integers(0, 12, 60)
SCORES, OTHERS = rng.normal(size=(2, 60, 3)).astype(np.float32)


def test_they_say_what_the_functions_of_arrays_say() -> None:
    found, other = Outcomes.of(Y, SCORES), Outcomes.of(Y, OTHERS)
    assert found.value("macro_auroc") == score("macro_auroc", Y, SCORES)
    drawn = bootstrap(Y, SCORES, GROUPS, metrics=("accuracy",), draws=50)["accuracy"]
    assert found.intervals(("accuracy",), GROUPS, draws=50)["accuracy"] == interval(drawn)
    expected = paired(Y, SCORES, OTHERS, GROUPS, "balanced_accuracy", draws=50)
    assert found.minus(other, "balanced_accuracy", GROUPS, draws=50) == expected


def test_the_same_outcomes_differ_by_nothing() -> None:
    found = Outcomes.of(Y, SCORES)
    gap = found.minus(found, "accuracy", GROUPS, draws=20)
    assert (gap.value, gap.low, gap.high, gap.se) == (0, 0, 0, 0)


def test_parts_joined_are_the_whole() -> None:
    parts = [Outcomes.of(Y[at], SCORES[at]) for at in (slice(0, 25), slice(25, 60))]
    joined = Outcomes.joined(parts)
    assert joined.n == 60
    np.testing.assert_array_equal(joined.owner, np.arange(60))
    assert joined.value("macro_auroc") == Outcomes.of(Y, SCORES).value("macro_auroc")


def test_a_file_gives_them_back() -> None:
    found = Outcomes.of(Y, SCORES, GROUPS % 4)
    file = io.BytesIO()
    np.savez(file, allow_pickle=False, **found.arrays(), losses=np.zeros(3))
    file.seek(0)
    with np.load(file, allow_pickle=False) as stored:
        again = Outcomes.loaded(dict(stored))
    assert again.n == 60
    assert again.columns.keys() == found.columns.keys()
    assert again.columns["scores"].dtype == np.float32
    assert again.value("macro_auroc") == found.value("macro_auroc")


def test_other_samples_are_not_compared() -> None:
    with pytest.raises(ValueError, match="the same samples"):
        Outcomes.of(Y, SCORES).minus(Outcomes.of(Y[::-1], SCORES), "accuracy")
    with pytest.raises(ValueError, match="one length"):
        Outcomes.of(Y, SCORES[:3])


def test_rows_of_several_to_a_sample_are_drawn_with_it() -> None:
    """A sample that owns two rows counts twice, and both rows go with its patient."""
    owner = np.repeat(np.arange(30), 2)
    found = Outcomes({"y": Y, "scores": SCORES}, owner, 30)
    drawn = bootstrap(Y, SCORES, (GROUPS[:30])[owner], metrics=("accuracy",), draws=40)["accuracy"]
    assert found.intervals(("accuracy",), GROUPS[:30], draws=40)["accuracy"] == interval(drawn)


def test_worth_turns_the_sign_where_lower_is_better() -> None:
    y, guess = rng.normal(size=(2, 20, 1))
    found = Outcomes.of(y, guess)
    assert found.worth("mae") == -found.value("mae") < 0
    assert METRICS["r2"].worth(found.value("r2")) == found.value("r2")
