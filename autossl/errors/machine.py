"""What a machine may refuse: disks that are full, memory that is used up, places that cannot be written to."""

import errno
import io
import os
import re
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from autossl.errors import MachineStopped, NoCandidate, UserError
from autossl.errors.keywords import path_of

FULL = {errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.ENOMEM}
OF_RUST = re.compile(r"\(os error (\d+)\)")  # how safetensors tells the number of a system's error
NO_MEMORY = re.compile("DefaultCPUAllocator|can't allocate memory|CUDA out of memory")  # of torch's RuntimeError


def why_stopped(fault: BaseException) -> str | None:
    """In words and with a remedy, why the machine would not go on; None for a fault that is not its own."""
    number = fault.errno if isinstance(fault, OSError) else _number(str(fault))
    if isinstance(fault, MemoryError) or number == errno.ENOMEM or NO_MEMORY.search(str(fault)):
        return "out of memory; give it more, or a smaller --image-size"
    if number not in FULL or number is None:
        return None
    return f"{os.strerror(number)}, at {getattr(fault, 'filename', None) or 'the folder it writes to'}; free space"


def _number(text: str) -> int | None:
    found = OF_RUST.search(text)
    return int(found[1]) if found else None


@contextmanager
def machine_faults() -> Iterator[None]:
    """Turn a full disk, failing storage or a lack of memory into MachineStopped: the study can be resumed."""
    try:
        yield
    except (UserError, NoCandidate, MachineStopped):
        raise
    except Exception as fault:
        why = why_stopped(fault)
        if why is None:
            raise
        raise MachineStopped(f"the machine stopped the study ({why}, then run autossl resume)") from fault


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


def check_output(path: Path, option: str, *endings: str) -> None:
    """Refuse, before the work, a file that could not be written after it, or has another ending; UserError."""
    path_of(path, option)
    if path.is_dir():
        raise UserError(f"the name of a file was wanted, found a folder at {option} {path}; add a name to it")
    if endings and path.suffix.lower() not in endings:
        raise UserError(f"a file name that ends in {endings[0]} was wanted, found {option} {path}; give it that ending")
    there = os.path.lexists(path)
    if there and not path.is_file():
        raise UserError(f"a file to write was wanted, found something else at {option} {path}; give another name")
    with writable(path, option):
        with open(path, "ab"):
            pass
        if not there:
            path.unlink()


def check_folder(path: Path, option: str) -> None:
    """Refuse, before the work, a folder that has something in it or could not be made after it; UserError."""
    path_of(path, option)
    with writable(path, option):
        if os.path.lexists(path) and (not path.is_dir() or any(path.iterdir())):
            raise UserError(f"an empty or new folder was wanted, found something at {option} {path}; choose another")
        absent = absent_folders(path)
        try:
            path.mkdir(parents=True, exist_ok=True)
        finally:
            remove_empty(absent)


def absent_folders(path: Path) -> list[Path]:
    """The folders that must be made for this one, itself first."""
    return [folder for folder in (path, *path.parents) if not os.path.lexists(folder)]


def remove_empty(folders: list[Path]) -> None:
    """Remove folders, inner ones first, as far as nothing is in them."""
    with suppress(OSError):
        for folder in folders:
            if folder.exists():
                folder.rmdir()


def open_own(path: Path) -> IO[str]:
    """A file of ours to append to, made if it is not there; OSError for pipes and devices, which would hold us up."""
    number = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NONBLOCK | os.O_CLOEXEC, 0o666)
    if not stat.S_ISREG(os.fstat(number).st_mode):
        os.close(number)
        raise OSError(errno.EINVAL, "a pipe or device is there", str(path))
    return open(number, "a", encoding="utf-8", errors="backslashreplace")


class _Noting(io.BufferedIOBase):
    """A file that notes why it could not be written: torch and NumPy say only that it could not."""

    def __init__(self, path: Path) -> None:
        self.file = open(path, "wb")  # noqa: SIM115 (closed below)
        self.failed: OSError | None = None

    def write(self, data: Any, /) -> int:
        try:
            return self.file.write(data)
        except OSError as fault:
            self.failed = fault
            raise

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0, /) -> int:
        return self.file.seek(offset, whence)

    def tell(self) -> int:
        return self.file.tell()

    def flush(self) -> None:
        if not self.file.closed:
            self.file.flush()

    def close(self) -> None:
        self.file.close()
        super().close()


def replace_file(path: Path, write: Callable[[Any], object]) -> None:
    """Write a file whole or not at all."""
    part = path.with_name(f".{path.name[:50]}.{os.getpid()}.part")
    with machine_faults():
        try:
            with _Noting(part) as file:
                try:
                    write(file)
                except RuntimeError as fault:
                    raise file.failed or fault from None
                file.flush()
                os.fsync(file.file.fileno())
            os.replace(part, path)
        finally:
            part.unlink(missing_ok=True)
