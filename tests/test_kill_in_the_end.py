"""The end of a study is killed in every stage and goes on: nothing is trained twice, and the result is the same."""

import os
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from optuna.trial import TrialState

import autossl
from autossl.finish.finish import NOT_YET, Finish
from autossl.finish.steps import Steps
from autossl.record.folder import Folder, read_json, write_json
from autossl.report.page import write_report
from autossl.run.jobs import evaluate
from autossl.train import resumable
from autossl.trials.context import Context, open_context
from tests.processes import SHORT, Command

STAGES = {  # what the study says when it begins one: the step in which it is killed
    "training on the labels alone, the baseline": 13,  # in the third of its six fits
    "candidate 0 again with another training seed": 5,
    "training candidate 0 (denoising) on, with a falling learning rate": 3,
    "fine-tuning the winner on the labels": 2,
}
OFTEN = {"EVERY": 0.0, "LAST": 0.0, "SHARE": 1e9}  # a checkpoint before every step and at every end
SELDOM = {name: getattr(resumable, name) for name in OFTEN}


class Killed(BaseException):
    """In place of a kill."""


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory, short_runs_on_labels: None) -> Folder:
    """A study of 90 grey images of three textures, one candidate, fine-tuned."""
    rng, y, rows = np.random.default_rng(0), np.arange(90) % 3, np.arange(16)
    waves = np.sin(rows[None, :, None] * (0.5 + 0.6 * y[:, None, None]) + rng.uniform(0, 6, (90, 1, 1)))
    images = np.clip(127 + 60 * waves + rng.normal(0, 90, (90, 16, 16)), 0, 255).astype(np.uint8)
    settings: dict[str, Any] = {"time_limit": None, "max_candidates": 1, "methods": "denoising", "seed": 1}
    settings |= {"backbone": "test_resnet", "adaptation": "finetune", "device": "cpu", "precision": "fp32"}
    return autossl.search(images, labels=y, out=tmp_path_factory.mktemp("ended") / "run", workers=1, **settings).folder


def before_its_end(ended: Folder, root: Path) -> Folder:
    """The study with its search behind it, a short replicate and a short final training before it."""
    folder = Folder(Path(shutil.copytree(ended.root, root)))
    for path in (folder.encoder, folder.model, folder.root / "baselines", folder.root / "arms"):
        shutil.rmtree(path)
    for report in (folder.report, folder.report.with_suffix(".md")):
        report.unlink()
    state = read_json(folder.state)
    state["plan"] |= {"replicates": 1, "rungs": [640], "final_images": 400}
    done = {*NOT_YET, "finished", "result", "tests", "stage"}
    write_json(folder.state, {name: value for name, value in state.items() if name not in done})
    return folder


def finish(folder: Folder, stage: str = "", step: int = 0, change: Callable[[Context], None] = lambda _: None) -> None:
    """The end of the study in this process; killed in a stage before this step, with checkpoints in that alone."""
    now, steps = "", 0

    def say(words: str) -> None:
        nonlocal now, steps
        now, steps = words, 0
        for name, value in OFTEN.items():
            often.setattr(resumable, name, value if words == stage else SELDOM[name])

    def tick() -> None:
        nonlocal steps
        steps += 1
        if now == stage and steps > step:
            raise Killed

    context = open_context(folder)
    change(context)
    with pytest.MonkeyPatch.context() as often:
        Finish(Steps(context, lambda: 0.0, say, tick)).run()


@pytest.fixture(scope="module")
def undisturbed(ended: Folder, tmp_path_factory: pytest.TempPathFactory) -> Folder:
    """The same end without a kill."""
    folder = before_its_end(ended, tmp_path_factory.mktemp("undisturbed") / "run")
    finish(folder)
    return folder


def outcome(folder: Folder) -> dict[str, Any]:
    """Everything that a study found, without seconds, and every weight that it exported."""
    result = {k: v for k, v in read_json(folder.state)["result"].items() if k != "tests"}
    told = {arm: {k: v for k, v in facts.items() if k != "seconds"} for arm, facts in result["choice"]["arms"].items()}
    result |= {"choice": {**result["choice"], "arms": told}, "supervised": told["supervised"]}
    trained = (folder.root / "baselines" / "supervised", *(folder.root / "arms").iterdir())
    places = (folder.encoder, folder.model, *trained)
    return result | {place.name: (place / "model.safetensors").read_bytes() for place in places}


def before_its_test(undisturbed: Folder, root: Path) -> Folder:
    """That study with everything trained and nothing tested."""
    folder = Folder(Path(shutil.copytree(undisturbed.root, root)))
    shutil.rmtree(folder.model)
    found = ("finished", "result", "testing", "tested")
    state = {name: value for name, value in read_json(folder.state).items() if name not in found}
    write_json(folder.state, {**state, "tests": 0})
    return folder


def files(folder: Folder) -> list[str]:
    return sorted(str(path.relative_to(folder.root)) for path in folder.root.rglob("*") if path.is_file())


def test_a_finished_study_leaves_nothing_behind(ended: Folder) -> None:
    models = ("model", "baselines/supervised", "arms/winner-tuned", "arms/winner-soup")
    exported = [
        f"{name}/{file}"
        for name in ("encoder", *models)
        for file in ("README.md", "config.json", "metrics.json", "model.safetensors")
    ]
    exported += [f"{name}/readout.safetensors" for name in models]
    own = ["autossl.log", "clock.json", "config.toml", "data.json", "lock", "report.html", "report.md", "state.json"]
    parts = [
        "artifacts/c0000-r0.npz",
        "artifacts/test.npz",
        "artifacts/answers.npz",
        "artifacts/supervised.npz",
        "artifacts/winner-tuned.npz",
        "artifacts/winner-soup.npz",
        "checkpoints/c0000-r0.pt",
        "study.journal",
    ]
    cache = ["cache/data.npz", "cache/images.npy", "cache/images.npz"]
    assert files(ended) == sorted([*exported, *own, *parts, *cache])


