"""One or several numbers per sample: ages, volumes, Hounsfield units."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self, final

import numpy as np
from numpy.typing import NDArray

from autossl.data.parts import PROBE, SELECTION, TEST
from autossl.data.truth.base import Bools, Cells, Ints, Samples, Truth
from autossl.data.truth.figures import FIGURE, numbers
from autossl.data.truth.naming import LABEL, aligned
from autossl.data.truth.ranges import Floats, Ranges
from autossl.data.truth.spelling import Column
from autossl.errors import UserError
from autossl.errors.printable import joined, plural, shown

LEAST_GROUPS = 4  # two in the probe part, where one is judged by the other, one in each other part
FEWEST_PROPOSED = 3  # different numbers of a column that may be meant
FEW = 2  # different numbers that are more likely classes


@final
@dataclass(frozen=True, eq=False)
class Values(Truth):
    """Numbers (n, t) as float64, which keeps every digit of a volume in mm³; NaN where one is unknown.

    A sample is known if one of its numbers is. Strata are ranges of the first column, or of the mean of several.
    """

    form: ClassVar[str] = "values"
    word: ClassVar[str] = "range"
    words: ClassVar[str] = "ranges"
    wanted: ClassVar[str] = "numbers"
    soft: ClassVar[bool] = True
    numbers: ClassVar[bool] = True
    values: Floats
    called: tuple[str, ...]
    ranges: Ranges

    @classmethod
    def may_be(cls, column: Column) -> bool:
        return len(set(column)) >= FEWEST_PROPOSED and all(FIGURE.fullmatch(value) for value in column)

    @property
    def strata(self) -> Ints:
        return self.ranges.of(self.values)

    @property
    def names(self) -> tuple[str, ...]:
        return self.ranges.names

    @property
    def known(self) -> Bools:
        return np.asarray(np.isfinite(self.values).any(1))

    @property
    def keys(self) -> Ints:
        filled = np.where(np.isfinite(self.values), self.values, np.inf)
        _, inverse = np.unique(filled, axis=0, return_inverse=True)
        return np.where(self.known, inverse.reshape(-1), -1).astype(np.int64)

    @property
    def array(self) -> Floats:
        return self.values

    @property
    def about(self) -> dict[str, Any]:
        return {"columns": list(self.called), "ranges": self.ranges.as_json()}

    def __len__(self) -> int:
        return len(self.values)

    def _with(self, values: Floats) -> Self:
        return type(self)(values, self.called, self.ranges)

    def __getitem__(self, rows: Any) -> Self:
        return self._with(self.values[rows])

    def only(self, known: Bools) -> Self:
        return self._with(np.where(known[:, None], self.values, np.nan))

    def extended(self, more: int) -> Self:
        return self._with(np.concatenate([self.values, np.full((more, len(self.called)), np.nan)]))

    def columns(self) -> dict[str, NDArray[Any]]:
        return {"values": self.values}

    @classmethod
    def load(cls, columns: Mapping[str, NDArray[Any]], about: Mapping[str, Any]) -> Self:
        return cls(columns["values"], tuple(about["columns"]), Ranges.from_json(about["ranges"]))

    @classmethod
    def nothing(cls, n: int, about: Mapping[str, Any] | None = None) -> Self:
        if about is None:
            return cls(np.full((n, 1), np.nan), (LABEL,), Ranges((0.0,), (1.0,), ()))
        return cls.load({"values": np.full((n, len(about["columns"])), np.nan)}, about)

    @classmethod
    def find(cls, cells: Cells) -> tuple[Self, tuple[str, ...]]:
        if cells.folders and not all(map(FIGURE.fullmatch, next(iter(cells.columns.values())))):
            raise UserError(
                f"numbers were wanted, found class folders in {cells.place}; give a CSV with image and label, or leave "
                "--task at classification"
            )
        values, notes = numbers(cells)
        return cls(values, tuple(cells.columns), Ranges.cut(values)), notes

    def matched(self, other: Truth, place: str) -> Self:
        assert isinstance(other, type(self)), "another form"
        return self._with(other.values[:, aligned(self.called, other.called, place)])

    def check(self, samples: Samples) -> None:
        if not self.known.any():
            raise UserError(
                f"images with {self._numbers()} were wanted, found {len(self)} without in {samples.place}; give "
                "--labels, or name columns of numbers by --label-column"
            )
        for name, column in zip(self.called, self.values.T, strict=True):
            there = np.unique(column[np.isfinite(column)])
            if len(there) < 2:
                found = f"only {there[0]:g}" if len(there) else "none"
                raise UserError(
                    f"different numbers were wanted in the column '{shown(name)}', found {found} in {samples.place}; "
                    "leave that column out"
                )
        if (held := len(np.unique(samples.groups[self.known]))) < LEAST_GROUPS:
            raise UserError(
                f"at least {LEAST_GROUPS} {samples.unit}s with {self._numbers()} were wanted, so that they can be "
                f"split, found {held} in {samples.place}; add some"
            )

    def check_parts(self, part: NDArray[np.int8], samples: Samples) -> tuple[str, ...]:
        """Notes on numbers that a scored part lacks or does not vary in; UserError where no number can be judged.

        In the probe part one group (n,) is judged by the others, so that two are needed there.
        """
        held = [len(np.unique(samples.groups[(part == PROBE) & np.isfinite(column)])) for column in self.values.T]
        if (fewest := min(held)) < 2:
            name = shown(self.called[held.index(fewest)])
            raise UserError(
                f"two {samples.unit}s with a number at least were wanted in the probe part, where one is judged by the "
                f"others, found {plural(fewest, samples.unit)} in the column '{name}' "
                f"of {samples.place}; {samples.remedy}"
            )
        notes = []
        for number, word in ((PROBE, "probe"), (SELECTION, "selection"), (TEST, "test")):
            flat = [name for name, column in zip(self.called, self.values[part == number].T, strict=True)
                    if len(np.unique(column[np.isfinite(column)])) < 2]  # fmt: skip
            if len(flat) == len(self.called) or (flat and number == PROBE):
                raise UserError(
                    f"different {self._numbers()} were wanted in the {word} part, found fewer than two there in "
                    f"{samples.place}; {samples.remedy}"
                )
            notes += [f"the {word} part has no two different numbers in column {shown(name)}" for name in flat]
        return tuple(notes)

    def _numbers(self) -> str:
        return f"numbers ({joined([shown(name) for name in self.called])})"

    def described(self) -> str:
        return f"{int(self.known.sum())} with {self._numbers()}"

    def notes(self) -> tuple[str, ...]:
        """What is said of numbers that are more likely classes."""
        few = [name for name, column in zip(self.called, self.values.T, strict=True)
               if len(np.unique(column[np.isfinite(column)])) <= FEW]  # fmt: skip
        return tuple(f"column {shown(name)} has two different numbers only: they may be classes" for name in few)

    def content(self) -> tuple[NDArray[Any], NDArray[np.uint8]]:
        names = "\n".join(self.called).encode("utf-8", "surrogatepass")
        return self.values, np.frombuffer(names, dtype=np.uint8)
