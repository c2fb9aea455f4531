"""Where objects are and of which class: by ridge on cells of all maps in the search, by a detector at the end."""

from collections.abc import Sequence
from functools import partial
from typing import Any, ClassVar, final

import numpy as np
from numpy.typing import NDArray

from autossl.data.frame import carried
from autossl.data.fresh import Fresh
from autossl.data.truth import Boxes, Truth
from autossl.data.truth.spots import Spots
from autossl.nn.encoder import Encoder
from autossl.nn.sight import MAPS, PLAIN, Sight
from autossl.proxies import Outcomes, participation_ratio, rankme, ridge, standard_error
from autossl.proxies.detections import OVERLAPS, matched
from autossl.targets.base import Judged, Probed, Score
from autossl.targets.cells import FEWER, Cells, looked, scaled, shares, votes
from autossl.targets.detector import REACH, UNIT, Detector
from autossl.targets.readout import Readout
from autossl.targets.seen import Seen

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

PROBED = 8000  # places at which the probe at the end is fitted
RIM = 0.3  # of those beside centres that lie within objects: a score is to be highest in the middle
STEPS = 25  # of Newton's method, of which a few are enough
SMALL = 1e-3  # penalty of a slope, so that scores that tell all apart have one
DRAWS = 200
TOLD = 0.05  # least score of a box that is written into a table
COUNTED = 0.5  # score from which on an object counts as found in a table of images


