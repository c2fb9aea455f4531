"""Makes a `Source` of volume files: one of each sample or one for each channel, and how values become whole numbers."""

import contextlib
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autossl.data.dataset import CT, KEPT, ROBUST, Source
from autossl.data.readers import volume_files
from autossl.data.readers.images import Header, Unreadable
from autossl.data.readers.volumes import CT_WHITE, ROBUST_WHITE, WORDS, looked_at, recognise, to_voxels
from autossl.errors import UserError
from autossl.errors.printable import plural

Parts = tuple[tuple[Path, ...], ...]  # n: the files of a volume, each with some of its channels


def are_volumes(source: Source, files: tuple[Path, ...]) -> bool:
    """Whether files are volumes by their names; UserError where some are and some are not."""
    volumes = [volume_files.is_volume(file) for file in files]
    if any(volumes) and not all(volumes):
        raise UserError(
            f"images or volumes were wanted, found {volumes.count(False)} images (such as "
            f"{source.naming(volumes.index(False))}) beside {volumes.count(True)} volumes (such as "
            f"{source.naming(volumes.index(True))}) in {source.place}; leave one kind out"
        )
    return volumes[0]


def from_volumes(bare: Source, parts: Parts, window: str | None, modality: str = "") -> Source:
    """The source of these volumes; `window` None: KEPT where no value needs one, else as modality or values tell."""
    headers = [_look(parts[0])]  # alone, because it imports what reads the others
    with ThreadPoolExecutor() as pool:
        headers += pool.map(_look, parts[1:])
    chosen = window or _window(parts, headers, modality)
    fixed = {CT: CT_WHITE, ROBUST: ROBUST_WHITE}.get(chosen)
    unsided = sum(not header.sided for header in headers if header)
    said = f"{plural(unsided, 'volume')} of a form that does not tell left from right, taken as SPM takes them"
    source = replace(
        bare,
        read=lambda row: to_voxels(_raw(parts[row]), chosen, "it")[0],
        sizes=np.array([header.size if header else (0, 0, 0) for header in headers]),
        channels=_one_channel_count(bare, headers),
        white=np.array([fixed or max(0, header.white if header else 255) for header in headers]),
        spacing=np.array([header.spacing if header else (1.0, 1.0, 1.0) for header in headers]),
        key=f"{bare.key} {chosen}",
        values=None if chosen == KEPT else lambda row: _raw(parts[row]),
        modality=modality,
        notes=(*bare.notes, *([said] if unsided else [])),
    )
    return with_window(source, chosen)


def with_window(source: Source, window: str) -> Source:
    """The source of volumes with its window noted; images pass as they are."""
    if source.dims == 2:
        return source
    spacing = np.ones((source.n, 3)) if source.spacing is None else source.spacing
    said = () if window == KEPT else (WORDS[window],)
    return replace(source, spacing=spacing, window=window, notes=(*source.notes, *said))


def _look(files: tuple[Path, ...]) -> Header | None:
    """What the headers of a volume's files say together; None where one of them cannot be read."""
    headers = [header for file in files if (header := volume_files.look(file))]
    if len(headers) < len(files):
        return None
    white = min(header.white for header in headers)
    return headers[0]._replace(channels=sum(header.channels for header in headers), white=white)


def _raw(files: tuple[Path, ...]) -> NDArray[Any]:
    """The values (d, h, w, c) of a volume's files, their channels in order; Unreadable where they do not lie alike."""
    if len(files) == 1:
        return volume_files.raw(files[0])
    for file in files[1:]:
        volume_files.check_same_grid(files[0], file)
    found = [volume_files.raw(file) for file in files]
    if len({values.shape[:3] for values in found}) > 1:
        raise Unreadable("its channels have several sizes")
    return np.concatenate(found, axis=3)


def _window(parts: Parts, headers: list[Header | None], modality: str) -> str:
    """KEPT where every header says unsigned whole numbers of up to 16 bit, else by the modality or by a few volumes."""
    good = [row for row, header in enumerate(headers) if header]
    if all(header.white >= 0 for header in headers if header):
        return KEPT
    return CT if modality == "CT" else recognise(_readable(parts[good[at]] for at in looked_at(len(good))))


def _readable(parts: Iterable[tuple[Path, ...]]) -> Iterator[NDArray[Any]]:
    for files in parts:
        with contextlib.suppress(Unreadable):  # it is counted and named when all are decoded
            yield _raw(files)


def _one_channel_count(source: Source, headers: list[Header | None]) -> int:
    rows: dict[int, list[int]] = {}
    for row, header in ((row, header) for row, header in enumerate(headers) if header):
        rows.setdefault(header.channels, []).append(row)
    if len(rows) > 1:
        found = " and ".join(
            f"{len(at)} with {count} (such as {source.naming(at[0])})" for count, at in sorted(rows.items())
        )
        raise UserError(
            f"images with one number of channels were wanted, found {found} in {source.place}; leave one kind out"
        )
    return next(iter(rows), 0)
