"""The wall clock jumps while a study runs: the limit is kept, and the time is used."""

import ctypes.util
import re
import time
from collections.abc import Sequence
from pathlib import Path

from autossl.record.clock import seconds
from studies.attack.acts import ended, said, start, watched
from studies.attack.case import Case, Faults, Outcome
from studies.attack.study import data

LIMIT, AFTER = 90.0, 25.0  # seconds of the study, and after which the clock jumps
JUMPS = {"an hour forward": 3600.0, "a minute back": -60.0, "a day back": -86400.0}


def cases(_: int) -> Sequence[Case]:
    """Jumps of time.time by sitecustomize, and of the system's calls by libfaketime where that is."""
    found = [
        Case(f"{name}, {workers} worker", drive=lambda here, s=shift, w=workers: drive(here, s, w))
        for name, shift in JUMPS.items()
        for workers in ((1, 2) if shift == -60 else (1,))
    ]
    return [*found, Case("libfaketime, a minute back", drive=faked)]


def faked(here: Path) -> Outcome:
    """libfaketime reads the shift from a file that changes meanwhile."""
    library = library_of("faketime")
    if library is None:
        return Outcome("", skipped="libfaketime is not here")
    (here / "shift").write_text("+0\n")
    more = {
        "LD_PRELOAD": library,
        "FAKETIME_TIMESTAMP_FILE": str(here / "shift"),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }
    return drive(here, -60.0, 1, more)


def library_of(name: str) -> str | None:
    places = [*Path("/usr/lib").glob(f"**/lib{name}.so.1"), *Path("/usr/local/lib").glob(f"**/lib{name}.so.1")]
    return str(places[0]) if places else ctypes.util.find_library(name)


def drive(here: Path, shift: float, workers: int, more: dict[str, str] | None = None, limit: float = LIMIT) -> Outcome:
    """One study whose clock jumps; where its limit is refused, the limit that it names is taken."""
    data(here)
    jump = more if more is not None else {"ATTACK_CLOCK": f"{time.monotonic()}:{AFTER}:{shift}"}
    started = time.monotonic()
    search = (
        "search",
        "x.npz",
        "--time-limit",
        f"{limit:.0f}s",
        "--backbone",
        "test_resnet",
        "--space",
        "s.toml",
        "--out",
        "out",
    )
    process = start(here, *search, "--workers", str(workers), **jump)
    if more is not None:
        time.sleep(AFTER)
        (here / "shift").write_text(f"{shift:+.0f}\n")
    code = ended(process, 2 * limit + 60)
    wall = time.monotonic() - started
    longer = named(said(here))
    if code == 2 and longer and limit == LIMIT:
        return drive(here, shift, workers, more, 1.2 * longer)
    return Outcome("", [*judged(code, wall, limit, said(here)), *watched(here)], said=f"{wall:.1f} s of {limit:.0f} s")


def named(words: str) -> float | None:
    """Seconds of the limit that a refusal names: "give --time-limit 5m20s", "give for example 3m"."""
    found = re.search(r"give (?:--time-limit|for example) ([\dhms]+)", words)
    return seconds(found[1]) if found else None


def judged(code: int | None, wall: float, limit: float, words: str) -> Faults:
    """A limit is kept within 3 %, and at least half of the time is used."""
    found: Faults = []
    if code != 0:
        found.append(
            ("hang" if code is None else "exit 1" if code == 1 else "other", f"ended with {code}: {words[-200:]}")
        )
    if wall > 1.03 * limit:
        found.append(("overrun", f"{wall:.1f} s with a limit of {limit:.0f} s"))
    if code == 0 and wall < 0.5 * limit:
        found.append(("other", f"ended after {wall:.1f} s of {limit:.0f} s"))
    return found
