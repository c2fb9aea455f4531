"""Looks for what makes data unusable (an error) or less than it seems (a note)."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from autossl.data.dataset import Ints, Source
from autossl.data.parts import NO_SPLIT, OFFICIAL_TEST
from autossl.data.readers.images import Unreadable
from autossl.data.truth import Samples
from autossl.errors import UserError
from autossl.errors.printable import plural
from autossl.record.shares import TEST_SHARE

SMALLEST_SIDE = 8
FEW = 0.05  # share of unreadable images up to which they are set aside
LEAST_LABELS = 16  # outside the test part: two thirds are scored, and of 6 or fewer untrained embeddings look collapsed


def by(sides: Iterable[int]) -> str:
    """Sides of an image or volume as people write them."""
    return " x ".join(map(str, sides))


def allowed_failures(n: int) -> int:
    """How many of n images may be unreadable before the data are refused."""
    return max(1, int(n * FEW))


def check_sizes(source: Source) -> None:
    """UserError where too many headers cannot be read, or an image is too small."""
    bad = np.flatnonzero(source.sizes[:, 0] == 0)
    if len(bad) > allowed_failures(source.n) or len(bad) == source.n:
        raise too_many_unreadable(source, bad)
    sides = np.where(source.sizes == 0, SMALLEST_SIDE, source.sizes).min(1)
    if (small := np.flatnonzero(sides < SMALLEST_SIDE)).size:
        kind, unit = ("images", "pixels") if source.dims == 2 else ("volumes", "voxels")
        raise UserError(
            f"{kind} of at least {by([SMALLEST_SIDE] * source.dims)} {unit} were wanted, found {len(small)} smaller "
            f"ones in {source.place}, the first {by(source.sizes[small[0]])} ({source.naming(int(small[0]))}); "
            "leave them out"
        )


def too_many_unreadable(source: Source, rows: NDArray[np.int64]) -> UserError:
    """The error for images that cannot be read."""
    first = int(rows[0])
    try:
        source.read(first)
        reason = "it changes while it is read"
    except (Unreadable, UserError) as fault:
        reason = str(fault)
    return UserError(
        f"readable images were wanted, found {len(rows)} of {source.n} that cannot be read in {source.place}, the "
        f"first {source.naming(first)} ({reason}); copy them again, convert them or leave them out"
    )


def check_enough(source: Source, max_labels: int | None) -> None:
    """UserError where too few labels for a search are outside the test part."""
    official = source.split == OFFICIAL_TEST
    least, where = math.ceil(LEAST_LABELS / (1 - TEST_SHARE)), ""
    if official.any():
        least, where = LEAST_LABELS, " outside the official test part"
    check_max_labels(source, max_labels)
    drawn, kind, more = source.truth.known, "labelled images", "label more"
    if not source.truth.looked_at:
        least, drawn, kind, more = LEAST_LABELS, np.ones(source.n, dtype=bool), "images", "give more"
    if (found := int((drawn & ~official).sum())) < least:
        raise UserError(f"at least {least} {kind}{where} were wanted, found {found} in {source.place}; {more}")
    if max_labels is not None and max_labels < LEAST_LABELS:
        raise UserError(
            f"at least {LEAST_LABELS} labels were wanted, found --max-labels {max_labels}; give {LEAST_LABELS} or more"
        )


def check_max_labels(source: Source, max_labels: int | None) -> None:
    """UserError for a number of labels that cannot be kept."""
    if max_labels is not None and not source.truth.looked_at:
        raise UserError(
            f"a task with labels was wanted, found --max-labels {max_labels} where none is looked at; leave it out"
        )
    if max_labels is not None and max_labels < 1:
        raise UserError(f"a number of labels above 0 was wanted, found --max-labels {max_labels}; leave it out for all")


def check_varies(source: Source, flat: NDArray[np.bool_], readable: NDArray[np.bool_]) -> None:
    """UserError where no image shows anything."""
    if flat[readable].all():
        raise UserError(
            f"images that show something were wanted, found a single pixel value throughout in each of "
            f"{int(readable.sum())} in {source.place}; check how they were saved"
        )


def samples_of(source: Source, groups: Ints | None = None, remedy: str = "") -> Samples:
    """Where the samples of a source come from, and their groups (n,), if not those of the source."""
    return Samples(source.place, source.groups if groups is None else groups, source.unit, remedy)


def remedy(source: Source, found: "Duplicates") -> str:
    """What to do where a part lacks labels, by what is in the way."""
    if shared := patients_in_two(source):
        return f"{plural(shared, 'patient')} in more than one official part stay in the last: remove the official split"
    if found.images > source.n // 2:
        return f"{found.images:,} of {source.n:,} images are exact duplicates, which count once: leave out the copies"
    more = f"label more {source.unit}s of each {source.truth.word}"
    return f"{more}, or remove the official split" if (source.split != NO_SPLIT).any() else more


def patients_in_two(source: Source) -> int:
    """How many patients have images in more than one official part."""
    if not source.has_patients:
        return 0
    known = source.split != NO_SPLIT
    return int(several(source.groups[known], source.split[known], len(source.patients)).sum())


@dataclass(frozen=True)
class Duplicates:
    """Exact duplicates among n images: `set_of` (n,) numbers sets of equal pixels, -1 where an image is alone."""

    set_of: Ints
    sets: int
    images: int  # images that are in a set
    crossing: int  # sets with images in more than one official part
    contradicting: Ints  # numbers of the sets whose images carry different labels


def find_duplicates(digests: NDArray[np.uint8], usable: NDArray[np.bool_], source: Source) -> Duplicates:
    """Equal pixels (digests (n, 16) of the decoded images); flat and unreadable images are not `usable`."""
    keys = np.ascontiguousarray(digests).view(np.dtype((np.void, digests.shape[1]))).ravel()
    _, inverse, counts = np.unique(keys[usable], return_inverse=True, return_counts=True)
    number = np.where(counts > 1, np.cumsum(counts > 1) - 1, -1)
    set_of = np.full(len(digests), -1, dtype=np.int64)
    set_of[usable] = number[inverse]
    rows = np.flatnonzero(set_of >= 0)
    sets = int(set_of.max(initial=-1)) + 1
    return Duplicates(
        set_of,
        sets,
        len(rows),
        int(several(set_of[rows], source.split[rows], sets).sum()),
        np.flatnonzero(several(set_of[rows], source.truth.keys[rows], sets, ignore=-1)).astype(np.int64),
    )


def several(sets: Ints, values: NDArray[np.integer], count: int, ignore: int | None = None) -> NDArray[np.bool_]:
    """(count,) whether a set holds more than one value."""
    seen = np.ones(len(sets), dtype=bool) if ignore is None else values != ignore
    pairs = np.unique(np.stack([sets[seen], values[seen].astype(np.int64)]), axis=1)
    return np.bincount(pairs[0].astype(np.int64), minlength=count) > 1


def duplicate_notes(found: Duplicates, dropped: int) -> tuple[str, ...]:
    """What is said about duplicates, and about images that left a part for them or for their patient."""
    notes = []
    if found.sets:
        sets = plural(found.sets, "set")
        notes.append(f"{found.images:,} images are exact duplicates, in {sets} that each stay in one part")
    if len(found.contradicting):
        notes.append(
            f"{plural(len(found.contradicting), 'set')} of exact duplicates with different labels: outside the test "
            "part these images count as unlabelled"
        )
    if dropped:
        notes.append(f"{plural(dropped, 'image')} left a part, having a duplicate or their patient in a later one")
    return tuple(notes)


def pixel_notes(flat: int) -> tuple[str, ...]:
    """What is said about pixels."""
    notes = []
    if flat:
        notes.append(f"{plural(flat, 'image')} with a single pixel value throughout")
    return tuple(notes)
