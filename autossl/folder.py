"""The study folder: its paths, its settings, whole-or-nothing writes, and the lock of its first process."""

import errno
import fcntl
import json
import os
import shutil
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from autossl.errors import MachineStopped, UserError

FULL = {errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.ENOMEM}


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

    @property
    def weights(self) -> Path:
        """A copy of the weights that the user gave."""
        return self.root / "weights.safetensors"

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
        except (tomllib.TOMLDecodeError, UnicodeDecodeError):
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
        for path in (self.artifacts, self.checkpoints, self.cache):
            shutil.rmtree(path, ignore_errors=True)
        of_its_own = (self.config, self.weights, self.data, self.clock, self.state, self.stop, self.log, self.journal)
        for path in (*of_its_own, self.lock):
            path.unlink(missing_ok=True)


def existing(path: str | Path) -> Folder:
    """The study folder at `path`; UserError if there is none."""
    folder = Folder(Path(path))
    if not folder.is_study:
        found = "nothing" if not folder.root.exists() else "no config.toml of one"
        raise UserError(f"a study folder was wanted, found {found} at {path}; give the folder that --out named")
    return folder


@contextmanager
def writable(path: Path, option: str) -> Iterator[None]:
    """Turn a place that cannot be written to into one sentence that names the option; a full disk stays one."""
    with machine_faults():
        try:
            yield
        except OSError as fault:
            if fault.errno in FULL - {errno.EROFS}:
                raise
            raise UserError(
                f"a place to write to was wanted, found none at {option} {path} ({fault.strerror}); give another one"
            ) from None


def check_output(path: Path, option: str) -> None:
    """Refuse, before the work, a file that could not be written after it; UserError."""
    if path.is_dir():
        raise UserError(f"the name of a file was wanted, found a folder at {option} {path}; add a name to it")
    with writable(path, option):
        there = path.exists()
        with open(path, "ab"):
            pass
        if not there:
            path.unlink()


@contextmanager
def machine_faults() -> Iterator[None]:
    """Turn a full disk or failing storage into MachineStopped: the study can be resumed."""
    try:
        yield
    except OSError as fault:
        if fault.errno not in FULL:
            raise
        raise MachineStopped(
            f"the machine stopped the study ({fault.strerror}, at {fault.filename or 'the study folder'}); "
            "free space, then run autossl resume"
        ) from fault


def replace_file(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    """Write a file whole or not at all."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    with machine_faults():
        try:
            with open(part, "wb") as file:
                write(file)
                file.flush()
                os.fsync(file.fileno())
            os.replace(part, path)
        finally:
            part.unlink(missing_ok=True)


def write_json(path: Path, value: object) -> None:
    """Write JSON, whole or not at all; NaN is refused."""
    text = json.dumps(value, indent=1, allow_nan=False).encode()
    replace_file(path, lambda file: file.write(text))


def read_json(path: Path) -> Any:
    """Read JSON; None where there is no file."""
    return json.loads(path.read_text()) if path.is_file() else None


def write_toml(path: Path, values: dict[str, Any], comment: str) -> None:
    """Write a flat table of strings, numbers, booleans and lists of them; None is left out."""
    lines = [f"# {comment}"] + [f"{key} = {_toml(value)}" for key, value in values.items() if value is not None]
    replace_file(path, lambda file: file.write(("\n".join(lines) + "\n").encode()))


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {_toml(item)}" for key, item in value.items()) + " }"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_toml(item) for item in value) + "]"
    return json.dumps(value, ensure_ascii=False)  # JSON and TOML agree on strings, numbers and booleans


def read_toml(path: Path) -> dict[str, Any]:
    """Read a TOML file."""
    return tomllib.loads(path.read_text())


@contextmanager
def only_process(folder: Folder) -> Iterator[None]:
    """Hold the study folder; UserError if another process holds it. The lock dies with the process."""
    with writable(folder.root, "--out"):
        file = open(folder.lock, "a")  # noqa: SIM115
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(
                f"a study folder that no process works on was wanted, but {folder.root} is being worked on; "
                "wait, stop it with autossl stop, or choose another --out"
            ) from None
        yield
