"""Folders with boxes around objects, Pascal VOC, COCO and YOLO, told apart by what lies in them; outlines of COCO."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from autossl.data.parts import NO_SPLIT
from autossl.data.readers import box_tables, coco, disk, yolo
from autossl.data.readers.annotated import Annotated, Images, found_of, numbers, part_of
from autossl.data.readers.columns import Wanted
from autossl.data.readers.files import image_files
from autossl.data.readers.found import SPLITS, Found
from autossl.data.readers.markup import Element, read_markup
from autossl.data.readers.tables import SUFFIXES as TABLES
from autossl.data.truth import Masks, Objects

CORNERS = ("xmin", "ymin", "xmax", "ymax")


def read_marked(path: Path, wanted: Wanted) -> Found | None:
    """Images with boxes or outlines where these are asked for; None where nothing there speaks of them."""
    if wanted.form.boxed:
        return read_boxed(path, wanted)
    return coco.read_outlined(path) if wanted.form is Masks else None


def read_boxed(path: Path, wanted: Wanted) -> Found | None:
    """Images with their boxes, whatever form they are in; None where nothing there speaks of boxes."""
    if disk.is_folder(path):
        return _voc(path) or coco.read_folder(path) or yolo.read_folder(path) or box_tables.read_folder(path, wanted)
    if path.suffix.lower() == ".json":
        return coco.read_files([path], path.parent)
    return box_tables.read_file(path, wanted) if path.suffix.lower() in TABLES else None


def _voc(root: Path) -> Found | None:
    """An XML file for each image, in Annotations or beside it, and official parts by ImageSets or folders."""
    files = [path for path in disk.files(root) if path.suffix.lower() == ".xml"]
    if not files:
        return None
    images = Images(root, image_files(root))
    known, lost, damaged = dict[Path, Objects](), list[str](), dict[str, str]()
    for path in files:
        try:
            element = read_markup(path)
            image = images.named(path.stem, path) or images.named(Path(element.said("filename")).name, path)
            if image is None:
                lost.append(path.name)
            else:
                known[image] = _objects(element)
        except ValueError as fault:
            damaged[path.relative_to(root).as_posix()] = str(fault)
    sets = _sets(root)
    parts = [sets.get(image.stem, part_of(image, root)) for image in images.files]
    return found_of(Annotated(root, images.files, known, parts, lost, damaged), "Pascal VOC")


def _objects(element: Element) -> Objects:
    """What one file marks; ValueError where it is of another kind or has no numbers."""
    if element.name != "annotation":
        raise ValueError(f"it begins with <{element.name[:20]}>, not with <annotation>")
    marked = list(element.all("object"))
    if any(not each.said("name") for each in marked):
        raise ValueError("an object has no name")
    boxes = [numbers([each.said("bndbox", corner) for corner in CORNERS]) for each in marked]
    high, wide = (element.said("size", side) for side in ("height", "width"))
    sides = (int(high), int(wide)) if high.isdecimal() and wide.isdecimal() and int(high) * int(wide) else None
    return Objects(np.array(boxes, np.float64).reshape(-1, 4), tuple(each.said("name") for each in marked), sides=sides)


def _sets(root: Path) -> Mapping[str, int]:
    """The official part of each image that a list in ImageSets names."""
    found: dict[str, int] = {}
    for path in disk.files(root):
        code = SPLITS.get(path.stem.lower(), NO_SPLIT)
        if path.suffix != ".txt" or "imagesets" not in (part.lower() for part in path.parts) or code == NO_SPLIT:
            continue
        with disk.open_file(path, "a list of images") as file:
            names = file.read().decode("utf-8", "replace").split("\n")
        found |= {
            Path(line.split()[0]).stem if "." in line else line.split()[0]: code for line in names if line.split()
        }
    return found
