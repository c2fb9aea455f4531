"""A process of its own: runs commands of AutoSSL, each in a fork, refuses connections, and tells what they did.

`python watched.py PLAN` reads probes (name, args or call, allowed folders) and traps (files that nothing may open) from
a JSON file and writes what happened to PLAN.found. Python's audit events are the witness: they come before the deed.
"""

import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
ASKING = ("socket.connect", "socket.sendto", "socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr")
RUNNING = ("os.system", "os.exec", "os.posix_spawn", "os.spawn", "pty.spawn", "subprocess.Popen")
CHANGING = {
    "os.mkdir": 0,
    "os.truncate": 0,
    "os.chmod": 0,
    "shutil.rmtree": 0,
    "os.rename": 1,
    "os.symlink": 1,
    "os.link": 1,
}
RISKY = ("os", "posix", "subprocess", "builtins.eval", "builtins.exec")

seen: list[str] = []
allowed: list[str] = []
traps: list[str] = []


def inside(path: Any, folders: list[str]) -> bool:
    where = os.path.realpath(os.fsdecode(path)) if path is not None else ""
    return any(where == folder or where.startswith(folder + os.sep) for folder in folders)


def beside(path: Any) -> str:
    """The path of a link or file itself, not of what a link leads to."""
    folder, name = os.path.split(os.fsdecode(path))
    return os.path.join(os.path.realpath(folder), name)


def watch(event: str, args: tuple[Any, ...]) -> None:
    if event in ASKING:
        seen.append(f"asked the network: {event} {args[1:]}")
        raise ConnectionRefusedError("no network here")
    if event in RUNNING and args[0] != "/sbin/ldconfig":  # Python's ctypes looks for libraries with it
        seen.append(f"ran a program: {event} {args[:2]}")
    elif event == "open" and isinstance(args[0], str | bytes):
        if args[2] & WRITING and not inside(args[0], allowed):
            seen.append(f"wrote outside: {args[0]!r}")
        if inside(args[0], traps):
            seen.append(f"opened a trap: {args[0]!r}")
    elif event == "sqlite3.connect" and args[0] != ":memory:":
        seen.append(f"opened a database: {args[0]!r}")
    elif event in CHANGING and not inside(args[CHANGING[event]], allowed):
        seen.append(f"changed outside: {event} {args[CHANGING[event]]!r}")
    elif event == "os.remove" and args[1] == -1 and not any(beside(args[0]).startswith(folder) for folder in allowed):
        seen.append(f"removed outside: {args[0]!r}")
    elif event == "pickle.find_class" and (args[0] in RISKY or ".".join(args) in RISKY):
        seen.append(f"unpickled {'.'.join(args)}")


def command(*args: str) -> None:
    from autossl.cli.commands import main

    main(args, prog_name="autossl")


def served(*args: str) -> None:
    """The dashboard until it serves, then Ctrl-C."""

    def enough(*_: object) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGALRM, enough)
    signal.setitimer(signal.ITIMER_REAL, 0.5)
    command(*args)


def load(path: str) -> None:
    import autossl

    autossl.load(path)


def study(path: str) -> None:
    import autossl

    found = autossl.Study(path)
    print(found.status(), found.leaderboard(), found.best, found.optuna.trials, found.result, len(found._repr_html_()))


def plan(path: str) -> None:
    from autossl.record.folder import Folder
    from autossl.run.repeat import adopt_plan

    root = Path(path).with_name("repeated")
    root.mkdir(exist_ok=True)
    shutil.copy(Folder(Path(path)).config, Folder(root).config)  # as a search has settings before it asks for a plan
    adopt_plan(Folder(root), path)


CALLS: dict[str, Callable[..., None]] = {f.__name__: f for f in (command, served, load, study, plan)}


def run(probe: dict[str, Any], out: int) -> int:
    """One probe in this process; its exit code."""
    from autossl.errors import UserError

    os.dup2(out, 1)
    os.dup2(out, 2)
    try:
        CALLS[probe["call"]](*probe["args"])
    except SystemExit as end:
        return int(end.code or 0)
    except UserError as fault:
        print(f"error: {fault}")
        return 2
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
    return 0


def forked(probe: dict[str, Any], place: Path) -> dict[str, Any]:
    """What one probe did."""
    started = time.monotonic()
    out = os.open(place, os.O_CREAT | os.O_RDWR | os.O_TRUNC)
    told, tell = os.pipe()
    child = os.fork()
    if child == 0:
        seen.clear()
        allowed.extend(path.replace("{pid}", str(os.getpid())) for path in probe["allowed"])
        code = 70
        try:
            code = run(probe, out)
        finally:
            os.write(tell, json.dumps(seen[:20]).encode())
            os._exit(code)
    os.close(tell)
    with os.fdopen(told) as file:
        text = file.read()
    _, status = os.waitpid(child, 0)
    os.close(out)
    found = {"code": os.waitstatus_to_exitcode(status), "seen": json.loads(text or '["died"]')}
    found["seconds"] = round(time.monotonic() - started, 2)
    return {**found, "output": place.read_bytes().decode(errors="replace")}


def main(path: Path) -> None:
    asked = json.loads(path.read_text())
    allowed.extend(asked["allowed"])
    traps.extend(asked["traps"])
    sys.addaudithook(watch)
    for module in (
        "autossl.cli.commands",
        "autossl.run.controller",
        "autossl.run.jobs",
        "autossl.report.figures",
        "optuna_dashboard",
    ):
        __import__(module)
    found = {"importing": {"code": 0, "seen": list(seen), "output": ""}}
    for number, probe in enumerate(asked["probes"]):
        found[probe["name"]] = forked(probe, path.with_name(f"{path.name}.{number}"))
    path.with_name(f"{path.name}.found").write_text(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
