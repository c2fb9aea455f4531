"""Power law, leverage and condition of the spectrum against singular value decompositions and NumPy's fits."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from autossl.proxies import spectrum as package_spectrum
from autossl.proxies.moments import moments
from autossl.proxies.spectrum import (
    alpha_of,
    alpha_req,
    coherence,
    coherence_of,
    condition,
    condition_of,
    participation_ratio,
    rankme,
    spectrum,
    stable_rank,
)


def embeddings(n: int, d: int, rank: int, seed: int, dtype: type = np.float32) -> NDArray[Any]:
    """Rows of some rank about a mean, with a constant column and a copied row where there is room."""
    rng = np.random.default_rng(seed)
    z: NDArray[Any] = rng.normal(size=(n, rank)) @ rng.normal(size=(rank, d)) + rng.normal(size=d)
    if d > 2:
        z[:, 1] = 0.5
    if n > 2:
        z[2] = z[0]
    return z.astype(dtype)


def of_rank(z: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Left singular vectors and singular values of z, those that are more than rounding."""
    left, singular, _ = np.linalg.svd(np.asarray(z, np.float64), full_matrices=False)
    kept = singular > 1e-6 * np.linalg.norm(singular)
    return left[:, kept], singular[kept]


def with_spectrum(values: NDArray[np.float64], n: int, seed: int = 0) -> NDArray[np.float64]:
    """Centred rows (n, d) whose covariance has exactly these eigenvalues."""
    rng = np.random.default_rng(seed)
    left = rng.normal(size=(n, len(values)))
    left = np.linalg.qr(left - left.mean(axis=0))[0]
    right = np.linalg.qr(rng.normal(size=(len(values), len(values))))[0]
    z: NDArray[np.float64] = np.sqrt(n) * left * np.sqrt(values) @ right
    return z


@given(
    n=st.integers(1, 60), d=st.integers(1, 60), rank=st.integers(1, 12), seed=st.integers(0, 99),
    dtype=st.sampled_from([np.float16, np.float32, np.float64]),
)  # fmt: skip
def test_leverage_and_condition_follow_the_singular_vectors(n: int, d: int, rank: int, seed: int, dtype: type) -> None:
    z = embeddings(n, d, rank, seed, dtype).astype(np.float32)
    left, singular = of_rank(z)
    slow = max(sum(entry**2 for entry in row) for row in left) * n / len(singular)
    assert coherence(z) == pytest.approx(slow, rel=1e-3)
    assert 1 - 1e-9 <= coherence(z) <= n / len(singular) + 1e-5
    assert condition(z) == pytest.approx(singular[0] / singular[-1], rel=1e-3)


@given(
    n=st.integers(2, 150), d=st.integers(1, 120), first=st.integers(0, 12), length=st.integers(1, 100),
    decay=st.floats(0.2, 3), seed=st.integers(0, 99),
)  # fmt: skip
def test_the_exponent_is_that_of_a_weighted_fit(
    n: int, d: int, first: int, length: int, decay: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    z = (rng.normal(size=(n, d)) * np.arange(1, d + 1) ** (-decay / 2)).astype(np.float32)
    centred = np.asarray(z, np.float64) - z.mean(axis=0, dtype=np.float64)
    _, singular = of_rank(centred)
    ranks = np.arange(first, min(first + length, len(singular))) + 1
    found = alpha_req(z, first, first + length)
    if len(ranks) < 5:
        assert np.isnan(found)
        return
    slope = np.polyfit(np.log(ranks), np.log(singular[ranks - 1] ** 2), 1, w=1 / np.sqrt(ranks))[0]
    assert found == pytest.approx(-slope, rel=1e-4, abs=1e-5)
    assert found >= 0


@pytest.mark.parametrize("exponent", [0.0, 0.5, 1.0, 2.5])
def test_a_power_law_is_found_at_any_scale_and_place(exponent: float) -> None:
    z = with_spectrum(np.arange(1.0, 121) ** -exponent, 300)
    assert alpha_req(z) == pytest.approx(exponent, abs=1e-4)
    assert alpha_req(100 * z + 7) == pytest.approx(exponent, abs=1e-3)
    assert alpha_req(z, 2, 30) == pytest.approx(exponent, abs=1e-4)
    bent = np.arange(1.0, 121) ** -exponent
    bent[:10] *= 50  # what lies before the range does not count
    assert alpha_req(with_spectrum(bent, 300)) == pytest.approx(exponent, abs=1e-3)


@pytest.mark.parametrize(("n", "d"), [(80, 30), (30, 80), (40, 40)])
def test_all_scores_come_from_two_decompositions(n: int, d: int) -> None:
    z = embeddings(n, d, 25, n)
    found = spectrum(z)
    single = (rankme(z), participation_ratio(z), stable_rank(z), alpha_req(z), coherence(z), condition(z))
    assert vars(found) == pytest.approx(
        dict(
            zip(
                ("rankme", "participation", "stable_rank", "alpha", "coherence", "condition"),
                single,
                strict=True,
            )
        ),
        rel=1e-4,
    )
    m = moments(z)  # what a panel has
    assert coherence_of(m.rows, *m.raw) == pytest.approx(found.coherence, rel=1e-3)
    assert condition_of(m.raw[0]) == pytest.approx(found.condition, rel=1e-3)
    assert alpha_of(m.centred[0]) == pytest.approx(found.alpha, rel=1e-3)
    assert package_spectrum is spectrum


def test_an_outlier_with_a_direction_of_its_own_is_as_coherent_as_can_be() -> None:
    even = np.vstack([np.eye(4), -np.eye(4)] * 5)
    assert coherence(even) == pytest.approx(1)
    assert condition(even) == pytest.approx(1)
    lonely = np.zeros((40, 5))
    lonely[:, :4] = even
    lonely[7, 4] = 0.01
    assert coherence(lonely) > 0.99 * 40 / 5
    assert condition(lonely) > 100


def test_what_has_no_rank_has_no_score() -> None:
    zero = np.zeros((9, 4))
    assert np.isnan([alpha_req(zero), coherence(zero), condition(zero)]).all()
    assert np.isnan(alpha_req(np.full((30, 20), 0.1)))
    assert np.isnan(alpha_req(np.random.default_rng(0).normal(size=(50, 14))))  # 4 eigenvalues from the tenth on
    assert coherence(np.ones((6, 3))) == pytest.approx(1)
    assert (coherence([[3.0, 4.0]]), condition([[3.0, 4.0]])) == pytest.approx((1, 1))


def test_bad_input_is_told_in_one_sentence() -> None:
    with pytest.raises(ValueError, match="z must be finite"):
        coherence([[1.0, np.nan]])
    with pytest.raises(ValueError, match="z must be finite"):
        spectrum([[1.0, np.inf]])
    with pytest.raises(ValueError, match="must be a matrix"):
        condition(np.ones(3))
    with pytest.raises(ValueError, match="0 <= first < last, found 5 and 5"):
        alpha_req(np.ones((9, 9)), 5, 5)
