"""From a source to the `Data` of a study: decoded, checked, split, and written down for the next run."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autossl.data.checks import (
    Duplicates,
    by,
    check_max_labels,
    check_varies,
    duplicate_notes,
    find_duplicates,
    patients_in_two,
    pixel_notes,
    remedy,
    samples_of,
)
from autossl.data.dataset import KEPT, Data, Ints, Source
from autossl.data.draw import merge
from autossl.data.frame import frame_of
from autossl.data.parts import DROPPED, NO_SPLIT, OFFICIAL_TEST, PARTS, PROBE, SELECTION, TEST
from autossl.data.readers.found import stack_positions
from autossl.data.scarce import few_patients
from autossl.data.splits import Split, split
from autossl.data.store import Progress, Stored, default_image_size, store, write_whole
from autossl.data.truth import FORMS, Truth
from autossl.data.windows import windowed
from autossl.errors import UserError
from autossl.errors.printable import plural

MOMENT_VALUES = 1 << 24  # pixels or voxels at a time


def prepare(
    source: Source,
    folder: Path,
    *,
    image_size: int | None = None,
    max_labels: int | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> Data:
    """Decode a source into `folder` (images.npy, images.npz, data.npz), find its flaws, and split it.

    The same source and settings give the same `Data`, and an interrupted decoding leaves nothing behind.
    `image_size` None is `default_image_size`; `progress` gets (images done, images). UserError for bad data.
    """
    check_max_labels(source, max_labels)
    size = image_size or default_image_size(source)
    source = windowed(source, size)
    stored = store(source, folder, size, progress)
    check_varies(source, stored.flat, stored.readable)
    source = replace(source, truth=source.truth.decoded(frame_of(source, folder, stored.images, stored.scale)))
    found = find_duplicates(stored.digests, stored.readable & ~stored.flat, source)
    groups = merge(source.groups, found.set_of)
    truth = _usable(source, stored, found)
    parts = split(
        truth.strata,
        groups,
        source.split,
        len(truth.names),
        max_labels,
        seed,
        f"{source.unit}s",
        (truth.word, truth.words),
        truth.looked_at,
        truth.soft,
    )
    part = np.where(stored.readable, parts.part, DROPPED).astype(np.int8)
    data = _assemble(source, stored, found, replace(parts, part=part), truth.only(parts.strata >= 0), groups)
    _write(data, folder)
    return load(folder)


def _usable(source: Source, stored: Stored, found: Duplicates) -> Truth:
    """What is known but of unreadable images and, outside the official test part, of contradicting duplicates."""
    unsure = np.isin(found.set_of, found.contradicting) & (source.split != OFFICIAL_TEST)
    return source.truth.only(source.truth.known & stored.readable & ~unsure)


def _assemble(source: Source, stored: Stored, found: Duplicates, parts: Split, truth: Truth, groups: Ints) -> Data:
    data = Data(
        name=source.name,
        images=stored.images,
        truth=truth,
        groups=groups,
        has_patients=source.has_patients,
        part=parts.part,
        scale=stored.scale,
        mean=(),
        std=(),
        notes=(),
        record={},
        positions=positions(source, stored.flat),
    )
    lacking = truth.check_parts(data.part, samples_of(source, groups, remedy(source, found)))
    mean, std = moments(data)
    notes = (
        *source.notes,
        *_file_notes(source, stored),
        *_split_notes(source),
        *_stack_notes(data),
        *parts.notes,
        *duplicate_notes(found, parts.left),
        *lacking,
        *_few_notes(data),
        *pixel_notes(int(stored.flat.sum())),
        *truth.notes(),
    )
    data = replace(data, mean=mean, std=std, notes=notes)
    return replace(data, record=_record(data, source, stored, found, parts))


def positions(source: Source, empty: NDArray[np.bool_] | None = None) -> NDArray[np.float32] | None:
    """Where each image (n,) lies in its patient's stack of slices, 0 to 1, NaN where unknown; None without stacks.

    Slices that are `empty` (n,) show no place, and a stack ends before them.
    """
    if source.slices is None or not source.has_patients or source.dims == 3:
        return None
    slices = source.slices if empty is None else np.where(empty, np.nan, source.slices)
    return stack_positions(slices, source.groups)


def _file_notes(source: Source, stored: Stored) -> list[str]:
    notes = []
    if bad := np.flatnonzero(~stored.readable).tolist():
        listed = ", ".join(map(str, bad[:20])) + (", ..." if len(bad) > 20 else "")
        notes.append(
            f"{len(bad)} of {source.n:,} images cannot be read and are set aside (places in order, from 0: {listed})"
        )
    if stored.resized:
        size = by(stored.images.shape[1:-1])
        how = "aspect ratio" if source.dims == 2 else "proportions in mm"
        notes.append(f"{stored.resized:,} images were resized to {size}, whole and with their {how}")
    if len(np.unique(source.white)) > 1:
        shallow = int((source.white == 255).sum())
        notes.append(f"{shallow} 8-bit images among 16-bit ones were stretched to white at {stored.scale:.0f}")
    return notes


def _split_notes(source: Source) -> list[str]:
    parts, tested = set(source.split.tolist()) - {NO_SPLIT}, (source.split == OFFICIAL_TEST).any()
    drawn = parts and not tested and source.truth.looked_at
    notes = [f"there is no official test part: it was drawn by {source.unit} from the others"] if drawn else []
    if not source.has_patients:
        how = "whether a patient is in two parts cannot be checked" if tested else "parts were divided by image"
        return [*notes, f"no patient ids: {how}, so scores may be optimistic"]
    if not parts:
        return ["parts were divided by patient"]
    shared = patients_in_two(source)
    return [*notes, f"{plural(shared, 'patient')} in more than one official part"] if shared else notes


def _stack_notes(data: Data) -> list[str]:
    if data.positions is None:
        return []
    known = np.isfinite(data.positions)
    stacks = len(np.unique(data.groups[known]))
    return [f"{plural(int(known.sum()), 'image')} lie in {plural(stacks, 'stack')} of slices, one for each patient"]


def _few_notes(data: Data) -> tuple[str, ...]:
    if not data.truth.looked_at or data.truth.numbers or not data.truth.apart:  # a range is not judged by itself
        return ()
    counts = {PARTS[part]: _groups(data, part) for part in (PROBE, TEST)}
    return few_patients(counts, data.unit, data.truth.word)


def _groups(data: Data, part: int) -> dict[str, int]:
    """Patients with a label of each class in a part."""
    return data.truth.groups_per_stratum(data.part == part, data.groups)


def moments(data: Data) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation per channel of images / scale over the probe part."""
    rows, channels = data.rows(PROBE), data.images.shape[-1]
    chunk = max(1, MOMENT_VALUES // data.images[0].size)
    total, square, count = np.zeros(channels), np.zeros(channels), 0
    for first in range(0, len(rows), chunk):
        values = data.images[rows[first : first + chunk]].reshape(-1, channels) / data.scale
        total, square, count = total + values.sum(0), square + (values**2).sum(0), count + len(values)
    mean = total / count
    deviation = np.sqrt(np.maximum(square / count - mean**2, 0))
    return tuple(map(float, mean)), tuple(float(max(value, 1e-3)) for value in deviation)


def _record(data: Data, source: Source, stored: Stored, found: Duplicates, parts: Split) -> dict[str, Any]:
    own, stacked = source.groups if source.has_patients else b"", b"" if source.slices is None else source.slices
    labels, names = source.truth.content()
    columns = (stored.digests, labels, source.split, own, names, stacked)
    fingerprint = hashlib.sha256(b"".join(bytes(column) for column in columns)).hexdigest()
    return {
        "name": data.name,
        "fingerprint": fingerprint,
        "images": len(data.images),
        "shape": list(data.images.shape[1:]),
        "unit": "px" if data.dims == 2 else "voxels",
        "depth": data.images.dtype.name,
        "scale": data.scale,
        "window": source.window,
        "floats": source.floats,
        "mean": list(data.mean),
        "std": list(data.std),
        "classes": list(data.truth.names),
        "word": data.truth.word,
        "words": data.truth.words,
        "columns": list(data.truth.about.get("columns", ())),
        "patients": len({name for name in source.patients if name}) if data.has_patients else None,
        "parts": {PARTS[part]: _part_record(data, part) for part in (PROBE, SELECTION, TEST)},
        "flaws": {
            "unreadable": int((~stored.readable).sum()),
            "duplicate_images": found.images,
            "duplicate_sets": found.sets,
            "duplicate_sets_across_official_parts": found.crossing,
            "duplicate_sets_with_different_labels": len(found.contradicting),
            "patients_in_several_official_parts": patients_in_two(source),
            "left_an_earlier_part": parts.left,
            "flat_images": int(stored.flat.sum()),
        },
        "notes": list(data.notes),
    }


def _part_record(data: Data, part: int) -> dict[str, Any]:
    rows = data.rows(part)
    return {
        "images": len(rows),
        "labels": len(data.rows(part, labelled=True)),
        "groups": len(np.unique(data.groups[rows])),
        "classes": data.truth.counts(rows),
        "class_groups": _groups(data, part),
    }


def _write(data: Data, folder: Path) -> None:
    columns: dict[str, NDArray[Any]] = {
        **data.truth.columns(),
        **data.columns,
        "part": data.part,
        "about": np.array(
            json.dumps(
                {
                    "name": data.name,
                    "form": data.truth.form,
                    **data.truth.about,
                    "has_patients": data.has_patients,
                    "scale": data.scale,
                    "mean": data.mean,
                    "std": data.std,
                    "notes": data.notes,
                    "record": data.record,
                }
            )
        ),
    }
    write_whole(folder / "data.npz", lambda file: np.savez(file, allow_pickle=False, **columns))


def load(folder: Path) -> Data:
    """The `Data` that `prepare` wrote into `folder`, without the source."""
    if not (folder / "data.npz").is_file() or not (folder / "images.npy").is_file():
        raise UserError(f"decoded images were wanted, found none in {folder}; run autossl search on the data again")
    # NumPy leaves a damaged file open that it has opened itself
    with open(folder / "data.npz", "rb") as file, np.load(file, allow_pickle=False) as stored:
        about = json.loads(str(stored["about"]))
        return Data(
            name=about["name"],
            images=np.load(folder / "images.npy", mmap_mode="r"),
            truth=FORMS[about.get("form", "classes")].load(stored, about).opened(folder),
            groups=stored["groups"],
            has_patients=about["has_patients"],
            part=stored["part"],
            scale=about["scale"],
            mean=tuple(about["mean"]),
            std=tuple(about["std"]),
            notes=tuple(about["notes"]),
            record=_of_before(about) | about["record"],
            positions=stored.get("positions"),
        )


def _of_before(about: dict[str, Any]) -> dict[str, Any]:
    """What records did not hold before December 2026, and what told it then."""
    return {"window": KEPT, "floats": any(note.startswith("pixels were floats") for note in about["notes"])}
