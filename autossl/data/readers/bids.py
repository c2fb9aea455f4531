"""Folders as BIDS has them: sub-NAME/[ses-NAME/]KIND/*.nii.gz, what is known of participants in participants.tsv."""

import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

from autossl.data.readers import disk, volume_files
from autossl.data.readers.columns import NO_PATIENTS, Wanted, pick_columns
from autossl.data.readers.files import image_files
from autossl.data.readers.found import Found
from autossl.data.readers.tables import IMAGE, read_table
from autossl.data.truth.spelling import Column, cells
from autossl.errors import UserError
from autossl.errors.printable import plural, shown

ABOUT, TABLE, KEY = "dataset_description.json", "participants.tsv", "participant_id"
SUBJECT = re.compile(r"sub-[^_/]+")
DERIVED = "derivatives"
MASKS = frozenset({"dseg", "mask"})
OF_MASKS = ("space", "desc", "label", "res", "den", "hemi", "seg", "atlas")  # what names of masks have that images lack


def is_bids(root: Path) -> bool:
    """Whether a folder is laid out so."""
    return disk.is_file(root / ABOUT) and any(SUBJECT.fullmatch(folder.name) for folder in disk.folders(root))


def read_bids(root: Path, kind: str, wanted: Wanted, masked: bool) -> Found:
    """The volumes of one kind (T1w, bold ...), by participant, with labels of participants.tsv or with masks.

    UserError where there are several kinds and none is named.
    """
    subjects = [folder for folder in disk.folders(root) if SUBJECT.fullmatch(folder.name)]
    there = [path for folder in subjects for path in image_files(folder)]
    kinds = Counter(_kind(path) for path in there if _kind(path) not in MASKS)
    if not kind and len(kinds) == 1:
        kind = next(iter(kinds))
    if kind not in kinds:
        listed = ", ".join(f"{shown(name)} {count}" for name, count in sorted(kinds.items())) or "no image"
        raise UserError(
            f"images of one kind were wanted, found {listed} in {root}; name one behind the folder: {root}"
            f"{disk.INSIDE}{next(iter(sorted(kinds)), 'T1w')}"
        )
    files = [path for path in there if _kind(path) == kind]
    notes = (f"BIDS: {plural(len(files), 'image')} of {shown(kind)}",)
    found = Found(root.resolve().name, str(root), files=files, root=root, patients=_subjects(root, files), notes=notes)
    if masked:
        return replace(found, labels={"mask": _masks(root, files)})
    return _with_columns(found, files, root, wanted) if wanted.read else found


def _kind(path: Path) -> str:
    return volume_files.stem(path).rpartition("_")[2]


def _entities(path: Path) -> frozenset[str]:
    """The pairs of key and value in a name, without those that only masks have."""
    parts = volume_files.stem(path).split("_")[:-1]
    return frozenset(part for part in parts if part.partition("-")[0] not in OF_MASKS)


def _subjects(root: Path, files: list[Path]) -> Column:
    return [path.relative_to(root).parts[0].removeprefix("sub-") for path in files]


def _with_columns(found: Found, files: list[Path], root: Path, wanted: Wanted) -> Found:
    """With the columns of the table, by participant; as it is where there is no table and none is needed."""
    table = root / TABLE
    if not wanted.needed and not disk.is_file(table):
        return found
    columns = read_table(table, usual=(KEY,))
    picked = pick_columns(columns, wanted._replace(patient=wanted.patient or NO_PATIENTS), table)
    rows = {name.removeprefix("sub-"): row for row, name in enumerate(columns[IMAGE])}
    own = [rows.get(name, -1) for name in _subjects(root, files)]

    def column(name: str) -> Column:
        return cells([columns[name][row] if row >= 0 else "" for row in own], str(table))

    patients = None if wanted.patient == NO_PATIENTS else found.patients
    patients = patients if picked.patient is None else column(picked.patient)
    return replace(found, labels={name: column(name) for name in picked.labels} or None, patients=patients)


def _masks(root: Path, files: list[Path]) -> list[str]:
    """The mask of each image, beside it or among what was derived; "" for one without."""
    derived = image_files(root / DERIVED) if disk.is_folder(root / DERIVED) else []
    masks: dict[frozenset[str], Path] = {}
    for path in (each for each in (*image_files(root), *derived) if _kind(each) in MASKS):
        other = masks.setdefault(_entities(path), path)
        if other != path:
            raise UserError(
                f"one mask for each image was wanted, found {shown(other.name)} and {shown(path.name)} in {root}; "
                "leave one out, or give a CSV with the columns image and mask"
            )
    found = [masks.get(_entities(path)) for path in files]
    if not any(found):
        raise UserError(
            f"masks (_dseg, _mask) of the images were wanted, found {len(masks)} in {root} of which none match; give a "
            "CSV with the columns image and mask"
        )
    return ["" if path is None else path.relative_to(root).as_posix() for path in found]
