"""Retrieval: other patients' images of the same class, by a readout that no gallery leaves, and neighbours by name."""

import csv
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

import autossl
from autossl.cli.commands import main
from autossl.data.truth import Classes
from autossl.finish import anneal, baselines
from autossl.proxies import retrieval
from autossl.study import Study
from autossl.targets import Seen
from autossl.targets.retrieval import Retrieval, _whitenings
from tests.test_study import textures

N = 120
rng = np.random.default_rng(0)
Y = np.arange(N) % 3
PATIENTS = np.repeat(np.arange(N // 2), 2)


def truth() -> Classes:
    return Classes(Y, ("a", "b", "c"))


def target() -> Retrieval:
    return Retrieval(truth().about)


def test_the_score_is_retrieval_of_the_centred_embedding() -> None:
    z = (np.eye(3, 8)[Y] + rng.normal(size=(N, 8))).astype(np.float32)
    score = target().score(Seen.of(z), truth(), PATIENTS)
    assert score.value == pytest.approx(retrieval(z - z.mean(0), Y, PATIENTS).map_at_k)
    assert score.outcomes.value("r_precision") == pytest.approx(retrieval(z - z.mean(0), Y, PATIENTS).r_precision)


def test_who_a_patient_is_finds_nothing() -> None:
    """An embedding that knows the patient alone retrieves at chance, for his own images are left out."""
    own = np.repeat(rng.normal(size=(N // 2, 16)), 2, axis=0).astype(np.float32)
    y = np.repeat(np.arange(N // 2) % 3, 2)
    told = Classes(y, ("a", "b", "c"))
    alone = target().score(Seen.of(own), told, PATIENTS).value
    assert alone < 0.25
    assert target().score(Seen.of(own), told, None).value > alone + 0.08


def test_a_loud_direction_is_whitened_away() -> None:
    z = np.eye(3, 4)[Y] + 0.3 * rng.normal(size=(N, 4))
    z[:, 3] = 40 * rng.normal(size=N)  # what varies most says nothing
    found = target().fitted(z.astype(np.float32), truth(), PATIENTS)
    assert "whitened" in found.readout.words
    raw = found.readout.answers(z.astype(np.float32))
    centred = np.hstack([z - z.mean(0), np.zeros((N, 3))])
    found_at = [target().judge(each, truth(), PATIENTS).value("map_at_10") for each in (centred, raw)]
    assert found_at[0] + 0.05 < found_at[1]
    assert (np.array(target().answer(raw)["class"]) == np.array(["a", "b", "c"])[Y]).mean() > 0.9
    np.testing.assert_allclose(np.linalg.norm(raw[:, :-3], axis=1), 1, rtol=1e-5)
    for shrunk, turn in _whitenings((z - z.mean(0)).astype(np.float32))[1:]:
        spread = ((z - z.mean(0)) @ turn).std(0)
        assert spread.max() / spread.min() < (4 if shrunk == 0.5 else 3)


def test_a_query_with_nothing_to_find_is_not_counted() -> None:
    y = np.array([0, 0, 1, 2, 2, 2])
    z = np.eye(3)[y].astype(np.float32)
    outcomes = target().judge(np.hstack([z, z]), Classes(y, ("a", "b", "c")))
    assert np.isnan(outcomes.columns["scores"][2]).all()
    assert outcomes.value("map_at_10") == 1
    alone = target().judge(np.hstack([z, z])[:1], Classes(y[:1], ("a", "b", "c")))
    assert np.isnan(alone.value("map_at_10"))


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    images, labels = textures()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(baselines, "LABEL_PASSES", 2)
        patch.setattr(anneal, "PASSES", 1)
        patch.setattr(baselines, "SEARCHED", baselines.SEARCHED[:1])
        return autossl.search(
            images, "retrieval", labels=labels, time_limit=None, out=tmp_path_factory.mktemp("retrieval") / "run",
            max_candidates=1, methods="simclr", backbone="test_resnet", weights="none",
        )  # fmt: skip


def test_a_study_ends_with_a_model_whose_export_holds_no_gallery(study: Study, tmp_path: Path) -> None:
    assert study.result is not None
    assert study.result["test"]["metric"] == "map_at_10"
    assert {"winner", "untrained", "supervised"} <= set(study.result["test"]["entrants"])
    images, labels = textures()
    readout = autossl.load(study.folder.model).readout
    assert readout is not None
    held = readout.state_dict()
    assert set(held) == {"linear.weight", "linear.bias", "directions"}
    assert len(held["directions"]) == len(set(labels))
    for row in range(12):
        place = tmp_path / ("gallery" if row < 9 else "queries")
        place.mkdir(exist_ok=True)
        Image.fromarray(images[row]).save(place / f"{row:02d}.png")
    arguments = [str(study.folder.root), str(tmp_path / "gallery"), str(tmp_path / "queries"), "-k", "3"]
    done = CliRunner().invoke(main, ["neighbours", *arguments, "-o", str(tmp_path / "near.csv")])
    assert done.exit_code == 0, done.output
    with open(tmp_path / "near.csv") as file:
        rows = list(csv.DictReader(file))
    assert [row["image"] for row in rows[::3]] == ["09.png", "10.png", "11.png"]
    assert [row["rank"] for row in rows[:3]] == ["1", "2", "3"]
    assert all(float(a["similarity"]) >= float(b["similarity"]) for a, b in pairwise(rows[:3]))
    own = autossl.load(study.folder.encoder).neighbours(images[:5], images[:5], 1)
    assert own["neighbour"] == own["image"]


def test_the_report_says_what_was_found(study: Study) -> None:
    page = study.folder.report.read_text()
    assert "mAP@10" in page
    assert "could not be drawn" not in page
