"""Seeds and readers of forms that are no single images: volumes of programs, pages, arrays, tables, archives."""

import importlib
import io
import shutil
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from studies.attack import formats
from studies.attack.acts import textures

COUNTS = {
    "metaimage": 400,
    "nrrd": 400,
    "analyze": 300,
    "pages": 400,
    "npy": 300,
    "hdf5": 400,
    "zarr": 300,
    "tables": 400,
    "archives": 400,
    "segments": 300,
}
Seeds = dict[str, bytes]
VOLUMES = (".mha", ".nrrd", ".hdr", ".img")


def _written(names: dict[str, Callable[[str], object]]) -> Seeds:
    """Files as their library writes them by name."""
    with TemporaryDirectory() as folder:
        for name, write in names.items():
            write(str(Path(folder, name)))
        return {name: Path(folder, name).read_bytes() for name in names}


def _cube(kind: str = "i2") -> Any:
    return np.random.default_rng(0).integers(0, 200, (10, 12, 14)).astype(kind)


def _by_itk(suffix: str) -> Seeds:
    itk: Any = importlib.import_module("SimpleITK")
    images = {kind: itk.GetImageFromArray(_cube(kind)) for kind in ("u1", "i2", "f4")}
    images["c"] = itk.GetImageFromArray(np.stack([_cube("u1")] * 3, axis=3), isVector=True)
    names = {f"{kind}{p}{suffix}": (image, p) for kind, image in images.items() for p in (0, 1)}
    return _written({name: lambda at, own=own: itk.WriteImage(own[0], at, bool(own[1])) for name, own in names.items()})


def _analyze() -> Seeds:
    nibabel: Any = importlib.import_module("nibabel")
    image = nibabel.AnalyzeImage(_cube(), np.eye(4))
    with TemporaryDirectory() as folder:
        nibabel.save(image, Path(folder, "x.img"))
        return {name: Path(folder, name).read_bytes() for name in ("x.img", "x.hdr")}


def _pages() -> Seeds:
    tiff: Any = importlib.import_module("tifffile")
    deep = _cube("u2") * 200

    def pyramid(at: str, inside: int) -> None:
        with tiff.TiffWriter(at) as file:
            file.write(np.kron(deep[0], np.ones((4, 4), "u2")), subifds=inside, tile=(16, 16), metadata=None)
            file.write(np.kron(deep[0], np.ones((2, 2), "u2")), subfiletype=1, tile=(16, 16), metadata=None)

    return _written(
        {
            "pages.tif": lambda at: tiff.imwrite(at, deep, photometric="minisblack", metadata=None),
            "packed.tif": lambda at: tiff.imwrite(at, deep, photometric="minisblack", compression="zlib"),
            "levels.tif": lambda at: pyramid(at, 0),
            "inside.tif": lambda at: pyramid(at, 1),
        }
    )


def _npy() -> Seeds:
    values = {
        "u1": _cube("u1"),
        "f4": _cube("f4"),
        "image": _cube("u1")[0],
        "colour": np.stack([_cube("u1")[0]] * 3, 2),
    }
    return _written({f"{name}.npy": lambda at, own=own: np.save(at, own) for name, own in values.items()})


def _hdf5() -> Seeds:
    h5py: Any = importlib.import_module("h5py")
    images, labels = textures(24, 12)

    def write(at: str, **options: Any) -> None:
        with h5py.File(at, "w") as file:
            file.create_dataset("images", data=images, **options)
            file["labels"], file["patients"] = labels, [f"p{row // 2}" for row in range(24)]

    return _written(
        {
            "plain.h5": write,
            "packed.h5": lambda at: write(at, compression="gzip", shuffle=True),
            "lzf.h5": lambda at: write(at, compression="lzf", chunks=(4, 12, 12)),
        }
    )


