"""What lies at a path: which reader a file or a folder is for."""

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from autossl.data.readers import disk, packed, trees
from autossl.data.readers.arrays import KNOWN, of_arrays, read_npy, read_npz
from autossl.data.readers.bids import is_bids, read_bids
from autossl.data.readers.boxes import read_marked
from autossl.data.readers.columns import Names, Wanted
from autossl.data.readers.dicom_folder import holds_dicom, is_dicom_file, read_dicom, read_dicom_files, read_dicom_table
from autossl.data.readers.files import is_image, label_files, read_flat, read_folder, read_manifest, tables_in
from autossl.data.readers.found import Found, Told
from autossl.data.readers.masks import MASKED, folders_of, read_pairs
from autossl.data.readers.nnunet import is_nnunet, read_nnunet
from autossl.data.readers.tables import SUFFIXES as TABLES
from autossl.data.readers.targets import PAIRED
from autossl.data.truth import Classes, Pairs, Truth
from autossl.errors import UserError

ARRAYS = {".npz": read_npz, ".npy": read_npy}
FORMS = "an .npz, a folder of class folders, a CSV manifest, sample:cells, sample:volumes or medmnist:NAME"


class Beside(NamedTuple):
    """What was given beside data to say what their columns are."""

    labels: Any = None
    patients: Any = None
    label_column: Names | None = None
    patient_column: str | None = None
    missing: str | Sequence[str] | None = None
    needed: bool = False  # no data without labels
    read: bool = True  # False: labels and splits are not looked at
    form: type[Truth] = Classes  # of the labels
    order: str | Sequence[str] | None = None  # of grades
    study: Truth | None = None  # in whose terms labels of new images will be told
    degradation: str | None = None  # how images make pairs with what they were
    dims: int | None = None  # what DICOM is to be: 2 images, 3 volumes; None: what it mostly is

    @property
    def wanted(self) -> Wanted:
        """What is asked of a table."""
        read = self.read and self.form.looked_at and self.degradation is None
        about = {} if self.study is None else self.study.about
        structures = dict(zip(about.get("structures", ()), about.get("values", ()), strict=False))
        own = (self.label_column, self.patient_column, self.needed and read, read, self.form, self.usual)
        return Wanted(*own, structures)

    @property
    def told(self) -> Told:
        """How labels are to be read."""
        return Told(self.form, self.missing, self.order, self.study)

    @property
    def usual(self) -> tuple[str, ...]:
        """The columns of labels that the study was made with."""
        return () if self.study is None else tuple(self.study.about.get("columns", ()))


def read_path(text: str, beside: Beside) -> Found:
    """What a file or a folder holds, and of it what is named behind `::`."""
    path, part = disk.parted(text)
    packed.refuse_packed(path)
    path = disk.entered(path)
    if not part and (found := read_marked(path, beside.wanted)) is not None:
        return found
    if trees.is_tree(path) and (disk.is_folder(path) or disk.is_file(path)):
        return of_arrays(*trees.read_tree(path, part, KNOWN), path)
    if disk.is_folder(path):
        return _folder(path, part, beside)
    if what := disk.what_is(path):
        raise UserError(f"{FORMS} was wanted, found {what} at {path}; give a file or a folder")
    if not disk.is_file(path):
        raise UserError(f"{FORMS} was wanted, found nothing at {path}; check the path")
    if beside.labels is not None:
        raise UserError(f"--labels beside a folder of images was wanted, found it beside {path}; leave it out")
    suffix = path.suffix.lower()
    if suffix in ARRAYS:
        return _with_part(ARRAYS[suffix](path), part)
    if suffix in TABLES:
        root = path.parent / part
        return read_dicom_table(path, root, beside.wanted, beside.dims) or read_manifest(path, beside.wanted, root)
    return _single(disk.with_part(path, part), suffix, beside)


def _folder(path: Path, part: str, beside: Beside) -> Found:
    if is_bids(path) and beside.labels is None and not tables_in(path):
        kind, _, part = part.partition(disk.INSIDE)
        return _with_part(read_bids(path, kind, beside.wanted, beside.wanted.masked), part)
    return _with_part(_layout(path, beside), part)


def _with_part(found: Found, part: str) -> Found:
    """The files with what is meant inside of each of them."""
    if not part:
        return found
    if found.files is None or found.rows is not None:
        raise UserError(
            f"{disk.INSIDE} behind data of which each file holds several images was wanted, found it behind "
            f"{found.place}; leave it out"
        )
    channels = found.channels and tuple(tuple(disk.with_part(path, part) for path in own) for own in found.channels)
    return replace(found, files=[disk.with_part(path, part) for path in found.files], channels=channels)


def _layout(path: Path, beside: Beside) -> Found:
    if holds_dicom(path):
        table = None if beside.labels is None else _labels_table(beside.labels)
        return read_dicom(path, table, beside.wanted, beside.dims)
    if (
        is_nnunet(path)
        and not tables_in(path)
        and (beside.wanted.masked or not beside.needed or beside.labels is not None)
    ):
        found = read_nnunet(path, beside.wanted.masked and beside.labels is None)
        return found if beside.labels is None else label_files(found, path, _labels_table(beside.labels), beside.wanted)
    if beside.labels is not None:
        return read_flat(path, _labels_table(beside.labels), beside.wanted)
    named = PAIRED if beside.form is Pairs else MASKED
    if beside.form.files and folders_of(path, named) and not tables_in(path):
        return read_pairs(path, named)
    return read_folder(path, beside.wanted) if beside.wanted.needed else _any_folder(path, beside.wanted)


def _single(path: Path, suffix: str, beside: Beside) -> Found:
    """One image, where labels are not needed; UserError for any other file."""
    is_dicom = is_dicom_file(path)
    if not is_dicom and not is_image(path):
        raise UserError(
            f"{FORMS} was wanted, found a file of type {suffix or 'unknown'} at {path}; convert it to one of these"
        )
    if beside.needed:
        raise UserError(
            f"{FORMS} was wanted, found a single image at {path}; give the folder that holds the class folders, or a "
            "CSV with image and label"
        )
    if is_dicom:
        return read_dicom_files([path], path.parent, str(path), None, beside.wanted._replace(read=False), beside.dims)
    return Found(path.stem, str(path), files=[path], root=path.parent)


def _any_folder(path: Path, wanted: Wanted) -> Found:
    """Class folders if there are any and labels are looked at, else every image below the folder."""
    if not wanted.read and not tables_in(path):
        return read_flat(path, None, wanted)
    try:
        return read_folder(path, wanted)
    except UserError:
        if wanted.label is not None or wanted.patient is not None:
            raise
        return read_flat(path, None, wanted)


def _labels_table(labels: Any) -> Path:
    if not isinstance(labels, str | os.PathLike):
        raise UserError(
            f"the path of a CSV with image and label was wanted, found {type(labels).__name__} as labels= of a folder; "
            "write the labels into a CSV"
        )
    if not disk.is_file(table := Path(labels)):
        found = disk.what_is(table) or "nothing"
        raise UserError(f"a CSV with image and label was wanted, found {found} at {table}; check --labels")
    return table
