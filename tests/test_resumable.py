"""A training that is cut off goes on from its checkpoint: the same weights, the seconds that were left."""

import os
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import optuna
import pytest
import torch
from torch import Tensor

from autossl.errors import UserError
from autossl.train import resumable
from autossl.train.loop import Run, save
from autossl.train.resumable import Terms, Training
from autossl.trials.segments import KILLS, give_up, requeue_lost
from tests.test_train import make_run

END = 160  # images of ten steps


class Killed(BaseException):
    """In place of a kill."""


def at_step(run: Run, step: int) -> Terms:
    """Without a limit, and killed before this step."""

    def stopped() -> bool:
        if run.step == step:
            raise Killed
        return False

    return Terms(stopped=stopped)


def falling(seen: int, share: float) -> float:
    return seen / END


def everything(run: Run) -> list[Tensor]:
    """All that a step or a score depends on."""
    return [*run.method.state_dict().values(), *run.average.values()]


def equal(one: Run, other: Run) -> bool:
    return all(torch.equal(a, b) for a, b in zip(everything(one), everything(other), strict=True))


@pytest.fixture
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """A checkpoint before every step and at every end."""
    for name, value in {"EVERY": 0.0, "LAST": 0.0, "SHARE": 1e9}.items():
        monkeypatch.setattr(resumable, name, value)


