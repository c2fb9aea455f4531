"""A study before it searches: its data opened and compared, its folder taken, its images decoded."""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from autossl.data import CT, Source, check_enough, cut_or_whole, is_stored, open_data, prepare, windowed
from autossl.data.truth import FORMS, NEVER
from autossl.errors import MachineStopped, UserError
from autossl.errors.machine import absent_folders, remove_empty
from autossl.nn.weights import keep_weights
from autossl.record.config import StudyConfig, write_config
from autossl.record.folder import Folder, only_process, read_json, write_json
from autossl.record.offered import task
from autossl.run.asked import Asked
from autossl.run.opening import opened
from autossl.run.settings import compare, resolve


def look(
    data: Any, asked: Asked, unlabeled: Any, labels: Any, patients: Any = None, source: Source | None = None
) -> tuple[Source, StudyConfig]:
    """The data, opened but not decoded, and every setting of their study; UserError before anything is written.

    `source` is what `opened` made of them, where that has been done.
    """
    if source is None:
        source = opened(data, asked, unlabeled, labels, patients)
    config = settled(source, asked, data, unlabeled, labels)
    return windowed(source, config.image_size), config


def settled(source: Source, asked: Asked, data: Any, unlabeled: Any, labels: Any) -> StudyConfig:
    """Every setting of a study on this source; UserError where it cannot be searched."""
    check_enough(source, asked.max_labels)
    return resolve(asked, source, data=_describe(data), unlabeled=_describe(unlabeled), labels=_describe(labels))


def look_again(folder: Folder, config: StudyConfig) -> Source:
    """The data of a study that was stopped before they were decoded, as its settings name them."""
    given = (config.data, config.unlabeled, config.labels)
    if any(str(value).startswith("<") for value in given):
        raise UserError(
            f"decoded images were wanted, found none in {folder.root}, and the data were given in memory; "
            "call autossl.search on them again"
        )
    for value in given:
        if str(value).startswith("medmnist:"):
            raise UserError(
                f"decoded images were wanted, found none in {folder.root}, and a download ({value}) is made only where "
                f"it is asked for; run autossl search {value} --out {folder.root} again"
            )
    source = open_data(
        config.data, form=FORMS[task(config.task).form], unlabeled=config.unlabeled, labels=config.labels,
        label_column=config.label_column, patient_column=config.patient_column,
        missing=config.missing, order=config.order,
        ct=config.modality == CT, degradation=config.degradation,
    )  # fmt: skip
    return cut_or_whole(source, config.windows or NEVER, config.image_size)


def _describe(data: Any) -> str | None:
    """How config.toml names the data: a whole path, a sample's name, anything else by its type."""
    if data is None:
        return None
    if not isinstance(data, str | os.PathLike):
        return f"<{type(data).__name__}>"
    return str(Path(data).resolve()) if Path(data).exists() else os.fspath(data)


@contextmanager
def taken(folder: Folder, config: StudyConfig) -> Iterator[None]:
    """Hold the folder with these settings in it. Where a new study is refused before it is planned, nothing is left.

    The settings are written before the images are decoded, so that a run that is killed meanwhile can be resumed.
    """
    absent = absent_folders(folder.root)
    try:
        folder.make()
        with only_process(folder):
            new = not folder.has_begun
            try:
                if new:
                    write_config(folder.config, config)
                else:
                    compare(folder, config)
                yield
            except MachineStopped:
                raise  # it can be resumed
            except Exception as fault:
                if new and not (folder.is_planned if isinstance(fault, UserError) else folder.has_begun):
                    folder.clear()
                raise
    except Exception:
        remove_empty(absent)
        raise


def decode(source: Source, folder: Folder, config: StudyConfig, progress: Callable[[int, int], None]) -> None:
    """Decode and describe the images of a new study; of one that has begun, refuse other images than its own.

    What a study has decoded is never written over: data of another date are decoded beside it to compare them.
    """
    size = config.image_size
    options: dict[str, Any] = {"max_labels": config.max_labels, "seed": config.seed, "progress": progress}
    known = read_json(folder.data)
    if known is None:
        for place, each in enumerate(config.given):
            keep_weights(each["file"], folder.weights(place))
        write_json(folder.data, prepare(source, folder.cache, image_size=size, **options).record)
        return
    if is_stored(source, folder.cache, size):
        return
    beside = folder.cache / "again"
    try:
        found = prepare(source, beside, image_size=size, **options).record
        if found["fingerprint"] != known["fingerprint"]:
            raise UserError(
                f"the data of the study in {folder.root} ({_brief(known)}) were wanted, found other images, labels or "
                f"patients ({_brief(found)}); give the same data to go on with it, or another --out"
            )
        if not (folder.cache / "data.npz").is_file() or not (folder.cache / "images.npy").is_file():
            for file in beside.iterdir():
                os.replace(file, folder.cache / file.name)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _brief(record: dict[str, Any]) -> str:
    return f"{record['images']:,} images, fingerprint {record['fingerprint'][:8]}"
