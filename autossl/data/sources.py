"""Makes one `Source` of what a reader found: columns as numbers, values as pixels, headers looked at."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autossl.data.channels import of_channels
from autossl.data.cubes import are_volumes, from_volumes, with_window
from autossl.data.dataset import KEPT, Ints, Pixels, Source
from autossl.data.frames import from_rows
from autossl.data.parts import NO_SPLIT
from autossl.data.readers import beside, disk
from autossl.data.readers.arrays import content_key
from autossl.data.readers.found import AS_CLASSES, Found, Told, alike_note, encode_patients, encode_slices, truth_of
from autossl.data.readers.images import Header, decode, finite, look, to_pixels
from autossl.data.readers.volumes import kept_as_is, looked_at, recognise, to_voxels
from autossl.errors import UserError
from autossl.errors.printable import plural

Columns = tuple[NDArray[Any], ...]


def make_source(found: Found, window: str | None, channels: int | None = None, told: Told = AS_CLASSES) -> Source:
    """Images or volumes that can be read one by one.

    `window` None chooses one for volumes that need it, `channels` None says what images have: 1 where all are grey,
    in files of whatever form, 3 where one has colours. `told` says how labels are to be read.
    """
    n = found.n
    truth, of_labels = truth_of(found, told, beside.raw(found, told.form) if told.form.files else None)
    groups, patients, of_patients = _patients(found)
    slices, passed_over = _slices(found, bool(patients))
    notes = [*found.notes, *of_labels, *of_patients, *passed_over]
    if found.absent:
        one = found.absent == 1
        notes.append(
            f"{plural(found.absent, 'row')} of the table {'names an image that is' if one else 'name images that are'} "
            f"not there and {'was' if one else 'were'} left out"
        )
    split = np.full(n, NO_SPLIT, dtype=np.int8) if found.split is None else found.split
    bare = Source(
        found.name, found.place, truth, groups, split, _never, np.zeros((n, 2), np.int64), 0, np.zeros(n, np.int64),
        "", patients, root=found.root, notes=tuple(notes), slices=slices,
    )  # fmt: skip
    none = np.zeros(0)
    columns: Columns = (*truth.content(), split, groups if patients else none, none if slices is None else slices)
    columns += beside.stamps(found, told.form) if told.form.files else ()
    if found.files is not None:
        return _as_windowed(_from_files(bare, found, columns, window, channels), window)
    assert found.images is not None
    if isinstance(found.images, np.ndarray):
        return _as_windowed(_from_array(bare, found.images, columns, window, channels), window)
    return _as_windowed(_from_items(bare, found.images, columns, window, channels), window)


def _as_windowed(source: Source, window: str | None) -> Source:
    """The source; UserError for images that are not DICOM where a study of DICOM has changed its values."""
    if source.dims == 2 and window not in (None, KEPT) and source.window != window:
        raise UserError(
            f"DICOM, as in the study, was wanted, found images of another form in {source.place}; their values mean "
            "something else"
        )
    return source


def _patients(found: Found) -> tuple[Ints, tuple[str, ...], list[str]]:
    """Patient indices, identifiers and notes; where no image has an identifier, each is its own patient."""
    if found.patients is None or not any(found.patients):
        return np.arange(found.n), (), []
    groups, patients, unknown = encode_patients(found.patients)
    notes = list(alike_note(patients))
    if unknown:
        one = unknown == 1
        notes.append(
            f"{plural(unknown, 'image')} {'has' if one else 'have'} no patient id and "
            f"{'counts as one patient' if one else 'count as one patient each'}"
        )
    return groups, patients, notes


def _slices(found: Found, has_patients: bool) -> tuple[NDArray[np.float64] | None, list[str]]:
    """The numbers of slices, or why their column says nothing."""
    if found.slices is None or not any(found.slices):
        return None, []
    if not has_patients:
        return None, ["the column slice was passed over: without patient ids one stack cannot be told from another"]
    slices = encode_slices(found.slices)
    return slices, [] if slices is not None else ["the column slice was passed over: numbers were wanted there"]


def _never(row: int) -> Pixels:
    raise AssertionError(f"row {row} of a source without images")


def _from_array(
    bare: Source, values: NDArray[Any], columns: Columns, window: str | None, channels: int | None
) -> Source:
    window = _window(values, window, bare.place) if values.ndim == 5 else KEPT
    if window == KEPT:
        array, white = to_pixels(values, bare.place)
    else:
        windowed = [to_voxels(volume, window, bare.place) for volume in values]
        array, white = np.stack([volume for volume, _ in windowed]), windowed[0][1]
    source = replace(
        bare,
        read=lambda row: array[row],
        array=array,
        sizes=np.tile(np.array(array.shape[1:-1]), (len(array), 1)),
        channels=array.shape[-1],
        white=np.full(len(array), white),
        key=content_key((array, *columns)),
        values=None if window == KEPT else lambda row: values[row],
    )
    source = _of_floats(with_window(source, window), values, array)
    return of_channels(source, [source.channels] * source.n, channels)


def _from_items(
    bare: Source, values: list[NDArray[Any]], columns: Columns, window: str | None, channels: int | None
) -> Source:
    _one_count(bare.place, [value.ndim - 1 for value in values], "axes", "leave out the images or the volumes")
    counts = [value.shape[-1] for value in values]
    if values[0].ndim == 4 or not set(counts) <= {1, 3}:
        _one_count(bare.place, counts, "channels", "convert them to one form")
    places = [f"item {row} of {bare.place}" for row in range(len(values))]
    window = _window(values, window, bare.place) if values[0].ndim == 4 else KEPT
    converted = [to_voxels(value, window, place) for value, place in zip(values, places, strict=True)]
    items = [pixels for pixels, _ in converted]
    source = replace(
        bare,
        read=lambda row: items[row],
        sizes=np.array([item.shape[:-1] for item in items]),
        channels=max(counts),
        white=np.array([white for _, white in converted]),
        key=content_key((*items, *columns)),
        values=None if window == KEPT else lambda row: values[row],
    )
    return of_channels(_of_floats(with_window(source, window), values[0], items[0]), counts, channels)


def _one_count(place: str, counts: list[int], what: str, remedy: str) -> None:
    if len(different := sorted(set(counts))) > 1:
        raise UserError(
            f"images with one number of {what} were wanted, found {' and '.join(map(str, different))} in {place}; "
            f"{remedy}"
        )


def _window(volumes: Sequence[NDArray[Any]] | NDArray[Any], window: str | None, place: str) -> str:
    """The window asked for, or found out; UserError for values that are not finite."""
    if isinstance(volumes, np.ndarray):
        finite(volumes, place)
    else:
        for row, volume in enumerate(volumes):
            finite(volume[None], f"item {row} of {place}")
    if window is not None:
        return window
    if all(kept_as_is(volume) for volume in volumes):
        return KEPT
    return recognise(volumes[row] for row in looked_at(len(volumes)))


def _of_floats(source: Source, values: NDArray[Any], pixels: Pixels) -> Source:
    """The source of values in [0, 1] that became these pixels, which is noted; whole numbers pass as they are."""
    if values.dtype.kind != "f" or source.window != KEPT:
        return source
    steps = "1/255: they were exact multiples of it" if pixels.dtype == np.uint8 else "1/65535"
    said = f"pixels were floats in [0, 1] and are kept in steps of {steps}"
    return replace(source, floats=True, notes=(*source.notes, said))


def _from_files(bare: Source, found: Found, columns: Columns, window: str | None, channels: int | None) -> Source:
    files = tuple(found.files or ())
    parts = files if found.channels is None else tuple(path for each in found.channels for path in each)
    if found.rows is not None:
        parts = tuple(path for row in found.rows for path, _ in row.frames)
    bare = replace(bare, files=files, key=content_key((_stamps(parts, bare.root), *columns)))
    if found.rows is not None:
        return from_rows(bare, found.rows, found.modality, window, channels)
    if are_volumes(bare, files):
        return from_volumes(bare, found.channels or tuple((file,) for file in files), window, found.modality)
    with ThreadPoolExecutor() as pool:
        headers = list(pool.map(look, files))
    counts = [header.channels if header else 0 for header in headers]
    source = replace(
        bare,
        read=lambda row: decode(files[row]),
        sizes=np.array([header.size if header else (0, 0) for header in headers]),
        channels=max(counts),
        white=np.array([header.white if header else 255 for header in headers]),
        notes=(*bare.notes, *_form_notes(headers)),
    )
    return of_channels(source, counts, channels)


def _form_notes(headers: list[Header | None]) -> list[str]:
    turned = sum(header.turned for header in headers if header)
    inverted = sum(header.inverted for header in headers if header)
    reduced = sum(header.reduced for header in headers if header)
    notes = [f"{plural(turned, 'image')} turned as the orientation tag says"] if turned else []
    notes += [f"{plural(reduced, 'pyramid')} read at the finest level that is not too large"] if reduced else []
    return [*notes, f"{plural(inverted, 'image')} inverted, for the file says that 0 is white"] if inverted else notes


def _stamps(files: tuple[Path, ...], root: Path | None) -> NDArray[np.uint8]:
    """Names, sizes and times of files: what tells that they are still the same."""
    lines = [f"{os.path.relpath(file, root or '.')}\0{disk.stamp(file)}" for file in files]
    return np.frombuffer("\n".join(lines).encode("utf-8", "surrogateescape"), dtype=np.uint8)
