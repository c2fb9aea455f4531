"""Random studies of labels, patients and splits: an oracle of its own says what must be in the data of a study."""

import csv
import itertools
import random
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from studies.attack import formats
from studies.attack.acts import call
from studies.attack.case import EITHER, ENDED, FINE, Case, Faults
from studies.attack.pixels import silent

NAMES = (
    "a",
    "B",
    "benign",
    "NA",
    "none",
    "null",
    "nan",
    "-1",
    "N/A",
    "0",
    "1",
    "10",
    "ä",
    "tumor (left)",
    "True",
    "no",
)
EMPTY = (
    "na",
    "nan",
    "none",
    "null",
    "n/a",
    "<na>",
    "",
    "-1",
    "-1.0",
)  # words of a table that may mean that there is none
PROBE, SELECTION, TEST, DROPPED = range(4)


@dataclass(frozen=True)
class Row:
    """One image of a study, as it is written down."""

    file: str
    label: str
    patient: str
    split: str


def label_cases(seed: int) -> Iterator[Case]:
    """Random tables, folders and npz, and pairs of ids that are one patient."""
    for number in range(60):
        rows = table(random.Random(1000 * seed + number))
        yield Case(
            f"study {number}",
            call(lambda r=rows: compare(r, "d/m.csv")),
            lambda here, r=rows: write(here, r),
            FINE if number % 2 else EITHER,
            until=ENDED,
            writes=("out", "changed", "groups"),
            check=silent,
        )
    for number, names in enumerate(itertools.combinations(NAMES, 3)):
        if number % 9 == seed % 9:
            yield Case(
                f"class folders {', '.join(names)}",
                call(lambda n=names: classes(n)),
                lambda here, n=names: folders(here, n),
                EITHER,
                until=ENDED,
                writes=("out", "changed", "groups"),
                check=silent,
            )
    same = {
        "3 and 3.0": ("{0}", "{0}.0"),
        "007 and 7": ("00{0}", "{0}"),
        "p7 and P7": ("p{0}", "P{0}"),
        "composed": ("é{0}", "e\u0301{0}"),
        "spaces": ("p{0}", " p{0} "),
    }
    for name, forms in same.items():
        for form in ("one table", "--unlabeled"):
            yield Case(
                f"patients {name}, {form}",
                call(lambda f=form: joined(f)),
                lambda here, f=forms, w=form: write_joined(here, f, w),
                EITHER,
                until=ENDED,
                writes=("out", "changed", "groups"),
                check=lambda here, n=name: one_patient(here, n),
            )


def image(row: int) -> "np.ndarray[tuple[int, ...], np.dtype[np.uint8]]":
    return np.random.default_rng(row).integers(0, 256, (12, 12)).astype(np.uint8)


def table(rng: random.Random) -> list[Row]:
    """A random study: some patients with many images, some labels missing, with or without official parts."""
    names = rng.sample((*NAMES[:3], "ä", "10", "9", "grade 2"), rng.randint(2, 4))
    ids = rng.sample([f"{prefix}{n}" for prefix in ("", "P-", "é") for n in range(40)], rng.randint(24, 60))
    official = rng.choice([(), ("train", "test"), ("train", "val", "test"), ("train", "val")])
    part_of = {patient: rng.choice(official) if official else "" for patient in ids}
    rows: list[Row] = []
    for patient in ids:
        label = rng.choice(names)
        for _ in range(rng.choice((1, 1, 2, 3, 8))):
            split = part_of[patient] if rng.random() > 0.02 or not official else rng.choice(official)
            rows.append(Row(f"{len(rows):04}.png", "" if rng.random() < 0.1 else label, patient, split))
    rng.shuffle(rows)
    return rows


def write(here: Path, rows: Sequence[Row], name: str = "m.csv") -> None:
    (here / "d").mkdir(exist_ok=True)
    for row in rows:
        (here / "d" / row.file).write_bytes(formats.png(image(int(row.file[:4]))))
    with open(here / "d" / name, "w", newline="") as file:
        lines = csv.writer(file)
        lines.writerow(["image", "label", "patient", *(["split"] if rows[0].split else [])])
        lines.writerows([row.file, row.label, row.patient, *([row.split] if row.split else [])] for row in rows)


