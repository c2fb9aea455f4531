"""The commands that tests start: their exit codes, their death, and what is left of one that hangs."""

import os
import signal
import time
from pathlib import Path

import pytest

from tests import processes
from tests.processes import Command


def sleeping(folder: Path) -> Command:
    """A command that does not end by itself."""
    return Command(["status", str(folder), "--watch"], folder, {"autossl.cli.commands.main": hanging})


def hanging(_: list[str]) -> None:
    """In place of the command line."""
    time.sleep(600)


def gone(pid: int) -> bool:
    """Whether nothing is left of a session."""
    try:
        os.killpg(pid, 0)
    except ProcessLookupError:
        return True
    return False


def test_the_exit_code_and_what_it_said_are_those_of_the_command(tmp_path: Path) -> None:
    Command(["status", str(tmp_path / "nothing")], tmp_path).end(2)
    assert "a study folder was wanted" in (tmp_path / "stderr").read_text()
    with pytest.raises(AssertionError, match="a study folder was wanted"):
        Command(["status", str(tmp_path / "nothing")], tmp_path).end(0)


def test_it_is_killed_at_the_moment_that_was_asked_for(tmp_path: Path) -> None:
    command = sleeping(tmp_path)
    command.killed(lambda: (tmp_path / "stderr").is_file())
    assert command.code() == -signal.SIGKILL
    assert gone(command.pid)


def test_one_that_ended_before_its_moment_is_a_failure(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="a study folder was wanted"):
        Command(["status", str(tmp_path / "nothing")], tmp_path).killed(lambda: False)


def test_one_that_hangs_is_given_up_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "LONGEST", 3.0)
    for wait in (Command.end, lambda command: command.killed(lambda: False)):
        command = sleeping(tmp_path)
        with pytest.raises(AssertionError, match="still running after 3 s"):
            wait(command)
        assert gone(command.pid)


def test_ctrl_c_reaches_it(tmp_path: Path) -> None:
    command = sleeping(tmp_path)
    while not (tmp_path / "stderr").is_file():
        time.sleep(0.01)
    os.killpg(command.pid, signal.SIGINT)
    command.end(1)  # of a traceback: nothing stands in its place to say 130
    assert "KeyboardInterrupt" in (tmp_path / "stderr").read_text()
