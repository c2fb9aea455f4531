"""Finds image files and their columns: folders of class folders and CSV manifests."""

import csv
import io
import os
from pathlib import Path

import numpy as np

from autossl.data.dataset import NO_SPLIT
from autossl.data.found import MISSING, SPLITS, Found, Values, encode_split
from autossl.data.images import SUFFIXES
from autossl.data.nifti import is_volume
from autossl.errors import UserError

PATIENT_COLUMNS = ("patient", "patient_id")
SLICE_COLUMN = "slice"
MOST_CANDIDATE_CLASSES = 50  # a column with more values is not proposed as label column
OTHER_FORMS = {".dcm": "DICOM", ".svs": "whole-slide", ".mha": "MetaImage", ".nrrd": "NRRD"}

Table = dict[str, Values]  # column name -> cells


def read_folder(root: Path) -> Found:
    """`<class>/<image>` or `<train|val|test>/<class>/<image>`."""
    parts = _official(root)
    if not parts:
        _refuse_manifest(root)
        parts = [(NO_SPLIT, root)]
    files, labels, split, empty = [], [], [], 0
    for code, part in parts:
        for folder in _folders(part):
            inside = image_files(folder)
            empty += not inside
            files += inside
            labels += [folder.name] * len(inside)
            split += [code] * len(inside)
    if not files:
        raise _no_class_folders(root)
    return Found(
        root.resolve().name,
        str(root),
        files=files,
        labels=labels,
        split=np.array(split, dtype=np.int8),
        root=root,
        notes=(f"class folders without an image: {empty}",) if empty else (),
    )


def _official(root: Path) -> list[tuple[int, Path]]:
    """The folders train, val and test where they hold class folders; UserError where they hold loose images."""
    below = _folders(root)
    named = [(SPLITS[folder.name.lower()], folder) for folder in below if folder.name.lower() in SPLITS]
    if len(named) < min(2, len(below)):
        return []
    loose = [folder for _, folder in named if not _folders(folder) and image_files(folder)]
    if loose:
        raise UserError(
            f"class folders in {loose[0]} were wanted, found images that lie there directly; "
            "make a folder per class in each of train, val and test, or give a CSV manifest"
        )
    return named


def read_flat(root: Path, table: Path | None, label_column: str | None, patient_column: str | None) -> Found:
    """All images below a folder, without labels or with those of a CSV that names them."""
    files = image_files(root)
    if not files:
        raise _no_class_folders(root)
    found = Found(root.resolve().name, str(root), files=files, root=root)
    return found if table is None else _label_files(found, files, root, table, label_column, patient_column)


def _label_files(
    found: Found, files: list[Path], root: Path, table: Path, label_column: str | None, patient_column: str | None
) -> Found:
    columns = read_table(table)
    label, patient = pick_columns(columns, label_column, patient_column, table)
    row_of = {image.removeprefix("./"): row for row, image in enumerate(columns["image"])}
    rows = []
    for file in files:
        names = (file.relative_to(root).as_posix(), file.name, file.stem.removesuffix(".nii"))
        rows.append(next((row_of[name] for name in names if name in row_of), -1))
    if max(rows) < 0:
        raise UserError(
            f"labels for the images in {root} were wanted, found {len(row_of)} rows in {table} of which none matches "
            f"one of {len(files)} files (first row {columns['image'][0]!r}, first file "
            f"{files[0].relative_to(root)}); write paths relative to the folder into the column image"
        )
    matched = len({row for row in rows if row >= 0})

    def column(name: str | None) -> Values | None:
        return None if name is None else [columns[name][row] if row >= 0 else "" for row in rows]

    split = column("split" if "split" in columns else None)
    return Found(
        found.name,
        found.place,
        files=files,
        labels=column(label),
        patients=column(patient),
        slices=column(SLICE_COLUMN if SLICE_COLUMN in columns else None),
        split=None if split is None else encode_split(split, str(table)),
        root=root,
        absent=len(row_of) - matched,
    )


