"""Looks for what makes data unusable (an error) or less than it seems (a note)."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from autossl.data.dataset import (
    DROPPED,
    NO_SPLIT,
    OFFICIAL_TEST,
    PROBE,
    SELECTION,
    TEST,
    TEST_SHARE,
    Data,
    Ints,
    Source,
)
from autossl.data.draw import groups_per_class
from autossl.data.readers.images import Unreadable
from autossl.errors import UserError
from autossl.errors.printable import plural

SMALLEST_SIDE = 8
FEW = 0.05  # share of unreadable images up to which they are set aside
LEAST_LABELS = 16  # outside the test part: two thirds are scored, and of 6 or fewer untrained embeddings look collapsed
MOST_RARE = 5  # classes of one patient; more, and half of all classes, are no classes
IMBALANCE = 10.0  # largest class over smallest from which a note is made


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


def check_labels(source: Source) -> None:
    """UserError where labels cannot make a classification study."""
    counts = np.bincount(source.labels[source.labels >= 0], minlength=len(source.classes))
    if len(source.classes) == 0:
        raise UserError(
            f"labelled images were wanted, found {source.n} images without a label in {source.place}; "
            "give --labels or use class folders"
        )
    if len(source.classes) == 1:
        raise UserError(
            f"at least two classes were wanted, found only {source.classes[0]!r} ({counts[0]} images) "
            f"in {source.place}; add images of another class"
        )
    units = np.arange(source.n) if source.groups is None else source.groups
    unit = "image" if source.groups is None else "patient"
    held = [len(np.unique(units[source.labels == index])) for index in range(len(source.classes))]
    alone = [index for index, found in enumerate(held) if found < 2]
    if not alone:
        return
    wanted = f"at least two {unit}s of every class were wanted, so that it can be split, found"
    if len(alone) > max(MOST_RARE, len(held) // 2):  # hardly classes: what stands there may identify patients
        raise UserError(
            f"{wanted} one in {len(alone)} of {len(held)} classes in {source.place}; "
            "name a column of classes by --label-column"
        )
    first = alone[0]
    raise UserError(
        f"{wanted} {held[first]} of class {source.classes[first]!r} ({plural(int(counts[first]), 'image')}) "
        f"in {source.place}; add some or leave the class out"
    )


def check_enough(source: Source, max_labels: int | None) -> None:
    """UserError where too few labels for a search are outside the test part."""
    official = source.split == OFFICIAL_TEST
    least, where = math.ceil(LEAST_LABELS / (1 - TEST_SHARE)), ""
    if official.any():
        least, where = LEAST_LABELS, " outside the official test part"
    if (found := int(((source.labels >= 0) & ~official).sum())) < least:
        raise UserError(
            f"at least {least} labelled images{where} were wanted, found {found} in {source.place}; label more"
        )
    if max_labels is not None and max_labels < LEAST_LABELS:
        raise UserError(
            f"at least {LEAST_LABELS} labels were wanted, found --max-labels {max_labels}; give {LEAST_LABELS} or more"
        )


def check_varies(source: Source, flat: NDArray[np.bool_], readable: NDArray[np.bool_]) -> None:
    """UserError where no image shows anything."""
    if flat[readable].all():
        raise UserError(
            f"images that show something were wanted, found a single pixel value throughout in each of "
            f"{int(readable.sum())} in {source.place}; check how they were saved"
        )


def check_parts(
    labels: Ints, part: NDArray[np.int8], groups: Ints, source: Source, found: "Duplicates"
) -> tuple[str, ...]:
    """Notes on classes that a scored part lacks; UserError where the probe part lacks one or the test part has none.

    Also where no two classes of the probe part have two groups (n,) each: nothing can be known of an encoder then.
    """
    _check_judged(labels, part, groups, source, found)
    classes, place = source.classes, source.place
    for number, word in ((TEST, "test"), (SELECTION, "selection")):
        held = np.unique(labels[(part == number) & (labels >= 0)])
        if len(held) < 2:
            raise UserError(
                f"labels of two classes at least were wanted in the {word} part, found {len(held)} in {place}; "
                f"{_remedy(source, found)}"
            )
    notes = []
    for index, name in enumerate(classes):
        counts = [int(((part == number) & (labels == index)).sum()) for number in (PROBE, SELECTION, TEST)]
        if counts[PROBE] == 0:
            raise UserError(
                f"training labels of every class were wanted, found none of class {name!r} outside the selection and "
                f"test parts of {place}; add some or leave the class out"
            )
        lacking = [word for number, word in ((SELECTION, "selection"), (TEST, "test")) if counts[number] == 0]
        if lacking:
            notes.append(f"class {name} has no labelled image in the {' and the '.join(lacking)} part")
    return tuple(notes)


def _check_judged(labels: Ints, part: NDArray[np.int8], groups: Ints, source: Source, found: "Duplicates") -> None:
    """UserError where the labels of the probe part cannot tell one encoder from another."""
    probe = part == PROBE
    held = groups_per_class(labels[probe], groups[probe], len(source.classes))
    if np.count_nonzero(held > 1) < 2:
        unit, least = "image" if source.groups is None else "patient", source.classes[int(held.argmin())]
        raise UserError(
            f"two {unit}s of each of two classes at least were wanted in the probe part, where one is judged by the "
            f"others, found {plural(int(held.min()), unit)} of class {least!r} in {source.place}; "
            f"{_remedy(source, found)}"
        )


def _remedy(source: Source, found: "Duplicates") -> str:
    """What to do where a part lacks labels, by what is in the way."""
    if shared := patients_in_two(source):
        return f"{plural(shared, 'patient')} in more than one official part stay in the last: remove the official split"
    if found.images > source.n // 2:
        return f"{found.images:,} of {source.n:,} images are exact duplicates, which count once: leave out the copies"
    more = f"label more {'images' if source.groups is None else 'patients'} of each class"
    return f"{more}, or remove the official split" if (source.split != NO_SPLIT).any() else more


def patients_in_two(source: Source) -> int:
    """How many patients have images in more than one official part."""
    if source.groups is None:
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
        np.flatnonzero(several(set_of[rows], source.labels[rows], sets, ignore=-1)).astype(np.int64),
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


def pixel_notes(data: Data, flat: int) -> tuple[str, ...]:
    """What is said about pixels and class sizes."""
    notes = []
    if flat:
        notes.append(f"{plural(flat, 'image')} with a single pixel value throughout")
    counts = np.bincount(data.labels[data.labels >= 0], minlength=len(data.classes))
    if counts.max() > IMBALANCE * max(1, counts.min()):
        small, large = data.classes[int(counts.argmin())], data.classes[int(counts.argmax())]
        notes.append(
            f"classes are unequal: {counts.max()} labels of {large}, {counts.min()} of {small}; "
            "read balanced accuracy, not accuracy"
        )
    return tuple(notes)


def class_counts(data: Data, part: int) -> dict[str, int]:
    """Labels of each class in a part."""
    assert part != DROPPED
    rows = data.rows(part, labelled=True)
    counts = np.bincount(data.labels[rows], minlength=len(data.classes))
    return {name: int(count) for name, count in zip(data.classes, counts, strict=True)}
