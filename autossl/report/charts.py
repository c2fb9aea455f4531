"""The figures of the report: inline SVG that takes the page's text colour, and contact sheets of views as PNG."""

import base64
import io
import re
import textwrap
import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray
from PIL import Image

from autossl.model.entrants import ENTRANTS

INK = "#010203"  # stands for the page's text colour
# by paradigm, of Okabe and Ito (2008), whom the colour-blind can tell apart; a shape says the same in grey print
COLOURS = {
    "contrastive": "#0072B2",
    "non-contrastive and predictive": "#E69F00",
    "generative": "#009E73",
    "hybrid": "#CC79A7",
    "baseline": "#8c8f94",
}
SHAPES = dict(zip(COLOURS, "osD^X", strict=True))
MANY = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#8c8f94")
MARKS = "osD^vPX*"  # of as many groups
LINES = ("-", "--", "-.", ":")
WIDTH = 5.2  # inches: text can be read on a phone, to whose width figures shrink
NAME = 24  # letters of a name to a line
POINTS = 600  # of the embedding map
STYLE: Any = {
    "svg.fonttype": "none",
    "text.parse_math": False,  # names of classes are data
    "text.usetex": False,  # whatever a matplotlibrc in the current folder says: LaTeX is another program
    "font.size": 9.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "legend.frameon": False,
    "lines.linewidth": 1.4,
    **dict.fromkeys(("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"), INK),
}


class Interval(NamedTuple):
    """A number with its interval, by name."""

    name: str
    value: float
    low: float
    high: float
    colour: str = "baseline"  # a key of COLOURS
    hollow: bool = False


def intervals(name: str, found: Sequence[Interval], xlabel: str, zero: bool = False) -> str:
    """One row per number: a dot with its interval; with `zero`, a line at no difference."""
    with mpl.rc_context(STYLE):
        names = [textwrap.fill(one.name, NAME) for one in found]
        figure, ax = axes_of(0.6 + 0.2 * sum(1 + name.count("\n") for name in names) + 0.14 * len(found))
        for row, one in enumerate(found):
            colour = COLOURS[one.colour]
            ax.plot([one.low, one.high], [row, row], color=colour, linewidth=3, solid_capstyle="butt", alpha=0.55)
            face = "none" if one.hollow else colour
            ax.plot([one.value], [row], SHAPES[one.colour], color=colour, markerfacecolor=face, markersize=7)
        if zero:
            ax.axvline(0, color=INK, linewidth=0.8, linestyle=":")
        ax.set_yticks(range(len(found)), names)
        ax.set(ylim=(len(found) - 0.5, -0.5))
        ax.set_xlabel(xlabel, loc="right")  # long names leave the axis less room than its label
        ax.locator_params(axis="x", nbins=5)
        return svg_of(figure, name)


def scores(rows: Sequence[dict[str, Any]], winner: int | None) -> str:
    """Aligned scores of all candidates by method, best method first; then the untrained encoder and the best start."""
    candidates = [r for r in rows if r["paradigm"] != "baseline" and r["score"] is not None]
    top: dict[str, float] = {}
    for row in candidates:
        top[row["method"]] = max(top.get(row["method"], -np.inf), row["score"])
    methods, baselines = sorted(top, key=lambda m: -top[m]), _shown(rows)
    names = [*methods, *(row["method"].partition(" (")[0] for row in baselines)]  # the leaderboard has the whole name
    with mpl.rc_context(STYLE):
        figure, ax = axes_of(0.8 + 0.32 * len(names))
        for row in candidates:
            at, best = methods.index(row["method"]), row["candidate"] == winner
            colour = COLOURS.get(row["paradigm"], COLOURS["baseline"])
            ax.errorbar(row["score"], at, xerr=row["se"] or 0, color=colour, alpha=0.35, linewidth=1.1, zorder=1)
            edge = INK if best else colour
            shape = SHAPES.get(row["paradigm"], "o")
            ax.scatter(
                row["score"],
                at,
                s=26 + 22 * row["rung"],
                marker=shape,
                color=colour,
                edgecolor=edge,
                alpha=0.9,
                zorder=2,
            )
        for at, row in enumerate(baselines, len(methods)):
            ax.axvline(row["score"], color=COLOURS["baseline"], linestyle="--", linewidth=1, zorder=0)
            ax.errorbar(row["score"], at, xerr=row["se"] or 0, color=COLOURS["baseline"], fmt="D", markersize=5)
        ax.set_yticks(range(len(names)), names)
        ax.set(ylim=(len(names) - 0.5, -0.7), xlabel="aligned score ± standard error")
        _paradigms(ax, {r["paradigm"] for r in candidates})
        return svg_of(figure, "scores")


