"""Kills and signals in every stage of a short real study, then resume to its end: nothing scored may be lost."""

import os
import random
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from studies.attack.acts import ended, said, start, until, watched
from studies.attack.case import Case, Faults, Outcome
from studies.attack.study import FULL, STUDY, data, prepare, result, scored

__all__ = ["cases", "prepare"]
SEARCH = ("search", "x.npz", *FULL, "--space", "s.toml", "--out", "out")
STAGES = {  # what the log says when a stage begins, and seconds in which to strike
    "import": ("", 4.0), "decoding": ("opening the images", 0.5), "calibrating": ("measuring what", 0.4),
    "search": ("searching", 2.0),
    "baseline": ("training on the labels alone", 10.0), "finalists": ("scoring the finalists", 0.5),
    "final training": ("on, with a falling", 2.5),
    "test": ("testing once", 0.3), "report": ("writing the report", 0.8),
}  # fmt: skip
SIGNALS = {"KILL": signal.SIGKILL, "TERM": signal.SIGTERM, "INT": signal.SIGINT}
PATIENCE = 300.0


def cases(seed: int) -> Sequence[Case]:
    """Each stage by SIGKILL of the parent and of the group; the other signals; many kills of one study; two workers."""
    plans: dict[str, tuple[list[tuple[str, str, bool]], int]] = {}
    for stage in STAGES:
        plans[f"KILL of the group in {stage}"] = ([(stage, "KILL", True)], 1)
    for stage in ("search", "baseline", "final training"):
        plans[f"KILL of the parent in {stage}"] = ([(stage, "KILL", False)], 1)
    plans["TERM in search, INT in the final training"] = (
        [("search", "TERM", False), ("final training", "INT", False)],
        1,
    )
    plans["INT in the baseline, TERM of the group in the test"] = (
        [("baseline", "INT", False), ("test", "TERM", True)],
        1,
    )
    for stage in ("import", "search"):
        plans[f"KILL of the parent of two workers in {stage}"] = ([("search", "KILL", False)], 2)
    plans["four kills of one study"] = (
        [(stage, "KILL", True) for stage in ("import", "search", "baseline", "final training")],
        1,
    )
    return [
        Case(name, drive=lambda here, p=plan, n=name: drive(here, p[0], p[1], random.Random(f"{seed} {n}")))
        for name, plan in plans.items()
    ]


def drive(here: Path, blows: Sequence[tuple[str, str, bool]], workers: int, rng: random.Random) -> Outcome:
    """Strike, look, go on; at the end the study must be that of which nobody knew."""
    data(here)
    faults: Faults = []
    known: dict[str, float] = {}
    struck = 0
    for stage, name, group in blows:
        process = start(here, *SEARCH, "--workers", str(workers))
        if not strike(process, here / "out", stage, SIGNALS[name], group, rng):
            break
        struck += 1
        faults += _after(process, here, name)
        if not group:
            faults += orphans(here)
        now = scored(here / "out")
        faults += _lost(known, now)
        known = now
    code = ended(start(here, *SEARCH, "--workers", str(workers)), PATIENCE)
    if code != 0:
        faults.append(
            (
                "hang" if code is None else "exit 1" if code == 1 else "other",
                f"resume ended with {code}: {said(here)[-200:]}",
            )
        )
        return Outcome("", [*faults, *watched(here)], said=said(here)[-600:])
    faults += [*_lost(known, scored(here / "out")), *_whole(here), *orphans(here), *watched(here)]
    if workers == 1:
        faults += _same(here / "out")
    return Outcome("", faults, said=f"{struck} of {len(blows)} blows fell")


def strike(
    process: "subprocess.Popen[bytes]", out: Path, stage: str, sent: int, group: bool, rng: random.Random
) -> bool:
    """Send a signal to the parent or its group at a random time in a stage; False where the study ended before."""
    sign, within = STAGES[stage]
    if sign:
        before = lines(out, sign)
        if not until(lambda: lines(out, sign) > before, process, PATIENCE):
            return False
    time.sleep(rng.uniform(0, within))
    if process.poll() is not None:
        return False
    (os.killpg if group else os.kill)(process.pid, sent)
    return True


def lines(out: Path, sign: str) -> int:
    path = out / "autossl.log"
    return path.read_text(errors="replace").count(sign) if path.exists() else 0


def _after(process: "subprocess.Popen[bytes]", here: Path, name: str) -> Faults:
    """How a process ends on a signal: at once by KILL, within 20 s and with a sentence by INT."""
    code = ended(process, 20)
    if code is None:
        return [("hang", f"lives 20 s after {name}")]
    allowed = {"KILL": (-9,), "TERM": (-15, 130, 143), "INT": (130,)}[name]
    found: Faults = [] if code in (*allowed, 0) else [("other", f"{name} ended it with {code}")]
    if name == "INT" and code == 130 and len(said(here).splitlines()) != 1:
        found.append(("lines", f"{len(said(here).splitlines())} lines after INT"))
    return found + ([("traceback", said(here)[-200:])] if "Traceback" in said(here) else [])


def orphans(here: Path, seconds: float = 10) -> Faults:
    """Processes of this study that still live some seconds after their parent."""
    end = time.monotonic() + seconds
    while found := [pid for pid in map(int, filter(str.isdecimal, os.listdir("/proc"))) if _of(pid, str(here))]:
        if time.monotonic() > end:
            for pid in found:
                os.kill(pid, signal.SIGKILL)
            return [("hang", f"{len(found)} workers live {seconds:.0f} s after their parent")]
        time.sleep(0.2)
    return []


def _of(pid: int, place: str) -> bool:
    try:
        return place in Path(f"/proc/{pid}/cmdline").read_text(errors="replace")
    except OSError:
        return False


def _lost(before: dict[str, float], after: dict[str, float]) -> Faults:
    gone = [number for number, value in before.items() if after.get(number) != value]
    return [("silent", f"scored trials {', '.join(gone)} are gone or changed")] if gone else []


def _whole(here: Path) -> Faults:
    """No half file and nothing left over in a finished study; everything can be read."""
    out, found = here / "out", Faults()
    for path in out.rglob("*"):
        if path.name.endswith((".part", ".partial.pt", ".tmp")) or path.name in ("stop", "study.journal.lock"):
            found.append(("outside", f"{path.relative_to(out)} is left in a finished study"))
        if path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as archive:
                assert all(archive[key] is not None for key in archive.files)
    log = (out / "autossl.log").read_text(errors="replace")
    if "Traceback" in log:
        found.append(("traceback", f"in autossl.log: {log[log.index('Traceback') :].splitlines()[-1]:.200}"))
    for name in ("status", "leaderboard"):
        if ended(start(here, name, "out", "--json"), 60) != 0:
            found.append(("other", f"{name} of the finished study: {said(here)[-200:]}"))
    return found


def _same(out: Path) -> Faults:
    """One worker and no limit of time: a study that was killed ends with the numbers of one that was not."""
    wanted, found = result(STUDY.folder), result(out)
    keys = ("candidate", "selection")
    differ = [key for key in keys if found.get(key) != wanted.get(key)]
    if tested(found) != tested(wanted):
        differ.append("test")
    if int(found.get("tests", 0)) not in (1, 2):
        differ.append("tests")
    return [("silent", f"{', '.join(differ)} differ from the study that nobody killed")] if differ else []


def tested(found: dict[str, object]) -> object:
    test = found.get("test")
    entrants = test.get("entrants", {}) if isinstance(test, dict) else {}
    return {name: entrants[name].get("balanced_accuracy") for name in entrants}
