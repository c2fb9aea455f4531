"""Short limits of time beside busy loops: kept, or refused at once with a limit that is enough."""

import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from studies.attack.acts import ended, said, start, textures, watched
from studies.attack.case import USER, Case, Faults, Outcome
from studies.attack.clock import judged, named
from studies.attack.study import data

AT_ONCE, START_UP = 10.0, 8.0  # seconds in which a limit is refused; of a start of Python under load beside
MOST = 150.0  # a named limit above this is not followed: it would take too long
REAL = Path(__file__).parents[2] / ".." / "shared" / "data"


def cases(_: int) -> Sequence[Case]:
    """Limits that are met, that are too short, and that are just named."""
    runs = {
        "sample:cells, 90 s": ("sample:cells", 90.0), "sample:cells, 30 s": ("sample:cells", 30.0),
        "textures, 60 s": ("x.npz", 60.0), "600 files of 64 px, 30 s": ("files 600 64", 30.0),
        "200 files of 500 px, 40 s": ("files 200 500", 40.0), "pbc_blood_28, 90 s": ("pbc_blood_28.npz", 90.0),
    }  # fmt: skip
    return [Case(name, drive=lambda here, d=what, s=limit: drive(here, d, s)) for name, (what, limit) in runs.items()]


def drive(here: Path, what: str, limit: float) -> Outcome:
    """One run beside a busy loop per core; where its limit is refused, the limit that it names is taken."""
    given = prepared(here, what)
    if given is None:
        return Outcome("", skipped="real images (../shared/data) are not here")
    loops = [busy() for _ in os.sched_getaffinity(0)]
    try:
        return followed(here, given, limit)
    finally:
        for loop in loops:
            os.kill(loop, signal.SIGKILL)
            os.waitpid(loop, 0)


def followed(here: Path, given: Sequence[str], limit: float) -> Outcome:
    faults, told = Faults(), ""
    for turn in range(2):
        started = time.monotonic()
        code = ended(
            start(here, "search", *given, "--time-limit", f"{limit:.0f}s", "--quiet", "--out", f"out{turn}"),
            2 * limit + 60,
        )
        wall, words = time.monotonic() - started, said(here)
        told += f"{limit:.0f} s: {wall:.1f} s, exit {code}; "
        longer = named(words)
        if code != USER or longer is None:
            return Outcome("", [*faults, *judged(code, wall, limit, words), *watched(here)], said=told)
        if wall > AT_ONCE + START_UP:
            faults.append(("other", f"a limit of {limit:.0f} s was refused only after {wall:.1f} s"))
        if (here / f"out{turn}").exists():
            faults.append(("outside", "a refused run left its folder"))
        if turn == 1:
            faults.append(("other", f"the limit that was named, {limit:.0f} s, was refused: {words[-200:]}"))
        limit = longer
        if limit > MOST:
            break
    return Outcome("", [*faults, *watched(here)], said=told)


def busy() -> int:
    """A process that computes until it is killed."""
    child = os.fork()
    while child == 0:
        pass
    return child


def prepared(here: Path, what: str) -> list[str] | None:
    """The data of a run, and its options; None where they are not here."""
    words = what.split()
    if words[0] == "files":
        files(here, int(words[1]), int(words[2]))
        return ["d", "--backbone", "test_resnet"]
    if words[0] == "x.npz":
        data(here)
        return [*words, "--backbone", "test_resnet"]
    if words[0].startswith("sample:"):
        return words
    real = (REAL / words[0].removesuffix(".npz")).resolve()
    found = [path for path in (real, REAL / words[0], *real.glob("*.npz")) if path.is_file()]
    return [str(found[0].resolve())] if found else None


def files(here: Path, count: int, side: int) -> None:
    small = textures(count, 20)[0]
    rng = np.random.default_rng(0)
    for row, image in enumerate(small):
        folder = here / "d" / "ab"[row % 2]
        folder.mkdir(parents=True, exist_ok=True)
        large = np.asarray(Image.fromarray(image).resize((side, side))).astype(int) + rng.integers(0, 9, (side, side))
        Image.fromarray(np.clip(large, 0, 255).astype(np.uint8)).save(folder / f"{row}.png")
