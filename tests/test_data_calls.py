"""The keywords that say what columns hold reach the data from Python, from the command line and from a study."""

import csv
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from numpy.typing import NDArray
from PIL import Image

import autossl
from autossl.cli.commands import main
from autossl.errors import UserError
from autossl.record.folder import Folder
from autossl.run.asked import Asked
from autossl.run.begin import look, look_again


def noise(*shape: int) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


LABELS = ["a", "b", "none"] * 10
PATIENTS = [at // 2 for at in range(30)]


def table(root: Path, **columns: list[str]) -> Path:
    count = len(next(iter(columns.values())))
    for at in range(count):
        Image.fromarray(noise(12, 12)).save(root / f"{at}.png")
    with open(root / "m.csv", "w", newline="") as file:
        rows = zip([f"{at}.png" for at in range(count)], *columns.values(), strict=True)
        csv.writer(file).writerows([["image", *columns], *rows])
    return root / "m.csv"


def run(*words: str) -> Result:
    return CliRunner().invoke(main, list(words))


def test_patients_and_missing_words_of_a_call_in_python() -> None:
    source, config = look(noise(30, 16, 16), Asked(missing="none"), None, LABELS, PATIENTS)
    assert source.has_patients
    assert source.groups.tolist() == PATIENTS
    assert source.truth.names == ("a", "b")
    assert config.missing == "none"
    assert "patients" not in config.options  # they are nobody's settings, and never written
    with pytest.raises(UserError, match="30 entries in patients, one per image, were wanted, found 2"):
        autossl.search(noise(30, 16, 16), labels=LABELS, patients=[1, 2])
    with pytest.raises(UserError, match="found only 'a'"):
        autossl.search(noise(30, 16, 16), labels=LABELS, missing=["none", "b"])


def test_missing_words_on_the_command_line(tmp_path: Path) -> None:
    found = run("search", str(table(tmp_path, label=LABELS)), "--missing", "none,b", "--out", str(tmp_path / "out"))
    assert found.exit_code == 2
    assert "found only 'a'" in found.output
    assert not (tmp_path / "out").exists()


def test_a_study_that_is_resumed_before_it_decoded_has_its_words(tmp_path: Path) -> None:
    path = table(tmp_path, label=LABELS)
    source, config = look(path, Asked(missing="none"), None, None)
    again = look_again(Folder(tmp_path), config)
    assert again.truth.names == source.truth.names == ("a", "b")
    assert again.key == source.key


def test_no_id_is_printed_where_its_column_is_taken_for_the_labels(tmp_path: Path) -> None:
    path = table(tmp_path, label=LABELS, patient=[f"ZZCANARY{at // 2:03d}" for at in range(30)])
    for command in ("inspect", "search"):
        found = run(command, str(path), "--label-column", "patient")
        assert found.exit_code == 2
        assert found.output.count("\n") == 1
        assert "CANARY" not in found.output
        assert "found patient ids in the column 'patient'" in found.output
