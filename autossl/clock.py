"""The study's clock: seconds since the process started, summed over the runs of a study."""

import os
import re
import time
from pathlib import Path

from autossl.errors import UserError
from autossl.folder import Folder, read_json, write_json

_IMPORTED = time.time()
UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
STAMP_SECONDS = 5.0


def process_started() -> float:
    """When this process started, in seconds since the epoch; on systems without /proc, when this was imported."""
    try:
        ticks = int(Path("/proc/self/stat").read_text().rsplit(")", 1)[1].split()[19])
        uptime = float(Path("/proc/uptime").read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return _IMPORTED
    age = uptime - ticks / os.sysconf("SC_CLK_TCK")
    return min(time.time() - age, _IMPORTED)


class Clock:
    """Counts what all runs of a study have used; `stamp` keeps it on disk, so that a killed run counts too.

    A run counts from `started` (seconds since the epoch): the process start for a command, now for a Python call.
    """

    def __init__(self, folder: Folder, started: float | None = None) -> None:
        self.folder = folder
        self.started = time.time() if started is None else started
        stored = read_json(folder.clock) or {"runs": []}
        self.earlier = [run for run in stored["runs"] if run["started"] != self.started]
        self.stamped = 0.0

    def now(self) -> float:
        """Seconds used by this and all earlier runs."""
        return float(sum(run["seconds"] for run in self.earlier)) + time.time() - self.started

    def stamp(self, force: bool = False) -> None:
        """Write the time used, at most every few seconds."""
        if not force and time.time() - self.stamped < STAMP_SECONDS:
            return
        self.stamped = time.time()
        this = {"started": self.started, "seconds": round(self.stamped - self.started, 2)}
        write_json(self.folder.clock, {"runs": [*self.earlier, this]})

    def forget(self) -> None:
        """Count the runs before this one only."""
        write_json(self.folder.clock, {"runs": self.earlier})


def seconds(limit: str | float | int | None) -> float | None:
    """Seconds of "90s", "45m", "8h", "1d", "1h30m" or a number; None for "none". UserError otherwise."""
    if limit is None or limit == "none":
        return None
    value = float(limit) if isinstance(limit, int | float) else _parse(limit)
    if not 0 < value < float("inf"):
        raise UserError(f"a time limit above zero was wanted, found {limit!r}; give for example 10m, 8h or none")
    return value


def _parse(limit: str) -> float:
    text = limit.strip().lower()
    if re.fullmatch(r"\d+(\.\d+)?", text):
        return float(text)
    if not re.fullmatch(r"(\d+(\.\d+)?[smhd])+", text):
        raise UserError(
            f"a time limit was wanted (45m, 8h, 1h30m, seconds, or none), found {limit!r}; write it like these"
        )
    return sum(float(number) * UNITS[unit] for number, unit in re.findall(r"(\d+(?:\.\d+)?)([smhd])", text))


def in_words(value: float) -> str:
    """Seconds as "1 h 20 min", "3 min 5 s" or "42 s"."""
    total = round(value)
    hours, rest = divmod(total, 3600)
    minutes, secs = divmod(rest, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {secs} s" if minutes else f"{secs} s"
