"""Several findings per sample, each there, not there or unknown."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self, final

import numpy as np
from numpy.typing import NDArray

from autossl.data.parts import PROBE, SELECTION, TEST
from autossl.data.truth.base import Bools, Cells, Ints, Samples, Truth
from autossl.data.truth.findings import Marks, findings
from autossl.data.truth.naming import LABEL, aligned, yes_or_no
from autossl.data.truth.spelling import Column
from autossl.errors import UserError
from autossl.errors.printable import plural, shown

NONE_OF_THEM = "none of them"
LEAST_GROUPS = 2  # with and without a finding


@final
@dataclass(frozen=True, eq=False)
class Labels(Truth):
    """Marks (n, t): 1 there, 0 not there, -1 unknown. A sample is known if one of its marks is.

    The stratum of a sample is its rarest finding, so that the rare ones are divided first (the order in which
    Sechidis et al. 2011 divide them), else "none of them".
    """

    form: ClassVar[str] = "labels"
    word: ClassVar[str] = "label"
    words: ClassVar[str] = "labels"
    wanted: ClassVar[str] = "findings"
    soft: ClassVar[bool] = True
    marks: Marks
    called: tuple[str, ...]
    rarest: tuple[int, ...]  # columns, the rarest finding first

    @classmethod
    def may_be(cls, column: Column) -> bool:
        return len(set(column)) > 1 and (yes_or_no(column) or any("|" in value for value in column))

    @property
    def strata(self) -> Ints:
        there = self.marks[:, self.rarest] == 1
        first = np.asarray(self.rarest)[there.argmax(1)]
        found = np.where(there.any(1), first, len(self.called))
        return np.where(self.known, found, -1).astype(np.int64)

    @property
    def names(self) -> tuple[str, ...]:
        return (*self.called, NONE_OF_THEM)

    @property
    def known(self) -> Bools:
        return np.asarray((self.marks >= 0).any(1))

    @property
    def keys(self) -> Ints:
        _, inverse = np.unique(self.marks, axis=0, return_inverse=True)
        return np.where(self.known, inverse.reshape(-1), -1).astype(np.int64)

    @property
    def array(self) -> Marks:
        return self.marks

    @property
    def about(self) -> dict[str, Any]:
        return {"columns": list(self.called), "rarest": list(self.rarest)}

    def __len__(self) -> int:
        return len(self.marks)

    def _with(self, marks: Marks) -> Self:
        return type(self)(marks, self.called, self.rarest)

    def __getitem__(self, rows: Any) -> Self:
        return self._with(self.marks[rows])

    def only(self, known: Bools) -> Self:
        return self._with(np.where(known[:, None], self.marks, -1).astype(np.int8))

    def extended(self, more: int) -> Self:
        return self._with(np.concatenate([self.marks, np.full((more, len(self.called)), -1, dtype=np.int8)]))

    def columns(self) -> dict[str, NDArray[Any]]:
        return {"marks": self.marks}

    @classmethod
    def load(cls, columns: Mapping[str, NDArray[Any]], about: Mapping[str, Any]) -> Self:
        return cls(columns["marks"], tuple(about["columns"]), tuple(map(int, about["rarest"])))

    @classmethod
    def nothing(cls, n: int, about: Mapping[str, Any] | None = None) -> Self:
        about = about or {"columns": [LABEL], "rarest": [0]}
        return cls.load({"marks": np.full((n, len(about["columns"])), -1, dtype=np.int8)}, about)

    @classmethod
    def find(cls, cells: Cells) -> tuple[Self, tuple[str, ...]]:
        if cells.folders:
            raise UserError(
                f"columns of findings were wanted, found class folders in {cells.place}, which give each image one "
                "label; give a CSV with image and label, or leave --task at classification"
            )
        marks, names, notes = findings(cells)
        if not names:
            return cls.nothing(len(marks)), notes
        rarest = np.argsort((marks == 1).sum(0), kind="stable")
        return cls(marks, names, tuple(rarest.tolist())), notes

    def matched(self, other: Truth, place: str) -> Self:
        assert isinstance(other, type(self)), "another form"
        strange = [name for name in other.called if name not in self.called]
        if strange and set(self.called) <= set(other.called):
            there = other.marks[:, [other.called.index(name) for name in strange]] == 1
            if there.any():
                raise UserError(
                    f"findings of the study ({', '.join(map(shown, self.called))}) were wanted, found "
                    f"'{shown(strange[int(there.any(0).argmax())])}' in {place}; rename it or leave it out"
                )
        return self._with(other.marks[:, aligned(self.called, other.called, place)])

    def check(self, samples: Samples) -> None:
        if not self.known.any():
            raise UserError(
                f"images with findings were wanted, found {len(self)} without in {samples.place}; give --labels, or "
                "name columns of yes and no by --label-column"
            )
        if NONE_OF_THEM in self.called or len(set(self.called)) < len(self.called):
            raise UserError(
                f"findings of different names were wanted, found one called '{NONE_OF_THEM}' in {samples.place}; "
                "rename it"
            )
        for name, column in zip(self.called, self.marks.T, strict=True):
            held = {
                word: len(np.unique(samples.groups[column == mark])) for word, mark in (("with", 1), ("without", 0))
            }
            for word, count in held.items():
                if count < LEAST_GROUPS:
                    raise UserError(
                        f"at least {LEAST_GROUPS} {samples.unit}s with and without '{shown(name)}' were wanted, found "
                        f"{count or 'none'} {word} it in {samples.place}; leave that label out"
                    )

    def check_parts(self, part: NDArray[np.int8], samples: Samples) -> tuple[str, ...]:
        """Notes on findings that cannot be told apart in a scored part; UserError where none can.

        In the probe part one group (n,) is judged by the others: two with and two without a finding are needed.
        """
        notes = []
        for number, word, least in ((PROBE, "probe", 2), (SELECTION, "selection", 1), (TEST, "test", 1)):
            inside = part == number
            lacking = [
                (name, said)
                for name, column in zip(self.called, self.marks.T, strict=True)
                for mark, said in ((1, "with"), (0, "without"))
                if len(np.unique(samples.groups[inside & (column == mark)])) < least
            ]
            if len({name for name, _ in lacking}) == len(self.called):
                raise UserError(
                    f"{plural(least, samples.unit)} at least with and without one finding were wanted in the {word} "
                    f"part, found fewer of each of {plural(len(self.called), 'label')} in {samples.place}; "
                    f"{samples.remedy}"
                )
            notes += [f"label {shown(name)} is not scored in the {word} part: too few images are {said} it"
                      for name, said in lacking]  # fmt: skip
        return tuple(notes)

    def described(self) -> str:
        unknown = int((self.marks[self.known] < 0).sum())
        return f"{int(self.known.sum())} with {plural(len(self.called), 'label')}" + (
            f", {unknown:,} entries unknown" if unknown else ""
        )

    def counts(self, rows: Any = slice(None)) -> dict[str, int]:
        """How many of these samples have each finding, and how many have none."""
        return {name: int(column.sum()) for name, column in self._held(rows)}

    def groups_per_stratum(self, rows: Any, groups: Ints) -> dict[str, int]:
        """How many groups (n,) hold one of these samples with each finding, or with none."""
        inside = groups[rows]
        return {name: len(np.unique(inside[column])) for name, column in self._held(rows)}

    def _held(self, rows: Any) -> list[tuple[str, Bools]]:
        marks = self.marks[rows]
        there = marks == 1
        none = ~there.any(1) & (marks >= 0).any(1)
        return list(zip(self.names, [*there.T, none], strict=True))

    def content(self) -> tuple[NDArray[Any], NDArray[np.uint8]]:
        names = "\n".join(self.called).encode("utf-8", "surrogatepass")
        return self.marks, np.frombuffer(names, dtype=np.uint8)
