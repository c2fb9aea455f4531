"""Closed-form scores against their definitions written out, with whole matrices and plain loops."""

import importlib
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.stats import multivariate_normal, spearmanr
from sklearn.covariance import ledoit_wolf as reference_shrinkage

from autossl.proxies.moments import ledoit_wolf, moments
from autossl.proxies.n_leep import n_leep
from autossl.proxies.parc import parc
from autossl.proxies.transferability import gbc, h_score, label_cka, logme, transrate

Sample = tuple[NDArray[np.float64], NDArray[np.int64]]


def sample(n: int, d: int, classes: int, seed: int, gap: float = 1.0) -> Sample:
    rng = np.random.default_rng(seed)
    y = np.concatenate([np.arange(classes), np.arange(classes), rng.integers(0, classes, n - 2 * classes)])
    return rng.normal(size=(n, d)) + 1 + gap * rng.normal(size=(classes, d))[y], y


SAMPLES = given(n=st.integers(12, 60), d=st.integers(2, 80), classes=st.integers(2, 5), seed=st.integers(0, 99))


def evidence(z: NDArray[Any], target: NDArray[Any]) -> float:
    """Largest log density of the target under N(0, 1/beta I + 1/alpha Z Z'), over both precisions, per sample."""

    def minus(logs: NDArray[Any]) -> float:
        cov = np.exp(-logs[1]) * np.eye(len(z)) + np.exp(-logs[0]) * z @ z.T
        return -float(multivariate_normal(np.zeros(len(z)), cov, allow_singular=True).logpdf(target))

    starts = [np.array([a, b]) for a in (0.0, 4.0) for b in (1.0, 4.0)]
    return -min(float(minimize(minus, s, method="Nelder-Mead").fun) for s in starts) / len(z)


@pytest.mark.parametrize(("n", "d"), [(40, 5), (30, 12), (25, 60)])
def test_logme_is_the_maximum_of_the_evidence(n: int, d: int) -> None:
    z, y = sample(n, d, 3, n + d)
    expected = np.mean([evidence(z, (y == c).astype(float)) for c in range(3)])
    assert logme(z, y) == pytest.approx(expected, abs=2e-3 if d < n else 0.05)


@SAMPLES
def test_h_score_follows_its_definition(n: int, d: int, classes: int, seed: int) -> None:
    z, y = sample(n, d, classes, seed)
    centred = z - z.mean(0)
    shrunk, shrinkage = reference_shrinkage(z)
    means = np.stack([centred[y == c].mean(0) for c in y])
    between = means.T @ means / n
    expected = np.trace(np.linalg.inv(shrunk + 1e-12 * np.trace(shrunk) * np.eye(d)) @ ((1 - shrinkage) * between))
    assert h_score(z, y) == pytest.approx(expected, rel=1e-3, abs=1e-4)
    assert -1e-6 <= h_score(z, y) <= classes - 1 + 1e-6


@SAMPLES
def test_shrinkage_is_that_of_scikit_learn(n: int, d: int, classes: int, seed: int) -> None:
    z, y = sample(n, d, classes, seed)
    m = moments(z, y)
    covariance = m.scatter / n
    found = ledoit_wolf(float((covariance**2).sum()), float(np.trace(covariance)), m.fourth / n, n, d)
    assert found == pytest.approx(reference_shrinkage(z)[1], abs=1e-4)


@SAMPLES
def test_transrate_follows_its_definition(n: int, d: int, classes: int, seed: int) -> None:
    z, y = sample(n, d, classes, seed)
    z = z - z.mean(0)
    z = z / np.sqrt((z**2).sum(1).mean())

    def rate(rows: NDArray[Any]) -> float:
        return 0.5 * float(np.linalg.slogdet(np.eye(d) + rows.T @ rows / (len(rows) * 1e-4))[1])

    expected = rate(z) - sum((y == c).mean() * rate(z[y == c]) for c in range(classes))
    assert transrate(5 * z + 3, y) == pytest.approx(expected, rel=1e-3, abs=1e-3)


@settings(max_examples=20)
@SAMPLES
def test_gbc_follows_its_definition(n: int, d: int, classes: int, seed: int) -> None:
    z, y = sample(n, d, classes, seed, gap=0.2)
    _, vectors = np.linalg.eigh(np.cov(z.T))
    p = z @ vectors[:, -4:]
    expected = 0.0
    for i in range(classes):
        for j in range(classes):
            if i == j:
                continue
            a, b = p[y == i], p[y == j]
            va, vb = a.var(0, ddof=1), b.var(0, ddof=1)
            middle = (va + vb) / 2
            distance = 0.125 * ((a.mean(0) - b.mean(0)) ** 2 / middle).sum()
            distance += 0.5 * math.log(np.prod(middle) / math.sqrt(np.prod(va) * np.prod(vb)))
            expected -= math.exp(-distance)
    assert gbc(z, y, components=4) == pytest.approx(expected, rel=1e-3, abs=1e-5)


