"""MetaImage (.mha, and .mhd with its voxels beside it), as ITK writes it."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from autossl.data.readers import disk
from autossl.data.readers.grids import MOST_OF_A_HEADER, TO_BODY, Grid, affine_of, detached, read_voxels
from autossl.data.readers.pages import Unreadable

TYPES = {
    "MET_CHAR": "i1", "MET_UCHAR": "u1", "MET_SHORT": "i2", "MET_USHORT": "u2", "MET_INT": "i4", "MET_UINT": "u4",
    "MET_LONG": "i4", "MET_ULONG": "u4", "MET_LONG_LONG": "i8", "MET_ULONG_LONG": "u8", "MET_FLOAT": "f4",
    "MET_DOUBLE": "f8",
}  # fmt: skip
MEANT = (("Slope", 1), ("Offset", 0))
LAST, HERE = "ElementDataFile", "LOCAL"
DIRECTIONS = ("TransformMatrix", "Rotation", "Orientation")
PLACES = ("Offset", "Position", "Origin")
Fields = dict[str, str]


def grid(path: Path) -> Grid:
    """The volume of a file; Unreadable, or whatever damage makes Python raise, where there is none."""
    fields, start = _header(path)
    n, channels = int(fields["NDims"]), int(fields.get("ElementNumberOfChannels", "1"))
    shape = tuple(int(side) for side in fields["DimSize"].split())
    kind = TYPES.get(fields["ElementType"].removesuffix("_ARRAY"))
    if kind is None or len(shape) != n or channels < 1:
        raise Unreadable("its header names no form of numbers that is read")
    if _true(fields, "BinaryData", "True") is False:
        raise Unreadable("its voxels are written as text: save it again")
    if [float(fields.get(f"ElementToIntensityFunction{name}", usual)) for name, usual in MEANT] != [1, 0]:
        raise Unreadable("its header gives a slope or an intercept, which ITK passes over: save values as they are")
    big = _true(fields, "BinaryDataByteOrderMSB") or _true(fields, "ElementByteOrderMSB")
    dtype = np.dtype(kind).newbyteorder(">" if big else "<")
    packing = "gzip" if _true(fields, "CompressedData") else "raw"
    voxels = path
    if fields[LAST] != HERE:
        voxels, start = detached(path, fields[LAST]), int(fields.get("HeaderSize", "0"))

    def values(at: tuple[int, ...]) -> NDArray[np.generic]:
        found = read_voxels(voxels, start, (channels, *shape), dtype, packing)
        found = np.moveaxis(found, 0, -1) if channels > 1 else found[0]
        return found[(slice(None),) * 3 + at]

    sides = (*shape, channels) if channels > 1 else shape
    return Grid(sides, _affine(fields, n), dtype, True, values)


def _header(path: Path) -> tuple[Fields, int]:
    """What stands before the voxels, and where it ends."""
    fields: Fields = {}
    with disk.open_file(path, "a MetaImage") as file:
        while LAST not in fields:
            line = file.readline(MOST_OF_A_HEADER)
            name, mark, value = line.decode("utf-8", "replace").partition("=")
            if not mark or file.tell() > MOST_OF_A_HEADER:
                raise Unreadable("it is no MetaImage or damaged")
            fields[name.strip()] = value.strip()
        return fields, file.tell()


def _true(fields: Fields, name: str, otherwise: str = "False") -> bool:
    return fields.get(name, otherwise).lower() in ("true", "1", "t", "yes")


def _affine(fields: Fields, n: int) -> NDArray[np.float64]:
    """Rows of the matrix are directions of axes, in the patient as DICOM has them."""
    spacing = _numbers(fields, ("ElementSpacing", "ElementSize"), np.ones(n))
    lead = _numbers(fields, DIRECTIONS, np.eye(n).ravel()).reshape(n, n)[:3, :3]
    place = _numbers(fields, PLACES, np.zeros(n))[:3]
    return affine_of(TO_BODY @ lead.T * spacing[:3], TO_BODY @ place)


def _numbers(fields: Fields, names: tuple[str, ...], otherwise: NDArray[np.float64]) -> NDArray[np.float64]:
    text = next((fields[name] for name in names if name in fields), None)
    found = otherwise if text is None else np.array([float(part) for part in text.split()])
    if found.shape != otherwise.shape:
        raise Unreadable("its header gives no place in space")
    return found
