"""NRRD (.nrrd, and .nhdr with its voxels beside it), as ITK, 3D Slicer and Teem write it."""

import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from autossl.data.readers import disk
from autossl.data.readers.grids import MOST_OF_A_HEADER, Grid, affine_of, detached, read_voxels
from autossl.data.readers.pages import Unreadable

MAGIC = b"NRRD000"
TYPES = {
    "i1": ("signed char", "int8", "int8_t"),
    "u1": ("uchar", "unsigned char", "uint8", "uint8_t"),
    "i2": ("short", "short int", "signed short", "signed short int", "int16", "int16_t"),
    "u2": ("ushort", "unsigned short", "unsigned short int", "uint16", "uint16_t"),
    "i4": ("int", "signed int", "int32", "int32_t"),
    "u4": ("uint", "unsigned int", "uint32", "uint32_t"),
    "i8": ("longlong", "long long", "long long int", "signed long long", "signed long long int", "int64", "int64_t"),
    "u8": ("ulonglong", "unsigned long long", "unsigned long long int", "uint64", "uint64_t"),
    "f4": ("float",),
    "f8": ("double",),
}
KINDS = {name: kind for kind, names in TYPES.items() for name in names}
PACKINGS = {"raw": "raw", "gzip": "gzip", "gz": "gzip", "bzip2": "bzip2", "bz2": "bzip2"}
WAYS = {"left": (0, -1), "right": (0, 1), "posterior": (1, -1), "anterior": (1, 1), "inferior": (2, -1),
        "superior": (2, 1)}  # fmt: skip
SHORT = {"l": "left", "r": "right", "p": "posterior", "a": "anterior", "i": "inferior", "s": "superior"}
ITKS = "left-posterior-superior"  # what a file without a space is taken for, as ITK does
VECTOR = re.compile(r"none|\(([^()]*)\)")
Fields = dict[str, str]


def grid(path: Path) -> Grid:
    """The volume of a file; Unreadable, or whatever damage makes Python raise, where there is none."""
    fields, start = _header(path)
    sizes = tuple(int(side) for side in fields["sizes"].split())
    kind, packing = KINDS.get(fields["type"].lower()), PACKINGS.get(fields["encoding"].lower())
    if kind is None or packing is None:
        raise Unreadable("its voxels are written in a form that is not read: save it as raw or gzip")
    if len(sizes) != int(fields["dimension"]):
        raise Unreadable("its header says two numbers of axes")
    dtype = np.dtype(kind).newbyteorder(">" if fields.get("endian", "little").lower() == "big" else "<")
    voxels = path
    if name := fields.get("data file", fields.get("datafile", "")):
        voxels, start = detached(path, name), 0
    start = _skipped(voxels, start, fields, packing)
    space, affine = _space(fields, len(sizes))
    order = (*space, *(axis for axis in range(len(sizes)) if axis not in space))

    def values(at: tuple[int, ...]) -> NDArray[np.generic]:
        found = read_voxels(voxels, start, sizes, dtype, packing).transpose(order)
        return found[(slice(None),) * 3 + at]

    return Grid(tuple(sizes[axis] for axis in order), affine, dtype, True, values)


def _header(path: Path) -> tuple[Fields, int]:
    """What stands before the voxels, and where it ends."""
    fields: Fields = {}
    with disk.open_file(path, "an NRRD") as file:
        if not file.readline(MOST_OF_A_HEADER).startswith(MAGIC):
            raise Unreadable("it is no NRRD or damaged")
        while (line := file.readline(MOST_OF_A_HEADER)).strip():
            name, mark, value = line.decode("utf-8", "replace").partition(": ")
            if mark and not name.startswith("#"):
                fields[name.strip().lower()] = value.strip()
            if file.tell() > MOST_OF_A_HEADER:
                raise Unreadable("it is no NRRD or damaged")
        return fields, file.tell()


def _skipped(voxels: Path, start: int, fields: Fields, packing: str) -> int:
    """Where voxels begin behind lines and bytes that the header passes over; -1: as many as there are at the end."""
    lines, count = (int(fields.get(f"{what} skip", fields.get(f"{what}skip", "0"))) for what in ("line", "byte"))
    if (lines or count) and packing != "raw":
        raise Unreadable("its header passes over bytes of what is compressed")
    if count < 0:
        return -1
    with disk.open_file(voxels, "a file of voxels") as file:
        file.seek(start)
        for _ in range(min(lines, MOST_OF_A_HEADER)):
            file.readline(MOST_OF_A_HEADER)
        return file.tell() + count


def _space(fields: Fields, n: int) -> tuple[list[int], NDArray[np.float64]]:
    """The three axes that lie in space, and where they lie."""
    if "space directions" in fields:
        found = [_vector(each.group(1)) for each in VECTOR.finditer(fields["space directions"])]
        vectors = {axis: vector for axis, vector in enumerate(found) if vector is not None}
        complete = len(found) == n
    else:
        steps = [float(step) for step in fields["spacings"].split()] if "spacings" in fields else [1.0] * n
        inside = _domain(fields, steps)
        vectors = {axis: np.eye(3)[at] * steps[axis] for at, axis in enumerate(inside[:3])}
        complete = len(steps) == n and len(inside) == 3
    if not complete or len(vectors) != 3:
        raise Unreadable("its header does not say which three axes lie in space")
    origin = _vector(fields.get("space origin", "(0,0,0)").strip("() "))
    origin = np.zeros(3) if origin is None else origin
    turned = _turned(fields.get("space", ITKS).lower())
    return list(vectors), affine_of(turned @ np.stack(list(vectors.values()), axis=1), turned @ origin)


def _domain(fields: Fields, steps: list[float]) -> list[int]:
    """The axes that are called space, or all that have a step."""
    kinds = fields.get("kinds", "").lower().split()
    called = [axis for axis, kind in enumerate(kinds) if kind in ("domain", "space")]
    return called or [axis for axis, step in enumerate(steps) if np.isfinite(step)]


def _vector(text: str | None) -> NDArray[np.float64] | None:
    """Three numbers; None for an axis that does not lie in space, as time, which ITK counts as a fourth number."""
    if text is None:
        return None
    found = np.array([float(part) for part in text.split(",")])
    if found.shape not in ((3,), (4,)):
        raise Unreadable("its header gives no place in space of three dimensions")
    return found[:3] if found[:3].any() or found.shape == (3,) else None


def _turned(space: str) -> NDArray[np.float64]:
    """(3, 3) from a space of NRRD to mm to the right, to the front and to the head."""
    words = space.removesuffix("-time").split("-")
    words = [SHORT.get(letter, "") for letter in words[0]] if len(words) == 1 and len(words[0]) in (3, 4) else words
    ways = [WAYS[word] for word in words if word in WAYS][:3]
    if sorted(axis for axis, _ in ways) != [0, 1, 2]:
        raise Unreadable("its header names a space that does not tell left from right")
    found = np.zeros((3, 3))
    for at, (axis, way) in enumerate(ways):
        found[axis, at] = way
    return found
