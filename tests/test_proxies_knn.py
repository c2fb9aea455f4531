"""Weighted k-NN against the definition, scikit-learn, and what groups must hide."""

from functools import partial
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.neighbors import KNeighborsClassifier

from autossl.proxies import KNN_KS, KNN_TEMPERATURES, balanced_accuracy, knn_votes
from autossl.proxies import neighbours as module


def slow_votes(
    bank: NDArray[Any],
    labels: NDArray[Any],
    queries: NDArray[Any],
    hidden: NDArray[np.bool_],
    k: int,
    temperature: float,
    classes: int,
    balanced: bool = True,
) -> NDArray[np.float64]:
    """The definition, one query at a time; `hidden` (m, n) says what a query may not see."""

    def unit(z: NDArray[Any]) -> NDArray[np.float64]:
        z = np.asarray(z, np.float64)
        lengths: NDArray[np.float64] = np.linalg.norm(z, axis=1, keepdims=True)
        return z / np.maximum(lengths, 1e-30)

    similarities = unit(queries) @ unit(bank).T
    votes = np.full((len(queries), classes), 1 / classes)
    for row, similar in enumerate(similarities):
        seen = np.flatnonzero(~hidden[row])
        nearest = seen[np.argsort(-similar[seen], kind="stable")[:k]]
        if not len(nearest):
            continue
        weights = np.exp((similar[nearest] - similar[nearest[0]]) / temperature)
        if balanced:
            weights /= np.bincount(labels[seen], minlength=classes)[labels[nearest]]
        votes[row] = np.bincount(labels[nearest], weights=weights, minlength=classes) / weights.sum()
    return votes


