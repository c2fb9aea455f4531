"""Images with outlines of what is true of them and of what networks answer, as one sheet."""

import base64
import io
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from autossl.data.truth.structures import IGNORED
from autossl.report.charts import MANY

SIDE = 200  # pixels of one image on the sheet
GAP, HEAD, MARGIN = 8, 22, 64
PAPER, INK = (255, 255, 255), (20, 20, 20)

Pixels = NDArray[np.uint8]


def sheet(images: NDArray[np.unsignedinteger], scale: float, masks: Mapping[str, Pixels], values: Sequence[str]) -> str:
    """A row for each image (k, [d,] h, w, c): as it is, then with the outlines of each of the masks (k, [d,] h, w).

    Of volumes the slice with the largest part of the first masks is shown. A PNG as a data address.
    """
    rows = []
    for row, image in enumerate(images):
        flat, own = _flat(image, [each[row] for each in masks.values()])
        rows.append([outlined(flat, scale, mask) for mask in (None, *own)])
    return laid(["image", *masks], rows, values)


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


def _flat(image: NDArray[np.unsignedinteger], masks: list[Pixels]) -> tuple[NDArray[np.unsignedinteger], list[Pixels]]:
    """An image as it is; of a volume the slice with the largest part of the first mask."""
    if image.ndim == 3:
        return image, masks
    most = int(((masks[0] > 0) & (masks[0] != IGNORED)).sum((1, 2)).argmax())
    return image[most], [mask[most] for mask in masks]


def outlined(image: NDArray[np.unsignedinteger], scale: float, mask: Pixels | None) -> Pixels:
    """An image (h, w, c) on the sheet's scale as RGB, with the outlines of the structures of a mask."""
    grey = np.clip(image.astype(np.float64) / scale * 255, 0, 255).astype(np.uint8)
    colours = grey if image.shape[2] == 3 else np.repeat(grey[..., :1], 3, axis=2)
    found = np.array(Image.fromarray(colours).resize((SIDE, SIDE), Image.Resampling.BILINEAR))
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
