"""Mutated files: each must be refused by name or read as an array, within ten seconds and two gigabytes."""

import gzip
import io
import os
import random
import resource
import signal
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from autossl.errors import UserError
from studies.attack import formats, stores
from studies.attack.acts import textures
from studies.attack.case import Case, Faults, Outcome

BATCH, SECONDS, MEMORY = 50, 10, 2 << 30
COUNTS = {
    "png": 800,
    "jpeg": 800,
    "tiff": 1200,
    "others": 800,
    "nifti": 500,
    "niftigz": 300,
    "npz": 1000,
    "csv": 600,
    "dicom": 800,
    **stores.COUNTS,
}
WORDS = (
    b"\0",
    b"\xff",
    b"\x7f",
    b"\x80",
    b"\xff\xff",
    b"\xff\xff\xff\x7f",
    b"-1",
    b"1e999",
    b"\0\0\0\0",
    b"%s",
    b"(" * 40,
    b"'",
    b'"',
    b"\n",
)
Seeds = dict[str, bytes]


def cases(seed: int) -> Sequence[Case]:
    """Batches of mutants; the mutant `number` of a kind is the same for the same seed."""
    found = []
    for kind, count in COUNTS.items():
        for first in range(0, count, BATCH):
            numbers = range(first, min(first + BATCH, count))
            found.append(Case(f"{kind} {first:05}", drive=lambda here, k=kind, n=numbers: batch(here, k, n, seed)))
    return found


def batch(here: Path, kind: str, numbers: range, seed: int) -> Outcome:
    """Try each mutant; a process that dies or hangs costs its own mutant only."""
    faults: Faults = []
    seeds = SEEDS[kind]()
    todo = list(numbers)
    while todo:
        done = here / "done"
        done.write_text("")
        child = os.fork()
        if child == 0:
            _child(here, kind, todo, seed, seeds)
        _, status = os.waitpid(child, 0)
        lines = done.read_text().splitlines()
        faults += [("traceback", line.partition(" ")[2]) for line in lines if " " in line]
        if status == 0:
            break
        number = todo[len(lines)] if len(lines) < len(todo) else todo[-1]
        code = os.waitstatus_to_exitcode(status)
        faults.append(("hang" if code == -signal.SIGALRM else "crash", f"mutant {number}: ended with {code}"))
        todo = todo[len(lines) + 1 :]
    return Outcome("", faults, tried=len(numbers))


def _child(here: Path, kind: str, numbers: Sequence[int], seed: int, seeds: Seeds) -> None:
    """Never returns; a line in `done` for each mutant, with what went wrong."""
    os.chdir(here)
    quiet = os.open("/dev/null", os.O_RDWR)
    os.dup2(quiet, 1)
    os.dup2(quiet, 2)
    size = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    resource.setrlimit(resource.RLIMIT_AS, (size + MEMORY, size + MEMORY))
    for number in numbers:
        rng = random.Random(f"{seed} {kind} {number}")
        name, data = mutant(seeds, rng)
        signal.alarm(SECONDS)
        wrong = ""
        try:
            READERS.get(kind, read_image)(name, data)
        except UserError as fault:
            wrong = "" if "\n" not in str(fault) else f"two lines: {str(fault)!r:.100}"
        except Exception as fault:
            last = traceback.extract_tb(fault.__traceback__)[-1]
            wrong = f"{type(fault).__name__}: {fault!s:.100} in {Path(last.filename).name}:{last.lineno}"
        signal.alarm(0)
        with open("done", "a") as file:
            file.write(f"{number}" + (f" mutant {number} ({name}): {wrong}" if wrong else "").replace("\n", " ") + "\n")
    os._exit(0)


def mutant(seeds: Seeds, rng: random.Random) -> tuple[str, bytes]:
    """One seed file with a few changes: bytes, words, pieces gone, doubled, from another file; packed again."""
    name = rng.choice(sorted(seeds))
    packed = name.endswith(".gz") and rng.random() < 0.7
    data = bytearray(gzip.decompress(seeds[name]) if packed else seeds[name])
    for _ in range(rng.choice((1, 1, 2, 3, 8))):
        _change(data, rng, seeds)
    return name, gzip.compress(bytes(data), 1) if packed else bytes(data)


