"""Where nothing can be known every supervised score is chance: noise, and embeddings that know the patient alone."""

from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from autossl.proxies import (
    bootstrap,
    judging_folds,
    knn_votes,
    paired,
    panel,
    ridge,
    score,
    standard_error,
    standardise,
)
from autossl.proxies.folds import grouped_folds, within_folds
from autossl.proxies.means import nearest_mean

OF_CLASSES = ("ridge", "ridge_auroc", "knn", "ncm", "logistic", "lda", "few_shot", "purity")
CHANCE = {"ridge_auroc": 0.5}


class Case(NamedTuple):
    """Patients of each class, dimensions, and how many images patients have: of very different number, or so many."""

    patients: tuple[int, ...]
    dimensions: int
    images: int | None = None


CASES = (
    Case((2, 34), 16),
    Case((3, 33), 32),
    Case((6, 30), 32),
    Case((18, 18), 48),
    Case((3, 5, 12), 16),
    Case((9, 9), 24, 1),
)


def draw(case: Case, kind: str, seed: int) -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.int64]]:
    """Embeddings of images whose patients have one class each; "identity" knows the patient, "signal" the class."""
    rng = np.random.default_rng(seed)
    count = sum(case.patients)
    sizes = (
        np.clip(rng.lognormal(1, 0.9, count), 1, 25).astype(int) if case.images is None else np.full(count, case.images)
    )
    owner = rng.permutation(np.repeat(np.arange(count), sizes))
    y = np.repeat(np.arange(len(case.patients)), case.patients)[owner]
    z = rng.normal(size=(len(y), case.dimensions))
    if kind == "identity":
        z = 0.3 * z + rng.normal(size=(count, case.dimensions))[owner]
    if kind == "signal":
        z[:, : len(case.patients)] += 6 * np.eye(len(case.patients))[y]
    return z.astype(np.float32), y, owner


def mean_and_error(values: list[float]) -> tuple[float, float]:
    found = np.array(values)[np.isfinite(values)]
    return float(found.mean()), float(found.std(ddof=1) / np.sqrt(len(found)))


@pytest.mark.parametrize("case", CASES, ids=lambda case: "-".join(map(str, case.patients)))
@pytest.mark.parametrize("kind", ["noise", "identity"])
def test_every_score_of_classes_is_chance_where_nothing_can_be_known(case: Case, kind: str) -> None:
    found: dict[str, list[float]] = {name: [] for name in OF_CLASSES}
    for seed in range(24):
        seen = panel(*draw(case, kind, seed), scores=OF_CLASSES, draws=2)
        for name in OF_CLASSES:
            found[name].append(seen[name].value)
    for name, values in found.items():
        mean, error = mean_and_error(values)
        chance = CHANCE.get(name, 1 / len(case.patients))
        # 96 comparisons of skewed values: three standard errors and a little, where the faults were .05 to .25
        assert abs(mean - chance) < 3 * error + 0.015, f"{name}: {mean:.3f} ± {error:.3f}"


@pytest.mark.parametrize("case", CASES[2:4], ids=lambda case: "-".join(map(str, case.patients)))
def test_a_planted_signal_keeps_its_score(case: Case) -> None:
    names = ("ridge", "ridge_auroc", "knn", "ncm", "logistic", "lda", "purity")
    for seed in range(3):
        seen = panel(*draw(case, "signal", seed), scores=names, draws=2)
        assert all(seen[name].value > 0.97 for name in names), seen.values()


@pytest.mark.parametrize("kind", ["noise", "identity"])
@pytest.mark.parametrize("task", ["regression", "ordinal", "multilabel"])
def test_values_and_labels_are_chance_too(task: str, kind: str) -> None:
    names = {
        "regression": ("ridge_spearman", "knn_spearman", "ridge_r2"),
        "ordinal": ("ridge_kappa", "knn_kappa"),
        "multilabel": ("ridge_labels", "knn_labels"),
    }[task]
    found: dict[str, list[float]] = {name: [] for name in names}
    for seed in range(24):
        z, _, owner = draw(Case((14, 10), 24), kind, seed)
        rng, patients = np.random.default_rng(seed), int(owner.max()) + 1
        truth: NDArray[Any] = {
            "regression": rng.normal(size=patients)[owner] + 0.2 * rng.normal(size=len(owner)),
            "ordinal": rng.integers(0, 4, patients)[owner],
            "multilabel": np.stack([rng.permutation(patients) < some for some in (5, 12)], axis=1)[owner].astype(int),
        }[task]
        seen = panel(z, truth, owner, scores=names, task=task, draws=2)
        for name in names:
            found[name].append(seen[name].value)
    for name, values in found.items():
        mean, error = mean_and_error(values)
        gap = mean - (0.5 if task == "multilabel" else 0)
        assert gap < 3 * error + 0.01, f"{name}: {mean:.3f} ± {error:.3f}"
        assert gap > -3 * error - 0.02 or name == "ridge_r2", f"{name}: {mean:.3f} ± {error:.3f}"  # R2 counts misses


