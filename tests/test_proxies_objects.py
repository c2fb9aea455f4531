"""Objectness against refitting without each patient, and the matching of detections against plain loops."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.linear_model import Ridge
from sklearn.metrics import average_precision_score

from autossl.proxies.objects import froc, objectness

Array = NDArray[Any]


def slow_peaks(image: Array) -> list[tuple[int, int]]:
    """Tokens that no neighbour exceeds and no neighbour that comes first equals."""
    height, width = image.shape
    found = []
    for i in range(height):
        for j in range(width):
            near = [
                (a, b)
                for a in range(max(i - 1, 0), min(i + 2, height))
                for b in range(max(j - 1, 0), min(j + 2, width))
                if (a, b) != (i, j)
            ]
            if all(image[p] < image[i, j] or (image[p] == image[i, j] and p > (i, j)) for p in near):
                found.append((i, j))
    return found


def slow_froc(scores: Array, objects: Array, rates: tuple[float, ...]) -> list[float]:
    """For every threshold: detections above it, matched image by image."""
    total = sum(len(set(image[image > 0].tolist())) for image in objects)
    judged = sum(bool((image >= 0).any()) for image in objects)
    if not total:
        return [float("nan")] * len(rates)
    best = [0.0] * len(rates)
    for threshold in np.unique(scores):
        found, alarms = set(), 0
        for number, (image, truth) in enumerate(zip(scores, objects, strict=True)):
            for peak in slow_peaks(image):
                if image[peak] >= threshold:
                    alarms += truth[peak] == 0
                    if truth[peak] > 0:
                        found.add((number, truth[peak]))
        for place, rate in enumerate(rates):
            if alarms <= rate * judged:
                best[place] = max(best[place], len(found) / total)
    return best


@given(
    images=st.integers(1, 5), height=st.integers(1, 6), width=st.integers(1, 6), steps=st.integers(1, 30),
    numbers=st.integers(0, 4), seed=st.integers(0, 99),
)  # fmt: skip
def test_froc_follows_its_definition(images: int, height: int, width: int, steps: int, numbers: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, steps, (images, height, width)).astype(np.float16)
    objects = rng.integers(-1, numbers + 1, scores.shape) * rng.integers(0, 2, scores.shape)
    objects[images // 2] = -1
    rates = (0.0, 0.5, 1, 2.5)
    np.testing.assert_allclose(froc(scores, objects, rates), slow_froc(scores, objects, rates))


def test_each_rule_of_the_matching() -> None:
    objects = np.zeros((1, 3, 9), int)
    objects[0, :, 0:3] = 7
    objects[0, :, 4] = -1
    objects[0, 1, 8] = 2
    scores = np.zeros((1, 3, 9))
    scores[0, 0, 0], scores[0, 2, 2] = 9, 8  # the same object twice: once a hit, once neither
    scores[0, 1, 4] = 7  # on an ignored token: neither
    np.testing.assert_allclose(froc(scores, objects, (0,)), [0.5])
    scores[0, 0, 6] = 5  # background
    scores[0, 1, 8] = 3
    np.testing.assert_allclose(froc(scores, objects, (0, 0.9, 1)), [0.5, 0.5, 1])
    scores[0, 0, 7] = 4  # a neighbour on background exceeds the object's only token
    np.testing.assert_allclose(froc(scores, objects, (4,)), [0.5])


def scene(
    seed: int, images: int = 12, size: int = 5, d: int = 6, gap: float = 2.0
) -> tuple[Array, NDArray[np.int64], NDArray[np.int64]]:
    """Images with up to two objects of 2 x 2 tokens, some tokens ignored, five patients."""
    rng = np.random.default_rng(seed)
    objects = -(rng.random((images, size, size)) < 0.1).astype(np.int64)
    for image in objects:
        for number, start in enumerate(range(0, size - 1, 3), 1):
            row = rng.integers(0, size - 1)
            image[row : row + 2, start : start + 2] = number
    z = rng.normal(size=(*objects.shape, d)) + gap * rng.normal(size=d) * (objects > 0)[..., None]
    return z.astype(np.float32), objects, np.arange(images) % 5


@settings(max_examples=30)
@given(
    images=st.integers(2, 10), size=st.integers(2, 5), d=st.integers(1, 60), grouped=st.booleans(),
    dtype=st.sampled_from([np.float16, np.float32]), seed=st.integers(0, 99),
)  # fmt: skip
def test_scores_equal_refitting_without_each_patient(
    images: int, size: int, d: int, grouped: bool, dtype: type, seed: int
) -> None:
    z, objects, patients = scene(seed, images, size, d, gap=0.5)
    z = z.astype(dtype)
    z[..., d // 2] = 3
    owner = patients if grouped else np.arange(images)
    found = objectness(z, objects, owner if grouped else None, penalties=[2.0])
    rows = z.reshape(-1, d).astype(np.float64)
    spread = rows.std(0)
    rows = (rows - rows.mean(0)) * np.where(spread > 1e-6, 1 / np.maximum(spread, 1e-6), 0)
    truth, whose = objects.ravel(), np.repeat(owner, size * size)
    known = truth >= 0
    sizes = np.bincount((truth[known] > 0).astype(int), minlength=2)
    share = 1 / (2 * sizes)[(truth > 0).astype(int)] if sizes.all() else np.full(len(truth), 1 / known.sum())
    weights = len(truth) * share * known  # the mean weight of all tokens is 1
    expected = np.zeros(len(truth))
    prior = np.average(truth > 0, weights=weights)
    for patient in np.unique(whose):
        out = whose == patient
        used = ~out & known
        if used.any():
            fit = Ridge(alpha=2.0).fit(rows[used], truth[used] > 0, sample_weight=weights[used])
            lift = prior - np.average(truth[used] > 0, weights=weights[used])
            expected[out] = fit.predict(rows[out]) + lift
    np.testing.assert_allclose(found.scores.ravel(), expected, atol=2e-3)
    if sizes.all():
        assert found.token_ap == pytest.approx(average_precision_score(truth[known] > 0, found.scores.ravel()[known]))
    np.testing.assert_allclose(found.sensitivities, slow_froc(found.scores, objects, (1, 2, 4)))
    assert found.froc == pytest.approx(found.sensitivities.mean())


def test_the_penalty_is_nearly_the_best_by_token_ap_and_objects_are_found() -> None:
    z, objects, patients = scene(1, gap=1.0)
    path = (0.1, 10.0, 1e3)
    alone = [objectness(z, objects, patients, penalties=[p]).token_ap for p in path]
    chosen = objectness(z, objects, patients, penalties=path)
    assert chosen.token_ap > max(alone) - 1e-3  # it is chosen by squared error
    assert chosen.penalty in path
    clear = objectness(*scene(2, gap=8.0))
    assert clear.token_ap > 0.99
    assert clear.froc > 0.99


def test_what_ignored_tokens_are_changes_nothing_but_their_own_scores() -> None:
    z, objects, patients = scene(3)
    shown = z.copy()
    shown[objects < 0] = shown[objects < 0][::-1]  # the same tokens elsewhere: the scaling stays
    first, second = (objectness(tokens, objects, patients, penalties=[1.0]) for tokens in (z, shown))
    known = objects >= 0
    np.testing.assert_allclose(first.scores[known], second.scores[known], atol=1e-5)
    assert (first.scores[~known] != second.scores[~known]).any()


def test_random_objects_give_chance_by_patient_and_show_the_leak_by_image() -> None:
    patients = np.repeat(np.arange(24), 4)
    honest, leaky, chance = [], [], []
    for seed in range(30):
        rng = np.random.default_rng(seed)
        drawn = rng.permutation(np.arange(24) % 2)
        objects = np.tile(drawn[patients][:, None, None], (1, 2, 2))
        z = 2 * rng.normal(size=(24, 1, 1, 12))[patients] + 0.3 * rng.normal(size=(96, 2, 2, 12))
        honest.append(objectness(z, objects, patients, penalties=[10.0]).token_ap)
        leaky.append(objectness(z, objects, penalties=[10.0]).token_ap)
        # The average precision of few patients in random order lies above the share of positives.
        chance += [average_precision_score(drawn, rng.normal(size=24)) for _ in range(20)]
    assert abs(np.mean(honest) - np.mean(chance)) < 2 * np.std(honest) / np.sqrt(30)
    assert np.mean(leaky) > 0.8


def test_edges() -> None:
    z, objects, _ = scene(4)
    assert (objectness(z, objects, np.zeros(12)).scores == 0).all()
    nothing = objectness(z, np.minimum(objects, 0))
    assert np.isnan([nothing.token_ap, nothing.froc, *nothing.sensitivities]).all()
    assert np.isnan(objectness(z, np.ones_like(objects)).token_ap)
    one = np.zeros_like(objects)
    one[0, 0, 0] = 1
    assert np.isfinite(objectness(z, one).token_ap)


def test_bad_input_is_told_in_one_sentence() -> None:
    z, objects, patients = scene(5)
    with pytest.raises(ValueError, match="z must be finite"):
        objectness(np.where(objects[..., None] > 0, np.nan, z), objects)
    with pytest.raises(ValueError, match=r"objects must have the shape \(images, h, w\)"):
        objectness(z, objects[:, :2])
    with pytest.raises(ValueError, match="objects must be integers of at least -1"):
        objectness(z, objects - 1)
    with pytest.raises(ValueError, match="a token that is not ignored"):
        objectness(z, np.full_like(objects, -1))
    with pytest.raises(ValueError, match="groups must hold one id for each of 12 samples"):
        objectness(z, objects, patients[:2])
    with pytest.raises(ValueError, match="scores must be finite"):
        froc(np.full(objects.shape, np.nan), objects)
