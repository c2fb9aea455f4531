"""Images before and after they were restored, their targets, and where they differ from these, as one sheet."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib import colormaps
from numpy.typing import NDArray
from PIL import Image

from autossl.report.overlays import SIDE, laid

Field = NDArray[np.float64]  # ([d,] h, w, c) in [0, 1]
BRIGHTEST = 99  # percentile of the error of the image as it is, which is the brightest of the errors of its row
COLOURS = "magma"  # from black to white by way of red, as bright as it is large to any eye


def sheet(images: Field, target: Field, answers: Mapping[str, Field], values: Sequence[str]) -> str:
    """A row for each image (k, [d,] h, w, c): as it is, restored by each, its target, and errors on one scale.

    Of volumes the middle slice is shown. A PNG as a data address.
    """
    titles = ["image", *answers, "target", "error of the image", *(f"error: {name}" for name in answers)]
    rows = []
    for row, _image in enumerate(images):
        own = [_flat(each[row]) for each in (target, images, *answers.values())]
        errors = [np.abs(each - own[0]).mean(-1) for each in own[1:]]
        top = max(float(np.percentile(errors[0], BRIGHTEST)), 1e-6)
        shades = [colormaps[COLOURS](np.clip(error / top, 0, 1))[..., :3] for error in errors]
        rows.append([_panel(each) for each in (*own[1:], own[0], *shades)])
    return laid(titles, rows, values)


def _flat(image: Field) -> Field:
    """An image as it is; of a volume the middle slice."""
    return image if image.ndim == 3 else image[len(image) // 2]


def _panel(image: Field) -> NDArray[np.uint8]:
    grey = np.rint(np.clip(image, 0, 1) * 255).astype(np.uint8)
    colours = grey if image.shape[2] == 3 else np.repeat(grey[..., :1], 3, axis=2)
    return np.asarray(Image.fromarray(colours).resize((SIDE, SIDE), Image.Resampling.NEAREST))
