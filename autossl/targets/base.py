"""The contract of a target: what an encoder is for, how it is judged, and what turns its features into answers."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from autossl.data.fresh import Fresh
from autossl.data.scarce import LEAST_TESTED
from autossl.data.truth import Truth
from autossl.errors.printable import plural
from autossl.nn.encoder import Encoder
from autossl.nn.sight import PLAIN, Sight
from autossl.proxies import METRICS, Metric, Outcomes
from autossl.record.offered import check_metric
from autossl.targets.readout import Readout
from autossl.targets.seen import Seen

Ints = NDArray[np.int64]

DRAWN = ("masks", "pairs")  # figures of answers that are images themselves
PICTURED = (*DRAWN, "boxes")  # figures of answers that show in images
ASKED = ("classes", "findings", "grades")  # figures of answers to whether an image has something
LARGE = 3000  # labels below which threads would wait for each other: on busy cores a probe took 40 times as long
COMPARED = 1000  # labels on which sights are compared at most


@dataclass(frozen=True)
class Score:
    """The aligned score of one embedding with its standard error, the other proxies, and what it predicted.

    `value` is in the units of the study's metric. `outcomes` are those of the scored images, each predicted without
    the patients of its fold.
    """

    value: float
    se: float
    proxies: dict[str, float]
    collapsed: str  # why the embedding counts as collapsed, or empty
    outcomes: Outcomes
    seconds: float = 0.0  # that the proxies took, without the embedding


class Target(ABC):
    """What an encoder is for. A subclass is final: one file and one row in TARGETS.

    `about` is that of the truth (classes, columns); `metric` is what the study maximises and reports first.
    """

    task: ClassVar[str]
    form: ClassVar[type[Truth]]
    metrics: ClassVar[tuple[str, ...]]  # rows of METRICS that may be asked for, the default first; none without labels
    told: ClassVar[tuple[str, ...]] = ()  # rows that are reported beside them
    shown: ClassVar[Mapping[str, str]]  # proxies beside the aligned one: key in a trial -> row of PROXIES
    figure: ClassVar[str] = ""  # what the report draws of answers: "values", of PICTURED or ASKED, or nothing
    hub: ClassVar[str] = "image-feature-extraction"  # what model hubs call a model with such a readout
    rows: ClassVar[str] = "images"  # what the rows of a table of answers are
    headings: ClassVar[Mapping[str, str]]  # those of them that a leaderboard has room for: key -> heading
    decodes: ClassVar[bool] = False  # whether its readout has to be learnt: more depends on training on labels
    least_passes: ClassVar[int] = 40  # over labels, from which on a training is one that may be judged by
    trained: ClassVar[float] = 1.3  # times the pass of an encoder that training on labels costs, with views and readout
    curved: ClassVar[bool] = True  # whether probes are so cheap that a curve over numbers of labels is drawn
    scored: ClassVar[str] = "aligned score"  # what the value of a score is called
    ranks: ClassVar[bool] = True  # whether scores tell the better of two encoders; else the order of trying does

    def __init__(self, about: Mapping[str, Any], metric: str = "auto") -> None:
        check_metric(self.task, self.metrics, metric)
        self.about = dict(about)
        self.metric = next(iter(self.metrics), "") if metric == "auto" else metric

    @property
    def measure(self) -> Metric:
        """The study's metric."""
        return METRICS[self.metric]

    def line(self, score: Score) -> str:
        """The value of a score as logs say it."""
        return f"{score.value:.3f} ± {score.se:.3f}"

    def detectable(self, truth: Truth, groups: Ints | None) -> float | None:
        """The smallest difference in the study's metric that these labels can show; None where that is not known."""
        return None

    def probe_seconds(self, labels: int, dim: int) -> float:
        """About what the best probe on so many labels costs at one sight, on a common processor."""
        return 0.0

    def tunes(self, adaptation: str) -> bool:
        """Whether encoders are also trained on labels where "auto", "frozen" or "finetune" is asked for."""
        return False

    @abstractmethod
    def score(self, seen: Seen, truth: Truth, groups: Ints | None) -> Score:
        """The aligned score of n images as an encoder sees them; `groups` (n,) are patients, left out together."""


class Probed(NamedTuple):
    """A readout in closed form, and its loss on labels that it was fitted without.

    The loss is a proper one, a mean over samples and columns, so that it tells the better of two embeddings.
    """

    readout: Readout
    loss: float


