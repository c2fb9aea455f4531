"""One class per sample."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self, final

import numpy as np
from numpy.typing import NDArray

from autossl.data.parts import PROBE, SELECTION, TEST
from autossl.data.truth.base import Bools, Cells, Ints, Samples, Truth
from autossl.data.truth.naming import categorical, encode_labels, without_missing
from autossl.data.truth.spelling import Column, canonical
from autossl.errors import UserError
from autossl.errors.printable import plural

MOST_RARE = 5  # classes of one patient; more, and half of all classes, are no classes
IMBALANCE = 10.0  # largest class over smallest from which a note is made


@final
@dataclass(frozen=True, eq=False)
class Classes(Truth):
    """Class indices (n,), -1 where none is known, and the names of the classes."""

    form: ClassVar[str] = "classes"
    wanted: ClassVar[str] = "class labels"
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
    def about(self) -> dict[str, Any]:
        return {"classes": list(self.classes)}

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
        return cls(columns["labels"], tuple(about["classes"]))

    @classmethod
    def nothing(cls, n: int, about: Mapping[str, Any] | None = None) -> Self:
        return cls(np.full(n, -1, dtype=np.int64), tuple((about or {}).get("classes", ())))

    @classmethod
    def find(cls, cells: Cells) -> tuple[Self, tuple[str, ...]]:
        if len(cells.columns) > 1:
            raise UserError(
                f"one column of classes was wanted, found {len(cells.columns)} columns of labels in {cells.place}; "
                "several labels per image are --task multilabel, or choose one by --label-column"
            )
        (values,), said = cells.columns.values(), tuple[str, ...]()
        if cells.folders:
            if cells.missing:
                said = ("folders are classes, whatever their names: --missing is for the labels of tables",)
        else:
            values, said = without_missing(values, cells.missing)
        labels, classes, notes = encode_labels(values, dict(cells.names), cells.place, cells.folders)
        return cls(labels, classes), (*said, *notes)

    def matched(self, other: Self, place: str) -> Self:
        index = {canonical(name): at for at, name in enumerate(self.classes)}
        index |= {name: at for at, name in enumerate(self.classes)}
        strange = [name for name in other.classes if name not in index]
        if strange:
            raise UserError(
                f"labels among the classes of the study ({', '.join(self.classes)}) were wanted, found {strange[0]!r} "
                f"in {place}; rename or remove them"
            )
        at = np.array([index[name] for name in other.classes], dtype=np.int64)
        labels = np.where(other.labels >= 0, at[other.labels] if len(at) else -1, -1).astype(np.int64)
        return type(self)(labels, self.classes)

    def check(self, samples: Samples) -> None:
        """UserError where labels cannot make a classification study."""
        counts = list(self.counts().values())
        if len(self.classes) == 0:
            raise UserError(
                f"labelled images were wanted, found {len(self)} images without a label in {samples.place}; "
                "give --labels or use class folders"
            )
        if len(self.classes) == 1:
            raise UserError(
                f"at least two classes were wanted, found only {self.classes[0]!r} ({counts[0]} images) "
                f"in {samples.place}; add images of another class"
            )
        held = list(self.groups_per_stratum(slice(None), samples.groups).values())
        alone = [index for index, found in enumerate(held) if found < 2]
        if not alone:
            return
        wanted = f"at least two {samples.unit}s of every class were wanted, so that it can be split, found"
        if len(alone) > max(MOST_RARE, len(held) // 2):  # hardly classes: what stands there may identify patients
            raise UserError(
                f"{wanted} one in {len(alone)} of {len(held)} classes in {samples.place}; "
                "name a column of classes by --label-column"
            )
        first = alone[0]
        raise UserError(
            f"{wanted} {held[first]} of class {self.classes[first]!r} ({plural(counts[first], 'image')}) "
            f"in {samples.place}; add some or leave the class out"
        )

    def check_parts(self, part: NDArray[np.int8], samples: Samples) -> tuple[str, ...]:
        """Notes on classes that a scored part lacks; UserError where the probe part lacks one, the test part has none.

        Also where no two classes of the probe part have two groups (n,) each: nothing can be known of an encoder then.
        """
        self._check_judged(part, samples)
        for number, word in ((TEST, "test"), (SELECTION, "selection")):
            held = np.unique(self.labels[(part == number) & self.known])
            if len(held) < 2:
                raise UserError(
                    f"labels of two classes at least were wanted in the {word} part, found {len(held)} in "
                    f"{samples.place}; {samples.remedy}"
                )
        notes = []
        probe, selection, test = (self.counts(part == number) for number in (PROBE, SELECTION, TEST))
        for name in self.classes:
            if probe[name] == 0:
                raise UserError(
                    f"training labels of every class were wanted, found none of class {name!r} outside the selection "
                    f"and test parts of {samples.place}; add some or leave the class out"
                )
            lacking = [word for found, word in ((selection, "selection"), (test, "test")) if found[name] == 0]
            if lacking:
                notes.append(f"class {name} has no labelled image in the {' and the '.join(lacking)} part")
        return tuple(notes)

    def _check_judged(self, part: NDArray[np.int8], samples: Samples) -> None:
        """UserError where the labels of the probe part cannot tell one encoder from another."""
        held = np.array(list(self.groups_per_stratum(part == PROBE, samples.groups).values()))
        if np.count_nonzero(held > 1) < 2:
            raise UserError(
                f"two {samples.unit}s of each of two classes at least were wanted in the probe part, where one is "
                f"judged by the others, found {plural(int(held.min()), samples.unit)} of class "
                f"{self.classes[int(held.argmin())]!r} in {samples.place}; {samples.remedy}"
            )

    def described(self) -> str:
        return f"{int(self.known.sum())} in {len(self.classes)} classes"

    def notes(self) -> tuple[str, ...]:
        """What is said of sizes that differ much."""
        counts = self.counts()
        small, large = min(counts, key=counts.__getitem__), max(counts, key=counts.__getitem__)
        if counts[large] <= IMBALANCE * max(1, counts[small]):
            return ()
        return (
            f"classes are unequal: {counts[large]} labels of {large}, {counts[small]} of {small}; "
            "read balanced accuracy, not accuracy",
        )
