"""Retrieval against its definition, one query at a time, and what groups must hide."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score

from autossl.proxies import neighbours
from autossl.proxies.bootstrap import bootstrap_mean
from autossl.proxies.retrieval import retrieval


def slow_retrieval(
    similarities: NDArray[Any], y: NDArray[Any], asked: NDArray[Any], hidden: NDArray[np.bool_], k: int
) -> NDArray[np.float64]:
    """Average precision at k and R-precision of each query, (m, 2), by the formulas."""
    values = np.full((len(asked), 2), np.nan)
    for query, similar in enumerate(similarities):
        seen = np.flatnonzero(~hidden[query])
        ranked = seen[np.argsort(-similar[seen], kind="stable")]
        relevant = y[ranked] == asked[query]
        total = int(relevant.sum())
        if total:
            terms = [relevant[: i + 1].mean() for i in range(min(k, len(ranked))) if relevant[i]]
            values[query] = sum(terms) / min(k, total), relevant[:total].mean()
    return values


def whole_cosines(rng: np.random.Generator, n: int) -> NDArray[np.float64]:
    """Rows whose cosines are exact in float32, with many ties."""
    return rng.choice([-1.0, 1.0], (n, 4))


@given(
    n=st.integers(1, 60), m=st.integers(0, 20), classes=st.integers(1, 5), patients=st.integers(0, 12),
    k=st.integers(1, 70), tied=st.booleans(), seed=st.integers(0, 99),
)  # fmt: skip
def test_follows_the_definition(n: int, m: int, classes: int, patients: int, k: int, tied: bool, seed: int) -> None:
    rng = np.random.default_rng(seed)
    z = whole_cosines(rng, n) if tied else rng.normal(size=(n, 5)).astype(np.float16)
    y, groups = rng.integers(0, classes, n), rng.integers(0, patients, n) if patients else None
    others, asked, own = z, y, groups
    extra: dict[str, Any] = {}
    if m:
        others = whole_cosines(rng, m) if tied else rng.normal(size=(m, 5)).astype(np.float16)
        asked, own = rng.integers(0, classes + 1, m), rng.integers(0, patients, m) if patients else None
        extra = {"queries": others, "query_labels": asked, "query_groups": own}
    hidden = np.zeros((len(others), n), bool) if m else np.eye(n, dtype=bool)
    if groups is not None and own is not None:
        hidden = own[:, None] == groups
    unit = [np.asarray(a, float) / np.linalg.norm(np.asarray(a, float), axis=1, keepdims=True) for a in (others, z)]
    expected = slow_retrieval(unit[0] @ unit[1].T, y, asked, hidden, k)
    found = retrieval(z, y, groups, k=k, **extra)
    np.testing.assert_allclose(np.column_stack([found.average_precision, found.r_precisions]), expected, atol=1e-9)
    means = [np.nanmean(c) if np.isfinite(c).any() else np.nan for c in expected.T]
    assert (found.map_at_k, found.r_precision) == pytest.approx(means, nan_ok=True)


def test_tiles_give_the_same_as_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    z, y, groups = rng.normal(size=(300, 8)), rng.integers(0, 4, 300), rng.integers(0, 90, 300)
    whole = retrieval(z, y, groups)
    monkeypatch.setattr(neighbours, "TILE_ROWS", 64)
    monkeypatch.setattr(neighbours, "TILE_COLUMNS", 97)
    tiled = retrieval(z, y, groups)
    np.testing.assert_allclose(tiled.average_precision, whole.average_precision)
    np.testing.assert_allclose(tiled.r_precisions, whole.r_precisions)


def test_with_k_for_all_it_is_scikit_learns_average_precision() -> None:
    rng = np.random.default_rng(1)
    z, y = rng.normal(size=(120, 6)), rng.integers(0, 3, 120)
    found = retrieval(z[:100], y[:100], queries=z[100:], query_labels=y[100:], k=100)
    unit = z / np.linalg.norm(z, axis=1, keepdims=True)
    for query in range(20):
        similar = unit[:100] @ unit[100 + query]
        expected = average_precision_score(y[:100] == y[100 + query], similar)
        assert found.average_precision[query] == pytest.approx(expected)


def test_queries_with_nothing_to_find_are_dropped() -> None:
    z, y = np.random.default_rng(2).normal(size=(6, 3)), np.array([0, 0, 1, 1, 2, 2])
    groups = np.array([0, 1, 2, 2, 3, 4])  # class 1 has one patient
    found = retrieval(z, y, groups)
    np.testing.assert_array_equal(np.isnan(found.average_precision), [False, False, True, True, False, False])
    nothing = retrieval(z, y, np.zeros(6))
    assert np.isnan([nothing.map_at_k, nothing.r_precision]).all()
    assert np.isnan(retrieval(z[:1], [0]).map_at_k)


def test_random_labels_give_chance_by_patient_and_show_the_leak_by_image() -> None:
    patients = np.repeat(np.arange(100), 4)
    honest, leaky = [], []
    for seed in range(40):  # labels are drawn anew: within one draw queries are not independent
        rng = np.random.default_rng(seed)
        y = rng.integers(0, 2, 100)[patients]
        z = rng.normal(size=(100, 16))[patients] + 0.2 * rng.normal(size=(400, 16))
        chance = np.mean([np.mean(y[patients != p] == y[i]) for i, p in enumerate(patients)])
        honest.append(retrieval(z, y, patients).r_precision - chance)
        leaky.append(retrieval(z, y).r_precision - chance)
    assert abs(np.mean(honest)) < 2 * np.std(honest) / np.sqrt(40)
    assert np.mean(leaky) > 5 * np.std(honest) / np.sqrt(40)


def test_per_query_values_serve_the_patient_bootstrap() -> None:
    rng = np.random.default_rng(4)
    z, y, patients = rng.normal(size=(60, 4)), rng.integers(0, 2, 60), rng.integers(0, 20, 60)
    found = retrieval(z, y, patients)
    drawn = bootstrap_mean(found.average_precision, patients, draws=300)
    assert drawn.mean() == pytest.approx(found.map_at_k, abs=0.02)


def test_bad_input_is_told_in_one_sentence() -> None:
    z = np.eye(3)
    with pytest.raises(ValueError, match="queries and query_labels must both be given"):
        retrieval(z, [0, 1, 1], queries=z)
    with pytest.raises(ValueError, match="3 dimensions of z, found 2"):
        retrieval(z, [0, 1, 1], queries=np.ones((1, 2)), query_labels=[0])
    with pytest.raises(ValueError, match="k must be at least 1, found 0"):
        retrieval(z, [0, 1, 1], k=0)
    with pytest.raises(ValueError, match="z must be finite"):
        retrieval(z * np.nan, [0, 1, 1])
    with pytest.raises(ValueError, match="found -1 to 1"):
        retrieval(z, [0, 1, -1])
    with pytest.raises(ValueError, match="query_labels must hold one class index for each of 1 samples"):
        retrieval(z, [0, 1, 1], queries=z[:1], query_labels=[0, 1])
