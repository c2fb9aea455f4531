"""Images of the same class, found among those of other patients: by the cosine of embeddings, perhaps whitened."""

from typing import Any, ClassVar, final

import numpy as np
from numpy.typing import NDArray

from autossl.data.scarce import few_tested
from autossl.data.truth import Classes, Truth
from autossl.nn.encoder import Encoder
from autossl.proxies import Evidence, Outcomes, collapse, read, retrieval, standard_error
from autossl.targets.base import Judged, Probed, Score
from autossl.targets.readouts import Retriever
from autossl.targets.seen import Seen

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]

WIDTH = 128  # numbers of an embedding that is searched
SHRUNK = (1.0, 0.5, 0.1)  # of the covariance towards a sphere; 1: centred only
ASKED = 2000  # images that are asked where whitenings are compared
DRAWS = 200


@final
class Retrieval(Judged):
    """Each image asks for others of its class; those of its own patient are left out, for they show the same lesion."""

    task: ClassVar = "retrieval"
    form: ClassVar = Classes
    metrics: ClassVar = ("map_at_10", "r_precision")
    shown: ClassVar = {"knn": "knn", "rankme": "rankme", "participation": "participation"}
    headings: ClassVar = {"knn": "k-NN", "rankme": "RankMe"}
    apart: ClassVar = False
    mixes: ClassVar = False

    @property
    def classes(self) -> tuple[str, ...]:
        """What is to be found."""
        return tuple(self.about.get("classes", ()))

    def score(self, seen: Seen, truth: Truth, groups: Ints | None) -> Score:
        """Retrieval by the centred embedding; k-NN and the spectrum beside it."""
        y, z = _labels(truth), seen.pooled
        if not np.isfinite(z).all():
            return Score(0.0, 0.0, {}, collapse(z).reason, Outcomes.of(y, np.zeros((len(y), 2))))
        evidence = Evidence(z, y, groups, classes=len(self.classes), grid=False)
        shown = read(evidence, scores=tuple(self.shown.values()), draws=2)
        outcomes = _found(z - z.mean(0), y, groups)
        drawn = outcomes.drawn((self.metric,), groups, draws=DRAWS)[self.metric]
        proxies = {name: shown[row].value for name, row in self.shown.items()}
        return Score(outcomes.value(self.metric), standard_error(drawn), proxies, evidence.health.reason, outcomes)

    def transfer(self, seen: Seen, truth: Truth, groups: Ints | None, new: Seen) -> NDArray[Any]:
        """The centred embedding of new images."""
        z = seen.pooled
        made = Retriever.of(np.eye(z.shape[1]), -z.mean(0), _means(z - z.mean(0), _labels(truth), len(self.classes)))
        return made.answers(new.pooled)

    def readout(self, encoder: Encoder, truth: Truth) -> Retriever:
        """A linear layer to the embedding that is searched, trained to tell classes by their directions."""
        return Retriever(encoder.dim, min(WIDTH, encoder.dim), len(self.classes))

    def fitted(self, z: Floats, truth: Truth, groups: Ints | None) -> Probed:
        """The best of several whitenings by what is retrieved with whole patients left out; its words say which."""
        y, mean = _labels(truth), z.mean(0, dtype=np.float64)
        some = np.sort(np.random.default_rng(0).permutation(len(z))[:ASKED])
        owner = None if groups is None else groups[some]
        best = None
        for shrunk, turn in _whitenings(z - mean):
            searched = ((z[some] - mean) @ turn).astype(np.float32)
            value = _found(searched, y[some], owner).value("map_at_10")
            if best is None or value > best[0]:
                best = (value, shrunk, turn)
        assert best is not None
        value, shrunk, turn = best
        made = Retriever.of(turn, -mean @ turn, _means((z - mean) @ turn, y, len(self.classes)))
        made.words = "cosine similarity of " + ("centred" if shrunk == 1 else "whitened") + " embeddings"
        return Probed(made, 1 - value if np.isfinite(value) else 1.0)

    def judge(self, raw: NDArray[Any], truth: Truth, groups: Ints | None = None) -> Outcomes:
        """Average precision and R-precision of each image, asked among these, its own patient's left out."""
        return _found(np.asarray(raw[:, : -len(self.classes)], np.float32), _labels(truth), groups)

    def answer(self, raw: NDArray[Any]) -> dict[str, list[Any]]:
        """The class whose images are nearest on average."""
        return {"class": [self.classes[at] for at in raw[:, -len(self.classes) :].argmax(1)]}

    def few(self, truth: Truth, groups: Ints, unit: str, where: str, absent: bool = True) -> str:
        """Classes with too few patients."""
        held = truth.groups_per_stratum(slice(None), groups)
        return few_tested({name: count for name, count in held.items() if count or absent}, unit, where, truth.word)

    def probe_seconds(self, labels: int, dim: int) -> float:
        """One decomposition and a few searches."""
        asked = min(labels, ASKED)
        return 0.1 + (10.0 * dim**3 + len(SHRUNK) * 2.0 * asked**2 * dim) / 20e9


def _labels(truth: Truth) -> Ints:
    assert isinstance(truth, Classes)
    assert truth.known.all(), "labels that are not known, or were withheld"
    return truth.labels


def _found(z: Floats, y: Ints, groups: Ints | None) -> Outcomes:
    """Average precision at 10 and R-precision of every image, NaN where there is nothing to find."""
    if len(z) < 2:
        return Outcomes.of(y, np.full((len(y), 2), np.nan))
    found = retrieval(z, y, groups, k=10)
    return Outcomes.of(y, np.stack([found.average_precision, found.r_precisions], axis=1))


def _means(z: NDArray[Any], y: Ints, classes: int) -> NDArray[Any]:
    """The direction of the mean of each class; zero of one that is not there."""
    unit = z / np.maximum(np.linalg.norm(z, axis=1, keepdims=True), 1e-12)
    return np.stack([unit[y == at].mean(0) if (y == at).any() else np.zeros(z.shape[1]) for at in range(classes)])


def _whitenings(z: Floats) -> list[tuple[float, NDArray[np.float64]]]:
    """Maps (d, WIDTH at most) of centred embeddings by which directions of much variance count for less."""
    covariance = np.cov(z, rowvar=False, dtype=np.float64).reshape(z.shape[1], z.shape[1])
    values, vectors = np.linalg.eigh(covariance)
    kept = slice(max(0, len(values) - WIDTH), None)
    values, vectors = np.maximum(values[kept], 0), vectors[:, kept]
    level = float(np.median(values)) + 1e-12  # the mean is that of a few loud directions
    whole = [(1.0, np.eye(z.shape[1]))]
    return whole + [(s, vectors / np.sqrt((1 - s) * values + s * level)) for s in SHRUNK[1:]]
