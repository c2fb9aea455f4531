"""Metrics, bootstrap, intervals, folds and power against scikit-learn, slow loops and simulation."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.metrics import balanced_accuracy_score, r2_score, roc_auc_score

from autossl.proxies import (
    METRICS,
    accuracy,
    balanced_accuracy,
    bootstrap,
    detectable_difference,
    grouped_folds,
    interval,
    macro_auroc,
    paired,
    r2,
    score,
    standard_error,
)

BOTH = ("balanced_accuracy", "macro_auroc")


def slow_auroc(y: NDArray[np.int64], scores: NDArray[np.float64]) -> float:
    """All pairs of a positive and a negative, ties counted as half."""
    areas = []
    for c in np.unique(y):
        up, down = scores[y == c, c][:, None], scores[y != c, c]
        if down.size:
            areas.append(np.mean((up > down) + 0.5 * (up == down)))
    return float(np.mean(areas)) if areas else float("nan")


@given(n=st.integers(1, 80), classes=st.integers(1, 5), steps=st.integers(1, 6), seed=st.integers(0, 99))
def test_metrics_follow_their_definitions_with_ties(n: int, classes: int, steps: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    y, scores = rng.integers(0, classes, n), rng.integers(0, steps, (n, classes)).astype(float)
    predicted = scores.argmax(1)
    present = np.unique(y)
    recalls = [np.mean(predicted[y == c] == c) for c in present]
    assert balanced_accuracy(y, predicted, classes) == pytest.approx(np.mean(recalls))
    assert balanced_accuracy(y, predicted) == pytest.approx(np.mean(recalls))
    assert accuracy(y, predicted) == pytest.approx(np.mean(y == predicted))
    assert macro_auroc(y, scores) == pytest.approx(slow_auroc(y, scores), nan_ok=True)


def test_metrics_agree_with_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    y, scores = rng.integers(0, 4, 300), rng.normal(size=(300, 4)).round(1)
    shares = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
    assert balanced_accuracy(y, scores.argmax(1)) == pytest.approx(balanced_accuracy_score(y, scores.argmax(1)))
    assert macro_auroc(y, shares) == pytest.approx(roc_auc_score(y, shares, multi_class="ovr"))
    assert r2(scores, shares) == pytest.approx(r2_score(scores, shares))
    assert np.isnan(r2([1.0, 1.0], [1.0, 2.0]))
    for metric in ("accuracy", "balanced_accuracy", "macro_auroc"):
        assert 0 <= score(metric, y, scores) <= 1


@given(n=st.integers(2, 40), classes=st.integers(1, 4), patients=st.integers(1, 10), seed=st.integers(0, 99))
def test_each_draw_is_the_metric_of_the_resampled_patients(n: int, classes: int, patients: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    y, scores = rng.integers(0, classes, n), rng.integers(0, 4, (n, classes)).astype(float)
    groups = rng.integers(0, patients, n)
    kinds = ("accuracy", "balanced_accuracy", "macro_auroc")
    values = bootstrap(y, scores, groups, metrics=kinds, draws=3, seed=seed)
    ids = np.unique(groups)
    picks = np.random.default_rng([seed, 0]).integers(0, len(ids), (3, len(ids)), dtype=np.int32)
    for draw, picked in enumerate(picks):
        rows = np.concatenate([np.flatnonzero(groups == ids[p]) for p in picked])
        for metric in kinds:
            expected = METRICS[metric].of(y[rows], scores[rows])
            assert values[metric][draw] == pytest.approx(expected, nan_ok=True)


def test_bootstrap_of_values() -> None:
    rng = np.random.default_rng(1)
    y = rng.normal(size=(60, 2)) + 1000
    guess = y + 0.5 * rng.normal(size=y.shape)
    values = bootstrap(y, guess, metrics=("r2",), draws=70, seed=3)["r2"]
    picks = np.random.default_rng([3, 64]).integers(0, 60, (6, 60), dtype=np.int32)
    np.testing.assert_allclose(values[64:], [r2_score(y[p], guess[p]) for p in picks])


def test_the_same_patients_are_drawn_whatever_they_are_called() -> None:
    rng = np.random.default_rng(2)
    y, scores, groups = rng.integers(0, 2, 90), rng.normal(size=(90, 2)), rng.integers(0, 30, 90)
    first = bootstrap(y, scores, groups, metrics=BOTH, seed=5)
    named = bootstrap(y, scores, [f"p{g:03d}" for g in groups], metrics=BOTH, seed=5)
    alone = bootstrap(y, scores, groups, metrics=("macro_auroc",), seed=5)
    np.testing.assert_array_equal(first["macro_auroc"], named["macro_auroc"])
    np.testing.assert_array_equal(first["macro_auroc"], alone["macro_auroc"])
    assert (first["macro_auroc"] != bootstrap(y, scores, groups, metrics=BOTH, seed=6)["macro_auroc"]).any()


def simulated(
    rng: np.random.Generator, patients: int
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.int64]]:
    """Labels by patient, 1 to 4 images each, and scores that err together within a patient."""
    groups = np.repeat(np.arange(patients), rng.integers(1, 5, patients))
    y = rng.integers(0, 2, patients)[groups]
    evidence = (2 * y - 1) + rng.normal(size=patients)[groups] + 0.5 * rng.normal(size=len(y))
    return y, np.column_stack([-evidence, evidence]), groups


def clustered(
    rng: np.random.Generator, patients: int
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
    """1 to 8 images of a patient, who share their class and half of the variance of what the scores get wrong."""
    groups = np.repeat(np.arange(patients), rng.integers(1, 9, patients))
    wrong = rng.normal(size=patients)[groups] + rng.normal(size=len(groups))
    y = rng.integers(0, 2, patients)[groups]
    evidence = 2 * y - 1 + wrong
    values = rng.normal(size=patients)[groups] + rng.normal(size=len(groups))
    return y, np.column_stack([-evidence, evidence]), values, values + 0.7 * wrong, groups


def test_intervals_cover_with_patient_clusters_and_not_with_images() -> None:
    rng = np.random.default_rng(1)
    kinds = ("balanced_accuracy", "macro_auroc", "dice")
    y, scores, values, guesses, _ = clustered(rng, 300_000)
    truth = {metric: score(metric, y, scores) for metric in kinds} | {"r2": r2(values, guesses)}
    runs, naive_runs = 400, 100
    covered, naive = dict.fromkeys(truth, 0), dict.fromkeys(truth, 0)
    for run in range(runs):
        y, scores, values, guesses, groups = clustered(rng, 250)
        for owner, count in ((groups, covered), (None, naive))[: 2 if run < naive_runs else 1]:
            draws = bootstrap(y, scores, owner, metrics=kinds, draws=384, seed=run)
            draws |= bootstrap(values, guesses, owner, metrics=("r2",), draws=384, seed=run)
            for metric, value in truth.items():
                low, high = interval(draws[metric])
                count[metric] += low <= value <= high
    for metric in truth:
        # met by 98 of 100 where the coverage is .95, by one of 20 at .90, by one of 100 at .89 or .99
        assert 0.925 <= covered[metric] / runs <= 0.975, metric
        assert naive[metric] / naive_runs < 0.85, metric


def test_paired_differences_cancel_what_patients_share() -> None:
    rng = np.random.default_rng(3)
    y, scores, groups = simulated(rng, 120)
    better = scores + 0.2 * np.column_stack([1 - y, y])
    difference = paired(y, better, scores, groups)
    assert difference.value == score("balanced_accuracy", y, better) - score("balanced_accuracy", y, scores)
    assert difference.low <= difference.value <= difference.high
    assert difference.se < 0.7 * standard_error(bootstrap(y, scores, groups, metrics=BOTH)["balanced_accuracy"])
    same = paired(y, scores, scores, groups, "macro_auroc")
    assert (same.value, same.low, same.high, same.se) == (0, 0, 0, 0)


def test_intervals_leave_undefined_draws_out() -> None:
    assert interval([np.nan, 1, 1]) == (1, 1)
    assert np.isnan(interval([np.nan])).all()
    assert np.isnan(standard_error([1.0]))
    low, high = interval(np.arange(1001), 0.9)
    assert (low, high) == pytest.approx((49.1, 950.9))  # places 0.05 (n + 1) and 0.95 (n + 1), counted from 1


@given(
    k=st.integers(2, 6),
    patients=st.integers(6, 40),
    classes=st.integers(1, 4),
    extra=st.integers(0, 120),
    seed=st.integers(0, 99),
)
def test_folds_keep_groups_whole_and_none_empty(k: int, patients: int, classes: int, extra: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    groups = np.r_[np.arange(patients), rng.integers(0, patients, extra)]
    y = rng.integers(0, classes, len(groups))
    folds = grouped_folds(y, groups, k)
    assert set(folds) == set(range(k))
    assert all(len(set(folds[groups == g])) == 1 for g in range(patients))
    np.testing.assert_array_equal(folds, grouped_folds(y, groups, k))


def test_folds_are_stratified() -> None:
    y = np.repeat([0, 1, 2], [400, 80, 20])
    counts = np.array([np.bincount(y[grouped_folds(y, None, 4) == f], minlength=3) for f in range(4)])
    np.testing.assert_array_equal(counts, np.tile([100, 20, 5], (4, 1)))
    with pytest.raises(ValueError, match="number of groups, 2, found 3"):
        grouped_folds([0, 1, 0], [1, 1, 2], 3)


def test_detectable_difference_is_shown_in_four_of_five_experiments() -> None:
    y = np.repeat([0, 1, 2], [150, 60, 90])
    difference = detectable_difference(y, p=0.8)
    one_only = 2 * 0.8 * 0.2 * 0.5
    rng = np.random.default_rng(4)
    shown = 0
    for _run in range(2000):  # per patient +1 where only the first is right, -1 where only the second is
        signs = rng.choice(
            [1, -1, 0], len(y), p=[(one_only + difference) / 2, (one_only - difference) / 2, 1 - one_only]
        )
        means = np.array([signs[y == c].mean() for c in range(3)])
        variances = np.array([signs[y == c].var() / (y == c).sum() for c in range(3)])
        shown += abs(means.mean()) > 1.96 * np.sqrt(variances.sum()) / 3
    assert shown / 2000 == pytest.approx(0.8, abs=0.03)


def test_detectable_difference_counts_patients_not_images() -> None:
    y, patients = np.arange(200) % 2, np.arange(200)
    alone = detectable_difference(y, patients)
    assert detectable_difference(np.tile(y, 5), np.tile(patients, 5)) == pytest.approx(alone)
    assert detectable_difference(np.tile(y, 4)) == pytest.approx(alone / 2, rel=0.05)
    assert 0 < alone < detectable_difference([0, 1, 0, 1]) <= 1
    with pytest.raises(ValueError, match="p must lie"):
        detectable_difference(y, p=1)


def test_bad_input_is_told_in_one_sentence() -> None:
    with pytest.raises(ValueError, match="metrics must be among"):
        bootstrap([0, 1], np.eye(2), metrics=("f1",))
    with pytest.raises(ValueError, match="metric must be one of"):
        score("f1", [0, 1], np.eye(2))
    with pytest.raises(ValueError, match="scores must be finite"):
        macro_auroc([0, 1], np.array([[0, 1], [np.nan, 1]]))
    with pytest.raises(ValueError, match="level must lie"):
        interval([1.0], 1.0)
    with pytest.raises(ValueError, match="must hold integer class indices"):
        bootstrap([0.5, 1], np.eye(2), metrics=BOTH)
