"""Which columns of a table hold labels and patients, and which hold identifiers instead."""

import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from autossl.data.readers import disk
from autossl.data.readers.found import NO_NUMBER
from autossl.data.readers.images import SUFFIXES
from autossl.data.readers.tables import IMAGE, SLICE, SPLIT, Table, named
from autossl.data.readers.volume_files import is_volume
from autossl.data.truth import Classes, Truth
from autossl.data.truth.naming import NUMBER, yes_or_no
from autossl.data.truth.spelling import Column
from autossl.errors import UserError
from autossl.errors.printable import shown

NO_PATIENTS = "none"  # as --patient-column: a user's word that every image is of another patient
FEWEST_PATIENTS, MOST_ALONE = 5, 0.9  # different values that may be identifiers; the largest share of the rows
MOST_IMAGES_OF_A_PATIENT = 20  # on average; with more, codes are classes rather
IDENTIFIER_NAME = re.compile(
    r"(mrn|empi|pat|patients?|patienten?|pid|subj|subjects?|cases?|persons?|participants?|proband(en)?|donors?|"
    r"individuals?|fall)(ids?|no|nr|num|nummer|numbers?|keys?|codes?|uids?|identifiers?|names?|hash|pseudonyms?)?"
)
DATE = re.compile(r"\d{1,4}[-./]\d{1,2}[-./]\d{1,4}.*", re.ASCII)
LARGE_NUMBER = re.compile(r"\d{5,}", re.ASCII)

Names = str | Sequence[str]  # "a,b" or a list


class Wanted(NamedTuple):
    """What a caller asks of a table."""

    label: Names | None = None  # --label-column
    patient: str | None = None  # --patient-column
    needed: bool = True  # no data without labels
    read: bool = True  # False: labels are not looked at
    form: type[Truth] = Classes  # of the labels
    usual: tuple[str, ...] = ()  # columns of labels where none is named and all of these are there
    structures: Mapping[str, int] = MappingProxyType({})  # of a study, and what they are in its masks

    @property
    def masked(self) -> bool:
        """Whether masks are wanted that lie beside images."""
        return self.read and self.form.beside == "masks" and not self.form.boxed


class Picked(NamedTuple):
    """The columns of a table that are used, and what is to be said of the others."""

    labels: tuple[str, ...]
    patient: str | None
    notes: tuple[str, ...]


def chosen(wanted: Names, there: Collection[str], place: str) -> tuple[str, ...]:
    """The columns that --label-column names, "a,b" or a list; a column that is called "a,b" itself comes first."""
    listed = [wanted] if isinstance(wanted, str) else wanted
    if not isinstance(listed, list | tuple) or not all(isinstance(name, str) for name in listed) or not listed:
        raise UserError(
            f"names of columns were wanted, found {type(wanted).__name__} as --label-column; give for example age,size"
        )
    if isinstance(wanted, str) and wanted not in there and "," in wanted:
        listed = [name.strip() for name in wanted.split(",") if name.strip()]
    for name in listed:
        if name not in there:
            raise UserError(
                f"the column '{shown(name)}' of --label-column was wanted, found the columns {named(there)} in "
                f"{place}; name one of them"
            )
    return tuple(dict.fromkeys(listed))


def pick_columns(columns: Table, wanted: Wanted, path: Path) -> Picked:
    """Which columns hold the labels and the patients; UserError where there is a choice or none."""
    patient = _patient_column(columns, wanted, path)
    asked = () if wanted.label is None else chosen(wanted.label, columns, str(path))
    if patient is not None and patient not in columns:
        raise UserError(
            f"the column '{shown(patient)}' of --patient-column was wanted, found the columns {named(columns)} in "
            f"{path}; name one of them"
        )
    labels = _labels(columns, asked, wanted, patient, path) if wanted.read else ()
    for label in labels:
        _refuse_identifiers(columns, label, patient, wanted.form, path)
    silent = patient is not None or wanted.patient == NO_PATIENTS
    return Picked(labels, patient, () if silent else _overlooked(columns, labels))


