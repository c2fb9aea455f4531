"""Metrics of values, labels and overlaps, and their bootstraps, against slow definitions, scikit-learn and SciPy."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import spearmanr
from sklearn.metrics import average_precision_score, cohen_kappa_score, f1_score, jaccard_score, roc_auc_score

from autossl.proxies.bootstrap import bootstrap, bootstrap_mean
from autossl.proxies.measures import METRICS, score

Array = NDArray[np.float64]


def slow_precision(positive: NDArray[np.bool_], scores: Array) -> float:
    """Over thresholds from the top: the gain in recall times the precision there."""
    total, recall = 0.0, 0.0
    for threshold in sorted(set(scores.tolist()), reverse=True):
        chosen = scores >= threshold
        reached = positive[chosen].sum() / positive.sum()
        total += (reached - recall) * positive[chosen].mean()
        recall = reached
    return total


def slow_area(positive: NDArray[np.bool_], scores: Array) -> float:
    up, down = scores[positive][:, None], scores[~positive]
    return float(np.mean((up > down) + 0.5 * (up == down)))


def slow_ranks(values: Array) -> Array:
    return np.array([(values < v).sum() + ((values == v).sum() + 1) / 2 for v in values])


def slow_spearman(truth: Array, guess: Array) -> float:
    if len(np.unique(truth)) < 2:
        return float("nan")
    if len(np.unique(guess)) < 2:
        return 0.0
    return float(np.corrcoef(slow_ranks(truth), slow_ranks(guess))[0, 1])


def slow_kappa(truth: NDArray[np.int64], guess: Array) -> float:
    """From the table of ratings, as Cohen defines it."""
    low, high = truth.min(), truth.max()
    predicted = np.clip(np.rint(guess), low, high).astype(int)
    levels = np.arange(low, high + 1)
    observed = np.array([[np.mean((truth == a) & (predicted == b)) for b in levels] for a in levels])
    weights = (levels[:, None] - levels) ** 2
    expected = np.outer(observed.sum(1), observed.sum(0))
    chance = (weights * expected).sum()
    return float(1 - (weights * observed).sum() / chance) if chance > 0 else float("nan")


def slow_overlap(shares: Array, scores: Array) -> tuple[float, float]:
    found = []
    for c in range(scores.shape[1]):
        if shares[:, c].sum() > 0:
            inside = sum(row[c] for row, s in zip(shares, scores, strict=True) if s.argmax() == c)
            total = shares[:, c].sum() + (scores.argmax(1) == c).sum()
            found.append((2 * inside / total, inside / (total - inside)))
    dice, iou = np.mean(found, axis=0) if found else (np.nan, np.nan)
    return float(dice), float(iou)


def mean_or_nan(values: list[float]) -> float:
    kept = [v for v in values if not np.isnan(v)]
    return float(np.mean(kept)) if kept else float("nan")


@given(n=st.integers(1, 50), t=st.integers(1, 4), steps=st.integers(1, 6), seed=st.integers(0, 99))
def test_metrics_follow_their_definitions_with_ties(n: int, t: int, steps: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    truth, guess = rng.integers(0, steps, (n, t)), rng.integers(-1, steps + 1, (n, t)).astype(float) / 2
    spears = [slow_spearman(truth[:, j].astype(float), guess[:, j]) for j in range(t)]
    assert score("spearman", truth, guess) == pytest.approx(mean_or_nan(spears), nan_ok=True, abs=1e-12)
    kappa = slow_kappa(truth[:, 0], guess[:, 0])
    assert score("quadratic_kappa", truth[:, 0], guess[:, 0]) == pytest.approx(kappa, nan_ok=True, abs=1e-12)
    labels = rng.integers(0, 2, (n, t))
    both = [j for j in range(t) if 0 < labels[:, j].sum() < n]
    areas = [slow_area(labels[:, j] == 1, guess[:, j]) for j in both]
    precisions = [slow_precision(labels[:, j] == 1, guess[:, j]) for j in both]
    assert score("multilabel_auroc", labels, guess) == pytest.approx(mean_or_nan(areas), nan_ok=True)
    assert score("average_precision", labels, guess) == pytest.approx(mean_or_nan(precisions), nan_ok=True)
    y = rng.integers(0, t, n)
    seen = [c for c in range(t) if 0 < (y == c).sum() < n]
    precisions = [slow_precision(y == c, guess[:, c]) for c in seen]
    assert score("average_precision", y, guess) == pytest.approx(mean_or_nan(precisions), nan_ok=True)
    shares = rng.integers(0, 3, (n, t)) / 2 / t
    for given_truth, expected in ((y, slow_overlap(np.eye(t)[y], guess)), (shares, slow_overlap(shares, guess))):
        found = score("dice", given_truth, guess), score("miou", given_truth, guess)
        assert found == pytest.approx(expected, nan_ok=True)


def test_metrics_agree_with_scikit_learn_and_scipy() -> None:
    rng = np.random.default_rng(0)
    values, guess = rng.normal(size=(200, 3)).round(1), rng.normal(size=(200, 3)).round(1)
    guess += values
    expected = np.mean([spearmanr(values[:, j], guess[:, j]).statistic for j in range(3)])
    assert score("spearman", values, guess) == pytest.approx(expected)
    grades = rng.integers(2, 7, 200)
    blurred = grades + rng.normal(size=200)
    rated = np.clip(np.rint(blurred), 2, 6).astype(int)
    assert score("quadratic_kappa", grades, blurred) == pytest.approx(
        cohen_kappa_score(grades, rated, weights="quadratic")
    )
    labels = (values > 0.5).astype(int)
    assert score("multilabel_auroc", labels, guess) == pytest.approx(roc_auc_score(labels, guess))
    assert score("average_precision", labels, guess) == pytest.approx(average_precision_score(labels, guess))
    y = rng.integers(0, 3, 200)
    assert score("average_precision", y, guess) == pytest.approx(average_precision_score(np.eye(3)[y], guess))
    predicted = guess.argmax(1)
    assert score("dice", y, guess) == pytest.approx(f1_score(y, predicted, average="macro"))
    assert score("miou", y, guess) == pytest.approx(jaccard_score(y, predicted, average="macro"))
    assert score("dice", np.eye(3)[y], guess) == pytest.approx(score("dice", y, guess))


def sample(metric: str, rng: np.random.Generator, n: int, t: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """Truth and scores such as the metric takes, with ties."""
    scores = rng.integers(0, 5, (n, t)) / 2
    if metric in ("r2", "mae", "spearman"):
        return rng.integers(0, 4, (n, t)).astype(float), scores
    if metric == "quadratic_kappa":
        return rng.integers(-1, 3, n), scores[:, 0]
    if metric == "multilabel_auroc" or (metric == "average_precision" and n % 2):
        return rng.integers(0, 2, (n, t)), scores
    if metric in ("map_at_10", "r_precision"):
        found = rng.random((n, 2))
        found[rng.random((n, 2)) < 0.2] = np.nan
        return rng.integers(0, t, n), found
    if "pixels" in METRICS[metric].kinds:
        truth, said = rng.integers(0, 9, (n, t)), rng.integers(0, 9, (n, t))
        near, far = np.where(truth, rng.random((2, n, t)), np.nan)
        objects = rng.integers(0, 4, (2, n, t))
        facts = (
            np.minimum(truth, said),
            said,
            near,
            9 * far,
            objects.max(0),
            objects.min(0),
            rng.integers(0, 3, (n, t)),
        )
        return truth, np.stack(facts, axis=2)
    if metric in ("psnr_gain", "psnr", "ssim", "nmse"):
        found = rng.random((n, 2))
        found[rng.random(n) < 0.2, 1] = np.nan  # a likeness that nobody asked for
        return rng.random((n, 2)) * rng.integers(0, 2, (n, 2)), found
    if metric in ("ap50", "mean_ap", "froc_score"):
        return detections(rng, n, t)
    if metric in ("dice", "miou") and n % 2:
        return rng.dirichlet(np.ones(t), n) * rng.integers(0, 2, (n, t)), scores
    return rng.integers(0, t, n), scores


def detections(rng: np.random.Generator, n: int, t: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """Rows of images, with the objects of t classes, and of detections of one class, with ties."""
    y, scores = np.zeros((n, t), np.int64), np.full((n, t, 5), 0.0)
    scores[..., 0] = np.nan
    image, kind = rng.random(n) < 0.4, rng.integers(0, t, n)
    image[0] = True
    y[image], scores[image, :, 1] = rng.integers(0, 4, (image.sum(), t)), 1
    rows = np.flatnonzero(~image)
    scores[rows, kind[rows], 0], scores[rows, kind[rows], 1] = (
        rng.integers(0, 5, len(rows)),
        rng.integers(1, 3, len(rows)),
    )
    scores[rows, kind[rows], 2:] = rng.random((len(rows), 3)) < 0.5
    return y, scores


@pytest.mark.parametrize("metric", METRICS)
@settings(max_examples=40)
@given(n=st.integers(1, 40), t=st.integers(1, 4), patients=st.integers(1, 10), seed=st.integers(0, 99))
def test_each_draw_is_the_metric_of_the_resampled_patients(
    metric: str, n: int, t: int, patients: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    y, scores = sample(metric, rng, n, t)
    groups = rng.integers(0, patients, n)
    values = bootstrap(y, scores, groups, metrics=(metric,), draws=3, seed=seed)[metric]
    ids = np.unique(groups)
    picks = np.random.default_rng([seed, 0]).integers(0, len(ids), (3, len(ids)), dtype=np.int32)
    for value, picked in zip(values, picks, strict=True):
        rows = np.concatenate([np.flatnonzero(groups == ids[p]) for p in picked])
        assert value == pytest.approx(METRICS[metric].of(y[rows], scores[rows]), nan_ok=True, abs=1e-9)


def test_a_draw_in_which_a_metric_is_undefined_is_nan() -> None:
    y, scores = np.array([0, 1, 1, 1]), np.array([0.1, 0.4, 0.3, 0.2])
    kinds = ("r2", "spearman", "quadratic_kappa", "multilabel_auroc")
    drawn = bootstrap(y, scores, metrics=kinds, draws=60, seed=0)
    picks = np.random.default_rng([0, 0]).integers(0, 4, (60, 4), dtype=np.int32)
    alone = np.array([len(np.unique(y[picked])) < 2 for picked in picks])
    assert 0 < alone.sum() < 60
    for metric in kinds:
        np.testing.assert_array_equal(np.isnan(drawn[metric]), alone)


def test_a_mean_over_samples_is_drawn_by_patient() -> None:
    rng = np.random.default_rng(1)
    values, groups = rng.normal(size=80), rng.integers(0, 9, 80)
    values[::7] = np.nan
    drawn = bootstrap_mean(values, groups, draws=70, seed=4)
    picks = np.random.default_rng([4, 64]).integers(0, 9, (6, 9), dtype=np.int32)
    expected = [float(np.nanmean(np.concatenate([values[groups == p] for p in picked]))) for picked in picks]
    np.testing.assert_allclose(drawn[64:], expected)
    assert np.isnan(bootstrap_mean([np.nan, np.nan], draws=2)).all()
    with pytest.raises(ValueError, match="values must be a vector"):
        bootstrap_mean(np.ones((2, 2)))


def test_every_metric_has_words_a_range_and_a_best() -> None:
    assert len({row.words for row in METRICS.values()}) == len(METRICS)
    y, rng = np.arange(40) % 2, np.random.default_rng(0)
    for name, row in METRICS.items():
        assert row.kinds
        if row.kinds & {"pixels", "queries", "images", "boxes"}:
            continue
        truth = y if "classes" in row.kinds else y[:, None].astype(float)
        perfect = np.eye(2)[y] if "classes" in row.kinds else truth
        if name in ("dice", "miou"):
            truth = perfect
        noise = rng.normal(size=perfect.shape)
        if name in ("dice", "miou"):
            noise = np.eye(2)[rng.permutation(y)]
        best, worse = row.of(truth, perfect), row.of(truth, noise)
        assert row.low <= worse <= row.high
        assert best == pytest.approx(row.high if row.better == "higher" else row.low)
        assert row.worth(best) > row.worth(worse)


def test_metrics_are_written_with_their_digits_and_sign() -> None:
    assert METRICS["accuracy"].text(0.5) == "0.500"
    assert METRICS["accuracy"].text(0.5, signed=True) == "+0.500"
    assert METRICS["mae"].text(123456.0) == "123500"
    assert METRICS["mae"].worth(2.0) == -2.0


def test_mean_absolute_error_is_that_of_the_definition() -> None:
    rng = np.random.default_rng(0)
    y, guess = rng.normal(size=(2, 30, 2))
    assert METRICS["mae"].of(y, guess) == pytest.approx(
        np.mean([np.mean(np.abs(y[:, t] - guess[:, t])) for t in (0, 1)])
    )


def test_dice_of_images_is_that_of_their_masks() -> None:
    rng = np.random.default_rng(0)
    truth, guess = rng.integers(0, 3, (2, 6, 50))
    truth[0] = 0  # an image without a structure: what is found there counts where images are pooled only
    y = np.stack([(truth == kind).sum(1) for kind in (1, 2)], axis=1)
    both = np.stack([((truth == kind) & (guess == kind)).sum(1) for kind in (1, 2)], axis=1)
    scores = np.stack([both, np.stack([(guess == kind).sum(1) for kind in (1, 2)], axis=1)], axis=2)
    whole = [f1_score((truth == kind).ravel(), (guess == kind).ravel()) for kind in (1, 2)]
    pairs = list(zip(truth[1:], guess[1:], strict=True))
    each = [float(f1_score(t == kind, g == kind)) for kind in (1, 2) for t, g in pairs]
    overlap = [jaccard_score((truth == kind).ravel(), (guess == kind).ravel()) for kind in (1, 2)]
    assert score("pooled_dice", y, scores) == pytest.approx(np.mean(whole))
    assert score("case_dice", y, scores) == pytest.approx(np.mean(each))
    assert score("pooled_iou", y, scores) == pytest.approx(np.mean(overlap))
    assert score("pooled_dice", y, np.stack([y, y], axis=2)) == score("case_dice", y, np.stack([y, y], axis=2)) == 1
    assert np.isnan(score("pooled_dice", np.zeros((2, 1)), np.zeros((2, 1, 2))))


def test_metrics_of_restored_images_are_those_of_their_definitions() -> None:
    y, scores = np.array([[0.1, 0.5], [0.1, 0.0]]), np.array([[0.01, 0.9], [1e-12, np.nan]])
    assert score("psnr_gain", y, scores) == pytest.approx((10 + 90) / 2)
    assert score("psnr", y, scores) == pytest.approx((20 + 100) / 2)  # equal images: 100 dB
    assert score("ssim", y, scores) == 0.9  # of the one in which it is known
    assert score("nmse", y, scores) == pytest.approx(0.02)  # a black target has none
    with pytest.raises(ValueError, match="two numbers for each image"):
        score("psnr", y[:, :1], scores)


def test_edges() -> None:
    assert score("spearman", [1.0, 2, 3], np.zeros(3)) == 0
    assert np.isnan(score("spearman", [1.0, 1], [1.0, 2]))
    assert score("spearman", np.array([1, 2, 4], np.float16), np.exp([1.0, 2, 4])) == pytest.approx(1)
    assert score("quadratic_kappa", [0, 4, 2], [-9.0, 9.0, 2.4]) == 1  # rounded and clipped
    assert score("quadratic_kappa", [0, 1], [1.0, 0.0]) == -1
    assert np.isnan(score("quadratic_kappa", [3, 3], [1.0, 5.0]))
    assert np.isnan(score("average_precision", [1, 1], np.eye(2)))
    assert score("dice", np.array([[0.5, 0.5]]), np.array([[1.0, 0.0]])) == pytest.approx((2 * 0.5 / 1.5 + 0) / 2)
    assert np.isnan(score("miou", np.zeros((2, 2)), np.eye(2)))


def test_bad_input_is_told_in_one_sentence() -> None:
    with pytest.raises(ValueError, match="y must hold whole numbers"):
        score("quadratic_kappa", [0.5, 1], [0.0, 1])
    with pytest.raises(ValueError, match=r"scores must have the shape \(2, 1\), found \(2, 2\)"):
        score("quadratic_kappa", [0, 1], np.eye(2))
    with pytest.raises(ValueError, match="y must hold 0 or 1 for each label, found values from 0 to 2"):
        score("multilabel_auroc", [[0], [2]], np.eye(2)[:, :1])
    with pytest.raises(ValueError, match=r"y must hold shares in \[0, 1\], found -1 to 1"):
        score("dice", -np.eye(2) + 2 * np.array([[0, 0], [0, 1]]), np.eye(2))
    with pytest.raises(ValueError, match=r"scores must hold \(2, 1, 2\) numbers of pixels"):
        score("pooled_dice", [[1], [2]], np.ones((2, 1)))
    with pytest.raises(ValueError, match="scores must hold two numbers for each query"):
        score("map_at_10", [1, 2], np.ones(2))
    for metric in (name for name, row in METRICS.items() if not row.kinds & {"pixels", "queries", "images", "boxes"}):
        with pytest.raises(ValueError, match="finite"):
            bootstrap([0, 1], np.full((2, 2) if "classes" in METRICS[metric].kinds else 2, np.nan), metrics=(metric,))
