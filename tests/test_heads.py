"""Heads in closed form: each against its definition, and the choice between them by what others' labels say."""

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import log_loss as reference_loss

from autossl.proxies import balanced_accuracy, grouped_folds, logistic, ridge, shrinkage_lda
from autossl.targets import heads as module
from autossl.targets.heads import Head, best_head, folds_of, heads, log_loss

CLASSES = 3


def blobs(n: int = 150, d: int = 20, seed: int = 0, gap: float = 0.5) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    rng = np.random.default_rng(seed)
    y = np.arange(n) % CLASSES
    z = rng.normal(size=(n, d)) + gap * rng.normal(size=(CLASSES, d))[y]
    return ((z - z.mean(0)) / z.std(0)).astype(np.float32), y


def logits(head: Head, z: NDArray[np.float32]) -> NDArray[np.float64]:
    return np.asarray(z @ head.weights + head.intercept)


def balanced(scores: NDArray[np.floating], y: NDArray[np.int64]) -> float:
    shares = np.exp(scores - scores.max(1, keepdims=True))
    weights = 1 / np.bincount(y)[y]
    return float(reference_loss(y, shares / shares.sum(1, keepdims=True), sample_weight=weights))


@pytest.mark.parametrize("d", [20, 200])
def test_each_head_is_that_of_scikit_learn_up_to_its_scale(d: int) -> None:
    z, y = blobs(d=d)
    fold = folds_of(y, None, 5)
    log, rid, lda = heads(z, y, fold, CLASSES)
    model = LogisticRegression(C=1 / logistic(z, y, fold, classes=CLASSES).penalty, tol=1e-8, max_iter=5000).fit(z, y)
    np.testing.assert_allclose(
        np.exp(logits(log, z)) / np.exp(logits(log, z)).sum(1, keepdims=True), model.predict_proba(z), atol=0.02
    )
    by_ridge = Ridge(alpha=ridge(z, y, fold, classes=CLASSES).penalty).fit(z, np.eye(CLASSES)[y])
    shrinkage = shrinkage_lda(z, y, fold, classes=CLASSES).penalty
    by_lda = LinearDiscriminantAnalysis("lsqr", shrinkage=shrinkage, priors=np.ones(CLASSES) / CLASSES).fit(z, y)
    for head, own in ((rid, by_ridge.predict(z)), (lda, by_lda.decision_function(z))):
        own, found = (scores - scores.mean(1, keepdims=True) for scores in (own, logits(head, z)))
        scale = float((own * found).sum() / (own * own).sum())
        assert scale > 0
        np.testing.assert_allclose(found, scale * own, atol=2e-3 * np.abs(found).max())


def test_the_loss_is_that_of_predictions_without_the_fold_and_scales_are_the_best_of_other_folds() -> None:
    z, y = blobs(n=151, gap=0.3)
    fold = grouped_folds(y, np.arange(151) // 2, 5)
    log, rid, _ = heads(z, y, fold, CLASSES)
    scores = logistic(z, y, fold, classes=CLASSES).scores
    assert log.loss == pytest.approx(balanced(scores, y), rel=1e-3)
    left_out, own = ridge(z, y, fold, classes=CLASSES).scores.astype(np.float64), np.empty((151, 1))
    grid = np.exp(np.linspace(-5, 7, 2000))
    for k in range(5):
        others = fold != k
        own[~others] = grid[np.argmin([log_loss(left_out[others], y[others], fold[others], s) for s in grid])]
    assert rid.loss == pytest.approx(balanced(own * left_out, y), rel=5e-3)


def test_the_best_is_taken_and_fits_embeddings_as_they_are() -> None:
    z, y = blobs(d=200, gap=0.2)
    raw = 3 + z * np.linspace(0.1, 9, 200, dtype=np.float32)
    best = best_head(raw, y, None, CLASSES)
    among = heads(z, y, folds_of(y, None, 5), CLASSES)
    assert best.loss == pytest.approx(min(head.loss for head in among), rel=1e-3)
    same = next(head for head in among if head.words == best.words)
    np.testing.assert_allclose(raw @ best.weights + best.intercept, logits(same, z), atol=1e-2)


@pytest.mark.parametrize("seed", range(3))
def test_labels_by_lot_are_chance(seed: int) -> None:
    rng = np.random.default_rng(seed)
    patients = np.repeat(np.arange(90), 2)
    y = rng.permutation(np.arange(90) % CLASSES)[patients]
    z = (rng.normal(size=(90, 30))[patients] + 0.1 * rng.normal(size=(180, 30))).astype(np.float32)
    fold = folds_of(y, patients, 5)
    found = heads(z, y, fold, CLASSES)
    assert min(head.loss for head in found) > np.log(CLASSES) - 0.03
    new, wanted = rng.normal(size=(600, 30)).astype(np.float32), np.arange(600) % CLASSES
    for head in found:
        assert abs(balanced_accuracy(wanted, logits(head, new).argmax(1)) - 1 / CLASSES) < 0.08
    assert all(len(set(fold[patients == patient])) == 1 for patient in range(90))


def test_classes_of_one_patient_are_not_counted_and_one_patient_leaves_nothing_to_choose_by() -> None:
    z, y = blobs()
    y, groups = np.where(np.arange(150) < 10, 2, y % 2), np.where(np.arange(150) < 10, 0, np.arange(150))
    for head in heads(z, y, folds_of(y, groups, 5), CLASSES):
        assert np.isfinite(head.loss)
        assert head.loss < 2
    best = best_head(z, y, np.zeros(150, np.int64), CLASSES)
    assert best.words == "a logistic probe"
    assert best.loss == pytest.approx(np.log(CLASSES))


def test_many_labels_are_left_to_the_logistic_head(monkeypatch: pytest.MonkeyPatch) -> None:
    z, y = blobs()
    monkeypatch.setattr(module, "MANY", 150)
    assert [head.words for head in heads(z, y, folds_of(y, None, 2), CLASSES)] == ["a logistic probe"]
    assert best_head(z, y, None, CLASSES).loss < np.log(CLASSES)
