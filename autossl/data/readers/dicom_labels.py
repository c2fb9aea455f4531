"""What is told of DICOM files beside their pixels: by a table of files or identifiers, by an attribute, by folders."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from autossl.data.readers import disk
from autossl.data.readers.columns import Wanted, pick_columns
from autossl.data.readers.found import SPLITS, encode_split
from autossl.data.readers.instances import KEYS, Instance, refuse_attribute
from autossl.data.readers.tables import IMAGE, SPLIT, Table, has_column, in_folder, read_table
from autossl.data.truth.naming import LABEL, folder_notes
from autossl.data.truth.spelling import Column, cells
from autossl.errors import UserError
from autossl.errors.printable import plural

FINEST = (IMAGE, "SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID", "AccessionNumber", "PatientID")
SQUASHED = {name.lower(): name for name in (IMAGE, *KEYS)}
PICKED = (IMAGE, "PatientID")  # keys that may be columns of another use too
FEWEST_PATIENTS = 2  # in each folder that is to be a class: one for each patient is none


@dataclass
class Told:
    """What is known of files: a table and the column that finds its rows, attributes, or the names of folders."""

    root: Path
    place: str
    wanted: Wanted
    attributes: tuple[str, ...] = ()
    table: Table = field(default_factory=dict)
    labels: tuple[str, ...] = ()
    patient: str | None = None
    key: str = ""
    rows: dict[str, int] = field(default_factory=dict)
    by_file: bool = False
    class_folders: bool = False

    @property
    def drawn(self) -> bool:
        """Whether segmentations among the files are the labels."""
        return self.wanted.masked and not self.key and not self.attributes

    def row_of(self, each: Instance) -> int:
        """The row of the table that a file belongs to; -1 for none."""
        return next((self.rows[name] for name in self._names(each) if name in self.rows), -1)

    def _names(self, each: Instance) -> list[str]:
        if self.key != IMAGE:
            return [each.keys[self.key]] if self.key else []
        path = each.path
        inside = path.relative_to(self.root) if path.is_relative_to(self.root) else path
        above = [parent.as_posix() for parent in inside.parents if parent != Path()]
        return [inside.as_posix(), path.name, path.stem, *above, str(path)]

    def columns(
        self, owners: Sequence[Instance], patients: list[str]
    ) -> tuple[dict[str, Column] | None, list[str], list[str]]:
        """Labels, patients and notes of the samples of these files."""
        if self.key:
            return self._of_table(owners, patients)
        if self.attributes:
            return {name: [each.labels[name] for each in owners] for name in self.attributes}, patients, []
        if not self.wanted.read:
            return None, patients, []
        return self._of_folders(owners, patients)

    def _of_table(
        self, owners: Sequence[Instance], patients: list[str]
    ) -> tuple[dict[str, Column] | None, list[str], list[str]]:
        rows = [self.row_of(each) for each in owners]
        if max(rows) < 0:
            raise UserError(
                f"labels for the DICOM in {self.root} were wanted, found {plural(len(self.rows), 'row')} in "
                f"{self.place} of which none matches by the column {self.key}; write it as the files have it"
            )
        notes = list[str]()
        if absent := len(self.rows) - len({row for row in rows if row >= 0}):
            notes.append(f"{plural(absent, 'row')} of the table without an image here")
        if unlabelled := rows.count(-1):
            notes.append(f"{plural(unlabelled, 'sample')} that no row of the table names, used without labels")

        def column(name: str) -> Column:
            return cells([self.table[name][row] if row >= 0 else "" for row in rows], self.place)

        labels = {name: column(name) for name in self.labels}
        # headers that were made anonymous have no id, or one for all
        if self.patient is not None and (self.wanted.patient is not None or len(set(patients)) == 1):
            own = column(self.patient)
            same = {ours: theirs for ours, theirs in zip(patients, own, strict=True) if ours and theirs}
            patients = [
                theirs or (same.get(ours, ours) if len(same) > 1 else "")
                for ours, theirs in zip(patients, own, strict=True)
            ]
        return labels or None, patients, notes

    def _of_folders(
        self, owners: Sequence[Instance], patients: list[str]
    ) -> tuple[dict[str, Column] | None, list[str], list[str]]:
        names = [self._folder(each) for each in owners]
        inside = {
            name: {
                each.patient or each.keys["StudyInstanceUID"] or str(each.path)
                for each, own in zip(owners, names, strict=True)
                if own == name
            }
            for name in set(names)
        }
        if "" not in inside and len(inside) > 1 and min(map(len, inside.values())) >= FEWEST_PATIENTS:
            self.class_folders = True
            return {LABEL: names}, patients, list(folder_notes(names))
        if self.wanted.needed:
            raise UserError(
                f"labels for the DICOM in {self.root} were wanted, found no table of them and no folder for each class "
                f"(with {FEWEST_PATIENTS} patients at least); give --labels, a CSV with AccessionNumber, PatientID, "
                "StudyInstanceUID, SeriesInstanceUID or image and label, or an attribute by --label-column"
            )
        return None, patients, []

    def _folder(self, each: Instance) -> str:
        """The folder that may be a class: the first, or the second below train, val and test."""
        parts = self._parts(each)
        if parts and parts[0].lower() in SPLITS:
            parts = parts[1:]
        return parts[0] if parts else ""

    def _parts(self, each: Instance) -> tuple[str, ...]:
        inside = each.path.is_relative_to(self.root)
        return each.path.relative_to(self.root).parts[:-1] if inside else ()

    def split(self, owners: Sequence[Instance]) -> NDArray[np.int8] | None:
        """Official parts: a column of the table, or folders train, val and test."""
        if SPLIT in self.table and self.key:
            rows = [self.row_of(each) for each in owners]
            return encode_split(cells([self.table[SPLIT][row] if row >= 0 else "" for row in rows], ""), self.place)
        tops = [(self._parts(each) or ("",))[0].lower() for each in owners]
        if not self.key and len(set(tops)) > 1 and all(top and top in SPLITS for top in tops):
            return encode_split(tops, str(self.root))
        return None


def tables(root: Path) -> list[Path]:
    """The CSVs in a folder that name files, or tell them by an identifier."""
    return [path for path in in_folder(root) if has_column(path, key_of)]


def key_of(column: str) -> str:
    """What a column finds files by; "" for other columns."""
    return SQUASHED.get(re.sub(r"[^a-z]", "", column.lower()), "")


def told_by(root: Path, table: Path | None, wanted: Wanted) -> Told:
    """What tells of the files below a folder: a table that is given or lies there, an attribute, or folders."""
    if not wanted.read:
        return Told(root, str(root), wanted)
    there = [table] if table is not None else tables(root)
    if len(there) > 1:
        raise UserError(
            f"one table of labels was wanted, found {', '.join(path.name for path in there)} in {root}; give the one "
            "that is meant by --labels"
        )
    if there:
        return _of_table(root, there[0], wanted)
    if wanted.label is None:
        return Told(root, str(root), wanted)
    listed = wanted.label.split(",") if isinstance(wanted.label, str) else list(wanted.label)
    attributes = tuple(name.strip() for name in listed)
    for name in attributes:
        refuse_attribute(name, str(root))
    return Told(root, str(root), wanted, attributes)


def _of_table(root: Path, path: Path, wanted: Wanted) -> Told:
    columns = read_table(path, key=key_of)
    keyed = {key_of(name): name for name in columns if key_of(name)}
    key = next(name for name in FINEST if name in keyed)
    columns = {IMAGE: columns[keyed[key]], **{name: cell for name, cell in columns.items() if name != IMAGE}}
    others = {name: cell for name, cell in columns.items() if name == wanted.patient or key_of(name) in ("", *PICKED)}
    picked = pick_columns(others, wanted, path)
    rows: dict[str, int] = {}
    used = [columns[name] for name in (*picked.labels, picked.patient) if name is not None]
    for row, name in enumerate(columns[IMAGE]):
        first = rows.setdefault(name.removeprefix("./").rstrip("/"), row)
        if any(column[first] != column[row] for column in used):
            raise UserError(
                f"one row for each {key} was wanted, found two that differ (rows {first + 2} and {row + 2}) in {path}; "
                "remove one of them"
            )
    rows.pop("", None)
    names_files = key == IMAGE and any(disk.is_file(root / name) or disk.is_file(path.parent / name) for name in rows)
    return Told(
        root, str(path), wanted, (), columns, picked.labels, picked.patient, key, rows,
        names_files or key == "SOPInstanceUID",
    )  # fmt: skip
