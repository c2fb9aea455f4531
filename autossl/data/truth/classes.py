"""One class per sample."""

from dataclasses import dataclass
from typing import ClassVar, Self, final

import numpy as np
from numpy.typing import NDArray

from autossl.data.truth.base import Cells, Samples
from autossl.data.truth.indexed import Indexed
from autossl.data.truth.naming import encode_labels, without_missing
from autossl.errors import UserError
from autossl.errors.printable import plural

MOST_RARE = 5  # classes of one patient; more, and half of all classes, are no classes
IMBALANCE = 10.0  # largest class over smallest from which a note is made


@final
@dataclass(frozen=True, eq=False)
class Classes(Indexed):
    """Class indices (n,), -1 where none is known, and the names of the classes."""

    form: ClassVar[str] = "classes"
    word: ClassVar[str] = "class"
    words: ClassVar[str] = "classes"
    wanted: ClassVar[str] = "class labels"
    key: ClassVar[str] = "classes"

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

    def check(self, samples: Samples) -> None:
        """UserError where labels cannot make a classification study."""
        self.check_two(samples)
        counts = list(self.counts().values())
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
        return self.check_scored(part, samples)

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
