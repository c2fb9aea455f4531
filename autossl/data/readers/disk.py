"""What lies on disk: files that can be read to their end, folders that can be looked into."""

import errno
import os
import stat
from pathlib import Path
from typing import IO

from autossl.errors import UserError

ABSENT = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG)
KINDS = ((stat.S_ISDIR, "a folder"), (stat.S_ISFIFO, "a pipe"), (stat.S_ISSOCK, "a socket"))
DICOM_AT, DICOM_MAGIC = 128, b"DICM"


def is_file(path: Path) -> bool:
    """Whether a regular file (or a link to one) is there: pipes and devices would be read without end."""
    found = _stat(path)
    return found is not None and stat.S_ISREG(found.st_mode)


def is_folder(path: Path) -> bool:
    """Whether a folder (or a link to one) is there."""
    found = _stat(path)
    return found is not None and stat.S_ISDIR(found.st_mode)


def what_is(path: Path) -> str:
    """What is at a path that is no regular file: a folder, a pipe, a socket, a device; "" for nothing and for files."""
    found = _stat(path)
    if found is None or stat.S_ISREG(found.st_mode):
        return ""
    return next((word for test, word in KINDS if test(found.st_mode)), "a device")


def open_file(path: Path, wanted: str) -> IO[bytes]:
    """A regular file opened for reading; UserError for anything else, by what `wanted` names."""
    if not is_file(path):
        raise UserError(f"{wanted} was wanted, found {what_is(path) or 'nothing'} at {path}; give a file")
    try:
        return open(path, "rb")
    except OSError as fault:
        raise refused(path, fault) from None


def folders(folder: Path) -> list[Path]:
    """The folders in a folder, sorted, without hidden ones; UserError where it may not be looked into."""
    try:
        with os.scandir(folder) as entries:
            names = sorted(entry.name for entry in entries if not hidden(entry.name))
    except OSError as fault:
        raise refused(folder, fault) from None
    return [path for name in names if is_folder(path := Path(folder, name))]


def files(folder: Path) -> list[Path]:
    """All files below a folder, in order, without hidden ones; UserError where a folder may not be looked into."""

    def refuse(fault: OSError) -> None:  # passed over, a class would be empty without a word
        raise refused(Path(fault.filename or folder), fault)

    found = []
    for here, below, names in os.walk(folder, onerror=refuse):
        below[:] = sorted(name for name in below if not hidden(name))
        found += [Path(here, name) for name in sorted(names) if not hidden(name)]
    return found


def hidden(name: str) -> bool:
    """Whether a name is of those that systems add: .DS_Store, __MACOSX."""
    return name.startswith((".", "__MACOSX"))


def is_dicom(path: Path) -> bool:
    """Whether a file says in its head that it is DICOM, whatever it is called."""
    try:
        if not is_file(path):
            return False
        with open(path, "rb") as file:
            file.seek(DICOM_AT)
            return file.read(len(DICOM_MAGIC)) == DICOM_MAGIC
    except (OSError, UserError):
        return False


def refused(path: Path, fault: OSError) -> UserError:
    """The sentence for a file or folder that the system does not open."""
    why = (fault.strerror or type(fault).__name__).lower()
    remedy = "change its permissions" if isinstance(fault, PermissionError) else "check the disk"
    return UserError(f"files and folders that can be read were wanted, found {why} at {path}; {remedy}")


def _stat(path: Path) -> os.stat_result | None:
    """None where nothing is there, or a link to nothing; UserError where the way there is barred."""
    try:
        return os.stat(path)
    except ValueError:  # a name with a zero byte
        return None
    except OSError as fault:
        if fault.errno in ABSENT:
            return None
        raise refused(path, fault) from None
