"""What a restoring model makes of images, at their own size, in their own values and place in space."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from autossl.data import CT, Source
from autossl.data.frame import frames
from autossl.data.fresh import read_as
from autossl.data.readers import volume_files
from autossl.data.readers.volumes import CT_WHITE, ends
from autossl.model.card import Preprocessing
from autossl.model.masks import made, stem

Answer = Callable[[Tensor], Tensor]  # of standardised windows (b, c, *space): restored ones, in [0, 1]

AT_ONCE = 16  # windows
OVERLAP = 0.5  # of neighbouring windows, whose middle counts most


def restored(answer: Answer, p: Preprocessing, source: Source, row: int) -> NDArray[Any]:
    """An image ([d,] h, w, c) of a source, restored window by window; what changes is added to its own values.

    So nothing is resized, nor lost that windows of values have cut off.
    """
    whole = read_as(source, row, len(p.mean))
    white = float(source.white[row] or p.scale)
    change = _change(answer, p, whole / white)
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


def _change(answer: Answer, p: Preprocessing, image: NDArray[np.float64]) -> NDArray[np.float64]:
    """What is added to an image ([d,] h, w, c) in which white is 1."""
    from monai.inferers.utils import sliding_window_inference  # slow to import: only where it is needed

    x = torch.from_numpy(((image - np.array(p.mean)) / np.array(p.std)).astype(np.float32)).movedim(-1, 0)[None]
    roi = [p.image_size] * (image.ndim - 1)
    with torch.inference_mode():
        found = sliding_window_inference(
            x, roi, AT_ONCE, answer, overlap=OVERLAP, mode="gaussian", padding_mode="replicate"
        )
    assert isinstance(found, Tensor)
    restored = found[0].movedim(0, -1).cpu().numpy()
    return np.asarray(np.clip(restored, 0, 1) - np.clip(image, 0, 1), dtype=np.float64)


def write(answer: Answer, p: Preprocessing, source: Source, folder: Path) -> dict[str, list[Any]]:
    """Restored images in a folder, each of the name of its image: PNG, or NIfTI that lies where the volume does.

    Colours of 16 bit, which PNG files of Pillow cannot hold, are arrays (.npy). A table of the names.
    """
    names = [source.naming(row) for row in range(source.n)]
    files = [_write(restored(answer, p, source, row), source, row, folder) for row in range(source.n)]
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
