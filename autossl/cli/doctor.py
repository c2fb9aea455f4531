"""What this machine has, and what there is to choose from."""

import os
import platform
import shutil
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import timm
import torch

from autossl.nn.encoder import dims_of
from autossl.nn.volume_networks import VOLUMES
from autossl.nn.weights import here, known
from autossl.pretext import METHODS
from autossl.proxies.compiled import numba
from autossl.targets import TARGETS
from autossl.trials.space import Range, read_space, shipped_spaces
from autossl.views.presets import modalities

PACKAGES = ("torch", "torchvision", "timm", "monai", "optuna", "numba", "scikit-learn", "numpy", "optuna-dashboard")
ENOUGH_DISK = 5 << 30
SHOWN = (  # columns of a listing
    "name", "architecture", "modality", "size", "parameters", "licence", "here", "paradigm", "dims", "passes", "needs",
    "lacks", "paper", "about",
)  # fmt: skip


def check_machine() -> list[tuple[str, str, bool]]:
    """Rows of (what, found, fine) about this machine."""
    rows = [("Python", platform.python_version(), True)]
    for name in PACKAGES:
        found = _version(name)
        rows.append((name, found or "not installed", found is not None or name == "optuna-dashboard"))
    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    free = shutil.disk_usage(".").free
    rows += [
        (
            "CPU cores",
            f"{os.cpu_count()} ({torch.get_num_threads()} torch threads, {numba.get_num_threads()} numba)",
            True,
        ),
        ("GPU", ", ".join(gpus) or "none: searches run on the CPU", True),
        ("free disk here", f"{free / 2**30:.0f} GiB", free > ENOUGH_DISK),
        ("writable here", str(Path.cwd()), os.access(".", os.W_OK)),
    ]
    return rows


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def methods() -> list[dict[str, Any]]:
    """Every pretext method: paradigm, dimensions, needs, cost in encoder passes, paper, what is searched."""
    space = read_space()
    return [
        {
            "name": name,
            "paradigm": cls.paradigm,
            "dims": sorted(cls.dims),
            "needs": sorted(cls.needs),
            "passes": cls.passes,
            "paper": cls.paper,
            "searched": {k: _domain(v) for k, v in space[name].searched.items()} if name in space else {},
            "priors": list(space[name].priors) if name in space else [],
        }
        for name, cls in METHODS.items()
    ]


def _domain(domain: Range | tuple[Any, ...]) -> Any:
    return list(domain) if isinstance(domain, tuple) else {"low": domain.low, "high": domain.high, "log": domain.log}


def listing(what: str) -> list[dict[str, Any]]:
    """Rows of `autossl list`: methods, backbones, spaces, modalities, targets or weights."""
    if what == "methods":
        return methods()
    if what == "backbones":
        return [{"name": name, "dims": dims_of(name)} for name in (*VOLUMES, *timm.list_models())]
    if what == "modalities":
        return [{"name": name, "lacks": sorted(p.lacks)} for name, p in modalities().items()]
    if what == "targets":
        return [{"name": name, "about": (cls.__doc__ or "").splitlines()[0]} for name, cls in TARGETS.items()]
    if what == "weights":
        return [{**asdict(row), "here": here(row)} for row in known().values()]
    return [{"name": name} for name in shipped_spaces()]


def table(rows: list[dict[str, Any]]) -> str:
    """The rows of a listing as lines under a heading; what a row is searched over is left to JSON."""
    keys = [key for key in SHOWN if key in rows[0]]
    cells = [keys, *([_cell(row[key]) for key in keys] for row in rows)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(keys))]
    lines = ("  ".join(cell.ljust(wide) for cell, wide in zip(line, widths, strict=True)) for line in cells)
    return "\n".join(line.rstrip() for line in lines)


def _cell(value: Any) -> str:
    if value is None or value in ("", []):
        return "-"
    return ", ".join(str(item) for item in value) if isinstance(value, list) else str(value)