class Judged(Target):
    """A target with labels: readouts are fitted, tested and exported."""

    apart: ClassVar[bool] = True  # whether each image is judged by itself, not among the others
    mixes: ClassVar[bool] = True  # whether outcomes hold the answers, so that several networks' can be averaged
    blends: ClassVar[bool] = False  # whether these can be averaged as they are, and then judged, where they do not
    exact: ClassVar[bool] = False  # whether labels are of single pixels: views flip and turn only, values stay as given
    bare: ClassVar[str] = "constant"  # what in ENTRANTS `constant` is

    @abstractmethod
    def readout(self, encoder: Encoder, truth: Truth) -> Readout:
        """One with random weights, whose loss knows these labels (their classes, their mean), to be trained."""

    @abstractmethod
    def fitted(self, z: NDArray[np.float32], truth: Truth, groups: Ints | None) -> Probed:
        """The best one on embeddings (n, d), in closed form; folds that choose what it has to choose are of patients.

        Its words are set.
        """

    def probe(self, seen: Seen, truth: Truth, groups: Ints | None, sights: Sequence[Sight] = (PLAIN,)) -> Readout:
        """The one on a frozen encoder at the best of these sights by its loss, the first of equal ones.

        Of many labels some are compared on, whole groups of them.
        """
        some = compared(len(truth), groups) if len(sights) > 1 else np.arange(len(truth))
        found = [self._fitted(seen[some].at(sight), truth, groups, some) for sight in sights]
        best = min(range(len(found)), key=lambda at: found[at].loss)
        readout = found[best].readout
        if len(some) < len(truth):
            readout = self._fitted(seen.at(sights[best]), truth, groups, np.arange(len(truth))).readout
        readout.sight = sights[best]
        return readout

    def _fitted(self, z: NDArray[np.float32], truth: Truth, groups: Ints | None, at: Ints) -> Probed:
        with threadpool_limits(1 if len(at) < LARGE else None):
            return self.fitted(z, truth[at], None if groups is None else groups[at])

    def sights(self, turned: bool) -> tuple[Sight, ...]:
        """What of a frozen encoder is tried, the simplest first; means over flips and turns if so asked."""
        return tuple(Sight(stages, turn) for turn in (False, True)[: 1 + turned] for stages in (1, 2))

    @abstractmethod
    def transfer(self, seen: Seen, truth: Truth, groups: Ints | None, new: Seen) -> NDArray[np.float32]:
        """Raw answers (m, ...) to new images by the probe of the aligned score, fitted on (seen, truth)."""

    @abstractmethod
    def judge(self, raw: NDArray[Any], truth: Truth, groups: Ints | None = None) -> Outcomes:
        """What raw answers (n, ...) come to against the truth of n images of patients `groups` (n,)."""

    def mean(self, raws: Sequence[NDArray[Any]]) -> NDArray[np.float32]:
        """Raw answers (n, ...) from those of several networks: their mean, in the terms in which people are told."""
        exact = np.float64 if raws[0].dtype.kind == "f" else np.float32  # what is large is of small numbers
        return np.asarray(np.mean(raws, axis=0, dtype=exact), dtype=np.float32)

    def together(self, found: Sequence[Outcomes]) -> Outcomes:
        """What the mean of the answers comes to that several networks gave for the same images."""
        first = found[0]
        scores = self.mean([outcomes.columns["scores"] for outcomes in found])
        return Outcomes({**first.columns, "scores": scores}, first.owner, first.n)

    def table(self, raw: NDArray[Any], found: Fresh) -> dict[str, list[Any]]:
        """Raw answers (n, ...) to new images as a table for people: the column image, then others, a cell each."""
        return {"image": list(found.names), **self.answer(raw)}

    @abstractmethod
    def answer(self, raw: NDArray[Any]) -> dict[str, list[Any]]:
        """Raw answers (n, ...) as columns of a table that people read, n cells each."""

    def pictured(self, raw: NDArray[Any]) -> NDArray[Any]:
        """Raw answers (n, ...) as pictures keep them, where the report has pictures."""
        return raw

    def constant(self, encoder: Encoder, truth: Truth) -> Readout | None:
        """The best answer that needs no network; None where every constant scores the same."""
        return None

    def few(self, truth: Truth, groups: Ints, unit: str, where: str, absent: bool = True) -> str:
        """Why scores on these labels cannot be measured, in words; empty where they can.

        What is not there at all counts as well where it is `absent`.
        """
        held = len(np.unique(groups))
        return f"{where} has {plural(held, unit)}" if held < 2 * LEAST_TESTED else ""

    @property
    def parts(self) -> tuple[str, ...]:
        """The names of columns that are told one by one as well, where answers have several."""
        return ()

    @property
    def reported(self) -> tuple[str, ...]:
        """The metrics of a test: the study's own first."""
        return (self.metric, *(name for name in (*self.metrics, *self.told) if name != self.metric))

    def tunes(self, adaptation: str) -> bool:
        return adaptation != "frozen"


def compared(labels: int, groups: Ints | None, most: int | None = None) -> Ints:
    """Places of the labels on which something is compared: all, or whole groups by lot until they hold `most`."""
    most = COMPARED if most is None else most
    owner = np.arange(labels) if groups is None else np.unique(groups, return_inverse=True)[1]
    sizes = np.bincount(owner)
    drawn = np.random.default_rng(0).permutation(len(sizes))
    before = np.cumsum(sizes[drawn]) - sizes[drawn]
    return np.flatnonzero(np.isin(owner, drawn[before < most]))
