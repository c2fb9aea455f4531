"""A data set of your own, in the one form that carries everything: an .npz of images, labels, patients and parts.

    python own_data.py FOLDER OUT.npz

FOLDER holds images named PATIENT_NUMBER.png, and labels.csv with the columns `file` and `diagnosis`. Folders of class
folders, CSV manifests, DICOM and NIfTI need no such step: `autossl search` takes them as they are.
"""

import csv
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from autossl.data import open_data


def main(folder: str, out: str) -> int:
    """Write the .npz and look at it as a search would; returns how many images it holds."""
    with open(Path(folder) / "labels.csv", newline="") as file:
        diagnosis = {row["file"]: row["diagnosis"] for row in csv.DictReader(file)}
    paths = sorted(Path(folder).glob("*.png"))
    np.savez_compressed(
        out,
        images=np.stack([np.asarray(Image.open(path)) for path in paths]),
        labels=np.array([diagnosis.get(path.name, "") for path in paths]),  # an empty label is none
        patients=np.array([path.stem.partition("_")[0] for path in paths]),  # they keep to one part, and are not stored
    )
    source = open_data(str(out))
    for note in source.notes:
        print(note)
    print(f"{source.n} images; now: autossl inspect {out}, then autossl search {out} --time-limit 8h")
    return source.n


if __name__ == "__main__":
    main(*sys.argv[1:3])
