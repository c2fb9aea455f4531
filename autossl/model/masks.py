"""What a segmenting model says of images, as masks of the images' own size, values and place in space."""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image

from autossl.data import Source
from autossl.data.frame import Given, frames, inside
from autossl.data.readers import disk, volume_files
from autossl.model.sliding import Slid
from autossl.nn.intake import LINEAR

BINARY = 255  # of a mask whose study had one structure and no value for it


class Said(NamedTuple):
    """Shares of structures (kinds, *space) at each place of an image, called `name` below its data.

    `own`: at its own size; else in the square or cube that it was brought to.
    """

    name: str
    given: Given
    shares: NDArray[Any]
    own: bool = False


def of_windows(slid: Slid, source: Source) -> Iterator[Said]:
    """What is said of each image of a source by a network that sees windows."""
    for row, given in enumerate(frames(source)):
        yield Said(source.named(row), given, slid(source, row), own=True)


def restored(said: Said, values: tuple[int, ...]) -> NDArray[np.integer[Any]]:
    """A mask (h, w) or (d, h, w) of the size that the image had, in the values of the study.

    Shares are interpolated, so that outlines are not those of the smaller image's pixels.
    """
    sides, raw = said.given.sides, said.shares
    part = raw if said.own else raw[(slice(None), *inside(said.given, raw.shape[1]))]
    shares = torch.from_numpy(np.ascontiguousarray(part)).float()[None]
    if tuple(part.shape[1:]) != sides:
        shares = F.interpolate(shares, sides, mode=LINEAR[len(sides)], align_corners=False)
    told = np.array([0, *(values or (BINARY,))])
    return np.asarray(told[shares[0].argmax(0).numpy()].astype(np.uint8 if told.max() < 256 else np.uint16))


def write(said: Said, values: tuple[int, ...], folder: Path, row: int) -> str:
    """The mask of an image in a folder, of its name: PNG, or NIfTI that lies where the volume does; its name."""
    mask, given = restored(said, values), said.given
    base = stem(given.file, row, said.name)
    if mask.ndim == 2:
        name = f"{base}.png"
        Image.fromarray(mask).save(made(folder / name))
    else:
        name = f"{base}.nii.gz"
        volume_files.write_like(mask, given.file, given.spacing, made(folder / name))
    return name


def table(rows: Sequence[tuple[str, Mapping[str, list[Any]]]]) -> dict[str, list[Any]]:
    """Names of images and columns of one cell each as one table."""
    columns = rows[0][1] if rows else ()
    return {"image": [name for name, _ in rows]} | {key: [row[key][0] for _, row in rows] for key in columns}


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
