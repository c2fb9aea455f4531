"""What the scores of one embedding share: each part is computed when a score first asks for it, and once."""

import time
from collections.abc import Callable
from functools import cached_property
from typing import Any, NamedTuple, TypeVar, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from autossl.proxies.checks import class_index, group_index, score_matrix
from autossl.proxies.collapse import Collapse, collapse, collapse_of
from autossl.proxies.dense import Dense, dense_knn, dense_ridge
from autossl.proxies.dispatch import device, given, on_device
from autossl.proxies.folds import judging_folds
from autossl.proxies.knn import KNN_KS, KNN_TEMPERATURES, knn_votes
from autossl.proxies.knn_values import knn_values
from autossl.proxies.means import nearest_mean
from autossl.proxies.measures import score
from autossl.proxies.moments import Moments, moments
from autossl.proxies.objects import Objectness, objectness
from autossl.proxies.probe import Probe
from autossl.proxies.retrieval import Retrieval, retrieval
from autossl.proxies.ridge import ridge, ridge_of, standardise
from autossl.proxies.spectrum import participation_of

TASKS = ("classification", "ordinal", "regression", "multilabel", "segmentation", "detection")
DENSE = frozenset({"segmentation", "detection"})
FEW = 5  # folds of probes that are fitted once for each
KNN_K, KNN_T = 20, 0.07  # the pair that is reported; the grid is there beside it

Floats = NDArray[np.float32]
Result = TypeVar("Result")


def pooled(z: ArrayLike) -> NDArray[Any]:
    """Patch tokens (images, ..., d) -> their mean (images, d)."""
    tokens = np.asarray(z)
    if tokens.ndim < 3 or 0 in tokens.shape:
        raise ValueError(f"z must hold tokens (images, tokens, d) or (images, h, w, d), found {tokens.shape}.")
    means: NDArray[Any] = tokens.reshape(len(tokens), -1, tokens.shape[-1]).mean(axis=1, dtype=np.float64)
    return means


class Queries(NamedTuple):
    """Embeddings (m, d) of other samples on which predictions are judged, their labels (m,) and patients (m,)."""

    z: ArrayLike
    y: ArrayLike
    groups: ArrayLike | None = None


class Predicted(NamedTuple):
    """Scores (m, c) of the judged samples and the metric to judge them by; its error comes from a bootstrap."""

    scores: NDArray[Any]
    metric: str
    folds: NDArray[np.int64] | None  # that the scores were predicted in, see `metrics.score`


class Estimate(NamedTuple):
    """A score that knows its own standard error."""

    value: float
    se: float


def shared(compute: Callable[["Evidence"], Result]) -> "cached_property[Result]":
    """A part that is computed once; its seconds, without those of the parts that it uses, go to `Evidence.seconds`."""

    def timed(evidence: "Evidence") -> Result:
        began, before = time.perf_counter(), sum(evidence.seconds.values())
        result = compute(evidence)
        inner = sum(evidence.seconds.values()) - before
        evidence.seconds[compute.__name__] = time.perf_counter() - began - inner
        return result

    timed.__doc__, timed.__name__ = compute.__doc__, compute.__name__
    return cached_property(timed)


