"""How columns of texts become findings: yes and no in a column each, or all of an image in one cell."""

from collections import Counter

import numpy as np
from numpy.typing import NDArray

from autossl.data.truth.base import Cells
from autossl.data.truth.naming import MISSING, without_words, yes_or_no
from autossl.data.truth.spelling import Column
from autossl.errors import UserError
from autossl.errors.printable import shown

YES = frozenset({"1", "true", "yes"})
NO = frozenset({"0", "false", "no"})
# In a list an empty cell is unknown, so "nothing was found" needs a word. "normal" may be a finding among others.
NOTHING_FOUND = frozenset({"none", "no finding", "no findings"})
HEALTHY = frozenset({"normal", "healthy", "negative"})
MOST = 1000  # different findings

Marks = NDArray[np.int8]


def findings(cells: Cells) -> tuple[Marks, tuple[str, ...], tuple[str, ...]]:
    """Marks (n, t), 1 for yes, 0 for no, -1 for unknown, the names of the findings, and notes."""
    kept, notes = without_words(cells.columns, cells.missing, MISSING)
    if len(kept) == 1:
        (column,) = kept.values()
        known = [value for value in column if value]
        if not yes_or_no(known):
            marks, names, said = _listed(column, cells)
            return marks, names, (*notes, *said)
    marks = np.stack([_marks(column, name, cells.place) for name, column in kept.items()], axis=1)
    return marks, tuple(kept), notes


def _marks(column: Column, name: str, place: str) -> Marks:
    """One column of yes and no."""
    found = np.full(len(column), -1, dtype=np.int8)
    for row, value in enumerate(column):
        word = value.lower()
        if word in YES or word in NO:
            found[row] = word in YES
        elif word:
            raise UserError(
                f"yes or no (1 or 0, true or false) were wanted, found '{shown(value)}' in entry {row} of the column "
                f"'{shown(name)}' of {place}; mend it, or name other columns by --label-column"
            )
    return found


def _listed(column: Column, cells: Cells) -> tuple[Marks, tuple[str, ...], tuple[str, ...]]:
    """One column of lists such as Effusion|Mass; findings in the order of the alphabet, or of the study."""
    mark = ";" if any(";" in value for value in column) and not any("|" in value for value in column) else "|"
    lists = [[piece for part in value.split(mark) if (piece := part.strip())] for value in column]
    names = sorted({piece for pieces in lists for piece in pieces if not _nothing(piece)})
    if cells.study is None:
        _refuse_texts(lists, names, cells.place)
    else:  # what a list of new images does not name is not there
        names = [*cells.study.about.get("columns", ()), *names]
    names = list(dict.fromkeys(names))
    index, marks = {name: at for at, name in enumerate(names)}, np.zeros((len(column), len(names)), dtype=np.int8)
    empty = 0
    for row, pieces in enumerate(lists):
        there = [index[piece] for piece in pieces if not _nothing(piece)]
        if there and len(there) < len(pieces):
            raise UserError(
                f"findings or '{shown(next(filter(_nothing, pieces)))}' were wanted, found both in entry {row} "
                f"('{shown(column[row])}') of {cells.place}; leave one out"
            )
        marks[row, there] = 1
        if not pieces:
            marks[row], empty = -1, empty + 1
    return marks, tuple(names), _said(Counter(piece for pieces in lists for piece in pieces), empty)


def _nothing(piece: str) -> bool:
    return " ".join(piece.lower().replace("_", " ").replace("-", " ").split()) in NOTHING_FOUND


def _refuse_texts(lists: list[list[str]], names: list[str], place: str) -> None:
    """UserError for texts that are no findings; none is shown, it may identify a patient."""
    known = sum(map(bool, lists))
    if len(names) > min(MOST, max(2, known // 2)):
        raise UserError(
            f"findings that come back were wanted, found {len(names):,} different ones of {known:,} images in {place}; "
            "name columns of findings by --label-column"
        )


def _said(counts: Counter[str], empty: int) -> tuple[str, ...]:
    """How lists were read."""
    notes = []
    for word, count in sorted(counts.items()):
        if _nothing(word):
            notes.append(f"'{shown(word)}' means that no finding is there ({count:,} images)")
        elif word.lower() in HEALTHY:
            notes.append(f"'{shown(word)}' is a finding ({count:,} images): if it means that none is there, write none")
    if empty and not any(map(_nothing, counts)):
        notes.append(
            f"of {empty:,} images with an empty list nothing is known: where nothing was found, write none into it"
        )
    return tuple(notes)
