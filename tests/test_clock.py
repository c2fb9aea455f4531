"""The study's clock sums the runs of a study, and what was refused does not count."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autossl.clock import Clock, in_words, seconds
from autossl.errors import UserError
from autossl.folder import Folder, read_json


def test_runs_add_up_and_a_refused_one_is_forgotten(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    first = Clock(folder, started=1000.0)
    first.stamp(force=True)
    used = read_json(folder.clock)["runs"][0]["seconds"]
    second = Clock(folder, started=2000.0)
    assert second.now() == pytest.approx(used + (first.now() - 1000.0), abs=5)
    second.stamp(force=True)
    assert len(read_json(folder.clock)["runs"]) == 2
    second.forget()
    assert read_json(folder.clock)["runs"] == [{"started": 1000.0, "seconds": used}]


def test_stamps_are_rare_unless_forced(tmp_path: Path) -> None:
    clock = Clock(Folder(tmp_path), started=0.0)
    clock.stamp(force=True)
    first = read_json(clock.folder.clock)
    clock.stamp()
    assert read_json(clock.folder.clock) == first


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
    assert [in_words(value) for value in (42.4, 185, 4800)] == ["42 s", "3 min 5 s", "1 h 20 min"]
