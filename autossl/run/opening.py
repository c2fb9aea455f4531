"""What a search can refuse of its data before torch is imported: the data, and where it is to be."""

import re
from pathlib import Path
from typing import Any

from autossl.data import CT, Source, check_enough, cut_or_whole, open_data
from autossl.data.truth import ALWAYS, FORMS, NEVER
from autossl.errors import UserError
from autossl.errors.keywords import TEXT, path_in
from autossl.errors.machine import writable
from autossl.record.folder import Folder
from autossl.record.links import refuse_links
from autossl.record.offered import task
from autossl.run.asked import Asked, check


def ready(data: Any, asked: Asked, unlabeled: Any = None, labels: Any = None, patients: Any = None) -> Source:
    """The data of a search that may begin as far as can be said by now; UserError before anything is written."""
    check(asked)
    _check_windows(asked)
    source = opened(data, asked, unlabeled, labels, patients)
    check_enough(source, asked.max_labels)
    place(asked, source)
    return source


def opened(data: Any, asked: Asked, unlabeled: Any, labels: Any, patients: Any = None) -> Source:
    """The data as they are asked for, not decoded."""
    source = open_data(
        path_in(data, "the data"), form=FORMS[task(asked.task).form], unlabeled=path_in(unlabeled, "--unlabeled"),
        labels=path_in(labels, "--labels"), patients=patients,
        label_column=asked.label_column, patient_column=asked.patient_column, missing=asked.missing,
        order=asked.order,
        ct=asked.modality == CT, degradation=asked.degradation,
    )  # fmt: skip
    _check_names(source)
    return cut_or_whole(source, asked.windows, asked.image_size)


def _check_windows(asked: Asked) -> None:
    """UserError where a task whose images are always whole, or always cut, is asked for the other."""
    own = FORMS[task(asked.task).form].windows
    if {own, asked.windows} != {ALWAYS, NEVER}:
        return
    kept = "cuts every image" if own == ALWAYS else "takes images whole"
    raise UserError(
        f"--windows auto or {own} was wanted, found {asked.windows} with --task {asked.task}, which {kept}; leave it "
        "out"
    )


def _check_names(source: Source) -> None:
    """UserError for names that no report or card can be written with."""
    for what, name in (("the data set", source.name), *(("a class", name) for name in source.truth.names)):
        if not TEXT.takes(name):
            raise UserError(f"the name of {what} in UTF-8 was wanted, found {name!r} in {source.place}; rename it")


def place(asked: Asked, source: Source) -> Folder:
    """Where the study is to be; UserError where other things are: they are not written to."""
    folder = Folder(Path(asked.out) if asked.out else default_out(source.name, asked.task))
    with writable(folder.root, "--out"):
        _refuse_others(folder)
    return folder


def default_out(name: str, task: str) -> Path:
    """runs/NAME-TASK in the current folder."""
    return Path("runs") / f"{re.sub(r'[^A-Za-z0-9_.-]+', '-', name)}-{task}"


def _refuse_others(folder: Folder) -> None:
    if folder.root.exists() and not folder.root.is_dir():
        raise UserError(f"a folder for the study was wanted, found a file at {folder.root}; give another --out")
    # a run that was killed in its first moment has left its lock
    own = {folder.lock.name} if folder.lock.is_file() else set()
    if folder.root.is_dir() and not folder.is_study and {p.name for p in folder.root.iterdir()} - own:
        raise UserError(
            f"a new, empty or study folder was wanted, found other files in {folder.root}; give another --out"
        )
    refuse_links(folder.root)
