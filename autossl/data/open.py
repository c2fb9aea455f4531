"""Opens any supported form of data as one `Source`, cheaply, and refuses what cannot be used."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autossl.data import cells as cell_sample
from autossl.data.arrays import content_key, read_array, read_dataset, read_npz
from autossl.data.checks import check_labels, check_sizes
from autossl.data.dataset import NO_SPLIT, Ints, Pixels, Source
from autossl.data.files import read_flat, read_folder, read_manifest
from autossl.data.found import Found, encode_labels, encode_patients
from autossl.data.images import Header, decode, look
from autossl.data.medmnist import read_medmnist
from autossl.errors import UserError

SAMPLES = {"cells": cell_sample.read_cells}
FORMS = "an .npz, a folder of class folders, a CSV manifest, sample:cells or medmnist:NAME"


def open_data(
    data: Any,
    *,
    task: str = "classification",
    unlabeled: Any = None,
    labels: Any = None,
    label_column: str | None = None,
    patient_column: str | None = None,
) -> Source:
    """Opens labelled data for a study without decoding it.

    `data`: a path (an .npz in MedMNIST layout, a folder of class folders, a CSV manifest), "sample:cells",
    "medmnist:NAME", an array (n, h, w[, c]) with `labels` (n,), or a map-style torch dataset of (image, label).
    `unlabeled`: the same forms; its images join without labels. `labels`: for arrays and datasets a sequence (n,),
    for a folder a CSV with the columns image and label. UserError for anything that cannot be used.
    """
    assert task == "classification", f"no data is opened for {task}"
    source = open_images(data, labels=labels, label_column=label_column, patient_column=patient_column, labelled=True)
    if unlabeled is not None:
        source = join(source, open_images(unlabeled, patient_column=patient_column))
    check_labels(source)
    return source


def open_images(
    data: Any,
    *,
    labels: Any = None,
    label_column: str | None = None,
    patient_column: str | None = None,
    labelled: bool = False,
) -> Source:
    """Opens images with what labels they have: as for `open_data`, but labels and classes are not required."""
    found = _find(data, labels, label_column, patient_column, labelled)
    source = _source(found)
    check_sizes(source)
    return source


def _find(data: Any, labels: Any, label_column: str | None, patient_column: str | None, labelled: bool) -> Found:
    if isinstance(data, str | os.PathLike):
        text = os.fspath(data)
        kind, _, name = text.partition(":")
        if kind == "sample":
            return _sample(name)
        if kind == "medmnist":
            return read_medmnist(name)
        return _path(Path(text), labels, label_column, patient_column, labelled)
    if isinstance(data, np.ndarray):
        return read_array(data, labels)
    if hasattr(data, "__getitem__") and hasattr(data, "__len__") and not isinstance(data, Sequence):
        return read_dataset(data, labels)
    raise UserError(
        f"{FORMS}, an array or a map-style torch dataset was wanted, found {type(data).__name__} as data; "
        "pass one of these"
    )


def _sample(name: str) -> Found:
    if name not in SAMPLES:
        known = ", ".join(f"sample:{known}" for known in SAMPLES)
        raise UserError(f"a built-in sample ({known}) was wanted, found sample:{name} as data; use one of these")
    return SAMPLES[name]()


def _path(path: Path, labels: Any, label_column: str | None, patient_column: str | None, labelled: bool) -> Found:
    if not path.exists():
        raise UserError(f"{FORMS} was wanted, found nothing at {path}; check the path")
    if path.is_dir():
        if labels is not None:
            return read_flat(path, _labels_table(labels), label_column, patient_column)
        return read_folder(path) if labelled else _any_folder(path)
    if labels is not None:
        raise UserError(f"labels= beside a folder of images was wanted, found it beside {path}; leave it out")
    suffix = path.suffix.lower()
    if suffix == ".npz":
        return read_npz(path)
    if suffix in (".csv", ".tsv", ".txt"):
        return read_manifest(path, label_column, patient_column, labelled)
    raise UserError(f"{FORMS} was wanted, found a file of type {suffix or 'unknown'} at {path}; convert it")


def _any_folder(path: Path) -> Found:
    """Class folders if there are any, else every image below the folder."""
    try:
        return read_folder(path)
    except UserError:
        return read_flat(path, None, None, None)


def _labels_table(labels: Any) -> Path:
    if not isinstance(labels, str | os.PathLike):
        raise UserError(
            f"the path of a CSV with image and label was wanted, found {type(labels).__name__} as labels= of a folder; "
            "write the labels into a CSV"
        )
    if not (table := Path(labels)).is_file():
        raise UserError(f"a CSV with image and label was wanted, found nothing at {table}; check labels=")
    return table


def _source(found: Found) -> Source:
    n = found.n
    labels, classes = encode_labels(found.labels or [""] * n, found.class_names, found.place)
    notes = list(found.notes)
    groups: Ints | None = None
    patients: tuple[str, ...] = ()
    if found.patients is not None and any(found.patients):
        groups, patients, unknown = encode_patients(found.patients)
        if unknown:
            notes.append(f"{unknown} images have no patient id and count as one patient each")
    if found.absent:
        notes.append(f"{found.absent} rows of the table name images that are not there and were left out")
    split = np.full(n, NO_SPLIT, dtype=np.int8) if found.split is None else found.split
    bare = Source(
        found.name, found.place, labels, classes, split, _never, np.zeros((n, 2), np.int64), 0, np.zeros(n, np.int64),
        "", groups, patients, root=found.root, notes=tuple(notes),
    )  # fmt: skip
    columns = (labels, split, np.zeros(0) if groups is None else groups)
    if found.files is not None:
        return _from_files(bare, tuple(found.files), columns)
    assert found.images is not None
    if isinstance(found.images, np.ndarray):
        return _from_array(bare, found.images, found.white, columns)
    return _from_items(bare, found.images, found.white, columns)


def _never(row: int) -> Pixels:
    raise AssertionError(f"row {row} of a source without images")


def _from_array(bare: Source, array: Pixels, white: int, columns: tuple[NDArray[Any], ...]) -> Source:
    n, height, width, channels = array.shape
    return replace(
        bare,
        read=lambda row: array[row],
        array=array,
        sizes=np.tile(np.array([[height, width]]), (n, 1)),
        channels=channels,
        white=np.full(n, white),
        key=content_key((array, *columns)),
    )


def _from_items(bare: Source, items: list[Pixels], white: int, columns: tuple[NDArray[Any], ...]) -> Source:
    counts = sorted({item.shape[2] for item in items})
    if len(counts) > 1:
        raise UserError(
            f"images with one number of channels were wanted, found {' and '.join(map(str, counts))} in {bare.place}; "
            "convert them to one form"
        )
    return replace(
        bare,
        read=lambda row: items[row],
        sizes=np.array([item.shape[:2] for item in items]),
        channels=counts[0],
        white=np.full(len(items), white),
        key=content_key((*items, *columns)),
    )


def _from_files(bare: Source, files: tuple[Path, ...], columns: tuple[NDArray[Any], ...]) -> Source:
    with ThreadPoolExecutor() as pool:
        headers = list(pool.map(look, files))
    bare = replace(bare, files=files)
    return replace(
        bare,
        read=lambda row: decode(files[row]),
        sizes=np.array([[header.height, header.width] if header else [0, 0] for header in headers]),
        channels=_one_channel_count(bare, headers),
        white=np.array([header.white if header else 255 for header in headers]),
        key=content_key((_stamps(files, bare.root), *columns)),
    )


def _stamps(files: tuple[Path, ...], root: Path | None) -> NDArray[np.uint8]:
    """Names, sizes and times of files: what tells that they are still the same."""
    lines = []
    for file in files:
        stat = file.stat()
        lines.append(f"{os.path.relpath(file, root or '.')}\0{stat.st_size}\0{stat.st_mtime_ns}")
    return np.frombuffer("\n".join(lines).encode("utf-8", "surrogateescape"), dtype=np.uint8)


def _one_channel_count(source: Source, headers: list[Header | None]) -> int:
    rows: dict[int, list[int]] = {}
    for row, header in enumerate(headers):
        if header:
            rows.setdefault(header.channels, []).append(row)
    if len(rows) > 1:
        found = " and ".join(
            f"{len(at)} with {count} (such as {source.naming(at[0])})" for count, at in sorted(rows.items())
        )
        raise UserError(
            f"images with one number of channels were wanted, found {found} in {source.place}; "
            "convert them all to grey or all to RGB"
        )
    return next(iter(rows), 0)


def join(labelled: Source, unlabeled: Source) -> Source:
    """Both sources as one; the labels and splits of the second are forgotten, its patients matched by identifier."""
    if labelled.channels != unlabeled.channels:
        raise UserError(
            f"unlabelled images with {labelled.channels} channels, as in {labelled.place}, were wanted, found "
            f"{unlabeled.channels} in {unlabeled.place}; convert them"
        )
    first = labelled.n
    groups, patients = _join_patients(labelled, unlabeled)
    files = None
    if labelled.files is not None and unlabeled.files is not None:
        files = labelled.files + unlabeled.files
    return replace(
        labelled,
        labels=_concatenate(labelled.labels, np.full(unlabeled.n, -1)),
        split=np.concatenate([labelled.split, np.full(unlabeled.n, NO_SPLIT, dtype=np.int8)]),
        read=lambda row: labelled.read(row) if row < first else unlabeled.read(row - first),
        sizes=np.concatenate([labelled.sizes, unlabeled.sizes]),
        white=_concatenate(labelled.white, unlabeled.white),
        key=f"{labelled.key}+{unlabeled.key}",
        groups=groups,
        patients=patients,
        array=None,
        files=files,
        notes=(*labelled.notes, *unlabeled.notes, f"{unlabeled.n} images without labels were added"),
    )


def _join_patients(labelled: Source, unlabeled: Source) -> tuple[Ints | None, tuple[str, ...]]:
    if labelled.groups is None:
        return None, ()
    ids = list(labelled.patients)
    if unlabeled.groups is None:
        return _concatenate(labelled.groups, len(ids) + np.arange(unlabeled.n)), (*ids, *[""] * unlabeled.n)
    index = {identifier: at for at, identifier in enumerate(ids) if identifier}
    place = np.empty(len(unlabeled.patients), dtype=np.int64)
    for at, identifier in enumerate(unlabeled.patients):
        if identifier not in index:
            if identifier:
                index[identifier] = len(ids)
            place[at] = len(ids)
            ids.append(identifier)
        else:
            place[at] = index[identifier]
    return _concatenate(labelled.groups, place[unlabeled.groups]), tuple(ids)


def _concatenate(first: Ints, second: NDArray[Any]) -> Ints:
    return np.concatenate([first, second]).astype(np.int64)
