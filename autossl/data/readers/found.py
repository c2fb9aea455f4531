"""What a reader of one form of data hands over, and how its columns become a truth, patients, splits and slices."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from autossl.data.dataset import Ints
from autossl.data.parts import NO_SPLIT, OFFICIAL_TEST, TRAIN, VAL
from autossl.data.readers.dicom_seg import Segments
from autossl.data.readers.series import Row
from autossl.data.truth import Cells, Classes, Objects, Raw, Truth
from autossl.data.truth.spelling import Column, look_alikes
from autossl.errors import UserError
from autossl.errors.printable import shown

SPLITS = {
    "train": TRAIN,
    "training": TRAIN,
    "val": VAL,
    "valid": VAL,
    "validation": VAL,
    "dev": VAL,
    "test": OFFICIAL_TEST,
    "testing": OFFICIAL_TEST,
    "": NO_SPLIT,
}
NO_NUMBER = frozenset({"", "nan", "none", "null", "na", "n/a", "<na>", "#n/a"})
NO_PATIENT = NO_NUMBER | {"-1"}


@dataclass(frozen=True)
class Found:
    """Images with their columns as they stand in the data."""

    name: str
    place: str
    images: NDArray[Any] | list[NDArray[Any]] | None = None  # numbers (n, [d,] h, w, c), or n of ([d,] h, w, c)
    files: list[Path] | None = None  # n image files, where there are no images
    labels: dict[str, Column] | None = None  # by the name of their column; one that has none is called "label"
    patients: Column | None = None
    slices: Column | None = None  # where along a patient's stack of slices an image lies
    split: NDArray[np.int8] | None = None
    class_names: dict[str, str] = field(default_factory=dict)  # label value -> name
    class_folders: bool = False  # labels are names of folders, none of which is missing
    root: Path | None = None
    channels: tuple[tuple[Path, ...], ...] | None = None  # n: the files of a volume whose channels are files
    rows: tuple[Row, ...] | None = None  # DICOM: the frames that each of the n images or volumes is made of
    segments: Segments | None = None  # DICOM: what was drawn on these
    modality: str = ""  # as DICOM has it, where it is one
    masks: NDArray[Any] | list[Any] | None = None  # n masks ([d,] h, w) in memory, of whole numbers, or their outlines
    targets: NDArray[Any] | list[NDArray[Any] | None] | None = None  # n images ([d,] h, w, c) that belong to those
    degraded: str = ""  # how images make pairs with what they were, where none are named: "noise:25"
    boxes: list[Objects | None] | None = None  # of n images, None where nothing is known of one
    structures: Mapping[int, str] = field(default_factory=dict)  # what values of masks are called
    usual: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # form of label -> its columns, if none is named
    absent: int = 0  # files that a table names and that are not there
    notes: tuple[str, ...] = ()

    def drawn(self, form: type[Truth]) -> NDArray[Any] | list[Any] | None:
        """What of this form is in memory beside the images."""
        return {"masks": self.masks, "targets": self.targets}.get(form.beside)

    @property
    def n(self) -> int:
        """Number of images."""
        images = self.images if self.files is None else self.files
        assert images is not None
        return len(images)


class Told(NamedTuple):
    """How columns of labels are to be read; `Cells` says what the words are."""

    form: type[Truth] = Classes
    missing: str | Sequence[str] | None = None
    order: str | Sequence[str] | None = None
    study: Truth | None = None


AS_CLASSES = Told()


def truth_of(found: Found, told: Told, raw: Raw | None = None) -> tuple[Truth, tuple[str, ...]]:
    """What is known of the images, and notes; `raw` reads the files that labels name, or masks that were given."""
    labels = found.labels
    if told.form.files and (drawn := found.drawn(told.form)) is not None:
        labels = {told.form.usual[0]: ["" if each is None else "given" for each in drawn]}
    boxes = found.boxes if told.form.boxed else None
    if labels is None and boxes is None:
        return told.form.nothing(found.n), ()
    named = {str(value): name for value, name in found.structures.items()} if told.form.files else found.class_names
    folders = found.class_folders
    read = (told.missing, told.order, told.study, raw, boxes)
    return told.form.find(Cells(labels or {}, found.place, named, folders, *read))


def encode_patients(values: Column) -> tuple[Ints, tuple[str, ...], int]:
    """Patient indices (n,), the identifiers by index, and how many images have none (each its own patient then)."""
    index: dict[str, int] = {}
    identifiers: list[str] = []
    groups = np.empty(len(values), dtype=np.int64)
    unknown = 0
    for row, value in enumerate(values):
        missing = value.lower() in NO_PATIENT
        unknown += missing
        if missing or value not in index:
            if not missing:
                index[value] = len(identifiers)
            groups[row] = len(identifiers)
            identifiers.append("" if missing else value)
        else:
            groups[row] = index[value]
    return groups, tuple(identifiers), unknown


def alike_note(identifiers: Sequence[str]) -> tuple[str, ...]:
    """What is said of patients that may be one; never their identifiers."""
    if not (count := sum(map(len, look_alikes(identifiers)))):
        return ()
    return (
        f"{count} patient ids differ from another only in case, blanks or leading zeros and count as other patients; "
        "spell them alike if they are one",
    )


def encode_split(values: Column, place: str) -> NDArray[np.int8]:
    """Official splits (n,) from words (train, val, valid, validation, test) or from 0, 1, 2."""
    numbers = {"0": TRAIN, "1": VAL, "2": OFFICIAL_TEST, "-1": NO_SPLIT}
    known = SPLITS | (numbers if not {"train", "test"} & {value.lower() for value in values} else {})
    strange = sorted({value for value in values if value.lower() not in known})
    if strange:
        raise UserError(
            f"a split of train, val or test was wanted, found '{shown(strange[0])}' in the split column of {place}; "
            "rename its values, or remove the column to split anew"
        )
    return np.array([known[value.lower()] for value in values], dtype=np.int8)


def encode_slices(values: Column) -> NDArray[np.float64] | None:
    """Numbers (n,) along a stack of slices, NaN where there is none; None for a column that holds anything else."""
    try:
        found = np.array([np.nan if value.lower() in NO_NUMBER else float(value) for value in values])
    except ValueError:
        return None
    return None if np.isinf(found).any() else found


def stack_positions(slices: NDArray[np.float64], groups: Ints) -> NDArray[np.float32]:
    """Where each image (n,) lies in the stack of its patient: 0 at the lowest number, 1 at the highest.

    NaN where the number is missing, and where a patient has no two different ones.
    """
    lowest, highest = np.full((2, int(groups.max()) + 1), np.nan)
    np.fmin.at(lowest, groups, slices)
    np.fmax.at(highest, groups, slices)
    extent = (highest - lowest)[groups]
    known = extent > 0  # False for NaN
    return np.where(known, (slices - lowest[groups]) / np.where(known, extent, 1), np.nan).astype(np.float32)
