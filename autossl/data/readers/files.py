"""Finds image files and their columns: folders of class folders, with or without tables, and CSV manifests."""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from autossl.data.parts import NO_SPLIT
from autossl.data.readers import disk
from autossl.data.readers.columns import Picked, Wanted, pick_columns
from autossl.data.readers.disk import is_file
from autossl.data.readers.found import SPLITS, Found, encode_split
from autossl.data.readers.images import SUFFIXES
from autossl.data.readers.tables import IMAGE, SLICE, SPLIT, Table, has_column, in_folder, read_table
from autossl.data.readers.volume_files import is_volume, stem, without_halves
from autossl.data.truth.naming import LABEL, folder_notes
from autossl.data.truth.spelling import Column, cells, respelled
from autossl.errors import UserError
from autossl.errors.printable import plural, shown

OTHER_FORMS = {".svs": "whole-slide", ".mnc": "MINC", ".mgz": "FreeSurfer"}
OBJECTS = ("annotations", "imagesets")  # what lies beside the images where there are boxes for detection
PICTURES = ("image", "img", "jpegimages")  # how folders of images for segmentation begin
MASKS = ("mask", "label", "seg", "annotation", "ground", "gt", "manual")  # and folders of their masks
CHANNEL = re.compile(r"_0000$")  # of images of nnU-Net
MOST_LOOKED_AT = 20  # files of which the head is read to tell what a folder holds


def read_folder(root: Path, wanted: Wanted) -> Found:
    """`<class>/<image>` or `<train|val|test>/<class>/<image>`, or what a manifest beside the folders says."""
    parts, tables = _official(root), tables_in(root)
    if not parts and tables:
        return _beside(root, tables, wanted)
    notes = [f"{table.name} beside the folders is not used: give it as the data to use its columns" for table in tables]
    files, labels, split, empty = [], [], [], 0
    for code, part in parts or [(NO_SPLIT, root)]:
        for folder in disk.folders(part):
            inside = image_files(folder)
            empty += not inside
            files += inside
            labels += [folder.name] * len(inside)
            split += [code] * len(inside)
    if not files:
        raise _no_class_folders(root)
    _refuse_other_tasks(root, set(labels))
    notes += [f"class folders without an image: {empty}"] if empty else []
    return Found(
        root.resolve().name,
        str(root),
        files=files,
        labels={LABEL: labels},
        split=np.array(split, dtype=np.int8),
        class_folders=True,
        root=root,
        notes=(*notes, *folder_notes(labels)),
    )


def _official(root: Path) -> list[tuple[int, Path]]:
    """The folders train, val and test where they hold class folders; UserError where they hold loose images."""
    below = disk.folders(root)
    named = [(SPLITS[folder.name.lower()], folder) for folder in below if folder.name.lower() in SPLITS]
    if len(named) < min(2, len(below)):
        return []
    loose = [folder for _, folder in named if not disk.folders(folder) and image_files(folder)]
    if loose:
        raise UserError(
            f"class folders in {loose[0]} were wanted, found images that lie there directly; "
            "make a folder per class in each of train, val and test, or give a CSV manifest"
        )
    return named


def tables_in(root: Path) -> list[Path]:
    """The CSVs in a folder that have a column image."""
    return [path for path in in_folder(root) if has_column(path, lambda name: name if name == IMAGE else "")]


def _beside(root: Path, tables: list[Path], wanted: Wanted) -> Found:
    """What the table beside the folders says; UserError where it names other images, or there are several."""
    if len(tables) > 1:
        raise UserError(
            f"class folders or one manifest were wanted, found {', '.join(path.name for path in tables)} in {root}; "
            "give the one that is meant, or move them away to use the folders"
        )
    table = tables[0]
    images = read_table(table)[IMAGE]
    if not any(is_file(root / image) for image in images) and any(image_files(folder) for folder in disk.folders(root)):
        raise UserError(
            f"class folders or a CSV manifest were wanted, found both in {root}, but no image that {table.name} lists, "
            f"the first looked for at {root / shown(images[0])}; correct its paths, or move it away to use the folders"
        )
    found = read_manifest(table, wanted)
    note = f"{table.name} says what the images are, the names of the folders beside it do not"
    return replace(found, notes=(note, *found.notes))


def _refuse_other_tasks(root: Path, classes: set[str]) -> None:
    """UserError for folders that look like classes and hold the images of other tasks."""
    names = {name.lower() for name in classes}
    masks = sorted(name for name in classes if name.lower().startswith(MASKS))
    if masks and any(name.startswith(PICTURES) for name in names) and len(names) <= 1 + len(masks):
        raise UserError(
            f"class folders were wanted, found images and masks ({', '.join(sorted(classes))}) in {root}; for "
            f"these give --task segmentation, for classes a CSV with image and label"
        )
    inside = {folder.name.lower() for place in (root, *disk.folders(root)) for folder in disk.folders(place)}
    if len(names) == 1 and inside & set(OBJECTS):
        raise UserError(
            f"class folders were wanted, found images with annotations of objects in {root}; for these give --task "
            "detection, for classes a CSV with image and label"
        )


def read_flat(root: Path, table: Path | None, wanted: Wanted) -> Found:
    """All images below a folder, without labels or with those of a CSV that names them."""
    files = image_files(root)
    if not files:
        raise _no_class_folders(root)
    found = Found(root.resolve().name, str(root), files=files, root=root)
    return found if table is None else label_files(found, root, table, wanted)


