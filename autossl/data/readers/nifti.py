"""NIfTI files, one or a pair, and Analyze, read by nibabel."""

import gzip
import importlib
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from autossl.data.readers import disk, packed
from autossl.data.readers.grids import Grid
from autossl.data.readers.pages import Unreadable

READ = ("Nifti1Image", "Nifti2Image", "Nifti1Pair", "Nifti2Pair")
ORDERS: tuple[Literal["little", "big"], ...] = ("little", "big")
ANALYZE = ("AnalyzeImage", "Spm99AnalyzeImage", "Spm2AnalyzeImage")


def grid(path: Path) -> Grid:
    """The volume of a file; Unreadable, or whatever damage makes nibabel raise, where there is none."""
    nibabel = importlib.import_module("nibabel")  # slow to import: volumes only
    image = nibabel.load(path, mmap=False) if packed.split(path) is None else _of_archive(nibabel, path)
    if (form := type(image).__name__) not in (*READ, *ANALYZE):
        raise Unreadable("it is no NIfTI file")
    proxy: Any = image.dataobj

    def values(at: tuple[int, ...]) -> NDArray[Any]:
        return np.asarray(proxy[(slice(None),) * 3 + at] if at else proxy)

    plain = (proxy.slope, proxy.inter) == (1, 0)
    return Grid(image.shape, np.asarray(image.affine), image.get_data_dtype(), plain, values, form not in ANALYZE)


def _of_archive(nibabel: Any, path: Path) -> Any:
    """A file in an archive, which has no name that nibabel could open."""
    file = disk.opened(path)
    content: Any = gzip.GzipFile(fileobj=file) if path.suffix.lower() == ".gz" else file
    if path.suffix.lower() not in (".nii", ".gz"):
        raise Unreadable("pairs of files in an archive are not read: unpack it")
    form = {348: nibabel.Nifti1Image, 540: nibabel.Nifti2Image}
    size = content.read(4)
    content.seek(0)
    own = next((made for head, made in form.items() if head in (int.from_bytes(size, o) for o in ORDERS)), None)
    if own is None:
        raise Unreadable("it is no NIfTI file")
    holder = nibabel.FileHolder(fileobj=content)
    return own.from_file_map({"header": holder, "image": holder}, mmap=False)
