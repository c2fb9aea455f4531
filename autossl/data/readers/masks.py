"""Masks: images and volumes whose values name structures, found beside the images that they belong to."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from autossl.data.parts import NO_SPLIT
from autossl.data.readers import disk, forms, npy, volume_files
from autossl.data.readers.disk import is_file
from autossl.data.readers.files import CHANNEL, MASKS, PICTURES, image_files
from autossl.data.readers.found import SPLITS, Found
from autossl.data.readers.images import Unreadable, image_file, turned
from autossl.data.truth import Raw
from autossl.errors import UserError
from autossl.errors.printable import plural, shown

HALF = 128  # of a mask that JPEG has blurred
MOST_VALUES = 1 << 24
WORD = r"masks?|seg|segmentations?|labels?|gt|ground_?truth|manual\d?|annotations?"
ENDING = re.compile(rf"[-_. ](?:{WORD})$|^(?:{WORD})[-_. ]", re.IGNORECASE)


class Named(NamedTuple):
    """How folders and files are called of which one belongs to the other."""

    word: str  # for what lies beside an image
    pictures: tuple[str, ...]  # how the names of folders of images begin
    others: tuple[str, ...]  # and of what belongs to them
    ending: re.Pattern[str]  # what a name has more than that of its image
    folders: str  # what to call them


MASKED = Named("mask", PICTURES, MASKS, ENDING, "images and masks")


def read_mask(path: Path) -> NDArray[Any]:
    """A mask file as whole numbers (h, w) or (d, h, w); Unreadable where its values are no numbers of structures.

    A palette gives its indices. What JPEG has blurred is taken at half.
    """
    if volume_files.is_volume(path):
        return _whole(volume_files.raw(path)[..., 0])
    with image_file(path) as file:
        if npy.is_array(path):
            return _whole(npy.read_values(path).reshape(npy.shape_of(path)[0])[..., 0])
        image = forms.opened(file, disk.parted(path)[1])
        turn = forms.orientation(image, file)
        lossy = image.format in ("JPEG", "MPO", "WEBP")
        values = np.asarray(image)
        if image.format == "TIFF":
            turn = 1  # Pillow has turned it
    if values.ndim == 3:
        colours = values[..., : 1 if values.shape[2] == 2 else 3]
        if (colours != colours[..., :1]).any() and not lossy:
            raise Unreadable("its structures are colours: write one number for each structure")
        values = colours[..., 0]
    found = values >= HALF if lossy else _whole(values)
    return np.asarray(turned(found, turn), dtype=np.int64)


def _whole(values: NDArray[Any]) -> NDArray[np.int64]:
    """Values as whole numbers; Unreadable where they are none, or are below 0."""
    found = np.rint(values).astype(np.int64)
    if values.dtype.kind == "f" and np.abs(found - values).max(initial=0) > 1e-3:
        raise Unreadable("its values are no whole numbers")
    if found.size and not 0 <= found.min() <= found.max() < MOST_VALUES:
        raise Unreadable(f"its values go from {found.min()} to {found.max()}")
    return np.asarray(found)


def reader(names: Sequence[str], root: Path | None, images: Sequence[Path]) -> Raw:
    """What reads the mask of a row: the file of this name beside its image; ValueError where that cannot be."""

    def read(row: int) -> NDArray[Any]:
        path = (root or Path()) / names[row]
        if not is_file(path):
            raise Unreadable("there is no such file")
        found = read_mask(path)
        if volume_files.is_volume(path) and volume_files.is_volume(images[row]):
            volume_files.check_same_grid(images[row], path)
        return found

    return read


def stamps(names: Sequence[str], root: Path | None) -> NDArray[np.uint8]:
    """Sizes and times of mask files: what tells that they are still the same."""
    lines = [disk.stamp((root or Path()) / name) if name else "" for name in names]
    return np.frombuffer("\n".join(lines).encode(), dtype=np.uint8)


def given(masks: NDArray[Any] | Sequence[NDArray[Any] | None]) -> Raw:
    """What reads the mask of a row of those that are in memory."""

    def read(row: int) -> NDArray[Any]:
        mask = np.asarray(masks[row])
        return _whole(mask[..., 0] if mask.ndim > 2 and mask.shape[-1] == 1 else mask)

    return read


def folders_of(root: Path, named: Named = MASKED) -> list[tuple[int, Path, Path]]:
    """Official part, folder of images and folder of their masks, below a folder; none where it holds no such pair."""
    official = [(SPLITS[folder.name.lower()], folder) for folder in disk.folders(root) if folder.name.lower() in SPLITS]
    return [(code, *pair) for code, folder in official or [(NO_SPLIT, root)] if (pair := _pair(folder, named))]


def _pair(folder: Path, named: Named) -> tuple[Path, Path] | None:
    """The folders of images and of masks in this one; of several of masks the first, and nnU-Net's training part."""
    below = disk.folders(folder)
    pictures = [each for each in below if each.name.lower().startswith(named.pictures) and not each.name.endswith("Ts")]
    masks = [each for each in below if each.name.lower().startswith(named.others) and not each.name.endswith("Ts")]
    return (pictures[0], masks[0]) if len(pictures) == 1 and masks else None


