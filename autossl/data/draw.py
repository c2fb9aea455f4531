"""Draws a share of the images in whole groups, every class alike."""

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

Ints = NDArray[np.int64]


def draw(
    labels: Ints,
    groups: Ints,
    classes: int,
    share: float,
    random: np.random.Generator,
    *,
    staying: int = 3,
    sharing: bool = True,
) -> NDArray[np.bool_]:
    """(n,) about `share` of the labelled images of every class, in whole groups.

    Of every class `staying` groups at least stay in. With `sharing` a class of fewer gives one away all the same, so
    that a class of two groups is on both sides, where the other classes of these groups allow it. Groups without labels
    stay out.
    """
    table, group = class_table(labels, groups, classes)
    sizes = table.sum(1)
    order = random.permutation(len(table))
    order = order[np.argsort(-sizes[order], kind="stable")]  # large groups first: small ones even things out
    side = _Side(table, share, staying, sharing)
    side.seed(order)
    side.weigh(order[sizes[order] > 1])
    side.fill(order[sizes[order] == 1])
    return np.asarray(side.out[group])


def class_table(labels: Ints, groups: Ints, classes: int) -> tuple[Ints, Ints]:
    """(groups, classes) counts of labels, and the row of that table for each of the n images."""
    names, group = np.unique(groups, return_inverse=True)
    table = np.zeros((len(names), classes), dtype=np.int64)
    known = labels >= 0
    np.add.at(table, (group[known], labels[known]), 1)
    return table, group.astype(np.int64)


def groups_per_class(labels: Ints, groups: Ints, classes: int) -> Ints:
    """(classes,) number of groups that hold a labelled image of each class."""
    return np.asarray((class_table(labels, groups, classes)[0] > 0).sum(0), dtype=np.int64)


class _Side:
    """The groups taken out so far, and how many of each class must stay in."""

    def __init__(self, table: Ints, share: float, staying: int, sharing: bool) -> None:
        self.table, self.out = table, np.zeros(len(table), dtype=bool)
        self.goal = table.sum(0) * share
        self.rest = table.sum(0) - self.goal
        self.have, self.stay = np.zeros_like(self.goal), np.zeros_like(self.goal)
        self.inside = (table > 0).sum(0)
        self.least = np.minimum(staying, np.maximum(1, self.inside - 1) if sharing else self.inside)

    def take(self, group: int) -> bool:
        """Take a group out, unless a class needs it."""
        held = self.table[group] > 0
        if (self.inside[held] <= self.least[held]).any():
            return False
        self.out[group] = True
        self.inside[held] -= 1
        self.have += self.table[group]
        return True

    def seed(self, order: Ints) -> None:
        """One group of every class, rare classes first, each the one that overshoots least."""
        for index in np.argsort((self.table > 0).sum(0), kind="stable"):
            holding = order[self.table[order, index] > 0]
            if self.have[index] == 0 and len(holding) > 1:
                costs = _cost(self.table[holding], self.have, self.goal)
                any(self.take(int(group)) for group in holding[np.argsort(costs, kind="stable")])

    def weigh(self, order: Ints) -> None:
        """Each group to the side that it brings nearer to its goal."""
        for group in order[~self.out[order]].tolist():
            counts = self.table[group]
            if _cost(counts, self.have, self.goal) >= _cost(counts, self.stay, self.rest) or not self.take(group):
                self.stay += counts

    def fill(self, singles: Ints) -> None:
        """Groups of one label, by class, as many as are missing to the goal."""
        singles = singles[~self.out[singles]]
        kind = self.table[singles].argmax(1)
        for index in range(self.table.shape[1]):
            most = max(0, int(self.inside[index] - self.least[index]))
            missing = max(0, round(float(self.goal[index] - self.have[index])))
            chosen = singles[kind == index][: min(missing, most)]
            self.out[chosen] = True


def _cost(counts: NDArray[np.int64], have: NDArray[np.float64], goal: NDArray[np.float64]) -> NDArray[np.float64]:
    """How much further from the goal, in squares relative to it, the counts (..., classes) bring what is there."""
    change = 2 * counts * (have - goal) + counts.astype(np.float64) ** 2
    return np.asarray((change / np.maximum(goal, 1e-9)).sum(-1))


def merge(groups: Ints, sets: Ints) -> Ints:
    """Groups (n,), numbered anew, those joined that share a set of duplicates (n,), -1 for images in no set."""
    rows = np.flatnonzero(sets >= 0)
    first = int(groups.max(initial=-1)) + 1
    nodes = first + int(sets.max(initial=-1)) + 1
    links = coo_array((np.ones(len(rows)), (groups[rows], first + sets[rows])), shape=(nodes, nodes))
    joined = connected_components(links, directed=False)[1][groups]
    return np.unique(joined, return_inverse=True)[1].astype(np.int64)
