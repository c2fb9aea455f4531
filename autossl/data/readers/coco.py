"""COCO: one JSON file for many images, with their sizes, boxes or outlines, and categories."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from autossl.data.parts import NO_SPLIT
from autossl.data.readers import disk
from autossl.data.readers.annotated import Annotated, Images, found_of, part_of
from autossl.data.readers.files import image_files, tables_in
from autossl.data.readers.found import SPLITS, Found
from autossl.data.readers.masks import folders_of
from autossl.data.readers.outlines import Outlines
from autossl.data.readers.tables import PATIENT_COLUMNS
from autossl.data.truth import NOTHING, Objects
from autossl.errors import UserError
from autossl.errors.printable import plural, shown

FIELDS = {
    "images": ("id", "file_name"),
    "annotations": ("image_id", "category_id"),
    "categories": ("id", "name"),
}
BOX, OUTLINE = "bbox", "segmentation"  # of an annotation
LOOKED_AT = 1 << 16  # bytes of a file by which it is told from other JSON


@dataclass
class _Said:
    """What several files say together, of a `key` of annotations."""

    key: str
    known: dict[Path, Any] = field(default_factory=dict)
    numbers: dict[str, int] = field(default_factory=dict)  # of structures, by name
    parts: dict[Path, int] = field(default_factory=dict)
    patients: dict[Path, str] = field(default_factory=dict)
    lost: list[str] = field(default_factory=list)
    crowds: int = 0
    orphans: int = 0


def read_outlined(path: Path) -> Found | None:
    """Images with masks that COCO outlines, polygons or runs of pixels; None where there are none, or other masks."""
    if disk.is_folder(path):
        return None if folders_of(path) or tables_in(path) else read_folder(path, OUTLINE)
    return read_files([path], path.parent, OUTLINE) if path.suffix.lower() == ".json" else None


def read_folder(root: Path, key: str = BOX) -> Found | None:
    """The JSON files of a folder, its own or those in its folder of annotations, that are COCO's; None without any."""
    below = [root, *(folder for folder in disk.folders(root) if not image_files_of(folder))]
    files = [path for folder in below for path in _json(folder, "")]
    files += [path for folder in disk.folders(root) for path in _json(folder, "_annotations.coco")]
    own = [path for path in dict.fromkeys(files) if _may_be(path)]
    return read_files(own, root, key) if own else None


def _json(folder: Path, stem: str) -> list[Path]:
    """The JSON files directly in a folder, or the one of this name."""
    there = [folder / name for name in disk.names(folder) if name.endswith(".json") and stem in ("", name[:-5])]
    return [path for path in there if disk.is_file(path)]


def image_files_of(folder: Path) -> list[Path]:
    """Image files directly in a folder."""
    return [path for path in image_files(folder) if path.parent == folder]


def _may_be(path: Path) -> bool:
    with disk.open_file(path, "a JSON file") as file:
        head = file.read(LOOKED_AT)
        file.seek(max(0, file.seek(0, 2) - LOOKED_AT))
        return all(f'"{key}"'.encode() in head + file.read() for key in ("images", "annotations")) or (
            path.name == "_annotations.coco.json"
        )


def read_files(files: list[Path], root: Path, key: str = BOX) -> Found:
    """Images below a folder with what these files say of them; a part is named by the file or the folder above it.

    An image that a file lists and that has no annotation shows no object. Groups of objects (`iscrowd`) have no boxes.
    """
    if not image_files(root) and root.parent != root:
        root = root.parent
    images, said = Images(root, image_files(root)), _Said(key)
    for path in files:
        _take(path, _read(path, key), images, said, root)
    listed = [image for image in images.files if image in said.known]
    others = [image for image in images.files if image not in said.known]
    notes = [f"{plural(said.crowds, 'group')} of objects (iscrowd) left out"] if said.crowds else []
    if said.orphans:
        notes.append(f"{plural(said.orphans, 'annotation')} of images that no file lists left out")
    every = listed + others
    parts = [said.parts.get(image, NO_SPLIT) for image in every]
    patients = [said.patients.get(image, "") for image in every] if said.patients else None
    told = Annotated(root, every, said.known, parts, said.lost, None, patients, tuple(notes))
    found = found_of(told, "COCO")
    if key == BOX:
        return found
    names = {number: name for name, number in said.numbers.items()}
    return replace(found, boxes=None, masks=[said.known.get(image) for image in every], structures=names)


