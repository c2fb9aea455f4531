"""A sheet of a data set's images and of the views that a modality makes of them, to be looked at before a search."""

import textwrap
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor

from autossl.data import Source, default_image_size, windowed
from autossl.data.dataset import Pixels
from autossl.data.frame import frame_of
from autossl.data.parts import OFFICIAL_TEST
from autossl.data.readers.images import Unreadable
from autossl.data.store import brought_to
from autossl.errors import UserError
from autossl.report.overlays import boxed, outlined
from autossl.views.images import Views
from autossl.views.intensity import along
from autossl.views.presets import MOVES, Preset, preset
from autossl.views.volumes import views_for

STRENGTHS = (0.0, 0.3, 1.0)
SHOWN = 6  # images
COPIES = 3  # views of each at each strength
CELL = 0.95  # inches a view takes
GAP = 0.04  # between views, in units of their side
MARKS: dict[str, Callable[[NDArray[Any], float, NDArray[Any] | None], NDArray[np.uint8]]] = {
    "masks": outlined,
    "boxes": boxed,
}  # what draws them, by form of label


def write_sheet(source: Source, modality: str, path: Path, seed: int = 0) -> None:
    """Draw a few images, the classes in turn, at the size that a study would choose, and views of them, as a PNG.

    Masks are outlined and boxes drawn, and it is said where they do not fit. Where a study cuts images into windows,
    some of these are drawn.
    Of volumes and of their views, the slice in the middle of the first axis is drawn.
    Images of an official test part are not looked at; nothing names a patient or a file. UserError if the modality is
    unknown, no image can be read or the file cannot be written.
    """
    allowed = preset(modality, source.channels)
    source = windowed(source, default_image_size(source))
    rows, images = _images(source, np.random.default_rng(seed))
    mean, std = (tuple(found.tolist()) for found in torch.std_mean(images, (0, *range(2, images.ndim)))[::-1])
    made = [views_for(source.dims)(allowed, mean, std, jitter=strength) for strength in STRENGTHS]
    blocks = {"images": [_flat(images)]} | {f"jitter {views.jitter:g}": _seen(views, images, seed) for views in made}
    marked = _marked(source, rows, _flat(images))
    blocks |= {source.truth.form: marked.drawn} if marked.drawn else {}
    names = [source.truth.names[label] if label >= 0 else "" for label in source.truth.strata[rows]]
    names = [name if fits else f"{name} does not fit" for name, fits in zip(names, marked.fits, strict=True)]
    size, crop = f"{images.shape[-1]} {'px' if source.dims == 2 else 'voxels'}", made[0].crop_min
    title = f"{source.name}: views of modality {modality}, {size}, crops of {crop:.0%} or more"
    _write(_drawn(blocks, names, title, _in_words(allowed)), path)


class Marked(NamedTuple):
    """Images with what is marked on them, one list of one column, and for each whether that fits it."""

    drawn: list[Tensor]
    fits: list[bool]


