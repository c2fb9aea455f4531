"""What cases do: commands and Python calls in this process, real processes, and the files that they are given."""

import ctypes
import json
import os
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autossl.errors import UserError
from studies.attack.case import API, USER, Faults

TRAPS = Path(__file__).parent / "traps"
MAIN = [sys.executable, "-c", "from autossl.cli.commands import main; main()"]
SPACE = """
[simclr]
prior = [{ temperature = 0.5, lr = 1e-3 }]
temperature = { low = 0.1, high = 1.0 }
lr = { low = 1e-4, high = 1e-2, log = true }
batch_size = 64
[denoising]
prior = [{ sigma = 0.2, lr = 1e-3 }]
sigma = { low = 0.1, high = 0.5 }
lr = { low = 1e-4, high = 1e-2, log = true }
batch_size = 64
"""
QUICK = ("--time-limit", "none", "--max-candidates", "1", "--backbone", "test_resnet", "--adaptation", "frozen")
Make = Callable[[Path], object]


def command(*args: str) -> Callable[[], None]:
    """`autossl ARGS`."""

    def act() -> None:
        from autossl.cli.commands import main

        main(list(args))

    return act


def search(data: str, *more: str, out: str | None = "out") -> Callable[[], None]:
    """A quick search on `data`; of an option that is given twice, the last holds."""
    place = ["--out", out] if out is not None else []
    weights = () if "--weights" in more else ("--weights", "none")
    return command("search", data, *QUICK, *weights, "--quiet", *place, *more)


def call(function: Callable[[], Any]) -> Callable[[], None]:
    """A Python call: a UserError ends as it does on the command line, anything else as a fault."""

    def act() -> None:
        try:
            function()
        except UserError as fault:
            print(f"error: {fault}", file=sys.stderr)
            sys.exit(USER)
        except Exception:
            traceback.print_exc()
            sys.exit(API)

    return act


def textures(n: int = 60, size: int = 16, classes: int = 2) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Grey images (n, size, size) of striped classes, and their labels."""
    rng = np.random.default_rng(0)
    labels = np.arange(n) % classes
    stripes = np.sin(
        np.arange(size)[None, :, None] * (0.5 + 0.6 * labels[:, None, None]) + rng.uniform(0, 6, (n, 1, 1))
    )
    noisy = 127 + 60 * stripes + rng.normal(0, 90, (n, size, size))
    return np.clip(noisy, 0, 255).astype(np.uint8), labels


def good_npz(here: Path, **members: Any) -> None:
    """x.npz, which is fine but for `members`; None leaves one out."""
    images, labels = textures()
    arrays = {"images": images, "labels": labels, **members}
    np.savez(here / "x.npz", **{key: value for key, value in arrays.items() if value is not None})


def noted(*words: str) -> Callable[[Path], Faults]:
    """A check that a study which began has a note with all of these words."""

    def check(here: Path) -> Faults:
        record = here / "out" / "data.json"
        notes = json.loads(record.read_text())["notes"] if record.exists() else None
        if notes is None or any(all(word in note for word in words) for note in notes):
            return []
        return [("silent", f"accepted without a note on {' '.join(words)}")]

    return check


def die_with_parent() -> None:
    """Let this process be killed when the one that started it ends."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)


def environment(here: Path, **more: str) -> dict[str, str]:
    """Of a real process: watched, one thread, a home of its own."""
    home, log = here.parent / "home", here.parent / ".log"
    home.mkdir(exist_ok=True)
    roots = os.pathsep.join([str(here.parent), os.environ.get("MPLCONFIGDIR", str(home))])
    return {
        **os.environ, "HOME": str(home), "TMPDIR": str(home), "TORCHINDUCTOR_CACHE_DIR": str(home),
        "OMP_NUM_THREADS": "1", "PYTHONPATH": str(TRAPS),
        "ATTACK_LOG": str(log), "ATTACK_ROOTS": roots, **more,
    }  # fmt: skip


def start(here: Path, *args: str, **more: str) -> subprocess.Popen[bytes]:
    """`autossl ARGS` as a real process in `here`, the first of a group of its own; what it says goes to files there."""
    with open(here.parent / ".out", "ab") as out, open(here.parent / ".err", "wb") as err:
        return subprocess.Popen(
            [*MAIN, *args], cwd=here, env=environment(here, **more), stdin=subprocess.DEVNULL, stdout=out,
            stderr=err,
            start_new_session=True, preexec_fn=die_with_parent,
        )  # fmt: skip


def ended(process: subprocess.Popen[bytes], seconds: float) -> int | None:
    """The exit code of a real process; None where it must be killed after `seconds`."""
    try:
        return process.wait(seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, 9)
        process.wait()
        return None


def said(here: Path) -> str:
    """What the last real process wrote to stderr."""
    return (here.parent / ".err").read_text(errors="replace").strip()


def watched(here: Path) -> list[tuple[str, str]]:
    """Faults that the watch wrote down of real processes."""
    log = here.parent / ".log"
    lines = dict.fromkeys(log.read_text().splitlines()) if log.exists() else {}
    return [(line.partition(" ")[0], line.partition(" ")[2]) for line in lines]


def until(true: Callable[[], bool], process: subprocess.Popen[bytes], seconds: float = 240) -> bool:
    """Wait until something is so; False where the process ends before."""
    end = time.monotonic() + seconds
    while process.poll() is None and time.monotonic() < end:
        if true():
            return True
        time.sleep(0.02)
    return False
