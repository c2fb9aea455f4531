"""Opens any supported form of data as one `Source`, cheaply, and refuses what cannot be used."""

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autossl.data.arrays import read_array, read_dataset, read_npz
from autossl.data.cells import read_cells
from autossl.data.channels import of_colours
from autossl.data.checks import check_labels, check_sizes
from autossl.data.dataset import CT, KEPT, NO_SPLIT, ROBUST, Ints, Source
from autossl.data.files import read_flat, read_folder, read_manifest
from autossl.data.found import Found
from autossl.data.lesions import read_lesions
from autossl.data.medmnist import read_medmnist
from autossl.data.sources import make_source
from autossl.errors import UserError

SAMPLES = {"cells": read_cells, "volumes": read_lesions}
TABLES = (".csv", ".tsv", ".txt")
FORMS = "an .npz, a folder of class folders, a CSV manifest, sample:cells, sample:volumes or medmnist:NAME"


def open_data(
    data: Any,
    *,
    task: str = "classification",
    unlabeled: Any = None,
    labels: Any = None,
    label_column: str | None = None,
    patient_column: str | None = None,
    ct: bool = False,
) -> Source:
    """Opens labelled data for a study without decoding it.

    `data`: a path (an .npz in MedMNIST layout, a folder of class folders, a CSV manifest; files are images or NIfTI),
    "sample:cells", "sample:volumes", "medmnist:NAME", an array (n, h, w[, c]) or (n, d, h, w[, c]) with `labels`
    (n,), or a map-style torch dataset of (image, label). `ct`: signed or fractional values of volumes are Hounsfield
    units, also where no air in them tells so. `unlabeled`: the same forms; its images join without labels. `labels`:
    for arrays and datasets a sequence (n,), for a folder a CSV with the columns image and label. UserError for
    anything that cannot be used.
    """
    assert task == "classification", f"no data is opened for {task}"
    options: dict[str, Any] = {"labels": labels, "label_column": label_column, "patient_column": patient_column}
    source = open_images(data, **options, labelled=True)
    if ct and source.window == ROBUST:
        source = open_images(data, **options, labelled=True, window=CT)
    if unlabeled is not None:
        window = None if source.window == KEPT else source.window
        column = patient_column if _is_table(unlabeled, None) else None
        source = join(source, open_images(unlabeled, patient_column=column, window=window))
    check_labels(source)
    return source


def open_images(
    data: Any,
    *,
    labels: Any = None,
    label_column: str | None = None,
    patient_column: str | None = None,
    labelled: bool = False,
    window: str | None = None,
    channels: int | None = None,
) -> Source:
    """Opens images with what labels they have: as for `open_data`, but labels and classes are not required.

    A `window` holds for all volumes here, whatever their type, and `channels` for all images; None chooses.
    """
    found = _find(data, labels, label_column, patient_column, labelled)
    source = make_source(found, window, channels)
    check_sizes(source)
    return source


def _find(data: Any, labels: Any, label_column: str | None, patient_column: str | None, labelled: bool) -> Found:
    _refuse_columns(data, labels, label_column, patient_column)
    if isinstance(data, str | os.PathLike):
        text = os.fspath(data)
        if not text.strip():
            raise UserError(f"{FORMS} was wanted, found an empty text as data; give a path, or . for this folder")
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


def _is_table(data: Any, labels: Any) -> bool:
    """Whether columns can be named in the data: a CSV, or a folder with one that holds its labels."""
    if not isinstance(data, str | os.PathLike):
        return False
    path = Path(data)
    return path.suffix.lower() in TABLES or (labels is not None and path.is_dir())


def _refuse_columns(data: Any, labels: Any, label_column: str | None, patient_column: str | None) -> None:
    """UserError for the name of a column where there are none: it would be passed over in silence."""
    for option, column in (("--label-column", label_column), ("--patient-column", patient_column)):
        if column is not None and not _is_table(data, labels):
            place = data if isinstance(data, str | os.PathLike) else f"the given {type(data).__name__}"
            raise UserError(
                f"a CSV was wanted, of which {option} names a column, found {option} {column} beside {place}; "
                "leave it out, or give a CSV manifest"
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
    if suffix in TABLES:
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


def join(labelled: Source, unlabeled: Source) -> Source:
    """Both sources as one; the labels and splits of the second are forgotten, its patients matched by identifier."""
    if labelled.dims != unlabeled.dims:
        words = {2: "images", 3: "volumes"}
        raise UserError(
            f"unlabelled {words[labelled.dims]}, as in {labelled.place}, were wanted, found {words[unlabeled.dims]} in "
            f"{unlabeled.place}; leave them out"
        )
    channels = {labelled.channels, unlabeled.channels}
    if len(channels) > 1 and (channels != {1, 3} or labelled.dims == 3):
        raise UserError(
            f"unlabelled images with {labelled.channels} channels, as in {labelled.place}, were wanted, found "
            f"{unlabeled.channels} in {unlabeled.place}; convert them"
        )
    if len(channels) > 1:
        labelled, unlabeled = of_colours(labelled), of_colours(unlabeled)
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
        spacing=_join_spacing(labelled, unlabeled),
        slices=_join_slices(labelled, unlabeled),
        notes=(*labelled.notes, *unlabeled.notes, f"{unlabeled.n} images without labels were added"),
    )


def _join_spacing(first: Source, second: Source) -> NDArray[np.float64] | None:
    if first.spacing is None or second.spacing is None:
        return None
    return np.concatenate([first.spacing, second.spacing])


def _join_slices(first: Source, second: Source) -> NDArray[np.float64] | None:
    if first.slices is None and second.slices is None:
        return None
    parts = [np.full(part.n, np.nan) if part.slices is None else part.slices for part in (first, second)]
    return np.concatenate(parts)


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
