"""Collapse detectors on healthy, untrained and collapsed embeddings, and the scores of the spectrum."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from autossl.proxies import collapse, participation_ratio, rankme, spectrum, stable_rank


def untrained(rng: np.random.Generator, images: int, width: int = 256, layers: int = 4) -> NDArray[np.float32]:
    """Pooled features of an untrained encoder: positive, with a large common mean and few strong directions."""
    z = rng.normal(size=(images, 12)) * 0.6 ** np.arange(12) + 1
    for _layer in range(layers):
        z = np.maximum(z @ rng.normal(size=(z.shape[1], width)) * np.sqrt(2 / z.shape[1]), 0)
    return z.astype(np.float32)


def raw_cosine(z: NDArray[np.float32]) -> float:
    unit = z / np.linalg.norm(z, axis=1, keepdims=True)
    return float(((unit @ unit.T).sum() - len(z)) / (len(z) * (len(z) - 1)))


@pytest.mark.parametrize("seed", range(5))
def test_untrained_encoders_pass_though_the_usual_floors_would_veto_them(seed: int) -> None:
    z = untrained(np.random.default_rng(seed), 400)
    health = collapse(z)
    assert participation_ratio(z) < 0.02 * z.shape[1]
    assert raw_cosine(z) > 0.9
    assert not health.collapsed, health.reason


def test_a_wide_cone_passes_and_its_tip_does_not() -> None:
    rng = np.random.default_rng(0)
    cone = 10 + rng.normal(size=(300, 64))
    assert raw_cosine(cone.astype(np.float32)) > 0.98
    assert not collapse(cone).collapsed
    assert collapse(10 + 0.01 * rng.normal(size=(300, 64))).reason.startswith("all embeddings point the same way")


def test_collapse_is_named() -> None:
    rng = np.random.default_rng(1)
    isotropic = rng.normal(size=(500, 32))
    healthy = collapse(isotropic)
    assert not healthy.collapsed
    assert healthy.reason == ""
    assert healthy.std_ratio == pytest.approx(1, abs=0.02)
    assert healthy.participation == pytest.approx(32 / (1 + 32 / 500), rel=0.05)
    assert healthy.cosine == pytest.approx(0, abs=0.01)
    line = collapse(np.outer(rng.normal(size=500), rng.normal(size=32)) + 1 + 0.01 * isotropic)
    assert line.collapsed
    assert "along one line" in line.reason
    outliers = np.zeros((500, 32)) + rng.normal(size=32) + 1e-4 * isotropic
    outliers[:2] += 50 * rng.normal(size=(2, 32))
    assert collapse(outliers).collapsed
    assert collapse(np.ones((20, 8))).collapsed
    assert collapse(np.zeros((20, 8), np.float16)).collapsed
    assert collapse(np.ones((1, 8))).collapsed


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e300])
def test_numbers_that_are_not_finite_are_collapse_not_an_error(value: float) -> None:
    z = np.ones((5, 3))
    z[2, 1] = value
    health = collapse(z)
    assert health.collapsed
    assert "NaN or infinity" in health.reason
    assert np.isnan(health.std_ratio)


def test_the_mean_cosine_is_that_of_all_pairs() -> None:
    z = untrained(np.random.default_rng(2), 60)
    centred = (z - z.mean(0)).astype(np.float32)
    assert collapse(z).cosine == pytest.approx(raw_cosine(centred), abs=1e-4)


@given(n=st.integers(1, 60), d=st.integers(1, 60), rank=st.integers(1, 10), seed=st.integers(0, 99))
def test_the_spectrum_follows_its_definitions(n: int, d: int, rank: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    z = (rng.normal(size=(n, rank)) @ rng.normal(size=(rank, d)) + rng.normal(size=d)).astype(np.float32)
    singular = np.linalg.svd(z.astype(float), compute_uv=False)
    shares = singular / singular.sum() + 1e-7
    values = np.linalg.svd(z.astype(float) - z.mean(0, dtype=float), compute_uv=False) ** 2
    found = spectrum(z)
    assert found.rankme == pytest.approx(np.exp(-np.sum(shares * np.log(shares))), rel=1e-3)
    if n > 1:
        assert found.participation == pytest.approx(values.sum() ** 2 / (values**2).sum(), rel=1e-6)
        assert found.stable_rank == pytest.approx(values.sum() / values.max(), rel=1e-6)
    assert (rankme(z), participation_ratio(z), stable_rank(z)) == pytest.approx(
        (found.rankme, found.participation, found.stable_rank)
    )


def test_the_spectrum_of_nothing_is_zero() -> None:
    assert spectrum(np.zeros((9, 4))).rankme == 0
    assert participation_ratio(np.ones((9, 4))) == 0
    assert stable_rank(np.ones((3, 7))) == 0
    with pytest.raises(ValueError, match="must be a matrix"):
        rankme(np.ones(4))
