"""A training that a kill costs seconds: a checkpoint now and then, and going on from it with the same result."""

import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from autossl.train.loop import Diverged, Run, resume, save, train

log = logging.getLogger("autossl")

EVERY = 30.0  # seconds between checkpoints
LAST = 10.0  # a training that ends writes one where so many seconds are not in the one before
SHARE = 0.02  # of the time may go to writing them: rarer than EVERY where a disk is slow or a network large
ENDS = (signal.SIGINT, signal.SIGTERM)


@dataclass(frozen=True)
class Terms:
    """On what terms something is trained, until `stopped` (asked at every step).

    `seconds` may be used in all, over all runs of a study, and of them `rest` since these terms `began`, which they
    did when they were made; None: no limit, or all of them. Its checkpoint is at `path`; None: there is none.
    """

    seconds: float | None = None
    rest: float | None = None
    stopped: Callable[[], bool] = lambda: False
    path: Path | None = None
    began: float = field(default_factory=time.monotonic)

    @property
    def begun(self) -> bool:
        """Whether an earlier run has left a checkpoint."""
        return self.path is not None and self.path.is_file()

    @property
    def left(self) -> float | None:
        """Seconds from now on; None: no limit."""
        rest = self.seconds if self.rest is None else self.rest
        return None if rest is None else max(0.0, rest - (time.monotonic() - self.began))

    def without(self, spent: float) -> "Terms":
        """The same after other trainings that took so many of all the seconds, those before a kill included."""
        seconds = None if self.seconds is None else self.seconds - spent
        return replace(self, seconds=seconds, rest=self.left, began=time.monotonic())

    def keeping(self, seconds: float) -> "Terms":
        """The same with so many of the seconds that are left kept for what is no training."""
        rest = self.left
        return replace(self, rest=None if rest is None else max(0.0, rest - seconds), began=time.monotonic())

    def share(self, name: str, of_all: float, of_left: float) -> "Terms":
        """What one of several trainings may use, which has a checkpoint of its own."""
        seconds, rest = self.seconds, self.left
        return Terms(
            None if seconds is None else of_all * seconds,
            None if rest is None else of_left * rest,
            self.stopped,
            self.path and self.path.with_name(f"{self.path.stem}-{name}{self.path.suffix}"),
        )


class Training:
    """One run and its checkpoint, from which it goes on where there is one.

    `spent` are the seconds of this training so far, those before a kill included. `whole`: it has come to its end.
    `first` are the images that the run had seen when it began.
    """

    def __init__(self, run: Run, path: Path | None = None) -> None:
        self.run, self.path = run, path
        self.spent, self.whole, self.first = 0.0, False, run.images
        self.resumed = path is not None and path.is_file()
        if path is not None and self.resumed:
            facts = resume(run, path)
            self.spent = float(facts.get("spent", 0.0))
            self.whole, self.first = bool(facts.get("whole", False)), int(facts.get("first", 0))
            log.info("going on from a checkpoint, %d images seen in %.0f s", run.images, self.spent)
        self.written = run.step if self.resumed else -1  # the step of the last checkpoint
        self._came = self._stored = self.spent
        self._cost = 0.0

    @property
    def headway(self) -> bool:
        """Whether a checkpoint holds more than what it went on from."""
        return self._stored > self._came

    def to(self, images: int, terms: Terms, anneal: Callable[[int, float], float] | None = None) -> bool:
        """Train on until so many images are seen; True if the training has come to its end.

        With `anneal(images seen, share of the seconds)` the learning rate falls, and the end of the time is an end
        too, if there was any. SIGINT and SIGTERM take effect after the step, when a checkpoint is written; a second
        one at once.
        """
        if self.whole:
            return True
        total = None if terms.left is None else self._total(terms.left, terms.seconds)
        ends = anneal is not None and (total is None or total > self.spent)
        began = time.monotonic() - self.spent

        def share() -> float:
            return 0.0 if total is None else (time.monotonic() - began) / max(total, 1e-9)

        def falling(seen: int) -> float:
            assert anneal is not None
            return anneal(seen, share())

        with held_back() as signals:
            stopped = False

            def over() -> bool:
                nonlocal stopped
                self.spent = time.monotonic() - began
                self._keep(EVERY)
                stopped = terms.stopped() or bool(signals)
                return stopped or share() >= 1

            try:
                reached = next(train(self.run, [images], out_of_time=over, anneal=falling if anneal else None))
            except Diverged:
                self.forget()  # it would diverge again
                raise
            self.spent = time.monotonic() - began
            self.whole = reached or (ends and not stopped)
            self._keep(LAST if self.whole else None)
        return self.whole

    def _total(self, left: float, seconds: float | None) -> float:
        total = self.spent + left
        return total if seconds is None else min(seconds, total)

    def _keep(self, least: float | None) -> None:
        """Write a checkpoint if `least` seconds (None: any), and enough for what one costs, are not in the last."""
        if self.path is None or self.written == self.run.step:
            return
        if least is None or self.spent - self._stored >= max(least, self._cost / SHARE):
            self._write(self.path)

    def _write(self, path: Path) -> None:
        started = time.monotonic()
        save(self.run, path, spent=self.spent, whole=self.whole, first=self.first)
        self._cost = time.monotonic() - started
        self.written, self._stored = self.run.step, self.spent

    def keep_as(self, path: Path) -> None:
        """Leave the run as it is now at another place, and no checkpoint."""
        if self.path is not None and self.path.is_file() and self.written == self.run.step:
            os.replace(self.path, path)
            return
        self._write(path)
        self.forget()

    def forget(self) -> None:
        """Remove the checkpoint, once what came of the training is written down."""
        if self.path is not None:
            self.path.unlink(missing_ok=True)


@contextmanager
def held_back() -> Iterator[list[int]]:
    """Signals that end the process are noted here and sent again at the end, so that no step ends in its middle.

    A second signal is not held back. Signals that are ignored stay so.
    """
    noted: list[int] = []
    before: dict[int, Any] = {}

    def note(number: int, _: object) -> None:
        if noted:
            signal.signal(number, before[number])
            signal.raise_signal(number)
        noted.append(number)

    if threading.current_thread() is threading.main_thread():
        for number in ENDS:
            handler = signal.getsignal(number)
            if handler not in (signal.SIG_IGN, None):
                before[number] = handler
                signal.signal(number, note)
    try:
        yield noted
    finally:
        for held, handler in before.items():
            signal.signal(held, handler)
        if noted:
            signal.raise_signal(noted[0])