def _zarr() -> Seeds:
    """What the folders of two stores hold, one after the other; mutants are of one file in it."""
    zarr: Any = importlib.import_module("zarr")
    images, labels = textures(24, 12)
    found: Seeds = {}
    with TemporaryDirectory() as folder:
        for version in (2, 3):
            group = zarr.open_group(Path(folder, f"v{version}.zarr"), mode="w", zarr_format=version)
            group.create_array("images", data=images)
            group.create_array("labels", data=labels)
        for path in sorted(Path(folder).rglob("*")):
            if path.is_file():
                found[path.relative_to(folder).as_posix()] = path.read_bytes()
    return found


def _tables() -> Seeds:
    excel: Any = importlib.import_module("openpyxl")
    arrow: Any = importlib.import_module("pyarrow")
    parquet: Any = importlib.import_module("pyarrow.parquet")
    columns = {
        "image": [f"{row}.png" for row in range(24)],
        "label": [*"ab"] * 12,
        "age": [row / 3 for row in range(24)],
    }
    book = excel.Workbook()
    for row in (list(columns), *map(list, zip(*columns.values(), strict=True))):
        book.active.append(row)
    return _written(
        {
            "x.xlsx": book.save,
            "x.parquet": lambda at: parquet.write_table(arrow.table(columns), at),
            "plain.parquet": lambda at: parquet.write_table(arrow.table(columns), at, compression="none"),
        }
    )


def _archives() -> Seeds:
    images = {f"{'ab'[at % 2]}/{at}.png": formats.png(image) for at, image in enumerate(textures(12)[0])}
    found: Seeds = {}
    for name, packing in (("stored", zipfile.ZIP_STORED), ("packed", zipfile.ZIP_DEFLATED)):
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", packing) as archive:
            for inside, data in images.items():
                archive.writestr(inside, data)
        found[f"{name}.zip"] = buffer.getvalue()
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for inside, data in images.items():
            info = tarfile.TarInfo(inside)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return found | {"x.tar": buffer.getvalue()}


def _segments() -> Seeds:
    import pydicom
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, SegmentationStorage

    one = Dataset()
    one.file_meta = FileMetaDataset()
    one.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    one.SOPClassUID, one.SOPInstanceUID, one.Modality, one.SegmentationType = (
        SegmentationStorage,
        "1.2.9",
        "SEG",
        "BINARY",
    )
    series, segment, code, frames = Dataset(), Dataset(), Dataset(), []
    series.SeriesInstanceUID, segment.SegmentNumber, code.CodeMeaning = "1.2.4", 1, "Liver"
    segment.SegmentedPropertyTypeCodeSequence = [code]
    one.ReferencedSeriesSequence, one.SegmentSequence = [series], [segment]
    for at in range(10):
        frame, number, place = Dataset(), Dataset(), Dataset()
        number.ReferencedSegmentNumber, place.ImagePositionPatient = 1, [0, 0, at]
        frame.SegmentIdentificationSequence, frame.PlanePositionSequence = [number], [place]
        frames.append(frame)
    one.PerFrameFunctionalGroupsSequence = frames
    shared, along, step = Dataset(), Dataset(), Dataset()
    along.ImageOrientationPatient, step.PixelSpacing = [1, 0, 0, 0, 1, 0], [1, 1]
    shared.PlaneOrientationSequence, shared.PixelMeasuresSequence = [along], [step]
    one.SharedFunctionalGroupsSequence = [shared]
    one.Rows, one.Columns, one.NumberOfFrames, one.SamplesPerPixel = 12, 14, 10, 1
    one.BitsAllocated = one.BitsStored = 1
    one.HighBit, one.PixelRepresentation, one.PhotometricInterpretation = 0, 0, "MONOCHROME2"
    mask = (_cube() > 100).astype(np.uint8)
    one.PixelData = np.packbits(mask.ravel(), bitorder="little").tobytes()
    buffer = io.BytesIO()
    pydicom.dcmwrite(buffer, one, enforce_file_format=True)
    return {"seg.dcm": buffer.getvalue()}