def _shown(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Of the baselines with a score the untrained encoder and the best of the others."""
    scored = [row for row in rows if row["paradigm"] == "baseline" and row["score"] is not None]
    others = sorted((row for row in scored if row["method"] != "untrained"), key=lambda row: -row["score"])
    return [row for row in scored if row["method"] == "untrained"] + others[:1]


def ladder(curves: Sequence[tuple[str, Sequence[float]]], rungs: Sequence[int]) -> str:
    """Which candidates climbed: (paradigm, score at each rung reached) over the images seen at a rung."""
    with mpl.rc_context(STYLE):
        figure, ax = axes_of(2.9)
        for paradigm, climbed in curves:
            colour = COLOURS.get(paradigm, COLOURS["baseline"])
            shape = SHAPES.get(paradigm, "o")
            ax.plot(range(len(climbed)), climbed, f"{shape}-", markersize=5, color=colour, alpha=0.75)
        ax.set_xticks(range(len(rungs)), [f"rung {i}\n{images:,}\nimages" for i, images in enumerate(rungs)])
        ax.set(xlim=(-0.3, len(rungs) - 0.7), ylabel="aligned score")
        _paradigms(ax, {paradigm for paradigm, _ in curves})
        return svg_of(figure, "ladder")


def losses(curves: Sequence[tuple[str, str, NDArray[np.floating]]]) -> str:
    """One panel per candidate: (title, paradigm, (k, 2) images seen and loss); scales differ between methods."""
    columns = min(2, len(curves))
    rows = -(-len(curves) // columns)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 0.3 + 1.7 * rows), layout="constrained")
        panels = figure.subplots(rows, columns, squeeze=False).ravel()
        for ax, (title, paradigm, curve) in zip(panels, curves, strict=False):
            thin = _thinned(np.asarray(curve, np.float64))
            ax.plot(thin[:, 0], thin[:, 1], color=COLOURS.get(paradigm, COLOURS["baseline"]))
            ax.set_title(title, fontsize=9, loc="left")
            ax.locator_params(axis="both", nbins=4)
            ax.tick_params(labelsize=8)
        for ax in panels[len(curves) :]:
            ax.set_axis_off()
        figure.supxlabel("images seen", fontsize=9)
        return svg_of(figure, "losses")


def _thinned(curve: NDArray[np.float64], most: int = 120) -> NDArray[np.float64]:
    """The curve as at most so many means."""
    curve = curve[np.isfinite(curve).all(1)]
    if len(curve) <= most:
        return curve
    return np.array([block.mean(0) for block in np.array_split(curve, most)])


def label_curve(points: Sequence[dict[str, Any]], names: dict[str, str], metric: str, line: float | None) -> str:
    """Test score over the number of labels, log scale; `line` is training on all labels from scratch."""
    with mpl.rc_context(STYLE):
        figure, ax = axes_of(2.9)
        entrants = list(dict.fromkeys(p["name"] for p in points))
        for name in entrants:
            own = sorted((p for p in points if p["name"] == name), key=lambda p: p["labels"])
            x, y, sd = (np.array([p[key] for p in own], float) for key in ("labels", "mean", "sd"))
            kind = ENTRANTS[name].colour if name in ENTRANTS else "hybrid"
            colour = COLOURS[kind]
            ax.plot(x, y, f"{SHAPES[kind]}-", markersize=5, color=colour, label=names.get(name, name))
            ax.fill_between(x, y - sd, y + sd, color=colour, alpha=0.2, linewidth=0)
        if line is not None:
            ax.axhline(line, color=COLOURS["hybrid"], linestyle="--", label="labels alone, all of them")
        ticks = sorted({p["labels"] for p in points if p["name"] == entrants[0]})
        ax.set_xscale("log")
        ax.set_xticks(ticks, [f"{t:,}" for t in ticks])
        ax.minorticks_off()
        ax.set(xlabel="labels fitted on", ylabel=f"{metric} on the test part")
        ax.legend(loc="lower right", fontsize=8.5)
        return svg_of(figure, "label-curve")


def embedding_map(z: NDArray[np.floating], labels: NDArray[np.int64], classes: Sequence[str]) -> str:
    """A t-SNE map (van der Maaten and Hinton 2008) of at most 600 embeddings, coloured by class."""
    pick = np.sort(np.random.default_rng(0).permutation(len(z))[:POINTS])
    at, y = _map(np.asarray(z[pick], np.float32)), labels[pick]
    with mpl.rc_context(STYLE):
        figure, ax = axes_of(4.2)
        for place, index in enumerate(sorted(set(y.tolist()))):
            name = classes[index] if 0 <= index < len(classes) else str(index)
            marker = MARKS[(place + place // len(MARKS)) % len(MARKS)]
            own, colour = at[y == index], MANY[place % len(MANY)]
            ax.scatter(own[:, 0], own[:, 1], s=13, marker=marker, color=colour, label=name, linewidth=0)
        ax.set(xticks=[], yticks=[])
        for side in ("left", "bottom"):
            ax.spines[side].set_visible(False)
        ax.legend(loc="upper center", bbox_to_anchor=(0.5, 0), ncols=3, fontsize=8.5, markerscale=1.6)
        return svg_of(figure, "map")


def _map(z: NDArray[np.float32]) -> NDArray[np.float64]:
    """(n, 2): t-SNE of the first principal components, or two of these where the images are few."""
    centred = z.astype(np.float64) - z.mean(0)
    left, size, _ = np.linalg.svd(centred, full_matrices=False)
    components = left[:, :30] * size[:30]
    if len(z) < 40 or components.shape[1] < 3 or not size[0] > 0:
        flat = np.zeros((len(z), 2))
        flat[:, : components[:, :2].shape[1]] = components[:, :2]
        return flat
    from sklearn.manifold import TSNE  # here, because it takes time to import

    return np.asarray(TSNE(init="pca", max_iter=350, random_state=0, n_jobs=1).fit_transform(components / size[0]))


def axes_of(height: float) -> tuple[Figure, Axes]:
    """A figure of the width of all and this height in inches, with its axes."""
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    return figure, figure.subplots()


def _paradigms(ax: Axes, present: set[str]) -> None:
    """A legend of the paradigms above the axes."""
    names = [name for name in COLOURS if name in present]
    handles = [Line2D([], [], color=COLOURS[n], marker=SHAPES[n], linestyle="", label=n) for n in names]
    ax.legend(handles=handles, loc="lower left", bbox_to_anchor=(0, 1), ncols=2, fontsize=8.5, borderpad=0)


def svg_of(figure: Figure, name: str) -> str:
    """Inline SVG: no header, no addresses, ids of its own, the page's text colour and font."""
    out = io.StringIO()
    FigureCanvasSVG(figure)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a glyph that only the reader's browser has
        figure.savefig(
            out, format="svg", transparent=True, metadata=dict.fromkeys(("Creator", "Date", "Format", "Type"))
        )
    text = out.getvalue()
    text = text[text.index("<svg") :].replace(INK, "currentColor")
    text = re.sub(r"<metadata>.*?</metadata>|<defs>\s*<style.*?</style>\s*</defs>", "", text, flags=re.DOTALL)
    text = re.sub(r'\sxmlns(:xlink)?="[^"]*"|(?<=<svg)\s(width|height)="[^"]*"', "", text)
    text = re.sub(r"font: ?([\d.]+px)[^;\"]*", r"font-size: \1", text)
    for mark in ('id="', 'href="#', "url(#"):
        text = text.replace(mark, f"{mark}{name}-")
    return re.sub(r"(?<=<svg)", f' role="img" aria-label="figure: {name}"', text, count=1)


def contact_sheet(columns: Sequence[NDArray[np.float32]]) -> str:
    """Columns of images (n, c, h, w) in [0, 1] side by side, a gap after the first; of volumes the middle slice.

    A PNG as a data address.
    """
    columns = [column[:, :, column.shape[2] // 2] if column.ndim == 5 else column for column in columns]
    high, wide = columns[0].shape[-2:]
    brightest = max(float(columns[0].max()), 1e-6)
    sheet = np.zeros((len(columns[0]) * (high + 2), len(columns) * (wide + 2) + 4, 4), np.uint8)
    for j, column in enumerate(columns):
        pixels = column if column.shape[1] == 3 else column[:, :1].repeat(3, axis=1)
        values = (np.clip(pixels / brightest, 0, 1) * 255).astype(np.uint8).transpose(0, 2, 3, 1)
        left = j * (wide + 2) + (4 if j else 0)
        for i, image in enumerate(values):
            h, w = image.shape[:2]
            sheet[i * (high + 2) : i * (high + 2) + h, left : left + w, :3] = image
            sheet[i * (high + 2) : i * (high + 2) + h, left : left + w, 3] = 255
    out = io.BytesIO()
    Image.fromarray(sheet, "RGBA").save(out, "PNG")
    return "data:image/png;base64," + base64.b64encode(out.getvalue()).decode()
