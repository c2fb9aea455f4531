"""Means over cells and their intervals: sets are drawn first, then targets within them, then seeds."""

from collections.abc import Sequence

import numpy as np

from studies.replay.table import Array, Cell

DRAWS = 1000


class Hierarchy:
    """Draws of cells and seeds, the same for everything that is compared."""

    def __init__(self, cells: Sequence[Cell], seeds: int, draws: int = DRAWS) -> None:
        self.of_set = [np.flatnonzero([cell.set == name for cell in cells]) for name in sorted({c.set for c in cells})]
        random = np.random.default_rng(0)
        self.weights = np.stack([self._drawn(random, len(cells)) for _ in range(draws)])
        self.seeds = random.multinomial(seeds, np.full(seeds, 1 / seeds), size=draws) / seeds

    def _drawn(self, random: np.random.Generator, cells: int) -> Array:
        weights = np.zeros(cells)
        for at in random.integers(len(self.of_set), size=len(self.of_set)):
            targets = self.of_set[at]
            np.add.at(weights, random.choice(targets, size=len(targets)), 1 / len(targets) / len(self.of_set))
        return weights

    def mean(self, values: Array) -> float:
        """Mean of values (cells, seeds) or (cells,): sets count alike, and targets within them."""
        per_cell = values.reshape(len(values), -1).mean(1)
        return float(np.mean([per_cell[at].mean() for at in self.of_set]))

    def interval(self, values: Array) -> tuple[float, float]:
        """95 % of the draws of that mean."""
        of_cell = values[:, None] if values.ndim == 1 else values @ self.seeds.T  # (cells, draws)
        means = (self.weights.T * of_cell).sum(0)
        low, high = np.quantile(means, (0.025, 0.975))
        return float(low), float(high)
