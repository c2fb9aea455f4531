"""Progress for people: one live display on a terminal, plain lines in a log."""

import logging
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.logging import RichHandler
from rich.text import Text

from autossl.errors.machine import open_own, writable
from autossl.errors.printable import OneLine
from autossl.record.clock import in_words
from autossl.report.leaderboard import SCORED, as_table

EVERY = 2.0  # seconds between looks at the leaderboard; the bar moves by itself every second
log = logging.getLogger("autossl")


class Display:
    """Shows how a study goes. `facts` is asked for the leaderboard rows, at most every few seconds.

    `scored` is what their scores are called.
    """

    def __init__(self, file: Path, limit: float | None, now: Callable[[], float], quiet: bool = False) -> None:
        self.limit, self.now = limit, now
        self.stage, self.done, self.rows, self.asked = "starting", "", list[dict[str, Any]](), 0.0
        self.facts: Callable[[], list[dict[str, Any]]] = list
        self.scored = SCORED
        self.console = Console(stderr=True, quiet=quiet)
        self.live: Live | None = None
        if self.console.is_terminal:  # drawn by a thread of its own, so that the bar moves through every long stage
            self.live = Live(console=self.console, get_renderable=self._picture, refresh_per_second=1, transient=True)
        self.handlers = _handlers(file, self.console)

    def __enter__(self) -> Self:
        log.setLevel(logging.INFO)
        log.propagate = False
        for handler in self.handlers:
            handler.addFilter(OneLine())
            log.addHandler(handler)
        if self.live:
            self.live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, where: TracebackType | None
    ) -> None:
        if self.live:
            self.live.stop()
        for handler in self.handlers:
            log.removeHandler(handler)
            handler.close()

    def say(self, stage: str) -> None:
        """Name what begins now."""
        self.stage, self.done = stage, ""
        log.info("%s", stage)
        self.tick(force=True)

    def tick(self, force: bool = False) -> None:
        """Look at the leaderboard, where there is a terminal and it is time."""
        if self.live is not None and (force or time.monotonic() - self.asked > EVERY):
            self.asked = time.monotonic()
            self.rows = self.facts()

    def progress(self, done: int, total: int) -> None:
        """Show how far decoding is."""
        self.done = f" {done:,} of {total:,}"

    def _picture(self) -> RenderableType:
        used = self.now()
        if self.limit is None:
            clock = f"{in_words(used)} used, no time limit"
        else:
            filled = min(30, round(30 * used / self.limit))
            bar = "█" * filled + "░" * (30 - filled)
            clock = f"{bar} {in_words(max(0.0, self.limit - used))} left of {in_words(self.limit)}"
        head = Text(f"{clock}  ·  {self.stage}{self.done}", style="bold")
        if not self.rows:
            return head
        rungs = sorted({r["rung"] for r in self.rows if r["rung"] is not None})
        counts = "  ".join(f"rung {k}: {sum(r['rung'] == k for r in self.rows)}" for k in rungs)
        return Group(head, Text(counts, style="dim"), as_table(self.rows, most=5, scored=self.scored))


class _Lines(logging.StreamHandler[Any]):
    """Lines of a log; a full disk is told by who needs the space, once, and not by every line."""

    def __init__(self, file: Path) -> None:
        with writable(file, "the log"):
            super().__init__(open_own(file))

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 (the name is logging's)
        """Say nothing."""

    def close(self) -> None:
        with suppress(OSError):
            self.stream.close()
        super().close()


def _handlers(file: Path, console: Console) -> list[logging.Handler]:
    lines = _Lines(file)
    lines.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    if console.is_terminal:
        return [lines, RichHandler(console=console, show_path=False, show_level=False, log_time_format="%H:%M:%S")]
    plain = logging.StreamHandler(sys.stdout if console.is_jupyter else sys.stderr)  # notebooks show the other in red
    plain.setFormatter(logging.Formatter("%(asctime)s %(message)s", datefmt="%H:%M:%S"))
    return [lines] if console.quiet else [lines, plain]
