"""Nearest class means, episodes, discriminant analysis and learnt neighbourhoods, against plain loops."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.covariance import ledoit_wolf

from autossl.proxies import balanced_accuracy, grouped_folds, means
from autossl.proxies.lda import shrinkage_lda
from autossl.proxies.means import few_shot, nearest_mean
from autossl.proxies.nca import nca_knn


def blobs(n: int, d: int, classes: int, seed: int, gap: float = 1.0) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    rng = np.random.default_rng(seed)
    y = np.concatenate([np.arange(classes), rng.integers(0, classes, n - classes)])
    return rng.normal(size=(n, d)) + gap * rng.normal(size=(classes, d))[y], y


def slow_means(z: NDArray[Any], y: NDArray[Any], groups: NDArray[Any], classes: int) -> NDArray[np.float64]:
    unit = z / np.linalg.norm(z, axis=1, keepdims=True)
    scores = np.full((len(z), classes), -1.0)
    for i in range(len(z)):
        for c in range(classes):
            others = (y == c) & (groups != groups[i])
            if others.any():
                mean = unit[others].sum(0)
                scores[i, c] = unit[i] @ mean / np.linalg.norm(mean)
    return scores


@given(
    n=st.integers(5, 60), d=st.integers(2, 12), classes=st.integers(1, 5), patients=st.integers(1, 20),
    seed=st.integers(0, 99),
)  # fmt: skip
def test_nearest_mean_without_the_own_patient(n: int, d: int, classes: int, patients: int, seed: int) -> None:
    z, y = blobs(n, d, classes, seed)
    groups = np.random.default_rng(seed).integers(0, patients, n)
    np.testing.assert_allclose(
        nearest_mean(z, y, groups, classes=classes), slow_means(z, y, groups, classes), atol=1e-4
    )
    own = np.arange(n)
    np.testing.assert_allclose(nearest_mean(z, y, classes=classes), slow_means(z, y, own, classes), atol=1e-4)


def test_tiles_of_groups_and_queries(monkeypatch: pytest.MonkeyPatch) -> None:
    z, y = blobs(300, 8, 4, 0)
    groups = np.random.default_rng(0).integers(0, 40, 300)
    whole = nearest_mean(z, y, groups, classes=4)
    monkeypatch.setattr(means, "TILE", 13)
    np.testing.assert_allclose(nearest_mean(z, y, groups, classes=4), whole, atol=1e-6)
    unit = z / np.linalg.norm(z, axis=1, keepdims=True)
    centre = np.stack([unit[y == c].mean(0) for c in range(4)])
    expected = unit[:5] @ (centre / np.linalg.norm(centre, axis=1, keepdims=True)).T
    np.testing.assert_allclose(nearest_mean(z, y, queries=z[:5], classes=4), expected, atol=1e-5)
    with pytest.raises(ValueError, match="must have the 8 dimensions of z, found 3"):
        nearest_mean(z, y, queries=np.ones((2, 3)), classes=4)


def slow_lda(z: NDArray[Any], y: NDArray[Any], new: NDArray[Any], classes: int) -> NDArray[np.float64]:
    centre = np.stack([z[y == c].mean(0) for c in range(classes)])
    covariance = ledoit_wolf(z - centre[y], assume_centered=True)[0]
    directions = np.linalg.solve(covariance, centre.T)
    scores: NDArray[np.float64] = new @ directions - 0.5 * np.einsum("cd,dc->c", centre, directions)
    return scores


@pytest.mark.parametrize(("n", "d"), [(120, 10), (60, 25), (50, 200)])
def test_discriminant_analysis_by_its_formula(n: int, d: int) -> None:
    z, y = blobs(n, d, 3, n)
    groups = np.random.default_rng(1).integers(0, 25, n)
    fit = shrinkage_lda(z, y, groups, classes=3, folds=4)
    gaps = fit.predict(z) - slow_lda(z, y, z, 3)
    np.testing.assert_allclose(gaps - gaps[:, :1], 0, atol=2e-2)
    fold = grouped_folds(y, groups, 4)
    for k in range(4):
        gaps = fit.scores[fold == k] - slow_lda(z[fold != k], y[fold != k], z[fold == k], 3)
        np.testing.assert_allclose(gaps - gaps[:, :1], 0, atol=2e-2)


def test_random_labels_give_chance_by_patient_and_show_the_leak_by_image() -> None:
    rng = np.random.default_rng(5)
    patients = np.repeat(np.arange(120), 6)
    labels = rng.integers(0, 2, 120)[patients]
    z = rng.normal(size=(120, 60))[patients] + 0.1 * rng.normal(size=(720, 60))
    bound = 2 * 0.5 / np.sqrt(120)

    def value(scores: NDArray[Any], index: Any = slice(None)) -> float:
        return float(balanced_accuracy(labels[index], scores.argmax(1), 2))

    assert value(nearest_mean(z, labels, classes=2)) > 0.5 + bound
    assert value(nearest_mean(z, labels, patients, classes=2)) < 0.5 + bound
    assert value(shrinkage_lda(z, labels, classes=2).scores) > 0.5 + bound
    assert abs(value(shrinkage_lda(z, labels, patients, classes=2).scores) - 0.5) < bound
    assert few_shot(z, labels, classes=2, shots=20).value > 0.5 + 0.02
    assert abs(few_shot(z, labels, patients, classes=2).value - 0.5) < bound
    votes, index, _ = nca_knn(z, labels, classes=2, limit=300, steps=3)
    assert value(votes, index) > 0.5 + 2 * bound
    votes, index, _ = nca_knn(z, labels, patients, classes=2, limit=300, steps=3)
    assert abs(value(votes, index) - 0.5) < 2 * 0.5 / np.sqrt(len(np.unique(patients[index])))


def test_episodes_never_show_a_patient_of_the_support() -> None:
    rng = np.random.default_rng(0)
    patients = np.repeat(np.arange(30), 4)
    y = (np.arange(30) % 3)[patients]
    z = np.eye(30)[patients] + 0.01 * rng.normal(size=(120, 30))  # a patient is like itself and like no other
    assert few_shot(z, y, classes=3, shots=25).value > 0.9
    assert few_shot(z, y, patients, classes=3).value < 0.6
    assert np.isnan(few_shot(z[:4], y[:4], patients[:4], classes=3).value)
    with pytest.raises(ValueError, match="must be positive, found 0"):
        few_shot(z, y, classes=3, shots=0)


def test_learnt_neighbourhoods_find_what_cosine_does_not() -> None:
    rng = np.random.default_rng(2)
    y = np.arange(240) % 2
    z = np.column_stack([rng.normal(size=(240, 6)), y + 0.1 * rng.normal(size=240)])
    votes, index, _ = nca_knn(z, y, classes=2)
    assert balanced_accuracy(y[index], votes.argmax(1), 2) > 0.9
    lonely, _, _ = nca_knn(z, y, np.zeros(240), classes=2)
    assert (lonely == 0.5).all()