def _change(data: bytearray, rng: random.Random, seeds: Seeds) -> None:
    if not data:
        return
    at = rng.randrange(min(len(data), 400) if rng.random() < 0.7 else len(data))  # headers are more telling than pixels
    how = rng.randrange(7)
    if how == 0:
        data[at] ^= 1 << rng.randrange(8)
    elif how == 1:
        data[at] = rng.randrange(256)
    elif how == 2:
        word = rng.choice(WORDS)
        data[at : at + len(word)] = word
    elif how == 3:
        del data[at : at + rng.choice((1, 2, 8, 100))]
    elif how == 4:
        data[at:at] = data[at : at + rng.choice((1, 4, 64))]
    elif how == 5:
        del data[at:]
    else:
        other = seeds[rng.choice(sorted(seeds))]
        data[at : at + 16] = other[at : at + 16]


def read_image(name: str, data: bytes) -> None:
    """An image or volume as `embed` reads it, alone in a folder, as an array of one and of three channels."""
    from autossl.data import read_images

    folder = Path("d")
    folder.mkdir(exist_ok=True)
    for old in folder.iterdir():
        old.unlink()
    (folder / name).write_bytes(data)
    volume = ".nii" in name
    for channels in (1,) if volume else (1, 3):
        found = read_images("d", 16, channels, 255.0 if channels == 3 else 65535.0, dims=3 if volume else 2)
        assert np.isfinite(found.images).all()


def read_npz(_: str, data: bytes) -> None:
    from autossl.data import open_data

    Path("x.npz").write_bytes(data)
    source = open_data("x.npz")
    source.read(0)


def read_csv(_: str, data: bytes) -> None:
    from autossl.data import open_data

    folder = Path("d")
    if not folder.exists():
        folder.mkdir()
        for row, image in enumerate(textures(24)[0]):
            (folder / f"{row}.png").write_bytes(formats.png(image))
    (folder / "m.csv").write_bytes(data)
    source = open_data("d/m.csv")
    source.read(0)


def read_dicom(name: str, data: bytes) -> None:
    from autossl.data import read_images

    Path(name).write_bytes(data)
    found = read_images(name, 16, 1, 65535.0, window="robust")
    assert np.isfinite(found.images).all()


READERS: dict[str, Callable[[str, bytes], None]] = {
    "npz": read_npz,
    "csv": read_csv,
    "dicom": read_dicom,
    **stores.READERS,
}


def _saved(suffix: str, mode: str, **options: Any) -> bytes:
    image = Image.fromarray(textures(1, 24)[0][0]).convert(mode)
    buffer = io.BytesIO()
    image.save(buffer, suffix, **options)
    return buffer.getvalue()


def _png() -> Seeds:
    grey = textures(1, 24)[0][0]
    deep = grey.astype(np.uint16) * 200
    found = {
        "g8.png": formats.png(grey),
        "g16.png": formats.png(deep),
        "c16.png": formats.png(np.stack([deep] * 3, 2)),
        "a8.png": formats.png(grey, 6, 9),
    }
    return found | {f"{mode}.png": _saved("PNG", mode) for mode in ("1", "P", "LA", "RGBA")}


def _jpeg() -> Seeds:
    turned = b"Exif\0\0" + formats.exif(6)
    found = {
        f"{mode}{p}.jpg": _saved("JPEG", mode, progressive=p, exif=turned)
        for mode in ("L", "RGB", "CMYK")
        for p in (False, True)
    }
    return found | {"odd.jpg": _saved("JPEG", "L", exif=b"Exif\0\0" + formats.exif(6, 4))}


def _tiff() -> Seeds:
    grey = textures(1, 24)[0][0]
    found: Seeds = {}
    for at, pixels in enumerate(
        (
            grey,
            grey.astype(np.uint16) * 99,
            np.stack([grey.astype(np.uint16) * 99] * 3, 2),
            (grey / 255).astype(np.float32),
        )
    ):
        for big in (False, True):
            found[f"{at}{big}.tif"] = formats.tiff(pixels, big, orientation=5, strips=2)
            found[f"{at}{big}p.tif"] = formats.tiff(pixels, big, planar=True, packed=True, inverted=at == 1)
    return found | {
        f"{c}.tif": _saved("TIFF", "RGB", compression=c) for c in ("tiff_lzw", "packbits", "jpeg", "tiff_deflate")
    }


