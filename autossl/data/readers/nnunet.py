"""Folders as nnU-Net and the Medical Segmentation Decathlon have them: dataset.json, imagesTr/ and labelsTr/."""

import json
import re
from pathlib import Path
from typing import Any

from autossl.data.readers import disk, volume_files
from autossl.data.readers.files import image_files
from autossl.data.readers.found import Found
from autossl.errors import UserError
from autossl.errors.printable import plural, shown

ABOUT, IMAGES, MASKS = "dataset.json", "imagesTr", "labelsTr"
CHANNEL = re.compile(r"(.+)_(\d{4})")  # the case and the number of its channel
MODALITIES = {"ct": "CT", "mri": "MR", "mr": "MR"}  # words of nnU-Net, as DICOM has them
MOST_OF_JSON = 1 << 26


def is_nnunet(root: Path) -> bool:
    """Whether a folder is laid out so."""
    return disk.is_file(root / ABOUT) and disk.is_folder(root / IMAGES)


def read_nnunet(root: Path, masked: bool) -> Found:
    """The training cases, the channels of each put together, their masks beside them where these are wanted."""
    about = _about(root / ABOUT)
    named = about.get("channel_names") or about.get("modality") or {}
    cases, lacking = _cases(image_files(root / IMAGES), len(named))
    if not cases:
        raise UserError(
            f"images in {IMAGES} with the {plural(len(named), 'channel')} that {ABOUT} names were wanted, found none "
            f"in {root}; name them CASE_0000, CASE_0001 ..."
        )
    notes = [f"{plural(lacking, 'case')} without all of {plural(len(named), 'channel')} set aside"] if lacking else []
    files = [paths[0] for paths in cases.values()]
    several = len(named) > 1 and max(map(len, cases.values())) > 1
    if several and not all(map(volume_files.is_volume, files)):
        raise UserError(f"channels of images in one file were wanted, found one file for each in {root}; merge them")
    kinds = {MODALITIES.get(str(name).lower(), "") for name in named.values()}
    found = Found(
        root.resolve().name, str(root), files=files, root=root, structures=_structures(about.get("labels", {})),
        channels=tuple(cases.values()) if several else None, modality=next(iter(kinds)) if len(kinds) == 1 else "",
        labels={"mask": _masks(root, cases)} if masked else None, notes=tuple(notes),
    )  # fmt: skip
    return found


def _about(path: Path) -> dict[str, Any]:
    with disk.open_file(path, ABOUT) as file:
        text = file.read(MOST_OF_JSON)
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict) or not all(
        isinstance(found.get(key, {}), dict) for key in ("labels", "modality", "channel_names")
    ):
        raise UserError(f"JSON as nnU-Net writes it was wanted, found other text at {path}; mend it or move it away")
    return found


def _cases(paths: list[Path], channels: int) -> tuple[dict[str, tuple[Path, ...]], int]:
    """The files of each case in the order of channels, and how many cases lack some."""
    numbered = [CHANNEL.fullmatch(volume_files.stem(path)) for path in paths]
    wanted = [f"{at:04d}" for at in range(max(1, channels))]
    if not all(each and each.group(2) in wanted for each in numbered):  # of the Decathlon: channels are in the file
        return {volume_files.stem(path): (path,) for path in paths}, 0
    found: dict[str, dict[str, Path]] = {}
    for path, each in zip(paths, numbered, strict=True):
        assert each is not None
        found.setdefault(each.group(1), {})[each.group(2)] = path
    whole = {case: tuple(own[at] for at in wanted) for case, own in found.items() if len(own) == len(wanted)}
    return whole, len(found) - len(whole)


def _masks(root: Path, cases: dict[str, tuple[Path, ...]]) -> list[str]:
    """The mask of each case below the folder, "" for one without."""
    masks = {volume_files.stem(path): path.relative_to(root).as_posix() for path in image_files(root / MASKS)}
    if not any(case in masks for case in cases):
        raise UserError(
            f"masks in {MASKS} of the names of their cases were wanted, found {plural(len(masks), 'file')} in {root} "
            "of which none match; name a mask CASE"
        )
    return [masks.get(case, "") for case in cases]


def _structures(labels: dict[str, Any]) -> dict[int, str]:
    """Names of values: {"liver": 1} as it is now, {"1": "liver"} as it was; regions of several are passed over."""
    found: dict[int, str] = {}
    for key, value in labels.items():
        number, name = (value, key) if isinstance(value, int) else (key, value)
        if str(number).isdecimal() and int(number) > 0 and isinstance(name, str):
            found[int(number)] = shown(name)
    return found
