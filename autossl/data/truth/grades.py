"""One grade per sample: classes with an order, of numbers their own, of words the one that is given."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Self, final

import numpy as np
from numpy.typing import NDArray

from autossl.data.truth.base import Cells, Samples
from autossl.data.truth.indexed import Indexed
from autossl.data.truth.naming import NUMBER, WHOLE, without_words
from autossl.data.truth.spelling import canonical
from autossl.errors import UserError
from autossl.errors.printable import plural, shown

MOST = 20  # different grades; more are a measurement
MOST_LISTED = 8  # words that a message lists
AGAIN = 2  # images of each word from which it is a grade and may be shown


@final
@dataclass(frozen=True, eq=False)
class Grades(Indexed):
    """Indices of grades (n,) from the lowest, -1 where none is known, and their names; steps are of equal size."""

    form: ClassVar[str] = "grades"
    word: ClassVar[str] = "grade"
    words: ClassVar[str] = "grades"
    wanted: ClassVar[str] = "grades"
    key: ClassVar[str] = "grades"

    @classmethod
    def find(cls, cells: Cells) -> tuple[Self, tuple[str, ...]]:
        if len(cells.columns) > 1:
            raise UserError(
                f"one column of grades was wanted, found {len(cells.columns)} columns of labels in {cells.place}; "
                "choose one by --label-column"
            )
        if cells.folders:
            (values,), notes = cells.columns.values(), tuple[str, ...]()
        else:
            kept, notes = without_words(cells.columns, cells.missing)
            (values,) = kept.values()
        counts = Counter(value for value in values if value)
        order, said = _order(counts, cells)
        index = {value: at for at, value in enumerate(order)}
        labels = np.array([index.get(value, -1) for value in values], dtype=np.int64)
        return cls(labels, tuple(cells.names.get(value, value) for value in order)), (*notes, *said)

    def check(self, samples: Samples) -> None:
        self.check_two(samples)
        held = list(self.groups_per_stratum(slice(None), samples.groups).values())
        if sum(count > 1 for count in held) < 2:
            raise UserError(
                f"two {samples.unit}s of each of two grades at least were wanted, so that they can be split, found "
                f"{plural(max(held), samples.unit)} of the commonest of {len(held)} grades in {samples.place}; add some"
            )

    def check_parts(self, part: NDArray[np.int8], samples: Samples) -> tuple[str, ...]:
        return self.check_scored(part, samples)


def _order(counts: Mapping[str, int], cells: Cells) -> tuple[list[str], tuple[str, ...]]:
    """The values that are there from the lowest grade to the highest, and notes."""
    if cells.study is not None:  # strangers are refused by name where they are matched
        return _of_study(counts, cells, cells.study.names), ()
    if cells.order is not None:
        return _as_given(counts, cells.order, cells.place)
    if whole := [value for value in counts if WHOLE.fullmatch(value)]:
        _refuse_measurements(counts, cells.place)
    if len(whole) == len(counts):
        order = sorted(counts, key=int)
        steps = np.diff([int(value) for value in order])
        gaps = (f"grades {', '.join(order)} are taken as steps of equal size",) if (steps > 1).any() else ()
        return order, gaps
    raise _no_order(counts, cells.place)


def _of_study(counts: Mapping[str, int], cells: Cells, names: Sequence[str]) -> list[str]:
    place = {canonical(name): at for at, name in enumerate(names)}
    return sorted(counts, key=lambda value: (place.get(canonical(cells.names.get(value, value)), len(place)), value))


def _as_given(counts: Mapping[str, int], order: str | Sequence[str], place: str) -> tuple[list[str], tuple[str, ...]]:
    if not isinstance(order, str | list | tuple) or not all(isinstance(word, str) for word in order):
        raise UserError(
            f"grades in ascending order were wanted, found {type(order).__name__} as --order; give for example "
            "mild,moderate,severe"
        )
    words = [canonical(word) for word in (order.split(",") if isinstance(order, str) else order)]
    if twice := next((word for word in words if words.count(word) > 1), None):
        raise UserError(f"each grade once was wanted, found '{shown(twice)}' twice in --order; leave one out")
    if strange := next((value for value in counts if value not in words), None):
        raise UserError(
            f"a grade of --order ({', '.join(map(shown, words))}) was wanted, found '{shown(strange)}' in {place}; "
            "name it there, or mend it"
        )
    unused = [word for word in words if word not in counts]
    said = (f"no image has the grade '{shown(unused[0])}' that --order names",) if unused else ()
    return [word for word in words if word in counts], said


def _refuse_measurements(counts: Mapping[str, int], place: str) -> None:
    if len(counts) > MOST:
        raise UserError(
            f"at most {MOST} grades were wanted, found {len(counts)} different numbers in {place}; numbers are "
            "--task regression"
        )


def _no_order(counts: Mapping[str, int], place: str) -> UserError:
    if fraction := next((value for value in counts if NUMBER.fullmatch(value) and not WHOLE.fullmatch(value)), ""):
        return UserError(
            f"grades as whole numbers were wanted, found {shown(fraction)} in {place}; numbers are --task regression, "
            "or give all grades by --order, the lowest first"
        )
    known = sorted(counts)
    if len(known) > MOST_LISTED or min(counts.values()) < AGAIN:  # hardly grades: they may identify patients
        return UserError(
            f"whole numbers or an order were wanted, found {len(known)} different words in {place}; give the grades by "
            "--order, the lowest first: mild,moderate,severe"
        )
    listed = ",".join(map(shown, known))
    return UserError(
        f"whole numbers or an order of the grades were wanted, found the words {listed} in {place}; give them by "
        f"--order, the lowest first"
    )
