"""What a segmenting model says of images, as masks of the images' own size, values and place in space."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image

from autossl.data import Fresh
from autossl.data.frame import Given, inside
from autossl.data.readers import disk, volume_files
from autossl.nn.intake import LINEAR

BINARY = 255  # of a mask whose study had one structure and no value for it


def restored(raw: NDArray[np.uint8], given: Given, values: tuple[int, ...]) -> NDArray[np.integer[Any]]:
    """Shares (kinds, *space) as a mask (h, w) or (d, h, w) of the size that the image had, in the values of the study.

    Shares are interpolated, so that outlines are not those of the smaller image's pixels.
    """
    part = raw[(slice(None), *inside(given, raw.shape[1]))]
    shares = torch.from_numpy(np.ascontiguousarray(part)).float()[None]
    sides = given.sides
    if tuple(part.shape[1:]) != sides:
        shares = F.interpolate(shares, sides, mode=LINEAR[len(sides)], align_corners=False)
    told = np.array([0, *(values or (BINARY,))])
    return np.asarray(told[shares[0].argmax(0).numpy()].astype(np.uint8 if told.max() < 256 else np.uint16))


def write(raw: NDArray[np.uint8], fresh: Fresh, values: tuple[int, ...], folder: Path) -> list[str]:
    """A mask for each image in a folder, of its name: PNG, or NIfTI that lies where the volume does; the names."""
    names = []
    for row, (answer, given) in enumerate(zip(raw, fresh.given, strict=True)):
        mask = restored(answer, given, values)
        base = stem(given.file, row, fresh.names[row])
        if mask.ndim == 2:
            name = f"{base}.png"
            path = made(folder / name)
            Image.fromarray(mask).save(path)
        else:
            name = f"{base}.nii.gz"
            volume_files.write_like(mask, given.file, given.spacing, made(folder / name))
        names.append(name)
    return names


def made(path: Path) -> Path:
    """The path, its folder made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def stem(file: Path | None, row: int, told: str) -> str:
    """What the answer to an image is called: as the image, `told` below its data, or by its number."""
    if file is None:
        return f"{row:05d}"
    name = Path(told)
    inside, part = disk.parted(name if not name.is_absolute() and ".." not in name.parts else Path(name.name))
    text = inside.with_name(volume_files.stem(inside)).as_posix()
    return "-".join((text, *filter(None, re.split(r"\W+", part))))
