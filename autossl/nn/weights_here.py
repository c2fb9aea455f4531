"""Known weights that are on this machine: in an installed package, or in the cache of the Hugging Face hub."""

import re
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import NamedTuple

import huggingface_hub as hf

from autossl.nn.known_weights import HUB, Known

PART = r"\w[\w.-]*"  # no leading dot, so nothing leads out of the cache
REPOSITORY = re.compile(rf"(?P<repo>{PART}/{PART})(?:@(?P<revision>{PART}))?(?P<file>(?:/{PART})+)?")
CONFIG = "config.json"
FILES = ("model.safetensors", "open_clip_model.safetensors", "pytorch_model.bin", "open_clip_pytorch_model.bin")


class Place(NamedTuple):
    """A repository at a revision (None: its newest), and the files that may hold its weights, the best first."""

    repo: str
    revision: str | None
    files: tuple[str, ...]


def parsed(text: str) -> Place | None:
    """The place that OWNER/REPOSITORY[@REVISION][/FILE] names; None for another text."""
    found = REPOSITORY.fullmatch(text)
    if found is None:
        return None
    file = found["file"]
    return Place(found["repo"], found["revision"], (file[1:],) if file else FILES)


def cached(at: Place, file: str | None = None) -> Path | None:
    """The file of weights (or another `file` of the repository) in the cache of this machine, without the network."""
    for name in at.files if file is None else (file,):
        found = hf.try_to_load_from_cache(at.repo, name, revision=at.revision)
        if isinstance(found, str):  # neither unknown nor known to be missing
            return Path(found)
    return None


def here(row: Known) -> str:
    """Where known weights are on this machine: installed, cached or, if they are not, nowhere (an empty word)."""
    if row.package:
        return "installed" if installed(row.package) else ""
    at = parsed(row.repository or row.name.removeprefix(HUB)) if row.name.startswith(HUB) else None
    return "cached" if at is not None and cached(at) else ""


def installed(package: str) -> Path | None:
    """The file of weights in an installed package, none of whose code is run."""
    try:
        files = distribution(package).files or []
    except PackageNotFoundError:
        return None
    found = (Path(str(file.locate())) for file in files if file.suffix == ".pth")
    return next((file for file in found if file.is_file()), None)