@final
class Detection(Judged):
    """Boxes around objects of classes; precision and sensitivity are means over classes."""

    task: ClassVar = "detection"
    form: ClassVar = Boxes
    metrics: ClassVar = ("ap50", "mean_ap", "froc_score")
    shown: ClassVar = {"knn": "dense_knn", "rankme": "rankme", "participation": "participation"}
    headings: ClassVar = {"knn": "k-NN", "rankme": "RankMe"}
    hub: ClassVar = "object-detection"
    figure: ClassVar = "boxes"
    rows: ClassVar = "boxes"
    scored: ClassVar = "AP of cells"
    trained: ClassVar = 2.0
    mixes: ClassVar = False
    decodes: ClassVar = True
    least_passes: ClassVar = 20
    curved: ClassVar = False

    @property
    def classes(self) -> tuple[str, ...]:
        """What is to be found."""
        return tuple(self.about.get("objects", ()))

    def score(self, seen: Seen, truth: Truth, groups: Ints | None) -> Score:
        """Ridge on cells, whole patients left out: are centres of objects told from what lies beside them?

        Every object that was drawn counts, found or not; a place beside all of them stands for as many false
        positives as objects would fit there. Places are drawn from the boxes alone, alike for all candidates.
        """
        boxes = _boxes(truth)
        spots, cells = looked(seen, boxes.spots)
        if not np.isfinite(cells.z).all():
            guess = np.zeros((len(spots.sample), len(self.classes)))
            return Score(0.0, 0.0, {}, cells.broken or "it is not finite", self._outcomes(spots, guess, len(boxes)))
        owner = _owner(boxes, groups)[spots.sample]
        fit = shares(cells, spots.kind, owner, len(self.classes) + 1)
        outcomes = self._outcomes(spots, fit.scores[:, 1:], len(boxes))
        drawn = outcomes.drawn((self.metric,), groups, draws=DRAWS)[self.metric]
        some, found = votes(cells, spots.kind, owner, len(self.classes) + 1)
        near = self._outcomes(spots.taken(some), found[:, 1:], len(boxes))
        shown = {
            "knn": near.value("ap50"),
            "rankme": rankme(cells.pooled),
            "participation": participation_ratio(cells.pooled),
        }
        return Score(outcomes.value(self.metric), standard_error(drawn), shown, cells.broken, outcomes)

    def _outcomes(self, spots: Spots, guess: NDArray[np.floating], n: int) -> Outcomes:
        """Places as detections of every class, by what is guessed of them (k, classes); objects are those drawn."""
        kinds = np.arange(1, len(self.classes) + 1)
        hits = spots.kind[:, None] == kinds
        images = np.zeros((n, len(kinds)))
        np.add.at(images, spots.sample, hits)
        rows = np.stack([guess.astype(np.float64), np.repeat(spots.weight[:, None], len(kinds), axis=1), hits], axis=2)
        return _joined(images, rows, spots.sample, 1)

    def probe(self, seen: Seen, truth: Truth, groups: Ints | None, sights: Sequence[Sight] = (PLAIN,)) -> Readout:
        """Ridge on cells of all maps, as a convolution: of classes, and of the distances to an object's borders."""
        boxes = _boxes(truth)
        spots, cells = looked(seen, partial(boxes.spots, rim=RIM), PROBED)
        owner = _owner(boxes, groups)[spots.sample]
        fit = shares(cells, spots.kind, owner, len(self.classes) + 1)
        slopes, offsets = np.array(
            [
                _logistic(fit.scores[:, kind], spots.kind == kind, np.maximum(spots.weight, 1.0))
                for kind in range(1, len(self.classes) + 1)
            ]
        ).T
        sides, at = _sides(cells, spots, owner)
        weights = np.hstack([fit.weights[:, 1:] * slopes, sides])
        intercept = np.concatenate([fit.intercept[1:] * slopes + offsets, at])
        made = Detector.of(np.split(weights, np.cumsum(cells.widths)[:-1]), intercept)
        made.words = "a linear probe"
        return made

    def sights(self, turned: bool) -> tuple[Sight, ...]:
        """All maps, as they are."""
        return (MAPS,)

    def fitted(self, z: NDArray[np.float32], truth: Truth, groups: Ints | None) -> Probed:
        """Never: a probe needs maps."""
        raise AssertionError("embeddings of whole images say nothing of their places")

    def transfer(self, seen: Seen, truth: Truth, groups: Ints | None, new: Seen) -> NDArray[Any]:
        """Detections by the probe."""
        return new.answers(self.probe(seen, truth, groups))

    def readout(self, encoder: Encoder, truth: Truth) -> Detector:
        """A decoder whose last layer begins at zero."""
        return Detector(encoder.pyramid_channels, len(self.classes))

    def judge(self, raw: NDArray[Any], truth: Truth, groups: Ints | None = None) -> Outcomes:
        """A row for each image, with its objects, and one for each detection: does it find one of them?"""
        boxes, kinds = _boxes(truth), len(self.classes)
        images, rows, owner = np.zeros((len(truth), kinds)), list[Floats](), list[Ints]()
        for sample, found in enumerate(raw):
            own, named = boxes.of(sample)
            images[sample] = np.bincount(named, minlength=kinds)
            some = found[found[:, 5] >= 0].astype(np.float64)
            guess = some[:, 5].astype(np.int64)
            table = np.zeros((len(some), kinds, 2 + len(OVERLAPS)))
            table[..., 0] = np.nan
            at = np.arange(len(some)), guess
            table[(*at, 0)], table[(*at, 1)] = some[:, 4], 1
            table[at[0], at[1], 2:] = matched(some[:, :4], guess, own, named)
            rows.append(table)
            owner.append(np.full(len(some), sample))
        return _joined(images, np.concatenate(rows), np.concatenate(owner), len(OVERLAPS))

    def table(self, raw: NDArray[Any], found: Fresh) -> dict[str, list[Any]]:
        """A row for each box, in pixels of the image as it was given, the surest of an image first."""
        size, rows = found.images.shape[1], list[tuple[Any, ...]]()
        for name, given, answer in zip(found.names, found.given, raw, strict=True):
            some = answer[(answer[:, 5] >= 0) & (answer[:, 4] >= TOLD)].astype(np.float64)
            sides = np.array(given.sides)
            corners = carried(some[:, :4].reshape(-1, 2), sides, size, back=True)
            boxes = np.clip(corners, 0, sides[::-1]).reshape(-1, 4).round(2).tolist()
            named = [self.classes[int(kind)] for kind in some[:, 5]]
            rows += [
                (name, *box, kind, round(score, 4))
                for box, kind, score in zip(boxes, named, some[:, 4].tolist(), strict=True)
            ]
        columns = ("image", "x0", "y0", "x1", "y1", "label", "score")
        return {column: [row[at] for row in rows] for at, column in enumerate(columns)}

    @property
    def parts(self) -> tuple[str, ...]:
        return self.classes

    def answer(self, raw: NDArray[Any]) -> dict[str, list[Any]]:
        """How many objects of each class an image shows."""
        sure = raw[..., 4] >= COUNTED
        return {name: (sure & (raw[..., 5] == kind)).sum(1).tolist() for kind, name in enumerate(self.classes)}

    def probe_seconds(self, labels: int, dim: int) -> float:
        """Ridge on cells; the pass over the images is counted elsewhere."""
        return 0.2 + 4.0 * PROBED * (2.0 * dim) ** 2 / 20e9


