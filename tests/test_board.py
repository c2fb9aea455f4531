"""What the dashboard shows of a study: names, notes, figures, files; in Chromium too, where it is installed."""

import json
import re
import shutil
import subprocess
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from autossl.record.folder import Folder
from autossl.record.journal import open_study
from autossl.report.dashboard import open_server
from tests.test_report import CONFIG, add, finished

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:optuna_dashboard", "ignore::ResourceWarning")
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    found = finished(tmp_path_factory.mktemp("board"))
    add(found, 4, "rotation", 0, None, reason="collapsed", why="one direction")
    return found


@pytest.fixture(scope="module")
def address(folder: Folder) -> Iterator[str]:
    before = folder.journal.read_bytes()
    server = open_server(folder, 0, read_only=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()
    assert folder.journal.read_bytes() == before  # looking writes nothing


@pytest.fixture(scope="module")
def shown(address: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(_get(f"{address}/api/studies/0?after=0"))
    return found


def _get(address: str) -> bytes:
    with urllib.request.urlopen(address) as answer:
        content: bytes = answer.read()
        return content


def test_a_study_is_named_and_told(shown: dict[str, Any]) -> None:
    assert shown["objective_names"] == ["aligned score"]
    note = shown["note"]["body"]
    assert "Self-supervision helped: 0.800 balanced accuracy" in note
    assert "| contrastive | 2 | 0 | simclr .600 ± .020 |" in note


def test_trials_that_were_scored_are_complete_and_say_why_they_went_no_further(shown: dict[str, Any]) -> None:
    states = [trial["state"] for trial in shown["trials"]]
    assert states == ["Complete", "Complete", "Fail", "Fail", "Complete", "Fail"]
    told = [trial["note"]["body"] for trial in shown["trials"]]
    assert "Not trained on: place 2 of 2 at rung 0 with .600 ± .020" in told[0]
    assert "Kept: place 1 of 2 at rung 0 with .700 ± .020; trained on in trial 4." in told[1]
    assert "its loss was no number" in told[2]
    assert "another trial has the same segment" in told[3]
    assert "It leads" in told[4]
    assert "its embeddings collapsed" in told[5]
    assert [trial["number"] for trial in shown["best_trials"]] == [4]
    assert not any(fact["key"] == "lease" for trial in shown["trials"] for fact in trial["user_attrs"])


def test_what_optuna_itself_reads_is_as_it_was(folder: Folder) -> None:
    states = [trial.state.name for trial in open_study(folder, CONFIG["study_name"]).trials]
    assert states == ["PRUNED", "PRUNED", "FAIL", "FAIL", "COMPLETE", "FAIL"]


def test_figures_have_ids_that_stay_and_are_small(shown: dict[str, Any]) -> None:
    figures = {figure["id"]: figure["graph_object"] for figure in shown["plotly_graph_objects"]}
    assert set(figures) == {"scores-by-method", "rung-ladder", "time-against-score", "label-free-against-score"}
    assert all(len(figure) < 50_000 for figure in figures.values())
    assert len(json.loads(figures["rung-ladder"])["data"]) == 2


def test_files_of_a_trial_are_made_when_they_are_asked_for(address: str, shown: dict[str, Any]) -> None:
    trial = shown["trials"][4]
    assert [file["filename"] for file in trial["artifacts"]] == [
        "settings.json", "loss.csv", "views.png", "confusion.svg"
    ]  # fmt: skip
    own = f"{address}/artifacts/0/{trial['trial_id']}"
    settings, loss, views = (_get(f"{own}/{file['artifact_id']}") for file in trial["artifacts"][:3])
    assert json.loads(settings)["method"] == "rotation"
    assert loss.startswith(b"images,loss\n4,6")
    assert views.startswith(b"\x89PNG")


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed: apt-get install chromium")
def test_a_browser_shows_note_and_figures(address: str, tmp_path: Path) -> None:
    assert CHROMIUM is not None
    command = [
        CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path}",
        "--virtual-time-budget=8000", "--dump-dom", f"{address}/dashboard/studies/0",
    ]  # fmt: skip
    page = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
    text = re.sub("<[^>]*>", " ", page)
    assert "toy.classification.test_resnet" in text
    assert "Scores by method and paradigm" in text
    assert "aligned score" in text
