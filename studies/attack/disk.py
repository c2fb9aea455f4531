"""A full disk: exit 4 and one sentence wherever it happens, and resume goes on once there is space."""

import ctypes
import os
from collections.abc import Sequence
from pathlib import Path

from studies.attack.acts import ended, said, start, watched
from studies.attack.case import MACHINE, USER, Case, Faults, Outcome
from studies.attack.study import FULL, data, scored

SIZES = (20, 60, 200, 700, 1500, 3000, 5000, 8000, 12000, 17000)  # KiB
PLENTY, REMOUNT, DETACH = "size=1g", 32, 2


def cases(_: int) -> Sequence[Case]:
    """Disks on which a study fills up at its start, in decoding, in a checkpoint, in an export, hardly."""
    return [Case(f"a disk of {size} KiB", drive=lambda here, s=size: drive(here, s)) for size in SIZES]


def mount(place: Path, options: str, flags: int = 0) -> bool:
    """Mount a file system in memory; False where that is not allowed."""
    libc = ctypes.CDLL(None, use_errno=True)
    return bool(libc.mount(b"tmpfs", os.fsencode(place), b"tmpfs", flags, options.encode()) == 0)


def drive(here: Path, size: int) -> Outcome:
    """Search on a small disk, then on the same with space."""
    data(here)
    disk = here / "disk"
    disk.mkdir()
    if not mount(disk, f"size={size}k"):
        return Outcome("", skipped="file systems cannot be mounted here")
    try:
        return Outcome("", [*_search(here, disk), *watched(here)], said=said(here)[-600:])
    finally:
        ctypes.CDLL(None).umount2(os.fsencode(disk), DETACH)


def _search(here: Path, disk: Path) -> Faults:
    search = ("search", "x.npz", *FULL, "--space", "s.toml", "--out", "disk/out")
    code = ended(start(here, *search), 300)
    words, faults = said(here), Faults()
    if code not in (0, MACHINE, USER):
        faults.append(
            ("hang" if code is None else "exit 1" if code == 1 else "other", f"ended with {code}: {words[-200:]}")
        )
    if code in (MACHINE, USER) and len(words.splitlines()) != 1:
        faults.append(("lines", f"{len(words.splitlines())} lines: {words[-200:]!r}"))
    if "Traceback" in words:
        faults.append(("traceback", words.splitlines()[-1][:200]))
    if code == 0:
        return faults
    known = scored(disk / "out") if (disk / "out" / "config.toml").exists() else {}
    assert mount(disk, PLENTY, REMOUNT)
    again = ended(start(here, *search), 300)
    if again != 0:
        faults.append(("exit 1" if again == 1 else "other", f"with space it ended with {again}: {said(here)[-200:]}"))
    elif any(scored(disk / "out").get(number) != value for number, value in known.items()):
        faults.append(("silent", "a scored trial is gone or changed"))
    return faults
