"""How a column of labels becomes classes: what is missing, what is a number, what are several labels in one."""

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence

import numpy as np

from autossl.data.truth.base import Ints
from autossl.data.truth.spelling import Column, canonical, look_alikes
from autossl.errors import UserError
from autossl.errors.printable import shown

# What R, pandas, spreadsheets and databases write where there is nothing, and scikit-learn where nobody has looked.
# "none" is not among them: it is a word of people ("no tumour"), and a class that vanishes is worse than one too many.
MISSING = ("na", "n/a", "<na>", "#n/a", "nan", "null", "-1")
DOUBTFUL = frozenset({"none", "unknown", "unlabeled", "unlabelled", "missing", "not available", "n.a.", "?", "-"})
UNLABELLED = frozenset({"unlabeled", "unlabelled"})  # folders that are more likely no class
MOST_CLASSES = 1000
MOST_GRADES, FEW_OF_A_GRADE = 10, 10  # more different numbers than that, with fewer images of each: a measurement
FEWEST_GRADES = 5  # more than that, and one of them alone: the same
MOST_NAMED = 3  # classes that a note names
MOST_PROPOSED = 50  # a column with more values is not proposed as a column of classes
YES_OR_NO = frozenset({"0", "1", "true", "false", "yes", "no"})
NUMBER = re.compile(r"[+-]?(\d+([.,]\d*)?|[.,]\d+)([eE][+-]\d+)?", re.ASCII)  # with a sign: 024e7871 is an identifier
LABEL = "label"  # a column of labels, also one that has no name
WHOLE = re.compile(r"[+-]?\d+", re.ASCII)


def missing_words(given: str | Sequence[str] | None, usual: Collection[str] = MISSING) -> frozenset[str]:
    """The words that mean "no label": "none,unknown" or a list; "" for empty cells only, None for the usual words."""
    if given is None:
        return frozenset(usual)
    if not isinstance(given, str | list | tuple) or not all(isinstance(word, str) for word in given):
        raise UserError(
            f"words that mean a missing label were wanted, found {type(given).__name__} as --missing; "
            'give for example "none,unknown"'
        )
    words = given.split(",") if isinstance(given, str) else given
    return frozenset(word for text in words if (word := canonical(text).lower()))


def without_missing(values: Column, given: str | Sequence[str] | None) -> tuple[Column, tuple[str, ...]]:
    """The labels (n,) with "" where one is missing, and what is to be said of it: no label vanishes without a word."""
    kept, notes = without_words({LABEL: values}, given)
    if given is None:
        notes += tuple(
            f"'{shown(name)}' is a class ({count:,} images): if it means no label, give --missing {shown(name)}"
            for name, count in sorted(Counter(kept[LABEL]).items())
            if name.lower() in DOUBTFUL
        )
    return kept[LABEL], notes


def without_words(
    columns: Mapping[str, Column], given: str | Sequence[str] | None, usual: Collection[str] = MISSING
) -> tuple[dict[str, Column], tuple[str, ...]]:
    """The columns with "" where a label is missing, and what is to be said of it."""
    words = missing_words(given, usual)
    spelled = {name: Counter(v for v in column if v and v.lower() in words) for name, column in columns.items()}
    kept = {name: ["" if value in spelled[name] else value for value in column] for name, column in columns.items()}
    gaps = [name for name in columns if "" in kept[name]]
    notes = [
        (f"column {shown(name)}: " if len(columns) > 1 else "") + _gap_note(kept[name], spelled[name])
        for name in gaps[:MOST_NAMED]
    ]
    if len(gaps) > MOST_NAMED:
        notes.append(f"{len(gaps) - MOST_NAMED} more columns have images without a label")
    found = {value.lower() for counts in spelled.values() for value in counts}
    if given is not None and (unused := sorted(words - found)):
        notes.append(f"no label is '{shown(unused[0])}', which --missing names")
    return kept, tuple(notes)


def _gap_note(kept: Column, spelled: Counter[str]) -> str:
    count = kept.count("")
    found = [f"{at:,} '{shown(word)}'" for word, at in spelled.most_common(MOST_NAMED)]
    empty = count - spelled.total()
    said = ", ".join(([f"{empty:,} empty"] if empty and found else []) + found)
    return f"{count:,} of {len(kept):,} images have no label" + (
        f" ({said}): --missing says which words mean that" if found else ""
    )


def aligned(study: Sequence[str], found: Sequence[str], place: str) -> list[int]:
    """Where the columns of a study are among those of new images: by name, or in order where these have no names.

    A single column may be called otherwise. UserError where one is not there.
    """
    if set(study) <= set(found):
        return [found.index(name) for name in study]
    unnamed = list(found) == [str(at) for at in range(len(found))]
    if len(study) == len(found) and (len(found) == 1 or unnamed):
        return list(range(len(found)))
    raise UserError(
        f"the columns {', '.join(map(shown, study))}, as in the study, were wanted, found "
        f"{', '.join(map(shown, found))} in {place}; name them by --label-column"
    )


