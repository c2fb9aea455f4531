"""YOLO: a text file for each image, a line for each object, in shares of the image."""

from pathlib import Path

import numpy as np
import yaml

from autossl.data.readers import disk
from autossl.data.readers.annotated import Annotated, Images, found_of, numbers, part_of
from autossl.data.readers.files import image_files
from autossl.data.readers.found import Found
from autossl.data.truth import Objects
from autossl.errors import UserError
from autossl.errors.printable import shown

NAMES = ("classes.txt", "obj.names", "predefined_classes.txt")
LISTS = frozenset({*NAMES, "readme.txt", "train.txt", "val.txt", "test.txt", "license.txt"})
POLYGON = 7  # numbers of a line from which on it is the outline of an object


def read_folder(root: Path) -> Found | None:
    """`images/` and `labels/`, also below train, val and test, or texts beside images; None for anything else.

    Names of classes are in data.yaml or classes.txt. An empty file says that there is no object, no file says nothing.
    Outlines become the boxes around them.
    """
    everything = disk.files(root)
    texts = [path for path in everything if path.suffix == ".txt" and path.name.lower() not in LISTS]
    images = Images(root, image_files(root))
    pairs = [(path, images.named(path.stem, path)) for path in texts]
    if not any(image is not None and (_labels(path) or path.parent == image.parent) for path, image in pairs):
        return None
    names = _names(everything)
    known, lost, damaged = dict[Path, Objects](), list[str](), dict[str, str]()
    for path, image in pairs:
        if image is None:
            lost.append(path.name)
            continue
        try:
            known[image] = _objects(path, names)
        except ValueError as fault:
            damaged[path.relative_to(root).as_posix()] = str(fault)
    parts = [part_of(image, root) for image in images.files]
    notes = () if names else ("there is no data.yaml and no classes.txt: classes are called by their numbers",)
    return found_of(Annotated(root, images.files, known, parts, lost, damaged, notes=notes), "YOLO")


def _labels(path: Path) -> bool:
    return any(part.lower() in ("labels", "label", "obj_train_data") for part in path.parts)


def _objects(path: Path, names: dict[int, str]) -> Objects:
    """What one file marks; ValueError where a line is none."""
    with disk.open_file(path, "a file of boxes") as file:
        lines = [line.split() for line in file.read().decode("utf-8", "replace").splitlines() if line.strip()]
    boxes, kinds = [], []
    for cells in lines:
        values = numbers(cells[1:])
        if not cells[0].isdecimal() or not (len(values) == 4 or (len(cells) >= POLYGON and len(values) % 2 == 0)):
            raise ValueError("lines of a class and x, y, width, height were wanted")
        if names and int(cells[0]) not in names:
            raise ValueError(f"there is no class {cells[0]} among {len(names)}")
        kinds.append(names.get(int(cells[0]), cells[0]))
        boxes.append(_box(values))
    return Objects(np.array(boxes, np.float64).reshape(-1, 4), tuple(kinds), shares=True)


def _box(values: list[float]) -> list[float]:
    """x0, y0, x1, y1 of a centre and two sides, or of an outline."""
    if len(values) > 4:
        across, down = values[::2], values[1::2]
        return [min(across), min(down), max(across), max(down)]
    x, y, wide, high = values
    return [x - wide / 2, y - high / 2, x + wide / 2, y + high / 2]


def _names(files: list[Path]) -> dict[int, str]:
    """The names of classes by their numbers, as far as a file has them."""
    for path in files:
        if path.suffix.lower() in (".yaml", ".yml"):
            try:
                with disk.open_file(path, "a YAML file") as file:
                    names = (yaml.safe_load(file) or {}).get("names")
            except (yaml.YAMLError, AttributeError, UnicodeDecodeError):
                raise UserError(
                    f"a YAML file with names was wanted, found one that cannot be read at {path}; mend it or leave it "
                    "out"
                ) from None
            listed = dict(enumerate(names)) if isinstance(names, list) else names
            if isinstance(listed, dict):
                return {int(at): shown(str(name)) for at, name in listed.items() if str(at).isdecimal()}
        if path.name.lower() in NAMES:
            with disk.open_file(path, "a list of classes") as file:
                return dict(enumerate(file.read().decode("utf-8", "replace").split("\n")))
    return {}
