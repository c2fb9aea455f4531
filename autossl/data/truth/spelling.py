"""Cells of tables in one spelling, so that two of them can be compared."""

import re
import unicodedata
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autossl.errors import UserError

WHOLE_FLOAT = re.compile(r"([+-]?\d+)\.0*", re.ASCII)  # what pandas makes of 3 where a column has a gap
POWER = re.compile(r"-?\d(\.\d+)?[eE]\+\d{1,2}", re.ASCII)  # what R makes of 100000

Column = list[str]  # one cell per image; empty ones have no label or no patient


def cells(values: NDArray[Any] | Sequence[Any], place: str) -> Column:
    """A column as text in one spelling; None and NaN become empty. UserError for bytes that are no text."""
    listed = values.tolist() if isinstance(values, np.ndarray) else values
    return [_cell(value, row, place) for row, value in enumerate(listed)]


def _cell(value: Any, row: int, place: str) -> str:
    if value is None:
        return ""
    if isinstance(value, bytes):
        try:
            value = value.decode("utf-8")
        except UnicodeDecodeError:
            raise UserError(
                f"text in UTF-8 was wanted, found other bytes in entry {row} of {place}; save the column as text"
            ) from None
    if isinstance(value, float | np.floating):
        if np.isnan(value):
            return ""
        if np.isinf(value):
            raise UserError(f"finite numbers were wanted, found {value} in entry {row} of {place}; mend it")
        return str(int(value)) if float(value).is_integer() else str(float(value))
    return canonical(str(value))


def canonical(text: str) -> str:
    """A label or an identifier in one spelling, so that two tables can be compared: 3.0 is 3, 1e+05 is 100000.

    Accents are composed (NFC) and surrounding blanks go; 007, 7, p7 and P7 stay what they are.
    """
    text = unicodedata.normalize("NFC", text).strip()
    if whole := WHOLE_FLOAT.fullmatch(text):
        return whole[1]
    if POWER.fullmatch(text) and (value := Decimal(text)) == int(value):
        return str(int(value))
    return text


def respelled(raw: Sequence[str], values: Column) -> bool:
    """Whether cells that differ as text are one in `values`."""
    return len({text.strip() for text in raw}) > len(set(values))


def look_alikes(names: Sequence[str]) -> list[list[str]]:
    """Names that differ only in case, blanks or leading zeros, in sets of two or more."""
    alike: dict[str, list[str]] = {}
    for name in dict.fromkeys(names):
        if name:
            bare = re.sub(r"\s+", "", name).casefold()
            alike.setdefault(re.sub(r"(?<!\d)0+(?=\d)", "", bare), []).append(name)
    return [same for same in alike.values() if len(same) > 1]
