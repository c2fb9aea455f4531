"""Inspect runs the checks of a search: what a search would refuse, say and take stands there before the night."""

import csv
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from autossl.cli import commands, inspection
from autossl.cli.options import OF_RUNNING
from autossl.data import prepare
from autossl.run import begin
from autossl.run.asked import Asked
from autossl.run.opening import place
from tests.test_cli import run

rng = np.random.default_rng(0)
YES, NO = "a search would start: yes", "a search would not start: because "


def manifest(folder: Path, rows: list[dict[str, Any]]) -> Path:
    """A CSV of 16-pixel noise; rows that name the same image share its file."""
    for row in rows:
        path = folder / str(row["image"])
        if not path.exists():
            Image.fromarray(rng.integers(0, 255, (16, 16), dtype=np.uint8)).save(path)
    with open(folder / "set.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return folder / "set.csv"


def clean(n: int) -> list[dict[str, Any]]:
    return [{"image": f"{k}.png", "label": "xy"[k % 2], "patient": f"p{k // 4}-{k % 2}"} for k in range(n)]


def leaking(n: int) -> list[dict[str, Any]]:
    """An official split with patients on both sides."""
    rows = clean(n)
    return [{**row, "split": "test" if k % 3 == 0 else "train"} for k, row in enumerate(rows)]


def refusal_of_search(*arguments: str) -> str:
    result = run("search", *arguments)
    assert result.exit_code == 2, result.output
    return result.output.strip().splitlines()[-1].removeprefix("error: ")


def test_leaks_drops_and_patients_of_each_part_are_said(tmp_path: Path) -> None:
    result = run("inspect", str(manifest(tmp_path, leaking(90))))
    assert result.exit_code == 0, result.output
    assert "in more than one official part" in result.output
    assert re.search(r"\d+ images? left a part, having a duplicate or their patient in a later one", result.output)
    assert re.search(r"patients +probe +selection +test\n", result.output)
    assert re.search(r"\n +x +\d+ +\d+ +\d+\n +y +\d+ +\d+ +\d+\n +labels +\d+", result.output)
    assert re.search(r"modality +grey \(auto\); --modality takes .*xray", result.output)
    assert result.output.strip().splitlines()[-1] == YES
    assert max(len(line) for line in result.output.splitlines() if not line.startswith(("note", "modality"))) <= 80
    assert "{" not in result.output


def test_the_notes_are_those_of_a_study(tmp_path: Path) -> None:
    path = str(manifest(tmp_path, leaking(90)))
    asked = Asked(max_labels=40, seed=3)
    source, config = begin.look(path, asked, None, None)
    folder = place(Asked(out=str(tmp_path / "study")), source)
    folder.make()
    begin.decode(source, folder, config, lambda done, total: None)
    stored = json.loads(folder.data.read_text())
    rows = list(inspection.inspected(source, asked, path, None, None, lambda done, total: None))
    assert [found for name, found in rows if name == "note"] == stored["notes"]
    said = run("inspect", path, "--max-labels", "40", "--seed", "3").output
    assert all(note in said for note in stored["notes"])


REFUSED = [
    (clean(12), [], "at least 20 labelled images"),
    (clean(60), ["--max-labels", "3"], "found --max-labels 3"),
    (clean(60), ["--backbone", "resnet10_3d"], "a backbone for images"),
]


@pytest.mark.parametrize(("rows", "options", "word"), REFUSED)
def test_what_a_search_refuses_ends_with_why(
    tmp_path: Path, rows: list[dict[str, Any]], options: list[str], word: str
) -> None:
    path = str(manifest(tmp_path, rows))
    result = run("inspect", path, *options)
    assert result.exit_code == 2
    last = result.output.strip().splitlines()[-1]
    assert word in last
    assert last == NO + refusal_of_search(path, *options, "--out", str(tmp_path / "o"))
    assert not (tmp_path / "o").exists()


def test_what_only_pixels_tell_is_refused_too(tmp_path: Path) -> None:
    path = manifest(tmp_path, clean(60))
    for k in range(60):
        Image.fromarray(np.full((16, 16), 7, dtype=np.uint8)).save(tmp_path / f"{k}.png")
    result = run("inspect", str(path))
    assert result.exit_code == 2
    assert result.output.strip().splitlines()[-1].startswith(NO + "images that show something were wanted")
    assert re.search(r"labelled +60 in 2 classes", result.output)


def test_labels_and_more_images_are_taken_as_by_search(tmp_path: Path) -> None:
    table = manifest(tmp_path, clean(60))
    (tmp_path / "more").mkdir()
    for k in range(5):
        Image.fromarray(rng.integers(0, 255, (16, 16), dtype=np.uint8)).save(tmp_path / "more" / f"{k}.png")
    table.rename(tmp_path.parent / f"{tmp_path.name}.csv")
    more = ["--labels", str(tmp_path.parent / f"{tmp_path.name}.csv"), "--unlabeled", str(tmp_path / "more")]
    result = run("inspect", str(tmp_path), *more, "--image-size", "12")
    assert YES in result.output
    assert "5 images without labels were added" in result.output
    assert "resized to 12 x 12" in result.output


def test_every_option_of_the_data_is_one_of_inspect() -> None:
    taken = {option.name for option in commands.inspect.params}
    assert {option.name for option in commands.search.params} - OF_RUNNING - {"quiet"} <= taken
    assert {"labels", "unlabeled", "max_labels", "image_size", "modality", "seed", "patient_column"} <= taken


def test_large_data_are_decoded_small_and_nothing_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inspection, "MOST_BYTES", 60 * 64)
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    monkeypatch.setattr("tempfile.tempdir", None)
    (tmp_path / "temporary").mkdir()
    path = str(manifest(tmp_path, clean(60)))
    sides: list[int] = []

    def watched(*arguments: Any, **options: Any) -> Any:
        sides.append(options["image_size"])
        return prepare(*arguments, **options)

    monkeypatch.setattr(inspection, "prepare", watched)
    result = run("inspect", path, "--image-size", "12")
    assert sides == [8]
    assert "were resized to 12 x 12" in result.output
    assert list((tmp_path / "temporary").iterdir()) == []
