"""Images with outlines of what is true of them and of what networks answer, as one sheet."""

import base64
import io
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from autossl.data.truth.structures import IGNORED
from autossl.report.charts import MANY

SIDE = 200  # pixels of one image on the sheet
GAP, HEAD, MARGIN = 8, 22, 64
PAPER, INK = (255, 255, 255), (20, 20, 20)

Pixels = NDArray[np.uint8]


def sheet(
    images: NDArray[np.unsignedinteger],
    scale: float,
    answers: Mapping[str, NDArray[Any]],
    values: Sequence[str],
    draw_on: Callable[[NDArray[np.unsignedinteger], float, NDArray[Any] | None], Pixels],
) -> str:
    """A row for each image (k, [d,] h, w, c): as it is, then with the truth and each answer as `draw_on` shows them.

    Masks (k, [d,] h, w) are `outlined`; of volumes the slice with the largest part of the first ones is shown. Boxes
    are (k, m, 5 or 6), see `boxed`. A PNG as a data address.
    """
    rows = []
    for row, image in enumerate(images):
        flat, own = _flat(image, [each[row] for each in answers.values()])
        rows.append([draw_on(flat, scale, answer) for answer in (None, *own)])
    return laid(["image", *answers], rows, values)


def laid(titles: Sequence[str], rows: Sequence[Sequence[Pixels]], values: Sequence[str]) -> str:
    """Rows of RGB panels (SIDE, SIDE, 3) with titles above and a value to the left of each; a PNG as a data address."""
    size = (MARGIN + len(titles) * (SIDE + GAP), HEAD + len(rows) * (SIDE + GAP))
    found, font = Image.new("RGB", size, PAPER), ImageFont.load_default(14)
    draw = ImageDraw.Draw(found)
    for column, title in enumerate(titles):
        draw.text((MARGIN + column * (SIDE + GAP), 2), _cut(draw, title, font), fill=INK, font=font)
    for row, panels in enumerate(rows):
        top = HEAD + row * (SIDE + GAP)
        draw.text((4, top + SIDE // 2 - 8), values[row], fill=INK, font=font)
        for column, panel in enumerate(panels):
            found.paste(Image.fromarray(panel), (MARGIN + column * (SIDE + GAP), top))
    out = io.BytesIO()
    found.save(out, "PNG")
    return "data:image/png;base64," + base64.b64encode(out.getvalue()).decode()


def _cut(draw: ImageDraw.ImageDraw, title: str, font: ImageFont.ImageFont | ImageFont.FreeTypeFont) -> str:
    """As much of a title as a column has room for."""
    while title and draw.textlength(title, font=font) > SIDE:
        title = title[:-2].rstrip(" …") + "…"
    return title


def _flat(
    image: NDArray[np.unsignedinteger], masks: list[NDArray[Any]]
) -> tuple[NDArray[np.unsignedinteger], list[NDArray[Any]]]:
    """An image as it is; of a volume the slice with the largest part of the first mask."""
    if image.ndim == 3:
        return image, masks
    most = int(((masks[0] > 0) & (masks[0] != IGNORED)).sum((1, 2)).argmax())
    return image[most], [mask[most] for mask in masks]


def plain(image: NDArray[np.unsignedinteger], scale: float) -> Image.Image:
    """An image (h, w, c) on the sheet's scale, as RGB."""
    grey = np.clip(image.astype(np.float64) / scale * 255, 0, 255).astype(np.uint8)
    colours = grey if image.shape[2] == 3 else np.repeat(grey[..., :1], 3, axis=2)
    return Image.fromarray(colours).resize((SIDE, SIDE), Image.Resampling.BILINEAR)


def boxed(image: NDArray[np.unsignedinteger], scale: float, boxes: NDArray[Any] | None, least: float = 0.0) -> Pixels:
    """An image with boxes (m, 5) of the truth, x0, y0, x1, y1 in shares and a class, or detections (m, 6) with scores.

    Detections have their score before the class, and are shown from the score `least` on.
    """
    found = plain(image, scale)
    draw, font = ImageDraw.Draw(found), ImageFont.load_default(10)
    for row in [] if boxes is None else boxes[np.isfinite(boxes[:, 0])]:
        kind = int(row[-1])
        if kind < 0 or (len(row) == 6 and row[4] < least):
            continue
        x0, y0, x1, y1 = (round(float(side) * (SIDE - 1)) for side in row[:4])
        colour = MANY[kind % len(MANY)]
        draw.rectangle((x0, y0, max(x0, x1), max(y0, y1)), outline=colour, width=2)
        if len(row) == 6:
            draw.text((x0 + 3, y0 + 1), f"{row[4]:.2f}"[1:], fill=colour, font=font, stroke_width=1, stroke_fill=PAPER)
    return np.array(found)


def outlined(image: NDArray[np.unsignedinteger], scale: float, mask: NDArray[Any] | None) -> Pixels:
    """An image (h, w, c) with the outlines of the structures of a mask."""
    found = np.array(plain(image, scale))
    if mask is None:
        return found
    large = np.asarray(Image.fromarray(mask).resize((SIDE, SIDE), Image.Resampling.NEAREST))
    for kind in np.unique(large):
        if kind not in (0, IGNORED):
            colour = MANY[(int(kind) - 1) % len(MANY)]
            found[edge(large == kind)] = [int(colour[at : at + 2], 16) for at in (1, 3, 5)]
    return found


def edge(inside: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """What of a shape (h, w) lies within two pixels of its outside."""
    core = inside
    for _ in range(2):
        wide = np.pad(core, 1, mode="edge")
        core = core & wide[:-2, 1:-1] & wide[2:, 1:-1] & wide[1:-1, :-2] & wide[1:-1, 2:]
    return np.asarray(inside & ~core)
