"""Draws a number of labels by class and in whole groups, and keeps those as if no others had been made."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from autossl.data.dataset import Ints
from autossl.data.draw import class_table
from autossl.errors import UserError

LEAST = 2  # groups of each class: one to fit on, one to select by


class TooFew(ValueError):
    """So many labels cannot hold the least number of whole groups of each class; `needed` can."""

    def __init__(self, needed: int) -> None:
        super().__init__(f"{needed} labels are needed")
        self.needed = needed


class Kept(NamedTuple):
    """Labels (n,) with the others set to -1, and what is to be said about it."""

    labels: Ints
    note: str


def withhold(
    labels: Ints,
    groups: Ints,
    free: NDArray[np.bool_],
    classes: int,
    wanted: int,
    unit: str,
    random: np.random.Generator,
    words: str = "classes",
) -> Kept:
    """Keep about `wanted` of the labels of the `free` images (n,), all labels of a group or none.

    Classes are kept in proportion, but two groups of each class at least. Without multi-image groups exactly
    `wanted` labels are kept. UserError where that many cannot hold every class.
    """
    there = free & (labels >= 0)
    if wanted >= there.sum():
        return Kept(
            labels, f"max_labels={wanted} withholds nothing: {int(there.sum())} labels are outside the test part"
        )
    try:
        kept = np.where(there & ~whole_groups(np.where(there, labels, -1), groups, classes, wanted, random), -1, labels)
    except TooFew as least:
        of_each = f" of each of {classes} {words}" if classes > 1 else ""
        raise UserError(
            f"at least {LEAST} labelled {unit}{of_each} were wanted, found --max-labels {wanted} "
            f"where these hold {least.needed} labels; give --max-labels {least.needed} or more"
        ) from None
    count = int((kept[there] >= 0).sum())
    held = len(np.unique(groups[there & (kept >= 0)]))
    return Kept(
        kept,
        f"max_labels={wanted}: {count} of {int(there.sum())} labels outside the test part are kept ({held} {unit})",
    )


def whole_groups(
    labels: Ints, groups: Ints, classes: int, wanted: int, random: np.random.Generator, least: int = LEAST
) -> NDArray[np.bool_]:
    """(n,) which images are drawn for about `wanted` labels: all labelled images of a group or none.

    Classes are drawn in proportion, but `least` groups of each at least where there are so many. TooFew.
    """
    table, group = class_table(labels, groups, classes)
    draw = _Draw(table, wanted, random, least)
    needed = max(draw.need(), draw.total())
    if needed > wanted:
        raise TooFew(needed)
    draw.proportionally()
    draw.up_to_wanted()
    return np.asarray(draw.keep[group] & (labels >= 0))


class _Draw:
    def __init__(self, table: Ints, wanted: int, random: np.random.Generator, least: int) -> None:
        self.table, self.wanted, self.least = table, wanted, least
        self.sizes = table.sum(1)
        self.order = random.permutation(np.flatnonzero(self.sizes))
        self.keep = np.zeros(len(table), dtype=bool)
        self.have = np.zeros(table.shape[1], dtype=np.int64)
        self.quota = _quota(table.sum(0), wanted, least)

    def total(self) -> int:
        return int(self.have.sum())

    def take(self, group: int) -> None:
        self.keep[group] = True
        self.have += self.table[group]

    def need(self) -> int:
        """Keep the least number of groups of each class, rare classes first; returns the least number of labels."""
        holding = (self.table > 0).sum(0)
        least = np.minimum(self.least, holding)
        for index in np.argsort(holding, kind="stable"):
            while (short := int(least[index] - (self.table[self.keep, index] > 0).sum())) > 0:
                able = self.order[(self.table[self.order, index] > 0) & ~self.keep[self.order]]
                small = able[self.sizes[able] <= max(1, self.quota[index] // short)]
                self.take(int(small[0] if len(small) else able[self.sizes[able].argmin()]))
        return int(least.sum())

    def proportionally(self) -> None:
        """Further groups in random order as long as no class gets more than its share."""
        for group in self.order[~self.keep[self.order]].tolist():
            counts = self.table[group]
            fits = self.total() + self.sizes[group] <= self.wanted  # what was needed may be above its share
            if fits and (self.have + counts <= self.quota)[counts > 0].all():
                self.take(group)
                if (self.have >= self.quota).all():
                    return

    def up_to_wanted(self) -> None:
        """Then any group that fits: patients with several classes seldom meet every share."""
        for group in self.order[~self.keep[self.order]].tolist():
            if self.total() >= self.wanted:
                return
            if self.total() + self.sizes[group] <= self.wanted:
                self.take(group)


def _quota(counts: Ints, wanted: int, least: int) -> Ints:
    """`wanted` divided in proportion to `counts` by largest remainder, after `least` of each class where there are."""
    first = np.minimum(least, counts)
    above = np.maximum(counts * (wanted / counts.sum()) - first, 0)
    share = above * (max(0, wanted - int(first.sum())) / max(1e-9, float(above.sum())))
    quota = first + np.floor(share + 1e-9).astype(np.int64)
    missing = max(0, wanted - int(quota.sum()))
    quota[np.argsort(np.floor(share + 1e-9) - share, kind="stable")[:missing]] += 1
    return np.asarray(np.minimum(quota, counts), dtype=np.int64)
