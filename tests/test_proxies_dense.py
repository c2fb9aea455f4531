"""Dense ridge and k-NN against refitting without each patient, plain loops, and what patients must hide."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.linear_model import Ridge

from autossl.proxies.bootstrap import bootstrap
from autossl.proxies.dense import Dense, dense_knn, dense_ridge, draw_tokens
from autossl.proxies.measures import score

Scorer = Callable[..., Dense]
SCORERS = pytest.mark.parametrize("scorer", [dense_ridge, dense_knn])


def scene(
    seed: int, images: int = 12, tokens: int = 9, d: int = 6, classes: int = 3, gap: float = 2.0
) -> tuple[NDArray[Any], NDArray[np.int64], NDArray[np.int64]]:
    rng = np.random.default_rng(seed)
    labels = rng.integers(-1, classes, (images, tokens))
    labels[0, :classes] = np.arange(classes)
    z = rng.normal(size=(images, tokens, d)) + gap * rng.normal(size=(classes + 1, d))[labels]
    return z.astype(np.float32), labels, rng.permutation(np.arange(images) % 5)


def soft(rng: np.random.Generator, labels: NDArray[np.int64], classes: int) -> NDArray[np.float64]:
    """Shares with the class of `labels` largest; none where it is -1."""
    shares = 0.4 * rng.dirichlet(np.ones(classes), labels.shape)
    shares[..., 0] += 0.6 * (labels == 0)
    for c in range(1, classes):
        shares[..., c] += 0.6 * (labels == c)
    shares[labels < 0] = 0
    return shares


def slow_dice(shares: NDArray[Any], scores: NDArray[Any], background: int | None) -> tuple[float, float]:
    values = []
    for c in range(shares.shape[1]):
        predicted = scores.argmax(1) == c
        if shares[:, c].sum() > 0 and c != background:
            both, total = shares[predicted, c].sum(), shares[:, c].sum() + predicted.sum()
            values.append((2 * both / total, both / (total - both)))
    dice, iou = np.mean(values, axis=0) if values else (np.nan, np.nan)
    return float(dice), float(iou)


@settings(max_examples=40)
@given(
    images=st.integers(2, 10), tokens=st.integers(3, 9), d=st.integers(1, 40), grouped=st.booleans(),
    shares=st.booleans(), background=st.sampled_from([None, 0, 2]),
    dtype=st.sampled_from([np.float16, np.float32, np.float64]), seed=st.integers(0, 99),
)  # fmt: skip
def test_ridge_equals_refitting_without_each_patient(
    images: int, tokens: int, d: int, grouped: bool, shares: bool, background: int | None, dtype: type, seed: int
) -> None:
    z, labels, patients = scene(seed, images, tokens, d)
    z = z.astype(dtype)
    z[..., d // 2] = 3  # a constant column
    truth = soft(np.random.default_rng(seed), labels, 3) if shares else labels
    owner = np.maximum(patients % 3, np.eye(1, images, dtype=int)[0] * 3) if grouped else np.arange(images)
    found = dense_ridge(
        z, truth, owner if grouped else None, classes=3, penalties=[0.5], background=background, limit=1000
    )
    assert (labels[found.images, found.tokens] >= 0).all()
    assert len(found.scores) == (labels >= 0).sum()
    pool = z.reshape(-1, d).astype(np.float64)
    spread = pool.std(0)
    rows = (z[found.images, found.tokens] - pool.mean(0)) * np.where(spread > 1e-6, 1 / np.maximum(spread, 1e-6), 0)
    expected = np.zeros(found.shares.shape)
    whose = owner[found.images]
    for patient in np.unique(whose):
        out = whose == patient
        if not out.all():
            fit = Ridge(alpha=0.5).fit(rows[~out], found.shares[~out])
            lift = found.shares.mean(0) - found.shares[~out].mean(0)
            expected[out] = fit.predict(rows[out]).reshape(expected[out].shape) + lift
    np.testing.assert_allclose(found.scores, expected, atol=2e-3)
    if shares:
        np.testing.assert_allclose(found.shares, truth[found.images, found.tokens])
    else:
        np.testing.assert_array_equal(found.shares.argmax(1), truth[found.images, found.tokens])
    assert (found.dice, found.miou) == pytest.approx(slow_dice(found.shares, found.scores, background), nan_ok=True)


def test_knn_follows_its_definition() -> None:
    z, labels, patients = scene(1)
    found = dense_knn(z, labels, patients, ks=(4, 30), temperatures=(0.1, 0.02))
    rows = z[found.images, found.tokens].astype(np.float64)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    values = []
    for k in (4, 30):
        for heat in (0.1, 0.02):
            scores = np.zeros(found.shares.shape)
            for i in range(len(rows)):
                seen = np.flatnonzero(patients[found.images] != patients[found.images[i]])
                near = seen[np.argsort(-(rows[seen] @ rows[i]), kind="stable")[:k]]
                weights = np.exp((rows[near] @ rows[i] - 1) / heat)
                scores[i] = weights @ found.shares[near] / weights.sum()
            values.append((slow_dice(found.shares, scores, None), k, heat, scores))
    best = max(values, key=lambda value: value[0][0])
    assert (found.dice, found.miou) == pytest.approx(best[0])
    assert found.setting == {"k": best[1], "temperature": best[2]}
    np.testing.assert_allclose(found.scores, best[3], atol=1e-4)


def test_the_penalty_is_the_best_by_dice() -> None:
    z, labels, patients = scene(2, gap=0.5)
    path = (0.1, 10.0, 1e3)
    alone = [dense_ridge(z, labels, patients, penalties=[p], background=0) for p in path]
    chosen = dense_ridge(z, labels, patients, penalties=path, background=0)
    assert chosen.dice == max(a.dice for a in alone)
    assert chosen.setting == {"penalty": max(p for p, a in zip(path, alone, strict=True) if a.dice == chosen.dice)}
    assert chosen.dice == pytest.approx(np.nanmean(chosen.class_dice[1:]))
    assert score("dice", chosen.shares, chosen.scores) == pytest.approx(np.nanmean(chosen.class_dice))
    drawn = bootstrap(chosen.shares, chosen.scores, patients[chosen.images], metrics=("dice", "miou"), draws=20)
    assert np.isfinite(drawn["dice"]).all()


@given(sizes=st.lists(st.integers(0, 40), min_size=1, max_size=5), limit=st.integers(5, 90), seed=st.integers(0, 9))
def test_tokens_are_drawn_in_equal_parts_of_the_classes(sizes: list[int], limit: int, seed: int) -> None:
    if not sum(sizes):
        sizes[0] = 1
    labels = np.random.default_rng(seed).permutation(np.repeat(np.arange(-1, len(sizes)), [9, *sizes]))[None]
    z = labels[..., None].astype(np.float32)
    sample = draw_tokens(z, labels, None, classes=len(sizes), limit=limit, seed=seed)
    again = draw_tokens(z, labels, None, classes=len(sizes), limit=limit, seed=seed)
    np.testing.assert_array_equal(sample.tokens, again.tokens)
    assert len(np.unique(sample.tokens)) == len(sample.tokens) == min(limit, sum(sizes))
    np.testing.assert_array_equal(sample.rows[:, 0], labels[0, sample.tokens])
    taken = np.bincount(labels[0, sample.tokens], minlength=len(sizes))
    short = taken < np.array(sizes)
    assert not short.any() or taken[short].max() - taken[short].min() <= 1  # the rest is shared equally
    assert not short.any() or taken[~short].max(initial=0) <= taken[short].min()


def test_different_seeds_draw_different_tokens() -> None:
    z, labels, _ = scene(3)
    first, second = (dense_knn(z, labels, limit=12, seed=seed) for seed in (0, 1))
    assert not np.array_equal(first.tokens, second.tokens)


@SCORERS
def test_clear_classes_are_found_and_one_patient_teaches_nothing(scorer: Scorer) -> None:
    z, labels, patients = scene(4, images=20, gap=9)
    assert scorer(z, labels, patients).dice > 0.95
    alone = scorer(z, labels, np.zeros(20))
    assert len(np.unique(alone.scores.argmax(1))) == 1
    assert np.isnan(alone.class_dice).sum() == 0


@SCORERS
def test_random_labels_give_chance_by_patient_and_show_the_leak_by_image(scorer: Scorer) -> None:
    patients = np.repeat(np.arange(30), 4)
    honest, leaky = [], []
    for seed in range(30):
        rng = np.random.default_rng(seed)
        # Ridge knows the shares of all patients, so chance is 1/2 for equal classes; k-NN knows those of the others
        # alone, so chance is 1/2 for independent labels.
        drawn = rng.permutation(np.arange(30) % 2) if scorer is dense_ridge else rng.integers(0, 2, 30)
        labels = np.tile(drawn[patients][:, None], (1, 4))
        z = 2 * rng.normal(size=(30, 1, 12))[patients] + 0.3 * rng.normal(size=(120, 4, 12))
        honest.append(agreement(scorer(z, labels, patients), labels))
        leaky.append(agreement(scorer(z, labels), labels))
    assert abs(np.mean(honest) - 0.5) < 2 * np.std(honest) / np.sqrt(30)
    assert np.mean(leaky) > 0.65


def agreement(found: Dense, labels: NDArray[np.int64]) -> float:
    return float(np.mean(found.scores.argmax(1) == labels[found.images, found.tokens]))


@SCORERS
def test_edges(scorer: Scorer) -> None:
    z, labels, patients = scene(5)
    labels[labels == 2] = 1
    labels[0, 0] = 2  # one token of a class: nobody else has it
    found = scorer(z, labels, patients, classes=4)
    assert found.class_dice[2] == 0
    assert np.isnan(found.class_dice[3])
    assert np.isnan(scorer(z, np.where(labels < 0, labels, 0), patients, background=0).dice)
    assert np.isfinite(scorer(np.zeros((3, 2, 4), np.float16), np.zeros((3, 2), int)).dice)


@SCORERS
def test_bad_input_is_told_in_one_sentence(scorer: Scorer) -> None:
    z, labels, patients = scene(6)
    with pytest.raises(ValueError, match="z must be finite"):
        scorer(np.where(np.arange(9)[None, :, None] == 8, np.nan, z), labels)
    with pytest.raises(ValueError, match="z must hold floating-point tokens"):
        scorer(z[0], labels)
    with pytest.raises(ValueError, match="labels must have the shape"):
        scorer(z, labels[:, :3])
    with pytest.raises(ValueError, match="labels must be integers from -1"):
        scorer(z, labels, classes=2)
    with pytest.raises(ValueError, match="labels must be integers from -1"):
        scorer(z, labels.astype(float))
    shares = np.eye(3)[np.abs(labels)]
    with pytest.raises(ValueError, match="shares of 2 classes, found 3"):
        scorer(z, shares, classes=2)
    for bad in (2 * shares, shares * np.nan, shares - np.array([0.5, -0.5, 0])):
        with pytest.raises(ValueError, match="that sum to 1"):
            scorer(z, bad)
    with pytest.raises(ValueError, match="groups must hold one id for each of 12 samples"):
        scorer(z, labels, patients[:3])
    with pytest.raises(ValueError, match="limit 2 and 3 classes"):
        scorer(z, labels, limit=2)
    with pytest.raises(ValueError, match="some token labelled, found limit 20000 and 0 classes"):
        scorer(z, np.full_like(labels, -1), classes=3)
    with pytest.raises(ValueError, match="background must be one of 3 classes, found 3"):
        scorer(z, labels, background=3)
