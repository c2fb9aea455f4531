"""What each pixel or voxel belongs to: by ridge on cells of all maps in the search, by a decoder at the end."""

from collections.abc import Sequence
from typing import Any, ClassVar, final

import numpy as np
from numpy.typing import NDArray

from autossl.data.truth import Masks, Truth
from autossl.data.truth.places import Places
from autossl.data.truth.structures import IGNORED
from autossl.data.windows import laid, whole
from autossl.nn.encoder import Encoder
from autossl.nn.sight import MAPS, PLAIN, Sight
from autossl.proxies import Outcomes, participation_ratio, rankme, standard_error
from autossl.proxies.image_metrics import FACTS
from autossl.targets.agreement import agreement
from autossl.targets.base import Judged, Probed, Score
from autossl.targets.cells import Cells, Linear, linear, looked, votes
from autossl.targets.readout import Readout
from autossl.targets.seen import Seen
from autossl.targets.segmenter import Segmenter

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]

PROBED = 12_000  # places at which the probe at the end is fitted
DRAWS = 200
DISTANCES = {"mm": "hd95_mm", "pixels": "hd95_pixels"}  # by the unit of masks


@final
class Segmentation(Judged):
    """A structure, or none, for each place of an image; Dice is a mean over structures, without the background."""

    task: ClassVar = "segmentation"
    form: ClassVar = Masks
    metrics: ClassVar = ("pooled_dice", "case_dice", "pooled_iou")
    told: ClassVar = ("surface_dice", *DISTANCES.values(), "object_recall", "false_objects")
    shown: ClassVar = {"knn": "dense_knn", "rankme": "rankme", "participation": "participation"}
    headings: ClassVar = {"knn": "k-NN", "rankme": "RankMe"}
    hub: ClassVar = "image-segmentation"
    figure: ClassVar = "masks"
    scored: ClassVar = "cell Dice"
    trained: ClassVar = 2.5
    mixes: ClassVar = False
    blends: ClassVar = True
    decodes: ClassVar = True
    least_passes: ClassVar = 10  # an image has thousands of labels
    curved: ClassVar = False

    @property
    def structures(self) -> tuple[str, ...]:
        """What is told from the background."""
        return tuple(self.about.get("structures", ()))

    def score(self, seen: Seen, truth: Truth, groups: Ints | None) -> Score:
        """Ridge on cells, whole patients left out; Dice of cells, each standing for the pixels that it was drawn of.

        Cells are drawn from the masks alone, so that all candidates are judged at the same places.
        """
        masks = _masks(truth)
        places, cells = looked(seen, masks.places)
        broken = cells.broken
        if not np.isfinite(cells.z).all():
            return Score(0.0, 0.0, {}, broken or "it is not finite", self._outcomes(None, places, masks))
        owner = _owner(masks, groups)
        fit = linear(cells, places, owner[places.sample], len(self.structures) + 1)
        outcomes = self._outcomes(fit, places, masks)
        drawn = outcomes.drawn((self.metric,), groups, draws=DRAWS)[self.metric]
        shown = {
            "knn": self._neighbours(cells, places, owner, masks),
            "rankme": rankme(cells.pooled),
            "participation": participation_ratio(cells.pooled),
        }
        return Score(outcomes.value(self.metric), standard_error(drawn), shown, broken, outcomes)

    def _outcomes(self, fit: Linear | None, places: Places, masks: Masks) -> Outcomes:
        """Pixels of each structure by image as cells stand for them: in truth, and found and predicted."""
        guess = np.zeros(len(places.sample), np.int64) if fit is None else fit.scores.argmax(1)
        return _counted(masks.image, places.sample, places.structure, guess, places.weight, len(self.structures))

    def _neighbours(self, cells: Cells, places: Places, owner: Ints, masks: Masks) -> float:
        """Dice of cells by the vote of the most similar cells of other patients."""
        kinds = len(self.structures) + 1
        some, shares = votes(cells, places.structure, owner[places.sample], kinds)
        parts = (places.sample[some], places.structure[some], shares.argmax(1), places.weight[some])
        return _counted(masks.image, *parts, kinds - 1).value("pooled_dice")

    def probe(self, seen: Seen, truth: Truth, groups: Ints | None, sights: Sequence[Sight] = (PLAIN,)) -> Readout:
        """Ridge on cells of all maps, as a convolution."""
        masks = _masks(truth)
        places, cells = looked(seen, masks.places, PROBED)
        fit = linear(cells, places, _owner(masks, groups)[places.sample], len(self.structures) + 1)
        edges = np.cumsum(cells.widths)[:-1]
        dims = places.at.shape[1]
        made = Segmenter.of(np.split(fit.weights, edges), fit.intercept, cells.channels, dims)
        made.words = "a linear probe"
        return made

    def sights(self, turned: bool) -> tuple[Sight, ...]:
        """All maps, as they are."""
        return (MAPS,)

    def fitted(self, z: Floats, truth: Truth, groups: Ints | None) -> Probed:
        """Never: a probe needs maps."""
        raise AssertionError("embeddings of whole images say nothing of their places")

    def transfer(self, seen: Seen, truth: Truth, groups: Ints | None, new: Seen) -> NDArray[Any]:
        """Shares of structures at each place, by the probe."""
        return new.answers(self.probe(seen, truth, groups))

    def readout(self, encoder: Encoder, truth: Truth) -> Segmenter:
        """A decoder whose last layers begin at zero."""
        return Segmenter(encoder.pyramid_channels, encoder.channels, len(self.structures), encoder.dims)

    def judge(self, raw: NDArray[Any], truth: Truth, groups: Ints | None = None) -> Outcomes:
        """What each structure of each image comes to, see `agreement`; its windows are put together, the first owns it.

        Where windows overlap, answers are averaged.
        """
        masks, kinds = _masks(truth), len(self.structures)
        array, (first, owner) = masks.array, _images(masks.image)
        y, scores = np.zeros((len(first), kinds)), np.zeros((len(first), kinds, FACTS))
        for row, sample in enumerate(first):
            own = np.flatnonzero(owner == row)
            corner = masks.corner[own, : array.ndim - 1]
            said, mask = laid(raw[own], corner), whole(array[own], corner, IGNORED)
            y[row], scores[row] = agreement(said.argmax(0), mask, kinds, masks.grains[sample, : mask.ndim])
        return Outcomes({"y": y, "scores": scores}, first, len(masks))

    @property
    def reported(self) -> tuple[str, ...]:
        """Distances in the unit of the masks alone."""
        other = {name for unit, name in DISTANCES.items() if unit != self.about.get("unit", "pixels")}
        return tuple(name for name in super().reported if name not in other)

    @property
    def parts(self) -> tuple[str, ...]:
        return self.structures

    def answer(self, raw: NDArray[Any]) -> dict[str, list[Any]]:
        """The share of each image that is of each structure."""
        guess = np.stack([answer.argmax(0).reshape(-1) for answer in raw]) if len(raw) else np.zeros((0, 1))
        return {
            f"share {name}": np.round((guess == kind).mean(1), 5).tolist()
            for kind, name in enumerate(self.structures, 1)
        }

    def pictured(self, raw: NDArray[Any]) -> NDArray[np.uint8]:
        """Numbers of structures (n, *space)."""
        return np.asarray(raw.argmax(1), dtype=np.uint8)

    def probe_seconds(self, labels: int, dim: int) -> float:
        """Ridge on cells; the pass over the images is counted elsewhere."""
        return 0.2 + 4.0 * PROBED * (2.0 * dim) ** 2 / 20e9


