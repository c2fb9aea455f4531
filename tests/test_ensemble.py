"""Models that answer together: written as one folder each, read as one, the mean of their answers by target."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from numpy.typing import NDArray
from scipy.special import expit, softmax

import autossl
from autossl.errors import UserError
from autossl.model import export
from autossl.model.card import Preprocessing
from autossl.model.ensemble import Ensemble
from autossl.model.model import Meaning, Model
from autossl.nn.encoder import Encoder
from autossl.nn.weights import load_weights
from autossl.record.stored import Damaged
from autossl.targets.readouts import NEVER
from tests.test_predict import READOUTS

IMAGES = np.random.default_rng(0).integers(0, 255, (5, 16, 16, 1), np.uint8)


def members(task: str) -> list[Model]:
    cls, width, form, about, _ = READOUTS[task]
    found = []
    for seed, backbone in enumerate(("test_resnet", "test_resnet")):
        torch.manual_seed(seed)
        encoder = Encoder(backbone, 1, 16).eval()
        meaning = Meaning(task, form, about)
        found.append(Model(encoder, Preprocessing(16, 255.0, (0.4,), (0.2,)), cls(encoder.dim, width).eval(), meaning))
    return found


def told(task: str, raw: NDArray[Any]) -> NDArray[Any]:
    """Raw answers in the terms in which people are told."""
    if task == "classification":
        return np.asarray(softmax(raw, axis=1))
    return np.asarray(expit(raw)) if task == "multilabel" else raw


@pytest.mark.parametrize("task", READOUTS)
def test_answers_are_the_mean_of_what_each_tells(task: str, tmp_path: Path) -> None:
    ours = members(task)
    export.write(Ensemble(ours), tmp_path / "model", {"seeds": {"study": 1}})
    found = autossl.load(tmp_path / "model")
    wanted = np.mean([told(task, member.answers_stored(IMAGES)) for member in ours], axis=0)
    np.testing.assert_allclose(told(task, found.answers_stored(IMAGES)), wanted, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(found.embed(IMAGES), ours[0].embed(IMAGES))
    table = found.predict(IMAGES)
    assert list(table)[1:] == READOUTS[task][4]
    assert found.classes == ours[0].classes
    for number, member in enumerate(ours, 1):
        one = autossl.load(tmp_path / "model" / f"network-{number}")
        np.testing.assert_allclose(one.answers(IMAGES), member.answers(IMAGES), rtol=1e-5, atol=1e-6)
    assert "2 networks" in (tmp_path / "model" / "README.md").read_text()


def test_each_network_loads_in_plain_timm(tmp_path: Path) -> None:
    ours = members("classification")
    export.write(Ensemble(ours), tmp_path / "model", {})
    for number, member in enumerate(ours, 1):
        plain = timm.create_model(f"local-dir:{tmp_path}/model/network-{number}", pretrained=True).eval()
        with torch.no_grad():
            logits = plain(member.standardise(IMAGES)).numpy()
        np.testing.assert_allclose(logits, member.logits(IMAGES), atol=1e-5)


def test_a_class_that_nobody_learnt_stays_without_a_share() -> None:
    target = members("classification")[0].target
    raw = np.array([[1.0, NEVER], [0.0, NEVER]])
    assert (target.mean([raw, 2 * raw])[:, 1] < -9000).all()


@pytest.mark.parametrize(
    "names",
    [["../outside", "network-2"], ["network-1"], [], ["network-1"] * 9, ["network-1", "network-7"], [1, 2], "x"],
)
def test_a_list_of_members_that_is_no_such_list_is_refused(names: Any, tmp_path: Path) -> None:
    export.write(Ensemble(members("classification")), tmp_path / "model", {})
    (tmp_path / "outside").mkdir()
    (tmp_path / "model" / "config.json").write_text(json.dumps({"members": names, "autossl": {"format": 2}}))
    with pytest.raises(Damaged):
        autossl.load(tmp_path / "model")


def test_members_that_answer_other_questions_are_refused(tmp_path: Path) -> None:
    export.write(Ensemble(members("classification")), tmp_path / "model", {})
    export.write(members("regression")[0], tmp_path / "model" / "network-2", {})
    with pytest.raises(Damaged, match="same question"):
        autossl.load(tmp_path / "model")


def test_weights_are_taken_from_one_of_them(tmp_path: Path) -> None:
    export.write(Ensemble(members("classification")), tmp_path / "model", {})
    with pytest.raises(UserError, match="a file of weights was wanted"):
        load_weights(Encoder("test_resnet", 1, 16), str(tmp_path / "model"))
    own = load_weights(Encoder("test_resnet", 1, 16), str(tmp_path / "model" / "network-1"))
    assert own.dim == members("classification")[0].dim
