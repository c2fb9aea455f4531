"""CSVs of boxes: a row for each box, with the image that it is in."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from autossl.data.parts import NO_SPLIT
from autossl.data.readers import disk
from autossl.data.readers.annotated import Annotated, found_of, numbers
from autossl.data.readers.columns import Wanted, pick_columns
from autossl.data.readers.disk import is_file
from autossl.data.readers.files import image_files
from autossl.data.readers.found import NO_NUMBER, Found, encode_split
from autossl.data.readers.tables import IMAGE, SPLIT, Table, head, in_folder, named, read_table
from autossl.data.truth import NOTHING, Objects
from autossl.errors import UserError
from autossl.errors.printable import shown

CORNERS = (  # columns of x0, y0, x1, y1
    ("x0", "y0", "x1", "y1"),
    ("xmin", "ymin", "xmax", "ymax"),
    ("x_min", "y_min", "x_max", "y_max"),
    ("x1", "y1", "x2", "y2"),
    ("left", "top", "right", "bottom"),
)
SIDES = (("x", "y", "width", "height"), ("x", "y", "w", "h"))  # and of x0, y0, width, height
LABELS = ("label", "class", "name", "category", "class_name", "label_name", "finding")
IMAGES = frozenset({"filename", "file", "file_name", "path", "image_path", "image_name", "image_id", "img"})
ONE = "object"  # the class where no column names any


def read_folder(root: Path, wanted: Wanted) -> Found | None:
    """The one CSV of boxes in a folder; None without any."""
    tables = [path for path in in_folder(root) if _corners(head(path))]
    if len(tables) > 1:
        raise UserError(
            f"one CSV of boxes was wanted, found {', '.join(path.name for path in tables)} in {root}; give the one "
            "that is meant"
        )
    return read_file(tables[0], wanted) if tables else None


def read_file(path: Path, wanted: Wanted) -> Found | None:
    """A CSV with the columns image, x0, y0, x1, y1 (or as they are usually called) and label; None for any other.

    An image whose row has empty cells shows no object.
    """
    corners = _corners(names := head(path))
    if corners is None:
        if wanted.needed and wanted.label is None and not set(wanted.form.usual) & set(names):
            raise UserError(
                "a CSV with the columns image, x0, y0, x1, y1 and label was wanted, found the columns "
                f"{named(names)} in {path}; name them so, or give a column of masks"
            )
        return None
    columns = read_table(path, IMAGES)
    lower = {name.lower(): name for name in columns}
    kind = next((lower[name] for name in LABELS if name in lower), None)
    if wanted.label is not None:
        kind = pick_columns(columns, wanted, path).labels[0]
    patient = pick_columns(columns, wanted._replace(label=None, read=False), path).patient
    rows: dict[str, list[int]] = {}
    for row, image in enumerate(columns[IMAGE]):
        rows.setdefault(image.removeprefix("./"), []).append(row)
    disk.refuse_escapes(path.parent, columns[IMAGE], path)
    files = {name: _file(path.parent, name) for name in rows}
    there = [name for name, file in files.items() if is_file(file)]
    known, damaged = dict[Path, Objects](), dict[str, str]()
    for name in there:
        try:
            known[files[name]] = _objects(columns, rows[name], tuple(lower[each] for each in corners), kind)
        except ValueError as fault:
            damaged[name] = str(fault)
    first = [rows[name][0] for name in there]
    split = encode_split([columns[SPLIT][row] for row in first], str(path)).tolist() if SPLIT in columns else None
    patients = None if patient is None else _same(columns, patient, rows, there, path)
    told = Annotated(
        path.parent, [files[name] for name in there], known, split or [NO_SPLIT] * len(there),
        [name for name in rows if name not in there], damaged, patients,
    )  # fmt: skip
    return found_of(told, "a CSV of boxes")


def _corners(names: list[str]) -> tuple[str, ...] | None:
    """Columns of the corners, or of a corner and the sides, as they are called here, in lower case."""
    lower = {name.lower() for name in names}
    return next((each for each in (*CORNERS, *SIDES) if lower.issuperset(each)), None)


def _file(root: Path, name: str) -> Path:
    """The file of this name; without a suffix or a folder, the image below that is called so."""
    path = root / name
    if is_file(path):
        return path
    found = [each for each in image_files(root) if name in (each.name, each.stem)]
    return found[0] if len(found) == 1 else path


def _objects(columns: Table, rows: list[int], corners: tuple[str, ...], kind: str | None) -> Objects:
    """The boxes of one image; ValueError where a cell is no number."""
    cells = [[columns[name][row] for name in corners] for row in rows]
    some = [at for at, each in enumerate(cells) if any(cell.lower() not in NO_NUMBER for cell in each)]
    if not some:
        return NOTHING
    boxes = np.array([numbers(cells[at]) for at in some])
    if tuple(name.lower() for name in corners) in SIDES:
        boxes[:, 2:] += boxes[:, :2]
    kinds = [ONE if kind is None else columns[kind][rows[at]] for at in some]
    if not all(kinds):
        raise ValueError("a box has no class")
    return Objects(boxes, tuple(kinds))


def _same(columns: Table, patient: str, rows: Mapping[str, list[int]], images: list[str], path: Path) -> list[str]:
    """The patient of each image; UserError where its rows name several."""
    for name in images:
        if len({columns[patient][row] for row in rows[name]}) > 1:
            raise UserError(
                f"one patient for each image was wanted, found several for '{shown(name)}' in {path}; mend the column "
                f"{named([patient])}"
            )
    return [columns[patient][rows[name][0]] for name in images]
