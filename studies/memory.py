"""Resident memory of this process as Linux counts it, in MB (10^6 bytes)."""

import ctypes
import gc
from pathlib import Path

STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def resident() -> float:
    """Memory held now, after what is free was given back."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    return _status("VmRSS")


def forget_peak() -> None:
    """Begin to look for the highest value anew."""
    CLEAR.write_text("5")


def peak() -> float:
    """Most memory held at once since `forget_peak`."""
    return _status("VmHWM")


def _status(name: str) -> float:
    line = next(line for line in STATUS.read_text().splitlines() if line.startswith(name + ":"))
    return int(line.split()[1]) * 1024 / 1e6
