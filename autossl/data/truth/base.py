"""The contract of a form of label: which samples are known, which are alike, and what splits keep in proportion."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from autossl.data.truth.objects import Objects
from autossl.data.truth.spelling import Column

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
Raw = Callable[[int], NDArray[Any]]  # row -> its mask or target as it was given; ValueError where it is damaged

ALWAYS, NEVER, AUTO = "always", "never", "auto"
OUTSIDE = -1  # what `Frame.fit` puts where a mask ends
SHARE = 65535  # what means 1.0 in `Frame.shares`


@dataclass(frozen=True)
class Cells:
    """Columns of labels as they stand in the data: n texts each, in one spelling, and how they are to be read."""

    columns: Mapping[str, Column]  # by name; one that has none is called "label"
    place: str
    names: Mapping[str, str] = field(default_factory=dict)  # value -> the name of a class
    folders: bool = False  # they are names of folders, none of which is missing
    missing: str | Sequence[str] | None = None  # the words that mean that there is none; None: the usual ones
    order: str | Sequence[str] | None = None  # of grades that are words, ascending
    study: "Truth | None" = None  # in whose terms these labels of new images will be told
    raw: Raw | None = None  # reads the files that cells name, or arrays that were given
    objects: Sequence[Objects | None] | None = None  # boxes of n images, None for one of which nothing is known


@dataclass(frozen=True)
class Frame:
    """How images are brought into the store, for truths that have to follow them."""

    folder: Path
    space: tuple[int, ...]  # sides in the store
    key: str  # changes with the data and the size
    place: str
    failures: int  # of n samples that may be set aside
    naming: Callable[[int], str]
    check: Callable[[int, NDArray[Any]], None]  # ValueError where a mask has another shape than the image of that row
    sides: Ints  # (n, dims) of the images as they are
    carried: Callable[[int, NDArray[np.float64]], NDArray[np.float64]]  # points (k, 2) as x, y in pixels of that image
    # -> in shares of the square that it is brought to
    fit: Callable[[int, NDArray[Any]], NDArray[Any]]  # the mask at the size of the store, OUTSIDE beyond the image
    write: Callable[[str, Callable[[IO[bytes]], object]], None]  # a file in the folder, whole or not at all
    shares: Callable[[int, NDArray[Any]], NDArray[np.uint16]]  # another image on the grid of the one of that row, as
    # SHARE times its values; ValueError where it is of another kind
    image: Callable[[int], NDArray[np.float64]]  # that of a row as it stands in the store, in [0, 1]
    grain: Callable[[int], NDArray[np.float64]]  # (3,) what a pixel of the store is of the image of that row
    unit: str  # in which: "mm", or "pixels" of the image


@dataclass(frozen=True)
class Samples:
    """Where n samples come from, for sentences about them."""

    place: str
    groups: Ints  # (n,) patients, or the samples themselves where there are no ids
    unit: str  # the word for a group: patient or image
    remedy: str = ""  # what to do where a part lacks labels


class Truth(ABC):
    """What is known of n samples. A subclass is final; rows that are not `known` hold nothing that could be read.

    `strata` (n,) are what splits, `max_labels`, the label curve and maps keep in proportion, -1 for samples that none
    of these may draw; `names` are theirs. `keys` (n,): equal keys are equal labels.
    """

    form: ClassVar[str]
    word: ClassVar[str]  # for a stratum: class, grade, range, label
    words: ClassVar[str]  # for several
    wanted: ClassVar[str]  # what a column of labels holds, in words
    soft: ClassVar[bool] = False  # a part may lack a stratum where patients are too few for all of them
    looked_at: ClassVar[bool] = True  # False: labels are not read, and nothing is tested
    numbers: ClassVar[bool] = False  # a column with a different number in every row may be meant
    usual: ClassVar[tuple[str, ...]] = ("label",)  # columns of a table, one of which is meant where none is named
    apart: ClassVar[bool] = True  # each stratum is judged by itself; False: strata only keep proportions
    files: ClassVar[bool] = False  # its cells name files beside the images
    beside: ClassVar[str] = ""  # the array that holds such images in an archive
    windows: ClassVar[str] = NEVER  # whether images are cut into windows of the size of the store, none resized, or
    # AUTO where that is settled for each study, see `cutting`
    covered: ClassVar[bool] = False  # windows cover images, for answers to them are put together before they are judged
    boxed: ClassVar[bool] = False  # it is made of boxes, or of masks where there are none

    @classmethod
    @abstractmethod
    def may_be(cls, column: Column) -> bool:
        """Whether a column of a table, without its empty cells, is proposed to people who have named none."""

    @property
    @abstractmethod
    def strata(self) -> Ints:
        """(n,) index into `names`, or -1."""

    @property
    @abstractmethod
    def names(self) -> tuple[str, ...]:
        """What the strata are called."""

    @property
    @abstractmethod
    def array(self) -> NDArray[Any]:
        """(n, ...) as a readout's loss and metrics take it; rows that are not known hold a placeholder."""

    @property
    @abstractmethod
    def about(self) -> dict[str, Any]:
        """What holds for all samples (classes, columns, units), as JSON: for data.npz and exported models."""

    @abstractmethod
    def __getitem__(self, rows: Any) -> Self:
        """The truth of these samples: indices or a mask."""

    @abstractmethod
    def only(self, known: Bools) -> Self:
        """The same, with what lies outside `known` (n,) forgotten."""

    @abstractmethod
    def extended(self, more: int) -> Self:
        """The same with so many samples at the end of which nothing is known."""

    @abstractmethod
    def columns(self) -> dict[str, NDArray[Any]]:
        """Arrays (n, ...) from which, with `about`, `load` makes the same again."""

    @classmethod
    @abstractmethod
    def load(cls, columns: Mapping[str, NDArray[Any]], about: Mapping[str, Any]) -> Self:
        """What `columns` and `about` hold."""

    @classmethod
    @abstractmethod
    def nothing(cls, n: int, about: Mapping[str, Any] | None = None) -> Self:
        """Nothing is known of n samples, in terms that hold for others."""

    @classmethod
    @abstractmethod
    def find(cls, cells: Cells) -> tuple[Self, tuple[str, ...]]:
        """What cells of the data say, and what is to be said of it; UserError where they are no such labels."""

    @abstractmethod
    def matched(self, other: "Truth", place: str) -> Self:
        """`other`, of new images at `place`, in the terms of this truth; UserError for what it does not know."""

    @abstractmethod
    def check(self, samples: Samples) -> None:
        """UserError where these labels can make no study."""

    @abstractmethod
    def check_parts(self, part: NDArray[np.int8], samples: Samples) -> tuple[str, ...]:
        """Notes on what parts (n,) of the data lack; UserError where that makes a study meaningless."""

    @abstractmethod
    def described(self) -> str:
        """How much is known, in words."""

    def notes(self) -> tuple[str, ...]:
        """What else is to be said of these labels."""
        return ()

    def decoded(self, frame: Frame) -> Self:
        """The same where images have been brought into the store, and labels that are images follow them."""
        return self

    @property
    def cropped(self) -> bool:
        """Whether images are cut into windows of the size of the store, and never resized."""
        return self.windows == ALWAYS

    def cutting(self, cut: bool) -> Self:
        """The same where it is settled whether images are cut, if that may be chosen."""
        return self

    def width(self, row: int) -> float:
        """Of what is marked in a sample, before it is decoded, in pixels of its image; NaN where that is not known."""
        return float("nan")

    def windowed(self, owner: Ints, corners: Ints, window: Callable[[Raw], Raw]) -> Self:
        """The same of windows of the samples, each of `owner` (k,) from a corner (k, dims) on; before decoding.

        `window` makes what reads the masks of windows of what reads those of samples.
        """
        raise AssertionError(f"{self.form} are not cut")

    def shown(self, at: Ints) -> Ints:
        """Samples (k,) that show these; of an image that was cut a window with much of what is marked."""
        return at

    def opened(self, folder: Path) -> Self:
        """What `load` made of a study's columns, with what `decoded` kept in its folder."""
        return self

    @property
    def known(self) -> Bools:
        """(n,) labelled and not withheld."""
        return np.asarray(self.strata >= 0)

    @property
    def keys(self) -> Ints:
        """(n,) equal where labels are equal; -1 where none is known."""
        return self.strata

    def __len__(self) -> int:
        return len(self.strata)

    def counts(self, rows: Any = slice(None)) -> dict[str, int]:
        """How many of these samples are known, by what strata are called."""
        strata = self.strata[rows]
        found = np.bincount(strata[strata >= 0], minlength=len(self.names))
        return {name: int(count) for name, count in zip(self.names, found, strict=True)}

    def groups_per_stratum(self, rows: Any, groups: Ints) -> dict[str, int]:
        """How many groups (n,) hold one of these samples, by what strata are called."""
        strata, inside = self.strata[rows], groups[rows]
        return {name: len(np.unique(inside[strata == at])) for at, name in enumerate(self.names)}

    def content(self) -> tuple[NDArray[Any], NDArray[np.uint8]]:
        """What tells this truth from another, for digests: its labels, and what they are called."""
        names = "\n".join(self.names).encode("utf-8", "surrogatepass")
        return next(iter(self.columns().values())), np.frombuffer(names, dtype=np.uint8)
