"""A study folder of November 2026, before the rooms: all that can be done with a finished study still can.

It holds 120 synthetic images of 40 made-up patients. To keep it small, its weights were rounded to bf16 and its
checkpoints left out.
"""

import html
import json
import re
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pandas
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


def test_notebooks_show_the_answer_and_the_leaderboard(folder: Path) -> None:
    study, page = Study(folder), Study(folder)._repr_html_()
    assert study.verdict.kind == "helped" or study.verdict.first
    assert str(study.verdict) == study.verdict.first
    assert study.verdict.first in html.unescape(page)
    assert "training on the same labels alone" in page
    board = study.leaderboard()
    assert board == list(board)
    assert all(f">{row['method']}" in board._repr_html_() for row in board)
    board[0]["method"] = "<script>"
    assert "<script>" not in board._repr_html_()


def test_data_frames(folder: Path) -> None:
    frame = Study(folder).leaderboard().to_pandas()
    assert isinstance(frame, pandas.DataFrame)
    assert frame["method"].tolist() == ["denoising", "simclr", "untrained", "supervised"]


def test_studies_side_by_side(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "other")
    both = [str(folder), str(tmp_path / "other")]
    told = CliRunner().invoke(main, ["compare", *both])
    assert told.exit_code == 0, told.output
    assert {"denoising", "rungs", "flaws"} <= set(re.findall(r"\w+", told.output))
    told = CliRunner().invoke(main, ["compare", *both, "--json"])
    found = json.loads(told.output)
    result = Study(folder).result
    assert result is not None
    assert len(found) == 2
    for one in found.values():
        scores = {arm["name"]: arm["score"] for arm in one["arms"]}
        metric = result["test"]["metric"]
        assert scores == {name: each[metric] for name, each in result["test"]["entrants"].items()}
        assert [arm["name"] for arm in one["arms"] if arm["delivered"]] == ["winner, fine-tuned"]
    page = tmp_path / "both.html"
    assert CliRunner().invoke(main, ["compare", *both, "-o", str(page)]).exit_code == 0
    assert "denoising" in page.read_text()
    assert "script" not in page.read_text()
    assert CliRunner().invoke(main, ["compare", str(folder), str(tmp_path / "nothing")]).exit_code == 2


def test_a_report_without_pixels_of_images(folder: Path, tmp_path: Path) -> None:
    with_, without = (Study(folder).report(tmp_path / f"{no}.html", no_images=no).read_text() for no in (False, True))
    assert "data:image" not in without
    assert "this report holds no pixels of images" in without
    assert "this report holds no pixels of images" not in with_
