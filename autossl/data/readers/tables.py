"""CSV manifests: their cells, and which columns hold labels and patients."""

import csv
import io
import re
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from autossl.data.readers.disk import open_file, refused
from autossl.data.readers.found import NO_NUMBER
from autossl.data.readers.images import SUFFIXES
from autossl.data.readers.nifti import is_volume
from autossl.data.truth.naming import NUMBER
from autossl.data.truth.spelling import Values, canonical
from autossl.errors import UserError
from autossl.errors.printable import shown

IMAGE, LABEL, SPLIT, SLICE = "image", "label", "split", "slice"
PATIENT_COLUMNS = ("patient", "patient_id")
NO_PATIENTS = "none"  # as --patient-column: a user's word that every image is of another patient
MOST_CANDIDATE_CLASSES = 50  # a column with more values is not proposed as label column
FEWEST_PATIENTS, MOST_ALONE = 5, 0.9  # different values that may be identifiers; the largest share of the rows
MOST_IMAGES_OF_A_PATIENT = 20  # on average; with more, codes are classes rather
YES_OR_NO = frozenset({"0", "1", "true", "false", "yes", "no"})
IDENTIFIER_NAME = re.compile(
    r"(mrn|empi|pat|patients?|patienten?|pid|subj|subjects?|cases?|persons?|participants?|proband(en)?|donors?|"
    r"individuals?|fall)(ids?|no|nr|num|nummer|numbers?|keys?|codes?|uids?|identifiers?|names?|hash|pseudonyms?)?"
)
DATE = re.compile(r"\d{1,4}[-./]\d{1,2}[-./]\d{1,4}.*", re.ASCII)
LARGE_NUMBER = re.compile(r"\d{5,}", re.ASCII)

Table = dict[str, Values]  # column name -> cells


class Wanted(NamedTuple):
    """What a caller asks of a table."""

    label: str | None = None  # --label-column
    patient: str | None = None  # --patient-column
    needed: bool = True  # no data without labels
    read: bool = True  # False: labels are not looked at


class Picked(NamedTuple):
    """The columns of a table that are used, and what is to be said of the others."""

    label: str | None
    patient: str | None
    notes: tuple[str, ...]


def read_table(path: Path) -> Table:
    """The columns of a CSV (comma, semicolon or tab) as text; it must have a column `image` and a row."""
    lines = _lines(path)
    names = [name.strip() for name in lines[0][1]] if lines else []
    if twice := next((name for name in names if name and names.count(name) > 1), ""):
        raise UserError(
            f"columns of different names were wanted, found {names.count(twice)} columns {shown(twice)} in {path}; "
            "rename one"
        )
    if IMAGE not in names:
        raise UserError(
            f"a CSV with a column image was wanted, found the columns {named(names) or 'none'} in {path}; "
            "rename the column that holds the image paths to image"
        )
    body = [(line, row) for line, row in lines[1:] if any(cell.strip() for cell in row)]
    if not body:
        raise UserError(f"a CSV with one row per image was wanted, found a header only in {path}; add the rows")
    for line, row in body:
        if len(row) != len(names):
            raise UserError(
                f"{len(names)} cells in every row were wanted, found {len(row)} in row {line} of {path}; "
                "quote cells that hold the separator"
            )
        if any("\n" in cell for cell in row):
            _refuse_breaks(dict(zip(names, row, strict=True)), line, path)
    return {name: [row[at].strip() for _, row in body] for at, name in enumerate(names)}


def named(columns: Iterable[str]) -> str:
    """Columns as a message lists them."""
    return ", ".join(map(shown, columns))


def _lines(path: Path) -> list[tuple[int, list[str]]]:
    """The rows of a CSV, each with the number of the line on which it begins."""
    try:
        with open_file(path, "a CSV") as file:
            text = file.read().decode("utf-8-sig")
    except UnicodeDecodeError:
        raise UserError(f"a CSV in UTF-8 was wanted, found another encoding in {path}; save it as UTF-8") from None
    except OSError as fault:
        raise refused(path, fault) from None
    mark = max(",;\t", key=text.partition("\n")[0].count)
    try:
        return _parsed(text, mark, strict=True)
    except csv.Error as fault:
        if "unexpected end" in str(fault):  # read as it is, every row after the quote would be one cell
            raise UserError(
                f"a CSV was wanted, found a quote that is opened and never closed in {path}; close it"
            ) from None
    try:
        return _parsed(text, mark, strict=False)
    except csv.Error as fault:
        raise UserError(f"a CSV was wanted, found text that is none at {path} ({fault}); save it again") from None


def _parsed(text: str, mark: str, strict: bool) -> list[tuple[int, list[str]]]:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=mark, strict=strict)
    rows, line = [], 1
    for row in reader:
        rows.append((line, row))
        line = reader.line_num + 1
    return rows


def _refuse_breaks(row: dict[str, str], line: int, path: Path) -> None:
    """UserError for a line break where none can be meant: between two stray quotes, whole rows would vanish."""
    for name in (IMAGE, LABEL, SPLIT, *PATIENT_COLUMNS):
        if "\n" in row.get(name, "").strip():
            raise UserError(
                f"cells of one line were wanted, found a line break in column {name} of row {line} of {path}; "
                "close the quotes of that row"
            )


