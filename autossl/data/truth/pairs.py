"""One target image per sample: what its image should have been."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Self, final

import numpy as np
from numpy.typing import NDArray

from autossl.data.parts import PROBE, SELECTION, TEST
from autossl.data.truth.base import ALWAYS, SHARE, Bools, Cells, Frame, Ints, Raw, Samples, Truth
from autossl.data.truth.masks import LISTED, SUFFIXES
from autossl.data.truth.ranges import Floats, Ranges
from autossl.data.truth.spelling import Column
from autossl.errors import UserError
from autossl.errors.printable import joined, plural, shown

LEAST_GROUPS = 4  # two in the probe part, where one is judged by the other, one in each other part
JPEGS = frozenset({".jpg", ".jpeg", ".webp", ".jp2", ".ppm", ".pnm"})
STORE, ABOUT = "targets.npy", "targets.npz"
FORGOTTEN = {"error": np.nan, "prints": 0, "at": 0, "image": -1}  # of a sample of which nothing is known
LEAST = 1e-10  # mean square below which images are equal
ANY = Ranges((0.0,), (1.0,), ())


@final
@dataclass(frozen=True, eq=False)
class Pairs(Truth):
    """Targets (n, *space, c) at the size of the store, as SHARE times what a value is to an encoder.

    A sample is a window of an image: `image` (n,) says of which. Before images are decoded there is only what reads the
    targets as they are; a sample is known if it has one. Strata are ranges of the PSNR of images as they are. `mean`
    and `sd` of each channel are those by which a study standardises its images; it writes them down.
    """

    form: ClassVar[str] = "pairs"
    word: ClassVar[str] = "range of PSNR (dB)"
    words: ClassVar[str] = "ranges of PSNR (dB)"
    wanted: ClassVar[str] = "names of target images"
    usual: ClassVar[tuple[str, ...]] = ("target", "label")
    soft: ClassVar[bool] = True
    numbers: ClassVar[bool] = True
    files: ClassVar[bool] = True
    beside: ClassVar[str] = "targets"
    windows: ClassVar[str] = ALWAYS
    there: Bools
    error: Floats = field(default_factory=lambda: np.zeros(0))  # (n,) mean square, of the image as it is; once decoded
    ranges: Ranges = ANY
    prints: Ints = field(default_factory=lambda: np.zeros(0, np.int64))  # (n,) equal where targets are
    at: Ints = field(default_factory=lambda: np.zeros(0, np.int64))  # (n,) rows of the store
    image: Ints = field(default_factory=lambda: np.zeros(0, np.int64))  # (n,)
    mean: tuple[float, ...] = ()
    sd: tuple[float, ...] = ()
    degradation: str = ""  # what made the images of their targets, where AutoSSL did
    stored: NDArray[np.uint16] | None = None
    raw: Raw | None = None
    misfits: tuple[int, ...] = ()  # samples whose targets are set aside
    study: "Pairs | None" = None

    @classmethod
    def may_be(cls, column: Column) -> bool:
        return sum(Path(cell).suffix.lower() in SUFFIXES | JPEGS for cell in column) > len(column) // 2

    @property
    def decided(self) -> bool:
        """Whether targets were decoded, or there were none."""
        return len(self.error) == len(self.there)

    @property
    def strata(self) -> Ints:
        if not self.decided:
            return np.where(self.there, 0, -1).astype(np.int64)
        return np.where(self.there, self.ranges.of(_psnr(self.error)), -1)

    @property
    def names(self) -> tuple[str, ...]:
        return self.ranges.names

    @property
    def known(self) -> Bools:
        return self.there

    @property
    def keys(self) -> Ints:
        return np.where(self.there, self.prints if self.decided else np.arange(len(self)), -1)

    @property
    def array(self) -> NDArray[np.uint16]:
        assert self.stored is not None, "targets that are not decoded"
        found = np.asarray(self.stored[self.at])
        found[~self.there] = 0
        return found

    @property
    def space(self) -> tuple[int, ...]:
        """Sides of a target in the store, and its channels."""
        assert self.stored is not None, "targets that are not decoded"
        return tuple(self.stored.shape[1:])

    @property
    def about(self) -> dict[str, Any]:
        own = {"mean": list(self.mean), "std": list(self.sd), "degradation": self.degradation}
        return {**own, "ranges": self.ranges.as_json()}

    def __len__(self) -> int:
        return len(self.there)

    def __getitem__(self, rows: Any) -> Self:
        return replace(self, raw=None, there=self.there[rows], **{name: own[rows] for name, own in self._own().items()})

    def _own(self) -> dict[str, Any]:
        """What is known of each sample, once targets are decoded."""
        own: dict[str, Any] = {"error": self.error, "prints": self.prints, "at": self.at} if self.decided else {}
        return own | ({"image": self.image} if len(self.image) == len(self) else {})

    def only(self, known: Bools) -> Self:
        left, own = self.there & known, self._own()
        forgotten: dict[str, Any] = {name: np.where(left, each, FORGOTTEN[name]) for name, each in own.items()}
        return replace(self, there=left, **forgotten)

    def extended(self, more: int) -> Self:
        own = self._own()
        added = {name: np.full(more, FORGOTTEN[name], each.dtype) for name, each in own.items()}
        longer: dict[str, Any] = {name: np.concatenate([each, added[name]]) for name, each in own.items()}
        return replace(self, there=np.concatenate([self.there, np.zeros(more, dtype=bool)]), **longer)

    def columns(self) -> dict[str, NDArray[Any]]:
        own = {"there": self.there, "error": self.error, "targets_at": self.at, "image": self.image}
        return {"prints": self.prints, **own}

    @classmethod
    def load(cls, columns: Mapping[str, NDArray[Any]], about: Mapping[str, Any]) -> Self:
        found = cls.nothing(0, about)
        return replace(
            found, there=columns["there"], error=columns["error"], prints=columns["prints"],
            at=columns["targets_at"], image=columns["image"], stored=None,
        )  # fmt: skip

    @classmethod
    def nothing(cls, n: int, about: Mapping[str, Any] | None = None) -> Self:
        none = cls(np.zeros(n, dtype=bool))
        if about is None:
            return none
        zero = np.zeros(n, np.int64)
        return replace(
            none, error=np.full(n, np.nan), prints=zero, at=zero, image=zero - 1, mean=tuple(about["mean"]),
            sd=tuple(about["std"]), degradation=about["degradation"], ranges=Ranges.from_json(about["ranges"]),
            stored=np.zeros((1, 1), np.uint16),
        )  # fmt: skip

    @classmethod
    def find(cls, cells: Cells) -> tuple[Self, tuple[str, ...]]:
        names = next(iter(cells.columns.values()))
        if cells.raw is None or len(cells.columns) > 1:
            raise UserError(
                f"one target for each image was wanted, found {joined([shown(name) for name in cells.columns])} in "
                f"{cells.place}; give folders input and target, a CSV with the columns image and target, an .npz with "
                "images and targets, or --degradation noise:25 for images that are targets themselves"
            )
        study = cells.study if isinstance(cells.study, cls) else None
        return cls(np.array([bool(name) for name in names]), raw=cells.raw, study=study), ()

    def matched(self, other: Truth, place: str) -> Self:
        assert isinstance(other, type(self)), "another form"
        return replace(other, study=self)

    def check(self, samples: Samples) -> None:
        if not self.there.any():
            raise UserError(
                f"images with targets were wanted, found {len(self)} without in {samples.place}; give folders input "
                "and target, a CSV with the columns image and target, or --degradation noise:25 where the images are "
                "the targets"
            )
        if (held := len(np.unique(samples.groups[self.there]))) < LEAST_GROUPS:
            raise UserError(
                f"at least {LEAST_GROUPS} {samples.unit}s with a target were wanted, so that they can be split, found "
                f"{held} in {samples.place}; add some"
            )

    def check_parts(self, part: NDArray[np.int8], samples: Samples) -> tuple[str, ...]:
        """UserError where nothing can be learnt or judged in a part."""
        for number, word, least in ((PROBE, "probe", 2), (SELECTION, "selection", 1), (TEST, "test", 1)):
            held = len(np.unique(samples.groups[(part == number) & self.there]))
            if held < least:
                raise UserError(
                    f"targets of {plural(least, samples.unit)} at least were wanted in the {word} part, found "
                    f"{plural(held, samples.unit)} in {samples.place}; {samples.remedy}"
                )
        return ()

    def described(self) -> str:
        made = f", made by {self.degradation}" if self.degradation else ""
        return f"{int(self.there.sum())} with targets{made}"

    def notes(self) -> tuple[str, ...]:
        """Which targets are set aside."""
        if not self.misfits:
            return ()
        listed = ", ".join(map(str, self.misfits[:LISTED])) + (", ..." if len(self.misfits) > LISTED else "")
        verb = "does not fit its image and is" if len(self.misfits) == 1 else "do not fit their images and are"
        return (f"{plural(len(self.misfits), 'target')} {verb} set aside (places in order, from 0: {listed})",)

    def content(self) -> tuple[NDArray[Any], NDArray[np.uint8]]:
        made = np.frombuffer(self.degradation.encode(), dtype=np.uint8)
        return np.concatenate([self.there.astype(np.int64), self.prints]), made

    def windowed(self, owner: Ints, corners: Ints, window: Callable[[Raw], Raw]) -> Self:
        raw = self.raw
        cut: Raw | None = None if raw is None else lambda row: raw(int(owner[row]))
        return replace(self, there=self.there[owner], raw=cut, image=owner)

    def decoded(self, frame: Frame) -> Self:
        """Every target as its image is kept, in `frame.folder`.

        Those that do not fit are set aside; UserError where too many do not.
        """
        if self.stored is not None or self.raw is None:
            return self
        known = _kept(frame) or _decode(np.flatnonzero(self.there), self.raw, frame)
        at = np.maximum(0, np.cumsum(self.there) - 1)  # those that have one stand in the store, in their order
        error, prints, fits = (known[name][at] for name in ("error", "prints", "fits"))
        ranges = Ranges.cut(_psnr(np.where(self.there, error, np.nan)))
        image = self.image if len(self.image) == len(self) else np.arange(len(self))
        terms = self if self.study is None else self.study
        misfits = tuple(np.flatnonzero(self.there & ~fits).tolist())
        found = replace(
            self, error=error, ranges=ranges if self.study is None else self.study.ranges, prints=prints, at=at,
            image=image, mean=terms.mean, sd=terms.sd, degradation=terms.degradation, raw=None, study=None,
            stored=np.load(frame.folder / STORE, mmap_mode="r"), misfits=misfits,
        )  # fmt: skip
        return found.only(fits)

    def opened(self, folder: Path) -> Self:
        return replace(self, stored=np.load(folder / STORE, mmap_mode="r"))


def _psnr(error: Floats) -> Floats:
    """Of mean squares (n,) in dB, (n, 1)."""
    return -10 * np.log10(np.maximum(error, LEAST))[:, None]


def _kept(frame: Frame) -> dict[str, NDArray[Any]] | None:
    """What an earlier run decoded of the same targets at the same size."""
    if not (frame.folder / STORE).is_file() or not (frame.folder / ABOUT).is_file():
        return None
    with np.load(frame.folder / ABOUT, allow_pickle=False) as stored:
        known = dict(stored)
    return known if str(known.pop("key")) == frame.key else None


def _decode(rows: Ints, raw: Raw, frame: Frame) -> dict[str, NDArray[Any]]:
    """Keep the targets of these rows, k of them, in their order, and what is known of each (k,)."""
    found, bad = list[NDArray[np.uint16] | None](), list[tuple[int, str]]()
    error = np.zeros(len(rows))
    for place, row in enumerate(rows.tolist()):
        try:
            target = frame.shares(row, raw(row))
        except ValueError as fault:
            found.append(None)
            bad.append((row, str(fault)))
            continue
        found.append(target)
        error[place] = np.mean((target / SHARE - frame.image(row)) ** 2)
    if len(bad) > frame.failures or len(bad) == len(rows):
        raise UserError(
            f"targets that fit their images were wanted, found {len(bad)} of {len(rows)} that do not in {frame.place}, "
            f"the first of {frame.naming(bad[0][0])} ({bad[0][1]}); mend them or leave them out"
        )
    empty = np.zeros_like(next(each for each in found if each is not None))
    whole = np.stack([empty if each is None else each for each in found])
    prints = [int.from_bytes(hashlib.blake2b(each.tobytes(), digest_size=7).digest(), "big") for each in whole]
    about = {
        "error": error,
        "prints": np.array(prints, np.int64),
        "fits": np.array([each is not None for each in found]),
    }
    frame.write(STORE, lambda file: np.save(file, whole, allow_pickle=False))
    frame.write(ABOUT, lambda file: np.savez(file, allow_pickle=False, key=np.array(frame.key), **about))
    return about
