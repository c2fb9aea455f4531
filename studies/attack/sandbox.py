"""Runs a case in a folder of its own, by a fork of this process, and tells what came of it."""

import ctypes
import os
import resource
import shutil
import signal
import stat
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from studies.attack.acts import die_with_parent
from studies.attack.case import API, BEGUN, PLANNED, SCORED, Case, Outcome, Seen, judge
from studies.attack.traps.sitecustomize import watch

MEMORY = 3 << 30  # bytes that a case may take beyond those of its parent
CAPABILITIES = 0x20080522  # version 3 of the kernel's structures
Found = dict[str, tuple[int, int, int]]


def run_case(case: Case, root: Path) -> Outcome:
    """Make the files of a case in `root`, do it, look at what is left; the folder goes."""
    started = time.monotonic()
    shutil.rmtree(root, ignore_errors=True)
    here = root / "here"
    here.mkdir(parents=True)
    try:
        if case.drive is not None:
            outcome = case.drive(here)
            outcome.name = case.name
        else:
            case.make(here)
            seen = attempt(case, root)
            said = (seen.err.strip() or seen.out.strip())[-600:]
            outcome = Outcome(case.name, [*judge(case, seen), *case.check(here)], said)
    except Exception:
        outcome = Outcome(case.name, [("other", f"the attack itself failed: {traceback.format_exc()[-900:]}")])
    finally:
        remove(root)
    outcome.seconds = round(time.monotonic() - started, 2)
    return outcome


def remove(root: Path) -> None:
    """Delete a folder, also where parts of it were closed to everybody."""
    for folder, _, _ in os.walk(root):
        os.chmod(folder, 0o700)
    shutil.rmtree(root, ignore_errors=True)


def attempt(case: Case, root: Path) -> Seen:
    """Do what a case does in a fork of this process, with a limit of time and memory, watched."""
    for name in ("home", "tmp"):
        (root / name).mkdir(exist_ok=True)
    out, err, log = (root / name for name in (".out", ".err", ".log"))
    before = snapshot(root)
    started = time.monotonic()
    child = os.fork()
    if child == 0:
        _child(case, root, out, err, log)
    seen = Seen()
    seen.code, seen.begun = _wait(child, case.seconds, lambda: _reached(case.until, root / "here"))
    seen.seconds = time.monotonic() - started
    seen.out, seen.err = (path.read_text(errors="replace") if path.exists() else "" for path in (out, err))
    seen.log = log.read_text().splitlines() if log.exists() else []
    seen.new = changed(before, snapshot(root))
    return seen


def _wait(child: int, limit: float, reached: Callable[[], bool]) -> tuple[int | None, bool]:
    """The exit code of a child (None: it was ended after `limit` seconds) and whether it reached what it should."""
    end, pause = time.monotonic() + limit, 0.005
    while True:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            _end(child)  # what it may have started
            return os.waitstatus_to_exitcode(status), False
        begun = reached()
        if begun or time.monotonic() > end:
            _end(child)
            os.waitpid(child, 0)
            return None, begun
        time.sleep(pause)
        pause = min(0.1, pause * 1.3)


def _end(group: int) -> None:
    with suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)


def _reached(until: str, here: Path) -> bool:
    """Whether a study below `here`, but for one that was put there in run/, is as far as it is let go."""
    if until == PLANNED:
        log = here / "run" / "autossl.log"
        return log.is_file() and "plan:" in log.read_text(errors="replace")
    for folder, below, names in os.walk(here):
        below[:] = [name for name in below if (folder, name) != (str(here), "run")]
        if until == BEGUN and "study.journal" in names and os.path.getsize(os.path.join(folder, "study.journal")):
            return True
        if until == SCORED and folder.endswith("/artifacts") and any(name.startswith("c") for name in names):
            return True
    return False


def _child(case: Case, root: Path, out: Path, err: Path, log: Path) -> None:
    """Never returns."""
    code = API
    try:
        os.setpgid(0, 0)
        die_with_parent()
        os.chdir(root / "here")
        os.environ.update(HOME=str(root / "home"), TMPDIR=str(root / "tmp"), PWD=str(root / "here"))
        for stream, path in ((0, "/dev/null"), (1, out), (2, err)):
            os.dup2(os.open(path, os.O_RDONLY if stream == 0 else os.O_WRONLY | os.O_CREAT, 0o666), stream)
        sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
        sys.stderr = open(2, "w", encoding="utf-8", errors="backslashreplace", closefd=False)  # noqa: SIM115
        size = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
        resource.setrlimit(resource.RLIMIT_AS, (size + MEMORY, size + MEMORY))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        watch(str(log), (str(root), os.environ.get("MPLCONFIGDIR", str(root))))
        if case.plain:
            drop_capabilities()
        assert case.act is not None
        case.act()
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def drop_capabilities() -> None:
    """Make permissions hold for root too, as for the owner of its files."""
    if os.geteuid() == 0:
        header, none = (ctypes.c_uint32 * 2)(CAPABILITIES, 0), (ctypes.c_uint32 * 6)()
        if ctypes.CDLL(None, use_errno=True).capset(header, none):
            raise OSError(ctypes.get_errno(), "the rights of root could not be given up")


def snapshot(root: Path) -> Found:
    """Every path below `root`, with its kind, size and time of change."""
    found: Found = {}
    for here, folders, names in os.walk(root):
        for name in [*folders, *names]:
            path = os.path.join(here, name)
            if here == str(root) and name.startswith("."):
                continue  # what the watch writes
            try:
                about = os.lstat(path)
            except OSError:
                continue
            is_folder = stat.S_ISDIR(about.st_mode)
            found[os.path.relpath(path, root)] = (
                stat.S_IFMT(about.st_mode), 0 if is_folder else about.st_size, 0 if is_folder else about.st_mtime_ns
            )  # fmt: skip
    return found


def changed(before: Found, after: Found) -> list[str]:
    """Paths that came, went or changed; those in the current folder by their name there."""
    paths = sorted(path for path in before.keys() | after.keys() if before.get(path) != after.get(path))
    return [path.removeprefix("here/") if path.startswith("here/") else f"../{path}" for path in paths]