def _others() -> Seeds:
    grey = textures(1, 24)[0][0]
    found = {f"x.{kind.lower()}": _saved(kind, "RGB") for kind in ("BMP", "GIF", "WebP")} | {
        "x.jp2": _saved("JPEG2000", "RGB"),
        "w.webp": _saved("WebP", "RGB", lossless=True),
    }
    return found | {
        "b.pgm": formats.pnm(grey),
        "t.pgm": formats.pnm(grey, text=True),
        "d.ppm": formats.pnm(np.stack([grey.astype(np.uint16) * 9] * 3, 2), 4000),
    }


def _nifti() -> Seeds:
    return {f"{name}.nii": data for name, data in _volumes()}


def _packed() -> Seeds:
    return {f"{name}.nii.gz": gzip.compress(data) for name, data in _volumes()}


def _volumes() -> Iterator[tuple[str, bytes]]:
    import nibabel

    cube = np.random.default_rng(0).integers(0, 200, (10, 12, 14))
    for kind in ("uint8", "int16", ">i2", "float32"):
        forms: tuple[Any, ...] = (nibabel.Nifti1Image, nibabel.Nifti2Image)
        for make in forms:
            yield f"{make.__name__}-{kind[-2:]}{kind[0] == '>'}", make(cube.astype(kind), np.eye(4)).to_bytes()


def _dicom() -> Seeds:
    import pydicom
    from pydicom.dataset import FileMetaDataset
    from pydicom.uid import ComputedRadiographyImageStorage, ExplicitVRLittleEndian, RLELossless

    found: Seeds = {}
    for bits, photometric in ((8, "MONOCHROME2"), (16, "MONOCHROME1")):
        one = pydicom.Dataset()
        one.file_meta = FileMetaDataset()
        one.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        one.SOPClassUID, one.SOPInstanceUID, one.Modality = ComputedRadiographyImageStorage, "1.2.3", "CR"
        one.StudyInstanceUID = one.SeriesInstanceUID = "1.2.4"
        one.RescaleSlope, one.RescaleIntercept, one.WindowCenter, one.WindowWidth = 2, -10, 100, 200
        one.ImagePositionPatient, one.ImageOrientationPatient = [0, 0, 1], [1, 0, 0, 0, 1, 0]
        one.PixelSpacing, one.PatientID = [1, 1], "p"
        kind = np.uint8 if bits == 8 else np.uint16
        one.set_pixel_data(textures(1, 24)[0][0].astype(kind), photometric, bits)
        for name, syntax in (("plain", ExplicitVRLittleEndian), ("rle", RLELossless)):
            if syntax.is_encapsulated:
                one.compress(syntax, generate_instance_uid=False)
            buffer = io.BytesIO()
            one.save_as(buffer, enforce_file_format=True)
            found[f"{name}{bits}.dcm"] = buffer.getvalue()
    return found


def _npz() -> Seeds:
    images, labels = textures(24, 12)
    found: Seeds = {}
    text = np.array(["benign", "m\u00e4lig"])[labels]
    for name, save in (("stored", np.savez), ("packed", np.savez_compressed)):
        for at, values in enumerate((labels, text, labels.astype("S1"), labels[:, None])):
            buffer = io.BytesIO()
            save(
                buffer,
                images=images,
                labels=values,
                patients=np.arange(24) // 2,
                split=np.array(["train", "test"])[labels],
            )
            found[f"{name}{at}.npz"] = buffer.getvalue()
    return found


def _csv() -> Seeds:
    rows = [f"{row}.png,{'ab'[row % 2]},p{row // 2},{row % 3},{'train' if row % 4 else 'test'}" for row in range(24)]
    text = "image,label,patient,slice,split\n" + "\n".join(rows) + "\n"
    return {
        "comma.csv": text.encode(),
        "semicolon.csv": text.replace(",", ";").encode(),
        "bom.csv": b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode(),
    }


SEEDS: dict[str, Callable[[], Seeds]] = {
    "png": _png,
    "jpeg": _jpeg,
    "tiff": _tiff,
    "others": _others,
    "nifti": _nifti,
    "niftigz": _packed,
    "dicom": _dicom,
    "npz": _npz,
    "csv": _csv,
    **stores.SEEDS,
}
