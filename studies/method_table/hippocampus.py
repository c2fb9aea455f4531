"""Writes a manifest of the hippocampi of the Medical Segmentation Decathlon (Task04) for classification by size.

    python -m studies.method_table.hippocampus FOLDER hippocampus.csv
    python -m studies.method_table.run hippocampus.csv::FOLDER --images 2048 --modality mr

The label is the third (small, medium, large) in which the hippocampus lies by its mask's volume, thirds of the training
part. Which volumes are of one patient is not published, so each counts as a patient. FOLDER holds `manifest.csv` with
`image`, `voxels_anterior`, `voxels_posterior` and `split`.
"""

import argparse
import csv
from pathlib import Path

import numpy as np

NAMES = ("small", "medium", "large")


def rows(folder: Path) -> list[dict[str, str]]:
    """Image, label and split of each volume."""
    with (folder / "manifest.csv").open(newline="") as file:
        found = list(csv.DictReader(file))
    volumes = np.array([int(row["voxels_anterior"]) + int(row["voxels_posterior"]) for row in found])
    training = np.array([row["split"] == "train" for row in found])
    thirds = np.searchsorted(np.quantile(volumes[training], [1 / 3, 2 / 3]), volumes)
    return [
        {"image": str((folder / row["image"]).resolve()), "label": NAMES[third], "split": row["split"]}
        for row, third in zip(found, thirds, strict=True)
    ]


def write(folder: Path, manifest: Path) -> None:
    """The manifest of the hippocampi in a folder."""
    with manifest.open("w", newline="") as file:
        writer = csv.DictWriter(file, ["image", "label", "split"])
        writer.writeheader()
        writer.writerows(rows(folder))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("manifest", type=Path)
    asked = parser.parse_args()
    write(asked.folder, asked.manifest)


if __name__ == "__main__":
    main()
