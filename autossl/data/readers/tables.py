"""Tables, CSV and others: their cells, by column."""

import csv
import io
from collections.abc import Callable, Collection, Iterable
from pathlib import Path

from autossl.data.readers import disk, sheets
from autossl.data.readers.disk import open_file, refused
from autossl.data.truth.naming import LABEL
from autossl.data.truth.spelling import Column
from autossl.errors import UserError
from autossl.errors.printable import shown

SUFFIXES = (".csv", ".tsv", ".txt", *sheets.FORMS)
BESIDE = (".csv", ".tsv")  # of tables that are looked for in a folder
IMAGE, SPLIT, SLICE = "image", "split", "slice"
PATIENT_COLUMNS = ("patient", "patient_id")

Table = dict[str, Column]  # column name -> cells


def in_folder(root: Path) -> list[Path]:
    """The tables in a folder, in order; others than CSV and TSV are used where they are given by name."""
    there = [root / name for name in disk.names(root) if name.lower().endswith(BESIDE)]
    return [path for path in there if disk.is_file(path)]


def head(path: Path) -> list[str]:
    """The names of the columns of a CSV."""
    lines = _lines(path)
    return [name.strip() for name in lines[0][1]] if lines else []


def read_table(path: Path, usual: Collection[str] = (), key: Callable[[str], str] | None = None) -> Table:
    """The columns of a CSV (comma, semicolon or tab) as text; it must have a row and a column `image`.

    Where it has none, one that is called by a `usual` word is called so; or, with a `key`, one that it says something
    of will do.
    """
    lines = _lines(path)
    names = [name.strip() for name in lines[0][1]] if lines else []
    if IMAGE not in names and (other := [name for name in names if name.lower() in usual]):
        names[names.index(other[0])] = IMAGE
    if twice := next((name for name in names if name and names.count(name) > 1), ""):
        raise UserError(
            f"columns of different names were wanted, found {names.count(twice)} columns {shown(twice)} in {path}; "
            "rename one"
        )
    if not any(map(key, names)) if key else IMAGE not in names:
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


def has_column(path: Path, key: Callable[[str], str]) -> bool:
    """Whether the first line of a CSV names a column that `key` says something of."""
    if sheets.is_sheet(path):
        return any(map(key, (name.strip() for row in sheets.rows(path, most=1) for name in row)))
    with open_file(path, "a CSV") as file:
        head = file.readline(1 << 16).decode("utf-8-sig", "replace")
    return any(key(name.strip(' "\r\n')) for name in head.replace(";", ",").replace("\t", ",").split(","))


def named(columns: Iterable[str]) -> str:
    """Columns as a message lists them."""
    return ", ".join(map(shown, columns))


def _lines(path: Path) -> list[tuple[int, list[str]]]:
    """The rows of a table, each with the number of the line on which it begins."""
    if sheets.is_sheet(path):
        return list(enumerate(sheets.rows(path), 1))
    try:
        with open_file(path, "a CSV") as file:
            text = file.read().decode("utf-8-sig")
    except UnicodeDecodeError:
        raise UserError(f"a CSV in UTF-8 was wanted, found another encoding in {path}; save it as UTF-8") from None
    except OSError as fault:
        raise refused(path, fault) from None
    mark = "\t" if path.suffix.lower() == ".tsv" else max(",;\t", key=text.partition("\n")[0].count)
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
