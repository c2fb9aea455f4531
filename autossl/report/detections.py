"""Figures of detections: sensitivity over false positives, precision over recall, and where scores are best cut."""

from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from autossl.proxies import Outcomes
from autossl.proxies import detections as found
from autossl.report.charts import INK, MANY, STYLE, WIDTH, svg_of

LEFT = 1 / 16  # false positives an image, at which the axis begins


def threshold(outcomes: Outcomes) -> float:
    """The score from which on detections have the best harmonic mean of precision and recall, classes together."""
    y, scores = outcomes.columns["y"], outcomes.columns["scores"]
    flat = np.concatenate([scores[:, kind, :3] for kind in range(y.shape[1])])
    flat = flat[np.isfinite(flat[:, 0])]
    if not len(flat):
        return 0.0
    flat = flat[np.argsort(-flat[:, 0], kind="stable")]
    best = (2 * np.cumsum(flat[:, 2]) / (np.arange(1, len(flat) + 1) + y.sum())).argmax()
    return float(flat[best, 0])


def curves(outcomes: Outcomes, classes: Sequence[str]) -> str:
    """FROC and precision-recall curves of each class, at an overlap of a half; names of strata begin with theirs."""
    drawn = found.curves(outcomes.columns["y"], outcomes.columns["scores"])
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 3.3), layout="constrained")
        froc, precision = figure.subplots(1, 2)
        for at, ((sensitivity, precise, alarms), name) in enumerate(zip(drawn, classes, strict=False)):
            if not len(sensitivity):
                continue
            style = {"color": MANY[at % len(MANY)], "linestyle": ("-", "--", "-.", ":")[at % 4], "label": name}
            froc.step(np.maximum(alarms, LEFT), sensitivity, where="post", **style)
            precision.step(sensitivity, precise, where="post", **style)
        for rate in found.RATES:
            froc.axvline(rate, color=INK, linewidth=0.4, linestyle=":")
        froc.set_xscale("log", base=2)
        froc.set_xticks(found.RATES, [f"1/{round(1 / rate)}" if rate < 1 else f"{rate:g}" for rate in found.RATES])
        froc.set(xlim=(LEFT, 16), ylim=(0, 1.02), xlabel="false positives per image", ylabel="sensitivity")
        precision.set(xlim=(0, 1.02), ylim=(0, 1.02), xlabel="recall", ylabel="precision")
        precision.legend(loc="lower left", fontsize=8.5)
        return svg_of(figure, "curves")
