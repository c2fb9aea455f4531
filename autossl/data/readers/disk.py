"""What lies on disk: files that can be read to their end, folders and archives that can be looked into."""

import errno
import os
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import IO

from autossl.data.readers import packed
from autossl.errors import UserError

ABSENT = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG)
KINDS = ((stat.S_ISDIR, "a folder"), (stat.S_ISFIFO, "a pipe"), (stat.S_ISSOCK, "a socket"))
DICOM_AT, DICOM_MAGIC = 128, b"DICM"
INSIDE = "::"  # between a file and what is meant inside of it: scan.nii.gz::3, data.h5::/images


def parted(path: Path | str) -> tuple[Path, str]:
    """A file, and what is meant inside of it; "" for all of it."""
    file, mark, part = str(path).partition(INSIDE)
    return (Path(path), "") if not mark or os.path.lexists(path) else (Path(file), part)


def with_part(path: Path, part: str) -> Path:
    """A file with what is meant inside of it; as it is where that is said already."""
    return path if not part or parted(path)[1] else path.with_name(f"{path.name}{INSIDE}{part}")


def is_file(path: Path) -> bool:
    """Whether a regular file (or a link to one) is there: pipes and devices would be read without end."""
    found = _mode(path)
    return found is not None and stat.S_ISREG(found)


def is_folder(path: Path) -> bool:
    """Whether a folder (or a link to one) or an archive is there."""
    found = _mode(path)
    return found is not None and stat.S_ISDIR(found)


def what_is(path: Path) -> str:
    """What is at a path that is no regular file: a folder, a pipe, a socket, a device; "" for nothing and for files."""
    found = _mode(path)
    if found is None or stat.S_ISREG(found):
        return ""
    return next((word for test, word in KINDS if test(found)), "a device")


def open_file(path: Path, wanted: str) -> IO[bytes]:
    """A regular file opened for reading; UserError for anything else, by what `wanted` names."""
    if not is_file(path):
        raise UserError(f"{wanted} was wanted, found {what_is(path) or 'nothing'} at {path}; give a file")
    try:
        return opened(path)
    except OSError as fault:
        raise refused(path, fault) from None


def opened(path: Path) -> IO[bytes]:
    """A file for reading, from an archive as a whole in memory; OSError where that fails."""
    path = parted(path)[0]
    if (inside := packed.split(path)) is None:
        return open(path, "rb")
    if (found := packed.opened(*inside)) is None:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
    return found


def stamp(path: Path) -> str:
    """Size and time of a file, or of the archive that it is in: what tells that it is still the same."""
    try:
        path = parted(path)[0]
        inside = packed.split(path)
        found = (path if inside is None else inside[0]).stat()
    except OSError:  # a link to nothing, counted with the unreadable images
        return "gone"
    return f"{found.st_size}\0{found.st_mtime_ns}"


def names(folder: Path) -> list[str]:
    """What lies directly in a folder or an archive, in order, without hidden names; UserError where it is barred."""
    if inside := packed.split(folder):
        return [name for name in packed.index(inside[0]).below.get(inside[1], []) if not hidden(name)]
    try:
        with os.scandir(folder) as entries:
            return sorted(entry.name for entry in entries if not hidden(entry.name))
    except OSError as fault:
        raise refused(folder, fault) from None


def entered(path: Path) -> Path:
    """The folder that is all that an archive holds; any other path as it is."""
    while (inside := packed.split(path)) and is_folder(path) and len(there := names(path)) == 1:
        if not is_folder(path / there[0]):
            break
        path = inside[0] / inside[1] / there[0]
    return path


def folders(folder: Path) -> list[Path]:
    """The folders in a folder, sorted, without hidden ones; UserError where it may not be looked into."""
    return [path for name in names(folder) if _is_real_folder(path := Path(folder, name))]


def files(folder: Path) -> list[Path]:
    """All files below a folder, in order, without hidden ones; UserError where a folder may not be looked into."""
    if inside := packed.split(folder):
        start = f"{inside[1]}/" if inside[1] else ""
        below = [name for name in packed.index(inside[0]).files if name.startswith(start)]
        kept = [name for name in below if not any(map(hidden, name.removeprefix(start).split("/")))]
        return sorted((inside[0] / name for name in kept), key=lambda path: (path.parent, path.name))

    def refuse(fault: OSError) -> None:  # passed over, a class would be empty without a word
        raise refused(Path(fault.filename or folder), fault)

    found = []
    for here, below, own in os.walk(folder, onerror=refuse):
        below[:] = sorted(name for name in below if not hidden(name))
        found += [Path(here, name) for name in sorted(own) if not hidden(name)]
    return found


def _is_real_folder(path: Path) -> bool:
    """An archive in a folder is a file of it."""
    inside = packed.split(path)
    return (inside is None or inside[1] != "") and is_folder(path)


def refuse_escapes(root: Path, names: Iterable[str], table: Path) -> None:
    """UserError where a table names a file that does not lie below this folder; links in it are its owner's."""
    top = os.path.abspath(root)
    for row, name in enumerate(names, 2):
        if os.path.commonpath((top, os.path.abspath(os.path.join(top, name)))) != top:
            raise UserError(
                f"paths below {root} were wanted, found one in row {row} of {table} that leads out of it; move the "
                f"images there, or name the folder that holds them all behind the table: {table.name}{INSIDE}FOLDER"
            )


def hidden(name: str) -> bool:
    """Whether a name is of those that systems add: .DS_Store, __MACOSX."""
    return name.startswith((".", "__MACOSX"))


def is_dicom(path: Path) -> bool:
    """Whether a file says in its head that it is DICOM, whatever it is called."""
    try:
        if not is_file(path):
            return False
        with opened(path) as file:
            file.seek(DICOM_AT)
            return file.read(len(DICOM_MAGIC)) == DICOM_MAGIC
    except (OSError, UserError):
        return False


def refused(path: Path, fault: OSError) -> UserError:
    """The sentence for a file or folder that the system does not open."""
    why = (fault.strerror or type(fault).__name__).lower()
    remedy = "change its permissions" if isinstance(fault, PermissionError) else "check the disk"
    return UserError(f"files and folders that can be read were wanted, found {why} at {path}; {remedy}")


def _mode(path: Path) -> int | None:
    """Of what kind a file is; None where nothing is there, or a link to nothing; UserError where the way is barred."""
    try:
        path = parted(path)[0]
        if (inside := packed.split(path)) is not None:
            known = packed.index(inside[0])
            return stat.S_IFREG if inside[1] in known.files else stat.S_IFDIR if inside[1] in known.below else None
        return os.stat(path).st_mode
    except UserError:
        raise
    except ValueError:  # a name with a zero byte
        return None
    except OSError as fault:
        if fault.errno in ABSENT:
            return None
        raise refused(path, fault) from None
