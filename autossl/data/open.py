"""Opens any supported form of data as one `Source`, cheaply, and refuses what cannot be used."""

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from autossl.data.checks import check_sizes, samples_of
from autossl.data.dataset import CT, KEPT, ROBUST, Source
from autossl.data.degradations import check, degraded, paired
from autossl.data.join import join
from autossl.data.paths import FORMS, Beside, read_path
from autossl.data.readers import disk
from autossl.data.readers.bids import is_bids
from autossl.data.readers.columns import Names, chosen
from autossl.data.readers.dicom_folder import holds_dicom
from autossl.data.readers.dicom_labels import tables as dicom_tables
from autossl.data.readers.files import tables_in
from autossl.data.readers.found import Found
from autossl.data.readers.medmnist import read_medmnist
from autossl.data.readers.memory import read_array, read_dataset
from autossl.data.readers.tables import SUFFIXES as TABLES
from autossl.data.samples.cells import read_cells
from autossl.data.samples.fields import read_fields
from autossl.data.samples.lesions import read_lesions
from autossl.data.sources import make_source
from autossl.data.truth import Classes, Pairs, Truth
from autossl.data.truth.naming import LABEL
from autossl.errors import UserError

SAMPLES = {"cells": read_cells, "volumes": read_lesions}
FIELDS = {"cells": read_fields}  # of a sample, where boxes are wanted


def open_data(
    data: Any,
    *,
    form: type[Truth] = Classes,
    unlabeled: Any = None,
    labels: Any = None,
    patients: Any = None,
    label_column: Names | None = None,
    patient_column: str | None = None,
    missing: str | Sequence[str] | None = None,
    order: str | Sequence[str] | None = None,
    ct: bool = False,
    degradation: str | None = None,
) -> Source:
    """Opens labelled data for a study without decoding it; their labels are of this `form`.

    `data`: a path (an .npz in MedMNIST layout, a folder of class folders, a CSV manifest; files are images or NIfTI),
    "sample:cells", "sample:volumes", "medmnist:NAME", an array (n, h, w[, c]) or (n, d, h, w[, c]) with `labels`, or a
    map-style torch dataset of (image, label). `ct`: signed or fractional values of volumes are Hounsfield units, also
    where no air in them tells so. `unlabeled`: the same forms; its images join without labels. `labels`: for arrays
    and datasets a sequence (n,) or (n, t), for a folder a CSV with the columns image and label. `label_column`: one
    column or several ("a,b" or a list), of a CSV or of other data that have several. `patients`: for arrays and
    datasets a sequence (n,). `missing`: the labels that mean that there is none ("none,unknown"), in place of the
    usual words. `order`: grades that are words, the lowest first. `degradation` ("noise:25"): images are made worse so,
    and what they were are their targets. UserError for anything that cannot be used.
    """
    check(degradation, form)
    beside = Beside(
        labels, patients, label_column, patient_column, missing, needed=degradation is None, form=form, order=order,
        degradation=degradation,
    )  # fmt: skip
    source = _open(data, beside)
    if ct and source.window == ROBUST:
        source = _open(data, beside, CT)
    if unlabeled is not None:
        window = None if source.window == KEPT else source.window
        column = patient_column if _is_table(unlabeled, None) else None
        more = _open(unlabeled, Beside(patient_column=column, read=False), window)
        made = source.truth.degradation if isinstance(source.truth, Pairs) else ""
        source = join(source, degraded(more, made, told=False) if made else more)
    source.truth.check(samples_of(source))
    return source


def open_images(
    data: Any,
    *,
    labels: Any = None,
    patients: Any = None,
    label_column: Names | None = None,
    patient_column: str | None = None,
    missing: str | Sequence[str] | None = None,
    study: Truth | None = None,
    window: str | None = None,
    channels: int | None = None,
    dims: int | None = None,
) -> Source:
    """Opens images with what labels they have: as for `open_data`, but labels and classes are not required.

    A single image file will do. Labels are told in the terms of a `study`; without it they are not looked at. A
    `window` holds for all volumes here, whatever their type, and `channels` for all images; None chooses.
    """
    form = Classes if study is None else type(study)
    made = study.degradation if isinstance(study, Pairs) else ""
    beside = Beside(
        labels, patients, label_column, patient_column, missing, read=study is not None, form=form, study=study,
        degradation=made or None, dims=dims,
    )  # fmt: skip
    return _open(data, beside, window, channels)


