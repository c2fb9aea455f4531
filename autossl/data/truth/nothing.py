"""Nothing is known of any sample, and no label is looked at."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self, final

import numpy as np
from numpy.typing import NDArray

from autossl.data.parts import PROBE, SELECTION
from autossl.data.truth.base import Bools, Cells, Ints, Samples, Truth
from autossl.data.truth.spelling import Column
from autossl.errors import UserError
from autossl.errors.printable import plural

LEAST_GROUPS = 4  # two stay in the probe part; a selection part is drawn from the others


@final
@dataclass(frozen=True, eq=False)
class Nothing(Truth):
    """So many samples of one stratum, so that parts can be drawn of them."""

    form: ClassVar[str] = "nothing"
    word: ClassVar[str] = "kind"
    words: ClassVar[str] = "kinds"
    wanted: ClassVar[str] = "images"
    looked_at: ClassVar[bool] = False
    n: int

    @classmethod
    def may_be(cls, column: Column) -> bool:
        return False

    @property
    def strata(self) -> Ints:
        return np.zeros(self.n, dtype=np.int64)

    @property
    def names(self) -> tuple[str, ...]:
        return ("any image",)

    @property
    def known(self) -> Bools:
        return np.zeros(self.n, dtype=bool)

    @property
    def keys(self) -> Ints:
        return np.full(self.n, -1, dtype=np.int64)

    @property
    def array(self) -> Ints:
        return self.keys

    @property
    def about(self) -> dict[str, Any]:
        return {}

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, rows: Any) -> Self:
        return type(self)(len(self.strata[rows]))

    def only(self, known: Bools) -> Self:
        return self

    def extended(self, more: int) -> Self:
        return type(self)(self.n + more)

    def columns(self) -> dict[str, NDArray[Any]]:
        return {"nothing": np.zeros(self.n, dtype=bool)}

    @classmethod
    def load(cls, columns: Mapping[str, NDArray[Any]], about: Mapping[str, Any]) -> Self:
        return cls(len(columns["nothing"]))

    @classmethod
    def nothing(cls, n: int, about: Mapping[str, Any] | None = None) -> Self:
        return cls(n)

    @classmethod
    def find(cls, cells: Cells) -> tuple[Self, tuple[str, ...]]:
        return cls(len(next(iter(cells.columns.values())))), ()

    def matched(self, other: Truth, place: str) -> Self:
        assert isinstance(other, type(self)), "another form"
        return other

    def check(self, samples: Samples) -> None:
        if (held := len(np.unique(samples.groups))) < LEAST_GROUPS:
            raise UserError(
                f"at least {LEAST_GROUPS} {samples.unit}s were wanted, so that they can be split, found {held} in "
                f"{samples.place}; add some"
            )

    def check_parts(self, part: NDArray[np.int8], samples: Samples) -> tuple[str, ...]:
        for number, word in ((PROBE, "probe"), (SELECTION, "selection")):
            if (held := len(np.unique(samples.groups[part == number]))) < 1:
                raise UserError(
                    f"images were wanted in the {word} part, found {plural(held, samples.unit)} left for it in "
                    f"{samples.place}; add images"
                )
        return ("no label was looked at: what is chosen cannot be verified",)

    def described(self) -> str:
        return "no label is looked at"

    def counts(self, rows: Any = slice(None)) -> dict[str, int]:
        return {self.names[0]: len(self[rows])}
