"""LiDAR, alignment and uniformity against their definitions, pair by pair."""

from itertools import combinations
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.linalg import eigh, sqrtm
from scipy.spatial.distance import pdist

from autossl.proxies import two_views as module
from autossl.proxies.two_views import alignment, lidar, uniformity


def views(n: int, q: int, d: int, seed: int, noise: float = 0.5, dtype: type = np.float64) -> NDArray[Any]:
    rng = np.random.default_rng(seed)
    z: NDArray[Any] = rng.normal(size=(n, 1, d)) + noise * rng.normal(size=(n, q, d))
    if d > 2:
        z[..., 1] = 0.25  # a dimension that does not vary
    if n > 2:
        z[2] = z[0]
    return z.astype(dtype)


def unit(z: NDArray[Any]) -> NDArray[np.float64]:
    z = np.asarray(z, np.float64)
    lengths: NDArray[np.float64] = np.linalg.norm(z, axis=-1, keepdims=True)
    return z / np.maximum(lengths, 1e-30)


def slow_lidar(z: NDArray[Any], delta: float) -> float:
    z = np.asarray(z, np.float64)
    n, q, d = z.shape
    means = np.stack([image.mean(axis=0) for image in z])
    between, within = np.zeros((d, d)), delta * np.eye(d)
    for image in range(n):
        gap = means[image] - means.mean(axis=0)
        between += np.outer(gap, gap) / (n - 1)
        for view in range(q):
            gap = z[image, view] - means[image]
            within += np.outer(gap, gap) / (n * (q - 1))
    root = np.linalg.inv(np.real(sqrtm(within)))
    values = np.maximum(np.linalg.eigvalsh(root @ between @ root), 0)
    shares = values / values.sum() + 1e-7
    return float(np.exp(-np.sum(shares * np.log(shares))))


@given(
    n=st.integers(2, 30), q=st.integers(2, 5), d=st.integers(1, 20), seed=st.integers(0, 99),
    delta=st.sampled_from([1e-4, 0.1]), dtype=st.sampled_from([np.float16, np.float32, np.float64]),
)  # fmt: skip
def test_lidar_follows_its_definition(n: int, q: int, d: int, seed: int, delta: float, dtype: type) -> None:
    z = views(n, q, d, seed, dtype=dtype)
    found = lidar(z.astype(np.float32), delta)
    assert found == pytest.approx(slow_lidar(z.astype(np.float32), delta), rel=1e-4)
    assert 1 - 1e-4 <= found <= max(1, min(d, n - 1)) * 1.01


def test_lidar_has_the_eigenvalues_of_the_discriminant_problem() -> None:
    z = views(60, 4, 10, 1)
    means = z.mean(axis=1)
    within = sum(np.cov(image, rowvar=False) for image in z) / len(z) + 1e-4 * np.eye(10)
    values = np.maximum(eigh(np.cov(means, rowvar=False), within, eigvals_only=True), 0)
    shares = values / values.sum() + 1e-7
    assert lidar(z) == pytest.approx(np.exp(-np.sum(shares * np.log(shares))), rel=1e-4)


def test_lidar_counts_what_views_keep_and_not_what_they_change() -> None:
    rng = np.random.default_rng(0)
    kept = rng.normal(size=(300, 1, 4)) + 0.01 * rng.normal(size=(300, 8, 4))
    noise = rng.normal(size=(300, 8, 12))
    assert lidar(np.concatenate([kept, noise], axis=2)) == pytest.approx(4, rel=0.05)
    assert lidar(np.concatenate([kept, kept], axis=2)) < 8.1
    turned = np.concatenate([kept, noise], axis=2) @ np.linalg.qr(rng.normal(size=(16, 16)))[0]
    assert lidar(turned) == pytest.approx(4, rel=0.05)


def test_lidar_by_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    z = views(40, 3, 6, 2)
    whole = lidar(z)
    monkeypatch.setattr(module, "TILE", 7)
    assert lidar(z) == pytest.approx(whole, rel=1e-9)


