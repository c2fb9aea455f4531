"""DICOM segmentations as masks of the images that they were drawn on: which plane is whose, and what it shows."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from autossl.data.readers import dicom, disk, series
from autossl.data.readers.images import Unreadable
from autossl.data.readers.instances import Instance, Plane, plane_of
from autossl.data.readers.series import Row
from autossl.data.truth import Raw
from autossl.errors.printable import shown

KINDS = ("Segmentation", "Label Map Segmentation")  # as `Instance.aside` calls them
FRACTIONAL, LABELMAP = "FRACTIONAL", "LABELMAP"
NEAR = 0.05  # of a pixel, between places that are one


class Drawn(NamedTuple):
    """A file of segmentations by its header."""

    path: Path
    series: frozenset[str]  # that it was drawn on
    structures: dict[int, str]  # the number of each segment, and what it is


class Slice(NamedTuple):
    """A frame that may have been drawn on, or a plane of segments."""

    image: str  # the identifier of the file that it is, or was drawn on
    frame: int
    plane: Plane | None
    size: tuple[int, ...]
    segment: int = 0  # 0: all, by their numbers


class Segments(NamedTuple):
    """What was drawn on the samples of a set."""

    drawn: tuple[tuple[Drawn, ...], ...]  # n: the files of each sample
    slices: tuple[tuple[Slice, ...], ...]  # n: its frames in order
    rows: tuple[Row, ...]  # n
    numbers: dict[str, int]  # what each structure is in masks

    @property
    def names(self) -> list[str]:
        """Cells (n,) that tell which samples have a mask."""
        return ["drawn" if each else "" for each in self.drawn]


def look(path: Path) -> Drawn:
    """What a file says of its segments; Unreadable where it is damaged."""
    about = dicom.header(path)
    try:
        referenced = [str(each.SeriesInstanceUID) for each in about.get("ReferencedSeriesSequence") or ()]
        structures = {int(each.SegmentNumber): _name(each) for each in about.get("SegmentSequence") or ()}
    except Exception as fault:  # values that are none, wherever they stand
        raise Unreadable(f"it is damaged ({type(fault).__name__})") from None
    return Drawn(path, frozenset(referenced), {number: name for number, name in structures.items() if number > 0})


def segments(
    drawn: Sequence[Drawn], rows: Sequence[Row], owners: Sequence[Instance], every: Sequence[Instance],
    known: Mapping[str, int],
) -> Segments:  # fmt: skip
    """Which files were drawn on which samples. Structures are numbered as a study has `known` them, or by name."""
    by_path = {each.path: each for each in every}
    slices = tuple(tuple(_slice(by_path[path], frame) for path, frame in row.frames) for row in rows)
    own = tuple(tuple(each for each in drawn if owner.keys["SeriesInstanceUID"] in each.series) for owner in owners)
    used = {name for files in own for each in files for name in each.structures.values()} - set(known)
    numbers = {name: number for number, name in enumerate(sorted(used), 1 + max(known.values(), default=0))}
    return Segments(own, slices, tuple(rows), {**known, **numbers})


def reader(found: Segments) -> Raw:
    """What reads the mask of a row, (h, w) or (d, h, w), turned as its values are; ValueError where that fails."""

    def read(row: int) -> NDArray[Any]:
        slices = found.slices[row]
        mask = np.zeros((len(slices), *slices[0].size), np.int64)
        for each in found.drawn[row]:
            _paint(mask, slices, each, found.numbers)
        return series.turned(mask, found.rows[row]) if found.rows[row].axes else mask[0]

    return read


def stamps(found: Segments) -> NDArray[np.uint8]:
    """Sizes and times of the files: what tells that they are still the same."""
    lines = [disk.stamp(each.path) for files in found.drawn for each in files]
    return np.frombuffer("\n".join(lines).encode(), dtype=np.uint8)


def _name(segment: Dataset) -> str:
    """What a segment is, by its code: labels are free text, and two of one kind are one structure."""
    codes = segment.get("SegmentedPropertyTypeCodeSequence") or ()
    sides = codes[0].get("SegmentedPropertyTypeModifierCodeSequence") or () if codes else ()
    words = [str(each.get("CodeMeaning") or "") for each in (*codes[:1], *sides[:1])]
    return shown(", ".join(filter(None, words))) or f"segment {int(segment.SegmentNumber)}"


def _slice(each: Instance, frame: int) -> Slice:
    return Slice(each.keys["SOPInstanceUID"], frame, each.planes[frame], each.header.size)


def _paint(mask: NDArray[np.int64], slices: tuple[Slice, ...], drawn: Drawn, numbers: Mapping[str, int]) -> None:
    """What a file shows in these slices (n, h, w), drawn into their mask; Unreadable where two structures meet."""
    frames, planes = _read(drawn.path, disk.stamp(drawn.path))
    for values, plane in zip(frames, planes, strict=True):
        if (at := _place(plane, slices)) is None:
            continue
        for segment in [plane.segment] if plane.segment else np.unique(values[values > 0]).tolist():
            if segment not in drawn.structures:
                raise Unreadable(f"it shows segment {segment}, which its header does not name")
            number, inside = numbers[drawn.structures[segment]], values == segment if not plane.segment else values > 0
            if (mask[at][inside] * (mask[at][inside] - number)).any():
                raise Unreadable("its structures overlap: a mask has one value for each pixel")
            mask[at][inside] = number


def _place(plane: Slice, slices: tuple[Slice, ...]) -> int | None:
    """The slice that a plane was drawn on, None for one of another sample; Unreadable where they do not lie alike."""
    if not plane.image and plane.plane is None:
        raise Unreadable("it does not say where its planes lie")
    for at, each in enumerate(slices):
        named = plane.image != "" and (plane.image, plane.frame) == (each.image, each.frame)
        if named or _at_one_height(plane, each):
            unknown = plane.plane is None or each.plane is None
            if each.size != plane.size or not (unknown or _apart(plane, each) < NEAR):
                raise Unreadable("it lies elsewhere in space than its images: draw it on their own pixels")
            return at
    if len(slices) > 1:
        raise Unreadable("it shows a plane where its series has none")
    return None


def _at_one_height(first: Slice, second: Slice) -> bool:
    if first.plane is None or second.plane is None:
        return False
    return abs(series.position(first.plane) - series.position(second.plane)) < series.SAME


def _apart(first: Slice, second: Slice) -> float:
    """How far two planes lie apart, in pixels; infinite where that is not known, or they are not parallel."""
    if first.plane is None or second.plane is None or not series.parallel(first.plane, second.plane):
        return np.inf
    return float(np.linalg.norm(np.subtract(first.plane.corner, second.plane.corner)) / min(second.plane.spacing))


@lru_cache(maxsize=1)
def _read(path: Path, _stamp: str) -> tuple[NDArray[Any], tuple[Slice, ...]]:
    """The planes of a file (n, h, w): 0 where nothing is, and of label maps the number of each segment."""
    about, frames = dicom.frames(path)
    kind = str(about.get("SegmentationType"))
    if kind == FRACTIONAL:
        frames = frames.astype(np.int32) * 2 >= int(about.get("MaximumFractionalValue") or 255)
    try:
        return frames, tuple(_plane(about, at, kind == LABELMAP) for at in range(len(frames)))
    except Exception as fault:  # values that are none, wherever they stand
        raise Unreadable(f"it is damaged ({type(fault).__name__})") from None


def _plane(about: Dataset, at: int, is_map: bool) -> Slice:
    sources: Any = dicom.groups(about, at, "DerivationImageSequence").get("SourceImageSequence") or ()
    image = str(sources[0].ReferencedSOPInstanceUID) if len(sources) == 1 else ""
    frame = sources[0].get("ReferencedFrameNumber") or 1 if image else 1
    own = dicom.groups(about, at, "SegmentIdentificationSequence")
    segment = 0 if is_map else int(own.ReferencedSegmentNumber)
    return Slice(image, int(frame) - 1, plane_of(about, at), (int(about.Rows), int(about.Columns)), segment)
