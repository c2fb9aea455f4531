"""What classes and grades share: one index per sample, and names for the indices."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from autossl.data.parts import PROBE, SELECTION, TEST
from autossl.data.truth.base import Bools, Ints, Samples, Truth
from autossl.data.truth.naming import categorical
from autossl.data.truth.spelling import Column, canonical
from autossl.errors import UserError
from autossl.errors.printable import plural


@dataclass(frozen=True, eq=False)
class Indexed(Truth):
    """Indices (n,), -1 where none is known, and what they are called."""

    key: ClassVar[str]  # of the names in `about`
    labels: Ints
    classes: tuple[str, ...]

    @classmethod
    def may_be(cls, column: Column) -> bool:
        return categorical(column)

    @property
    def strata(self) -> Ints:
        return self.labels

    @property
    def names(self) -> tuple[str, ...]:
        return self.classes

    @property
    def array(self) -> Ints:
        return self.labels

    @property
    def about(self) -> dict[str, Any]:
        return {self.key: list(self.classes)}

    def __getitem__(self, rows: Any) -> Self:
        return type(self)(self.labels[rows], self.classes)

    def only(self, known: Bools) -> Self:
        return type(self)(np.where(known, self.labels, -1).astype(np.int64), self.classes)

    def extended(self, more: int) -> Self:
        return type(self)(np.concatenate([self.labels, np.full(more, -1)]).astype(np.int64), self.classes)

    def columns(self) -> dict[str, NDArray[Any]]:
        return {"labels": self.labels}

    @classmethod
    def load(cls, columns: Mapping[str, NDArray[Any]], about: Mapping[str, Any]) -> Self:
        return cls(columns["labels"], tuple(about[cls.key]))

    @classmethod
    def nothing(cls, n: int, about: Mapping[str, Any] | None = None) -> Self:
        return cls(np.full(n, -1, dtype=np.int64), tuple((about or {}).get(cls.key, ())))

    def matched(self, other: Truth, place: str) -> Self:
        assert isinstance(other, type(self)), "another form"
        index = {canonical(name): at for at, name in enumerate(self.classes)}
        index |= {name: at for at, name in enumerate(self.classes)}
        strange = [name for name in other.classes if name not in index]
        if strange:
            raise UserError(
                f"labels among the {self.words} of the study ({', '.join(self.classes)}) were wanted, found "
                f"{strange[0]!r} in {place}; rename or remove them"
            )
        at = np.array([index[name] for name in other.classes], dtype=np.int64)
        labels = np.where(other.labels >= 0, at[other.labels] if len(at) else -1, -1).astype(np.int64)
        return type(self)(labels, self.classes)

    def described(self) -> str:
        return f"{int(self.known.sum())} in {len(self.classes)} {self.words}"

    def check_two(self, samples: Samples) -> None:
        """UserError where no two different labels are known."""
        if len(self.classes) == 0:
            raise UserError(
                f"labelled images were wanted, found {len(self)} images without a label in {samples.place}; "
                "give --labels or use class folders"
            )
        if len(self.classes) == 1:
            raise UserError(
                f"at least two {self.words} were wanted, found only {self.classes[0]!r} ({self.known.sum()} images) "
                f"in {samples.place}; add images of another {self.word}"
            )

    def check_scored(self, part: NDArray[np.int8], samples: Samples) -> tuple[str, ...]:
        """Notes on what the scored parts lack; UserError where nothing could be told from them.

        In the probe part one group (n,) is judged by the others: two of each of two classes are needed.
        """
        held = np.array(list(self.groups_per_stratum(part == PROBE, samples.groups).values()))
        if np.count_nonzero(held > 1) < 2:
            raise UserError(
                f"two {samples.unit}s of each of two {self.words} at least were wanted in the probe part, where one is "
                f"judged by the others, found {plural(int(held.min()), samples.unit)} of {self.word} "
                f"{self.classes[int(held.argmin())]!r} in {samples.place}; {samples.remedy}"
            )
        for number, word in ((TEST, "test"), (SELECTION, "selection")):
            there = np.unique(self.labels[(part == number) & self.known])
            if len(there) < 2:
                raise UserError(
                    f"labels of two {self.words} at least were wanted in the {word} part, found {len(there)} in "
                    f"{samples.place}; {samples.remedy}"
                )
        probe, selection, test = (self.counts(part == number) for number in (PROBE, SELECTION, TEST))
        self.check_taught(probe, samples)
        notes = []
        for name in self.classes:
            lacking = [word for found, word in ((selection, "selection"), (test, "test")) if found[name] == 0]
            if lacking:
                notes.append(f"{self.word} {name} has no labelled image in the {' and the '.join(lacking)} part")
        return tuple(notes)

    def check_taught(self, probe: Mapping[str, int], samples: Samples) -> None:
        """UserError where the probe part has no label of something that must be there."""
        for name, count in probe.items():
            if count == 0:
                raise UserError(
                    f"training labels of every {self.word} were wanted, found none of {self.word} {name!r} outside the "
                    f"selection and test parts of {samples.place}; add some or leave the {self.word} out"
                )