class Evidence:
    """Embeddings z (n, d) with labels y (n,) and patients, judged on queries or, without any, left out in turn.

    y holds class indices (classification), whole numbers (ordinal), values (n,) or (n, t) (regression), or 0 and 1 for
    each label (n, t) (multilabel). For segmentation and detection z are patch tokens and y what `dense_ridge` and
    `objectness` take; scores of whole images then see the mean of the tokens. Without `grid`, k-NN votes at the
    pair that is reported alone, k = 20 and T = 0.07, in half the time.
    """

    def __init__(
        self,
        z: ArrayLike,
        y: ArrayLike,
        groups: ArrayLike | None = None,
        queries: Queries | None = None,
        *,
        task: str = "classification",
        views: ArrayLike | None = None,
        classes: int | None = None,
        seed: int = 0,
        grid: bool = True,
    ) -> None:
        if task not in TASKS:
            raise ValueError(f"task must be one of {', '.join(TASKS)}, found {task!r}.")
        if task in DENSE and queries is not None:
            raise ValueError(f"queries must not be given for {task}, whose patients are left out in turn, found some.")
        self.seconds: dict[str, float] = {}
        self.ks, self.temperatures = (KNN_KS, KNN_TEMPERATURES) if grid else ((KNN_K,), (KNN_T,))
        self.task, self.seed = task, seed
        self.tokens, self.marks, self.token_classes = z, y, classes
        self.rows = given(pooled(z) if task in DENSE else z)
        self.queries = None if queries is None else given(queries.z, "queries")
        self.groups = None if groups is None else group_index(groups, len(self.rows))
        self.views = None if views is None else np.asarray(views)
        known = [y] if queries is None else [y, queries.y]
        of_classes = task == "classification"
        self.classes = (classes or 1 + max(int(np.max(np.asarray(v), initial=0)) for v in known)) if of_classes else 0
        self.truth = self.known = self._labels(y, len(self.rows), "y")
        self.judged = self.groups
        if queries is not None and self.queries is not None:
            self.truth = self._labels(queries.y, len(self.queries), "labels of queries")
            self.judged = None if queries.groups is None else group_index(queries.groups, len(self.queries))

    def _labels(self, y: ArrayLike, count: int, name: str) -> NDArray[Any]:
        """Class indices (n,), or values (n, t); for tokens nothing."""
        if self.task in DENSE:
            return np.zeros(0)
        return class_index(y, self.classes, count, name) if self.classes else score_matrix(y, count)

    @property
    def labels(self) -> NDArray[np.int64]:
        """Class indices (n,); only scores of classes may ask for them."""
        assert self.classes, "labels of a task without classes"
        return self.known

    @property
    def viewed(self) -> NDArray[Any]:
        """Embeddings (images, q, d) of several views, which the scores that ask for them were promised."""
        assert self.views is not None
        return self.views

    @shared
    def moments(self) -> Moments:
        """Class sizes, means and Gram matrices."""
        if on_device(self.rows):
            return cast(
                Moments, device().moments(self.rows, self.known if self.classes else None, self.classes or None)
            )
        return moments(self.rows, self.known, self.classes) if self.classes else moments(self.rows)

    @shared
    def raw_spectrum(self) -> NDArray[np.float64]:
        """Eigenvalues, ascending, of the Gram matrix of the rows as they are."""
        return self.moments.raw_values

    @shared
    def centred_spectrum(self) -> NDArray[np.float64]:
        """Eigenvalues, ascending, of the centred Gram matrix."""
        return self.moments.centred_values

    @shared
    def folds(self) -> NDArray[np.int64]:
        """Whole patients that are left out together (n,), see `judging_folds`."""
        return judging_folds(self.known, self.groups, task=self.task)

    @shared
    def few_folds(self) -> NDArray[np.int64]:
        """The same, at most five, for probes that are fitted once for each."""
        return judging_folds(self.known, self.groups, most=FEW, task=self.task)

    def judged_in(self, folds: NDArray[np.int64]) -> NDArray[np.int64] | None:
        """These folds, or None where queries are judged, which all are by one fit."""
        return folds if self.queries is None else None

    @shared
    def probe(self) -> Probe:
        """The ridge probe on standardised rows, its penalties chosen with patients left out."""
        if self._sharing:
            return ridge_of(self.moments, self.folds)
        several = True if self.task == "multilabel" else None
        return ridge(standardise(self.rows), self.known, self.folds, classes=self.classes or None, recentre=several)

    @property
    def _sharing(self) -> bool:
        """Whether the probe comes from the shared moments, and so from rows as they are."""
        return bool(self.classes) and len(self.rows) >= self.rows.shape[1]

    @shared
    def probed(self) -> Floats:
        """Ridge scores or values (m, c) of the judged samples."""
        if on_device(self.rows):
            return cast(Floats, device().probed(self.probe, self.rows, self.queries, standardised=not self._sharing))
        if self.queries is None:
            return self.probe.scores
        asked = self.queries
        return self.probe.predict(asked if self._sharing else standardise(asked, self.rows))

    @shared
    def votes(self) -> Floats:
        """k-NN votes (7 k, 5 T, m, c) of the judged samples, or (1, 1, m, c) without the grid."""
        return knn_votes(
            self.rows, self.labels, self.queries,
            classes=self.classes, ks=self.ks, temperatures=self.temperatures, groups=self.judged_in(self.folds),
        )  # fmt: skip

    @shared
    def neighbour_means(self) -> Floats:
        """k-NN means (m, t) of the targets at k = 20, T = 0.07."""
        found = knn_values(
            self.rows, self.known, self.queries, ks=(KNN_K,), temperatures=(KNN_T,), groups=self.judged_in(self.folds)
        )
        values: Floats = found[0, 0]
        return values

    @shared
    def retrieved(self) -> Retrieval:
        """Retrieval of the judged samples' class."""
        if self.queries is None:
            return retrieval(self.rows, self.labels, self.groups)
        return retrieval(self.rows, self.labels, None, self.queries, self.truth)

    @shared
    def dense_ridge(self) -> Dense:
        """Ridge on patch tokens."""
        return dense_ridge(self.tokens, self.marks, self.groups, classes=self.token_classes, seed=self.seed)

    @shared
    def dense_knn(self) -> Dense:
        """k-NN on patch tokens."""
        return dense_knn(self.tokens, self.marks, self.groups, classes=self.token_classes, seed=self.seed)

    @shared
    def objectness(self) -> Objectness:
        """Whether tokens lie in objects."""
        return objectness(self.tokens, self.marks, self.groups)

    @shared
    def mean_cosines(self) -> Floats:
        """Cosines (m, c) of the judged samples with the class means."""
        scored = device().nearest_mean if on_device(self.rows) else nearest_mean
        return cast(Floats, scored(self.rows, self.labels, self.folds, self.queries, classes=self.classes))

    @property
    def participation(self) -> float:
        """Participation ratio of the covariance."""
        return participation_of(self.moments.scatter)

    @shared
    def health(self) -> Collapse:
        """The collapse detectors."""
        rows = self.rows
        if len(rows) < rows.shape[1]:  # the moments are those of rotated rows there
            return collapse(rows)
        scatter = self.moments.scatter
        spread = np.sqrt(np.diag(scatter))
        varies = spread > 1e-6 * np.sqrt(len(rows)) * np.abs(self.moments.mean) + 1e-30
        scale = np.where(varies, 1 / np.where(varies, spread, 1), 0)
        vetoed = device().collapse_of if on_device(rows) else collapse_of
        return cast(Collapse, vetoed(rows, participation_of(scatter * scale * scale[:, None])))

    @property
    def vote(self) -> Floats:
        """k-NN votes (m, c) at k = 20, T = 0.07."""
        vote: Floats = self.votes[self.ks.index(KNN_K), self.temperatures.index(KNN_T)]
        return vote

    @property
    def knn_grid(self) -> NDArray[np.float64]:
        """Balanced accuracy for every pair of KNN_KS and KNN_TEMPERATURES, (7, 5); without the grid (1, 1)."""
        return np.array(
            [[score("balanced_accuracy", self.truth, v, self.judged_in(self.folds)) for v in row] for row in self.votes]
        )