@given(
    n=st.integers(1, 60),
    m=st.integers(1, 20),
    d=st.integers(2, 12),
    classes=st.integers(1, 5),
    balanced=st.booleans(),
    dtype=st.sampled_from([np.float16, np.float32, np.float64]),
    patients=st.integers(0, 8),
    seed=st.integers(0, 99),
)
def test_follows_the_definition(
    n: int, m: int, d: int, classes: int, balanced: bool, dtype: type, patients: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    bank: NDArray[Any] = rng.normal(size=(n, d)).astype(dtype)
    queries: NDArray[Any] = rng.normal(size=(m, d)).astype(dtype)
    labels, ks = rng.integers(0, classes, n), (7, 1, 100)
    groups = {"groups": rng.integers(0, patients, n), "query_groups": rng.integers(0, patients, m)} if patients else {}
    hidden = np.zeros((m, n), bool)
    if groups:
        hidden = groups["query_groups"][:, None] == groups["groups"]
    votes = knn_votes(
        bank, labels, queries, ks=ks, temperatures=(0.5, 0.07), classes=classes, balanced=balanced, **groups
    )
    assert votes.shape == (3, 2, m, classes)
    assert votes.dtype == np.float32
    for i, k in enumerate(ks):
        for j, temperature in enumerate((0.5, 0.07)):
            expected = slow_votes(bank, labels, queries, hidden, k, temperature, classes, balanced)
            np.testing.assert_allclose(votes[i, j], expected, atol=1e-4)


@pytest.mark.parametrize("grouped", [False, True])
def test_without_queries_each_item_is_left_out_with_its_group(grouped: bool) -> None:
    rng = np.random.default_rng(1)
    z, labels = rng.normal(size=(90, 6)), rng.integers(0, 3, 90)
    groups = rng.integers(0, 30, 90) if grouped else None
    own = np.eye(90, dtype=bool) if groups is None else groups[:, None] == groups
    votes = knn_votes(z, labels, classes=3, groups=groups, ks=(5, 89), temperatures=(0.1,))
    for i, k in enumerate((5, 89)):
        np.testing.assert_allclose(votes[i, 0], slow_votes(z, labels, z, own, k, 0.1, 3), atol=1e-4)


def test_tiles_give_the_same_as_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(2)
    z, labels, groups = rng.normal(size=(900, 8)), rng.integers(0, 4, 900), rng.integers(0, 200, 900)
    whole = knn_votes(z, labels, classes=4, groups=groups)
    monkeypatch.setattr(module, "TILE_ROWS", 64)
    monkeypatch.setattr(module, "TILE_COLUMNS", 97)
    np.testing.assert_allclose(knn_votes(z, labels, classes=4, groups=groups), whole, atol=1e-5)


def test_many_candidates_are_cut_back_exactly() -> None:
    # Similarities rise with the index, so that every column exceeds the floor and the candidates overflow often.
    angle = np.linspace(1.5, 0, 6000)
    bank, labels = np.column_stack([np.cos(angle), np.sin(angle)]), np.arange(6000) % 3
    votes = knn_votes(bank, labels, np.array([[1.0, 0.0]]), ks=(10,), temperatures=(0.1,), classes=3, balanced=False)
    expected = slow_votes(bank, labels, np.array([[1.0, 0.0]]), np.zeros((1, 6000), bool), 10, 0.1, 3, False)
    np.testing.assert_allclose(votes[0, 0], expected, atol=1e-4)


def test_of_equal_similarities_the_lower_index_comes_first() -> None:
    bank = np.repeat(np.eye(4), 300, axis=0)  # similarities are exactly 0 or 1
    labels = np.tile(np.r_[np.zeros(100), np.ones(200)].astype(int), 4)
    votes = knn_votes(bank, labels, np.eye(4), ks=(100, 101), temperatures=(0.1,), classes=2, balanced=False)
    np.testing.assert_array_equal(votes[0, 0], np.tile([1, 0], (4, 1)))
    np.testing.assert_allclose(votes[1, 0], np.tile([100 / 101, 1 / 101], (4, 1)), rtol=1e-6)


def similarity_weight(temperature: float, distance: NDArray[np.float64]) -> NDArray[np.float64]:
    weight: NDArray[np.float64] = np.exp((1 - distance) / temperature)
    return weight


def test_agrees_with_scikit_learn() -> None:
    rng = np.random.default_rng(3)
    labels = rng.integers(0, 4, 400)
    z = rng.normal(size=(400, 16)) + 0.5 * np.eye(16)[labels]
    votes = knn_votes(z[:300], labels[:300], z[300:], classes=4, balanced=False)
    for i, k in enumerate(KNN_KS):
        for j, temperature in enumerate(KNN_TEMPERATURES):
            weights: Any = partial(similarity_weight, temperature)
            reference = KNeighborsClassifier(k, metric="cosine", weights=weights).fit(z[:300], labels[:300])
            np.testing.assert_allclose(votes[i, j], reference.predict_proba(z[300:]), atol=1e-4)


def test_one_group_only_and_a_single_item_score_nothing() -> None:
    z = np.random.default_rng(4).normal(size=(5, 3))
    assert (knn_votes(z, [0, 1, 0, 1, 2], classes=3, groups=np.ones(5)) == np.float32(1 / 3)).all()
    assert (knn_votes(z[:1], [0], classes=2) == 0.5).all()


def test_zero_and_huge_rows_stay_finite() -> None:
    z = np.array([[0, 0], [3e38, 3e38], [1e-38, 0], [1, 1]], np.float32)
    votes = knn_votes(z, [0, 1, 0, 1], classes=2)
    assert np.isfinite(votes).all()
    np.testing.assert_array_equal(votes[0, 0, 1], [0, 1])


def test_random_labels_give_chance_by_patient_and_show_the_leak_by_image() -> None:
    rng = np.random.default_rng(5)
    patients = np.repeat(np.arange(150), 6)
    labels = rng.integers(0, 2, 150)[patients]
    z = rng.normal(size=(150, 16))[patients] + 0.3 * rng.normal(size=(900, 16))
    leaky = knn_votes(z, labels, classes=2)[2, 2]
    honest = knn_votes(z, labels, classes=2, groups=patients)[2, 2]
    assert balanced_accuracy(labels, leaky.argmax(1), 2) > 0.95
    assert abs(balanced_accuracy(labels, honest.argmax(1), 2) - 0.5) < 2 * 0.5 / np.sqrt(150)


def test_bad_input_is_told_in_one_sentence() -> None:
    z = np.ones((4, 2))
    with pytest.raises(ValueError, match=r"finite, found NaN or infinity in 1 rows \(the first is row 2\)"):
        knn_votes(np.array([[1, 1], [1, 1], [1, np.nan]]), [0, 0, 0], classes=1)
    with pytest.raises(ValueError, match=r"must lie in \[0, 2\), found -1 to 1"):
        knn_votes(z, [0, 1, -1, 0], classes=2)
    with pytest.raises(ValueError, match="must both be given, or neither"):
        knn_votes(z, [0, 1, 1, 0], z, classes=2, groups=np.arange(4))
    with pytest.raises(ValueError, match="must both be given, or neither"):
        knn_votes(z, [0, 1, 1, 0], z, classes=2, query_groups=np.arange(4))
    with pytest.raises(ValueError, match="without queries"):
        knn_votes(z, [0, 1, 1, 0], classes=2, query_groups=np.arange(4))
    with pytest.raises(ValueError, match="dimensions, found 3"):
        knn_votes(z, [0, 1, 1, 0], np.ones((1, 3)), classes=2)
    with pytest.raises(ValueError, match="ks must be positive"):
        knn_votes(z, [0, 1, 1, 0], classes=2, ks=(0,))
    with pytest.raises(ValueError, match="groups must hold one id"):
        knn_votes(z, [0, 1, 1, 0], classes=2, groups=[1, 2])
