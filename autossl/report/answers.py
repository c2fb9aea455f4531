"""Figures of answers that are numbers: predicted against true, and how they differ over the range."""

from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from autossl.proxies import Outcomes
from autossl.report.charts import COLOURS, INK, STYLE, WIDTH, svg_of

MOST = 4  # columns that are drawn
LIMITS = 1.96  # standard deviations from the mean difference to its limits of agreement


def values(outcomes: Outcomes, names: Sequence[str]) -> str:
    """Predicted against true with the identity line; of one column also the plot of Bland and Altman (1986)."""
    truth, answers = (np.asarray(outcomes.columns[key], np.float64) for key in ("y", "scores"))
    count = min(MOST, truth.shape[1])
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 3.2), layout="constrained")
        axes = figure.subplots(1, max(2, count))
        for at, ax in enumerate(axes[:count]):
            known = np.isfinite(truth[:, at])
            _against(ax, truth[known, at], answers[known, at], names[at] if at < len(names) else "")
        if count == 1:
            known = np.isfinite(truth[:, 0])
            _differences(axes[1], truth[known, 0], answers[known, 0])
        return svg_of(figure, "answers")


def _against(ax: Axes, truth: NDArray[np.float64], answers: NDArray[np.float64], name: str) -> None:
    ends = [float(min(truth.min(), answers.min())), float(max(truth.max(), answers.max()))]
    ax.plot(ends, ends, color=INK, linewidth=0.8, linestyle=":")
    ax.plot(truth, answers, "o", markersize=3, alpha=0.5, color=COLOURS["contrastive"])
    ax.set(xlabel=f"true {name}".strip(), ylabel="predicted")


def _differences(ax: Axes, truth: NDArray[np.float64], answers: NDArray[np.float64]) -> None:
    gap = answers - truth
    ax.plot((answers + truth) / 2, gap, "o", markersize=3, alpha=0.5, color=COLOURS["contrastive"])
    for line, style in ((0.0, "-"), (LIMITS, "--"), (-LIMITS, "--")):
        ax.axhline(gap.mean() + line * gap.std(ddof=1), color=INK, linewidth=0.8, linestyle=style)
    ax.set(xlabel="mean of predicted and true", ylabel="predicted minus true")