def _open(data: Any, beside: Beside, window: str | None = None, channels: int | None = None) -> Source:
    _refuse_beside(data, beside)
    found = _picked(_find(data, beside), data, beside)
    made = beside.degradation or (found.degraded if beside.form is Pairs and beside.read else "")
    if made or not beside.wanted.read:
        found = replace(found, labels=None, split=found.split if beside.read else None)
    source = make_source(found, window, channels, beside.told)
    check_sizes(source)
    return paired(source, made) if made else source


def _picked(found: Found, data: Any, beside: Beside) -> Found:
    """The columns of labels that are meant, where a reader hands over more; those of tables are picked already."""
    if found.rows is not None or _is_table(data, beside.labels):
        return found
    if beside.label_column is not None and (found.labels is None or tuple(found.labels) == (LABEL,)):
        raise _no_table("--label-column", beside.label_column, found.place)
    if found.labels is None:
        return found
    names = found.usual.get(beside.form.form, tuple(found.labels))
    if beside.usual and set(beside.usual) <= set(found.labels):
        names = beside.usual
    if beside.label_column is not None:
        names = chosen(beside.label_column, found.labels, found.place)
    return replace(found, labels={name: found.labels[name] for name in names})


def _find(data: Any, beside: Beside) -> Found:
    if isinstance(data, str | os.PathLike):
        text = os.fspath(data)
        if not text.strip():
            raise UserError(f"{FORMS} was wanted, found an empty text as data; give a path, or . for this folder")
        kind, _, name = text.partition(":")
        if kind == "sample":
            return _sample(name, beside.form)
        if kind == "medmnist":
            return read_medmnist(name)
        return read_path(text, beside)
    if isinstance(data, np.ndarray):
        return read_array(data, beside.labels, beside.patients, beside.form)
    if hasattr(data, "__getitem__") and hasattr(data, "__len__") and not isinstance(data, Sequence):
        return read_dataset(data, beside.labels, beside.patients, beside.form)
    raise UserError(
        f"{FORMS}, an array or a map-style torch dataset was wanted, found {type(data).__name__} as data; "
        "pass one of these"
    )


def _is_table(data: Any, labels: Any) -> bool:
    """Whether columns can be named in the data: a CSV, or a folder with one that holds its labels."""
    if not isinstance(data, str | os.PathLike):
        return False
    path = disk.entered(disk.parted(Path(data))[0])
    if path.suffix.lower() in TABLES:
        return True
    if not disk.is_folder(path):
        return False
    return (
        labels is not None or bool(tables_in(path)) or is_bids(path) or (bool(dicom_tables(path)) and holds_dicom(path))
    )


def _refuse_beside(data: Any, beside: Beside) -> None:
    """UserError for what would be passed over in silence: a column without a table, patients beside a path."""
    there = isinstance(data, str | os.PathLike)
    place = os.fspath(data) if there else f"the given {type(data).__name__}"
    if beside.patient_column is not None and not _is_table(data, beside.labels):
        raise _no_table("--patient-column", beside.patient_column, place)
    if beside.patients is not None and there:
        raise UserError(
            f"patients= beside an array or a data set was wanted, found it beside {place}; leave it out: patient ids "
            "are the column patient of a CSV, or the array patients of an .npz"
        )


def _no_table(option: str, column: Names, place: str) -> UserError:
    wanted = f"a CSV was wanted, of which {option} names a column, found {option} {column} beside {place}"
    return UserError(f"{wanted}; leave it out, or give a CSV manifest")


def _sample(name: str, form: type[Truth]) -> Found:
    if name not in SAMPLES:
        known = ", ".join(f"sample:{known}" for known in SAMPLES)
        raise UserError(f"a built-in sample ({known}) was wanted, found sample:{name} as data; use one")
    return (FIELDS.get(name, SAMPLES[name]) if form.boxed else SAMPLES[name])()
