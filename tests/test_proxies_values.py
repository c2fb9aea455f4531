"""Weighted k-NN of values, labels and shares against the definition, scikit-learn, and what groups must hide."""

from functools import partial
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.neighbors import KNeighborsRegressor

from autossl.proxies import neighbours
from autossl.proxies.knn import knn_votes
from autossl.proxies.knn_values import knn_values
from autossl.proxies.measures import score


def slow_values(
    bank: NDArray[Any], targets: NDArray[Any], queries: NDArray[Any], hidden: NDArray[np.bool_], k: int, heat: float
) -> NDArray[np.float64]:
    """The definition, one query at a time; `hidden` (m, n) says what a query may not see."""

    def unit(z: NDArray[Any]) -> NDArray[np.float64]:
        z = np.asarray(z, np.float64)
        lengths: NDArray[np.float64] = np.linalg.norm(z, axis=1, keepdims=True)
        return z / np.maximum(lengths, 1e-30)

    values = np.tile(targets.mean(axis=0), (len(queries), 1))
    for row, similar in enumerate(unit(queries) @ unit(bank).T):
        seen = np.flatnonzero(~hidden[row])
        nearest = seen[np.argsort(-similar[seen], kind="stable")[:k]]
        if len(nearest):
            weights = np.exp((similar[nearest] - similar[nearest[0]]) / heat)
            values[row] = weights @ targets[nearest] / weights.sum()
    return values


@given(
    n=st.integers(1, 60), m=st.integers(1, 20), d=st.integers(2, 12), t=st.integers(1, 3),
    dtype=st.sampled_from([np.float16, np.float32, np.float64]), patients=st.integers(0, 8), seed=st.integers(0, 99),
)  # fmt: skip
def test_follows_the_definition(n: int, m: int, d: int, t: int, dtype: type, patients: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    bank: NDArray[Any] = rng.normal(size=(n, d)).astype(dtype)
    queries: NDArray[Any] = rng.normal(size=(m, d)).astype(dtype)
    targets = rng.normal(size=(n, t))
    targets[:, 0] = 7  # a constant column
    groups = {"groups": rng.integers(0, patients, n), "query_groups": rng.integers(0, patients, m)} if patients else {}
    hidden = np.zeros((m, n), bool)
    if groups:
        hidden = groups["query_groups"][:, None] == groups["groups"]
    values = knn_values(bank, targets, queries, ks=(7, 1, 100), temperatures=(0.5, 0.07), **groups)
    assert values.shape == (3, 2, m, t)
    assert values.dtype == np.float32
    for i, k in enumerate((7, 1, 100)):
        for j, heat in enumerate((0.5, 0.07)):
            np.testing.assert_allclose(values[i, j], slow_values(bank, targets, queries, hidden, k, heat), atol=1e-4)


@pytest.mark.parametrize("grouped", [False, True])
def test_without_queries_each_item_is_left_out_with_its_group(grouped: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbours, "TILE_ROWS", 16)
    monkeypatch.setattr(neighbours, "TILE_COLUMNS", 13)
    rng = np.random.default_rng(1)
    z, targets = rng.normal(size=(90, 6)), rng.normal(size=90)
    groups = rng.integers(0, 30, 90) if grouped else None
    own = np.eye(90, dtype=bool) if groups is None else groups[:, None] == groups
    values = knn_values(z, targets, groups=groups, ks=(5, 89), temperatures=(0.1,))
    for i, k in enumerate((5, 89)):
        np.testing.assert_allclose(values[i, 0], slow_values(z, targets[:, None], z, own, k, 0.1), atol=1e-4)


def test_one_hot_targets_are_the_votes() -> None:
    rng = np.random.default_rng(2)
    z, y, groups = rng.normal(size=(80, 5)), rng.integers(0, 3, 80), rng.integers(0, 20, 80)
    votes = knn_votes(z, y, classes=3, groups=groups, balanced=False)
    np.testing.assert_allclose(knn_values(z, np.eye(3)[y], groups=groups), votes, atol=1e-6)


def similarity_weight(heat: float, distance: NDArray[np.float64]) -> NDArray[np.float64]:
    weight: NDArray[np.float64] = np.exp((1 - distance) / heat)
    return weight


def test_agrees_with_scikit_learn() -> None:
    rng = np.random.default_rng(3)
    z, targets = rng.normal(size=(300, 8)), rng.normal(size=(300, 2))
    values = knn_values(z[:200], targets[:200], z[200:], ks=(3, 20), temperatures=(0.07,))
    for i, k in enumerate((3, 20)):
        weights: Any = partial(similarity_weight, 0.07)
        reference = KNeighborsRegressor(k, metric="cosine", weights=weights).fit(z[:200], targets[:200])
        np.testing.assert_allclose(values[i, 0], reference.predict(z[200:]), atol=1e-4)


def test_of_equal_similarities_the_lower_index_comes_first() -> None:
    values = knn_values(np.ones((6, 2)), np.arange(6.0), np.ones((1, 2)), ks=(1, 3), temperatures=(0.1,))
    np.testing.assert_allclose(values[:, 0, 0, 0], [0, 1])


def test_one_group_only_and_a_single_item_get_the_mean() -> None:
    z = np.random.default_rng(4).normal(size=(5, 3))
    assert (knn_values(z, np.arange(5.0), groups=np.ones(5)) == 2).all()
    assert (knn_values(z[:1], [3.0]) == 3).all()
    assert np.isfinite(knn_values(np.zeros((4, 2)), np.arange(4.0))).all()


def test_random_values_by_patient_predict_nothing_and_show_the_leak_by_image() -> None:
    rng = np.random.default_rng(5)
    patients = np.repeat(np.arange(150), 6)
    values = rng.normal(size=150)[patients]
    z = rng.normal(size=(150, 16))[patients] + 0.3 * rng.normal(size=(900, 16))
    grid: dict[str, Any] = {"ks": (10,), "temperatures": (0.07,)}
    assert score("spearman", values, knn_values(z, values, **grid)[0, 0]) > 0.9
    honest = score("spearman", values, knn_values(z, values, groups=patients, **grid)[0, 0])
    assert abs(honest) < 2 / np.sqrt(150)


def test_bad_input_is_told_in_one_sentence() -> None:
    z = np.eye(3)
    with pytest.raises(ValueError, match="scores must be finite"):
        knn_values(z, [0, np.nan, 1])
    with pytest.raises(ValueError, match=r"must have the shape \(3, classes\)"):
        knn_values(z, [0.0, 1])
    with pytest.raises(ValueError, match="bank must be finite"):
        knn_values(np.full((3, 3), np.nan), [0.0, 1, 2])
    with pytest.raises(ValueError, match="bank's 3 dimensions, found 2"):
        knn_values(z, [0.0, 1, 2], np.ones((1, 2)))
    with pytest.raises(ValueError, match="ks must be positive"):
        knn_values(z, [0.0, 1, 2], ks=())