def read_manifest(path: Path, label_column: str | None, patient_column: str | None, labelled: bool) -> Found:
    """A CSV with the columns image, label[, patient | patient_id, slice, split]; paths are relative to its folder."""
    columns = read_table(path)
    label, patient = pick_columns(columns, label_column, patient_column, path, labelled)
    root = path.parent
    files = [root / image for image in columns["image"]]
    there = [file.is_file() for file in files]
    if not any(there):
        raise UserError(
            f"the images that {path} lists were wanted, found none of {len(files)}, the first looked for at "
            f"{files[0]}; write paths relative to the folder of the CSV"
        )
    if (absent := there.count(False)) > max(1, len(files) // 20):
        raise UserError(
            f"the images that {path} lists were wanted, found {len(files) - absent} of {len(files)}, the first absent "
            f"one at {files[there.index(False)]}; copy them there or remove their rows"
        )

    def column(name: str | None) -> Values | None:
        return None if name is None else [cell for cell, here in zip(columns[name], there, strict=True) if here]

    split = column("split" if "split" in columns else None)
    return Found(
        path.stem if path.stem.lower() not in ("manifest", "labels", "index") else root.resolve().name,
        str(path),
        files=[file for file, here in zip(files, there, strict=True) if here],
        labels=column(label),
        patients=column(patient),
        slices=column(SLICE_COLUMN if SLICE_COLUMN in columns else None),
        split=None if split is None else encode_split(split, str(path)),
        root=root,
        absent=absent,
    )


def read_table(path: Path) -> Table:
    """The columns of a CSV (comma, semicolon or tab) as text; it must have a column `image` and a row."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise UserError(f"a CSV in UTF-8 was wanted, found another encoding in {path}; save it as UTF-8") from None
    head = text.partition("\n")[0]
    try:
        rows = list(csv.reader(io.StringIO(text, newline=""), delimiter=max(",;\t", key=head.count)))
    except csv.Error as fault:
        raise UserError(f"a CSV was wanted, found text that is none at {path} ({fault}); save it again") from None
    names = [name.strip() for name in rows[0]] if rows else []
    if twice := next((name for name in names if name and names.count(name) > 1), ""):
        raise UserError(
            f"columns of different names were wanted, found {names.count(twice)} columns {twice} in {path}; rename one"
        )
    if "image" not in names:
        raise UserError(
            f"a CSV with a column image was wanted, found the columns {', '.join(names) or 'none'} in {path}; "
            "rename the column that holds the image paths to image"
        )
    body = [row for row in rows[1:] if any(cell.strip() for cell in row)]
    if not body:
        raise UserError(f"a CSV with one row per image was wanted, found a header only in {path}; add the rows")
    wrong = next((at for at, row in enumerate(body) if len(row) != len(names)), None)
    if wrong is not None:
        raise UserError(
            f"{len(names)} cells in every row were wanted, found {len(body[wrong])} in row {wrong + 2} of {path}; "
            "quote cells that hold the separator"
        )
    return {name: [row[at].strip() for row in body] for at, name in enumerate(names)}


def pick_columns(
    columns: Table, label: str | None, patient: str | None, path: Path, labelled: bool = True
) -> tuple[str | None, str | None]:
    """The names of the label and the patient column; UserError where there is a choice or none."""
    for option, name in (("--label-column", label), ("--patient-column", patient)):
        if name is not None and name not in columns:
            raise UserError(
                f"the column {name!r} of {option} was wanted, found the columns {', '.join(columns)} in {path}; "
                "name one of them"
            )
    patient = patient or _patient_column(columns, path)
    if label is None:
        label = "label" if "label" in columns else None
        if label is None and labelled:
            raise _no_label_column(columns, patient, path)
    if label is not None:
        _refuse_identifier(columns, label, path)
    return label, patient


def _patient_column(columns: Table, path: Path) -> str | None:
    there = [name for name in PATIENT_COLUMNS if name in columns]
    if len(there) > 1:
        raise UserError(
            f"one column of patients was wanted, found {' and '.join(there)} in {path}; choose by --patient-column"
        )
    return there[0] if there else None


def _no_label_column(columns: Table, patient: str | None, path: Path) -> UserError:
    """What to train for is not guessed: the only column with classes in it may be the sex of the patients."""
    candidates = [
        name
        for name in columns
        if name not in ("image", "split", SLICE_COLUMN, patient) and _categorical(columns[name])
    ]
    found = f"none, but candidates ({', '.join(candidates)})," if candidates else f"only {', '.join(columns)}"
    return UserError(f"a column label was wanted, found {found} in {path}; choose by --label-column")


def _categorical(values: Values) -> bool:
    known = [value for value in values if value.lower() not in MISSING]
    different = len(set(known))
    return 2 <= different <= min(MOST_CANDIDATE_CLASSES, len(known) // 2)


def _refuse_identifier(columns: Table, label: str, path: Path) -> None:
    known = [value for value in columns[label] if value.lower() not in MISSING]
    pairs = zip(columns[label], columns["image"], strict=True)
    named = sum(value in (image, Path(image).name, Path(image).stem) for value, image in pairs)
    same = label == "image" or (len(known) > 2 and named > len(known) // 2)
    if same or (len(known) > 2 and len(set(known)) == len(known)):
        kind = "file names" if same else "a different value in every row"
        raise UserError(
            f"class labels were wanted, found {kind} in the column {label!r} of {path}; "
            "name the column of the classes by --label-column"
        )


def image_files(folder: Path) -> list[Path]:
    """All image and volume files below a folder, sorted; hidden files and folders are passed over."""
    found = []
    for here, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith((".", "__MACOSX")))
        found += [Path(here, name) for name in sorted(names) if not name.startswith(".") and _is_image(name)]
    return found


def _is_image(name: str) -> bool:
    return _suffix(name) in SUFFIXES or is_volume(Path(name))


def _suffix(name: str) -> str:
    return os.path.splitext(name)[1].lower()


def _folders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith((".", "__MACOSX")))


def _refuse_manifest(root: Path) -> None:
    """Class folders beside a table that lists images: which of them is meant cannot be guessed."""
    for table in sorted(root.glob("*.csv")):
        with open(table, encoding="utf-8-sig", errors="replace") as file:
            if "image" in [name.strip() for name in file.readline().replace(";", ",").split(",")]:
                raise UserError(
                    f"class folders or a CSV manifest were wanted, found both in {root}; "
                    f"give {table} to use the table, or move it away to use the folders"
                )


def _no_class_folders(root: Path) -> UserError:
    wanted = "a folder of class folders with images was wanted"
    loose = sum(_is_image(path.name) for path in root.iterdir())
    others = [_suffix(name) for _, _, names in os.walk(root) for name in names]
    form = next((OTHER_FORMS[suffix] for suffix in others if suffix in OTHER_FORMS), None)
    if loose:
        return UserError(
            f"{wanted}, found {loose} images without class folders in {root}; "
            "make a folder per class, or give their labels by labels= (a CSV with image and label)"
        )
    if form:
        remedy = "convert them to PNG or TIFF, volumes to NIfTI"
        return UserError(f"{wanted}, found {form} files in {root}, which are not read yet; {remedy}")
    found = f"{len(others)} files but no image" if others else "no file"
    return UserError(f"{wanted}, found {found} in {root}; give the folder that holds the class folders")
