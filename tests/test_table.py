"""The table of candidates: a training that is killed goes on where it was, with the same row."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from studies.table import cells, marks, run
from studies.table.cells import OWN, RANDOM, Piece, Set

PIECE = Piece("marks", RANDOM, "simclr")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A few marks."""
    folder = tmp_path_factory.mktemp("work")
    marks.write(folder / "marks", images=240, tested=80)
    return folder


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """One target, one draw, short rungs."""
    targets = {"tone": cells.classes("tone")}
    monkeypatch.setitem(
        cells.SETS, "marks", Set("marks", {"image_size": 28, "backbone": "test_resnet"}, targets, cells.COLOURED)
    )
    monkeypatch.setattr(run, "RUNGS", (100, 200))
    monkeypatch.setattr(run, "BUDGETS", (40, 60))
    monkeypatch.setattr(run, "DRAWS", 1)
    monkeypatch.setattr(run, "ROWS", tmp_path)


def test_a_piece_goes_on_where_it_was(small: None, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = run.Table(Path(), data)
    table.step("own", PIECE)
    row = json.loads((tmp_path / "marks.json").read_text())["rows"][PIECE.key]
    assert row["whole"]
    assert [rung["steps"] for rung in row["rungs"]] == [1, 2]
    learnt, last = str(table.bench(PIECE).tested[0]), row["rungs"][-1]["images"]
    assert set(row["rungs"][0]["targets"]["tone"]["frozen"]) == {"40", "60", learnt}
    assert table.step("own", PIECE) is None
    with np.load(table.bench(PIECE).file("embeddings", PIECE, f"-{last}.npz")) as kept:
        assert len(kept["z"]) == len(kept["rows"])

    class Killed(Exception):
        """As a kill after the first rung."""

    table.rows.clear()
    (tmp_path / "marks.json").unlink()
    first, rungs = run._scored, iter((0,))

    def once(*given: Any) -> Any:
        for _ in rungs:
            return first(*given)
        raise Killed

    monkeypatch.setattr(run, "_scored", once)
    with pytest.raises(Killed):
        table.step("own", PIECE)
    monkeypatch.setattr(run, "_scored", first)
    table.rows.clear()
    table.step("own", PIECE)
    resumed = json.loads((tmp_path / "marks.json").read_text())["rows"][PIECE.key]
    assert [_told(rung) for rung in resumed["rungs"]] == [_told(rung) for rung in row["rungs"]]


def _told(rung: dict[str, object]) -> list[object]:
    return [rung[name] for name in ("images", "steps", "loss", "embeddings", "targets")]


def test_the_order_of_work_is_whole_as_far_as_it_goes() -> None:
    found = list(cells.pieces(("pneumonia", "marks")))
    assert len(set(found)) == len(found)
    own = [piece.set for stage, piece in found if stage == "own"]
    assert own == ["pneumonia"] * len(cells.METHODS) + ["marks"] * len(cells.METHODS)
    assert all(piece.strength == piece.rate == OWN for _, piece in found[: len(own)])
