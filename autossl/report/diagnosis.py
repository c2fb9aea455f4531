"""Figures of answers that are classes or findings: confusion, ROC curves, calibration, worst errors."""

import base64
import io
from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from sklearn.calibration import calibration_curve
from sklearn.metrics import roc_curve

from autossl.errors.printable import one_line
from autossl.report.charts import COLOURS, INK, LINES, MANY, STYLE, axes_of, svg_of
from autossl.report.clinical import Reading
from autossl.report.overlays import INK as TEXT
from autossl.report.overlays import PAPER, SIDE, plain

CURVES = 8  # ROC curves that are drawn, those of the lowest areas
BINS = 10  # of the calibration curve, of equally many answers each
WRITTEN = 12  # classes up to which numbers stand in a confusion matrix
WORST = 8  # errors that are shown
ACROSS, FOOT = 4, 40  # errors in a row, pixels of text below each


def confusion(reading: Reading) -> str:
    """How many images of each class (rows) were said to be of each (columns), shaded by their share of the row."""
    counts = reading.confusion
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    names, places = [_cut(name, 18) for name in reading.names], len(counts)
    with mpl.rc_context(STYLE):
        figure, ax = axes_of(1.3 + 0.34 * places)
        for row, column in np.ndindex(counts.shape):
            square = Rectangle((column - 0.5, row - 0.5), 1, 1, linewidth=0)
            square.set(facecolor=COLOURS["contrastive"], alpha=0.05 + 0.6 * float(shares[row, column]))
            ax.add_patch(square)
            if places <= WRITTEN and counts[row, column]:
                ax.text(column, row, str(counts[row, column]), ha="center", va="center", fontsize=9)
        ax.set_xticks(range(places), names, rotation=40, ha="right", rotation_mode="anchor")
        ax.set_yticks(range(places), [f"{name} ({count})" for name, count in zip(names, counts.sum(1), strict=True)])
        ax.set(xlim=(-0.5, places - 0.5), ylim=(places - 0.5, -0.5), xlabel="answered", ylabel="true")
        return svg_of(figure, "confusion")


def roc(reading: Reading) -> str:
    """The ROC curve of each class against the rest, or of each finding; of many those with the least areas."""
    areas = {row.name: row.area for row in reading.rows if np.isfinite(row.area)}
    shown = sorted(areas, key=lambda name: areas[name])[:CURVES]
    if not shown:
        return ""
    with mpl.rc_context(STYLE):
        figure, ax = axes_of(4.4)
        ax.plot([0, 1], [0, 1], color=INK, linewidth=0.8, linestyle=":")
        for place, name in enumerate(shown):
            at = reading.names.index(name)
            known = reading.known[:, at]
            wrong, right, _ = roc_curve(reading.truth[known, at], reading.shares[known, at])
            style: dict[str, Any] = {"color": MANY[place % len(MANY)], "linestyle": LINES[place % len(LINES)]}
            ax.plot(wrong, right, label=f"{_cut(name, 22)} {areas[name]:.3f}", **style)
        ax.set(xlim=(0, 1), ylim=(0, 1.01), xlabel="1 - specificity", ylabel="sensitivity")
        ax.legend(loc="lower right", fontsize=8.5, title="area under the curve", title_fontsize=8.5)
        return svg_of(figure, "roc")


def calibration(reading: Reading) -> str:
    """How often answers are true, over how sure the network was of them, in groups of equally many answers."""
    if not reading.likely:
        return ""
    sure, right = reading.sure
    true, said = calibration_curve(right, sure, n_bins=BINS, strategy="quantile")
    with mpl.rc_context(STYLE):
        figure, ax = axes_of(3.4)
        ax.plot([0, 1], [0, 1], color=INK, linewidth=0.8, linestyle=":")
        ax.plot(said, true, "o-", color=COLOURS["contrastive"], markersize=5)
        _shares(ax)
        ax.set(xlim=(0, 1), ylim=(0, 1.02), xlabel="how sure the network was", ylabel="share that was true")
        return svg_of(figure, "calibration")


def _cut(name: str, most: int) -> str:
    """As much of a name as there is room for."""
    return name if len(name) <= most else f"{name[: most - 1]}…"


def _shares(ax: Axes) -> None:
    """Ticks at quarters, which a narrow screen has room for."""
    ax.set_xticks([0, 0.25, 0.5, 0.75, 1])
    ax.set_yticks([0, 0.25, 0.5, 0.75, 1])


def errors(reading: Reading) -> NDArray[np.int64]:
    """The images whose wrong answers the network was surest of, the worst first; of classes and grades alone."""
    if not reading.exclusive:
        return np.zeros(0, np.int64)
    wrong = np.flatnonzero(~(reading.truth & reading.said).any(1))
    given = np.where(reading.truth, reading.shares, 0).sum(1)
    gap = reading.shares.max(1) - given
    return np.asarray(wrong[np.argsort(-gap[wrong], kind="stable")][:WORST], dtype=np.int64)


def sheet(images: NDArray[np.unsignedinteger], scale: float, words: Sequence[tuple[str, str]]) -> str:
    """Images (k, [d,] h, w, c), of volumes the middle slice, with two lines below each; a PNG as a data address."""
    across = min(ACROSS, len(images))
    rows = -(-len(images) // across)
    found = Image.new("RGB", (across * (SIDE + 8), rows * (SIDE + FOOT)), PAPER)
    draw, font = ImageDraw.Draw(found), ImageFont.load_default(14)
    for place, (image, lines) in enumerate(zip(images, words, strict=True)):
        left, top = place % across * (SIDE + 8), place // across * (SIDE + FOOT)
        flat = image if image.ndim == 3 else image[len(image) // 2]
        found.paste(plain(flat, scale), (left, top))
        for line, text in enumerate(lines):
            draw.text((left, top + SIDE + 2 + 17 * line), one_line(text)[:28], fill=TEXT, font=font)
    out = io.BytesIO()
    found.save(out, "PNG")
    return "data:image/png;base64," + base64.b64encode(out.getvalue()).decode()


def words(reading: Reading, rows: NDArray[np.int64]) -> list[tuple[str, str]]:
    """What is true of each of these images, and what was said of it."""
    names = reading.names
    told = []
    for row in rows:
        said = int(reading.said[row].argmax())
        sure = f" ({reading.shares[row, said]:.2f})" if reading.likely else ""
        told.append((f"is {names[int(reading.truth[row].argmax())]}", f"said {names[said]}{sure}"))
    return told
