"""Weighted Kendall against its definition, noise ceilings against simulation."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import weightedtau

from autossl.proxies.correlation import noise_ceiling, reliability, weighted_kendall

Array = NDArray[np.float64]


def slow_tau(a: Array, b: Array) -> float:
    """Sum over pairs of 1 / r + 1 / s times the product of signs, normalised, for both rankings."""
    found = []
    for first, second in ((a, b), (b, a)):
        order = np.lexsort((second, first))[::-1]
        rank = np.empty(len(a))
        rank[order] = np.arange(len(a)) + 1
        sums = np.zeros(3)
        for i in range(len(a)):
            for j in range(i):
                weight = 1 / rank[i] + 1 / rank[j]
                signs = np.sign(a[i] - a[j]), np.sign(b[i] - b[j])
                sums += weight * np.array([signs[0] * signs[1], signs[0] ** 2, signs[1] ** 2])
        found.append(sums[0] / np.sqrt(sums[1] * sums[2]))
    return float(np.mean(found))


@given(n=st.integers(2, 25), steps=st.integers(2, 30), gaps=st.integers(0, 4), seed=st.integers(0, 99))
def test_weighted_kendall_follows_its_definition(n: int, steps: int, gaps: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    a, b = rng.integers(0, steps, n).astype(float), rng.integers(0, steps, n).astype(float)
    a[rng.integers(0, n, gaps)] = np.nan
    kept = ~np.isnan(a)
    if kept.sum() < 2 or len(set(a[kept])) < 2 or len(set(b[kept])) < 2:
        assert np.isnan(weighted_kendall(a, b))
        assert np.isnan(weighted_kendall(b, a))
    else:
        assert weighted_kendall(a, b) == pytest.approx(slow_tau(a[kept], b[kept]))
        assert weighted_kendall(b, a) == pytest.approx(slow_tau(a[kept], b[kept]))


def test_weighted_kendall_is_scipys_and_weighs_the_top() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=40), rng.normal(size=40)
    assert weighted_kendall(a, b) == weightedtau(a, b).statistic
    order = np.arange(10.0)
    top, bottom = order.copy(), order.copy()
    top[[8, 9]], bottom[[0, 1]] = [9, 8], [1, 0]
    assert weighted_kendall(order, top) < weighted_kendall(order, bottom) < 1
    assert weighted_kendall(order, -order) == pytest.approx(-1)
    assert weighted_kendall([-np.inf, 0, np.inf], [1, 2, 3]) == 1
    assert np.isnan(weighted_kendall([], []))


@pytest.mark.parametrize(("noise_a", "noise_b"), [(0.0, 0.0), (0.5, 0.5), (1.0, 0.3)])
def test_the_ceiling_is_what_perfect_correlation_shows_in_simulation(noise_a: float, noise_b: float) -> None:
    rng = np.random.default_rng(1)
    n = 20_000
    true = rng.normal(size=n)
    errors = [noise * rng.uniform(0.5, 1.5, n) for noise in (noise_a, noise_b)]
    a, b = (scale * true + rng.normal(size=n) * error for scale, error in zip((1, 1), errors, strict=True))
    seen = np.corrcoef(a, b)[0, 1]
    assert noise_ceiling(a, errors[0], 3 * b + 1, 3 * errors[1]) == pytest.approx(seen, abs=0.02)
    assert reliability(a, errors[0]) == pytest.approx(np.corrcoef(a, true)[0, 1] ** 2, abs=0.02)


def test_values_that_are_all_noise_have_no_reliability() -> None:
    rng = np.random.default_rng(2)
    values = rng.normal(size=2000)
    assert reliability(values, np.ones(2000)) < 0.1
    assert reliability(values, np.full(2000, 9.0)) == 0
    assert reliability(np.ones(5), np.ones(5)) == 0
    assert reliability(values, np.zeros(2000)) == 1
    assert noise_ceiling(values, np.full(2000, 9.0), values, np.zeros(2000)) == 0


def test_nan_is_left_out_jointly() -> None:
    a, b, ones = np.array([1, 2, 4, np.nan]), np.array([1.0, np.nan, 3, 9]), np.full(4, 0.1)
    assert reliability(a, ones) == reliability(a[:3], ones[:3])
    assert noise_ceiling(a, ones, b, ones) == noise_ceiling(a[[0, 2]], ones[:2], b[[0, 2]], ones[:2])
    assert np.isnan(reliability([1.0], [0.1]))
    assert np.isnan(noise_ceiling(a[1:2], ones[:1], b[1:2], ones[:1]))


def test_bad_input_is_told_in_one_sentence() -> None:
    with pytest.raises(ValueError, match=r"a and b must be vectors of one length, found \(2,\) and \(3,\)"):
        weighted_kendall([1, 2], [1, 2, 3])
    with pytest.raises(ValueError, match="errors must not be negative, found -1"):
        reliability([1, 2], [-1, 0])
    with pytest.raises(ValueError, match="must hold the same candidates, found 2 and 1"):
        noise_ceiling([1, 2], [1, 2], [1], [1])