def _labels(columns: Table, asked: tuple[str, ...], wanted: Wanted, patient: str | None, path: Path) -> tuple[str, ...]:
    """The columns that were asked for, the usual ones, or the one that is called as labels of this form are."""
    if asked:
        return asked
    if wanted.usual and all(name in columns for name in wanted.usual):
        return wanted.usual
    if there := [name for name in wanted.form.usual if name in columns]:
        return (there[0],)
    if wanted.needed:
        raise _no_label_column(columns, patient, wanted.form, path)
    return ()


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


def _no_label_column(columns: Table, patient: str | None, form: type[Truth], path: Path) -> UserError:
    """What to train for is not guessed: the only column with classes in it may be the sex of the patients."""
    others = {name: _known(columns[name]) for name in columns if name not in (IMAGE, SPLIT, SLICE, patient)}
    candidates = [name for name, known in others.items() if form.may_be(known)]
    if form is Classes and len(candidates) > 1 and all(yes_or_no(others[name]) for name in candidates):
        return UserError(
            f"one column of classes was wanted, found several findings, each with yes or no, ({named(candidates)}) in "
            f"{path}; several labels per image are --task multilabel, or choose one by --label-column"
        )
    found = f"none, but candidates ({named(candidates)})," if candidates else f"only {named(columns)}"
    return UserError(f"a column {form.usual[0]} was wanted, found {found} in {path}; choose by --label-column")


def _known(values: Column) -> Column:
    return [value for value in values if value.lower() not in NO_NUMBER]


def _refuse_identifiers(columns: Table, label: str, patient: str | None, form: type[Truth], path: Path) -> None:
    """UserError for a column that holds no labels; no cell of it is shown, it may identify a patient."""
    if kind := _no_labels(columns, label, patient, form):
        raise UserError(
            f"{form.wanted} were wanted, found {kind} in the column '{shown(label)}' of {path}; "
            f"name a column of {form.wanted} by --label-column"
        )


def _no_labels(columns: Table, label: str, patient: str | None, form: type[Truth]) -> str:
    known, images = _known(columns[label]), columns[IMAGE]
    if form.files:
        named = sum(map(_names_image, known))
        return "" if label != IMAGE and named > len(known) // 2 else "no names of images"
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
        return "names of images (masks are for --task segmentation)"
    if 2 < different == len(known):
        numbers = sum(NUMBER.fullmatch(value) is not None for value in known)
        if not form.numbers:
            every = numbers == len(known)
            return "a different " + ("number in every row (--task regression)" if every else "value in every row")
        if numbers < len(known) / 2:
            return "a different text in every row"
    return ""


def _names_image(value: str) -> bool:
    path = disk.parted(value)[0]
    return path.suffix.lower() in SUFFIXES or is_volume(path)


def _digits(value: str) -> bool:
    return any(character.isdigit() for character in value)


def named_as_ids(name: str) -> bool:
    """Whether a column is called as those of patient ids are: MRN, PatientName, subject_id, case."""
    return IDENTIFIER_NAME.fullmatch(_squashed(name)) is not None


def _overlooked(columns: Table, labels: tuple[str, ...]) -> tuple[str, ...]:
    """A note on columns that look like patient ids where none is used: images of one patient could cross parts."""
    others = [name for name in columns if name not in (IMAGE, SPLIT, SLICE, *labels)]
    found = [name for name in others if named_as_ids(name) and len(set(_known(columns[name]))) > 2]
    found = found or [name for name in others if _look_like_ids(columns[name])]
    if not found:
        return ()
    subject = f"column {shown(found[0])} looks" if len(found) == 1 else f"columns {named(found[:2])} look"
    return (
        f"the {subject} like patient ids and none is used: give --patient-column {shown(found[0])}, or none to confirm "
        "that every image is of another patient",
    )


def _look_like_ids(values: Column) -> bool:
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
