"""What a restoring model makes of images, at their own size, in their own values and place in space."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from autossl.data import CT, Source
from autossl.data.frame import frames
from autossl.data.fresh import read_as
from autossl.data.readers import volume_files
from autossl.data.readers.volumes import CT_WHITE, ends
from autossl.data.truth import SHARE
from autossl.model.card import Preprocessing
from autossl.model.masks import made, stem
from autossl.model.sliding import Slid, white_of


def restored(slid: Slid, p: Preprocessing, source: Source, row: int) -> NDArray[Any]:
    """An image ([d,] h, w, c) of a source, restored window by window; what changes is added to its own values.

    So nothing is resized, nor lost that windows of values have cut off.
    """
    whole, white = read_as(source, row, len(p.mean)), white_of(p, source, row)
    found = np.moveaxis(slid(source, row), 0, -1) / SHARE
    change = np.asarray(np.clip(found, 0, 1) - np.clip(whole / white, 0, 1), dtype=np.float64)
    if source.values is None:
        top = source.white[row] or np.iinfo(whole.dtype).max
        return np.asarray(np.rint(np.clip(whole + change * white, 0, top)), dtype=whole.dtype)
    values = source.values(row)
    low, high = (0, CT_WHITE) if source.window == CT else ends(values)
    found = values + change * (high - np.asarray(low))
    if values.dtype.kind not in "iu":
        return np.asarray(found, dtype=np.float32)
    kind = np.iinfo(values.dtype)
    return np.asarray(np.rint(np.clip(found, kind.min, kind.max)), dtype=values.dtype)


def write(slid: Slid, p: Preprocessing, source: Source, folder: Path) -> dict[str, list[Any]]:
    """Restored images in a folder, each of the name of its image: PNG, or NIfTI that lies where the volume does.

    Colours of 16 bit, which PNG files of Pillow cannot hold, are arrays (.npy). A table of the names.
    """
    names = [source.naming(row) for row in range(source.n)]
    files = [_write(restored(slid, p, source, row), source, row, folder) for row in range(source.n)]
    return {"image": names, "restored": files}


def _write(image: NDArray[Any], source: Source, row: int, folder: Path) -> str:
    given = frames(source)[row]
    base, flat = stem(given.file, row, source.naming(row)), image[..., 0] if image.shape[-1] == 1 else image
    if source.dims == 3:
        name = f"{base}.nii.gz"
        volume_files.write_like(flat, given.file, given.spacing, made(folder / name))
    elif flat.ndim == 3 and flat.dtype == np.uint16:
        name = f"{base}.npy"
        np.save(made(folder / name), flat, allow_pickle=False)
    else:
        name = f"{base}.png"
        Image.fromarray(flat).save(made(folder / name))
    return name
