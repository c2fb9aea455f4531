"""Detections: matching, average precision and FROC against plain loops over thresholds, and what is easily wrong."""

from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from autossl.proxies import METRICS, Outcomes, score
from autossl.proxies.detections import OVERLAPS, RATES, curves, matched, overlapping

Array = NDArray[np.float64]


class Image(NamedTuple):
    """Detections by falling score, and what is true."""

    boxes: Array
    kinds: NDArray[np.int64]
    scores: Array
    truth: Array
    truth_kinds: NDArray[np.int64]


def drawn(rng: np.random.Generator, classes: int = 2) -> Image:
    """An image whose detections are its objects, moved, and some that are nothing."""

    def some(n: int) -> Array:
        corner = rng.random((n, 2))
        return np.hstack([corner, corner + rng.uniform(0.1, 0.4, (n, 2))])

    truth = some(int(rng.integers(0, 5)))
    kinds = rng.integers(0, classes, len(truth))
    boxes = np.vstack([truth + rng.normal(0, 0.03, truth.shape), truth + rng.normal(0, 0.06, truth.shape), some(3)])
    guess = np.concatenate([kinds, rng.integers(0, classes, len(boxes) - len(kinds))])
    scores = np.sort(rng.random(len(boxes)))[::-1]
    order = rng.permutation(len(boxes))
    return Image(boxes[order], guess[order], scores, truth, kinds)


def rows(images: list[Image], classes: int = 2) -> Outcomes:
    """As `Detection.judge` writes them."""
    y, scores, owner = [], [], []
    for number, image in enumerate(images):
        own = np.full((1 + len(image.boxes), classes, 2 + len(OVERLAPS)), 0.0)
        own[..., 0] = np.nan
        own[0, :, 1] = 1
        at = 1 + np.arange(len(image.boxes)), image.kinds
        own[(*at, 0)], own[(*at, 1)] = image.scores, 1
        own[at[0], at[1], 2:] = matched(image.boxes, image.kinds, image.truth, image.truth_kinds)
        y.append(np.vstack([np.bincount(image.truth_kinds, minlength=classes), np.zeros((len(image.boxes), classes))]))
        scores.append(own)
        owner.append(np.full(len(own), number))
    return Outcomes({"y": np.concatenate(y), "scores": np.concatenate(scores)}, np.concatenate(owner), len(images))


def area(a: Array, b: Array) -> float:
    wide, high = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    both = max(wide, 0) * max(high, 0)
    return float(both / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both))


def slow_hits(image: Image, least: float) -> list[bool]:
    free, hits = set(range(len(image.truth))), []
    for box, kind in zip(image.boxes, image.kinds, strict=True):
        alike = [(area(box, image.truth[t]), t) for t in free if image.truth_kinds[t] == kind]
        best = max([each for each in alike if each[0] >= least], default=None)
        free -= set() if best is None else {best[1]}
        hits.append(best is not None)
    return hits


def slow_lists(images: list[Image], kind: int, least: float) -> tuple[list[tuple[float, bool]], int]:
    """Detections of a class in all images by falling score, each with whether it finds something; and the objects."""
    found = []
    for image in images:
        pairs = zip(image.scores, image.kinds, slow_hits(image, least), strict=True)
        found += [(float(s), hit) for s, k, hit in pairs if k == kind]
    return sorted(found, reverse=True), sum(int((image.truth_kinds == kind).sum()) for image in images)


def slow_average(images: list[Image], kind: int, least: float) -> float:
    found, objects = slow_lists(images, kind, least)
    hits = np.cumsum([hit for _, hit in found])
    precision, recall = hits / np.arange(1, len(hits) + 1), hits / objects
    return float(np.mean([max(precision[recall >= level - 1e-9], default=0.0) for level in np.linspace(0, 1, 101)]))


def slow_froc(images: list[Image], kind: int) -> float:
    found, objects = slow_lists(images, kind, 0.5)
    each = []
    for rate in RATES:
        best = alarms = hits = 0
        for _, hit in found:
            hits, alarms = hits + hit, alarms + (not hit)
            best = hits if alarms <= rate * len(images) else best
        each.append(best / objects)
    return float(np.mean(each))


