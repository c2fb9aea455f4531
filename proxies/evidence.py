"""What the scores of one embedding share: each part is computed when a score first asks for it, and once."""

import time
from collections.abc import Callable
from functools import cached_property
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from autossl.proxies.checks import class_index, group_index, matrix
from autossl.proxies.collapse import Collapse, collapse, collapse_of
from autossl.proxies.knn import KNN_KS, KNN_TEMPERATURES, knn_votes
from autossl.proxies.means import nearest_mean
from autossl.proxies.metrics import balanced_accuracy
from autossl.proxies.moments import Moments, moments
from autossl.proxies.probe import Probe
from autossl.proxies.ridge import ridge, ridge_of, standardise
from autossl.proxies.spectrum import participation_of

KNN_K, KNN_T = 20, 0.07  # the pair that is reported; the grid is there beside it

Floats = NDArray[np.float32]
Result = TypeVar("Result")


class Queries(NamedTuple):
    """Embeddings (m, d) of other samples on which predictions are judged, their labels (m,) and patients (m,)."""

    z: ArrayLike
    y: ArrayLike
    groups: ArrayLike | None = None


class Predicted(NamedTuple):
    """Scores (m, c) of the judged samples and the metric to judge them by; its error comes from a bootstrap."""

    scores: NDArray[Any]
    metric: str


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
    """Embeddings z (n, d) with labels y (n,) and patients, judged on queries or, without any, left out in turn."""

    def __init__(
        self,
        z: ArrayLike,
        y: ArrayLike,
        groups: ArrayLike | None = None,
        queries: Queries | None = None,
        *,
        views: ArrayLike | None = None,
        classes: int | None = None,
        metric: str = "balanced_accuracy",
        seed: int = 0,
    ) -> None:
        self.seconds: dict[str, float] = {}
        self.rows = matrix(z)
        known = [y] if queries is None else [y, queries.y]
        self.classes = classes or 1 + max(int(np.max(np.asarray(labels), initial=0)) for labels in known)
        self.labels = class_index(y, self.classes, len(self.rows))
        self.groups = None if groups is None else group_index(groups, len(self.rows))
        self.metric, self.seed = metric, seed
        self.views = None if views is None else np.asarray(views)
        self.queries = None if queries is None else matrix(queries.z, "queries")
        if queries is None or self.queries is None:
            self.truth, self.judged = self.labels, self.groups
        else:
            self.truth = class_index(queries.y, self.classes, len(self.queries), "labels of queries")
            self.judged = None if queries.groups is None else group_index(queries.groups, len(self.queries))

    @property
    def viewed(self) -> NDArray[Any]:
        """Embeddings (images, q, d) of several views, which the scores that ask for them were promised."""
        assert self.views is not None
        return self.views

    @shared
    def moments(self) -> Moments:
        """Class sizes, means and Gram matrices."""
        return moments(self.rows, self.labels, self.classes)

    @shared
    def spectra(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Eigenvalues, ascending, of the raw and of the centred Gram matrix."""
        return self.moments.raw[0], self.moments.centred[0]

    @shared
    def probe(self) -> Probe:
        """The ridge probe on standardised rows, its penalty chosen by `metric` with patients left out."""
        if len(self.rows) >= self.rows.shape[1]:
            return ridge_of(self.moments, self.groups, metric=self.metric)
        scaled = standardise(self.rows)
        return ridge(scaled, self.labels, self.groups, classes=self.classes, metric=self.metric)

    @shared
    def probed(self) -> Floats:
        """Ridge scores (m, c) of the judged samples."""
        if self.queries is None:
            return self.probe.scores
        asked = self.queries
        if len(self.rows) < self.rows.shape[1]:  # the probe is one of standardised rows there
            asked = standardise(asked, self.rows)
        return self.probe.predict(asked)

    @shared
    def votes(self) -> Floats:
        """k-NN votes (7 k, 5 T, m, c) of the judged samples."""
        return knn_votes(self.rows, self.labels, self.queries, classes=self.classes, groups=self._bank_groups)

    @shared
    def mean_cosines(self) -> Floats:
        """Cosines (m, c) of the judged samples with the class means."""
        return nearest_mean(self.rows, self.labels, self.groups, self.queries, classes=self.classes)

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
        return collapse_of(rows, participation_of(scatter * scale * scale[:, None]))

    @property
    def _bank_groups(self) -> NDArray[np.int64] | None:
        """Groups for leaving out; queries are other patients' by definition."""
        return self.groups if self.queries is None else None

    @property
    def vote(self) -> Floats:
        """k-NN votes (m, c) at k = 20, T = 0.07."""
        vote: Floats = self.votes[KNN_KS.index(KNN_K), KNN_TEMPERATURES.index(KNN_T)]
        return vote

    @property
    def knn_grid(self) -> NDArray[np.float64]:
        """Balanced accuracy for every pair of KNN_KS and KNN_TEMPERATURES, (7, 5)."""
        return np.array([[balanced_accuracy(self.truth, v.argmax(1), self.classes) for v in row] for row in self.votes])