def pick_columns(columns: Table, wanted: Wanted, path: Path) -> Picked:
    """Which columns hold the labels and the patients; UserError where there is a choice or none."""
    patient = _patient_column(columns, wanted, path)
    for option, name in (("--label-column", wanted.label), ("--patient-column", patient)):
        if name is not None and name not in columns:
            raise UserError(
                f"the column '{shown(name)}' of {option} was wanted, found the columns {named(columns)} in {path}; "
                "name one of them"
            )
    label = None
    if wanted.read:
        label = wanted.label or (LABEL if LABEL in columns else None)
        if label is None and wanted.needed:
            raise _no_label_column(columns, patient, path)
        if label is not None:
            _refuse_identifiers(columns, label, patient, path)
    silent = patient is not None or wanted.patient == NO_PATIENTS
    return Picked(label, patient, () if silent else _overlooked(columns, label))


def _patient_column(columns: Table, wanted: Wanted, path: Path) -> str | None:
    if wanted.patient == NO_PATIENTS and NO_PATIENTS not in columns:
        return None
    if wanted.patient is not None:
        return wanted.patient
    there = [name for name in columns if _squashed(name) in ("patient", "patientid")]
    if len(there) > 1:
        raise UserError(
            f"one column of patients was wanted, found {' and '.join(there)} in {path}; choose by --patient-column"
        )
    return there[0] if there else None


def _squashed(name: str) -> str:
    return re.sub(r"[^a-z]", "", name.lower())


def _no_label_column(columns: Table, patient: str | None, path: Path) -> UserError:
    """What to train for is not guessed: the only column with classes in it may be the sex of the patients."""
    candidates = [
        name for name in columns if name not in (IMAGE, SPLIT, SLICE, patient) and _categorical(columns[name])
    ]
    if len(candidates) > 1 and all(_yes_or_no(columns[name]) for name in candidates):
        return UserError(
            f"one column of classes was wanted, found several findings, each with yes or no, ({named(candidates)}) in "
            f"{path}; several labels per image are not served yet: choose one by --label-column"
        )
    found = f"none, but candidates ({named(candidates)})," if candidates else f"only {named(columns)}"
    return UserError(f"a column label was wanted, found {found} in {path}; choose by --label-column")


def _known(values: Values) -> Values:
    return [value for value in values if value.lower() not in NO_NUMBER]


def _categorical(values: Values) -> bool:
    known = _known(values)
    different = len(set(known))
    return 2 <= different <= min(MOST_CANDIDATE_CLASSES, len(known) // 2)


def _yes_or_no(values: Values) -> bool:
    return {canonical(value).lower() for value in _known(values)} <= YES_OR_NO


def _refuse_identifiers(columns: Table, label: str, patient: str | None, path: Path) -> None:
    """UserError for a column that holds no classes; no cell of it is shown, it may identify a patient."""
    if kind := _no_classes(columns, label, patient):
        raise UserError(
            f"class labels were wanted, found {kind} in the column '{shown(label)}' of {path}; "
            "name the column of the classes by --label-column"
        )


def _no_classes(columns: Table, label: str, patient: str | None) -> str:
    known, images = _known(columns[label]), columns[IMAGE]
    same = sum(
        value in (image, Path(image).name, Path(image).stem)
        for value, image in zip(columns[label], images, strict=True)
    )
    different = len(set(known))
    if label == IMAGE or (different > 2 and same > len(known) // 2):
        return "file names"
    if label == patient or (different > 2 and named_as_ids(label) and any(map(_digits, known))):
        return "patient ids"
    if different > 2 and sum(map(_names_image, known)) > len(known) // 2:
        return "names of images (masks are for segmentation, which is not served yet)"
    if 2 < different == len(known):
        numbers = all(map(NUMBER.fullmatch, known))
        return (
            "a different number in every row (regression is not served yet)"
            if numbers
            else ("a different value in every row")
        )
    return ""


def _names_image(value: str) -> bool:
    return Path(value).suffix.lower() in SUFFIXES or is_volume(Path(value))


def _digits(value: str) -> bool:
    return any(character.isdigit() for character in value)


def named_as_ids(name: str) -> bool:
    """Whether a column is called as those of patient ids are: MRN, PatientName, subject_id, case."""
    return IDENTIFIER_NAME.fullmatch(_squashed(name)) is not None


def _overlooked(columns: Table, label: str | None) -> tuple[str, ...]:
    """A note on columns that look like patient ids where none is used: images of one patient could cross parts."""
    others = [name for name in columns if name not in (IMAGE, SPLIT, SLICE, label)]
    found = [name for name in others if named_as_ids(name) and len(set(_known(columns[name]))) > 2]
    found = found or [name for name in others if _look_like_ids(columns[name])]
    if not found:
        return ()
    subject = f"column {shown(found[0])} looks" if len(found) == 1 else f"columns {named(found[:2])} look"
    return (
        f"the {subject} like patient ids and none is used: give --patient-column {shown(found[0])}, or none to confirm "
        "that every image is of another patient",
    )


def _look_like_ids(values: Values) -> bool:
    """Codes with digits that come back in other rows; short numbers, fractions and dates do not count."""
    known = _known(values)
    different = set(known)
    return (
        FEWEST_PATIENTS <= len(different) <= MOST_ALONE * len(known)
        and len(known) < MOST_IMAGES_OF_A_PATIENT * len(different)
        and all(_like_an_id(value) for value in different)
    )


def _like_an_id(value: str) -> bool:
    if DATE.fullmatch(value) or (NUMBER.fullmatch(value) and not LARGE_NUMBER.fullmatch(value)):
        return False
    return _digits(value)
