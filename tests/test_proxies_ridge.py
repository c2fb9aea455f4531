"""Leave-out ridge against refitting every fold with scikit-learn, and at the edges of its input."""

import importlib
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.linear_model import Ridge as Reference
from sklearn.linear_model import RidgeCV

from autossl.proxies import PENALTIES, Probe, balanced_accuracy, ridge, score, standardise
from autossl.proxies import leave_out as algebra
from autossl.proxies.checks import group_index


def value(y: NDArray[Any], probe: Probe) -> float:
    return score("balanced_accuracy", y, probe.scores)


def refitted(
    z: NDArray[Any],
    targets: NDArray[np.float64],
    groups: NDArray[Any],
    penalty: float,
    weights: NDArray[np.float64],
    recentre: bool,
) -> NDArray[np.float64]:
    """The definition: a fit without each group; with `recentre` the intercept of all samples' mean target."""
    predictions = np.zeros(targets.shape)
    for group in np.unique(groups):
        out = groups == group
        fit = Reference(alpha=penalty).fit(z[~out], targets[~out], sample_weight=weights[~out])
        predictions[out] = fit.predict(z[out]).reshape(out.sum(), -1)
        if recentre:
            rest = np.average(targets[~out], axis=0, weights=weights[~out])
            predictions[out] += np.average(targets, axis=0, weights=weights) - rest
    return predictions


@given(
    n=st.integers(4, 70),
    d=st.integers(1, 90),
    classes=st.integers(2, 5),
    patients=st.integers(2, 30),
    balanced=st.booleans(),
    penalty=st.sampled_from([1e-2, 1.0, 1e4]),
    dtype=st.sampled_from([np.float16, np.float32]),
    seed=st.integers(0, 99),
)
def test_equals_refitting_without_each_group(
    n: int, d: int, classes: int, patients: int, balanced: bool, penalty: float, dtype: type, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    z: NDArray[Any] = (rng.normal(size=(n, d)) + 3).astype(dtype)
    z[:, d // 2] = 1  # a constant column
    y, groups = rng.integers(0, classes, n), rng.integers(0, patients, n)
    groups[:2] = 0, 1  # at least two groups
    fit = ridge(z, y, groups, classes=classes, penalties=[penalty], balanced=balanced)
    sizes = np.bincount(y, minlength=classes)
    weights = n / (np.count_nonzero(sizes) * sizes[y]) if balanced else np.ones(n)
    expected = refitted(z.astype(float), np.eye(classes)[y], groups, penalty, weights, balanced)
    np.testing.assert_allclose(fit.scores, expected, atol=2e-4)


@pytest.mark.parametrize(("n", "d", "groups"), [(300, 10, 3), (260, 60, 12), (120, 150, 2), (150, 200, 6)])
def test_large_groups_take_the_other_roads_to_the_same_place(n: int, d: int, groups: int) -> None:
    rng = np.random.default_rng(n)
    z, y, owner = rng.normal(size=(n, d)).astype(np.float32), rng.integers(0, 3, n), rng.integers(0, groups, n)
    weights = n / (3 * np.bincount(y)[y])
    path = [1e-1, 10.0]
    problem = algebra.decompose(z, np.eye(3)[y], weights, recentre=True)
    for penalty, scores in zip(path, algebra.leave_out(problem, owner, np.array(path)), strict=True):
        expected = refitted(z.astype(float), np.eye(3)[y], owner, penalty, weights, True)
        np.testing.assert_allclose(scores, expected, atol=1e-5)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 1000), st.floats(0, 5), st.floats(-6, 6), st.sampled_from([1, 3]))
