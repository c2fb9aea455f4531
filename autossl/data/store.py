"""Decodes images once into a memory-mapped file that later runs reuse."""

import hashlib
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from autossl.data.checks import allowed_failures, too_many_unreadable
from autossl.data.dataset import Pixels, Source
from autossl.data.readers import volumes
from autossl.data.readers.images import Unreadable, is_grey
from autossl.data.readers.squares import fit
from autossl.errors import UserError

DIGEST_BYTES = 16
CHUNK = {2: 256, 3: 16}  # images or volumes between two reports of progress
DECODERS = {2: None, 3: 4}  # threads; None leaves it to Python. A CT takes 1.5 GB while it is decoded
LARGEST_KEPT = {2: 96, 3: 64}  # sides up to here stay as they are where all are alike
WINDOWS = {2: 64, 3: 32}  # sides of windows that are cut of larger images: small ones are many, and texture is local
STEPS = {2: (64, 96, 224), 3: (32, 48, 64)}  # 224 is what backbones are made for; 64 cubed is five times as much
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Stored:
    """Decoded images (n, s, s, c) or volumes (n, s, s, s, c), memory-mapped, and what was seen while decoding."""

    images: Pixels
    digests: NDArray[np.uint8]  # (n, 16) of each image as decoded, before it is resized; 0 where unreadable
    readable: NDArray[np.bool_]  # (n,)
    flat: NDArray[np.bool_]  # (n,) one value throughout
    resized: int
    scale: float  # the pixel value that means 1.0


def default_image_size(source: Source) -> int:
    """The side of the square or cube that images or volumes are brought to, in pixels or voxels.

    Images that are all alike and have no side above 96 (volumes: 64) keep their size. Else the largest of 64, 96 and
    224 (volumes: 32, 48 and 64) that does not exceed the median long side: nothing is enlarged. What labels want
    cropped is cut into windows of 64 (volumes: 32).
    """
    sides = source.sizes[source.sizes[:, 0] > 0].max(1)
    if sides.min() == sides.max() <= LARGEST_KEPT[source.dims]:
        return int(sides[0])
    if source.truth.cropped:
        return WINDOWS[source.dims]
    median, steps = float(np.median(sides)), STEPS[source.dims]
    return max(size for size in steps if size <= max(median, steps[0]))


def smaller_sizes(source: Source, size: int) -> tuple[int, ...]:
    """The sides that may be taken in place of the default one where time is short, the largest first."""
    return () if source.truth.cropped else tuple(step for step in reversed(STEPS[source.dims]) if step < size)


def store(source: Source, folder: Path, size: int, progress: Progress | None) -> Stored:
    """Decode into `folder`/images.npy, or open what an earlier run decoded from the same source at the same size."""
    images, about = folder / "images.npy", folder / "images.npz"
    if is_stored(source, folder, size):
        with np.load(about, allow_pickle=False) as known:
            return _open(images, known)
    about.unlink(missing_ok=True)  # images and what is said about them belong together
    folder.mkdir(parents=True, exist_ok=True)
    for part in folder.glob(".images.npy.*.part"):
        part.unlink()  # of a run that was killed
    seen = _decode(source, images, size, progress)
    key = np.array(_key(source, size))
    write_whole(about, lambda file: np.savez(file, allow_pickle=False, key=key, **seen))
    with np.load(about, allow_pickle=False) as known:
        return _open(images, known)


def is_stored(source: Source, folder: Path, size: int) -> bool:
    """Whether an earlier run decoded this source at this size into `folder`."""
    if not (folder / "images.npy").is_file() or not (folder / "images.npz").is_file():
        return False
    with np.load(folder / "images.npz", allow_pickle=False) as known:
        return str(known["key"]) == _key(source, size)


def _key(source: Source, size: int) -> str:
    return f"3 {source.key} {source.channels} {size}"


def _open(images: Path, known: Any) -> Stored:
    return Stored(
        np.load(images, mmap_mode="r"),
        known["digests"],
        known["readable"],
        known["flat"],
        int(known["resized"]),
        float(known["scale"]),
    )


class _Decoded(NamedTuple):
    """One image at its size in the store, and what was seen of it before it was resized."""

    image: Pixels
    digest: NDArray[np.uint8]
    flat: bool
    highest: int


