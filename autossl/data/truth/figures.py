"""How a column of texts becomes numbers: what is a number, what is missing, what is neither."""

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from autossl.data.truth.base import Cells
from autossl.data.truth.naming import MISSING, without_words
from autossl.data.truth.spelling import Column
from autossl.errors import UserError
from autossl.errors.printable import shown

USUAL = tuple(word for word in MISSING if word != "-1")  # a Hounsfield unit and a temperature may be -1
FIGURE = re.compile(r"[+-]?(\d+([.,]\d*)?|[.,]\d+)([eE][+-]?\d+)?", re.ASCII)
INFINITE = re.compile(r"[+-]?inf(inity)?", re.IGNORECASE)
GROUPED = re.compile(r"[+-]?\d{1,3}(,\d{3})+", re.ASCII)  # 1,234: a thousand, or a little more than one?
LARGEST = 1e100  # beyond which squares have no end

Floats = NDArray[np.float64]


def numbers(cells: Cells) -> tuple[Floats, tuple[str, ...]]:
    """Columns (n, t) of numbers, NaN where one is missing, and notes; UserError for text, infinity and the like."""
    kept, notes = without_words(cells.columns, cells.missing, USUAL)
    found = [_numbers(column, _where(name, cells)) for name, column in kept.items()]
    values = np.stack([column for column, _ in found], axis=1)
    said = [note for _, more in found for note in more]
    return values, (*notes, *said, *_minus_ones(values, tuple(kept)))


def _where(name: str, cells: Cells) -> str:
    return f"the column '{shown(name)}' of {cells.place}"


def _numbers(column: Column, where: str) -> tuple[Floats, tuple[str, ...]]:
    known = [(row, value) for row, value in enumerate(column) if value]
    commas = _decimal_commas([value for _, value in known], where)
    strange = [(row, value) for row, value in known if not FIGURE.fullmatch(value)]
    if len(strange) > len(known) / 2 and not all(INFINITE.fullmatch(value) for _, value in strange):
        raise UserError(  # no cell is shown: it may be a name
            f"numbers were wanted, found text in {len(strange):,} of {len(known):,} cells of {where}; "
            "name a column of numbers by --label-column, or leave --task at classification"
        )
    for row, value in strange:
        if INFINITE.fullmatch(value):
            raise _infinite(value, row, where)
        raise UserError(
            f"numbers were wanted, found '{shown(value)}' in entry {row} of {where}; mend it, empty it, or say by "
            "--missing that it means none"
        )
    found = np.full(len(column), np.nan)
    for row, value in known:
        found[row] = float(value.replace(",", ".")) + 0.0  # no -0
        if not abs(found[row]) <= LARGEST:
            raise _infinite(value, row, where)
    said = f"commas in {where} are read as decimal points"
    return found, (said,) if commas else ()


def _infinite(value: str, row: int, where: str) -> UserError:
    return UserError(
        f"finite numbers up to {LARGEST:.0e} were wanted, found {shown(value)} in entry {row} of {where}; mend it or "
        "empty it"
    )


def _decimal_commas(known: Column, where: str) -> bool:
    """Whether commas are decimal points; UserError where they may be marks of thousands."""
    commas = [value for value in known if "," in value and FIGURE.fullmatch(value)]
    mixed = any("." in value for value in known if FIGURE.fullmatch(value))
    if commas and (mixed or all(GROUPED.fullmatch(value) for value in commas)):
        raise UserError(
            f"numbers with one decimal mark were wanted, found '{shown(commas[0])}', which may mean thousands, in "
            f"{where}; write 1234 or 1.234"
        )
    return bool(commas)


def _minus_ones(values: Floats, names: Sequence[str]) -> tuple[str, ...]:
    """A note where -1 is the only value below 0: it may mean that there is none."""
    notes = []
    for name, column in zip(names, values.T, strict=True):
        below = column[column < 0]
        if len(below) and (below == -1).all() and (column > 0).any():
            notes.append(
                f"-1 in column {shown(name)} is a number ({len(below):,} images): if it means none, give --missing=-1"
            )
    return tuple(notes)
