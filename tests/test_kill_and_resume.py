"""A study that is killed goes on: real processes, killed for real, at several moments."""

import json
import threading
import time
import urllib.request
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from autossl.cli.commands import main
from autossl.record.folder import Folder, read_json
from autossl.record.journal import entries, mend, open_study
from autossl.report.dashboard import open_server
from autossl.study import Study
from tests.processes import Command


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """120 labelled grey images of three classes of texture, 16 px."""
    rng = np.random.default_rng(0)
    y = np.arange(120) % 3
    rows = np.arange(16)
    waves = np.sin(rows[None, :, None] * (0.5 + 0.6 * y[:, None, None]) + rng.uniform(0, 6, (120, 1, 1)))
    x = 127 + 60 * waves + rng.normal(0, 90, (120, 16, 16))
    path = tmp_path_factory.mktemp("data") / "textures.npz"
    np.savez(path, images=np.clip(x, 0, 255).astype(np.uint8), labels=y)
    return path


def command(images: Path, out: Path, *more: str) -> list[str]:
    """A small study without a time limit: two candidates of two methods."""
    space = out.parent / "space.toml"
    space.write_text(
        """
[simclr]
prior = [{ temperature = 0.5, lr = 1e-3 }]
temperature = { low = 0.1, high = 1.0 }
lr = { low = 1e-4, high = 1e-2, log = true }
batch_size = 64
[denoising]
prior = [{ sigma = 0.2, lr = 1e-3 }]
sigma = { low = 0.1, high = 0.5 }
lr = { low = 1e-4, high = 1e-2, log = true }
batch_size = 64
"""
    )
    options = ["--time-limit", "none", "--max-candidates", "3", "--space", str(space), "--backbone", "test_resnet"]
    options += [] if "--weights" in more else ["--weights", "none"]
    return ["search", str(images), *options, "--adaptation", "frozen", "--out", str(out), "--quiet", *more]


def searched(out: Path) -> bool:
    """Whether the search is over; what follows it is killed in test_kill_in_the_end.py."""
    return "labels alone" in (read_json(Folder(out).state) or {}).get("stage", "")


def scored(out: Path) -> dict[tuple[int, int], float]:
    """Scores by (candidate, rung)."""
    folder = Folder(out)
    study = open_study(folder, Study(out).config.study_name)
    found = [e for e in entries(study.get_trials(deepcopy=False)) if e.state == "scored"]
    assert len({(e.candidate, e.rung) for e in found}) == len(found), "a segment was finished twice"
    return {(e.candidate, e.rung): float(e.score or 0.0) for e in found}


def journal_lines(out: Path) -> int:
    path = out / "study.journal"
    return path.read_bytes().count(b"\n") if path.exists() else 0


def advanced(out: Path, lines: int) -> bool:
    """Whether the journal, which grows with every step of the search, has so many lines."""
    return journal_lines(out) >= lines


@pytest.fixture(scope="module")
def undisturbed(images: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[int, int], float]:
    """Scores of the study that nobody killed."""
    out = tmp_path_factory.mktemp("whole") / "run"
    Command(command(images, out), out.parent).killed(partial(searched, out))
    return scored(out)


def test_same_seed_gives_the_same_candidates_and_scores_after_kills(
    images: Path, tmp_path: Path, undisturbed: dict[tuple[int, int], float]
) -> None:
    out = tmp_path / "run"
    for lines in (4, 60):  # early and late
        Command(command(images, out), tmp_path).killed(partial(advanced, out, lines))
        assert len(scored(out)) < len(undisturbed)
    Command(command(images, out), tmp_path).end()
    assert scored(out) == undisturbed
    study = Study(out)
    assert study.status()["finished"]
    assert study.encoder().embed(np.zeros((1, 16, 16, 1), np.uint8)).shape[0] == 1


def it_answers_while_it_runs(out: Path) -> None:
    """Status, leaderboard and dashboard of a study at work."""
    status = Study(out).status()
    assert not status["finished"]
    assert status["stage"] not in ("", "done")  # a busy machine may be past the search
    board = CliRunner().invoke(main, ["leaderboard", str(out), "--json"]).stdout
    assert any(row["method"] == "untrained" for row in json.loads(board))
    with open_server(Folder(out), 0, read_only=True) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}/api/studies"
        with urllib.request.urlopen(address) as answer:
            number = json.load(answer)["study_summaries"][0]["study_id"]
        with urllib.request.urlopen(f"{address}/{number}?after=0") as answer:
            assert json.load(answer)["trials"]
        server.shutdown()


def test_two_workers_are_killed_and_go_on(images: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    Command(command(images, out, "--workers", "2"), tmp_path).killed(partial(advanced, out, 20))
    lock = out.resolve() / "study.journal.lock"
    lock.unlink(missing_ok=True)
    lock.symlink_to(out.resolve() / "study.journal")  # as if the kill had come while the lock was held
    with open(out / "study.journal", "ab") as file:
        file.write(b'{"op_code": 5, "worker_id": "half a li')  # and while a line was being written
    lines, started = journal_lines(out), time.time()
    process = Command(["resume", str(out), "--quiet"], tmp_path)
    while process.code() is None and journal_lines(out) <= lines:
        time.sleep(0.02)
    it_answers_while_it_runs(out)
    process.killed(partial(searched, out))
    assert time.time() - started < 120
    found = scored(out)
    assert len({candidate for candidate, _ in found}) == 3
    assert not lock.exists()


def test_mending_cuts_the_journal_back_to_its_last_whole_line(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    study = open_study(folder, "one")
    study.tell(study.ask(), 1.0)
    whole = folder.journal.read_bytes()
    folder.journal.write_bytes(whole + b'{"half":')
    mend(folder)
    assert folder.journal.read_bytes() == whole
    folder.journal.write_bytes(b"no line at all")
    mend(folder)
    assert folder.journal.read_bytes() == b""


def test_a_writer_drops_half_a_line_that_another_left(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    study = open_study(folder, "one")
    with open(folder.journal, "ab") as file:
        file.write(b'{"half":')
    study.tell(study.ask(), 2.0)
    assert [t.value for t in open_study(folder, "one").trials] == [2.0]
    assert all(json.loads(line) for line in folder.journal.read_text().splitlines())
