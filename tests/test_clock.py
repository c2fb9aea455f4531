"""The study's clock sums the runs of a study, and what was refused does not count."""

import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import autossl
from autossl.errors import UserError
from autossl.record.clock import Clock, as_option, in_words, seconds, spent
from autossl.record.folder import Folder, read_json


def test_runs_add_up_and_a_refused_one_is_forgotten(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    first = Clock(folder, started=time.monotonic() - 100)
    first.begin()
    first.end()
    known = read_json(folder.clock)["runs"]
    assert known[0]["seconds"] == pytest.approx(100, abs=1)
    assert known[0]["started"] == pytest.approx(time.time() - 100, abs=1)
    second = Clock(folder)
    assert second.now() == pytest.approx(100, abs=1)
    second.begin()
    assert len(read_json(folder.clock)["runs"]) == 2
    second.end(counts=False)
    assert read_json(folder.clock)["runs"] == known


def test_time_is_written_down_while_nobody_asks(tmp_path: Path) -> None:
    clock = Clock(Folder(tmp_path))
    clock.begin()
    time.sleep(2.5)
    written = read_json(clock.folder.clock)["runs"][0]["seconds"]
    clock.end()
    assert 1 <= written <= clock.now()


def test_a_killed_run_is_counted_to_the_last_second(tmp_path: Path) -> None:
    code = "import sys, time; from pathlib import Path; from autossl.record.clock import Clock; "
    code += "from autossl.record.folder import Folder; Clock(Folder(Path(sys.argv[1]))).begin(); "
    code += "print('begun', flush=True)\nwhile True: pass"  # busy, and never asks for the time
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    began = time.monotonic()
    time.sleep(3.5)
    process.kill()
    process.communicate()
    real = time.monotonic() - began
    assert real - 2 < Clock(Folder(tmp_path)).now() <= real + 0.5


def test_the_process_started_before_its_imports() -> None:
    code = "import time; b = time.monotonic(); time.sleep(0.3); from autossl.record.clock import process_started; "
    code += "print(b - process_started())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert 0 < float(done.stdout) < 5


def test_no_duration_is_taken_from_the_date() -> None:
    root = Path(autossl.__file__).parent
    dated = {path.name for path in root.rglob("*.py") if re.search(r"\btime\.time\(|datetime\.now", path.read_text())}
    assert dated == {"clock.py"}  # the date of a run's start, for people


@given(st.integers(0, 99), st.integers(0, 59), st.integers(0, 59))
def test_limits_are_read_as_written(hours: int, minutes: int, secs: int) -> None:
    total = 3600 * hours + 60 * minutes + secs
    text = f"{hours}h{minutes}m{secs}s"
    if total == 0:
        with pytest.raises(UserError, match="above zero"):
            seconds(text)
    else:
        assert seconds(text) == seconds(str(total)) == seconds(total) == total


@pytest.mark.parametrize("text", ["", "m", "10 minutes", "-5m", "1e3", "5m3", "nan", "inf"])
def test_other_limits_are_refused(text: str) -> None:
    with pytest.raises(UserError, match="time limit"):
        seconds(text)


def test_words() -> None:
    assert seconds("none") is None
    assert [in_words(value) for value in (0, 42.4, 185, 180, 4800, 3600)] == [
        "0 s", "42 s", "3 min 5 s", "3 min", "1 h 20 min", "1 h",
    ]  # fmt: skip


def test_what_was_used_in_words_is_of_counted_runs_only() -> None:
    runs = [{"seconds": 1800.0, "cores": 2700.0}, {"seconds": 1800.0, "cores": 900.0}]
    assert spent(runs, 0) == "1 core-hours"
    assert spent(runs, 2) == "1 core-hours and at most 2 GPU-hours"
    assert spent([*runs, {"seconds": 1.0}], 0) == ""  # a run of before cores were counted


@given(st.integers(1, 10**6))
def test_an_option_is_read_back(value: int) -> None:
    assert seconds(as_option(value)) == value