def _masks(truth: Truth) -> Masks:
    assert isinstance(truth, Masks)
    assert truth.known.all(), "masks that are not known, or were withheld"
    return truth


def _owner(masks: Masks, groups: Ints | None) -> Ints:
    return np.arange(len(masks)) if groups is None else groups


def _images(image: Ints) -> tuple[Ints, Ints]:
    """The first window of each image, and for each window (n,) of which of these it is one."""
    _, first, owner = np.unique(image, return_index=True, return_inverse=True)
    return first.astype(np.int64), owner


def _counted(
    image: Ints, sample: Ints, structure: Ints, guess: Ints, weight: NDArray[np.float64], kinds: int
) -> Outcomes:
    """Places in samples of images (n,), each standing for so many pixels, as pixels of each structure by image."""
    first, owner = _images(image)
    n, sample = len(first), owner[sample]
    y, scores = np.zeros((n, kinds)), np.zeros((n, kinds, 2))
    for kind in range(kinds):
        there, said = structure == kind + 1, guess == kind + 1
        for values, into in ((there, y[:, kind]), (there & said, scores[:, kind, 0]), (said, scores[:, kind, 1])):
            into += np.bincount(sample, weights=weight * values, minlength=n)
    return Outcomes({"y": y, "scores": scores}, first, len(image))
