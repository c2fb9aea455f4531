"""A process that was started by another ends when that one is gone, however it went and whatever either was doing."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from autossl.trials.lifeline import EVERY, LINGER

ENDED = EVERY + LINGER + 10  # seconds; a busy machine takes its time


def children(parent: int) -> list[int]:
    """Processes whose parent is this one."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rsplit(")", 1)[1].split()
        except OSError:  # it ended meanwhile
            continue
        if int(fields[1]) == parent and fields[0] != "Z":
            found.append(int(stat.parent.name))
    return found


def alive(process: int) -> bool:
    """Whether it runs; a zombie does not."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def wait_for(seconds: float, what: object) -> bool:
    """Whether it comes true in so many seconds."""
    assert callable(what)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if what():
            return True
        time.sleep(0.05)
    return False


@pytest.fixture
def module(tmp_path: Path) -> Path:
    """A folder with a module `busy`, which "imports" for a minute without ever asking for its parent."""
    (tmp_path / "busy.py").write_text("import time\nopen('begun', 'w').close()\nfor _ in range(600): time.sleep(0.1)\n")
    return tmp_path


STARTER = """
import os, subprocess, sys, time
subprocess.Popen([sys.executable, "-m", "autossl.trials.lifeline", "busy", str(os.getpid())])
time.sleep(60)
"""


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="no /proc here")
def test_a_child_that_is_still_importing_ends_when_its_parent_alone_is_killed(module: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[1]), str(module)])}
    parent = subprocess.Popen([sys.executable, "-c", STARTER], cwd=module, env=environment)
    try:
        assert wait_for(30, (module / "begun").exists)
        (child,) = children(parent.pid)
        time.sleep(2 * EVERY)
        assert alive(child)  # the parent lives
        os.kill(parent.pid, signal.SIGKILL)
        assert wait_for(ENDED, lambda: not alive(child))
    finally:
        parent.kill()
        parent.wait()


def test_a_child_whose_parent_died_before_it_could_look_ends_too(module: Path) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[1]), str(module)])}
    command = [sys.executable, "-m", "autossl.trials.lifeline", "busy", str(gone.pid)]
    assert subprocess.run(command, cwd=module, env=environment, timeout=30).returncode == 1


WORKERS = """
import sys, time
from pathlib import Path
from autossl.trials import executor
from autossl.record.folder import Folder
folder = Folder(Path(sys.argv[1]))
folder.root.mkdir()
for number in range(2):
    executor._start(folder, number, 2, time.monotonic())
print("started", flush=True)
time.sleep(60)
"""


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="no /proc here")
def test_workers_that_import_end_when_the_search_alone_is_killed(tmp_path: Path) -> None:
    command = [sys.executable, "-c", WORKERS, str(tmp_path / "run")]
    parent = subprocess.Popen(command, stdout=subprocess.PIPE, env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert parent.stdout is not None
    try:
        assert parent.stdout.readline() == b"started\n"
        workers = children(parent.pid)
        assert len(workers) == 2
        os.kill(parent.pid, signal.SIGKILL)
        assert wait_for(ENDED, lambda: not any(map(alive, workers)))
    finally:
        parent.kill()
        parent.communicate()
    log = (tmp_path / "run" / "autossl.log").read_text()
    assert "Traceback" not in log