def test_what_kills_left_is_cleared_away_and_nothing_waits(undisturbed: Folder, tmp_path: Path) -> None:
    folder = Folder(Path(shutil.copytree(undisturbed.root, tmp_path / "run")))
    clean = files(folder)
    for name in ("c0000-r0.partial.pt", "final-c0000-r0.pt", "test.npz", ".supervised.pt.4711.part"):
        (folder.checkpoints / name).write_bytes(b"left")
    (folder.root / ".model.part").mkdir()
    (folder.root / ".model.part" / "README.md").touch()
    folder.stop.touch()
    context = open_context(folder)
    context.study.enqueue_trial({"method": "denoising"}, user_attrs={"rung": 0, "prior_index": 1})
    context.study.ask()
    context.study.enqueue_trial({"method": "denoising"}, user_attrs={"rung": 0, "prior_index": 2})
    finish(folder)
    assert files(folder) == clean
    assert {t.state for t in context.study.trials} <= {TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL}


def test_killed_once_in_every_stage_the_end_is_the_same(
    ended: Folder, undisturbed: Folder, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = before_its_end(ended, tmp_path / "run")
    caplog.set_level("INFO", logger="autossl")
    for stage, step in STAGES.items():
        with pytest.raises(Killed):
            finish(folder, stage, step)
    finish(folder)
    assert outcome(folder) == outcome(undisturbed)
    assert files(folder) == files(undisturbed)
    assert read_json(folder.state)["tests"] == 1  # no network was tested twice
    went_on = [record.getMessage() for record in caplog.records if "going on from a checkpoint" in record.getMessage()]
    # three fits on the labels (two are whole), the replicate, the final training, the fine-tune
    assert len(went_on) == 6
    assert all("checkpoint, 0 images" not in words for words in went_on)


def test_a_kill_in_the_middle_of_the_test_is_counted_and_said(
    undisturbed: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = before_its_test(undisturbed, tmp_path / "run")

    def killed_at_its_second_network(context: Context) -> None:
        embed = context.embed

        def embedding(encoder: Any, rows: NDArray[np.int64], *sight: Any) -> NDArray[np.float32]:
            if context.state("testing") == ["winner", "untrained"]:
                raise Killed
            return embed(encoder, rows, *sight)

        monkeypatch.setattr(context, "embed", embedding)

    with pytest.raises(Killed):
        finish(folder, change=killed_at_its_second_network)
    assert read_json(folder.state)["tests"] == 1  # before there is any result
    assert "result" not in read_json(folder.state)
    finish(folder)
    assert outcome(folder) == outcome(undisturbed)
    assert read_json(folder.state)["tests"] == read_json(folder.state)["result"]["tests"] == 2
    write_report(folder, folder.report)
    assert "has been evaluated 2 times" in folder.report.read_text()
    evaluate(folder.root)
    assert read_json(folder.state)["tests"] == 3


def test_a_kill_in_the_label_curve_draws_it_again_whole(undisturbed: Folder, tmp_path: Path) -> None:
    folder = before_its_test(undisturbed, tmp_path / "run")
    with pytest.raises(Killed):
        finish(folder, "drawing the label curve", 5)  # in the first training from scratch
    assert "result" not in read_json(folder.state)
    finish(folder)
    assert outcome(folder) == outcome(undisturbed)
    assert files(folder) == files(undisturbed)
    assert read_json(folder.state)["tests"] == 2


def test_a_study_that_was_killed_while_its_report_was_written_gets_one(ended: Folder, tmp_path: Path) -> None:
    folder = Folder(Path(shutil.copytree(ended.root, tmp_path / "run")))
    folder.report.unlink()
    write_json(folder.state, {**read_json(folder.state), "stage": "writing the report"})
    autossl.resume(folder.root)
    assert folder.report.is_file()
    state = read_json(folder.state)
    assert (state["stage"], state["finished"], state["tests"]) == ("done", True, 1)


def test_real_processes_are_killed_in_three_stages(ended: Folder, undisturbed: Folder, tmp_path: Path) -> None:
    folder = before_its_end(ended, tmp_path / "run")
    command = ["resume", str(folder.root), "--quiet"]
    moments: list[tuple[str, Callable[[int], None], int]] = [
        ("checkpoints/supervised-f0-s1-p2.pt", lambda pid: os.killpg(pid, signal.SIGKILL), -signal.SIGKILL),
        ("checkpoints/final-c0000-r0.pt", lambda pid: os.kill(pid, signal.SIGTERM), -signal.SIGTERM),
        ("checkpoints/winner-tuned-f0-s1-p2.pt", lambda pid: os.killpg(pid, signal.SIGINT), 130),
    ]
    values = {**SHORT, **{f"autossl.train.resumable.{name}": value for name, value in OFTEN.items()}}
    for file, kill, code in moments:
        process = Command(command, tmp_path, values)
        while process.code() is None and not (folder.root / file).is_file():
            time.sleep(0.005)
        kill(process.pid)
        process.end(code)
        assert (folder.root / file).is_file(), file
        assert "result" not in read_json(folder.state)
    Command(command, tmp_path).end()
    assert outcome(folder) == outcome(undisturbed)
    assert [name for name in files(folder) if name not in ("report.html", "report.md")] == files(undisturbed)
    log = folder.log.read_text()
    # in the study that was copied; begun, gone on with, and not a third time
    assert log.count("training on the labels alone") == 3
    assert log.count("going on from a checkpoint") >= 3
    assert read_json(folder.state)["finished"]