def _decode(source: Source, path: Path, size: int, progress: Progress | None) -> dict[str, NDArray[Any]]:
    n, deep = source.n, not (source.white == 255).all()
    shape = (*[size] * source.dims, source.channels)
    dtype = np.dtype(np.uint16 if deep else np.uint8)
    digests = np.zeros((n, DIGEST_BYTES), dtype=np.uint8)
    readable, flat = np.zeros(n, dtype=bool), np.zeros(n, dtype=bool)
    highest = np.zeros(n, dtype=np.int64)

    def write(file: IO[bytes]) -> None:
        # plain writes, not a writable map: on a full disk these raise, a map kills the process
        np.lib.format.write_array_header_1_0(file, {"descr": dtype.str, "fortran_order": False, "shape": (n, *shape)})
        for row, decoded in enumerate(_decode_all(source, size)):
            stored = np.zeros(shape, dtype=dtype)
            if decoded is not None:
                stored[:], digests[row], flat[row], highest[row] = decoded
                readable[row] = True
            elif row - readable[:row].sum() >= allowed_failures(n):
                raise too_many_unreadable(source, np.flatnonzero(~readable[: row + 1]))
            file.write(stored.tobytes())
            if progress is not None and (row % CHUNK[source.dims] == 0 or row == n - 1):
                progress(row + 1, n)

    write_whole(path, write)
    scale = _scale(source.white, highest)
    if deep:
        _widen(path, source.white, scale)
    resized = (source.sizes != size).any(1) & readable
    return {
        "digests": digests,
        "readable": readable,
        "flat": flat,
        "resized": np.array(resized.sum()),
        "scale": np.array(scale),
    }


def _decode_all(source: Source, size: int) -> Iterator[_Decoded | None]:
    """The images in order, decoded by several threads where they are files; None where one cannot be read."""
    if source.files is None:
        yield from (_finish(source, row, source.read(row), size) for row in range(source.n))
        return
    chunk = CHUNK[source.dims]
    with ThreadPoolExecutor(DECODERS[source.dims]) as pool:
        for first in range(0, source.n, chunk):
            yield from pool.map(lambda row: _try(source, row, size), range(first, min(first + chunk, source.n)))


def _try(source: Source, row: int, size: int) -> _Decoded | None:
    try:
        return _finish(source, row, read(source, row), size)
    except (Unreadable, UserError):
        return None


def read(source: Source, row: int) -> Pixels:
    """One image or volume as it is; Unreadable where it is damaged, or not what its header says."""
    image = source.read(row)
    dtype = np.uint8 if source.white[row] == 255 else np.uint16
    if image.shape != (*source.sizes[row], source.channels) or image.dtype != dtype:
        raise Unreadable(f"its header says {source.sizes[row].tolist()}, its pixels are {list(image.shape)}")
    return image


def _finish(source: Source, row: int, image: Pixels, size: int) -> _Decoded:
    # in the thread that decodes: a volume as it is on disk can be a thousand times what is stored
    return _Decoded(
        brought_to(size, source, row, image), digest(image), bool(image.min() == image.max()), int(image.max())
    )


def brought_to(size: int, source: Source, row: int, image: Pixels) -> Pixels:
    """The image or volume of this row, whole and in its proportions, in a square or cube of this size."""
    return fit(image, size) if source.spacing is None else volumes.fit(image, size, source.spacing[row])


def digest(image: Pixels) -> NDArray[np.uint8]:
    """(16,) a hash of pixels, shape and depth; of grey alike in one channel and in three equal ones."""
    if image.ndim == 3 and image.shape[2] == 3 and is_grey(image):
        image = image[:, :, :1]
    content = hashlib.blake2b(f"{image.shape}{image.dtype.name}".encode(), digest_size=DIGEST_BYTES)
    content.update(np.ascontiguousarray(image).data)
    return np.frombuffer(content.digest(), dtype=np.uint8)


def _scale(white: NDArray[np.int64], highest: NDArray[np.int64]) -> float:
    """255, 65535 for floats, else the least 2^k - 1 (k from 8) that no 16-bit value exceeds."""
    deep = white == 0
    if not deep.any():
        return float(white.max())
    return float(max(255, (1 << int(highest[deep].max()).bit_length()) - 1))


def _widen(path: Path, white: NDArray[np.int64], scale: float) -> None:
    """Among 16-bit images, stretch those with a white value of their own so that white is the same in all."""
    rows = np.flatnonzero((white > 0) & (white != scale))
    if len(rows) == 0:
        return
    images = np.load(path, mmap_mode="r+")
    for row in rows:
        images[row] = stretch(images[row], float(white[row]), scale)
    images.flush()


def stretch(images: Pixels, white: float, scale: float) -> Pixels:
    """Pixel values counted in `white` as values counted in `scale`, rounded."""
    return np.rint(images.astype(np.float64) * (scale / white)).astype(np.uint16)


def known_digests(folder: Path) -> NDArray[np.uint8]:
    """(n, 16) what `Stored.digests` holds of the images in `folder`."""
    with np.load(folder / "images.npz", allow_pickle=False) as known:
        return np.asarray(known["digests"])


def write_whole(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    """Write a file under a temporary name and rename it, so that it is there whole or not at all."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with open(part, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
