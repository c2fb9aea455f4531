"""The logistic probe against scikit-learn fold by fold, and what groups must hide."""

import warnings
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.special import softmax
from sklearn.linear_model import LogisticRegression

from autossl.proxies import balanced_accuracy, grouped_folds, logistic, score


def reference(z: NDArray[Any], y: NDArray[Any], weights: NDArray[Any], penalty: float) -> LogisticRegression:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it needs more steps than it has
        return LogisticRegression(C=1 / penalty, tol=1e-9, max_iter=5000).fit(z, y, sample_weight=weights)


def blobs(n: int, d: int, classes: int, seed: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    rng = np.random.default_rng(seed)
    y = np.concatenate([np.arange(classes), rng.integers(0, classes, n - classes)])
    return (rng.normal(size=(n, d)) + 2 + rng.normal(size=(classes, d))[y]).astype(np.float32), y


@settings(max_examples=15)
@given(
    n=st.integers(30, 90),
    d=st.integers(1, 120),
    classes=st.integers(3, 5),
    penalty=st.sampled_from([0.3, 10.0, 1e3]),
    balanced=st.booleans(),
    seed=st.integers(0, 99),
)
def test_equals_scikit_learn_on_all_samples_and_on_each_fold(
    n: int, d: int, classes: int, penalty: float, balanced: bool, seed: int
) -> None:
    z, y = blobs(n, d, classes, seed)
    groups = np.random.default_rng(seed).integers(0, n // 2, n)
    fit = logistic(z, y, groups, classes=classes, penalties=[penalty], balanced=balanced, folds=3, tolerance=1e-8)
    weights = n / (classes * np.bincount(y)[y]) if balanced else np.ones(n)
    whole = reference(z, y, weights, penalty)
    np.testing.assert_allclose(softmax(fit.predict(z), 1), whole.predict_proba(z), atol=5e-3)
    fold = grouped_folds(y, groups, 3)
    for k in range(3):
        out = fold == k
        if len(np.unique(y[~out])) < classes:
            continue
        seen = (~out).sum() / (classes * np.bincount(y[~out])[y[~out]]) if balanced else weights[~out]
        part = reference(z[~out], y[~out], seen, penalty)
        np.testing.assert_allclose(softmax(fit.scores[out], 1), part.predict_proba(z[out]), atol=1e-2)


def test_a_path_ends_where_single_fits_do_and_takes_the_best_and_largest_penalty() -> None:
    z, y = blobs(200, 30, 4, 0)
    path = np.logspace(4, -1, 11)
    fit = logistic(z, y, classes=4, penalties=path)
    tried = np.isfinite(fit.losses)
    for penalty, loss in zip(fit.penalties[tried], fit.losses[tried], strict=True):
        alone = logistic(z, y, classes=4, penalties=[penalty])
        assert alone.losses[0] == pytest.approx(loss, rel=2e-2)
    assert fit.penalty == fit.penalties[np.flatnonzero(fit.losses == np.nanmin(fit.losses))[0]]
    assert np.all(np.diff(fit.penalties) < 0)


def test_a_path_stops_after_two_penalties_that_bring_nothing_better() -> None:
    z, y = blobs(150, 60, 3, 4)
    y[::3] = np.random.default_rng(0).integers(0, 3, 50)
    fit = logistic(z, y, classes=3, penalties=np.logspace(7, -3, 40))
    best, tried = int(np.nanargmin(fit.losses)), int(np.isfinite(fit.losses).sum())
    assert tried == min(best + 3, 40)
    assert tried < 40


def test_two_classes_and_wide_embeddings() -> None:
    z, y = blobs(40, 300, 2, 1)
    fit = logistic(z, y, classes=2)
    assert fit.weights.shape == (300, 2)
    assert balanced_accuracy(y, fit.scores.argmax(1)) > 0.9
    assert balanced_accuracy(y, fit.predict(z).argmax(1)) == 1


def test_random_labels_give_chance_by_patient_and_show_the_leak_by_image() -> None:
    rng = np.random.default_rng(3)
    patients = np.repeat(np.arange(100), 5)
    labels = rng.integers(0, 2, 100)[patients]
    z = rng.normal(size=(100, 24))[patients] + 0.2 * rng.normal(size=(500, 24))
    path = [1.0]
    leaky, honest = (logistic(z, labels, groups, classes=2, penalties=path).scores for groups in (None, patients))
    assert score("balanced_accuracy", labels, leaky) > 0.6
    assert abs(score("balanced_accuracy", labels, honest) - 0.5) < 2 * 0.5 / np.sqrt(100)


def test_one_group_a_lonely_class_and_constant_columns() -> None:
    z, y = blobs(30, 5, 3, 2)
    z[:, 2] = 7
    alone = logistic(z, y, np.zeros(30), classes=3)
    assert (alone.scores == 0).all()
    assert alone.penalty == alone.penalties.max()
    y[y == 2] = 0
    y[4] = 2  # one sample of this class: its fold has never seen it
    fit = logistic(z, y, classes=4)
    assert np.isfinite(fit.scores).all()
    assert fit.scores[4].argmax() != 2
    assert (fit.scores.argmax(1) != 3).all()


def test_bad_input_is_told_in_one_sentence() -> None:
    z, y = blobs(12, 3, 2, 0)
    with pytest.raises(ValueError, match="penalties must be positive"):
        logistic(z, y, classes=2, penalties=[0.0])
    with pytest.raises(ValueError, match=r"must lie in \[0, 2\)"):
        logistic(z, y + 1, classes=2)
    with pytest.raises(ValueError, match="finite, found NaN"):
        logistic(np.where(z > 3, np.nan, z), y, classes=2)
