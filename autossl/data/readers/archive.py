"""Reads the arrays of an npz archive, and says of each one that cannot be read what it is called and why."""

import math
import zipfile
from collections.abc import Collection
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from autossl.data.readers.disk import open_file
from autossl.errors import UserError
from autossl.errors.printable import shown

LAYOUT = "a MedMNIST-layout npz (train_images, train_labels, val_..., test_...) or images and labels"
MAGIC = (b"PK", b"\x93NUMPY")  # how archives and single arrays begin
ENCRYPTED = 1  # bit of a member's flags
ARRAY_SUFFIX = ".npy"
LAST_CHARACTER, SURROGATES = 0x10FFFF, (0xD800, 0xDFFF)
Arrays = dict[str, NDArray[Any]]


def read_arrays(path: Path, names: Collection[str]) -> tuple[Arrays, list[str]]:
    """The arrays of these names, and the names of the others, which are not read."""
    with open_file(path, LAYOUT) as file:
        head = file.read(len(MAGIC[1]))
        if head.startswith(MAGIC[1]):
            raise UserError(f"{LAYOUT} was wanted, found a single array in {path}; pass it to autossl.search")
        if head and not head.startswith(MAGIC[0]):
            raise UserError(
                f"{LAYOUT} was wanted, found a file of another kind at {path}; save the arrays by numpy.savez"
            )
        try:
            archive = zipfile.ZipFile(file)
        except Exception:  # whatever a damaged directory makes zipfile raise
            raise _damaged(path, file.seek(0, 2)) from None
        with archive:
            members = _members(archive, path)
            found = {name: _read(archive, member, path) for name, member in members.items() if name in names}
    return found, sorted(name for name in members if name not in names)


def _members(archive: zipfile.ZipFile, path: Path) -> dict[str, zipfile.ZipInfo]:
    members: dict[str, zipfile.ZipInfo] = {}
    for member in archive.infolist():
        name = member.filename.removesuffix(ARRAY_SUFFIX)
        if name in members:
            raise UserError(
                f"arrays of different names were wanted, found two called {shown(name)} in {path}; save it again"
            )
        members[name] = member
    return members


def _read(archive: zipfile.ZipFile, member: zipfile.ZipInfo, path: Path) -> NDArray[Any]:
    if member.flag_bits & ENCRYPTED:
        raise _unreadable(member, path, "it is encrypted", "save the archive without a password")
    try:
        with archive.open(member) as stream:
            _check_header(stream, member, path)
        with archive.open(member) as stream:
            values = np.lib.format.read_array(stream, allow_pickle=False)
            if stream.read(1):  # to the end, where the checksum is compared
                raise _unreadable(member, path, "it holds more than its header says")
    except UserError:
        raise
    except MemoryError:
        raise _unreadable(member, path, "it is larger than the memory", "give a folder of files") from None
    except Exception as fault:  # whatever the decoders of zipfile and the parser of NumPy raise for damage
        raise _unreadable(member, path, _why(fault)) from None
    _check_text(values, member, path)
    return values


def _check_header(stream: IO[bytes], member: zipfile.ZipInfo, path: Path) -> None:
    """UserError where the header promises what is not there, before memory is taken for it."""
    version = np.lib.format.read_magic(stream)
    reader = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = reader(stream)
    if dtype.hasobject:
        raise UserError(
            f"arrays of numbers were wanted, found an object array in {path}, {shown(member.filename)}, which could "
            "run code when opened; save it as one numeric array, images of one size"
        )
    count = math.prod(shape)
    if count * max(1, dtype.itemsize) > member.file_size:
        raise _unreadable(member, path, f"its header promises {count:,} values and it holds fewer")


def _why(fault: Exception) -> str:
    if isinstance(fault, ValueError) and "magic string" in str(fault):
        return "it is no array"
    return f"it is damaged ({type(fault).__name__})"


def _check_text(values: NDArray[Any], member: zipfile.ZipInfo, path: Path) -> None:
    """UserError for numbers in the place of characters, which Python can neither hold nor write."""
    if values.dtype.kind != "U" or not values.size or not values.dtype.itemsize:
        return
    codes = np.ascontiguousarray(values).view(np.dtype(np.uint32).newbyteorder(values.dtype.byteorder))
    if ((codes > LAST_CHARACTER) | ((codes >= SURROGATES[0]) & (codes <= SURROGATES[1]))).any():
        raise _unreadable(member, path, "its text is not Unicode")


def _unreadable(member: zipfile.ZipInfo, path: Path, why: str, remedy: str = "save or copy it again") -> UserError:
    return UserError(f"arrays that can be read were wanted, found {shown(member.filename)} in {path} ({why}); {remedy}")


def _damaged(path: Path, size: int) -> UserError:
    return UserError(
        f"a whole npz archive was wanted, found one that is truncated or damaged at {path} "
        f"({size:,} bytes); copy or download it again"
    )
