"""Reads new images in the geometry and scale of a study, to embed or evaluate them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autossl.data.dataset import KEPT, Ints, Pixels, Source
from autossl.data.frame import Given, frame_of, frames
from autossl.data.given import Kind, open_given
from autossl.data.open import open_images
from autossl.data.readers.columns import Names
from autossl.data.readers.images import OtherChannels, Unreadable
from autossl.data.store import DIGEST_BYTES, brought_to, digest, read, stretch
from autossl.data.truth import Truth
from autossl.data.truth.naming import missing_words
from autossl.data.windows import windowed
from autossl.errors import UserError


@dataclass(frozen=True)
class Fresh:
    """New images as a study's encoder takes them, with what labels and patients they have."""

    images: Pixels  # (n, s, s, c) or (n, s, s, s, c)
    truth: Truth  # of n images, in the terms of the study
    groups: Ints  # (n,) patient index; without patient ids each image is its own
    unit: str  # the word for what `groups` are
    notes: tuple[str, ...]
    names: tuple[str, ...]  # of files, as an error on the terminal names them, else the places in order
    digests: NDArray[np.uint8]  # (n, 16) of each image before it is resized, as the study's store keeps them
    given: tuple[Given, ...]  # n: how each image was before it was brought to that size

    def __getitem__(self, kept: NDArray[np.bool_]) -> "Fresh":
        """Those of the images that are `kept` (n,)."""
        names = tuple(name for name, is_kept in zip(self.names, kept, strict=True) if is_kept)
        frames = tuple(given for given, is_kept in zip(self.given, kept, strict=True) if is_kept)
        own = (self.images[kept], self.truth[kept], self.groups[kept])
        return Fresh(*own, self.unit, self.notes, names, self.digests[kept], frames)


def read_images(
    data: Any,
    image_size: int,
    channels: int,
    scale: float,
    known: Truth | None = None,
    *,
    dims: int = 2,
    window: str = KEPT,
    depth: str = "",
    floats: bool = False,
    labels: Any = None,
    label_column: Names | None = None,
    patient_column: str | None = None,
    missing: str | Sequence[str] | None = None,
) -> Fresh:
    """Any supported form of data as (n, s, s, channels) or (n, s, s, s, channels), s = image_size, in memory.

    `dims` is 2 for images and 3 for volumes, whose values become whole numbers by the study's `window`; `depth` and
    `floats` say what its pixels were (`Kind`). `scale` is the pixel value that means 1.0 to the encoder; 8-bit images
    are stretched to it. What is known of them is told in the terms of the study's `known` truth; without it labels
    are not looked at. UserError for an unreadable image, other channels or values, or a class that the study has not.
    """
    source = opened(
        data, channels, Kind(dims, window, depth, floats), labels=labels, label_column=label_column,
        patient_column=patient_column, missing=_missing(missing, known), study=known,
    )  # fmt: skip
    source = windowed(source, image_size) if known is not None else source
    names = tuple(source.named(row) for row in range(source.n))
    images, digests, clipped = _decoded(source, image_size, channels, scale)
    truth = _matched(source, known)
    with TemporaryDirectory() as folder:  # what is mapped from there stays readable
        truth = truth.decoded(frame_of(source, Path(folder), images, scale))
    notes = source.notes
    if clipped:
        notes += (f"{clipped} images have values above {scale:.0f}, the white of the study; these were clipped",)
    return Fresh(images, truth, source.groups, source.unit, notes, names, digests, frames(source))


def opened(data: Any, channels: int, kind: Kind, **columns: Any) -> Source:
    """New images of this kind, not decoded; UserError for volumes where images are wanted, and the reverse."""
    source = open_given(data, kind, channels) if columns.get("labels") is None else None
    if source is None:
        source = open_images(data, window=kind.window, channels=channels, dims=kind.dims, **columns)
    if source.dims != kind.dims:
        wanted, found = ("images", "volumes") if kind.dims == 2 else ("volumes", "images")
        raise UserError(f"{wanted}, as in the study, were wanted, found {found} in {source.place}; give {wanted}")
    return source


def _decoded(
    source: Source, image_size: int, channels: int, scale: float
) -> tuple[NDArray[Any], NDArray[np.uint8], int]:
    """Images at this size and scale, the digests of what was read, and how many images had values above the scale."""
    dtype = np.uint8 if scale == 255 else np.uint16
    images = np.empty((source.n, *[image_size] * source.dims, channels), dtype=dtype)
    digests = np.empty((source.n, DIGEST_BYTES), dtype=np.uint8)
    clipped = 0
    for row in range(source.n):
        whole = read_as(source, row, channels)
        digests[row] = digest(whole)
        image, over = _scaled(brought_to(image_size, source, row, whole), int(source.white[row]), scale, source.place)
        images[row] = image
        clipped += over
    return images, digests, clipped


def _missing(missing: str | Sequence[str] | None, known: Truth | None) -> str | Sequence[str] | None:
    """The words that mean "no label", without those that are classes of the study."""
    words, names = missing_words(missing), set() if known is None else {name.lower() for name in known.names}
    return sorted(words - names) if words & names else missing


def read_as(source: Source, row: int, channels: int) -> Pixels:
    """An image as it is, with this number of channels; UserError where it is damaged or has others."""
    try:
        if source.channels not in (channels, 1):
            raise OtherChannels(source.channels)
        return read(source, row)
    except OtherChannels as fault:
        raise UserError(
            f"images with {channels} channels, as in the study, were wanted, found {fault.found} in {source.place} "
            f"({source.naming(row)}); convert them"
        ) from None
    except (Unreadable, UserError) as fault:
        raise UserError(
            f"readable images were wanted, found a damaged one in {source.place} ({source.naming(row)}: {fault}); "
            "copy it again or leave it out"
        ) from None


def _scaled(image: Pixels, white: int, scale: float, place: str) -> tuple[Pixels, bool]:
    """The image counted in `scale`, and whether values had to be clipped."""
    if white and white != scale:
        return stretch(image, white, scale), False
    if not white and scale == 255 and image.max() > 255:
        raise UserError(
            f"8-bit images, as in the study, were wanted, found values up to {image.max()} in {place}; "
            "rescale them to 0 to 255"
        )
    return np.minimum(image, np.asarray(scale, dtype=image.dtype)), bool(image.max() > scale)


def _matched(source: Source, known: Truth | None) -> Truth:
    if known is None:
        return source.truth
    if not source.truth.known.any():
        return type(known).nothing(source.n, known.about)
    return known.matched(source.truth, source.place)
