"""The date is set while a study runs, an hour forth and then two back: its limit is kept, its clock tells the truth."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import optuna
import pytest

from autossl.trials import segments
from autossl.trials.segments import Silence, requeue_lost

FAKETIME = next(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"), None)
LIMIT = 22.0  # seconds: enough for a toy
STUDY = """
import json, sys, time
import autossl
from autossl.trials import limits, plan
from tests.test_study import textures
limits.FLOOR_SECONDS, plan.WRONG, plan.MARGIN = 1.0, 1.0, 1.0  # the toy needs less than any real data
date, clock, began = time.time, time.monotonic, time.monotonic()
jumps = (6.0, 3600.0), (12.0, -7200.0)
time.time = lambda: date() + sum(by for at, by in jumps if clock() - began > at)
images, labels = textures()
study = autossl.search(
    images, labels=labels, out=sys.argv[1], time_limit=float(sys.argv[2]), methods="vicreg,denoising",
    backbone="test_resnet", adaptation="frozen", weights="none",
)
print(json.dumps({"real": clock() - began, "status": study.status()}))
"""
CLOCK = """
import json, sys, threading, time
from pathlib import Path
from autossl.record.clock import Clock, process_started
from autossl.record.folder import Folder
clock = Clock(Folder(Path(sys.argv[1])), process_started())
clock.begin()
began, date, dates = time.perf_counter(), Path(sys.argv[2]), []
for jump in ("+3600", "-3600"):
    threading.Event().wait(0.6)  # libfaketime refuses time.sleep
    date.write_text(jump)
    threading.Event().wait(0.6)  # libfaketime refuses time.sleep
    dates.append(time.time())
real = time.perf_counter() - began
clock.end()
print(json.dumps({"real": real, "used": clock.now(), "dates": dates}))
"""


def run(code: str, *arguments: str, **environment: str) -> dict[str, Any]:
    """What the last line of this code's output says."""
    settings = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[1]), **environment}
    done = subprocess.run([sys.executable, "-c", code, *arguments], env=settings, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_a_study_keeps_its_limit_when_the_date_is_set_forth_and_back(tmp_path: Path) -> None:
    found = run(STUDY, str(tmp_path / "run"), str(LIMIT))
    (used,) = (run["seconds"] for run in json.loads((tmp_path / "run" / "clock.json").read_text())["runs"])
    assert used == pytest.approx(found["real"], abs=1)
    assert found["real"] <= LIMIT + 10  # as plan.hard_end
    assert found["status"]["finished"]
    assert found["status"]["segments"]["scored"] >= 2  # it did not end at the first jump
    log = (tmp_path / "run" / "autossl.log").read_text()
    assert len({line[:13] for line in log.splitlines()}) >= 2  # the date did jump: dates are for people


@pytest.mark.skipif(FAKETIME is None, reason="libfaketime is not installed")
def test_the_clock_stands_where_it_was_when_the_machines_date_is_set(tmp_path: Path) -> None:
    date = tmp_path / "date"
    date.write_text("+0")
    environment = {"FAKETIME_TIMESTAMP_FILE": str(date), "FAKETIME_NO_CACHE": "1", "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
    found = run(CLOCK, str(tmp_path), str(date), LD_PRELOAD=str(FAKETIME), NO_FAKE_STAT="1", **environment)
    forth, back = found["dates"]
    assert forth - time.time() > 3500
    assert back - time.time() < -3500
    assert found["real"] < 10
    assert 0 <= found["used"] - found["real"] < 10  # its imports besides
    (run_,) = json.loads((tmp_path / "clock.json").read_text())["runs"]
    assert run_["seconds"] == pytest.approx(found["used"], abs=0.5)


def test_a_live_worker_is_not_declared_lost_when_the_date_jumps_nor_a_silent_one_spared(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    study = optuna.create_study()
    live, silent, young = (study.ask() for _ in range(3))
    silence = Silence()
    for trial in (live, silent):
        trial.set_user_attr("lease", 1.0)
    now = time.monotonic()
    monkeypatch.setattr(time, "time", lambda: 1e12)  # the date, far ahead
    requeue_lost(study, silent=silence)
    assert [t.state.name for t in study.trials] == ["RUNNING"] * 3
    monkeypatch.setattr(time, "monotonic", lambda: now + 100)
    live.set_user_attr("lease", 21.0)
    requeue_lost(study, silent=silence)
    monkeypatch.setattr(time, "monotonic", lambda: now + segments.STALE_SECONDS + 50)
    requeue_lost(study, silent=silence)
    states = {t.number: t.state.name for t in study.trials}
    assert states == {live.number: "RUNNING", silent.number: "FAIL", young.number: "FAIL"}
