"""Silent changes of values, second part: sets of several forms, arrays of numbers, volumes."""

import itertools
import random
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from studies.attack import formats
from studies.attack.acts import call
from studies.attack.case import EITHER, ENDED, Case

Pixels = NDArray[Any]
SIDE, N = 16, 24  # of images, and how many there are


def pixel_cases(seed: int) -> Iterator[Case]:
    """Mixed folders, npz of all types, NIfTI."""
    yield from _mixed(seed)
    yield from _arrays(seed)
    yield from _volumes(seed)


def truth(seed: int, kind: str, shape: tuple[int, ...], top: int) -> list[Pixels]:
    """N random images with all values up to `top`, each image another."""
    rng = np.random.default_rng(seed)
    return [rng.integers(0, top + 1, shape).astype(kind) for _ in range(N)]


def silent(here: Path) -> list[tuple[str, str]]:
    """What the forked process found to be changed."""
    found = here / "changed"
    return [("silent", found.read_text())] if found.exists() else []


def change(sentence: str) -> None:
    """Tell the process that watches."""
    Path("changed").write_text(sentence)


def _mixed(seed: int) -> Iterator[Case]:
    """8 and 16 bit, grey and colour in one set: the share of white must stay."""
    rng = random.Random(seed)
    kinds = ("grey 8", "grey 16", "rgb 8", "rgb 16", "rgb of equal channels", "grey with alpha")
    for chosen in [*itertools.combinations(kinds, 2), *(tuple(rng.sample(kinds, 3)) for _ in range(6))]:
        yield Case(
            f"mixed: {' and '.join(chosen)}",
            call(lambda c=chosen: _compare_mixed(c)),
            lambda here, c=chosen: _write_mixed(here, c),
            EITHER,
            until=ENDED,
            check=silent,
            writes=("out", "changed"),
        )


def _picture(kind: str, row: int) -> Pixels:
    image = np.random.default_rng(row).integers(0, 256, (SIDE, SIDE)).astype(np.uint16)
    deep = image * 257 if "16" in kind else image.astype(np.uint8)
    return (
        np.stack([deep] * 3, 2)
        if "equal" in kind
        else np.stack([deep, deep[::-1], deep.T], 2)
        if "rgb" in kind
        else deep
    )


def _write_mixed(here: Path, kinds: tuple[str, ...]) -> None:
    for row in range(N):
        folder, kind = here / "d" / ("a" if row < N // 2 else "b"), kinds[row % len(kinds)]
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{row:02}.png").write_bytes(formats.png(_picture(kind, row), alpha=255 if "alpha" in kind else None))


def _compare_mixed(kinds: tuple[str, ...]) -> None:
    from autossl.data import open_data, prepare

    Path("out").mkdir()
    data = prepare(open_data("d"), Path("out"), image_size=SIDE)
    for row in range(N):
        wanted = _picture(kinds[row % len(kinds)], row)
        share = (wanted / np.iinfo(wanted.dtype).max).reshape(SIDE, SIDE, -1)
        read = np.asarray(data.images[row]) / data.scale
        if share.shape[2] == 3 and read.shape[2] == 1 and not (share == share[..., :1]).all():
            return change(f"image {row} lost its colour")
        if np.abs(read - (share if read.shape[2] == 3 else share[..., :1])).max() > 1e-6:
            return change(f"image {row} ({kinds[row % len(kinds)]}): shares of white differ")
    return None


def _arrays(seed: int) -> Iterator[Case]:
    """npz and arrays of all types of numbers."""
    for kind, top, channels in itertools.product(
        ("uint8", "uint16", ">u2", "int16", "int32", "uint64", "float32", "float64"), (1, 255, 256, 4095, 32767), (1, 3)
    ):
        shape = (SIDE, SIDE) if channels == 1 else (SIDE, SIDE, 3)
        if top > 255 and kind == "uint8":
            continue
        images = np.stack(truth(seed, "int64", shape, top))
        values = (images / top).astype(kind) if kind.startswith("f") else images.astype(kind)
        yield Case(
            f"npz {kind} up to {top}, {channels} channels",
            call(partial(_compare_array, images, top if kind.startswith("f") else 0)),
            lambda here, v=values: np.savez(here / "x.npz", images=v, labels=np.arange(N) % 2),
            EITHER,
            until=ENDED,
            check=silent,
        )


def _compare_array(images: Pixels, top: int) -> None:
    from autossl.data.open import open_data

    source = open_data("x.npz")
    for row, image in enumerate(images):
        read, white = np.asarray(source.read(row)), int(source.white[row])
        wanted = image.reshape(SIDE, SIDE, -1)
        gap = np.abs(read / white - wanted / top).max() * 2 * white if top and white else np.abs(read - wanted).max()
        if gap > (1.01 if top else 0):
            return change(f"row {row} differs by {gap}")
    return None


def _volumes(seed: int) -> Iterator[Case]:
    """NIfTI of types, axes and byte orders; values that are kept must be those that were written."""
    import nibabel

    image: Any = nibabel.Nifti1Image

    for kind, ending, flip in itertools.product(
        ("uint8", "int16", "uint16", ">i2", "float32"), (".nii", ".nii.gz"), (1, -1)
    ):

        def make(here: Path, k: str = kind, e: str = ending, f: int = flip) -> None:
            for row, volume in enumerate(_cubes(seed)):
                folder = here / "d" / "ab"[row % 2]
                folder.mkdir(parents=True, exist_ok=True)
                nibabel.save(image(volume.astype(k), np.diag([f, 1, 1, 1])), folder / f"{row:02}{e}")

        yield Case(
            f"nifti {kind}{ending}, first axis {flip}",
            call(lambda: _compare_volumes(seed)),
            make,
            EITHER,
            until=ENDED,
            check=silent,
        )


def _cubes(seed: int) -> list[Pixels]:
    return [np.random.default_rng(seed + row).integers(0, 200, (12, 14, 16)) for row in range(N)]


def _compare_volumes(seed: int) -> None:
    from autossl.data.open import open_data

    source, cubes = open_data("d"), _cubes(seed)
    for row, at in enumerate([*range(0, N, 2), *range(1, N, 2)]):
        read = np.asarray(source.read(row)).astype(float)
        if source.window == "kept" and sorted(read.ravel()) != sorted(cubes[at].ravel().astype(float)):
            return change(f"volume {row} has other values")
    return None