def label_files(found: Found, root: Path, table: Path, wanted: Wanted) -> Found:
    """The files below a folder with the columns of a CSV that names them."""
    files, columns = found.files or [], read_table(table)
    picked = pick_columns(columns, wanted, table)
    row_of = _rows(columns, picked, table)
    rows = [_row(file, root, row_of) for file in files]
    if max(rows) < 0:
        raise UserError(
            f"labels for the images in {root} were wanted, found {plural(len(row_of), 'row')} in {table} of which none "
            f"matches one of {plural(len(files), 'file')} (first row '{shown(columns[IMAGE][0])}', first file "
            f"{files[0].relative_to(root)}); write paths relative to the folder into the column image"
        )
    whole = {file.relative_to(root).as_posix() for file in files}
    matched = [row for row in rows if row >= 0]
    for row in matched:
        if matched.count(row) > 1 and columns[IMAGE][row].removeprefix("./") not in whole:
            raise UserError(
                f"one image for each row of {table} was wanted, found {matched.count(row)} in {root} of the name "
                f"'{shown(columns[IMAGE][row])}'; write paths relative to the folder into the column image"
            )
    return _with_columns(replace(found, absent=len(row_of) - len(set(matched))), columns, picked, rows, str(table))


def _rows(columns: Table, picked: Picked, table: Path) -> dict[str, int]:
    """The row of each name; UserError for one name with two labels or patients."""
    used = [columns[name] for name in (*picked.labels, picked.patient) if name is not None]
    row_of: dict[str, int] = {}
    for row, image in enumerate(columns[IMAGE]):
        name = image.removeprefix("./")
        first = row_of.setdefault(name, row)
        if any(column[first] != column[row] for column in used):
            raise UserError(
                f"one row for each image was wanted, found two different ones for '{shown(name)}' in {table}; "
                "remove one of them"
            )
    return row_of


def _row(file: Path, root: Path, row_of: dict[str, int]) -> int:
    names = (file.relative_to(root).as_posix(), file.name, stem(file), CHANNEL.sub("", stem(file)))
    return next((row_of[name] for name in names if name in row_of), -1)


def read_manifest(path: Path, wanted: Wanted, root: Path | None = None) -> Found:
    """A table with the columns image, label[, patient | patient_id, slice, split].

    Paths are relative to its folder, or to `root`, and lead out of neither.
    """
    columns = read_table(path)
    picked = pick_columns(columns, wanted, path)
    root = path.parent if root is None else root
    for name in (IMAGE, *(picked.labels if wanted.form.files else ())):
        disk.refuse_escapes(root, columns[name], path)
    files = [root / image for image in columns[IMAGE]]
    rows = [row for row, file in enumerate(files) if is_file(file)]
    absent = next((row for row, file in enumerate(files) if not is_file(file)), 0)
    at = f"{root / shown(columns[IMAGE][absent])}"
    if what := disk.what_is(files[absent]):
        at += f", which is {what}"
    if not rows:
        raise UserError(
            f"the images that {path} lists were wanted, found none of {len(files)}, the first looked for at {at}; "
            "write paths relative to the folder of the table"
        )
    if len(files) - len(rows) > max(1, len(files) // 20):
        raise UserError(
            f"the images that {path} lists were wanted, found {len(rows)} of {len(files)}, the first absent one at "
            f"{at}; copy them there or remove their rows"
        )
    name = path.stem if path.stem.lower() not in ("manifest", "labels", "index") else root.resolve().name
    found = Found(name, str(path), files=[files[row] for row in rows], root=root, absent=len(files) - len(rows))
    return _with_columns(found, columns, picked, rows, str(path))


def _with_columns(found: Found, columns: Table, picked: Picked, rows: Sequence[int], place: str) -> Found:
    """The images with these rows of the table; empty cells where a row is -1."""

    def raw(name: str | None) -> Column | None:
        return None if name not in columns else [columns[name][row] if row >= 0 else "" for row in rows]

    def read(name: str, said: str) -> Column:
        kept = cells(text := raw(name) or [], place)
        if respelled(text, kept):
            notes.append(f"{said} that are one number in two spellings, as 3 and 3.0 are, count as one")
        return kept

    notes = list(picked.notes)
    labels = {name: read(name, "labels") for name in picked.labels}
    patients = None if picked.patient is None else read(picked.patient, "patient ids")
    split, slices = raw(SPLIT), raw(SLICE)
    return replace(
        found,
        labels=labels or None,
        patients=patients,
        slices=None if slices is None else cells(slices, place),
        split=None if split is None else encode_split(cells(split, place), place),
        notes=(*found.notes, *dict.fromkeys(notes)),
    )


def image_files(folder: Path) -> list[Path]:
    """All image and volume files below a folder, sorted; hidden files and folders are passed over."""
    return without_halves([path for path in disk.files(folder) if is_image(path)])


def is_image(path: Path) -> bool:
    """Whether a file is an image or a volume by its name."""
    return disk.parted(path)[0].suffix.lower() in SUFFIXES or is_volume(path)


def _no_class_folders(root: Path) -> UserError:
    wanted = "a folder of class folders with images was wanted"
    others = disk.files(root)
    loose = sum(path.parent == root and is_image(path) for path in others)
    if loose:
        return UserError(
            f"{wanted}, found {plural(loose, 'image')} without class folders in {root}; "
            "make a folder per class, or give --labels, a CSV with image and label"
        )
    forms = [OTHER_FORMS[path.suffix.lower()] for path in others if path.suffix.lower() in OTHER_FORMS]
    if forms:
        remedy = "convert them to PNG or TIFF, volumes to NIfTI"
        return UserError(f"{wanted}, found {forms[0]} files in {root}, which are not read yet; {remedy}")
    found = f"{plural(len(others), 'file')} but no image" if others else "no file"
    return UserError(f"{wanted}, found {found} in {root}; give the folder that holds the class folders")
