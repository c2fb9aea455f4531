"""Optuna's storage in the study folder: opened after repair, and read as entries for the scheduler."""

import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import optuna
from optuna.samplers import TPESampler
from optuna.storages import BaseStorage, JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileSymlinkLock
from optuna.storages.journal._file import get_lock_file
from optuna.trial import FrozenTrial, TrialState

from autossl.errors import MachineStopped, UserError
from autossl.record.entries import Entry
from autossl.record.folder import FULL, Folder
from autossl.record.stored import Damaged

STARTUP = 8  # trials before TPE models the space

_STATES = {
    TrialState.WAITING: "waiting",
    TrialState.RUNNING: "running",
    TrialState.PRUNED: "scored",
    TrialState.COMPLETE: "scored",
    TrialState.FAIL: "failed",
}


def mend(folder: Folder) -> None:
    """Make the journal readable again after a crash; for the process that holds the study folder.

    A lock that a killed process left costs others 30 s: nobody else works here, so it goes. A line cut off by a
    crash or a full disk makes the journal unreadable for good once something is appended, so it is cut back to its
    last whole line.
    """
    path = folder.journal
    _refuse_zeros(path)
    for lock in path.parent.glob(path.name + ".lock*"):  # the lock, and one caught while it was being released
        lock.unlink()
    if path.is_file():
        _cut_back(path)


def _refuse_zeros(path: Path) -> None:
    """`Damaged` for what a file system leaves of a file after a crash of the machine: it is no line cut off."""
    if path.is_file():
        with open(path, "rb") as file:
            if b"\0" in file.read(4096):
                raise Damaged(path, "it holds zeros")


def _cut_back(path: Path) -> None:
    with open(path, "rb+") as file:
        size = file.seek(0, os.SEEK_END)
        keep, block = size, b""
        while keep > 0:
            start = max(0, keep - 65536)
            file.seek(start)
            block = file.read(keep - start)
            newline = block.rfind(b"\n")
            if newline >= 0:
                keep = start + newline + 1
                break
            keep = start
        if keep < size:
            file.truncate(keep)


class _Journal(JournalFileBackend):
    """Optuna's journal that drops half a line, left by a worker that died writing it, before it appends."""

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        with get_lock_file(self._lock):
            _cut_back(Path(self._file_path))
        super().append_logs(logs)


def open_storage(folder: Folder, kind: Callable[[JournalFileBackend], BaseStorage] = JournalStorage) -> BaseStorage:
    """The journal in the study folder, as what reads it. No setting leads elsewhere: a folder may come from anybody."""
    # absolute: the lock is a symbolic link to the journal, and one that dangles never grows stale
    path = str(folder.journal.resolve())
    _refuse_zeros(folder.journal)
    try:
        return kind(_Journal(path, lock_obj=JournalFileSymlinkLock(path)))
    except OSError:
        raise
    except Exception as fault:  # Optuna trusts every line of it
        raise Damaged(folder.journal, type(fault).__name__) from None


def open_study(folder: Folder, name: str) -> optuna.Study:
    """The Optuna study of this folder, made if it is not there; larger scores are better."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    pruner = optuna.pruners.NopPruner()
    with storage_faults():
        storage = open_storage(folder)
        with suppress(KeyError):  # to open one that is there writes nothing
            return optuna.load_study(storage=storage, study_name=name, pruner=pruner)
        return optuna.create_study(
            storage=storage, study_name=name, direction="maximize", load_if_exists=True, pruner=pruner
        )


def read_study(folder: Folder, name: str) -> optuna.Study | None:
    """The Optuna study of this folder to read, also where nothing may be written; None while there is none."""
    if not folder.journal.is_file():
        return None
    with storage_faults():
        storage = open_storage(folder)
        try:
            return optuna.load_study(study_name=name, storage=storage)
        except KeyError:
            return None


@contextmanager
def storage_faults() -> Iterator[None]:
    """Turn a storage that fails into MachineStopped: the study can be resumed."""
    try:
        yield
    except OSError as fault:
        if fault.errno not in FULL:
            raise
        raise MachineStopped(
            f"the study's storage failed ({fault.strerror}); free space, then run autossl resume"
        ) from fault


def sampler(seed: int, *key: int) -> TPESampler:
    """TPE for one ask. Its seed follows from the study's seed and what is asked for, never from how often one asked."""
    mixed = seed
    for part in key:
        mixed = (mixed * 1_000_003 + part + 1) % (1 << 32)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)  # group=True
        return TPESampler(multivariate=True, group=True, constant_liar=True, n_startup_trials=STARTUP, seed=mixed)


def entry(trial: FrozenTrial) -> Entry | None:
    """One trial as the scheduler sees it; None while its worker has not yet said what it is."""
    attrs = trial.user_attrs
    if "candidate" not in attrs:
        return None
    try:
        return _entry(trial, attrs)
    except (KeyError, TypeError, ValueError) as fault:
        raise UserError(
            f"trials that AutoSSL wrote were wanted, found number {trial.number} of study.journal with others "
            f"({type(fault).__name__}); copy the study again from where it is whole"
        ) from None


def _entry(trial: FrozenTrial, attrs: dict[str, Any]) -> Entry:
    return Entry(
        number=trial.number,
        candidate=int(attrs["candidate"]),
        method=str(attrs["method"]),
        paradigm=str(attrs["paradigm"]),
        rung=int(attrs["rung"]),
        state=_STATES[trial.state],  # type: ignore[arg-type]
        score=attrs.get("score"),
        se=attrs.get("se"),
        seconds=float(attrs.get("seconds", 0.0)),
        prior_index=attrs.get("prior_index"),
        checkpoint=attrs.get("checkpoint"),
        reason=str(attrs.get("reason", "")),
        ranked=bool(attrs.get("ranked", True)),
        shortcut=bool(attrs.get("shortcut")),
    )


def entries(trials: list[FrozenTrial]) -> list[Entry]:
    """All trials as the scheduler sees them, by number."""
    return [e for e in (entry(t) for t in trials) if e is not None]
