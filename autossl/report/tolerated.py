"""The figure of what the labels of a study tolerate: what views leave of them, by kind and strength."""

from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from autossl.report.charts import COLOURS, INK, STYLE, WIDTH, svg_of
from autossl.trials.tolerance import CROP, JITTER, Reading, Tolerance, named

LADDERS = {JITTER: "jitter: all intensities together", CROP: "smallest share of the image in a crop"}
OTHERS = "others"  # the panel below
APART = 0.3  # of a row, the strengths of an operation
WEAK, STRONG = COLOURS["baseline"], COLOURS["contrastive"]


def figure(found: Tolerance, metric: str) -> str:
    """Above what jitter and crops leave of the labels by strength, below moves and each operation alone."""
    ladders = [view for view in LADDERS if found.of(view)]
    others = list(dict.fromkeys(reading.view for reading in found.readings if reading.view not in LADDERS))
    rows: list[Any] = [ladders, [OTHERS] * len(ladders)][: 1 + bool(others)]
    heights = [2.2, 0.6 + 0.26 * len(others)][: len(rows)]
    with mpl.rc_context(STYLE):
        whole = Figure(figsize=(WIDTH, sum(heights)), layout="constrained")
        panels = whole.subplot_mosaic(rows, height_ratios=heights)
        for view in ladders:
            _ladder(panels[view], found.of(view), LADDERS[view])
        ends = [panels[view].get_ylim() for view in ladders]
        for view in ladders:
            panels[view].set_ylim(min(low for low, _ in ends), max(high for _, high in ends))
        panels[ladders[0]].set_ylabel(f"{metric},\ngained or lost", fontsize=9)
        if others:
            _dots(panels[OTHERS], [found.of(view) for view in others])
        return svg_of(whole, "tolerated")


def _ladder(ax: Axes, readings: Sequence[Reading], words: str) -> None:
    """Weak to strong, from the left to the right."""
    x = np.arange(len(readings) + 1)
    kept = np.array([0.0, *(reading.kept for reading in readings)])
    se = np.array([0.0, *(reading.se for reading in readings)])
    ax.axhline(0, color=INK, linewidth=0.8, linestyle=":")
    ax.fill_between(x, kept - se, kept + se, color=STRONG, alpha=0.2, linewidth=0)
    ax.plot(x, kept, "o-", markersize=4, color=STRONG)
    ax.set_xticks(x, ["none", *(f"{reading.strength:g}" for reading in readings)])
    ax.set_xlabel(words, fontsize=9)
    ax.locator_params(axis="y", nbins=5)


def _dots(ax: Axes, rows: Sequence[Sequence[Reading]]) -> None:
    """A row for each operation, a dot for each strength, the strongest in colour and below the others."""
    for row, readings in enumerate(rows):
        for place, reading in enumerate(readings):
            colour = STRONG if reading is readings[-1] else WEAK
            at = row + APART * (place - (len(readings) - 1) / 2)
            ax.errorbar(reading.kept, at, xerr=reading.se, fmt="o", markersize=4.5, color=colour, linewidth=1.1)
    ax.axvline(0, color=INK, linewidth=0.8, linestyle=":")
    ax.set_yticks(range(len(rows)), [named(readings[0].view) for readings in rows])
    ax.set(ylim=(len(rows) - 0.5, -0.5))