def read_pages(name: str, data: bytes) -> None:
    from autossl.data import read_images

    Path(name).write_bytes(data)
    for part, dims in (("", 2), ("::1", 2), ("::stack", 3)):
        found = read_images(f"{name}{part}", 16, 1, 65535.0, dims=dims)
        assert np.isfinite(found.images).all()


def read_volume(name: str, data: bytes) -> None:
    from autossl.data import read_images

    folder = _emptied("d")
    for other, whole in (_analyze() if name.endswith((".hdr", ".img")) else {}).items():
        (folder / other).write_bytes(whole)
    (folder / name).write_bytes(data)
    dims = 2 if name in ("image.npy", "colour.npy") else 3
    found = read_images(
        "d", 16, 3 if name.startswith("c") else 1, 65535.0, dims=dims, window="robust" if dims == 3 else "kept"
    )
    assert np.isfinite(found.images).all()


def read_store(name: str, data: bytes) -> None:
    from autossl.data import open_data

    if "/" not in name:
        Path(name).write_bytes(data)
        open_data(name).read(0)
        return
    folder = _emptied("z")
    for other, whole in ZARR.items():
        (folder / other).parent.mkdir(parents=True, exist_ok=True)
        (folder / other).write_bytes(data if other == name else whole)
    open_data(folder / name.partition("/")[0]).read(0)


def read_table(name: str, data: bytes) -> None:
    from autossl.data import open_data

    folder = Path("t")
    if not folder.exists():
        folder.mkdir()
        for row, image in enumerate(textures(24)[0]):
            (folder / f"{row}.png").write_bytes(formats.png(image))
    (folder / name).write_bytes(data)
    open_data(folder / name).read(0)


def read_archive(name: str, data: bytes) -> None:
    from autossl.data import read_images

    Path(name).write_bytes(data)
    found = read_images(name, 16, 1, 255.0)
    assert np.isfinite(found.images).all()


def read_segments(name: str, data: bytes) -> None:
    from autossl.data.readers import dicom_seg, series
    from autossl.data.readers.images import Header, Unreadable
    from autossl.data.readers.instances import Plane

    Path(name).write_bytes(data)
    places = [Plane((0.0, 0.0, float(at)), (1.0, 0.0, 0.0, 0.0, 1.0, 0.0), (1.0, 1.0)) for at in range(10)]
    slices = tuple(dicom_seg.Slice("", 0, place, (12, 14)) for place in places)
    row = series.Row((), Header((10, 12, 14), 1, 0), None, (0, 1, 2), (1, 1, 1))
    try:
        drawn = dicom_seg.look(Path(name))
        numbers = {structure: at for at, structure in enumerate(sorted(set(drawn.structures.values())), 1)}
        mask = dicom_seg.reader(dicom_seg.Segments(((drawn,),), (slices,), (row,), numbers))(0)
    except Unreadable:
        return
    assert mask.shape == (10, 12, 14)
    assert 0 <= mask.min() <= mask.max() <= len(numbers)


def _emptied(name: str) -> Path:
    shutil.rmtree(name, ignore_errors=True)
    Path(name).mkdir()
    return Path(name)


ZARR: Seeds = {}


def _kept_zarr() -> Seeds:
    ZARR.update(_zarr())
    return ZARR


SEEDS: dict[str, Callable[[], Seeds]] = {
    "metaimage": lambda: _by_itk(".mha"),
    "nrrd": lambda: _by_itk(".nrrd"),
    "analyze": _analyze,
    "pages": _pages,
    "npy": _npy,
    "hdf5": _hdf5,
    "zarr": _kept_zarr,
    "tables": _tables,
    "archives": _archives,
    "segments": _segments,
}
READERS: dict[str, Callable[[str, bytes], None]] = {
    "metaimage": read_volume,
    "nrrd": read_volume,
    "analyze": read_volume,
    "pages": read_pages,
    "npy": read_volume,
    "hdf5": read_store,
    "zarr": read_store,
    "tables": read_table,
    "archives": read_archive,
    "segments": read_segments,
}
