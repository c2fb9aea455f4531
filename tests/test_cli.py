"""The command line as a user types it: exit codes, one sentence for bad input, quick help."""

import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from autossl.cli import main
from autossl.space import read_space


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments))


def refused(*arguments: str) -> str:
    """The one sentence of a command that ends with exit code 2."""
    result = run(*arguments)
    assert result.exit_code == 2, result.output
    lines = result.output.strip().splitlines()
    assert len(lines) == 1, result.output
    assert lines[0].startswith("error: ")
    return lines[0]


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """60 noise images of two classes."""
    rng = np.random.default_rng(0)
    path = tmp_path / "noise.npz"
    np.savez(path, images=rng.integers(0, 256, (60, 16, 16), dtype=np.uint8), labels=np.arange(60) % 2)
    return path


def test_help_answers_at_once_and_without_torch() -> None:
    code = (
        "import sys; from autossl.cli import main\n"
        "try: main(['--help'])\nexcept SystemExit: pass\nassert 'torch' not in sys.modules"
    )
    times, output = [], ""
    for _ in range(3):
        started = time.perf_counter()
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        times.append(time.perf_counter() - started)
        output = done.stdout
    assert "search" in output
    assert min(times) < 1.0  # 0.2 s on an idle machine; this one may be busy


@pytest.mark.parametrize("command", ["search", "resume", "status", "leaderboard", "stop", "inspect", "doctor", "train"])
def test_every_command_explains_itself(command: str) -> None:
    result = run(command, "--help")
    assert result.exit_code == 0
    assert "Usage" in result.output


def test_a_missing_path_names_itself(tmp_path: Path) -> None:
    assert "nowhere.npz" in refused("search", str(tmp_path / "nowhere.npz"), "--out", str(tmp_path / "o"))
    assert not (tmp_path / "o").exists()


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (["--task", "juggling"], "juggling"),
        (["--methods", "simclr,magic"], "magic"),
        (["--time-limit", "10s"], "10s"),
        (["--time-limit", "soon"], "soon"),
        (["--time-limit", "none"], "--max-candidates"),
        (["--backbone", "resnet10000"], "resnet10000"),
        (["--metric", "luck"], "luck"),
        (["--adaptation", "prayer"], "prayer"),
        (["--device", "abacus"], "abacus"),
        (["--modality", "smell"], "smell"),
        (["--image-size", "4"], "4"),
        (["--workers", "many"], "many"),
        (["--max-labels", "0"], "max-labels"),
        (["--space", "nowhere.toml"], "nowhere.toml"),
        (["--plan", "nowhere"], "nowhere"),
    ],
)
def test_bad_options_end_in_one_sentence_and_leave_nothing(
    images: Path, tmp_path: Path, options: list[str], word: str
) -> None:
    out = tmp_path / "out"
    assert word in refused("search", str(images), "--out", str(out), *options)
    assert not (out / "config.toml").exists()


def test_a_folder_with_other_things_is_not_written_to(images: Path, tmp_path: Path) -> None:
    out = tmp_path / "thesis"
    out.mkdir()
    (out / "chapter.txt").write_text("mine")
    assert "thesis" in refused("search", str(images), "--out", str(out))
    assert [p.name for p in out.iterdir()] == ["chapter.txt"]


def test_one_class_only(tmp_path: Path) -> None:
    path = tmp_path / "one.npz"
    np.savez(
        path, images=np.random.default_rng(0).integers(0, 256, (40, 16, 16), dtype=np.uint8), labels=np.zeros(40, int)
    )
    assert "class" in refused("search", str(path), "--out", str(tmp_path / "o"))


def test_not_a_study(tmp_path: Path) -> None:
    for command in ("status", "leaderboard", "resume", "stop", "report"):
        assert "study folder" in refused(command, str(tmp_path))


def test_inspect_says_what_is_there(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for name in ("left", "right"):
        (tmp_path / "set" / name).mkdir(parents=True)
        for k in range(6):
            Image.fromarray(rng.integers(0, 256, (20, 24), dtype=np.uint8)).save(tmp_path / "set" / name / f"{k}.png")
    result = run("inspect", str(tmp_path / "set"))
    assert result.exit_code == 0, result.output
    assert "12, 1 channel(s)" in result.output
    assert "left 6" in result.output


def test_list_methods_as_json() -> None:
    rows = json.loads(run("list", "methods", "--json").output)
    assert {"simclr", "vicreg", "byol", "rotation", "jigsaw", "cnn_mae", "genesis", "denoising", "hybrid"} <= {
        r["name"] for r in rows
    }
    assert len({row["paradigm"] for row in rows}) == 4
    assert all(row["priors"] and row["paper"] for row in rows)
    assert all({"dims", "needs", "passes"} <= set(row) and row["passes"] > 0 for row in rows)


def test_list_methods_as_a_table() -> None:
    head, *lines = run("list", "methods").output.splitlines()
    assert head.split() == ["name", "paradigm", "dims", "passes", "needs", "paper"]
    rotation = next(line for line in lines if line.startswith("rotation "))
    place = head.index("needs")
    assert rotation[place:].startswith("orientation  ")
    assert "arXiv 1803.07728" in rotation


@pytest.mark.parametrize("what", ["backbones", "spaces", "modalities", "targets"])
def test_lists(what: str) -> None:
    assert json.loads(run("list", what, "--json").output)


@pytest.mark.parametrize(("command", "goes_on"), [("inspect", False), ("doctor", False), ("search", True)])
def test_ctrl_c_promises_what_is_true(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str, goes_on: bool
) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("autossl.data.open_data", interrupt)
    monkeypatch.setattr("autossl.controller.open_data", interrupt)
    monkeypatch.setattr("autossl.doctor.check_machine", interrupt)
    result = run(command, *([] if command == "doctor" else [str(images)]))
    assert result.exit_code == 130
    assert ("goes on" in result.output) == goes_on
    assert "checkpoint" not in result.output


def test_every_listed_space_can_be_asked_for() -> None:
    names = [row["name"] for row in json.loads(run("list", "spaces", "--json").output)]
    assert names == ["default"]
    assert all(read_space(name) == read_space("auto") for name in names)


def test_doctor_names_versions() -> None:
    assert "torch" in run("doctor").output