def _take(path: Path, whole: Mapping[str, Any], images: Images, said: _Said, root: Path) -> None:
    marked = _marked(path, whole, said)
    for each in whole["images"]:
        image = images.named(str(each["file_name"]), path)
        if image is None:
            said.lost.append(str(each["file_name"]))
            continue
        own = marked[each["id"]]
        sides = (int(each["height"]), int(each["width"])) if each.get("height") and each.get("width") else None
        if said.key == BOX:
            said.known[image] = _boxes(own, sides)
        elif sides is None:
            raise _bad(path, "an image without height and width")
        else:
            said.known[image] = Outlines(sides, [(said.numbers[name], shape) for name, shape in own])
        said.parts[image] = _part(path, image, root)
        if patient := next((str(each[key]) for key in PATIENT_COLUMNS if each.get(key)), ""):
            said.patients[image] = patient


def _marked(path: Path, whole: Mapping[str, Any], said: _Said) -> dict[Any, list[tuple[str, Any]]]:
    """What a file marks on each of its images, by their ids: names of categories, and boxes or outlines."""
    names = {each["id"]: str(each["name"]) for each in whole["categories"]}
    for name in names.values():
        said.numbers.setdefault(name, len(said.numbers) + 1)
    marked: dict[Any, list[tuple[str, Any]]] = {each["id"]: [] for each in whole["images"]}
    for each in whole["annotations"]:
        if each.get("iscrowd") and said.key == BOX:
            said.crowds += 1
        elif each["image_id"] not in marked:
            said.orphans += 1
        elif each["category_id"] not in names:
            raise _bad(path, f"an annotation of the category {shown(str(each['category_id']))}, which it does not list")
        else:
            marked[each["image_id"]].append((names[each["category_id"]], each[said.key]))
    if said.orphans > max(1, len(whole["annotations"]) // 20):
        raise _bad(path, f"{said.orphans} annotations of images that it does not list")
    return marked


def _boxes(marked: list[tuple[str, Any]], sides: tuple[int, int] | None) -> Objects:
    corners = [[x, y, x + wide, y + high] for _, (x, y, wide, high) in marked]
    table = np.array(corners, np.float64).reshape(-1, 4)
    return Objects(table, tuple(name for name, _ in marked), sides=sides) if marked else NOTHING


def _part(path: Path, image: Path, root: Path) -> int:
    """The official part that the file's name has, or a folder above file or image."""
    words = [word for word in re.split(r"[^a-z]+", path.stem.lower()) if word]
    named = next((SPLITS[word] for word in words if SPLITS.get(word, NO_SPLIT) != NO_SPLIT), NO_SPLIT)
    return named if named != NO_SPLIT else part_of(image, root)


def _read(path: Path, wanted: str) -> Mapping[str, Any]:
    """A file of COCO whose annotations have what is wanted; UserError for any other."""
    try:
        with disk.open_file(path, "a JSON file") as file:
            whole = json.load(file)
    except (ValueError, RecursionError) as fault:
        raise _bad(path, f"text that is no JSON ({type(fault).__name__})") from None
    if not isinstance(whole, dict):
        raise _bad(path, f"a {type(whole).__name__}")
    for key, own in FIELDS.items():
        fields = (*own, wanted) if key == "annotations" else own
        listed = whole.get(key)
        if not isinstance(listed, list) or not all(isinstance(each, dict) for each in listed):
            raise _bad(path, f"no list of {key}")
        if lacking := next((name for each in listed for name in fields if name not in each), ""):
            raise _bad(path, f"an entry of {key} without {lacking}")
    for box in (each[BOX] for each in whole["annotations"] if wanted == BOX):
        if not isinstance(box, list) or len(box) != 4 or not all(map(_number, box)):
            raise _bad(path, "a bbox that is not four numbers")
    return whole


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _bad(path: Path, found: str) -> UserError:
    return UserError(
        f"COCO's lists of images, annotations and categories were wanted, found {found} in {path}; mend it or leave it "
        "out"
    )