def _boxes(truth: Truth) -> Boxes:
    assert isinstance(truth, Boxes)
    assert truth.known.all(), "boxes that are not known, or were withheld"
    return truth


def _owner(boxes: Boxes, groups: Ints | None) -> Ints:
    return np.arange(len(boxes)) if groups is None else groups


def _joined(images: Floats, rows: Floats, owner: Ints, overlaps: int) -> Outcomes:
    """Images (n, classes) with their objects, and detections (k, classes, 2 + overlaps) of images `owner` (k,)."""
    n, kinds = images.shape
    first = np.zeros((n, kinds, 2 + overlaps))
    first[..., 0], first[..., 1] = np.nan, 1
    columns = {
        "y": np.concatenate([images, np.zeros((len(rows), kinds))]).astype(np.float32),
        "scores": np.concatenate([first, rows]).astype(np.float32),
    }
    return Outcomes(columns, np.concatenate([np.arange(n), owner]), n)


def _sides(cells: Cells, spots: Spots, owner: Ints) -> tuple[Floats, Floats]:
    """Weights (d, 4) and intercepts (4,) of the logarithms of distances from centres to the borders, by ridge."""
    some = spots.kind > 0
    y, x = spots.where[some].T
    box = spots.box[some]
    away = np.stack([x - box[:, 0], y - box[:, 1], box[:, 2] - x, box[:, 3] - y], axis=1)
    wanted = np.log(np.maximum(away / UNIT, np.exp(-REACH)))
    rows, mean, spread = scaled(cells)
    fit = ridge(rows[some], wanted, owner[some], penalties=FEWER)
    weights = fit.weights / spread[:, None]
    return weights, fit.intercept - mean @ weights


def _logistic(scores: NDArray[np.floating], there: NDArray[np.bool_], weight: Floats) -> tuple[float, float]:
    """Slope and offset of the logit of a score, by weighted logistic regression (Platt 1999), by Newton's method.

    Scores were predicted without their patient, so that slopes are not those of what was learnt by heart.
    """
    spread = float(scores.std()) + 1e-12
    rows = np.stack([scores / spread, np.ones(len(scores))], axis=1)
    share = float((weight * there).sum() / weight.sum())
    found = np.array([0.0, np.log(max(share, 1e-6) / max(1 - share, 1e-6))])
    ridged = np.array([SMALL * weight.sum(), 1e-9])
    for _ in range(STEPS):
        p = 1 / (1 + np.exp(-np.clip(rows @ found, -30, 30)))
        gradient = rows.T @ (weight * (p - there)) + ridged * found
        curvature = (rows * (weight * p * (1 - p))[:, None]).T @ rows + np.diag(ridged)
        found = found - np.clip(np.linalg.solve(curvature, gradient), -2, 2)
    return float(max(found[0], 0.0) / spread), float(found[1])
