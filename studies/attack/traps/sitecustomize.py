"""What watches an attacked process; Python loads it at the start of a process where this folder is on PYTHONPATH.

ATTACK_LOG and ATTACK_ROOTS: write down, and refuse, every connection; write down what is written outside the roots.
ATTACK_CLOCK "zero:after:shift": the wall clock jumps by `shift` seconds, `after` seconds after the monotonic `zero`.
"""

import os
import sys
import time
from typing import Any

MADE = {"os.mkdir", "os.remove", "os.rmdir", "os.symlink", "os.link", "os.truncate", "os.chmod", "os.rename"}
TALK = {"socket.connect", "socket.getaddrinfo", "socket.sendto", "socket.gethostbyname", "urllib.Request"}
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
FREE = ("/dev/", "/proc", "/sys/")  # no files of anybody


class Refused(OSError):
    """What a connection meets here."""


def watch(log: str, roots: tuple[str, ...]) -> None:
    """Watch this process, without end: a line in `log` for each connection, command and file outside `roots`."""
    lines = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    inside = tuple(os.path.realpath(root) for root in roots)

    def tell(kind: str, what: object) -> None:
        os.write(lines, f"{kind} {what!r}\n".encode("utf-8", "backslashreplace"))

    def outside(path: object) -> bool:
        if isinstance(path, int) or not isinstance(path, str | bytes | os.PathLike):
            return False
        real = os.path.realpath(os.fsdecode(path))
        ours = any(real == root or real.startswith(root + "/") for root in inside)
        return not ours and "__pycache__" not in real and not real.startswith(FREE)

    def hook(event: str, args: tuple[Any, ...]) -> None:
        for path in written(event, args):
            if outside(path):
                tell("outside", path)
        if event == "os.system":
            tell("code", args[0])
        if event in TALK and not (event == "socket.connect" and isinstance(args[1], str | bytes)):  # a socket file
            tell("connection", (event, *args[1:]) if event == "socket.connect" else (event, *args))
            raise Refused("no network in an attack")

    sys.addaudithook(hook)


def written(event: str, args: tuple[Any, ...]) -> tuple[object, ...]:
    """The paths that an event writes to."""
    if event == "open":
        return (args[0],) if isinstance(args[2], int) and args[2] & WRITES else ()
    if event in ("os.rename", "os.symlink", "os.link"):
        return (args[1],)
    if event == "sqlite3.connect":
        return () if args[0] in (":memory:", b":memory:") else (args[0],)
    return (args[0],) if event in MADE else ()


def shift_clock(zero: float, after: float, shift: float) -> None:
    """Let time.time and time.time_ns jump."""
    true, true_ns = time.time, time.time_ns

    def jumped() -> float:
        return shift if time.monotonic() - zero >= after else 0.0

    time.time = lambda: true() + jumped()
    time.time_ns = lambda: true_ns() + int(jumped() * 1e9)


if log := os.environ.get("ATTACK_LOG"):
    watch(log, tuple(os.environ["ATTACK_ROOTS"].split(os.pathsep)))
if jump := os.environ.get("ATTACK_CLOCK"):
    shift_clock(*map(float, jump.split(":")))
