"""What this machine has of what a search needs."""

import os
import platform
import shutil
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from autossl.proxies.compiled import numba

PACKAGES = ("torch", "torchvision", "timm", "monai", "optuna", "numba", "scikit-learn", "numpy", "optuna-dashboard")
ENOUGH_DISK = 5 << 30


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
