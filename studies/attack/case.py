"""What a case is, what is seen of it, and what of that is a fault."""

import re
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

REFUSED, FINE, EITHER = "refused", "fine", "either"  # what may come of a case: exit 2, no refusal, one of both
BEGUN, SCORED, PLANNED, ENDED = "begun", "scored", "planned", "ended"  # how far a study is let go: PLANNED is of run/
KINDS = (
    "exit 1", "traceback", "hang", "crash", "lines", "silent", "outside", "connection", "code", "overrun", "other",
)  # fmt: skip
SKIP = "skipped"
OK, USER, NO_CANDIDATE, MACHINE, API = 0, 2, 3, 4, 70  # exit codes; API: an exception that is no UserError
STAGE = re.compile(r"\d\d:\d\d:\d\d ")  # a line of progress
NOT_STARTED = "a search would not start: because"  # the last line of `inspect`
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")

Faults = list[tuple[str, str]]  # of one of KINDS, and a sentence


def nothing(_: Path) -> None:
    """A case without files."""


def clean(_: Path) -> Faults:
    """A case with nothing more to look at."""
    return []


@dataclass(frozen=True)
class Case:
    """One attack: files are made in an empty folder, then something is done there by a forked process.

    `drive` is for cases of several real processes: it runs them itself and returns the faults.
    """

    name: str
    act: Callable[[], object] | None = None
    make: Callable[[Path], object] = nothing
    expect: str = EITHER
    until: str = BEGUN
    seconds: float = 25.0  # from which on it hangs
    writes: tuple[str, ...] = ("out", "runs", "changed", "groups")  # where an accepted case may write, in its folder
    check: Callable[[Path], Faults] = clean  # what else may be wrong when it is over
    plain: bool = False  # without root's right to read and write everything
    drive: "Callable[[Path], Outcome] | None" = None
    codes: tuple[int, ...] = (OK, USER)


@dataclass
class Seen:
    """What a forked process left behind."""

    code: int | None = None  # exit code; negative: the signal that ended it; None: it was ended because it hangs
    begun: bool = False  # it got as far as it was let go
    out: str = ""
    err: str = ""
    new: list[str] = field(default_factory=list)  # paths in the folder of the case that came, went or changed
    log: list[str] = field(default_factory=list)  # lines of the watch
    seconds: float = 0.0


@dataclass
class Outcome:
    """What came of a case."""

    name: str
    faults: Faults = field(default_factory=list)
    said: str = ""
    tried: int = 1
    seconds: float = 0.0
    skipped: str = ""

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def judge(case: Case, seen: Seen) -> Faults:
    """Everything that is not as it should be."""
    return [*_ending(case, seen), *_words(seen), *_watched(seen), *_left(case, seen)]


def _ending(case: Case, seen: Seen) -> Faults:
    last = seen.err.strip().splitlines()[-1:] or [""]
    if seen.begun:
        return [("silent", "nonsense was accepted")] if case.expect == REFUSED else []
    if seen.code is None:
        return [("hang", f"no end after {seen.seconds:.0f} s")]
    if seen.code < 0:
        return [("crash", f"signal {-seen.code}")]
    if seen.code == 1:
        return [("exit 1", last[0])]
    if seen.code == API:
        return [("traceback", last[0])]
    if seen.code not in case.codes:
        return [("other", f"exit {seen.code}: {last[0]}")]
    if seen.code == OK and case.expect == REFUSED:
        return [("silent", "nonsense was accepted")]
    if seen.code == USER and case.expect == FINE:
        return [("other", f"refused: {last[0]}")]
    return []


def _words(seen: Seen) -> Faults:
    found: Faults = []
    if "Traceback (most recent" in seen.err and seen.code != API:
        found.append(("traceback", seen.err.strip().splitlines()[-1]))
    elif seen.code == USER and not seen.begun and not seen.err.startswith("Usage: "):  # click's own form has three
        lines = [line for line in seen.err.strip().splitlines() if not STAGE.match(line)]
        told = seen.out.strip().rpartition("\n")[2].startswith(NOT_STARTED)  # what `inspect` is asked for
        if not told and (len(lines) != 1 or not lines[0].startswith("error: ")):
            found.append(("lines", f"{len(lines)} lines: {seen.err.strip()[:300]!r}"))
    if strange := CONTROL.search(seen.out + (seen.err if seen.code != API else "")):
        found.append(("other", f"a control character on the terminal: {strange.group()!r}"))
    return found


def _watched(seen: Seen) -> Faults:
    return [(line.partition(" ")[0], line.partition(" ")[2]) for line in dict.fromkeys(seen.log)]


def _left(case: Case, seen: Seen) -> Faults:
    if seen.code in (1, API, None) and not seen.begun:
        return []  # counted once
    accepted = seen.begun or seen.code in (OK, NO_CANDIDATE, MACHINE)
    allowed = case.writes if accepted else ()
    strange = [path for path in seen.new if not any(path == a or path.startswith(a + "/") for a in allowed)]
    return [("outside", f"left behind: {', '.join(strange[:5])}")] if strange else []