def hsic(k: NDArray[Any], l: NDArray[Any]) -> float:  # noqa: E741
    n = len(k)
    k, l = k - np.diag(np.diag(k)), l - np.diag(np.diag(l))  # noqa: E741
    one = np.ones(n)
    total = np.trace(k @ l) + (one @ k @ one) * (one @ l @ one) / ((n - 1) * (n - 2))
    return float(total - 2 / (n - 2) * (one @ k @ l @ one)) / (n * (n - 3))


@SAMPLES
def test_label_cka_plain_and_unbiased(n: int, d: int, classes: int, seed: int) -> None:
    z, y = sample(n, d, classes, seed)
    onehot = np.eye(classes)[y]
    x, t = z - z.mean(0), onehot - onehot.mean(0)
    plain = np.linalg.norm(t.T @ x) ** 2 / np.linalg.norm(x.T @ x) / np.linalg.norm(t.T @ t)
    assert label_cka(z, y, debiased=False) == pytest.approx(plain, abs=1e-5)
    own, labels = hsic(z @ z.T, z @ z.T), hsic(onehot @ onehot.T, onehot @ onehot.T)
    if own > 0 and labels > 0:
        expected = hsic(z @ z.T, onehot @ onehot.T) / math.sqrt(own * labels)
        assert label_cka(z, y) == pytest.approx(expected, abs=1e-4)


def test_the_unbiased_alignment_of_noise_is_zero_where_the_plain_one_is_not() -> None:
    rng = np.random.default_rng(0)
    values = [label_cka(rng.normal(size=(60, 200)), rng.integers(0, 3, 60)) for _ in range(30)]
    plain = label_cka(rng.normal(size=(60, 200)), rng.integers(0, 3, 60), debiased=False)
    assert abs(np.mean(values)) < 2 * np.std(values) / math.sqrt(30) + 0.01
    assert plain > 0.1


@SAMPLES
def test_parc_follows_its_definition(n: int, d: int, classes: int, seed: int) -> None:
    z, y = sample(n, d, classes, seed)
    vectors = np.linalg.eigh((z - z.mean(0)).T @ (z - z.mean(0)))[1]
    p = (z - z.mean(0)) @ vectors[:, -min(d, n, 32) :]
    if p.shape[1] < 3 or n <= d:
        return  # a correlation of two numbers is a sign; directions of no variance are noise
    above = np.triu_indices(n, 1)
    apart = np.asarray(1 - np.corrcoef(np.eye(classes)[y]))
    labels = apart[above]
    distances = np.asarray(1 - np.corrcoef(p))
    expected = spearmanr(distances[above], np.round(labels, 9)).statistic
    assert parc(z, y) == pytest.approx(expected, abs=2e-3)


def test_n_leep_rises_with_separation_and_is_at_most_zero() -> None:
    values = [n_leep(*sample(240, 10, 3, 5, gap)) for gap in (0.0, 1.0, 4.0)]
    assert values[0] < values[1] < values[2] <= 0
    assert values[0] == pytest.approx(math.log(1 / 3), abs=0.15)
    assert values[2] > -0.05


@pytest.mark.parametrize("score", [logme, h_score, transrate, gbc, label_cka])
def test_separation_is_seen_and_a_turn_of_the_axes_is_not(score: Any) -> None:
    far, near = sample(80, 20, 3, 7, 3.0), sample(80, 20, 3, 7, 0.1)
    assert score(*far) > score(*near)
    turn = np.linalg.qr(np.random.default_rng(0).normal(size=(20, 20)))[0]
    assert score(far[0] @ turn, far[1]) == pytest.approx(score(*far), rel=1e-3, abs=1e-4)
    wide = np.hstack([far[0], np.zeros((80, 200))])  # more dimensions than samples
    assert score(wide, far[1]) == pytest.approx(score(*far), rel=0.05 if score is h_score else 1e-3, abs=1e-4)


@pytest.mark.parametrize("score", [logme, h_score, transrate, gbc, label_cka, parc, n_leep])
def test_constant_embeddings_and_one_class_stay_finite_or_say_nan(score: Any) -> None:
    for z, y in (
        (np.ones((30, 4)), np.arange(30) % 2),
        (np.random.default_rng(0).normal(size=(30, 4)), np.zeros(30, int)),
    ):
        assert not np.isinf(score(z, y))


def test_moments_by_class_add_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.import_module("autossl.proxies.moments"), "TILE", 7)
    z, y = sample(50, 6, 4, 3)
    m = moments(z.astype(np.float16), y)
    x = z.astype(np.float16).astype(np.float64)
    x = x - x.mean(0)
    weights = 50 / (4 * np.bincount(y)[y])
    np.testing.assert_allclose(m.scatter, x.T @ x, atol=1e-4)
    np.testing.assert_allclose(m.balanced, (x * weights[:, None]).T @ x, atol=1e-4)
    np.testing.assert_allclose(m.sums, np.stack([x[y == c].sum(0) for c in range(4)]), atol=1e-4)
    assert m.fourth == pytest.approx(((x**2).sum(1) ** 2).sum(), rel=1e-5)
