"""A study folder of November 2026, before the rooms: all that can be done with a finished study still can.

It holds 120 synthetic images of 40 made-up patients. To keep it small, its weights were rounded to bf16 and its
checkpoints left out.
"""

import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import autossl
from autossl.cli.commands import main
from autossl.study import Study

FIXTURE = Path(__file__).parent / "fixtures" / "study_2026_11.tar.xz"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("earlier") / "run"
    with tarfile.open(FIXTURE) as archive:
        archive.extractall(out, filter="data")
    return out


def test_it_is_read(folder: Path) -> None:
    study = Study(folder)
    assert study.status()["finished"]
    assert [row["method"] for row in study.leaderboard()] == ["denoising", "simclr", "untrained", "supervised"]
    assert study.best is not None
    assert study.best.method == "denoising"
    assert study.result is not None
    assert study.result["tests"] == 1


def test_its_networks_embed_and_predict(folder: Path, tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 255, (5, 16, 16), np.uint8)
    assert Study(folder).embed(images).shape == (5, Study(folder).encoder().dim)
    for candidate in ("best", "model", "supervised"):
        assert np.isfinite(autossl.load(Study(folder).export(tmp_path / candidate, candidate)).embed(images)).all()
    assert autossl.load(folder / "model").logits(images).shape == (5, 2)


def test_its_test_can_be_repeated(folder: Path) -> None:
    done = CliRunner().invoke(main, ["evaluate", str(folder)])
    assert done.exit_code == 0, done.output
    found, result = json.loads(done.output), Study(folder).result
    assert result is not None
    before = result["test"]["entrants"]["winner, fine-tuned"]
    assert found["macro_auroc"] == pytest.approx(before["macro_auroc"], abs=0.02)
    assert json.loads((folder / "state.json").read_text())["tests"] == 2


@pytest.mark.parametrize("command", [["status"], ["leaderboard", "--csv"], ["report"], ["resume", "--quiet"]])
def test_commands(folder: Path, command: list[str]) -> None:
    done = CliRunner().invoke(main, [command[0], str(folder), *command[1:]])
    assert done.exit_code == 0, done.output
    assert (folder / "report.html").exists() or command[0] != "report"
