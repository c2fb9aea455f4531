"""One mask per sample: which structure, if any, each of its pixels or voxels belongs to."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Self, final

import numpy as np
from numpy.typing import NDArray

from autossl.data.parts import PROBE, SELECTION, TEST
from autossl.data.truth.base import AUTO, Bools, Cells, Frame, Ints, Raw, Samples, Truth
from autossl.data.truth.places import Places, drawn
from autossl.data.truth.ranges import Floats, Ranges
from autossl.data.truth.spelling import Column
from autossl.data.truth.structures import IGNORED, STORE, decode, kept, retold, width
from autossl.errors import UserError
from autossl.errors.printable import joined, plural, shown

LISTED = 20  # places of masks that are set aside
LEAST_GROUPS = 4  # two in the probe part, where one is judged by the other, one in each other part
SUFFIXES = frozenset(
    {".png", ".tif", ".tiff", ".bmp", ".gif", ".pgm", ".nii", ".gz", ".nrrd", ".nhdr", ".mha", ".mhd", ".hdr", ".img"}
)
FORGOTTEN = {"shares": np.nan, "prints": 0, "at": 0, "grains": 1.0, "image": -1, "corner": 0}  # where nothing is known
ANY = Ranges((0.0,), (1.0,), ())


@final
@dataclass(frozen=True, eq=False)
class Masks(Truth):
    """Masks (n, *space) at the size of the store: 0 is background, others are structures, IGNORED is not judged.

    Before images are decoded there is only what reads the masks as they are; a sample is known if it has one. Strata
    are ranges of the share of its pixels that is no background. Where images are `cut`, a sample is a window of one:
    of `image` (n,), from `corner` (n, 3) on there, of which images have two.
    """

    form: ClassVar[str] = "masks"
    word: ClassVar[str] = "share of foreground"
    words: ClassVar[str] = "shares of foreground"
    wanted: ClassVar[str] = "names of mask files"
    usual: ClassVar[tuple[str, ...]] = ("mask", "label")
    soft: ClassVar[bool] = True
    files: ClassVar[bool] = True
    beside: ClassVar[str] = "masks"
    windows: ClassVar[str] = AUTO
    covered: ClassVar[bool] = True
    there: Bools
    structures: tuple[str, ...] = ()  # but for the background
    values: tuple[int, ...] = ()  # of the masks as they were given, by structure; empty: all but 0 is one
    shares: Floats = field(default_factory=lambda: np.zeros((0, 0)))  # (n, structures) of the pixels of each sample
    ranges: Ranges = ANY
    prints: Ints = field(default_factory=lambda: np.zeros(0, np.int64))  # (n,) equal where masks are
    at: Ints = field(default_factory=lambda: np.zeros(0, np.int64))  # (n,) rows of the store
    grains: Floats = field(default_factory=lambda: np.ones((0, 3)))  # (n, 3) what a pixel is of the image, in `unit`
    unit: str = "pixels"
    cut: bool = False
    image: Ints = field(default_factory=lambda: np.zeros(0, np.int64))
    corner: Ints = field(default_factory=lambda: np.zeros((0, 3), np.int64))
    stored: NDArray[np.uint8] | None = None
    raw: Raw | None = None
    misfits: tuple[int, ...] = ()  # samples whose masks are set aside
    titles: Mapping[str, str] = field(default_factory=dict)  # of values, where the data have them
    study: "Masks | None" = None

    @classmethod
    def may_be(cls, column: Column) -> bool:
        return sum(Path(cell).suffix.lower() in SUFFIXES for cell in column) > len(column) // 2

    @property
    def strata(self) -> Ints:
        if not self.structures:
            return np.where(self.there, 0, -1).astype(np.int64)
        return np.where(self.there, self.ranges.of(self.shares.sum(1, keepdims=True)), -1)

    @property
    def names(self) -> tuple[str, ...]:
        return self.ranges.names

    @property
    def known(self) -> Bools:
        return self.there

    @property
    def keys(self) -> Ints:
        return np.where(self.there, self.prints if self.structures else np.arange(len(self)), -1)

    @property
    def array(self) -> NDArray[np.uint8]:
        assert self.stored is not None, "masks that are not decoded"
        found = np.asarray(self.stored[self.at])
        found[~self.there] = IGNORED
        return found

    @property
    def about(self) -> dict[str, Any]:
        return {
            "structures": list(self.structures),
            "values": list(self.values),
            "ranges": self.ranges.as_json(),
            "unit": self.unit,
            "cut": self.cut,
        }

    @property
    def cropped(self) -> bool:
        return self.cut

    def cutting(self, cut: bool) -> Self:
        return replace(self, cut=cut)

    def width(self, row: int) -> float:
        if self.raw is None or not self.there[row]:
            return float("nan")
        try:
            return width(self.raw(row))
        except ValueError:  # said when all are decoded
            return float("nan")

    def __len__(self) -> int:
        return len(self.there)

    def __getitem__(self, rows: Any) -> Self:
        return replace(self, raw=None, there=self.there[rows], **{name: own[rows] for name, own in self._own().items()})

    def _own(self) -> dict[str, Any]:
        """What is known of each mask: of which image it is where these are cut, all else once they are decoded."""
        own: dict[str, Any] = {"image": self.image, "corner": self.corner} if len(self.image) == len(self) else {}
        if self.structures:
            own |= {"shares": self.shares, "prints": self.prints, "at": self.at, "grains": self.grains}
        return own

    def only(self, known: Bools) -> Self:
        left, own = self.there & known, self._own()
        for name, each in own.items():
            own[name] = np.where(left.reshape(-1, *[1] * (each.ndim - 1)), each, FORGOTTEN[name])
        return replace(self, there=left, **own)

    def extended(self, more: int) -> Self:
        own = self._own()
        added = {name: np.full((more, *each.shape[1:]), FORGOTTEN[name], each.dtype) for name, each in own.items()}
        longer: dict[str, Any] = {name: np.concatenate([each, added[name]]) for name, each in own.items()}
        return replace(self, there=np.concatenate([self.there, np.zeros(more, dtype=bool)]), **longer)

    def columns(self) -> dict[str, NDArray[Any]]:
        own = {"prints": self.prints, "there": self.there, "shares": self.shares}
        return {**own, "masks_at": self.at, "grains": self.grains, "image": self.image, "corner": self.corner}

    @classmethod
    def load(cls, columns: Mapping[str, NDArray[Any]], about: Mapping[str, Any]) -> Self:
        there = columns["there"]
        n, before = len(there), (about.get("unit", "pixels"), about.get("cut", False))
        own = (there, *_terms(about), columns["shares"], Ranges.from_json(about["ranges"]), columns["prints"])
        grains = columns.get("grains", np.ones((n, 3)))  # of studies before these and more were kept
        windows = columns.get("image", np.arange(n)), columns.get("corner", np.zeros((n, 3), np.int64))
        return cls(*own, columns["masks_at"], grains, *before, *windows)

    @classmethod
    def nothing(cls, n: int, about: Mapping[str, Any] | None = None) -> Self:
        none = cls(np.zeros(n, dtype=bool))
        if about is None:
            return none
        structures, values = _terms(about)
        zero = np.zeros(n, np.int64)
        shares = np.full((n, len(structures)), np.nan)
        return replace(
            none, structures=structures, values=values, ranges=Ranges.from_json(about["ranges"]), shares=shares,
            prints=zero, at=zero, grains=np.ones((n, 3)), unit=about.get("unit", "pixels"),
            cut=about.get("cut", False), image=zero - 1, corner=np.zeros((n, 3), np.int64),
            stored=np.full((1, 1), IGNORED, np.uint8),
        )  # fmt: skip

    @classmethod
    def find(cls, cells: Cells) -> tuple[Self, tuple[str, ...]]:
        names = next(iter(cells.columns.values()))
        if cells.raw is None or len(cells.columns) > 1:
            raise UserError(
                f"one mask for each image was wanted, found {joined([shown(name) for name in cells.columns])} in "
                f"{cells.place}; give a folder with images and masks, a CSV with the columns image and mask, or an "
                ".npz with images and masks"
            )
        study = cells.study if isinstance(cells.study, cls) else None
        there, raw, cut = np.array([bool(name) for name in names]), cells.raw, False
        if study is not None:
            raw, cut = retold(raw, cells.names, (study.structures, study.values)), study.cut
        return cls(there, raw=raw, titles=cells.names, study=study, cut=cut), ()

    def matched(self, other: Truth, place: str) -> Self:
        assert isinstance(other, type(self)), "another form"
        return replace(other, study=self, cut=self.cut)

    def check(self, samples: Samples) -> None:
        if not self.there.any():
            raise UserError(
                f"images with masks were wanted, found {len(self)} without in {samples.place}; give a folder with "
                "images and masks, or a CSV with the columns image and mask"
            )
        if (held := len(np.unique(samples.groups[self.there]))) < LEAST_GROUPS:
            raise UserError(
                f"at least {LEAST_GROUPS} {samples.unit}s with a mask were wanted, so that they can be split, found "
                f"{held} in {samples.place}; add some"
            )

    def check_parts(self, part: NDArray[np.int8], samples: Samples) -> tuple[str, ...]:
        """Notes on structures that a scored part lacks; UserError where none can be learnt or judged there."""
        notes = []
        for number, word in ((PROBE, "probe"), (SELECTION, "selection"), (TEST, "test")):
            inside = (part == number) & self.there
            shows = self.shares[inside] > 0
            lacking = [name for name, column in zip(self.structures, shows.T, strict=True) if not column.any()]
            if len(lacking) == len(self.structures) or (lacking and number == PROBE):
                raise UserError(
                    f"masks that show {joined([shown(name) for name in lacking])} were wanted in the {word} part, "
                    f"found none among {plural(int(inside.sum()), 'mask')} there in {samples.place}; {samples.remedy}"
                )
            notes += [f"no mask of the {word} part shows {shown(name)}" for name in lacking]
        groups = samples.groups[(part == PROBE) & self.there & (self.shares > 0).any(1)]
        if (held := len(np.unique(groups))) < 2:
            raise UserError(
                f"masks of two {samples.unit}s at least were wanted in the probe part, where one is judged by the "
                f"others, found {plural(held, samples.unit)} in {samples.place}; {samples.remedy}"
            )
        return tuple(notes)

    def described(self) -> str:
        told = f" of {joined([shown(name) for name in self.structures])}" if self.structures else ""
        return f"{int(self.there.sum())} with masks{told}"

    def notes(self) -> tuple[str, ...]:
        """Which masks are set aside."""
        if not self.misfits:
            return ()
        listed = ", ".join(map(str, self.misfits[:LISTED])) + (", ..." if len(self.misfits) > LISTED else "")
        verb = "does not fit its image and is" if len(self.misfits) == 1 else "do not fit their images and are"
        return (f"{plural(len(self.misfits), 'mask')} {verb} set aside (places in order, from 0: {listed})",)

    def content(self) -> tuple[NDArray[Any], NDArray[np.uint8]]:
        names = "\n".join(self.structures).encode("utf-8", "surrogatepass")
        return np.concatenate([self.there.astype(np.int64), self.prints]), np.frombuffer(names, dtype=np.uint8)

    def windowed(self, owner: Ints, corners: Ints, window: Callable[[Raw], Raw]) -> Self:
        corner = np.zeros((len(owner), 3), np.int64)
        corner[:, : corners.shape[1]] = corners
        raw = None if self.raw is None else window(self.raw)
        return replace(self, there=self.there[owner], raw=raw, image=owner, corner=corner)

    def decoded(self, frame: Frame) -> Self:
        """Every mask, brought to the size of the store as its image is, and kept in `frame.folder`.

        Those that do not fit are set aside; UserError where too many do not.
        """
        if self.stored is not None or self.raw is None:
            return self
        terms = None if self.study is None else (self.study.structures, self.study.values)
        assert self.raw is not None
        known = kept(frame) or decode(np.flatnonzero(self.there), self.raw, terms, self.titles, frame)
        at = np.maximum(0, np.cumsum(self.there) - 1)  # those that have one stand in the store, in their order
        masks = np.load(frame.folder / STORE, mmap_mode="r")
        terms = tuple(map(str, known["structures"].tolist())), tuple(map(int, known["values"].tolist()))
        shares, prints, fits, grains = (known[name][at] for name in ("shares", "prints", "fits", "grains"))
        shares = np.where(self.there[:, None], shares, np.nan)
        ranges = Ranges.cut(shares.sum(1, keepdims=True)) if self.study is None else self.study.ranges
        misfits = tuple(np.flatnonzero(self.there & ~fits).tolist())
        cut = len(self.image) == len(self)
        made = replace(
            self, structures=terms[0], values=terms[1], shares=shares, ranges=ranges, prints=prints, at=at,
            grains=grains, unit=frame.unit, image=self.image if cut else np.arange(len(self)),
            corner=self.corner if cut else np.zeros((len(self), 3), np.int64), stored=masks, raw=None,
            misfits=misfits, titles={}, study=None,
        )  # fmt: skip
        return made.only(fits)

    def opened(self, folder: Path) -> Self:
        return replace(self, stored=np.load(folder / STORE, mmap_mode="r"))

    def shown(self, at: Ints) -> Ints:
        marked = np.nan_to_num(self.shares.sum(1))
        own = [np.flatnonzero(self.image == image) for image in self.image[at]]
        return np.array([windows[marked[windows].argmax()] for windows in own], dtype=np.int64)

    def places(self, most: int, seed: int = 0) -> Places:
        """About so many pixels, as many of each structure and the background as of the others, alike in every sample.

        `weight`: how many pixels of that kind in its sample each stands for.
        """
        assert self.stored is not None, "masks that are not decoded"
        return drawn(self.array, len(self.structures) + 1, most, seed)


def _terms(about: Mapping[str, Any]) -> tuple[tuple[str, ...], tuple[int, ...]]:
    return tuple(about["structures"]), tuple(map(int, about["values"]))
