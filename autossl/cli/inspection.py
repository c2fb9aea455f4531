"""What data hold and whether a search on them would start, by the very checks of a search; nothing is kept."""

import shutil
import sys
import tempfile
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray

from autossl.data import Source, positions, prepare
from autossl.data.checks import by
from autossl.errors.printable import one_line
from autossl.record.config import StudyConfig
from autossl.record.folder import machine_faults
from autossl.run import begin
from autossl.run.asked import Asked
from autossl.views.presets import modalities

Row = tuple[str, str]
MOST_BYTES = 1 << 30  # of decoded images on disk; beyond it they are decoded smaller, which the checks do not mind
LEAST_SIDE = 8
MOST_CLASSES = 30  # that the table lists
NAME = 24  # characters of a class that it shows
SPLITS = {0: "train", 1: "validation", 2: "test", -1: "none"}


def inspected(
    source: Source, asked: Asked, data: Any, unlabeled: Any, labels: Any, progress: Callable[[int, int], None]
) -> Iterator[Row]:
    """Rows of (what, found) as they become known; UserError where a search would be refused.

    `source` is what `opening.opened` made of `data`, `unlabeled` and `labels`. `progress` gets (images done, images).
    """
    yield from held(source)
    config = begin.settled(source, asked, data, unlabeled, labels)
    yield from _settings(source, asked, config)
    record = _checked(source, config, progress)
    yield from ((" ", line) for line in _table(record))
    yield from (("note", note) for note in record["notes"])


def held(source: Source) -> Iterator[Row]:
    """What headers and columns say."""
    sizes, frequency = np.unique(source.sizes, axis=0, return_counts=True)
    common = sizes[int(np.argmax(frequency))]
    kind = "images" if source.dims == 2 else "volumes"
    channels = f"{source.channels} channel(s)"
    yield kind, f"{source.n}, {channels}, {'all' if len(sizes) == 1 else 'most often'} {_size(common)}"
    yield from _spacing(source)
    if bad := int((source.sizes[:, 0] == 0).sum()):
        yield "unreadable", f"{bad} by their headers"
    yield "labelled", source.truth.described()
    yield source.truth.words, ", ".join(f"{name} {count}" for name, count in source.truth.counts().items())
    yield "patients", f"{len(np.unique(source.groups))}" if source.has_patients else "no patient ids"
    yield from _slices(source)
    parts = [(name, int((source.split == code).sum())) for code, name in SPLITS.items()]
    given = [f"{name} {count}" for name, count in parts if count]
    yield (
        "official split",
        ", ".join(given) if (source.split >= 0).any() else "none: a search divides the images itself",
    )


def _settings(source: Source, asked: Asked, config: StudyConfig) -> Iterator[Row]:
    """What a search would take where it may choose."""
    taken = config.modality
    if taken == "auto":
        taken = "colour" if source.channels == 3 else "grey"
    others = ", ".join(name for name in modalities() if name != taken)
    yield "modality", taken if asked.modality != "auto" else f"{taken} (auto); --modality takes {others}"
    size, enlarged = config.image_size, config.upsample
    unit = "px" if source.dims == 2 else "voxels"
    yield (
        "would train",
        f"{config.backbone} at {size} {unit} a side" + (f", its input enlarged {enlarged} x" if enlarged > 1 else ""),
    )
    names = ", ".join(one_line(str(each["name"])) for each in config.given)
    yield "given weights", f"{names}: looked at first" if names else "none here; see autossl list weights"


def _checked(source: Source, config: StudyConfig, progress: Callable[[int, int], None]) -> dict[str, Any]:
    """What a study would write down of these data: they are decoded into a folder that does not stay."""
    size = config.image_size
    side = _bounded(source, size)
    with machine_faults(), tempfile.TemporaryDirectory(prefix="autossl-inspect-") as folder:
        options: dict[str, Any] = {"max_labels": config.max_labels, "seed": config.seed, "progress": progress}
        record = prepare(source, Path(folder), image_size=side, **options).record
    small, asked = (f" resized to {by([length] * source.dims)}," for length in (side, size))
    return {**record, "notes": [note.replace(small, asked) for note in record["notes"]]}


def _bounded(source: Source, size: int) -> int:
    """The side to decode at: the study's, or the largest with which all images stay below MOST_BYTES."""
    wide = 1 if (source.white == 255).all() else 2
    most = (MOST_BYTES / (wide * source.channels * source.n)) ** (1 / source.dims)
    return max(LEAST_SIDE, min(size, int(most)))


def _table(record: dict[str, Any]) -> Iterator[str]:
    """Patients (or images, without ids) with a label, by class and part."""
    parts, classes = record["parts"], record["classes"]
    unit = "patients" if record["patients"] is not None else "images"
    wide = max(len(unit), *(min(NAME, len(name)) for name in classes))
    yield f"{unit:{wide}}  " + "  ".join(f"{part:>9}" for part in parts)
    for name in classes[:MOST_CLASSES]:
        short = name if len(name) <= NAME else f"{name[: NAME - 3]}..."
        yield f"{short:{wide}}  " + "  ".join(f"{part['class_groups'][name]:9,}" for part in parts.values())
    if len(classes) > MOST_CLASSES:
        yield f"and {len(classes) - MOST_CLASSES} more {record.get('words', 'classes')}"
    yield f"{'labels':{wide}}  " + "  ".join(f"{part['labels']:9,}" for part in parts.values())
    yield f"{'images':{wide}}  " + "  ".join(f"{part['images']:9,}" for part in parts.values())


def _slices(source: Source) -> Iterator[Row]:
    """How many images lie in stacks of slices."""
    if (along := positions(source)) is None:
        return
    known = np.isfinite(along)
    yield "slices", f"{int(known.sum())} in {len(np.unique(source.groups[known]))} stacks, one for each patient"


def _size(sides: NDArray[np.int64]) -> str:
    """Width x height in pixels, or depth x height x width in voxels."""
    if len(sides) == 2:
        return f"{sides[1]} x {sides[0]} px"
    return " x ".join(map(str, sides)) + " voxels"


def _spacing(source: Source) -> Iterator[Row]:
    """The usual distance of voxels, where there are any and they have one."""
    if source.spacing is None or (source.spacing == 1).all():
        return
    yield "voxels", " x ".join(f"{side:.3g}" for side in np.median(source.spacing, axis=0)) + " mm in the median"


def progress(done: int, total: int) -> None:
    """Show on a terminal how far decoding is."""
    if sys.stderr.isatty():
        click.echo(f"\rdecoding images {done:,}/{total:,}", nl=done == total, err=True)


def line(name: str, found: str) -> str:
    """A row as it is printed; on a terminal within its width."""
    wide = shutil.get_terminal_size().columns if sys.stdout.isatty() else 0
    text = f"{name:15} {found}"
    if wide > 40 and name.strip():
        return textwrap.fill(text, wide, subsequent_indent=" " * 16, break_on_hyphens=False)
    return text