def folder_notes(names: Iterable[str]) -> tuple[str, ...]:
    """A folder's name is never missing, but one name in particular is hardly a class."""
    return tuple(
        f"the folder {name} is a class; move it away and give it by --unlabeled if its images have no label"
        for name in sorted(set(names))
        if name.lower() in UNLABELLED
    )


def encode_labels(
    values: Column, names: dict[str, str], place: str, folders: bool
) -> tuple[Ints, tuple[str, ...], tuple[str, ...]]:
    """Class indices (n,), -1 for "", the class names with numbers in numeric order, and notes.

    Names of `folders` are classes whatever they look like; elsewhere UserError for measurements and several labels.
    """
    counts = Counter(value for value in values if value)
    known = sorted(counts, key=_order)
    notes = () if folders else _refuse_measurements(counts, place)
    if not folders:
        _refuse_several(counts, place)
    if len(known) > MOST_CLASSES:
        raise UserError(
            f"at most {MOST_CLASSES} classes were wanted, found {len(known)} different labels in {place}; "
            "name another column by --label-column"
        )
    index = {value: at for at, value in enumerate(known)}
    labels = np.array([index.get(value, -1) for value in values], dtype=np.int64)
    return labels, tuple(names.get(value, value) for value in known), (*notes, *_similar(known))


def _order(value: str) -> tuple[int, float, str]:
    return (0, float(value.replace(",", ".")), value) if NUMBER.fullmatch(value) else (1, 0.0, value)


def _refuse_measurements(counts: Counter[str], place: str) -> tuple[str, ...]:
    """UserError for numbers that are no grades: ages, sizes. No value is shown, it may be an identifier."""
    remedy = "--task regression takes numbers; bin them into classes, or name another column by --label-column"
    numbers = [value for value in counts if NUMBER.fullmatch(value)]
    if fraction := next((value for value in numbers if not WHOLE.fullmatch(value)), ""):
        raise UserError(
            f"class labels were wanted, found numbers with fractions such as {shown(fraction)} in {place}; {remedy}"
        )
    if len(numbers) < len(counts) or _counted(numbers) or len(numbers) <= FEWEST_GRADES:
        return ()
    sizes = sorted(counts.values())
    if sizes[0] < 2 or (len(sizes) > MOST_GRADES and sizes[len(sizes) // 2] < FEW_OF_A_GRADE):
        raise UserError(
            f"class labels were wanted, found {len(sizes)} different numbers for {counts.total():,} images in {place}; "
            f"{remedy}"
        )
    if len(sizes) > MOST_GRADES:
        return (
            f"each of {len(sizes)} different numbers is a class of its own: --task regression takes them as numbers",
        )
    return ()


def categorical(column: Column) -> bool:
    """Whether cells, none of them empty, look like classes: a few values that come back."""
    different = len(set(column))
    return 2 <= different <= min(MOST_PROPOSED, len(column) // 2)


def yes_or_no(column: Column) -> bool:
    """Whether cells, none of them empty, say yes or no of one finding."""
    return {canonical(value).lower() for value in column} <= YES_OR_NO


def _counted(numbers: Collection[str]) -> bool:
    """Whether numbers count classes, from 0 or 1 without a gap."""
    found = sorted(int(value) for value in numbers)
    return bool(found) and found[0] in (0, 1) and found == list(range(found[0], found[0] + len(found)))


def _refuse_several(counts: Collection[str], place: str) -> None:
    """UserError for labels such as Effusion|Pneumonia beside others that share one of the findings."""
    for mark in "|;,":
        parts = {value: pieces for value in counts if len(pieces := _pieces(value, mark)) > 1}
        seen = Counter(piece for value in counts for piece in set(parts.get(value, [value])))
        for value, pieces in parts.items():
            again = [seen[piece] > 1 for piece in pieces]
            if any(again) if mark == "|" else all(again):
                raise UserError(
                    f"one label per image was wanted, found several findings in one label, such as '{shown(value)}', "
                    f"in {place}; several labels per image are --task multilabel, or keep one"
                )


def _pieces(value: str, mark: str) -> list[str]:
    return [piece for part in value.split(mark) if (piece := part.strip())]


def _similar(known: Sequence[str]) -> tuple[str, ...]:
    """A note on classes that are likely one."""
    if not (pairs := look_alikes(known)):
        return ()
    named = "; ".join(" and ".join(f"'{shown(name)}'" for name in pair) for pair in pairs[:MOST_NAMED])
    more = f" and {len(pairs) - MOST_NAMED} more" if len(pairs) > MOST_NAMED else ""
    return (f"classes differ only in case, blanks or leading zeros: {named}{more}; spell them alike if they are one",)
