"""Archives, zip and tar, read in place: where each member lies, and its bytes within the bounds that it promises."""

import os
import stat
import tarfile
import zipfile
import zlib
from functools import lru_cache
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from autossl.errors import UserError

SUFFIXES = (".zip", ".tar")
PACKED = (".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")  # of these only the beginning can be found at once
MOST_OF_A_MEMBER = 1 << 31
HIGHEST_RATIO = 1100  # deflate packs no more than 1032 bytes into one
LOCAL_HEADER, NAMES_AT, LOCAL_MAGIC = 30, 26, b"PK\3\4"
ENCRYPTED = 1


class Member(NamedTuple):
    """Where a file lies in an archive."""

    start: int  # of its bytes, in a zip of the header before them
    packed: int
    size: int
    check: int | None  # CRC-32
    deflated: bool


class Archive(NamedTuple):
    """An archive as a folder; names are relative, with slashes, and lead out of nothing."""

    files: dict[str, Member]
    below: dict[str, list[str]]  # what lies directly in each folder, in order; that of the archive is ""


def split(path: Path) -> tuple[Path, str] | None:
    """The archive that a path leads into or names, and the name in it; None where there is none on the way."""
    if not any(part.lower().endswith(SUFFIXES) for part in path.parts):
        return None
    for outer in (*reversed(path.parents), path):
        if outer.name.lower().endswith(SUFFIXES) and outer.is_file():
            return outer, "/".join(path.relative_to(outer).parts)
    return None


def refuse_packed(path: Path) -> None:
    """UserError for archives that would have to be unpacked as a whole."""
    if path.name.lower().endswith(PACKED):
        raise UserError(
            f"a zip or an uncompressed tar was wanted, found a compressed tar at {path}, of which no file can be read "
            "by itself; unpack it, or pack it as zip"
        )


def index(path: Path) -> Archive:
    """What lies in an archive; UserError where it is damaged or its names are not safe."""
    found = path.stat()
    return _index(path, found.st_size, found.st_mtime_ns)


def opened(path: Path, name: str) -> BytesIO | None:
    """A member's bytes; None where there is none of this name. OSError where they are not what the archive says."""
    member = index(path).files.get(name)
    if member is None:
        return None
    with open(path, "rb") as file:
        file.seek(member.start)
        if member.check is not None:
            head = file.read(LOCAL_HEADER)
            if head[:4] != LOCAL_MAGIC:
                raise OSError("its archive is damaged")
            lengths = (head[NAMES_AT : NAMES_AT + 2], head[NAMES_AT + 2 : NAMES_AT + 4])
            file.seek(sum(int.from_bytes(length, "little") for length in lengths), os.SEEK_CUR)
        data = file.read(member.packed)
    if member.deflated:
        try:
            data = zlib.decompressobj(-zlib.MAX_WBITS).decompress(data, member.size + 1)
        except zlib.error:
            raise OSError("its archive is damaged") from None
    if len(data) != member.size or (member.check is not None and zlib.crc32(data) != member.check):
        raise OSError("its archive is damaged")
    return BytesIO(data)


@lru_cache(maxsize=8)
def _index(path: Path, _size: int, _time: int) -> Archive:
    try:
        members = _of_zip(path) if path.name.lower().endswith(".zip") else _of_tar(path)
    except UserError:
        raise
    except Exception as fault:  # whatever a damaged directory makes zipfile and tarfile raise
        raise UserError(
            f"a whole archive was wanted, found one that is damaged at {path} ({type(fault).__name__}); copy it again"
        ) from None
    files: dict[str, Member] = {}
    below: dict[str, set[str]] = {"": set()}
    for name, member in members:
        _check(name, member, path)
        if name in files:
            raise _unsafe(path, "two files of one name")
        files[name] = member
        for above, part in _steps(name):
            below.setdefault(above, set()).add(part)
    if any(name in below for name in files):
        raise _unsafe(path, "a name that is a file and a folder")
    return Archive(files, {name: sorted(inside) for name, inside in below.items()})


def _steps(name: str) -> list[tuple[str, str]]:
    """Each folder on the way to a file, and what lies in it on that way."""
    parts = name.split("/")
    return [("/".join(parts[:at]), part) for at, part in enumerate(parts)]


def _check(name: str, member: Member, path: Path) -> None:
    parts = PurePosixPath(name).parts
    if "\\" in name or "\0" in name or not parts or "/".join(parts) != name or ".." in parts or parts[0] == "/":
        raise _unsafe(path, "a name that leads out of it")
    if member.size > MOST_OF_A_MEMBER or member.size > HIGHEST_RATIO * member.packed + HIGHEST_RATIO:
        raise _unsafe(path, "a file that promises more than it can hold")


def _unsafe(path: Path, found: str) -> UserError:
    return UserError(
        f"an archive that is safe to read was wanted, found {found} in {path}; unpack and look at it first"
    )


def _of_zip(path: Path) -> list[tuple[str, Member]]:
    found = []
    with zipfile.ZipFile(path) as archive:
        for each in archive.infolist():
            if each.is_dir() or stat.S_ISLNK(each.external_attr >> 16):
                continue
            if each.flag_bits & ENCRYPTED or each.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise _unsafe(path, "files that are encrypted or packed by another method than deflate")
            deflated = each.compress_type == zipfile.ZIP_DEFLATED
            own = Member(each.header_offset, each.compress_size, each.file_size, each.CRC, deflated)
            found.append((each.filename, own))
    return found


def _of_tar(path: Path) -> list[tuple[str, Member]]:
    with tarfile.open(path, "r:") as archive:
        return [
            (each.name.removeprefix("./"), Member(each.offset_data, each.size, each.size, None, False))
            for each in archive
            if each.isreg() and not each.issparse()
        ]