def test_lidar_of_images_that_coincide_is_zero() -> None:
    rng = np.random.default_rng(3)
    assert lidar(np.broadcast_to(rng.normal(size=(1, 5, 4)), (6, 5, 4))) == 0
    assert lidar(np.zeros((6, 5, 4))) == 0
    assert lidar(rng.normal(size=(1, 5, 4))) == 0
    frozen = np.broadcast_to(rng.normal(size=(50, 1, 4)), (50, 3, 4))  # views that do not differ at all
    assert 1 < lidar(frozen) <= 4.01


@given(
    n=st.integers(1, 20), q=st.integers(2, 5), d=st.integers(1, 12), seed=st.integers(0, 99),
    power=st.sampled_from([1, 2, 3.5]), dtype=st.sampled_from([np.float16, np.float32]),
)  # fmt: skip
def test_alignment_follows_its_definition(n: int, q: int, d: int, seed: int, power: float, dtype: type) -> None:
    z = views(n, q, d, seed, dtype=dtype)
    z[0, 0] = 0  # a row without direction
    gaps = [float(np.linalg.norm(a - b)) ** power for image in unit(z) for a, b in combinations(image, 2)]
    assert alignment(z, power) == pytest.approx(np.mean(gaps), rel=1e-4, abs=1e-6)
    assert 0 <= alignment(z, power) <= 2**power + 1e-4


def test_alignment_and_uniformity_by_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    z = views(90, 3, 6, 4)
    whole = alignment(z), uniformity(z[:, 0])
    monkeypatch.setattr(module, "TILE", 8)
    assert (alignment(z), uniformity(z[:, 0])) == pytest.approx(whole, rel=1e-6)


@given(
    n=st.integers(2, 60), d=st.integers(1, 12), seed=st.integers(0, 99), t=st.sampled_from([0.5, 2, 5]),
    dtype=st.sampled_from([np.float16, np.float32]),
)  # fmt: skip
def test_uniformity_follows_its_definition(n: int, d: int, seed: int, t: float, dtype: type) -> None:
    rng = np.random.default_rng(seed)
    z: NDArray[Any] = rng.normal(size=(n, d)).astype(dtype)
    z[n // 2] = z[-1]  # a copy
    z[0] = 0  # a row without direction
    expected = np.log(np.mean(np.exp(-t * pdist(unit(z)) ** 2)))
    assert uniformity(z, t) == pytest.approx(expected, rel=1e-4, abs=1e-5)
    assert -4 * t - 1e-4 <= uniformity(z, t) <= 0


def test_collapse_is_aligned_and_not_uniform() -> None:
    rng = np.random.default_rng(5)
    point = np.ones((50, 2, 8)) * rng.uniform(1, 2, (50, 2, 1))
    spread = rng.normal(size=(50, 1, 8)) + 0.1 * rng.normal(size=(50, 2, 8))
    assert alignment(point) == pytest.approx(0, abs=1e-6)
    assert uniformity(point[:, 0]) == pytest.approx(0, abs=1e-5)
    assert alignment(spread) > 0.01
    assert uniformity(spread[:, 0]) < -2.5
    assert uniformity([[1.0, 0.0], [-1.0, 0.0]]) == pytest.approx(-8)
    assert np.isnan(uniformity([[1.0, 0.0]]))


def test_bad_input_is_told_in_one_sentence() -> None:
    z = np.ones((4, 2, 3))
    for score in (lidar, alignment):
        with pytest.raises(ValueError, match=r"two views or more, found \(4, 1, 3\)"):
            score(z[:, :1])
        with pytest.raises(ValueError, match=r"two views or more, found \(4, 3\)"):
            score(z[:, 0])
        with pytest.raises(ValueError, match="z must be finite"):
            score(np.full((4, 2, 3), np.nan))
    with pytest.raises(ValueError, match="z must be finite"):
        uniformity([[np.nan, 1.0]])
    with pytest.raises(ValueError, match="delta must be above 0"):
        lidar(z, 0)
    with pytest.raises(ValueError, match="power must be above 0, found 0"):
        alignment(z, 0)
    with pytest.raises(ValueError, match="t must be above 0, found -1"):
        uniformity(z[:, 0], -1)
