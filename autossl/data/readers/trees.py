"""Arrays in trees of them, HDF5 and Zarr: those of a group, or one that is named and its neighbours."""

import importlib
import importlib.util
import math
from collections.abc import Collection
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autossl.data.readers import disk
from autossl.data.readers.archive import LAYOUT, Arrays
from autossl.errors import UserError
from autossl.errors.printable import shown

HDF5, ZARR = (".h5", ".hdf5"), (".zarr",)
REMEDY = "install autossl-imaging[arrays], or save the arrays as .npz"
IMAGES = "images"
LEAST_CHECKED, HIGHEST_RATIO = 1 << 28, 2000  # bytes; what packs better is no image
# all that a Zarr array may be packed by: others, as pickle, run code
CODECS = frozenset(
    {
        *("blosc", "bytes", "bz2", "crc32c", "delta", "endian", "gzip", "lz4", "lzma", "sharding_indexed", "shuffle"),
        *("transpose", "vlen-utf8", "zlib", "zstd"),
        *(f"numcodecs.{name}" for name in ("bz2", "delta", "lz4", "shuffle", "zlib")),
    }
)


def is_tree(path: Path) -> bool:
    """Whether a path is such a file by its name; a Zarr store is a folder."""
    return path.suffix.lower() in (*HDF5, *ZARR)


def read_tree(path: Path, part: str, names: Collection[str]) -> tuple[Arrays, list[str]]:
    """The arrays of these names in the group that `part` leads to, and the names of the others there.

    Where it leads to an array, that is the images, and arrays of these names beside it belong to them.
    """
    zarr = path.suffix.lower() in ZARR
    library = "zarr" if zarr else "h5py"
    if importlib.util.find_spec(library) is None:
        raise UserError(f"the package {library} was wanted to read {path}, found none; {REMEDY}")
    with ExitStack() as stack:
        try:
            return _read(_zarr(path) if zarr else _hdf5(path, stack), part, names, path)
        except UserError:
            raise
        except MemoryError:
            raise UserError(
                f"arrays that fit into memory were wanted, found larger ones in {path}; give a folder of files"
            ) from None
        except Exception as fault:  # as for images: what damage makes a reader raise knows no bounds
            raise UserError(
                f"{LAYOUT} was wanted, found a file that is damaged or of another form at {path} "
                f"({type(fault).__name__}); copy it again"
            ) from None


def _hdf5(path: Path, stack: ExitStack) -> Any:
    h5py = importlib.import_module("h5py")
    file = stack.enter_context(disk.open_file(path, "an HDF5 file"))
    return stack.enter_context(h5py.File(file, "r"))


def _zarr(path: Path) -> Any:
    if not disk.is_folder(path) or not path.is_dir():
        raise UserError(f"a folder of Zarr was wanted, found {disk.what_is(path) or 'none'} at {path}; unpack it")
    zarr = importlib.import_module("zarr")
    store = zarr.storage.LocalStore(path, read_only=True)
    try:  # what is consolidated need not be what the arrays themselves say
        return zarr.open_group(store, mode="r", use_consolidated=False)
    except Exception:  # whatever it raises for what is no group
        return zarr.open_array(store, mode="r")


def _read(root: Any, part: str, names: Collection[str], path: Path) -> tuple[Arrays, list[str]]:
    steps = [step for step in part.split("/") if step]
    node, above = root, None
    for step in steps:
        if _is_array(node) or step not in node:
            listed = ", ".join(map(shown, sorted(node))) if not _is_array(node) else "an array"
            raise UserError(
                f"{shown(part)} was wanted, found {listed or 'nothing'} on the way there in {path}; name one"
            )
        node, above = _child(node, step, path), node
    if _is_array(node):
        beside = [] if above is None else [name for name in above if name in names and name not in (steps[-1], IMAGES)]
        found = {IMAGES: _values(node, part, path)}
        return found | {name: _values(_child(above, name, path), name, path) for name in beside}, []
    there = {name: _child(node, name, path) for name in node if name in names}
    known = {name: _values(each, name, path) for name, each in there.items() if _is_array(each)}
    return known, sorted(set(node) - set(known))


def _is_array(node: Any) -> bool:
    return hasattr(node, "dtype")


def _child(group: Any, name: str, path: Path) -> Any:
    """What is called so in a group; UserError for links, which lead to other files."""
    if hasattr(group, "file") and type(group.get(name, getlink=True)).__name__ != "HardLink":
        raise UserError(f"arrays in the file itself were wanted, found a link, {shown(name)}, in {path}; copy it there")
    return group[name]


def _values(array: Any, name: str, path: Path) -> NDArray[Any]:
    if hasattr(array, "id") and hasattr(array, "is_virtual"):
        return _of_hdf5(array, name, path)
    strange = _codecs(array.metadata) - CODECS
    if strange or array.dtype.kind not in "biufUST":
        what = f"packed by {', '.join(map(shown, sorted(strange)))}" if strange else f"of {shown(str(array.dtype))}"
        raise UserError(f"arrays of numbers or text were wanted, found {shown(name)} {what} in {path}; save it again")
    _refuse_promise(array.shape, array.dtype.itemsize, array.nbytes_stored(), name, path)
    found = np.asarray(array[...])
    return found.astype(str) if found.dtype.kind == "T" else found


def _of_hdf5(array: Any, name: str, path: Path) -> NDArray[Any]:
    if array.is_virtual or array.external:
        raise UserError(
            f"arrays in the file itself were wanted, found {shown(name)} elsewhere, in {path}; copy it there"
        )
    _refuse_promise(array.shape, array.dtype.itemsize, array.id.get_storage_size(), name, path)
    if importlib.import_module("h5py").check_string_dtype(array.dtype) is not None:
        return np.asarray(array.asstr()[...]).astype(str)
    if array.dtype.kind not in "biuf":
        raise UserError(
            f"arrays of numbers or text were wanted, found {shown(name)} of {shown(str(array.dtype))} in {path}; save "
            "it again"
        )
    return np.asarray(array[...])


def _refuse_promise(shape: tuple[int, ...], size: int, stored: int, name: str, path: Path) -> None:
    """UserError where an array promises what is not there, before memory is taken for it."""
    if (promised := math.prod(shape) * size) > max(LEAST_CHECKED, HIGHEST_RATIO * stored):
        raise UserError(
            f"arrays that can be read were wanted, found {shown(name)} of {promised:,} bytes of which {stored:,} are "
            f"stored in {path}; save it again"
        )


def _codecs(metadata: Any) -> set[str]:
    """The names of all that a Zarr array is packed by."""
    found = set[str]()
    for each in (*getattr(metadata, "codecs", ()), *(getattr(metadata, "filters", None) or ())):
        about = each.to_dict() if hasattr(each, "to_dict") else each.get_config()
        found.add(about.get("name") or about.get("id"))
        inner = about.get("configuration", {}) if isinstance(about.get("configuration"), dict) else {}
        for key in ("codecs", "index_codecs"):
            found |= {str(one.get("name")) for one in inner.get(key, ())}
    if (compressor := getattr(metadata, "compressor", None)) is not None:
        found.add(compressor.get_config()["id"])
    return found
