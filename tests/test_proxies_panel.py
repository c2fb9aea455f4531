"""The panel gives what its scores give alone, from parts that are computed once."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from autossl.proxies import (
    KNN_KS,
    KNN_TEMPERATURES,
    Evidence,
    balanced_accuracy,
    bootstrap,
    collapse,
    judging_folds,
    knn_votes,
    macro_auroc,
    participation_ratio,
    r2,
    rankme,
    ridge,
    stable_rank,
    standard_error,
    standardise,
)
from autossl.proxies.evidence import Queries
from autossl.proxies.means import nearest_mean
from autossl.proxies.measures import score as score_of
from autossl.proxies.metrics import spearman
from autossl.proxies.panel import Panel, panel
from autossl.proxies.table import PROXIES
from autossl.proxies.transferability import h_score, logme

Sample = tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.int64]]


def sample(n: int, d: int, seed: int = 0) -> Sample:
    rng = np.random.default_rng(seed)
    groups = rng.integers(0, n // 3, n)
    y = rng.integers(0, 3, n)
    z = rng.normal(size=(n, d)) * np.linspace(0.1, 3, d) + 2 + rng.normal(size=(3, d))[y] * 0.7
    z[:, 1] = 5  # a constant column
    return z.astype(np.float32), y, groups


def test_one_pair_of_votes_is_that_of_the_grid() -> None:
    z, y, groups = sample(240, 12)
    whole, alone = (Evidence(z, y, groups, grid=grid) for grid in (True, False))
    np.testing.assert_array_equal(whole.vote, alone.vote)
    assert alone.knn_grid.shape == (1, 1)


@pytest.mark.parametrize(("n", "d"), [(240, 12), (60, 100)])
def test_left_out_scores_are_those_of_the_functions_alone(n: int, d: int) -> None:
    z, y, groups = sample(n, d)
    found = panel(z, y, groups, draws=100)
    folds = judging_folds(y, groups)
    alone = ridge(standardise(z), y, folds, classes=3)
    votes = knn_votes(z, y, classes=3, groups=folds)
    place = KNN_KS.index(20), KNN_TEMPERATURES.index(0.07)
    expected = {
        "ridge": score_of("balanced_accuracy", y, alone.scores, folds),
        "ridge_auroc": macro_auroc(y, alone.scores, folds),
        "knn": score_of("balanced_accuracy", y, votes[place], folds),
        "ncm": score_of("balanced_accuracy", y, nearest_mean(z, y, folds, classes=3), folds),
        "logme": logme(z, y),
        "h_score": h_score(z, y),
        "rankme": rankme(z),
        "participation": participation_ratio(z),
        "stable_rank": stable_rank(z),
        "std_ratio": collapse(z).std_ratio,
        "cosine": collapse(z).cosine,
    }
    for name, value in expected.items():
        assert found[name].value == pytest.approx(value, rel=1e-4, abs=1e-4), name
    assert found.knn_grid is not None
    assert found.knn_grid[place] == pytest.approx(expected["knn"])
    kinds = ("balanced_accuracy",)
    drawn = bootstrap(y, alone.scores, groups, metrics=kinds, draws=100, folds=folds)["balanced_accuracy"]
    assert found["ridge"].se == pytest.approx(standard_error(drawn), rel=0.05)
    assert np.isnan(found["rankme"].se)


@pytest.mark.parametrize(("n", "d"), [(240, 12), (60, 100)])
def test_scores_on_queries_are_fitted_on_the_bank_alone(n: int, d: int) -> None:
    z, y, groups = sample(n + 50, d)
    bank, asked = slice(0, n), slice(n, None)
    found = panel(z[bank], y[bank], groups[bank], Queries(z[asked], y[asked]), draws=50)
    fit = ridge(standardise(z[bank]), y[bank], groups[bank], classes=3)
    scores = fit.predict(standardise(z[asked], z[bank]))
    assert found["ridge"].value == pytest.approx(balanced_accuracy(y[asked], scores.argmax(1), 3), abs=1e-6)
    votes = knn_votes(z[bank], y[bank], z[asked], classes=3)
    assert found["knn"].value == pytest.approx(balanced_accuracy(y[asked], votes[3, 2].argmax(1), 3))
    means = nearest_mean(z[bank], y[bank], queries=z[asked], classes=3)
    assert found["ncm"].value == pytest.approx(balanced_accuracy(y[asked], means.argmax(1), 3))


def test_every_row_of_the_table_gives_a_value_in_its_range() -> None:
    z, y, groups = sample(150, 10)
    views = np.stack([z[:40], z[:40] + 0.1], axis=1)
    found = panel(z, y, groups, scores="all", views=views, draws=20)
    assert set(found.readings) == {row.name for row in PROXIES if "classification" in row.tasks}
    without = panel(z, y, groups, scores="all", draws=20)
    assert set(found.readings) - set(without.readings) == {"lidar", "alignment"}
    for row in PROXIES:
        if row.name in found.readings:
            reading = found[row.name]
            undefined = np.isnan(reading.value) and row.name == "alpha_req"  # ten dimensions are too few
            assert undefined or row.low - 1e-6 <= reading.value <= row.high + 1e-6, row.name
            assert reading.proxy is row
            assert reading.seconds >= 0
            assert row.higher_is_better == (row.better == "higher")
    quick = {row.name for row in PROXIES if row.quick and "classification" in row.tasks}
    assert set(panel(z, y).readings) == quick


def rows_in_range(found: Panel, task: str) -> None:
    assert set(found.readings) == {row.name for row in PROXIES if task in row.tasks and not row.views}
    for name, reading in found.readings.items():
        undefined = np.isnan(reading.value) and name == "alpha_req"
        assert undefined or reading.proxy.low - 1e-6 <= reading.value <= reading.proxy.high + 1e-6, name


def test_values_ordered_classes_and_labels() -> None:
    z, y, groups = sample(150, 10)
    score = z[:, 2] + 0.3 * np.random.default_rng(0).normal(size=150)
    found = panel(z, score, groups, task="regression", scores="all", draws=20)
    rows_in_range(found, "regression")
    folds = judging_folds(score, groups, task="regression")
    fit = ridge(standardise(z), score, folds)
    assert found["ridge_r2"].value == pytest.approx(r2(score, fit.scores))
    assert found["ridge_r2"].value > 0.3
    assert found["ridge_spearman"].value == pytest.approx(spearman(score, fit.scores, folds))
    assert found["ridge_r2"].se > 0
    order = np.digitize(score, np.quantile(score, [0.3, 0.6]))
    ranked = panel(z, order, groups, task="ordinal", scores="all", draws=20)
    rows_in_range(ranked, "ordinal")
    assert ranked["ridge_kappa"].value > 0.3
    labels = np.column_stack([y == 0, score > score.mean()]).astype(int)
    several = panel(z, labels, groups, task="multilabel", scores="all", draws=20)
    rows_in_range(several, "multilabel")
    assert several["ridge_labels"].value > 0.7
    asked = panel(z[:100], score[:100], groups[:100], Queries(z[100:], score[100:]), task="regression", draws=20)
    some = judging_folds(score[:100], groups[:100], task="regression")
    alone = ridge(standardise(z[:100]), score[:100], some).predict(standardise(z[100:], z[:100]))
    assert asked["ridge_r2"].value == pytest.approx(r2(score[100:], alone), abs=1e-5)


def test_tokens_of_segmentation_and_detection() -> None:
    rng = np.random.default_rng(0)
    marks = rng.integers(0, 3, (24, 16))
    tokens = (rng.normal(size=(24, 16, 8)) + 2 * np.eye(8)[marks]).astype(np.float32)
    patients = np.arange(24) // 2
    found = panel(tokens, marks, patients, task="segmentation", scores="all", draws=20)
    rows_in_range(found, "segmentation")
    assert found["dense_ridge"].value > 0.6
    assert found["dense_ridge"].se > 0
    assert found["rankme"].value == pytest.approx(rankme(tokens.mean(1)), rel=1e-4)
    boxes = np.where(marks.reshape(24, 4, 4) == 1, 1 + np.arange(16).reshape(4, 4), 0)
    seen = panel(tokens.reshape(24, 4, 4, 8), boxes, patients, task="detection", scores="all")
    rows_in_range(seen, "detection")
    assert seen["token_ap"].value > 0.6
    with pytest.raises(ValueError, match="queries must not be given for segmentation"):
        panel(tokens, marks, patients, Queries(tokens, marks), task="segmentation")
    with pytest.raises(ValueError, match="z must hold tokens"):
        panel(tokens[0], marks, task="segmentation")


def test_shared_parts_are_computed_once_and_timed() -> None:
    z, y, groups = sample(150, 10)
    found = panel(z, y, groups, scores=("ridge", "ridge_auroc", "rankme"), draws=20)
    assert set(found.seconds) == {"moments", "raw_spectrum", "folds", "probe", "probed"}
    assert found.knn_grid is None
    assert set(found.values()) == {"ridge", "ridge_auroc", "rankme"}


def test_random_labels_give_chance_by_patient_and_show_the_leak_by_image() -> None:
    rng = np.random.default_rng(7)
    patients = np.repeat(np.arange(150), 6)
    y = rng.integers(0, 2, 150)[patients]
    z = rng.normal(size=(150, 40))[patients] + 0.2 * rng.normal(size=(900, 40))
    names = ("ridge", "knn", "ncm", "logistic", "lda")
    honest, leaky = (panel(z, y, groups, scores=names, draws=200) for groups in (patients, None))
    for name in names:
        # leave-one-out means are below chance on random labels: what is left out is missed
        assert honest[name].value < 0.5 + 2 * 0.5 / np.sqrt(150), name
    for name in ("ridge", "knn", "logistic", "lda"):
        assert leaky[name].value > 0.6, name
        assert 0.01 < honest[name].se < 0.06, name


@pytest.mark.parametrize(
    ("keywords", "words"),
    [
        ({"task": "haruspicy"}, "task must be one of classification.*found 'haruspicy'"),
        ({"scores": ("ridge", "magic")}, "scores must be .*found"),
        ({"scores": "magic"}, "scores must be .*found 'magic'"),
        ({"scores": ("lidar",)}, "scores must be .*found"),
        ({"groups": [1, 2]}, "groups must hold one id for each of 150"),
        ({"queries": Queries([[1.0] * 10], [7]), "classes": 3}, r"must lie in \[0, 3\)"),
    ],
)
def test_bad_input_is_told_in_one_sentence(keywords: dict[str, Any], words: str) -> None:
    z, y, _ = sample(150, 10)
    with pytest.raises(ValueError, match=words):
        panel(z, y, **keywords)
