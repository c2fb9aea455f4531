"""The panel: every score of one embedding from one pass over it, with standard errors, times, direction and range."""

import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from autossl.proxies.bootstrap import bootstrap
from autossl.proxies.evidence import Estimate, Evidence, Predicted, Queries
from autossl.proxies.measures import score
from autossl.proxies.statistics import standard_error
from autossl.proxies.table import PROXIES, QUICK, Proxy


@dataclass(frozen=True)
class Reading:
    """One score of one embedding: its value, standard error (NaN where none is known), seconds and row of PROXIES.

    The seconds are those of this score alone; parts that several scores share are in `Panel.seconds`.
    """

    proxy: Proxy
    value: float
    se: float
    seconds: float


@dataclass(frozen=True)
class Panel:
    """All scores of one embedding by name, and the seconds of the parts that they share."""

    readings: Mapping[str, Reading]
    seconds: Mapping[str, float]
    knn_grid: NDArray[np.float64] | None  # balanced accuracy for each k and T of knn.py, where k-NN was asked for

    def __getitem__(self, name: str) -> Reading:
        return self.readings[name]

    def values(self) -> dict[str, float]:
        """The bare values by name."""
        return {name: reading.value for name, reading in self.readings.items()}


def panel(
    z: ArrayLike,
    y: ArrayLike,
    groups: ArrayLike | None = None,
    queries: Queries | None = None,
    *,
    task: str = "classification",
    scores: Collection[str] | str = "quick",
    views: ArrayLike | None = None,
    classes: int | None = None,
    draws: int = 1000,
    seed: int = 0,
) -> Panel:
    """Computes the scores that apply to embeddings z (n, d) with labels y (n,) of patients `groups` (n,).

    `task` is one of TASKS and says what y holds, see `Evidence`; segmentation and detection take patch tokens.

    With `queries` predictions are made from all of z and judged on them; without, each patient is predicted from all
    others. `scores` is "quick" (all that share one pass and one decomposition), "all", or names of PROXIES. `views`
    (images, q, d), embeddings of q augmented views of some images, are needed by "lidar" and "alignment". Errors of
    predictions come from `draws` bootstraps over patients. ValueError for input that cannot be used.
    """
    evidence = Evidence(z, y, groups, queries, task=task, views=views, classes=classes, seed=seed)
    return read(evidence, scores, draws)


def read(evidence: Evidence, scores: Collection[str] | str = "quick", draws: int = 1000) -> Panel:
    """`panel` for evidence whose shared parts the caller wants to use as well."""
    readings = {
        row.name: _read(row, evidence, draws) for row in _chosen(evidence.task, scores, evidence.views is not None)
    }
    grid = evidence.knn_grid if "votes" in evidence.__dict__ else None
    return Panel(readings, dict(evidence.seconds), grid)


def _chosen(task: str, scores: Collection[str] | str, views: bool) -> list[Proxy]:
    """Rows of the table that serve the task and the data, in its order."""
    known = {row.name: row for row in PROXIES if task in row.tasks and (views or not row.views)}
    if scores == "all":
        return list(known.values())
    names = QUICK if scores == "quick" else scores
    if isinstance(names, str) or (scores != "quick" and not set(names) <= known.keys()):
        raise ValueError(f'scores must be "quick", "all" or some of {", ".join(known)}, found {scores!r}.')
    return [row for name, row in known.items() if name in names]


def _read(row: Proxy, evidence: Evidence, draws: int) -> Reading:
    began, before = time.perf_counter(), sum(evidence.seconds.values())
    found = row.of(evidence)
    if isinstance(found, Predicted):
        value = score(found.metric, evidence.truth, found.scores, found.folds)
        drawn = bootstrap(
            evidence.truth, found.scores, evidence.judged,
            metrics=(found.metric,), draws=draws, seed=evidence.seed, folds=found.folds,
        )  # fmt: skip
        found = Estimate(value, standard_error(drawn[found.metric]))
    value, se = found if isinstance(found, Estimate) else (float(found), float("nan"))
    seconds = time.perf_counter() - began - (sum(evidence.seconds.values()) - before)
    return Reading(row, float(value), float(se), seconds)
