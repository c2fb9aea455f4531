"""Boxes around the objects of each sample, every one of a class."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Self, final

import numpy as np
from numpy.typing import NDArray

from autossl.data.parts import PROBE, SELECTION, TEST
from autossl.data.truth.base import Bools, Cells, Frame, Ints, Samples, Truth
from autossl.data.truth.flaws import Flaws
from autossl.data.truth.objects import Floats, Objects, classes_of, indices, of_masks, packed
from autossl.data.truth.spelling import Column
from autossl.data.truth.spots import Spots, drawn
from autossl.errors import UserError
from autossl.errors.printable import joined, plural, shown

LEAST_GROUPS = 4  # two in the probe part, where one is judged by the other, one in each other part
NONE = "no object"
REMEDY = (
    "give a folder of Pascal VOC, COCO or YOLO, a CSV with the columns image, x0, y0, x1, y1 and label, or images with "
    "masks"
)


@final
@dataclass(frozen=True, eq=False)
class Boxes(Truth):
    """Boxes (n, most, 5) as x0, y0, x1, y1 in shares of the square in the store, and their class; NaN where none is.

    Before images are decoded boxes are as they were given. A sample without an object is known too, where data say so.
    Strata are the rarest class of a sample, for classes stand by falling frequency, or that it has none.
    """

    form: ClassVar[str] = "boxes"
    word: ClassVar[str] = "rarest object"
    words: ClassVar[str] = "rarest objects"
    wanted: ClassVar[str] = "boxes of objects"
    usual: ClassVar[tuple[str, ...]] = ("mask",)
    soft: ClassVar[bool] = True
    apart: ClassVar[bool] = False
    files: ClassVar[bool] = True
    beside: ClassVar[str] = "masks"
    boxed: ClassVar[bool] = True
    there: Bools
    objects: tuple[str, ...] = ()
    boxes: Floats = field(default_factory=lambda: np.zeros((0, 0, 5)))
    inside: Floats = field(default_factory=lambda: np.zeros((0, 4)))  # (n, 4) where in the square an image lies
    given: tuple[Objects | None, ...] | None = None
    called: Mapping[str, str] = field(default_factory=dict)  # names as given -> classes
    said: tuple[str, ...] = ()

    @classmethod
    def may_be(cls, column: Column) -> bool:
        return False

    @property
    def strata(self) -> Ints:
        kinds = np.where(np.isnan(self.boxes[..., 4]), -1, self.boxes[..., 4]).max(1, initial=-1)
        found = np.where(kinds < 0, len(self.objects), kinds).astype(np.int64)
        return np.where(self.there, found, -1)

    @property
    def names(self) -> tuple[str, ...]:
        return (*self.objects, NONE if NONE not in self.objects else f"{NONE} at all")

    @property
    def known(self) -> Bools:
        return self.there

    @property
    def keys(self) -> Ints:
        return np.array(
            [_print(row) if here else -1 for row, here in zip(self.boxes, self.there, strict=True)], np.int64
        )

    @property
    def array(self) -> NDArray[np.float32]:
        return self.boxes.astype(np.float32)

    @property
    def about(self) -> dict[str, Any]:
        return {"objects": list(self.objects), "most": int(self.boxes.shape[1])}

    def of(self, sample: int) -> tuple[Floats, Ints]:
        """Boxes (k, 4) and classes (k,) of one sample."""
        own = self.boxes[sample][np.isfinite(self.boxes[sample, :, 0])]
        return own[:, :4], own[:, 4].astype(np.int64)

    def __len__(self) -> int:
        return len(self.there)

    def __getitem__(self, rows: Any) -> Self:
        own: dict[str, Any] = {name: each[rows] for name, each in self.columns().items()}
        return replace(self, given=None, **own)

    def only(self, known: Bools) -> Self:
        left = self.there & known
        boxes = np.where(left[:, None, None], self.boxes, np.nan)
        return replace(self, there=left, boxes=boxes, inside=np.where(left[:, None], self.inside, np.nan))

    def extended(self, more: int) -> Self:
        none = type(self).nothing(more, self.about)
        added = none.columns()
        own: dict[str, Any] = {name: np.concatenate([each, added[name]]) for name, each in self.columns().items()}
        return replace(self, **own)

    def columns(self) -> dict[str, NDArray[Any]]:
        return {"boxes": self.boxes, "there": self.there, "inside": self.inside}

    @classmethod
    def load(cls, columns: Mapping[str, NDArray[Any]], about: Mapping[str, Any]) -> Self:
        return cls(columns["there"], tuple(about["objects"]), columns["boxes"], columns["inside"])

    @classmethod
    def nothing(cls, n: int, about: Mapping[str, Any] | None = None) -> Self:
        told: Mapping[str, Any] = {"objects": (), "most": 0} if about is None else about
        boxes = np.full((n, int(told["most"]), 5), np.nan)
        return cls(np.zeros(n, dtype=bool), tuple(told["objects"]), boxes, np.full((n, 4), np.nan))

    @classmethod
    def find(cls, cells: Cells) -> tuple[Self, tuple[str, ...]]:
        objects = cells.objects
        if objects is None and cells.raw is not None:
            objects = of_masks(next(iter(cells.columns.values())), cells.raw, cells.names)
        if objects is None:
            raise UserError(f"boxes around objects were wanted, found none in {cells.place}; {REMEDY}")
        classes, called, notes = classes_of(each for each in objects if each is not None)
        given = tuple(objects)
        return cls(np.array([each is not None for each in given]), classes, given=given, called=called)._laid(), notes

    def _laid(self) -> Self:
        """The boxes as they were given, in the terms of these classes."""
        assert self.given is not None
        rows = [None if each is None else (each.boxes, indices(each, self.called, self.objects)) for each in self.given]
        most = max([self.boxes.shape[1], *(len(row[1]) for row in rows if row is not None)])
        return replace(self, boxes=packed(rows, most), inside=np.full((len(rows), 4), np.nan))

    def matched(self, other: Truth, place: str) -> Self:
        assert isinstance(other, type(self)), "another form"
        if strange := [name for name in other.objects if name not in self.objects]:
            raise UserError(
                f"objects of the study's classes ({joined([shown(name) for name in self.objects])}) were wanted, found "
                f"{shown(strange[0])} in {place}; name them alike or leave them out"
            )
        if other.given is not None:
            wide = self.boxes[:0]  # no narrower than those of the study
            return replace(other, objects=self.objects, boxes=wide)._laid()
        return replace(other, objects=self.objects)

    def check(self, samples: Samples) -> None:
        some = np.isfinite(self.boxes[..., 0]).any(1)
        if not self.there.any():
            raise UserError(f"images with boxes were wanted, found {len(self)} without in {samples.place}; {REMEDY}")
        if not some.any():
            raise UserError(
                f"images with boxes around objects were wanted, found {plural(int(self.there.sum()), 'image')} with "
                f"annotations and no box in them in {samples.place}; check how they were saved"
            )
        if (held := len(np.unique(samples.groups[some]))) < LEAST_GROUPS:
            raise UserError(
                f"at least {LEAST_GROUPS} {samples.unit}s with a box were wanted, so that they can be split, found "
                f"{held} in {samples.place}; add some"
            )

    def check_parts(self, part: NDArray[np.int8], samples: Samples) -> tuple[str, ...]:
        """Notes on classes that a scored part lacks; UserError where none can be learnt or judged there."""
        notes = []
        for number, word in ((PROBE, "probe"), (SELECTION, "selection"), (TEST, "test")):
            inside = (part == number) & self.there
            kinds = set(self.boxes[inside][..., 4].ravel().tolist())
            lacking = [name for at, name in enumerate(self.objects) if at not in kinds]
            if len(lacking) == len(self.objects) or (lacking and number == PROBE):
                raise UserError(
                    f"boxes around {joined([shown(name) for name in lacking])} were wanted in the {word} part, found "
                    f"none in {plural(int(inside.sum()), 'image')} there in {samples.place}; {samples.remedy}"
                )
            notes += [f"no image of the {word} part shows {shown(name)}" for name in lacking]
        shows = np.isfinite(self.boxes[..., 0]).any(1)
        if (held := len(np.unique(samples.groups[(part == PROBE) & shows]))) < 2:
            raise UserError(
                f"boxes in images of two {samples.unit}s at least were wanted in the probe part, where one is judged "
                f"by the others, found {plural(held, samples.unit)} in {samples.place}; {samples.remedy}"
            )
        return tuple(notes)

    def described(self) -> str:
        count = int(np.isfinite(self.boxes[..., 0]).sum())
        told = f" of {joined([shown(name) for name in self.objects])}" if self.objects else ""
        return f"{int(self.there.sum())} with {count:,} {'box' if count == 1 else 'boxes'}{told}"

    def notes(self) -> tuple[str, ...]:
        return self.said

    def content(self) -> tuple[NDArray[Any], NDArray[np.uint8]]:
        names = "\n".join(self.objects).encode("utf-8", "surrogatepass")
        content = np.concatenate([self.there.astype(np.float64), self.boxes.ravel()])
        return content, np.frombuffer(names, dtype=np.uint8)

    def decoded(self, frame: Frame) -> Self:
        """Every box where the store has its image; those that are none are set aside, of a few.

        UserError where too many are not.
        """
        if self.given is None:
            return self
        if len(frame.space) != 2:
            raise UserError(
                f"images with boxes were wanted, found volumes in {frame.place}; boxes in volumes are not served yet"
            )
        rows, flaws = list[tuple[Floats, list[int]] | None](), Flaws(frame)
        for row, objects in enumerate(self.given):
            kept = None if objects is None or not self.there[row] else flaws.looked_at(row, objects)
            if kept is None or objects is None:
                rows.append(None)
                continue
            boxes, some = kept
            kinds = np.array(indices(objects, self.called, self.objects), np.int64)[some]
            moved = frame.carried(row, boxes.reshape(-1, 2)).reshape(-1, 4)
            rows.append((moved, kinds.tolist()))
        notes = flaws.notes()
        rows += [None] * (len(self) - len(rows))
        corners = [_square(frame, row) if found is not None else np.full(4, np.nan) for row, found in enumerate(rows)]
        own: dict[str, Any] = {"boxes": packed(rows, self.boxes.shape[1]), "inside": np.array(corners).reshape(-1, 4)}
        there = np.array([row is not None for row in rows])
        return replace(self, there=there, given=None, called={}, said=notes, **own)

    def spots(self, most: int, rim: float = 0.0, seed: int = 0) -> Spots:
        """Places in these samples, all known, see `spots.drawn`."""
        return drawn(self.boxes, self.inside, most, rim, seed)


def _print(row: Floats) -> int:
    return int.from_bytes(hashlib.blake2b(row.tobytes(), digest_size=7).digest(), "big")


def _square(frame: Frame, row: int) -> Floats:
    """Where an image lies in the square, as a box."""
    high, wide = frame.sides[row].tolist()
    return frame.carried(row, np.array([[0.0, 0.0], [wide, high]])).reshape(-1)