@given(seed=st.integers(0, 999), n=st.integers(1, 6))
def test_metrics_follow_their_definitions(seed: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    images = [drawn(rng) for _ in range(n)]
    images = [i._replace(scores=i.scores + rng.random(len(i.scores)) * 1e-6) for i in images]  # no ties between images
    there = [kind for kind in (0, 1) if any((image.truth_kinds == kind).any() for image in images)]
    found = rows(images)
    wanted: dict[str, list[float]] = {
        "ap50": [slow_average(images, kind, 0.5) for kind in there],
        "mean_ap": [float(np.mean([slow_average(images, kind, least) for least in OVERLAPS])) for kind in there],
        "froc_score": [slow_froc(images, kind) for kind in there],
    }
    for metric, each in wanted.items():
        mean = float(np.mean(each)) if each else float("nan")
        assert found.value(metric) == pytest.approx(mean, nan_ok=True, abs=1e-9)


def one(hits: list[bool], objects: int, images: int = 1) -> tuple[Array, Array]:
    """One class: detections by falling score in the first of some images."""
    y = np.zeros((images + len(hits), 1))
    y[0] = objects
    scores = np.full((len(y), 1, 3), 0.0)
    scores[:images, 0, 0] = np.nan
    scores[:, 0, 1] = 1
    scores[images:, 0, 0], scores[images:, 0, 2] = -np.arange(len(hits)), hits
    return y, scores


def test_what_is_missed_counts_and_images_without_objects_raise_false_alarms() -> None:
    assert score("ap50", *one([True], 1)) == 1
    assert score("ap50", *one([True], 2)) == pytest.approx(51 / 101)  # the recall of one half is reached, no more
    assert score("ap50", *one([], 2)) == score("froc_score", *one([], 2)) == 0
    assert np.isnan(score("ap50", *one([False], 0)))
    assert score("ap50", *one([False, True], 1)) == pytest.approx(0.5)
    assert score("froc_score", *one([False, True], 1)) == pytest.approx(4 / 7)  # at a rate of one and more
    assert score("froc_score", *one([False, True], 1, images=8)) == 1  # an eighth of 8 images is one false alarm


def test_detections_that_stand_for_several_count_as_often() -> None:
    y, scores = one([True, False, True], 2)
    scores[2, 0, 1] = 3
    again = one([True, False, False, False, True], 2)
    assert score("ap50", y, scores) == pytest.approx(score("ap50", *again))
    sensitivity, precision, alarms = curves(y, scores)[0]
    np.testing.assert_allclose(sensitivity, [0.5, 0.5, 1])
    np.testing.assert_allclose(precision, [1, 0.25, 0.4])
    np.testing.assert_allclose(alarms, [0, 3, 3])


def test_boxes_that_touch_or_have_no_area_do_not_overlap() -> None:
    boxes = np.array([[0, 0, 1, 1], [1, 0, 2, 1], [0.5, 0, 1.5, 1], [0, 0, 0, 0]], float)
    np.testing.assert_allclose(overlapping(boxes, boxes[:1])[:, 0], [1, 0, 1 / 3, 0])
    assert overlapping(boxes[3:], boxes[3:])[0, 0] == 0
    assert matched(boxes, np.zeros(4, np.int64), np.zeros((0, 4)), np.zeros(0, np.int64)).sum() == 0


def test_networks_with_other_numbers_of_detections_are_compared_in_pairs() -> None:
    rng = np.random.default_rng(0)
    images = [drawn(rng) for _ in range(12)]
    fewer = [i._replace(boxes=i.boxes[:2], kinds=i.kinds[:2], scores=i.scores[:2]) for i in images]
    first, second = rows(images), rows(fewer)
    groups = np.arange(12) // 2
    gap = first.minus(second, "ap50", groups, draws=50)
    assert gap.value == pytest.approx(first.value("ap50") - second.value("ap50"))
    assert gap.low <= gap.value <= gap.high
    assert first.minus(first, "mean_ap", groups, draws=20).se == 0
    with pytest.raises(ValueError, match="the same samples"):
        first.minus(rows(images[::-1]), "ap50", groups)
    folds = np.arange(12) % 3
    assert first.within(folds).minus(second.within(folds), "ap50", groups, draws=50) == gap
    with pytest.raises(ValueError, match="the same folds"):
        first.within(folds).minus(second.within(folds[::-1]), "ap50", groups, draws=2)
    halves = Outcomes.joined([rows(images[:5]), rows(images[5:])])
    assert halves.value("froc_score") == pytest.approx(first.value("froc_score"))
    assert np.nanmean([first.column(at).value("ap50") for at in (0, 1)]) == pytest.approx(first.value("ap50"))
    assert first.each("ap50")[3] == pytest.approx(rows([images[3]]).value("ap50"), nan_ok=True)


@pytest.mark.parametrize("shape", [(4, 2), (4, 1, 3), (3, 2, 3), (4, 2, 2)])
def test_other_shapes_are_refused(shape: Any) -> None:
    with pytest.raises(ValueError, match="of detections were wanted"):
        METRICS["ap50"].of(np.zeros((4, 2)), np.zeros(shape))