def read_pairs(root: Path, named: Named = MASKED) -> Found:
    """`images/` and `masks/` (`labels/`, `imagesTr/` and `labelsTr/` ...), also below train, val and test.

    A mask has the name of its image, or that with `_mask`, `_seg` and the like; what else is `named` alike.
    """
    parts, word = folders_of(root, named), named.word
    if not parts:
        raise UserError(
            f"folders of images and of their {word}s were wanted, found none called so in {root}; name them "
            f"{named.folders}, or give a CSV with the columns image and {word}"
        )
    files, names, split, left, other = list[Path](), list[str](), list[int](), 0, list[str]()
    for code, pictures, masks in parts:
        by_name = _by_name(masks, named)
        inside = image_files(pictures)
        own = [by_name.pop(_name(path, named), None) for path in inside]
        files += inside
        names += ["" if path is None else path.relative_to(root).as_posix() for path in own]
        split += [code] * len(inside)
        left += len(by_name)
        other += [
            each.name
            for each in disk.folders(masks.parent)
            if each.name.lower().startswith(named.others) and each not in (masks, pictures)
        ]
    if not any(names):
        raise UserError(
            f"{word}s of the names of their images were wanted, found {plural(len(files), 'image')} and "
            f"{plural(left, word)} in {root} of which none match; name a {word} as its image, or give a CSV with the "
            f"columns image and {word}"
        )
    unused = f"{plural(left, word)} without an image of that name {'is' if left == 1 else 'are'} not used"
    notes = [unused] if left else []
    notes += [f"the {word}s in {shown(name)} are not used" for name in dict.fromkeys(other)]
    lacking = names.count("")
    if lacking:
        notes.append(
            f"{plural(lacking, 'image')} without a {word} {'is' if lacking == 1 else 'are'} used without labels"
        )
    codes = np.array(split, dtype=np.int8)
    return Found(
        root.resolve().name, str(root), files=files, labels={word: names}, split=codes, root=root,
        notes=tuple(notes),
    )  # fmt: skip


def _by_name(masks: Path, named: Named) -> dict[str, Path]:
    """Mask files by the name of their image; UserError for two of one name."""
    found: dict[str, Path] = {}
    for path in image_files(masks):
        other = found.setdefault(_name(path, named), path)
        if other != path:
            raise UserError(
                f"one {named.word} for each image was wanted, found {shown(other.name)} and {shown(path.name)} in "
                f"{masks}; leave one out"
            )
    return found


def _name(path: Path, named: Named) -> str:
    """What an image and its mask are both called."""
    return named.ending.sub("", CHANNEL.sub("", volume_files.stem(path))).lower()
