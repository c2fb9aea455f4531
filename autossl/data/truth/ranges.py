"""Ranges of numbers: what splits and draws keep in proportion where labels are measurements."""

from itertools import pairwise
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from autossl.data.truth.base import Ints

MOST = 5  # quintiles
LEAST = 4  # samples of a range: of four groups of a stratum, each part gets one
SMALL, LARGE = 1e-3, 1e7  # between these, edges are written without a power of ten

Floats = NDArray[np.float64]


class Ranges(NamedTuple):
    """Where ranges of one column, or of the mean of several standardised ones, are cut: the upper edge is inside."""

    centre: tuple[float, ...]  # of each column
    spread: tuple[float, ...]
    edges: tuple[float, ...]  # ascending; none: one range holds all

    @classmethod
    def cut(cls, values: Floats) -> Self:
        """Quintiles of known values (n, t); fewer ranges where values repeat or are few."""
        t = values.shape[1]
        centre, spread = np.zeros(t), np.ones(t)
        for at in range(t if t > 1 else 0):
            known = values[np.isfinite(values[:, at]), at]
            if len(known) and (deviation := float(known.std())) > 0:
                centre[at], spread[at] = known.mean(), deviation
        bare = cls(tuple(centre.tolist()), tuple(spread.tolist()), ())
        score = bare._score(values)
        score = score[np.isfinite(score)]
        if (count := min(MOST, len(score) // LEAST)) < 2:
            return bare
        edges = np.unique(np.quantile(score, np.arange(1, count) / count, method="inverted_cdf"))
        return bare._replace(edges=tuple(edges[edges < score.max()].tolist()))

    def of(self, values: Floats) -> Ints:
        """The range (n,) of values (n, t), -1 where none is known."""
        score = self._score(values)
        found = np.searchsorted(np.asarray(self.edges), score, side="left")
        return np.where(np.isfinite(score), found, -1).astype(np.int64)

    def _score(self, values: Floats) -> Floats:
        known = np.isfinite(values)
        parts = np.where(known, (np.where(known, values, 0) - self.centre) / np.asarray(self.spread), 0)
        return np.where(known.any(1), parts.sum(1) / np.maximum(known.sum(1), 1), np.nan)

    @property
    def names(self) -> tuple[str, ...]:
        """What the ranges are called; the least and the largest value, which are somebody's, are not told."""
        if not self.edges:
            return ("any value",)
        unit = " sd" if len(self.centre) > 1 else ""
        at = _spelled(self.edges)
        inner = (f"{low} to {high}{unit}" for low, high in pairwise(at))
        return (f"up to {at[0]}{unit}", *inner, f"above {at[-1]}{unit}")

    def as_json(self) -> dict[str, Any]:
        """What `from_json` reads."""
        return {"centre": list(self.centre), "spread": list(self.spread), "edges": list(self.edges)}

    @classmethod
    def from_json(cls, stored: dict[str, Any]) -> Self:
        """What `as_json` made."""
        return cls(*(tuple(map(float, stored[key])) for key in ("centre", "spread", "edges")))


def _spelled(edges: tuple[float, ...]) -> list[str]:
    """Edges with as few digits as tell them apart."""
    for digits in range(3, 18):
        found = [_number(edge, digits) for edge in edges]
        if len(set(found)) == len(found):
            return found
    raise AssertionError(f"{edges} are not different")


def _number(value: float, digits: int) -> str:
    if value == 0 or SMALL <= abs(value) < LARGE:
        return np.format_float_positional(value, precision=digits, fractional=False, trim="-")
    return f"{value:.{digits}g}"
