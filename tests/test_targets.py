"""Classification as a target: its score, its head, its choices."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score
from sklearn.metrics import log_loss as reference_loss

from autossl.data.truth import Classes
from autossl.errors import UserError
from autossl.proxies import logistic
from autossl.targets import Score, Seen, target_class
from autossl.targets.classification import Classification
from autossl.targets.log_loss import folds_of, log_loss


def blobs(n: int = 200, d: int = 12, classes: int = 4, spread: float = 1.5) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    y = np.arange(n) % classes
    centres = rng.normal(size=(classes, d)) * spread
    return (centres[y] + rng.normal(size=(n, d))).astype(np.float32), y


def of(classes: str) -> Classification:
    return Classification({"classes": list(classes)})


def scored(target: Classification, z: np.ndarray, y: np.ndarray, patients: np.ndarray | None = None) -> Score:
    return target.score(Seen.of(z), Classes(y, tuple(target.about["classes"])), patients)


def fitted(target: Classification, z: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The answers of a probe to what it was fitted on."""
    return target.probe(Seen.of(z), Classes(y, tuple(target.about["classes"])), None).answers(z)


def test_the_aligned_score_is_the_metric_of_what_it_predicted() -> None:
    z, y = blobs()
    score = scored(of("abcd"), z, y)
    folds, predicted = score.outcomes.columns["fold"], score.outcomes.columns["scores"].argmax(1)
    parts = [balanced_accuracy_score(y[folds == f], predicted[folds == f]) for f in range(folds.max() + 1)]
    assert score.outcomes.value("balanced_accuracy") == pytest.approx(score.value)
    assert score.value == pytest.approx(np.mean(parts), abs=1e-6)  # every fold has every class
    assert 0 < score.se < 0.1
    assert score.collapsed == ""
    assert {"knn", "auroc", "rankme"} <= set(score.proxies)


def test_a_constant_or_broken_embedding_is_collapsed() -> None:
    _, y = blobs()
    target = of("abcd")
    assert scored(target, np.ones((200, 12), np.float32), y).collapsed
    assert scored(target, np.full((200, 12), np.nan, np.float32), y).collapsed


def test_patients_are_left_out_together() -> None:
    rng = np.random.default_rng(0)
    patients = np.repeat(np.arange(40), 5)
    y = (np.arange(40) % 2)[patients]
    z = (rng.normal(size=(40, 30))[patients] + 0.05 * rng.normal(size=(200, 30))).astype(
        np.float32
    )  # only who, not what
    target = of("ab")
    assert scored(target, z, y, patients).value < 0.7
    assert scored(target, z, y).value > 0.9  # the leak that grouping closes


@pytest.mark.parametrize("classes", [2, 4])
def test_the_head_does_what_logistic_regression_does(classes: int) -> None:
    z, y = blobs(classes=classes)
    answers = fitted(of("abcd"[:classes]), z, y)
    scaled = (z - z.mean(0)) / (z.std(0) + 1e-6)
    chosen = logistic(scaled, y, None, classes=classes, folds=5, tolerance=1e-5).penalty
    model = LogisticRegression(C=1 / chosen, class_weight="balanced", max_iter=1000).fit(scaled, y)
    assert (answers.argmax(1) == model.predict(scaled)).mean() > 0.98


def test_a_class_without_a_label_is_never_predicted() -> None:
    z, y = blobs(classes=3)
    assert set(fitted(of("abcd"), z, y).argmax(1)) <= {0, 1, 2}


def test_the_loss_is_that_of_logits_with_classes_alike() -> None:
    rng = np.random.default_rng(0)
    y, logits = rng.choice(3, 200, p=(0.6, 0.3, 0.1)), rng.normal(size=(200, 3))
    shares = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    wanted = reference_loss(y, shares, sample_weight=1 / np.bincount(y)[y])
    assert log_loss(logits, y, np.arange(200) % 5) == pytest.approx(wanted)


def test_a_class_that_one_fold_holds_is_not_counted_and_one_group_leaves_nothing_to_tell() -> None:
    y = np.repeat([0, 1, 2], (40, 40, 10))
    fold = folds_of(y, np.where(y == 2, 0, np.arange(90)), 5)
    logits = np.eye(3)[np.where(y == 2, 0, y)] * 20.0
    assert len(set(fold[y == 2])) == 1
    assert log_loss(logits, y, fold) < 1e-6
    assert log_loss(logits, y, folds_of(y, np.zeros(90, np.int64), 5)) == pytest.approx(np.log(3))


@pytest.mark.parametrize("seed", range(3))
def test_labels_by_lot_are_chance_to_the_probe(seed: int) -> None:
    rng = np.random.default_rng(seed)
    patients = np.repeat(np.arange(90), 2)
    y = rng.permutation(np.arange(90) % 3)[patients]
    z = (rng.normal(size=(90, 30))[patients] + 0.1 * rng.normal(size=(180, 30))).astype(np.float32)
    found = of("abc").fitted(z, Classes(y, ("a", "b", "c")), patients)
    assert found.loss > np.log(3) - 0.03
    new, wanted = rng.normal(size=(600, 30)).astype(np.float32), np.arange(600) % 3
    assert abs(balanced_accuracy_score(wanted, found.readout.answers(new).argmax(1)) - 1 / 3) < 0.08


def test_unknown_tasks_and_metrics() -> None:
    with pytest.raises(UserError, match="juggling"):
        target_class("juggling")
    with pytest.raises(UserError, match="luck"):
        Classification({"classes": ["a", "b"]}, "luck")