def test_float32_is_used_only_where_it_moves_no_prediction(seed: int, fall: float, scale: float, most: int) -> None:
    """Spectra that fall by `fall` powers of ten, targets of any scale, penalties from nothing to everything."""
    rng = np.random.default_rng(seed)
    n, d = 200, 40
    turn = np.linalg.qr(rng.normal(size=(d, d)))[0]
    z = (rng.normal(size=(n, d)) * np.logspace(0, -fall, d) @ turn).astype(np.float32)
    targets = (z @ rng.normal(size=(d, 2)) * 10.0 ** rng.uniform(0, fall) + rng.normal(size=(n, 2))) * 10.0**scale
    problem = algebra.decompose(z, targets, np.ones(n), recentre=False)
    owner = np.sort(rng.integers(0, n // most, n))
    exact = np.zeros((len(PENALTIES), n, 2), np.float32)
    places = np.arange(len(PENALTIES))
    algebra.leave_out_in(np.dtype(np.float64), problem, owner, PENALTIES, places, exact)
    found = algebra.leave_out(problem, owner, PENALTIES)
    np.testing.assert_allclose(found, exact, atol=1e-4 * float(targets.std()), rtol=1e-5)


def test_float32_is_used_for_common_embeddings_and_not_for_degenerate_ones() -> None:
    rng = np.random.default_rng(0)
    z, y = standardise(rng.normal(size=(400, 30))), np.eye(2)[np.arange(400) % 2]
    problem = algebra.decompose(z, y, np.ones(400), recentre=True)
    assert (problem.rounding(PENALTIES) <= algebra.ALLOWED).all()
    z[:, 1:20] = z[:, :1] + 1e-4 * z[:, 1:20]  # nearly one and the same
    problem = algebra.decompose(z, y, np.ones(400), recentre=True)
    allowed = problem.rounding(PENALTIES) <= algebra.ALLOWED
    assert not allowed[0]
    assert allowed[-1]


def test_leave_one_out_of_values_agrees_with_ridgecv() -> None:
    rng = np.random.default_rng(0)
    z = rng.normal(size=(80, 12)).astype(np.float32)
    y = np.column_stack([z[:, 0] + rng.normal(size=80), z[:, 1:4].sum(1) + 5])
    path = np.logspace(-2, 3, 11)
    fit = ridge(z, y, penalties=path)
    reference = RidgeCV(path, store_cv_results=True, scoring=None).fit(z.astype(float), y)
    errors = reference.cv_results_.sum(axis=0)  # squared errors (targets, penalties)
    expected = errors / ((y - y.mean(0)) ** 2).sum(0)[:, None]
    np.testing.assert_allclose(fit.losses, expected.sum(0), atol=1e-6)
    whole = Reference(alpha=fit.penalty).fit(z.astype(float), y)
    np.testing.assert_allclose(fit.predict(z), whole.predict(z), atol=1e-5)
    assert ridge(z, y[:, 0]).scores.shape == (80, 1)


@pytest.mark.parametrize("values", [False, True])
def test_the_penalty_of_a_group_is_the_one_that_the_other_groups_choose(values: bool) -> None:
    """By the weighted squared error of left-out predictions, from fits at each penalty alone."""
    rng = np.random.default_rng(1)
    y, groups = rng.integers(0, 3, 200), rng.integers(0, 12, 200)
    z = standardise(rng.normal(size=(200, 30)) + 0.7 * np.eye(30)[y])
    given: Any = z[:, :2] + rng.normal(size=(200, 2)) * [1, 30] if values else y
    targets = given if values else np.eye(3)[y]
    weights = np.ones(200) if values else 200 / (3 * np.bincount(y)[y])
    path, classes = np.logspace(-1, 5, 7), None if values else 3
    alone = [ridge(z, given, groups, classes=classes, penalties=[penalty]).scores for penalty in path]
    spread = np.average((targets - np.average(targets, axis=0, weights=weights)) ** 2, axis=0, weights=weights)
    errors = np.stack([weights * ((scores - targets) ** 2 / spread).sum(axis=1) for scores in alone])
    fit = ridge(z, given, groups, classes=classes, penalties=path)
    np.testing.assert_allclose(fit.losses, errors.mean(axis=1), rtol=1e-5)
    assert fit.penalty == path[errors.sum(axis=1).argmin()]
    for group in range(12):
        chosen = errors[:, groups != group].sum(axis=1).argmin()
        np.testing.assert_allclose(fit.scores[groups == group], alone[chosen][groups == group], atol=1e-5)


def test_blocks_of_penalties_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(2)
    z, y = rng.normal(size=(90, 7)), rng.integers(0, 2, 90)
    whole = ridge(z, y, classes=2)
    monkeypatch.setattr(importlib.import_module("autossl.proxies.ridge"), "SCORE_BYTES", 1)
    blocks = ridge(z, y, classes=2)
    np.testing.assert_allclose(whole.losses, blocks.losses, rtol=1e-6)
    np.testing.assert_allclose(whole.scores, blocks.scores, atol=1e-6)


def test_one_group_leaves_nothing_to_learn_from() -> None:
    z, y = np.random.default_rng(3).normal(size=(12, 4)), np.arange(12) % 3
    fit = ridge(z, y, np.zeros(12), classes=3)
    assert (fit.scores == 0).all()
    assert fit.penalty == PENALTIES[-1]
    assert np.isfinite(fit.predict(z)).all()


def test_a_class_with_one_patient_is_missed_and_an_absent_class_never_predicted() -> None:
    rng = np.random.default_rng(4)
    y = np.r_[np.zeros(20), np.ones(20), np.full(5, 3)].astype(int)  # class 2 is absent
    groups = np.r_[np.arange(40) // 2, np.full(5, 99)]
    z = rng.normal(size=(45, 6)) + 4 * np.eye(6)[y]
    fit = ridge(z, y, groups, classes=4)
    predicted = fit.scores.argmax(1)
    assert not (predicted[y == 3] == 3).any()
    assert (predicted != 2).all()
    assert balanced_accuracy(y, predicted) == pytest.approx(2 / 3)
    assert score("balanced_accuracy", y, fit.scores, group_index(groups, 45)) == 1  # it is not judged at all
    assert (fit.predict(z).argmax(1) == y).all()


def test_one_sample_of_a_class_and_one_class_only() -> None:
    rng = np.random.default_rng(5)
    fit = ridge(rng.normal(size=(9, 20)), [0] * 4 + [1] * 4 + [2], classes=3)
    assert np.isfinite(fit.scores).all()
    alone = ridge(rng.normal(size=(4, 2)), [1, 1, 1, 1], classes=2)
    assert (alone.scores.argmax(1) == 1).all()


def test_balanced_weights_serve_the_rare_class() -> None:
    rng = np.random.default_rng(6)
    y = (rng.random(800) < 0.05).astype(int)
    z = rng.normal(size=(800, 10)) + 1.2 * y[:, None] * np.eye(10)[0]
    balanced, plain = (value(y, ridge(z, y, classes=2, balanced=b)) for b in (True, False))
    assert balanced > plain + 0.1


def test_random_labels_give_chance_by_patient_and_show_the_leak_by_image() -> None:
    rng = np.random.default_rng(7)
    patients = np.repeat(np.arange(200), 5)
    labels = rng.integers(0, 2, 200)[patients]
    z = standardise(rng.normal(size=(200, 300))[patients] + 0.3 * rng.normal(size=(1000, 300)))
    assert value(labels, ridge(z, labels, classes=2)) > 0.95
    for penalty in (1.0, 1e2, 1e4, 1e7):
        honest = value(labels, ridge(z, labels, patients, classes=2, penalties=[penalty]))
        assert abs(honest - 0.5) < 2 * 0.5 / np.sqrt(200)


def test_balanced_random_labels_do_not_fall_below_chance() -> None:
    # With the intercept of the samples left in, a heavily shrunk fit always votes for the other class.
    rng = np.random.default_rng(8)
    z, y = rng.normal(size=(400, 5)), np.arange(400) % 2
    assert abs(value(y, ridge(z, y, classes=2, penalties=[1e7])) - 0.5) < 2 * 0.5 / np.sqrt(400)
    assert value(y, ridge(z, y, classes=2, penalties=[1e7], balanced=False)) < 0.1


def test_standardise() -> None:
    rng = np.random.default_rng(9)
    reference = (rng.normal(size=(500, 4)) * [1, 100, 1e-3, 0] + [0, 5, 1, 7]).astype(np.float32)
    scaled = standardise(reference)
    np.testing.assert_allclose(scaled.mean(0), 0, atol=1e-4)
    np.testing.assert_allclose(scaled.std(0), [1, 1, 1, 0], atol=1e-4)
    new = standardise(reference[:3] + 1, reference)
    np.testing.assert_allclose(new[:, 0], (reference[:3, 0] + 1 - reference[:, 0].mean()) / reference[:, 0].std(), 1e-4)
    assert (new[:, 3] == 0).all()


def test_bad_input_is_told_in_one_sentence() -> None:
    z, y = np.eye(4), [0, 1, 0, 1]
    with pytest.raises(ValueError, match="must be finite"):
        ridge(np.full((4, 4), np.inf), y, classes=2)
    with pytest.raises(ValueError, match="penalties must be positive"):
        ridge(z, y, classes=2, penalties=[0.0])
    with pytest.raises(ValueError, match="probe's 4 dimensions, found 3"):
        ridge(z, y, classes=2).predict(np.ones((2, 3)))
    with pytest.raises(ValueError, match="dimensions of z"):
        standardise(z, np.ones((3, 2)))
    with pytest.raises(ValueError, match="one class index for each of 4 samples"):
        ridge(z, [0, 1], classes=2)