def test_standard_errors_are_honest_where_nothing_can_be_known() -> None:
    """The spread of scores over data sets, in units of the standard errors that each of them states."""
    off, stated, found = [], [], []
    for seed in range(150):
        z, y, owner = draw(Case((18, 18), 12), "identity", 1000 + seed)
        folds = judging_folds(y, owner)
        scores = nearest_mean(z, y, folds, classes=2)
        value = score("balanced_accuracy", y, scores, folds)
        error = standard_error(
            bootstrap(y, scores, owner, metrics=("balanced_accuracy",), draws=200, folds=folds)["balanced_accuracy"]
        )
        off.append(abs(value - 0.5) < 2 * error)
        stated.append(error)
        found.append(value)
    assert np.mean(off) > 0.85
    assert 0.75 < np.mean(stated) / np.std(found) < 1.25


@given(
    patients=st.integers(4, 60), classes=st.integers(2, 5), most=st.sampled_from([None, 2, 5]), seed=st.integers(0, 999)
)
def test_folds_hold_patients_whole_and_every_class_that_can_be_judged(
    patients: int, classes: int, most: int | None, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    kind = rng.integers(0, classes, patients)
    owner = rng.permutation(np.repeat(np.arange(patients), rng.integers(1, 9, patients)))
    y = kind[owner]
    folds = judging_folds(y, owner, most=most)
    assert all(len(set(folds[owner == patient])) == 1 for patient in range(patients))
    of_class = np.bincount(kind, minlength=classes)
    judged = np.flatnonzero(of_class > 1)
    count = int(folds.max()) + 1
    if len(judged) < 2:
        assert count == 1
        return
    assert count <= min(of_class[judged].min(), most or patients)
    assert count >= min(of_class[judged].min(), most or 10)
    for fold in range(count):
        assert set(judged) <= set(y[folds == fold])
    np.testing.assert_array_equal(folds, judging_folds(y, owner, most=most))


@settings(max_examples=30)
@given(seed=st.integers(0, 999), classes=st.integers(2, 4))
def test_metrics_within_folds_by_their_definition(seed: int, classes: int) -> None:
    rng = np.random.default_rng(seed)
    owner = np.arange(60) // 2
    y = np.r_[np.arange(classes).repeat(4), rng.integers(0, classes, 30 - 4 * classes)][owner]
    folds = grouped_folds(y, owner, 3)
    scores = np.round(rng.normal(size=(60, classes)) + np.eye(classes)[y], 1)
    recalls, areas = [], []
    for c in range(classes):
        parts = [fold for fold in range(3) if ((folds == fold) & (y == c)).any()]
        recalls.append(np.mean([np.mean(scores[(folds == f) & (y == c)].argmax(1) == c) for f in parts]))
        right = pairs = 0.0
        for fold in range(3):
            a, b = scores[(folds == fold) & (y == c), c], scores[(folds == fold) & (y != c), c]
            right += float(np.sum(a[:, None] > b) + 0.5 * np.sum(a[:, None] == b))
            pairs += len(a) * len(b)
        areas.append(right / pairs)
    assert score("balanced_accuracy", y, scores, folds) == pytest.approx(np.mean(recalls))
    assert score("macro_auroc", y, scores, folds) == pytest.approx(np.mean(areas))
    for metric in ("balanced_accuracy", "macro_auroc", "accuracy"):
        drawn = bootstrap(y, scores, owner, metrics=(metric,), draws=64, folds=folds)[metric]
        assert np.isfinite(drawn).all()
        again = bootstrap(y, scores, owner, metrics=(metric,), draws=64, folds=np.zeros(60, int))[metric]
        plain = bootstrap(y, scores, owner, metrics=(metric,), draws=64)[metric]
        if metric != "balanced_accuracy":
            np.testing.assert_allclose(again, plain)
    same = paired(y, scores, scores, owner, folds=folds, draws=50)
    assert (same.value, same.low, same.high, same.se) == (0, 0, 0, 0)


def test_a_class_of_one_patient_is_not_judged() -> None:
    y, owner = np.array([0, 0, 0, 1, 1, 1, 2, 2]), np.array([0, 1, 2, 3, 4, 5, 6, 6])
    folds = judging_folds(y, owner)
    assert folds.max() == 2
    weights, scores = within_folds(y, np.tile([0.0, 0.1, 9.0], (8, 1)), folds)
    assert (weights[y == 2] == 0).all()
    assert (scores.argmax(1) != 2).all()
    assert score("balanced_accuracy", y, np.eye(3)[y], folds) == 1
    lonely = np.array([0, 0, 0, 1, 1]), np.array([0, 1, 2, 3, 3])
    assert (judging_folds(*lonely) == 0).all()  # two classes, one patient of one of them: nothing can be known
    z = standardise(np.random.default_rng(0).normal(size=(5, 3)))
    assert (ridge(z, lonely[0], judging_folds(*lonely), classes=2).scores == 0).all()


def test_neighbours_see_the_same_bank_for_every_class_of_a_fold() -> None:
    """k-NN with patients left out one by one lies below chance where a class has few: here at .26 of .5."""
    below: list[float] = []
    level: list[float] = []
    for seed in range(20):
        z, y, owner = draw(Case((2, 20), 16), "noise", seed)
        folds = judging_folds(y, owner)
        for groups, found in ((owner, below), (folds, level)):
            votes = knn_votes(z, y, classes=2, groups=groups, ks=(20,), temperatures=(0.07,))[0, 0]
            found.append(score("balanced_accuracy", y, votes, None if groups is owner else folds))
    assert np.mean(below) < 0.47
    assert abs(mean_and_error(level)[0] - 0.5) < 3 * mean_and_error(level)[1]
