"""What forms of boxes share: which image an annotation is of, what is lost or damaged, and what is said of that."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from autossl.data.parts import NO_SPLIT
from autossl.data.readers.found import SPLITS, Found
from autossl.data.truth.spelling import Column
from autossl.errors import UserError
from autossl.errors.printable import plural, shown

FEW = 0.05  # of annotations that may be damaged, or of images that are not there; one always
LISTED = 10


@dataclass(frozen=True)
class Annotated:
    """Images of a folder, what is marked on those of which anything is known, and annotations that are of no use."""

    root: Path
    files: list[Path]
    known: Mapping[Path, Any]  # Objects, or what else is marked
    parts: Sequence[int]
    lost: Sequence[str] = ()  # annotations whose image is not there
    damaged: Mapping[str, str] | None = None  # annotations that cannot be read, and why
    patients: Column | None = None
    notes: tuple[str, ...] = ()


class Images:
    """The images below a folder by name; of several of one name the one that lies nearest."""

    def __init__(self, root: Path, files: list[Path]) -> None:
        self.root, self.files = root, files
        self._by: dict[str, list[Path]] = {}
        for path in files:
            for name in {path.name.lower(), path.stem.lower()}:
                self._by.setdefault(name, []).append(path)

    def named(self, name: str, beside: Path) -> Path | None:
        """The image of this name, or of this stem, for an annotation that lies `beside`."""
        found = self._by.get(Path(name).name.lower(), [])
        inside = [path for path in found if name.lower() in path.as_posix().lower()] or found
        return max(inside, key=lambda path: _shared(path, beside), default=None)


def _shared(path: Path, other: Path) -> int:
    """How many folders of two ways are the same, wherever they stand: images/train and labels/train share one."""
    return len(set(path.parent.parts) & set(other.parent.parts))


def part_of(path: Path, root: Path) -> int:
    """The official part that a folder above an image names."""
    inside = path.relative_to(root).parent.parts if path.is_relative_to(root) else path.parent.parts
    return next((SPLITS[name.lower()] for name in inside if SPLITS.get(name.lower(), NO_SPLIT) != NO_SPLIT), NO_SPLIT)


def numbers(cells: Sequence[str]) -> list[float]:
    """Cells as finite numbers; ValueError where one is none."""
    try:
        found = [float(cell) for cell in cells]
    except ValueError:
        bad = next(cell for cell in cells if not _number(cell))
        raise ValueError(f"a number was wanted, found '{shown(bad)}'") from None
    if not all(map(math.isfinite, found)):
        raise ValueError("a number is not finite")
    return found


def _number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def found_of(what: Annotated, form: str) -> Found:
    """Images with their boxes; UserError where none is known, or too many annotations are of no use."""
    damaged, known = what.damaged or {}, what.known
    total = len(known) + len(damaged) + len(what.lost)
    _refuse(what, form, damaged, total)
    notes = list(what.notes)
    if what.lost:
        one = len(what.lost) == 1
        notes.append(
            f"annotations of {plural(len(what.lost), 'image')} that {'is' if one else 'are'} not there are not used"
        )
    if damaged:
        listed = ", ".join(map(shown, list(damaged)[:LISTED])) + (", ..." if len(damaged) > LISTED else "")
        notes.append(f"{plural(len(damaged), 'annotation')} cannot be read and {'is' if len(damaged) == 1 else 'are'} "
                     f"set aside ({listed})")  # fmt: skip
    bare = sum(path not in known for path in what.files)
    if bare:
        notes.append(
            f"{plural(bare, 'image')} without annotations {'is' if bare == 1 else 'are'} used without labels: an "
            "empty annotation says that there is no object"
        )
    return Found(
        what.root.resolve().name, str(what.root), files=what.files, boxes=[known.get(path) for path in what.files],
        patients=what.patients, split=np.array(what.parts, dtype=np.int8), root=what.root, notes=tuple(notes),
    )  # fmt: skip


def _refuse(what: Annotated, form: str, damaged: Mapping[str, str], total: int) -> None:
    allowed, place = max(1, int(FEW * total)), what.root
    if damaged and (len(damaged) > allowed or not what.known):
        name, why = next(iter(damaged.items()))
        raise UserError(
            f"annotations in the form of {form} were wanted, found {len(damaged)} of {total} that are none in {place}, "
            f"the first {shown(name)} ({why}); mend them or leave them out"
        )
    if what.lost and (len(what.lost) > allowed or not what.known):
        raise UserError(
            f"the images of {plural(total, 'annotation')} in the form of {form} were wanted, found {len(what.lost)} "
            f"absent in {place}, the first that of {shown(what.lost[0])}; copy them there, of the same names"
        )
