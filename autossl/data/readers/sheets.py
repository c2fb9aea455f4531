"""Tables that are no text, Parquet and Excel: their rows as the text that a CSV of them would hold."""

import datetime
import importlib
import importlib.util
import zipfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO, Any

from autossl.data.readers.disk import open_file
from autossl.errors import UserError

REMEDY = "install autossl-imaging[tables], or save the table as CSV"
MOST_BYTES = 1 << 28  # that a table unpacks to
Rows = Iterator[list[Any]]


def rows(path: Path, most: int | None = None) -> list[list[str]]:
    """The names of the columns and the rows below them, up to `most` rows; UserError where they cannot be read."""
    word, library, read = FORMS[path.suffix.lower()]
    if importlib.util.find_spec(library) is None:
        raise UserError(f"the package {library} was wanted to read {word}, found none for {path}; {REMEDY}")
    with open_file(path, word) as file:
        try:
            found = [[_text(value) for value in row] for row in _first(read(file), most)]
        except UserError:
            raise
        except MemoryError:
            raise UserError(f"{word} was wanted, found one larger than the memory at {path}; choose columns") from None
        except Exception as fault:  # as for images: what damage makes a reader raise knows no bounds
            raise UserError(
                f"{word} was wanted, found one that is damaged or of another form at {path} ({type(fault).__name__}); "
                "save it again, or as CSV"
            ) from None
    width = max((at + 1 for row in found for at, cell in enumerate(row) if cell), default=0)
    return [(row + [""] * width)[:width] for row in found]


def is_sheet(path: Path) -> bool:
    """Whether a file is such a table by its name."""
    return path.suffix.lower() in FORMS


def _first(found: Iterable[list[Any]], most: int | None) -> Iterator[list[Any]]:
    for at, row in enumerate(found):
        if most is not None and at >= most:
            return
        yield row


def _excel(file: IO[bytes]) -> Rows:
    """The first sheet, values of formulas as they were computed when it was saved."""
    with zipfile.ZipFile(file) as archive:
        members = archive.infolist()
        if sum(member.file_size for member in members) > MOST_BYTES:
            raise ValueError("it unpacks to more than a table holds")
        if any(b"<!DOCTYPE" in archive.read(member) for member in members if member.filename.endswith(".xml")):
            raise ValueError("it declares a type of document")
    file.seek(0)
    book = importlib.import_module("openpyxl").load_workbook(file, read_only=True, data_only=True, keep_links=False)
    sheet = book.worksheets[0]
    sheet.reset_dimensions()  # what the file says of its size need not be true
    yield from (list(row) for row in sheet.iter_rows(values_only=True))


def _parquet(file: IO[bytes]) -> Rows:
    """Columns of single values; those of lists, records and bytes are passed over."""
    arrow = importlib.import_module("pyarrow")
    source = importlib.import_module("pyarrow.parquet").ParquetFile(file)
    groups = range(source.metadata.num_row_groups)
    if sum(source.metadata.row_group(at).total_byte_size for at in groups) > MOST_BYTES:
        raise ValueError("it unpacks to more than a table holds")
    single = [
        column.name
        for column in source.schema_arrow
        if not arrow.types.is_nested(column.type) and not arrow.types.is_binary(column.type)
    ]
    yield list(single)
    for at in groups:
        group = source.read_row_group(at, columns=single, use_threads=False)
        yield from (list(row) for row in zip(*(column.to_pylist() for column in group.columns), strict=True))


def _text(value: Any) -> str:
    """A cell as a CSV would hold it: whole numbers without a point, days without a time."""
    if value is None:
        return ""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, datetime.datetime) and value.time() == datetime.time():
        return value.date().isoformat()
    return value.isoformat() if isinstance(value, datetime.date | datetime.time) else str(value)


FORMS: dict[str, tuple[str, str, Callable[[IO[bytes]], Rows]]] = {
    ".xlsx": ("an Excel table", "openpyxl", _excel),
    ".parquet": ("a Parquet table", "pyarrow", _parquet),
}