def compare(rows: Sequence[Row], data: str) -> None:
    """Prepare the study and hold it against the table."""
    from autossl.data import open_data, prepare

    Path("out").mkdir()
    found = prepare(open_data(data), Path("out"), image_size=12)
    groups: dict[str, set[int]] = {}
    sentence = ""
    for at, row in enumerate(rows):
        if not np.array_equal(np.asarray(found.images[at])[..., 0], image(int(row.file[:4]))):
            sentence = f"row {at} has another image"
        label = found.truth.names[found.truth.strata[at]] if found.truth.strata[at] >= 0 else ""
        if label not in (row.label, "") or (label == "" and row.label and found.part[at] != DROPPED):
            sentence = f"row {at} has the label {label!r}, {row.label!r} was written"
        groups.setdefault(row.patient, set()).add(int(found.groups[at]))
        if row.split == "test" and found.part[at] not in (TEST, DROPPED):
            sentence = f"row {at} of the test part is in part {found.part[at]}"
        if row.split not in ("test", "") and any(r.split == "test" for r in rows) and found.part[at] == TEST:
            sentence = f"row {at} of {row.split} is in the test part"
    sentence = sentence or _patients(rows, groups, found.part)
    if sentence:
        Path("changed").write_text(sentence)


def _patients(
    rows: Sequence[Row], groups: dict[str, set[int]], part: "np.ndarray[tuple[int, ...], np.dtype[np.int8]]"
) -> str:
    """A sentence where a patient has several groups, two patients one, or a patient is in two parts."""
    if any(len(found) > 1 for found in groups.values()):
        return "images of one patient are in two groups"
    if len({next(iter(found)) for found in groups.values()}) < len(groups):
        return "two patients are in one group"
    parts: dict[str, set[int]] = {}
    for row, of in zip(rows, part.tolist(), strict=True):
        if of != DROPPED:
            parts.setdefault(row.patient, set()).add(of)
    return "a patient is in two parts" if any(len(found) > 1 for found in parts.values()) else ""


def folders(here: Path, names: Sequence[str]) -> None:
    for at, name in enumerate(names):
        folder = here / "d" / name.replace("/", "_")
        folder.mkdir(parents=True)
        for row in range(12):
            (folder / f"{row}.png").write_bytes(formats.png(image(100 * at + row)))


def classes(names: Sequence[str]) -> None:
    """Every class folder is a class, whatever it is called."""
    from autossl.data import open_data

    found = open_data("d")
    wanted = sorted(name.replace("/", "_") for name in names)
    lost = int((found.truth.strata < 0).sum())
    if sorted(found.truth.names) != wanted or lost:
        Path("changed").write_text(f"classes {wanted} became {sorted(found.truth.names)}, {lost} images have no label")


def write_joined(here: Path, forms: tuple[str, str], where: str) -> None:
    """20 patients with two images each, whose ids are written in two ways."""
    rows = [Row(f"{row:04}.png", "ab"[row % 2], forms[0].format(row + 1), "") for row in range(20)]
    again = [Row(f"{row + 20:04}.png", "ab"[row % 2], forms[1].format(row + 1), "") for row in range(20)]
    if where == "one table":
        return write(here, [*rows, *again])
    write(here, rows)
    return write(here, again, "u.csv")


def joined(where: str) -> None:
    from autossl.data import open_data, prepare

    Path("out").mkdir()
    more = {"unlabeled": "d/u.csv"} if where == "--unlabeled" else {}
    found = prepare(open_data("d/m.csv", **more), Path("out"), image_size=12)  # type: ignore[arg-type]
    Path("groups").write_text(f"{len(set(found.groups.tolist()))}\n" + "\n".join(found.notes))


def one_patient(here: Path, name: str) -> Faults:
    """The ids are one patient each, or a note says that they look alike."""
    found = here / "groups"
    if not found.exists():
        return []
    count, _, notes = found.read_text().partition("\n")
    words = unicodedata.normalize("NFC", notes)
    if int(count) == 20 or (
        name in ("007 and 7", "p7 and P7")
        and "patient" in words
        and any(w in words for w in ("alike", "differ", "same"))
    ):
        return []
    return [("silent", f"{count} patients instead of 20, and no note")]