def test_a_checkpoint_that_is_cut_is_named(tmp_path: Path) -> None:
    save(make_run(), tmp_path / "run.pt")
    content = (tmp_path / "run.pt").read_bytes()
    (tmp_path / "run.pt").write_bytes(content[: len(content) // 2])
    with pytest.raises(UserError, match=r"a whole run.pt was wanted, but .* is damaged"):
        Training(make_run(), tmp_path / "run.pt")


@pytest.mark.parametrize(("method", "step"), [("moco", 0), ("moco", 4), ("dino", 9)])  # a queue; a teacher and a centre
def test_a_training_with_a_falling_rate_that_is_killed_gives_the_very_same_weights(
    tmp_path: Path, method: str, step: int, often: None
) -> None:
    whole, cut, rest = (make_run(method=method) for _ in range(3))
    assert Training(whole).to(END, Terms(), falling)
    with pytest.raises(Killed):
        Training(cut, tmp_path / "run.pt").to(END, at_step(cut, step), falling)
    torch.manual_seed(99)
    training = Training(rest, tmp_path / "run.pt")
    assert (training.resumed, rest.step) == (True, step)
    assert training.to(END, Terms(), falling)
    assert equal(whole, rest)
    assert [n for n, _ in rest.losses] == [16 * k for k in range(1, 11)]


def test_one_that_has_ended_is_not_trained_again_whatever_is_asked(tmp_path: Path, often: None) -> None:
    first, second = make_run(), make_run()
    assert Training(first, tmp_path / "run.pt").to(END, Terms(), falling)
    assert Training(second, tmp_path / "run.pt").to(2 * END, Terms(stopped=lambda: True), falling)
    assert equal(first, second)


def shares_of(path: Path, terms: Terms) -> tuple[Training, list[float]]:
    """Train by the clock; what share of the time each step was told."""
    training, shares = Training(make_run(), path), list[float]()

    def by_time(seen: int, share: float) -> float:
        shares.append(share)
        return share

    with suppress(Killed):
        training.to(1 << 30, terms, by_time)
    return training, shares


def killed_after(seconds: float) -> Callable[[], bool]:
    began = time.monotonic()

    def stopped() -> bool:
        if time.monotonic() - began > seconds:
            raise Killed
        return False

    return stopped


def test_by_the_clock_a_killed_training_goes_on_with_what_it_had_left(tmp_path: Path, often: None) -> None:
    path = tmp_path / "run.pt"
    cut, before = shares_of(path, Terms(100.0, stopped=killed_after(0.5)))
    assert before[-1] < 0.1
    first = Training(make_run(), path)
    assert first.spent == pytest.approx(cut.spent, abs=0.01)
    # all that was granted but half a second is over
    last, after = shares_of(path, Terms(first.spent + 0.5, rest=1000.0))
    assert last.whole
    assert last.spent < 100
    assert after[0] >= first.spent / (first.spent + 0.5)  # the rate does not rise again


def test_by_the_clock_the_schedule_ends_in_the_time_that_is_left(tmp_path: Path, often: None) -> None:
    path = tmp_path / "run.pt"
    cut, _ = shares_of(path, Terms(1000.0, stopped=killed_after(0.5)))
    last, shares = shares_of(path, Terms(1000.0, rest=1.0))
    assert last.whole
    assert shares[0] >= cut.spent / (cut.spent + 1)
    assert last.spent < 100


def test_terms_remember_when_they_began() -> None:
    free, terms = Terms(path=Path("run.pt")), Terms(60.0, rest=40.0, path=Path("run.pt"))
    terms = replace(terms, began=terms.began - 10)
    assert terms.left == pytest.approx(30, abs=0.5)
    assert replace(terms, rest=None).left == pytest.approx(50, abs=0.5)
    part, rest = terms.share("0", 0.5, 0.2), terms.without(12.0)
    assert (part.seconds, part.path) == (30.0, Path("run-0.pt"))
    assert part.left == pytest.approx(6, abs=0.1)
    assert (rest.seconds, rest.path) == (48.0, terms.path)
    assert rest.left == pytest.approx(30, abs=0.5)
    assert replace(terms, began=terms.began - 99).left == 0
    assert free.left is free.without(1.0).left is free.share("0", 0.5, 0.2).left is None


def test_without_any_time_a_training_has_not_come_to_its_end(tmp_path: Path) -> None:
    assert not Training(make_run(), tmp_path / "run.pt").to(END, Terms(0.0), falling)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_in_the_middle_of_a_step_leaves_a_checkpoint_of_whole_steps(
    tmp_path: Path, number: signal.Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, cut, rest = (make_run() for _ in range(3))
    assert Training(whole).to(END, Terms(), falling)
    path, moved = tmp_path / "run.pt", cut.method.after_step
    there = list[bool]()

    def handler(*_: object) -> None:
        there.append(path.is_file())
        raise KeyboardInterrupt

    def in_a_step(progress: float) -> None:  # weights have moved, the step is not yet counted as averaged
        if cut.step == 5:
            os.kill(os.getpid(), number)
        moved(progress)

    monkeypatch.setattr(cut.method, "after_step", in_a_step)
    before = signal.signal(number, handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            Training(cut, path).to(END, Terms(), falling)
        assert signal.getsignal(number) is handler
    finally:
        signal.signal(number, before)
    assert there == [True]
    training = Training(rest, path)
    assert rest.step == 5
    assert training.to(END, Terms(), falling)
    assert equal(whole, rest)


def test_signals_are_left_alone_where_they_are_ignored_and_in_other_threads(tmp_path: Path) -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        run = make_run()
        here = Terms(stopped=lambda: signal.getsignal(signal.SIGINT) != signal.SIG_IGN)
        assert Training(run).to(32, here)
    finally:
        signal.signal(signal.SIGINT, before)
    done = list[bool]()
    thread = threading.Thread(target=lambda: done.append(Training(make_run()).to(32, Terms())))
    thread.start()
    thread.join()
    assert done == [True]


def test_checkpoints_take_a_small_share_of_the_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resumable, "EVERY", 0.0)
    monkeypatch.setattr(resumable, "SHARE", 0.1)
    times, really = list[float](), save

    def slow(run: Run, path: Path, **facts: float) -> None:
        times.append(time.monotonic())
        time.sleep(0.05)
        really(run, path, **facts)

    monkeypatch.setattr(resumable, "save", slow)
    Training(make_run(), tmp_path / "run.pt").to(1 << 30, Terms(2.0), lambda seen, share: share)
    assert 2 <= len(times) <= 5
    assert all(later - earlier > 0.5 for earlier, later in pairwise(times[:-1]))


def lost(study: optuna.Study, **attrs: object) -> optuna.Trial:
    """A segment at work."""
    known = {"candidate": 0, "rung": 0, "method": "simclr", "paradigm": "contrastive"}
    waiting = [t for t in study.trials if t.state == optuna.trial.TrialState.WAITING]
    trial = study.ask()
    for name, value in {**({} if waiting else known), **attrs}.items():
        trial.set_user_attr(name, value)
    return trial


def queued(study: optuna.Study) -> int:
    return sum(t.state == optuna.trial.TrialState.WAITING for t in study.trials)


def test_kills_of_the_whole_study_do_not_give_a_segment_up() -> None:
    study = optuna.create_study()
    for _ in range(KILLS - 1):
        lost(study)
        requeue_lost(study, everything=True)
        assert queued(study) == 1


def test_a_segment_that_was_lost_before_it_was_begun_keeps_its_parameters() -> None:
    study = optuna.create_study()
    attrs = {"candidate": 3, "rung": 1, "method": "simclr", "paradigm": "contrastive"}
    study.enqueue_trial({"lr": 0.25}, user_attrs=attrs)
    study.ask()
    requeue_lost(study, everything=True)
    assert study.ask().suggest_float("lr", 0.0, 1.0) == 0.25


def test_kills_without_end_in_a_segment_that_gets_no_further_end_with_it() -> None:
    study = optuna.create_study()
    for _ in range(KILLS):
        lost(study)
        requeue_lost(study, everything=True)
    assert queued(study) == 0


def test_a_segment_that_gets_further_each_time_is_never_given_up() -> None:
    study = optuna.create_study()
    for _ in range(2 * KILLS):
        lost(study, headway=True)
        requeue_lost(study, everything=True)
        assert queued(study) == 1


def test_a_worker_that_dies_alone_is_tried_twice_more() -> None:
    study = optuna.create_study()
    for tries_left in (1, 1, 0):
        lost(study)
        give_up(study, lambda _: True)
        requeue_lost(study)
        assert queued(study) == tries_left
    requeue_lost(study, everything=True)
    assert queued(study) == 0
