"""What a model says of new images: as the command writes it and as Python gives it."""

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

import autossl
from autossl.cli.commands import main
from autossl.model import export
from autossl.model.card import Preprocessing
from autossl.model.model import Meaning, Model
from autossl.nn.encoder import Encoder
from autossl.targets.readout import Readout
from autossl.targets.readouts import Classifier, Labeller, Regressor

READOUTS: dict[str, tuple[type[Readout], int, str, dict[str, Any], list[str]]] = {
    "classification": (Classifier, 2, "classes", {"classes": ["ben", "mal"]}, ["class", "share ben", "share mal"]),
    "regression": (Regressor, 2, "values", {"columns": ["age", "area"], "ranges": {}}, ["age", "area"]),
    "ordinal": (Regressor, 1, "grades", {"grades": ["low", "middle", "high"]}, ["grade", "place"]),
    "multilabel": (Labeller, 2, "labels", {"columns": ["x", "y"], "rarest": [0, 1]}, ["x", "y"]),
}


def model(task: str, path: Path) -> Path:
    torch.manual_seed(0)
    encoder = Encoder("test_resnet", 1, 16).eval()
    cls, width, form, about, _ = READOUTS[task]
    readout = cls(encoder.dim, width)
    export.write(
        Model(encoder, Preprocessing(16, 255.0, (0.4,), (0.2,)), readout, Meaning(task, form, about)), path, {}
    )  # fmt: skip
    return path


@pytest.mark.parametrize("task", READOUTS)
def test_a_table_has_a_row_per_image_and_the_answers_of_the_task(task: str, tmp_path: Path) -> None:
    exported = model(task, tmp_path / "model")
    (tmp_path / "new").mkdir()
    for name in ("b", "a"):
        Image.fromarray(np.random.default_rng(0).integers(0, 255, (20, 16), np.uint8)).save(
            tmp_path / f"new/{name}.png"
        )
    arguments = ["predict", str(exported), str(tmp_path / "new"), "-o", str(tmp_path / "table.csv")]
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 0, done.output
    with open(tmp_path / "table.csv") as file:
        rows = list(csv.DictReader(file))
    assert [row["image"] for row in rows] == ["a.png", "b.png"]
    assert list(rows[0])[1:] == READOUTS[task][4]
    found = autossl.load(exported).predict(tmp_path / "new")
    assert [str(cell) for cell in found[READOUTS[task][4][0]]] == [row[READOUTS[task][4][0]] for row in rows]


def test_shares_sum_to_one_and_grades_are_the_nearest(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 255, (3, 16, 16), np.uint8)
    told = autossl.load(model("classification", tmp_path / "classes")).predict(images)
    np.testing.assert_allclose(np.add(told["share ben"], told["share mal"]), 1, atol=2e-4)
    told = autossl.load(model("ordinal", tmp_path / "grades")).predict(images)
    names = ["low", "middle", "high"]
    assert told["grade"] == [names[int(np.clip(np.rint(place), 0, 2))] for place in told["place"]]


def test_what_cannot_answer_is_one_sentence(tmp_path: Path) -> None:
    encoder = Encoder("test_resnet", 1, 16).eval()
    export.write(Model(encoder, Preprocessing(16, 255.0, (0.4,), (0.2,))), tmp_path / "encoder", {})
    np.savez(tmp_path / "new.npz", images=np.zeros((2, 16, 16), np.uint8))
    for arguments, said in (
        ([str(tmp_path / "encoder"), str(tmp_path / "new.npz"), "-o", str(tmp_path / "t.csv")], "model with a head"),
        ([str(tmp_path / "encoder"), str(tmp_path / "new.npz"), "-o", str(tmp_path / "t.txt")], ".csv"),
        ([str(tmp_path / "nothing"), str(tmp_path / "new.npz"), "-o", str(tmp_path / "t.csv")], "none is at"),
    ):
        done = CliRunner().invoke(main, ["predict", *arguments])
        assert done.exit_code == 2
        assert said in done.output
        assert not (tmp_path / "t.csv").exists()
