"""Fetches a set of the MedMNIST collection through the `medmnist` package, the one use of a network."""

import importlib
from dataclasses import replace
from pathlib import Path
from typing import Any

from autossl.data.readers.arrays import read_npz
from autossl.data.readers.found import Found
from autossl.errors import UserError


def read_medmnist(name: str) -> Found:
    """`name` as the package knows it, such as bloodmnist; downloaded once into the package's own folder."""
    try:
        package: Any = importlib.import_module("medmnist")
    except ImportError:
        raise UserError(
            f"the package medmnist was wanted for medmnist:{name}, found none in this environment; "
            "run pip install 'autossl-imaging[medmnist]', or give the path of the .npz"
        ) from None
    info = package.INFO
    if name not in info:
        raise UserError(f"one of {', '.join(sorted(info))} was wanted, found medmnist:{name} as data; use one of these")
    try:
        # the package reports every failed download as RuntimeError, and a missing folder as another
        members = getattr(package, info[name]["python_class"])(split="train", download=True)
    except (RuntimeError, OSError) as fault:
        raise UserError(
            f"{name}.npz from the MedMNIST site was wanted, found no way to download it ({type(fault).__name__}); "
            f"connect to a network, or fetch it elsewhere and give its path"
        ) from None
    found = read_npz(Path(members.root) / f"{name}.npz")
    names = {str(value): str(text) for value, text in info[name]["label"].items()}
    found = replace(found, place=f"medmnist:{name}")
    if found.labels is not None and len(found.labels) > 1:  # a column for each finding
        return replace(found, labels={names.get(key, key): column for key, column in found.labels.items()})
    return replace(found, class_names=names)
