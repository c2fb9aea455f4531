"""What a model's predictions came to, sample by sample: all that metrics and their patient bootstrap need."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from autossl.proxies.bootstrap import bootstrap
from autossl.proxies.checks import group_index
from autossl.proxies.measures import METRICS, score
from autossl.proxies.metrics import mean_of_defined
from autossl.proxies.statistics import Difference, interval, standard_error

Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Outcomes:
    """Rows of n samples, never pixels: `columns` (k, ...) and the sample (k,) that owns each row.

    The metrics of METRICS read y (k,) or (k, t) where NaN is unknown, scores (k, c) or (k, t), and fold (k,) where the
    scores were predicted fold by fold, see `score`. k = n where each sample has one row; detections and cells have
    several, or none.
    """

    columns: Mapping[str, NDArray[Any]]
    owner: Ints
    n: int

    @classmethod
    def of(cls, y: ArrayLike, scores: ArrayLike, folds: Ints | None = None) -> Self:
        """One row for each of n samples: y (n, ...) and scores (n, ...)."""
        truth, found = np.asarray(y), np.asarray(scores)
        if len(truth) != len(found):
            raise ValueError(f"y and scores must be of one length, found {len(truth)} and {len(found)}.")
        folded = {} if folds is None else {"fold": folds}
        return cls({"y": truth, "scores": found, **folded}, np.arange(len(truth)), len(truth))

    @classmethod
    def joined(cls, parts: Sequence["Outcomes"]) -> Self:
        """The samples of all parts, one after the other."""
        starts = np.cumsum([0, *(part.n for part in parts)])
        columns = {name: np.concatenate([part.columns[name] for part in parts]) for name in parts[0].columns}
        owner = np.concatenate([part.owner + start for part, start in zip(parts, starts[:-1], strict=True)])
        return cls(columns, owner, int(starts[-1]))

    def first(self, n: int) -> "Outcomes":
        """Those of the first n samples."""
        kept = self.owner < n
        return Outcomes({name: values[kept] for name, values in self.columns.items()}, self.owner[kept], n)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """What `loaded` makes the same again from, for a file."""
        return {f"outcomes {name}": values for name, values in self.columns.items()} | {
            "outcomes owner": self.owner,
            "outcomes n": np.array(self.n),
        }

    @classmethod
    def loaded(cls, arrays: Mapping[str, NDArray[Any]]) -> Self:
        """What `arrays` gave."""
        held = {name.partition(" ")[2]: arrays[name] for name in arrays if name.startswith("outcomes ")}
        owner, n = held.pop("owner"), int(held.pop("n"))
        return cls(held, owner, n)

    def value(self, metric: str) -> float:
        """A metric of METRICS, in its own units and direction; of columns with gaps the mean over the columns."""
        each = [score(metric, y, scores, fold) for y, scores, _, fold in self._whole()]
        return float(mean_of_defined(np.array(each)))

    def each(self, metric: str) -> NDArray[np.float64]:
        """A metric of each of the n samples by itself, NaN where it is not defined or the sample owns no row."""
        y, scores, found = self.columns["y"], self.columns["scores"], np.full(self.n, np.nan)
        for sample in range(self.n):
            own = self.owner == sample
            found[sample] = score(metric, y[own], scores[own]) if own.any() else np.nan
        return found

    def worth(self, metric: str) -> float:
        """The same, its sign turned where lower is better."""
        return METRICS[metric].worth(self.value(metric))

    def drawn(
        self, metrics: Sequence[str], groups: Ints | None = None, *, draws: int = 1000
    ) -> dict[str, NDArray[np.float64]]:
        """Each metric in draws of patients `groups` (n,), {metric: (draws,)}; without groups samples are drawn.

        The draws are of all patients, also of those whose samples own no row, and the same for every column.
        """
        patient = group_index(groups, self.n)
        each = [
            bootstrap(
                y, scores, patient[owner], metrics=metrics, draws=draws, folds=fold, patients=int(patient.max()) + 1
            )
            for y, scores, owner, fold in self._whole()
        ]  # fmt: skip
        return {metric: mean_of_defined(np.stack([found[metric] for found in each], axis=1)) for metric in metrics}

    def intervals(
        self, metrics: Sequence[str], groups: Ints | None = None, *, draws: int = 1000
    ) -> dict[str, tuple[float, float]]:
        """The 95 % interval of each metric over patients `groups` (n,)."""
        return {metric: interval(found) for metric, found in self.drawn(metrics, groups, draws=draws).items()}

    def minus(self, other: "Outcomes", metric: str, groups: Ints | None = None, *, draws: int = 1000) -> Difference:
        """A metric of these less that of others of the same samples, paired by patients `groups` (n,).

        In the metric's units: `Metric.worth` says which way is better. ValueError where the samples are not the same,
        or were predicted in other folds.
        """
        if self.n != other.n or not np.array_equal(self._truth(), other._truth(), equal_nan=True):
            raise ValueError(f"outcomes of the same samples are compared, found {self.n} and {other.n} that differ.")
        own, others = (found._folds() for found in (self, other))
        if own is not None and others is not None and not np.array_equal(own, others):
            raise ValueError("outcomes that were predicted in the same folds are compared, found others.")
        first, second = (found.drawn((metric,), groups, draws=draws)[metric] for found in (self, other))
        gaps = first - second
        return Difference(self.value(metric) - other.value(metric), *interval(gaps), standard_error(gaps))

    def within(self, folds: Ints) -> "Outcomes":
        """The same of samples that were predicted fold by fold (n,), each with one row, see `score`."""
        return Outcomes({**self.columns, "fold": folds[self.owner]}, self.owner, self.n)

    def column(self, at: int) -> "Outcomes":
        """Those of one column (of y and scores (k, t)) alone, as long as they are known."""
        y, scores, fold = self.columns["y"], self.columns["scores"], self.columns.get("fold")
        known, own = np.isfinite(y[:, at]), slice(at, at + 1)
        folded = {} if fold is None else {"fold": fold[known]}
        return Outcomes({"y": y[known, own], "scores": scores[known, own], **folded}, self.owner[known], self.n)

    def _truth(self) -> NDArray[np.float64]:
        """y of each sample, summed over its rows: of detections networks have different ones, which hold 0 there."""
        y = self.columns["y"]
        found = np.zeros((self.n, *y.shape[1:]))
        np.add.at(found, self.owner, y)
        return found

    def _folds(self) -> Ints | None:
        """The fold of each sample (n,), -1 of one without a row; None where they were not predicted fold by fold."""
        if "fold" not in self.columns:
            return None
        found = np.full(self.n, -1)
        found[self.owner] = self.columns["fold"]
        return found

    def _whole(self) -> Iterator[tuple[NDArray[Any], NDArray[Any], Ints, Ints | None]]:
        """Truth, scores, owners and folds without gaps: all columns at once, or one after the other where there are."""
        y, scores, fold = self.columns["y"], self.columns["scores"], self.columns.get("fold")
        unknown = ~np.isfinite(y) if _floats(y) else np.zeros(y.shape, bool)
        if not unknown.any():
            yield y, scores, self.owner, fold
            return
        for part in map(self.column, range(y.shape[1])):
            yield part.columns["y"], part.columns["scores"], part.owner, part.columns.get("fold")


def _floats(values: NDArray[Any]) -> bool:
    return values.dtype.kind == "f"
