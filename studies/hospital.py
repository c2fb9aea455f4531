"""A folder as a hospital would export it, made of a few DICOM files, with new synthetic names and numbers.

`python -m studies.hospital FILES OUT [--volumes]`: nested series of several patients, a table of labels by accession
number, a localizer, a dose report, a DICOMDIR, and two broken files. FILES holds CT_small.dcm and MR_small.dcm.
"""

import argparse
import csv
from pathlib import Path

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import (
    UID,
    ExplicitVRLittleEndian,
    MediaStorageDirectoryStorage,
    XRayRadiationDoseSRStorage,
    generate_uid,
)

PATIENTS, SLICES = 20, 10
LOCALIZER = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
SECRETS = ("ZZSECRETNAME", "ZZSECRETID", "ZZSECRETACC", "ZZSECRETHOSPITAL", "19010203")


def make(samples: Path, out: Path, patients: int = PATIENTS, slices: int = SLICES, volumes: bool = False) -> None:
    """Write the folder; slices of a patient are in no order, and what a class shows is a bright square or none."""
    sample = pydicom.dcmread(samples / "CT_small.dcm")
    rng = np.random.default_rng(0)
    rows = []
    for number in range(patients):
        study = out / f"{SECRETS[0]}^{number:02}" / f"{SECRETS[2]}{number:03}"
        _series(sample, study / "S1", number, rng.permutation(slices), number % 2, volumes)
        rows.append([f"{SECRETS[2]}{number:03}", ("benign", "malignant")[number % 2]])
    _beside(sample, out / f"{SECRETS[0]}^00" / f"{SECRETS[2]}000")
    with open(out / "labels.csv", "w", newline="") as file:
        csv.writer(file).writerows([["Accession Number", "label"], *rows])
    (out / "AUTORUN.INF").write_text("[autorun]")


def _series(sample: Dataset, folder: Path, number: int, places: NDArray[np.int64], marked: int, volumes: bool) -> None:
    folder.mkdir(parents=True)
    uid = f"1.2.826.0.1.3680043.8.498.{number + 1}"
    for at, place in enumerate(places.tolist()):
        one = _copied(sample, number, uid)
        one.SOPInstanceUID = one.file_meta.MediaStorageSOPInstanceUID = UID(f"{uid}.1.{at}")
        one.SeriesInstanceUID = f"{uid}.1" if volumes else f"{uid}.1.{at}.0"
        one.InstanceNumber, one.ImagePositionPatient = at + 1, [0, 0, 2.5 * place]
        pixels = np.roll(sample.pixel_array, (3 * place, 5 * number), (0, 1))
        if marked:
            pixels[40:80, 40:80] += 400
        one.PixelData = pixels.astype("<i2").tobytes()
        one.save_as(folder / (f"IM{at:04}" if at % 2 else f"{at}.dcm"), enforce_file_format=True)


def _copied(sample: Dataset, number: int, uid: str) -> Dataset:
    one = pydicom.dcmread(sample.filename)
    one.PatientName, one.PatientID = f"{SECRETS[0]}^{number:02}", f"{SECRETS[1]}{number:03}"
    one.AccessionNumber, one.InstitutionName = f"{SECRETS[2]}{number:03}", SECRETS[3]
    one.PatientBirthDate, one.StudyInstanceUID = SECRETS[4], uid
    return one


def _beside(sample: Dataset, study: Path) -> None:
    """What is no image, and what is broken."""
    localizer = _copied(sample, 0, "1.2.826.0.1.3680043.8.498.1")
    localizer.ImageType, localizer.SeriesInstanceUID = LOCALIZER, "1.2.826.0.1.3680043.8.498.1.9"
    localizer.save_as(study / "scout.dcm", enforce_file_format=True)
    whole = (study / "scout.dcm").read_bytes()
    _object(study / "dose.dcm", XRayRadiationDoseSRStorage)
    _object(study.parent.parent / "DICOMDIR", MediaStorageDirectoryStorage)
    (study / "broken1.dcm").write_bytes(b"\0" * 600)
    (study / "broken2.dcm").write_bytes(whole[:132] + b"\xff" * 300)


def _object(path: Path, kind: UID) -> None:
    meta = FileMetaDataset()
    meta.TransferSyntaxUID, meta.MediaStorageSOPClassUID = ExplicitVRLittleEndian, kind
    meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=[path.name])
    found = FileDataset(str(path), {}, preamble=b"\0" * 128, file_meta=meta)
    if kind != MediaStorageDirectoryStorage:
        found.SOPClassUID, found.SOPInstanceUID = kind, meta.MediaStorageSOPInstanceUID
    found.PatientName, found.PatientID = f"{SECRETS[0]}^00", f"{SECRETS[1]}000"
    found.save_as(path, enforce_file_format=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--volumes", action="store_true", help="one series a patient, not one a slice")
    given = parser.parse_args()
    make(given.files, given.out, volumes=given.volumes)
