"""Divides images by patient into the probe, selection and test parts, and withholds labels."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autossl.data.dataset import Ints
from autossl.data.draw import draw, groups_per_class
from autossl.data.parts import DROPPED, OFFICIAL_TEST, PROBE, SELECTION, TEST, TRAIN, VAL
from autossl.data.withhold import Kept, withhold
from autossl.errors import UserError
from autossl.record.shares import FEW_LABELS, SELECTION_SHARE, SELECTION_SHARE_FEW, TEST_SHARE

ENOUGH_TO_SELECT = 10  # patients of each class from which an official validation part is the selection part


@dataclass(frozen=True)
class Split:
    """The part of every image, the strata that are left (-1: unknown or withheld), and what is to be said about it."""

    part: NDArray[np.int8]
    strata: Ints
    notes: tuple[str, ...]
    left: int  # images that left an earlier part because their group is in a later one


def split(
    labels: Ints,
    groups: Ints,
    official: NDArray[np.int8],
    classes: int,
    max_labels: int | None,
    seed: int,
    unit: str,
    words: tuple[str, str] = ("class", "classes"),
    tested: bool = True,
    soft: bool = False,
) -> Split:
    """Parts for n images: whole groups, official test images always in the test part.

    `labels` (n,) are strata such as classes, -1 for none, `groups` (n,), `official` (n,) as in `Source.split`; `unit`
    is the word for a group ("patients" or "images"), `words` those for strata. Where nothing is `tested` there is no
    test part, and official test images are left out. `soft` strata are passed over where they stand in the way of a
    part or of --max-labels. A class with four groups or more is in every part that is drawn
    here; of three the probe part has two, for its labels choose the encoder, of two one, and the test part the other.
    """
    random = np.random.default_rng(seed)
    test, left = _test_rows(np.where(tested, labels, -1), groups, official, classes, random, soft)
    tied = np.isin(groups, groups[test | (official == OFFICIAL_TEST)])
    free, notes = ~tied, []
    if silent := int((tied & ~test & ~left).sum()):
        which = "without a label belong to the test part" if tested else "belong to the official test part"
        notes.append(f"{silent} images {which} and are left out")
    if max_labels is not None:
        labels, note = _withheld(labels, groups, free, classes, max_labels, unit, random, words[1], soft)
        notes.append(note)
    selected, moved, said = _selection_rows(labels, groups, official, free, classes, random, unit, words[0], soft)
    part = np.full(len(labels), DROPPED, dtype=np.int8)
    part[free] = PROBE
    part[selected], part[moved], part[test] = SELECTION, DROPPED, TEST
    return Split(part, labels, (*notes, *said), int(left.sum() + moved.sum()))


def _drawn(
    labels: Ints, groups: Ints, classes: int, share: float, random: np.random.Generator, soft: bool, **how: Any
) -> NDArray[np.bool_]:
    """As `draw`; where strata are `soft` and no group can be spared of all of them, of all groups alike."""
    drawn = draw(labels, groups, classes, share, random, **how)
    if soft and not (drawn & (labels >= 0)).any():
        return draw(np.minimum(labels, 0), groups, 1, share, random, **how)
    return drawn


def _withheld(
    labels: Ints, groups: Ints, free: NDArray[np.bool_], classes: int, wanted: int, unit: str,
    random: np.random.Generator, words: str, soft: bool,
) -> Kept:  # fmt: skip
    """As `withhold`; where strata are `soft` and so few labels cannot hold them all, of all groups alike."""
    try:
        return withhold(labels, groups, free, classes, wanted, unit, random, words)
    except UserError:
        if not soft:
            raise
    kept = withhold(np.minimum(labels, 0), groups, free, 1, wanted, unit, random, words)
    return kept._replace(labels=np.where(kept.labels >= 0, labels, -1))


def _test_rows(
    labels: Ints, groups: Ints, official: NDArray[np.int8], classes: int, random: np.random.Generator, soft: bool
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """(n,) labelled test images, and (n,) images of other official parts whose group is among the test images."""
    if (official == OFFICIAL_TEST).any():
        test = (official == OFFICIAL_TEST) & (labels >= 0)
        return test, (official != OFFICIAL_TEST) & np.isin(groups, groups[official == OFFICIAL_TEST])
    drawn = _drawn(labels, groups, classes, TEST_SHARE, random, soft)
    return drawn & (labels >= 0), np.zeros(len(labels), dtype=bool)


def _selection_rows(
    labels: Ints,
    groups: Ints,
    official: NDArray[np.int8],
    free: NDArray[np.bool_],
    classes: int,
    random: np.random.Generator,
    unit: str,
    word: str,
    soft: bool,
) -> tuple[NDArray[np.bool_], NDArray[np.bool_], list[str]]:
    """(n,) selection images, (n,) training images whose group is among them officially, and notes."""
    none = np.zeros(len(labels), dtype=bool)
    val = free & (official == VAL) & (labels >= 0)
    if val.any():
        held = groups_per_class(labels[val], groups[val], classes)[_there(labels, classes)]
        if held.min() >= ENOUGH_TO_SELECT:
            tied = free & np.isin(groups, groups[val])
            train = tied & (official == TRAIN)
            return tied & ~train, train, ["the official validation part is the selection part"]
    rows = np.flatnonzero(free)
    share = SELECTION_SHARE_FEW if (labels[rows] >= 0).sum() < FEW_LABELS else SELECTION_SHARE
    selected = none.copy()
    selected[rows] = _drawn(labels[rows], groups[rows], classes, share, random, soft, staying=2, sharing=False)
    if not val.any() and not (free & (official == VAL)).any():
        return selected, none, []
    fewest = int(groups_per_class(labels[val], groups[val], classes)[_there(labels, classes)].min()) if val.any() else 0
    note = (
        f"the official validation part has as few as {fewest} labelled {unit} of a {word} ({ENOUGH_TO_SELECT} are "
        "needed): training and validation parts were pooled and split anew"
    )
    return selected, none, [note]


def _there(labels: Ints, classes: int) -> NDArray[np.bool_]:
    """(classes,) which strata hold anything: a finding that never comes alone may be nobody's rarest."""
    return np.asarray(np.bincount(labels[labels >= 0], minlength=classes) > 0)
