"""The study folder: its paths, its settings, whole-or-nothing writes, and the lock of its first process."""

import fcntl
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autossl.errors import UserError
from autossl.errors.keywords import path_of
from autossl.errors.machine import (
    FULL,
    check_folder,
    check_output,
    machine_faults,
    open_own,
    replace_file,
    writable,
)
from autossl.record.links import refuse_links
from autossl.record.stored import Damaged, key, read_json, read_toml, toml

__all__ = [
    "FULL", "Folder", "change_json", "check_folder", "check_output", "existing", "machine_faults", "only_process",
    "read_json", "read_toml", "replace_file", "writable", "write_json", "write_toml",
]  # fmt: skip


@dataclass(frozen=True)
class Folder:
    """Paths inside a study folder."""

    root: Path

    @property
    def config(self) -> Path:
        return self.root / "config.toml"

    @property
    def data(self) -> Path:
        return self.root / "data.json"

    @property
    def journal(self) -> Path:
        return self.root / "study.journal"

    @property
    def clock(self) -> Path:
        return self.root / "clock.json"

    @property
    def state(self) -> Path:
        return self.root / "state.json"

    def weights(self, place: int = 0) -> Path:
        """A copy of the weights that have this place among the given ones."""
        return self.root / (f"weights-{place}.safetensors" if place else "weights.safetensors")

    @property
    def starts(self) -> Path:
        """Where given weights are exported to, fed in the way that suits the data best."""
        return self.root / "starts"

    @property
    def stop(self) -> Path:
        return self.root / "stop"

    @property
    def lock(self) -> Path:
        return self.root / "lock"

    @property
    def log(self) -> Path:
        return self.root / "autossl.log"

    @property
    def report(self) -> Path:
        return self.root / "report.html"

    @property
    def artifacts(self) -> Path:
        return self.root / "artifacts"

    @property
    def checkpoints(self) -> Path:
        return self.root / "checkpoints"

    @property
    def cache(self) -> Path:
        return self.root / "cache"

    @property
    def encoder(self) -> Path:
        return self.root / "encoder"

    @property
    def model(self) -> Path:
        return self.root / "model"

    @property
    def is_study(self) -> bool:
        """Whether the settings of a study are here; other programs have a config.toml too."""
        try:
            return self.config.is_file() and "study_name" in read_toml(self.config)
        except Damaged:
            return False

    @property
    def has_begun(self) -> bool:
        """Whether the images were decoded and described: before that, nothing here is worth keeping."""
        return self.data.is_file()

    @property
    def is_planned(self) -> bool:
        """Whether the study got past every refusal: its time is planned, and nothing of it was done before that."""
        return "plan" in (read_json(self.state) or {})

    def make(self) -> None:
        """Create the folder and its parts."""
        with writable(self.root, "--out"):
            for path in (self.root, self.artifacts, self.checkpoints, self.cache):
                path.mkdir(parents=True, exist_ok=True)

    def clear(self) -> None:
        """Remove the files of a study that never began, and nothing else."""
        for path in (self.artifacts, self.checkpoints, self.cache, self.starts):
            shutil.rmtree(path, ignore_errors=True)
        copies = self.root.glob("weights*.safetensors")
        of_its_own = (self.config, *copies, self.data, self.clock, self.state, self.stop, self.log, self.journal)
        for path in (*of_its_own, self.lock):
            path.unlink(missing_ok=True)


def existing(path: str | Path) -> Folder:
    """The study folder at `path`; UserError if there is none, its settings are damaged or links in it lead out."""
    folder = Folder(Path(path_of(path, "the folder of a study")))
    try:
        there, config = folder.root.exists(), folder.config.is_file()
    except OSError as fault:
        raise UserError(
            f"a study folder was wanted, but {path} cannot be read ({fault.strerror}); ask for leave to read it"
        ) from None
    if not config or "study_name" not in read_toml(folder.config):
        found = "no config.toml of one" if there else "nothing"
        raise UserError(f"a study folder was wanted, found {found} at {path}; give the folder that --out named")
    refuse_links(folder.root)
    return folder


def change_json(path: Path, how: Callable[[Mapping[str, Any]], Mapping[str, Any]]) -> None:
    """Write what `how` makes of the values in a file (none if it is not there) over them, while nobody else may.

    The folder itself is locked, so that nothing is left in it; processes and threads wait for each other.
    """
    handle = os.open(path.parent, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        known = read_json(path) or {}
        write_json(path, {**known, **how(known)})
    finally:
        os.close(handle)


def write_json(path: Path, value: object) -> None:
    """Write JSON, whole or not at all; NaN is refused."""
    text = json.dumps(value, indent=1, allow_nan=False).encode()
    replace_file(path, lambda file: file.write(text))


def write_toml(path: Path, values: dict[str, Any], comment: str) -> None:
    """Write a flat table of strings, numbers, booleans and lists of them; None is left out."""
    lines = [f"# {comment}"] + [f"{key(name)} = {toml(value)}" for name, value in values.items() if value is not None]
    replace_file(path, lambda file: file.write(("\n".join(lines) + "\n").encode()))


@contextmanager
def only_process(folder: Folder) -> Iterator[None]:
    """Hold the study folder; UserError if another process holds it. The lock dies with the process."""
    with writable(folder.root, "--out"):
        file = open_own(folder.lock)
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(
                f"a study folder that no process works on was wanted, but {folder.root} is being worked on; "
                "wait, stop it with autossl stop, or choose another --out"
            ) from None
        try:
            yield
        except Exception as fault:
            fault.autossl_log = folder.log  # type: ignore[attr-defined]  # where the edge tells of a fault of ours
            raise
