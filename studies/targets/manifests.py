"""Writes manifests of public sets for targets that are not classes: what annotations come to, one number an image.

    python -m studies.targets.manifests bccd FOLDER bccd.csv         # cells: how many are annotated in a field of blood
    python -m studies.targets.manifests nuclei FOLDER nuclei.csv     # foreground: the share of pixels inside a nucleus
    python -m studies.method_table.hippocampus FOLDER sizes.csv      # label: small, medium, large (ordinal)

    autossl search bccd.csv::FOLDER --task regression --label-column cells
    autossl search nuclei.csv::FOLDER --task regression --label-column foreground
    autossl search sizes.csv::FOLDER --task ordinal --order small,medium,large --modality mr

Splits are those of the sets. Boxes without area are no cells (two in BCCD).
"""

import argparse
import csv
from collections.abc import Callable, Iterator
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
from PIL import Image

Row = dict[str, str]
SPLITS = ("train", "val", "test")


def bccd(folder: Path) -> Iterator[Row]:
    """Image, number of annotated cells and split of the blood cell detection data (PASCAL VOC)."""
    root = folder / "BCCD"
    for split in SPLITS:
        for name in (root / "ImageSets" / "Main" / f"{split}.txt").read_text().split():
            boxes = ElementTree.parse(root / "Annotations" / f"{name}.xml").iter("bndbox")
            corners = ([int(box.findtext(side, "0")) for side in ("xmin", "ymin", "xmax", "ymax")] for box in boxes)
            cells = sum(right > left and lower > upper for left, upper, right, lower in corners)
            yield {"image": _path(root / "JPEGImages" / f"{name}.jpg"), "cells": str(cells), "split": split}


def nuclei(folder: Path) -> Iterator[Row]:
    """Image, share of its pixels inside a nucleus and split of the Data Science Bowl 2018."""
    with (folder / "manifest.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            share = (np.asarray(Image.open(folder / row["mask"])) > 0).mean()
            yield {"image": _path(folder / row["image"]), "foreground": f"{share:.6f}", "split": row["split"]}


SETS: dict[str, Callable[[Path], Iterator[Row]]] = {"bccd": bccd, "nuclei": nuclei}


def write(name: str, folder: Path, manifest: Path) -> None:
    """Write the manifest of one set."""
    found = list(SETS[name](folder))
    with manifest.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(found[0]))
        writer.writeheader()
        writer.writerows(found)


def _path(file: Path) -> str:
    return str(file.resolve())


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("set", choices=SETS)
    parser.add_argument("folder", type=Path)
    parser.add_argument("manifest", type=Path)
    asked = parser.parse_args()
    write(asked.set, asked.folder, asked.manifest)


if __name__ == "__main__":
    main()
