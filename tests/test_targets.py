"""Classification as a target: its score, its head, its choices."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score

from autossl.data.truth import Classes
from autossl.errors import UserError
from autossl.proxies import logistic
from autossl.targets import Score, Seen, target_class
from autossl.targets.classification import Classification


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


def test_unknown_tasks_and_metrics() -> None:
    with pytest.raises(UserError, match="juggling"):
        target_class("juggling")
    with pytest.raises(UserError, match="luck"):
        Classification({"classes": ["a", "b"]}, "luck")
