"""The study's clock: seconds since the process started, summed over the runs of a study.

Within a run it is the machine's monotonic clock, which all its processes share: it does not jump when the date is set,
and stands still while the machine sleeps. Dates are for people only.
"""

import os
import re
import resource
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from autossl.errors import MachineStopped, UserError
from autossl.record.folder import Folder, read_json, write_json

_IMPORTED = time.monotonic()
UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
STAMP_SECONDS = 1.0  # a run that is killed used up to so many more than are written down


def process_started() -> float:
    """When this process started, by `time.monotonic`; on systems without /proc, when this was imported."""
    try:
        ticks = int(Path("/proc/self/stat").read_text().rsplit(")", 1)[1].split()[19])  # since the machine started
        age = time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
    except (AttributeError, OSError, ValueError, IndexError):
        return _IMPORTED
    return min(time.monotonic() - age, _IMPORTED)


class Clock:
    """Counts what all runs of a study have used, and keeps it on disk, so that a run that is killed counts too.

    A run counts from `started` (by `time.monotonic`): the process start for a command, now for a Python call.
    """

    def __init__(self, folder: Folder, started: float | None = None) -> None:
        self.folder = folder
        self.started = time.monotonic() if started is None else started
        self.date = round(time.time() - (time.monotonic() - self.started), 2)  # of the start, seconds since the epoch
        self.earlier = (read_json(folder.clock) or {"runs": []})["runs"]
        self._written = folder.clock.stat() if self.earlier else None
        self._writing, self._over = threading.Lock(), threading.Event()
        self._keeper = threading.Thread(target=self._keep, daemon=True, name="clock")

    def now(self) -> float:
        """Seconds used by this and all earlier runs."""
        return float(sum(run["seconds"] for run in self.earlier)) + time.monotonic() - self.started

    def begin(self) -> None:
        """Write the time used now and every second, whatever this process is at."""
        self.stamp()
        self._keeper.start()

    def end(self, counts: bool = True) -> None:
        """Write the time used for the last time; a run that does not count leaves the runs before it."""
        self._over.set()
        self._keeper.join()
        if counts:
            self.stamp()
        elif self._written is not None:
            write_json(self.folder.clock, {"runs": self.earlier})
            os.utime(self.folder.clock, ns=(self._written.st_atime_ns, self._written.st_mtime_ns))  # as it was
        else:
            self.folder.clock.unlink(missing_ok=True)

    def stamp(self) -> None:
        """Write the time used."""
        with self._writing:
            this = {"started": self.date, "seconds": round(time.monotonic() - self.started, 2), "cores": _computed()}
            write_json(self.folder.clock, {"runs": [*self.earlier, this]})

    def _keep(self) -> None:
        while not self._over.wait(STAMP_SECONDS):
            with suppress(OSError, MachineStopped):  # a full disk is said where the study itself writes
                self.stamp()


def _computed() -> float:
    """Seconds that cores have computed for this process and for those of its children that have ended."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return round(time.process_time() + children.ru_utime + children.ru_stime, 2)


def spent(runs: Sequence[Mapping[str, float]], gpus: int) -> str:
    """What the runs of a study have used, in words: core-hours where they were counted, and GPU-hours."""
    total = sum(run["seconds"] for run in runs)
    told = [f"{sum(run['cores'] for run in runs) / 3600:.2g} core-hours"] if all("cores" in run for run in runs) else []
    told += [f"at most {gpus * total / 3600:.2g} GPU-hours"] if gpus else []
    return " and ".join(told)


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
    """Seconds as "1 h 20 min", "3 min 5 s", "3 min" or "42 s"."""
    hours, minutes, secs = _parts(round(value))
    if hours:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    return " ".join(f"{count} {unit}" for count, unit in ((minutes, "min"), (secs, "s")) if count) or "0 s"


def as_option(value: int) -> str:
    """Seconds as an option says them: "1h5m", "17m", "2m10s"."""
    return "".join(f"{count}{unit}" for count, unit in zip(_parts(value), "hms", strict=True) if count)


def _parts(total: int) -> tuple[int, int, int]:
    """Hours, minutes and seconds."""
    minutes, secs = divmod(total, 60)
    return *divmod(minutes, 60), secs