def _marked(source: Source, rows: list[int], images: Tensor) -> Marked:
    """Images (n, c, h, w) of these rows with outlines of their masks, or boxes; none where labels are neither."""
    draw, nothing = MARKS.get(source.truth.form), Marked([], [True] * len(rows))
    if draw is None:
        return nothing
    some = source.truth.only(np.isin(np.arange(source.n), rows))
    with TemporaryDirectory() as folder:
        frame = frame_of(source, Path(folder), np.zeros((1, images.shape[-1]), np.uint8), 1.0)
        try:
            found = some.decoded(replace(frame, failures=len(rows)))[rows]
        except UserError:  # none of them fits: the checks say so
            return nothing
        marks = found.array
    flat = marks[:, marks.shape[1] // 2] if source.dims == 3 else marks
    white = _brightest(images)
    pixels = ((images / white).clamp(0, 1) * 255).round().to(torch.uint8).movedim(1, -1).numpy()
    panels = np.stack([draw(image, 255.0, mark) for image, mark in zip(pixels, flat, strict=True)])
    fits = (found.known | ~source.truth.known[rows]).tolist()
    return Marked([torch.from_numpy(panels).movedim(-1, 1).float() / 255 * white], fits)


def _brightest(images: Tensor) -> float:
    """What is drawn as white."""
    return max(float(images.max()), 1e-6)


def _seen(views: Views, images: Tensor, seed: int) -> list[Tensor]:
    """Views (n, c, h, w) in the units of the images; the same seed gives the same crops at every strength."""
    seen = views(images, torch.Generator().manual_seed(seed), copies=COPIES)
    return list(_flat(seen * along(views.std[None], seen) + along(views.mean[None], seen)).chunk(COPIES))


def _flat(images: Tensor) -> Tensor:
    """(n, c, h, w): images as they are, of volumes the middle slice."""
    return images if images.ndim == 4 else images[:, :, images.shape[2] // 2]


def _images(source: Source, rng: np.random.Generator) -> tuple[list[int], Tensor]:
    """Rows and images (n, c, *space) in [0, 1], the classes in turn."""
    size, rows, found = default_image_size(source), [], []
    for row in _in_turn(source, rng):
        try:
            found.append(brought_to(size, source, row, source.read(row)))
        except (Unreadable, UserError):
            continue
        rows.append(row)
        if len(rows) == SHOWN:
            break
    if not rows:
        raise UserError(
            f"readable images were wanted, found none in {source.place}; run autossl inspect without --views"
        )
    return rows, torch.from_numpy(_scaled(found, source.white[rows])).movedim(-1, 1)


def _in_turn(source: Source, rng: np.random.Generator) -> Iterator[int]:
    """Rows outside an official test part: one of each class, then a second of each, and so on."""
    rows = rng.permutation(np.flatnonzero(source.split != OFFICIAL_TEST))
    labels = source.truth.strata[rows]
    turn = np.zeros(len(rows), dtype=np.int64)
    for label in np.unique(labels):
        turn[labels == label] = np.arange((labels == label).sum())
    yield from rows[np.lexsort([labels, turn])].tolist()


def _scaled(images: list[Pixels], white: NDArray[np.int64]) -> NDArray[np.float32]:
    """Pixel values in [0, 1]; where no value is known to be white, it is the least 2^k - 1 that none exceeds."""
    highest = max(int(image.max()) for image in images)
    unknown = max(255, (1 << highest.bit_length()) - 1)
    scales = np.where(white > 0, white, unknown).astype(np.float32)
    return np.stack([image / scale for image, scale in zip(images, scales, strict=True)])


def _in_words(allowed: Preset) -> str:
    """What a preset does at any jitter, and the amplitudes of the rest."""
    told = {name: getattr(allowed, name) for name in allowed.operations}
    always = [name if value is True else f"{name} {value:g}" for name, value in told.items() if name in MOVES]
    scaled = [f"{name} {value:g}" for name, value in told.items() if name not in MOVES]
    parts = (("at any jitter", always), ("at jitter 1", scaled))
    return "; ".join(f"{when}: {', '.join(words)}" for when, words in parts if words)


def _drawn(blocks: dict[str, list[Tensor]], names: list[str], title: str, words: str) -> Figure:
    """One block of columns for each strength, one row for each image."""
    brightest = _brightest(blocks["images"][0])
    columns, high = [len(views) * (1 + GAP) - GAP for views in blocks.values()], CELL * len(names) * (1 + GAP)
    figure = Figure(figsize=(CELL * sum(columns) + 2.3, high + 1.1), dpi=150, facecolor="white")
    axes = figure.subplots(1, len(blocks), gridspec_kw={"width_ratios": columns, "wspace": 0.06})
    figure.subplots_adjust(left=1.6 / figure.get_figwidth(), right=0.995, top=1 - 0.9 / (high + 1.1), bottom=0.02)
    for ax, (name, views) in zip(axes, blocks.items(), strict=True):
        _block(ax, torch.stack(views, 1) / brightest)
        ax.set_title(name, fontsize=10)
        ax.set_anchor("N")
    axes[0].set_yticks(
        np.arange(len(names)) * (1 + GAP) + 0.5, [textwrap.shorten(n, 22, placeholder="…") for n in names]
    )
    figure.text(0.01, 0.99, title, fontsize=11, va="top", parse_math=False)
    told = f"{words}. Values beyond black and white are cut off on this sheet, not for the encoder."
    wrapped = textwrap.fill(told, int(figure.get_figwidth() * 15))
    figure.text(0.01, 1 - 0.3 / (high + 1.1), wrapped, fontsize=8, va="top", parse_math=False)
    return figure


def _block(ax: Axes, views: Tensor) -> None:
    """Views (rows, columns, c, s, s) side by side, a gap between them."""
    for row, line in enumerate(views.clamp(0, 1)):
        for column, view in enumerate(line):
            pixels = (view[:3] if len(view) == 3 else view[:1].expand(3, -1, -1)).permute(1, 2, 0).numpy()
            left, top = column * (1 + GAP), row * (1 + GAP)
            ax.imshow(pixels, extent=(left, left + 1, top + 1, top))
    ax.set(xlim=(0, views.shape[1] * (1 + GAP) - GAP), ylim=(views.shape[0] * (1 + GAP) - GAP, 0), xticks=[], yticks=[])
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)


def _write(figure: Figure, path: Path) -> None:
    FigureCanvasAgg(figure)
    try:
        figure.savefig(path, format="png", metadata={"Software": None})
    except OSError as fault:
        raise UserError(
            f"a file to write the sheet of views to was wanted, found {path} ({fault.strerror}); name another by --out"
        ) from None
