"""What the rest of the engine sees of the user's images: `Data`, and before decoding, `Source`."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autossl.data.truth import Truth

Pixels = NDArray[np.uint8 | np.uint16]
Ints = NDArray[np.int64]

KEPT, CT, ROBUST = "kept", "ct", "robust"  # values of Source.window


@dataclass(frozen=True)
class Data:
    """Images decoded into a study's store, with labels, patients and parts.

    n images of (h, w, c), or volumes of (d, h, w, c): "images" means both here.

    The test part holds labelled images only; in the other parts labels may be missing or withheld. Images of
    the dropped part are used for nothing. Without patient ids every image is its own group.
    """

    name: str
    images: Pixels  # (n, h, w, c) or (n, d, h, w, c), memory-mapped, read-only
    truth: Truth  # of n samples; what is withheld by max_labels is not known
    groups: Ints  # (n,) patient index; exact duplicates share one
    has_patients: bool
    part: NDArray[np.int8]  # (n,) PROBE, SELECTION, TEST or DROPPED
    scale: float  # the pixel value that means 1.0
    mean: tuple[float, ...]  # per channel of images / scale, over the probe part
    std: tuple[float, ...]
    notes: tuple[str, ...]
    record: dict[str, Any] = field(repr=False)  # for data.json; holds no identifiers
    positions: NDArray[np.float32] | None = None  # (n,) in the patient's stack of slices, 0 to 1; NaN where unknown

    @property
    def dims(self) -> int:
        """2 for images, 3 for volumes."""
        return self.images.ndim - 2

    @property
    def unit(self) -> str:
        """The word for what `groups` are."""
        return "patient" if self.has_patients else "image"

    @property
    def columns(self) -> dict[str, NDArray[Any]]:
        """What a method may be told of each image beside its pixels, by the names of `Batch`."""
        known = {"groups": self.groups, "positions": self.positions}
        return {name: column for name, column in known.items() if column is not None}

    @property
    def places(self) -> Ints:
        """Numbers (n,) of the images: first those of the probe part, then those of the selection part, then others."""
        return np.argsort(np.argsort(self.part, kind="stable"))

    def rows(self, *parts: int, labelled: bool = False) -> Ints:
        """The rows that lie in any of these parts, in order; only the labelled ones if so asked."""
        wanted = np.isin(self.part, parts)
        return np.flatnonzero(wanted & self.truth.known if labelled else wanted).astype(np.int64)


@dataclass(frozen=True)
class Source:
    """Images that can be read one by one but are not decoded yet; n of them, of any size."""

    name: str
    place: str  # where they are, for error messages
    truth: Truth
    groups: Ints = field(repr=False)  # (n,) patient index; without patient ids each image is its own
    split: NDArray[np.int8]  # (n,) TRAIN, VAL, OFFICIAL_TEST or NO_SPLIT
    read: Callable[[int], Pixels] = field(repr=False)  # (h, w, c) or (d, h, w, c)
    sizes: NDArray[np.int64] = field(repr=False)  # (n, 2 | 3) [depth,] height, width; 0 where a header is unreadable
    channels: int
    white: NDArray[np.int64] = field(repr=False)  # (n,) the pixel value that means 1.0; 0: unknown (16 bit)
    key: str = field(repr=False)  # changes when the content does
    patients: tuple[str, ...] = field(default=(), repr=False)  # identifiers by patient index; never written anywhere
    array: Pixels | None = field(default=None, repr=False)  # (n, [d,] h, w, c) where already decoded
    files: tuple[Path, ...] | None = field(default=None, repr=False)
    root: Path | None = None  # folder that file names are given relative to in errors
    notes: tuple[str, ...] = ()
    spacing: NDArray[np.float64] | None = field(default=None, repr=False)  # (n, 3) of volumes: mm between voxels
    slices: NDArray[np.float64] | None = field(default=None, repr=False)  # (n,) along the patient's stack; NaN: none
    window: str = KEPT  # how values became whole numbers; CT and ROBUST are for volumes and DICOM
    floats: bool = False  # whether values were given as floats in [0, 1]
    values: Callable[[int], NDArray[Any]] | None = field(default=None, repr=False)  # as given, before a window
    like: Callable[[int, NDArray[Any]], Pixels] | None = field(default=None, repr=False)  # how values of another
    # image on the grid of that of a row become pixels; None: as `frame.alike` has it
    image: Ints | None = field(default=None, repr=False)  # (n,) of which image each is a window, where they are cut
    grains: NDArray[np.float64] | None = field(default=None, repr=False)  # (n, 3) mm between voxels of these windows
    modality: str = ""  # as DICOM has it, where it is one
    numbered: bool = False  # errors name images by their number, for paths of DICOM hold names of patients

    @property
    def dims(self) -> int:
        """2 for images, 3 for volumes."""
        return int(self.sizes.shape[1])

    @property
    def n(self) -> int:
        """Number of images."""
        return len(self.truth)

    @property
    def has_patients(self) -> bool:
        """Whether there are patient ids."""
        return bool(self.patients)

    @property
    def unit(self) -> str:
        """The word for what `groups` are."""
        return "patient" if self.has_patients else "image"

    def naming(self, row: int) -> str:
        """How an error on the terminal names an image; never for anything that is stored."""
        if self.files is None:
            return self.named(row)
        if self.numbered:
            return f"number {row} in the order of paths, from 0"
        return self.named(row)

    def named(self, row: int) -> str:
        """What an image is called below the folder of its data: for what a user asks to be told of each file."""
        if self.files is None:
            return f"row {row if self.image is None else self.image[row]}"
        path = self.files[row]
        inside = self.root is not None and path.is_relative_to(self.root)
        return str(path.relative_to(self.root)) if inside and self.root is not None else str(path)
