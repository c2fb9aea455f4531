"""Real processes of the command line, forked from one that has imported everything, and the ways to kill them."""

import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload([
    "autossl.cli.commands", "autossl.run.controller", "autossl.report.page", "autossl.trials.worker"
])  # fmt: skip
LONGEST = 240.0  # seconds that a command of a test may take
# what trainings reach is looked at in few tests; 40 passes over labels were most of the time of small studies
SHORT = {"autossl.finish.baselines.LABEL_PASSES": 2, "autossl.finish.anneal.PASSES": 1}
# what labels tolerate is asked in full in test_harm.py
BRIEF = {f"autossl.run.harm.{name}": value for name, value in {
    "JITTERS": (0.5,), "CROPS": (0.5,), "PARTS": (0.8,), "COPIES": 1
}.items()}  # fmt: skip


def patched(values: Mapping[str, Any], how: Callable[[Any, str, Any], None] = setattr) -> None:
    """Set module variables, named with their module's path."""
    for path, value in values.items():
        module, _, name = path.rpartition(".")
        how(import_module(module), name, value)


def _command(arguments: list[str], errors: Path, values: Mapping[str, Any]) -> None:
    os.setsid()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # what a shell starts in the background ignores it
    with open(errors, "wb") as file:
        os.dup2(file.fileno(), 2)
    # the study's clock counts from the start of the process, or from that of imports
    patched({"autossl.record.clock._IMPORTED": time.monotonic(), **BRIEF, **values})
    import_module("autossl.cli.commands").main(arguments)


class Killed(BaseException):
    """In place of a kill."""


class KilledAt:
    """Asked at every step whether a stop is wanted: raises `Killed` after so many steps (None: never); counts them."""

    def __init__(self, step: int | None) -> None:
        self.step, self.steps = step, 0

    def __call__(self) -> bool:
        self.steps += 1
        if self.step is not None and self.steps > self.step:
            raise Killed
        return False


class Command:
    """An autossl command in a process and a session of its own, with `SHORT` and other module variables set."""

    def __init__(self, arguments: list[str], folder: Path, values: Mapping[str, Any] = SHORT) -> None:
        """`folder`: where the file with what it says on stderr is written."""
        self._errors = folder / "stderr"
        self._process = FORKS.Process(target=_command, args=(arguments, self._errors, values), daemon=True)
        self._process.start()
        assert self._process.pid is not None
        self.pid = self._process.pid

    def code(self) -> int | None:
        """The exit code, that of a signal below 0; None while it runs."""
        return self._process.exitcode

    def end(self, code: int = 0) -> None:
        """Wait for the end of the process, which should be with this exit code and within `LONGEST` seconds."""
        self._process.join(LONGEST)
        if self.code() is None:
            self._give_up()
        assert self.code() == code, self._errors.read_text()

    def killed(self, when: Callable[[], bool]) -> None:
        """Kill it and all its workers at this moment, which comes before its end and within `LONGEST` seconds."""
        until = time.monotonic() + LONGEST
        while self.code() is None and not when():
            if time.monotonic() > until:
                self._give_up()
            time.sleep(0.01)
        assert self.code() is None, self._errors.read_text()
        os.killpg(self.pid, signal.SIGKILL)
        self.end(-signal.SIGKILL)

    def _give_up(self) -> NoReturn:
        """Fail, with what it said; a process that hangs would slow down every test after this one."""
        os.killpg(self.pid, signal.SIGKILL)
        self._process.join()
        raise AssertionError(f"it was still running after {LONGEST:g} s; it said: {self._errors.read_text()!r}")
