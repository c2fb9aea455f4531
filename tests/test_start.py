"""Candidates that start from weights which the user gave: the same numbers, also after a kill and without the file."""

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import cast

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from autossl.finish import baselines
from autossl.finish.anneal import fresh_run
from autossl.model.load import load
from autossl.nn.encoder import Encoder
from autossl.nn.weights import keep_weights, sha256
from autossl.record.folder import Folder, read_toml
from autossl.record.journal import entries
from autossl.run import begin
from autossl.run.asked import Asked
from autossl.study import Study
from autossl.train.loop import Run
from autossl.trials.context import Context, open_context
from autossl.trials.segments import new_run
from studies.opened import first_prior, opened
from tests.processes import SHORT, Command
from tests.test_cli import refused, run
from tests.test_kill_and_resume import advanced, command, scored, searched


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """120 noisy grey images of three brightnesses, 16 px."""
    y = np.arange(120) % 3
    x = np.random.default_rng(0).normal(120 + 4 * y[:, None, None], 40, (120, 16, 16))
    path = tmp_path_factory.mktemp("data") / "shades.npz"
    np.savez(path, images=np.clip(x, 0, 255).astype(np.uint8), labels=y)
    return path


# images as they are: enlarged ones (tests/test_starts.py) are 36 times as many pixels
PLAIN = {**SHORT, "autossl.trials.starts.SMALL": 16, "autossl.run.looking.SMALL": 16}


def checkpoint(path: Path, seed: int = 7) -> Encoder:
    """Another training's checkpoint at `path`, and its encoder."""
    torch.manual_seed(seed)
    encoder = Encoder("test_resnet", 1, 16).eval()
    torch.save({"state_dict": {f"backbone.{k}": v for k, v in encoder.backbone.state_dict().items()}}, path)
    return encoder


def typed(data: Path, out: Path, weights: Path) -> list[str]:
    """A search with given weights, as its user types it."""
    return command(data, out, "--weights", str(weights), "--start", "weights", "--max-candidates", "2")


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Encoder]:
    path = tmp_path_factory.mktemp("jane_doe") / "mine.pt"
    return path, checkpoint(path)


@pytest.fixture(scope="module")
def study(data: Path, given: tuple[Path, Encoder], tmp_path_factory: pytest.TempPathFactory) -> Study:
    out = tmp_path_factory.mktemp("whole") / "run"
    Command(typed(data, out, given[0]), out.parent, PLAIN).end()
    return Study(out)


@torch.no_grad()
def seen(encoder: Encoder) -> Tensor:
    x = torch.randn(4, encoder.channels, *encoder.size, generator=torch.Generator().manual_seed(0))
    return cast(Tensor, encoder.eval()(x))


def wanted(context: Context, given: Encoder) -> Tensor:
    """What the study's architecture sees with these weights."""
    encoder = context.encoder(replace(context.begins, place=None), 1)
    encoder.backbone.load_state_dict(given.backbone.state_dict())
    return seen(encoder)


def begun(context: Context, seed_shift: int = 0) -> Run:
    """Candidate 0 before its first step."""
    entry = next(e for e in entries(context.study.get_trials(deepcopy=False)) if e.candidate == 0)
    return fresh_run(context, entry, seed_shift)


def test_candidates_start_from_the_weights_and_baselines_as_ever(study: Study, given: tuple[Path, Encoder]) -> None:
    context = open_context(study.folder)
    expected = wanted(context, given[1])
    for shift in (0, 1000):  # and its replicate with another training seed
        assert torch.equal(seen(begun(context, shift).method.encoder), expected)
    assert torch.equal(seen(baselines.given(context)), expected)
    assert not torch.allclose(seen(baselines.untrained(context)), expected)
    assert {"untrained", "weights", "supervised"} <= set(study.result["test"]["entrants"])  # type: ignore[index]
    scores = {name: found["score"] for name, found in context.state("baselines").items()}
    begins = scores[context.begins.words(16)]
    assert ("score below no training" in study.folder.log.read_text()) == (begins < scores["untrained"])
    assert load(study.folder.starts / "mine.pt").encoder.name == "test_resnet"


def test_card_and_report_name_the_weights_but_not_their_folder(
    study: Study, given: tuple[Path, Encoder], tmp_path: Path
) -> None:
    assert run("train", str(study.folder.root), "--time-limit", "1s", "-o", str(tmp_path / "on")).exit_code == 0
    for card in (tmp_path / "on", study.folder.encoder):
        text = (card / "README.md").read_text()
        assert "- weights: mine.pt" in text
        assert f"- sha256: {sha256(str(given[0]))}" in text
        assert "What the given weights were trained on is not known here" in text
        assert "jane_doe" not in text + (card / "metrics.json").read_text()
    assert "pretrained without labels from given weights" in (study.folder.encoder / "README.md").read_text()
    supervised = (study.folder.root / "baselines" / "supervised" / "README.md").read_text()
    assert "- weights: random" in supervised
    assert "mine.pt" not in supervised
    report = study.folder.report.read_text()
    assert "Candidates started from mine.pt" in report[: report.index("<h2>Test</h2>")]
    assert "--start weights" in report
    assert "--weights mine.pt" in report
    assert "jane_doe" not in report


def test_a_killed_study_needs_the_file_no_more(data: Path, study: Study, tmp_path: Path) -> None:
    out, path = tmp_path / "run", tmp_path / "mine.pt"
    checkpoint(path)
    Command(typed(data, out, path), tmp_path, PLAIN).killed(partial(advanced, out, 15))
    assert scored(out) != scored(study.folder.root)
    path.unlink()
    Command(["resume", str(out), "--quiet"], tmp_path, PLAIN).killed(partial(searched, out))
    assert scored(out) == scored(study.folder.root)


def test_the_same_study_with_other_weights_is_refused(data: Path, study: Study, tmp_path: Path) -> None:
    path = Path(study.config.weights[0])
    was = path.read_bytes()
    again = typed(data, study.folder.root, path)
    try:
        checkpoint(path, seed=8)
        assert "weights_sha256 = " in refused(*again)
    finally:
        path.write_bytes(was)
    assert "start = 'weights', found start = 'random'" in refused(*again, "--start", "random")
    assert run(*again).exit_code == 0


def test_a_start_that_is_not_there_is_refused_before_there_is_a_study(data: Path, tmp_path: Path) -> None:
    out = str(tmp_path / "run")
    assert "found --start weights alone" in refused("search", str(data), "--out", out, "--start", "weights")
    assert "one of auto, weights, random" in refused("search", str(data), "--out", out, "--start", "imagenet")
    other = tmp_path / "other.pt"
    torch.save(Encoder("test_vit", 1, 160).backbone.state_dict(), other)
    sentence = refused("search", str(data), "--out", out, "--backbone", "test_resnet", "--weights", str(other))
    assert "weights for test_resnet were wanted" in sentence
    assert not Path(out).exists()


def test_without_weights_there_is_nothing_to_choose(data: Path, tmp_path: Path) -> None:
    context = opened(str(data), tmp_path / "run", 64, backbone="test_resnet", start="random")
    assert "start" not in read_toml(Folder(tmp_path / "run").config)
    assert context.card_facts({"candidate": 0})["start"] == {"weights": "random"}


def test_a_folder_and_a_link_are_known_by_the_name_of_the_file(data: Path, tmp_path: Path) -> None:
    checkpoint(tmp_path / "blob")
    folder = tmp_path / "jane_doe"
    folder.mkdir()
    state = torch.load(tmp_path / "blob", weights_only=True)["state_dict"]
    save_file(state, tmp_path / "blob")
    (folder / "model.safetensors").symlink_to(tmp_path / "blob")  # as in the cache of a hub
    context = opened(str(data), tmp_path / "run", 64, backbone="test_resnet", weights=str(folder))
    keep_weights(context.config.given[0]["file"], context.folder.weights())
    assert torch.equal(load_file(context.folder.weights())["backbone.conv1.0.weight"], state["backbone.conv1.0.weight"])
    assert context.card_facts({"candidate": 0}, context.given)["start"]["weights"] == "model.safetensors"


def test_volumes_start_from_weights_too(tmp_path: Path) -> None:
    path, mine = tmp_path / "volumes.npz", tmp_path / "mine.pt"
    x = np.random.default_rng(0).integers(0, 256, (60, 16, 16, 16), dtype=np.uint8)
    np.savez(path, images=x, labels=np.arange(60) % 2)
    torch.manual_seed(7)
    encoder = Encoder("resnet10_half_3d", 1, 16)
    torch.save({f"module.{k}": v for k, v in encoder.backbone.state_dict().items()}, mine)
    context = opened(
        str(path), tmp_path / "run", 64, backbone="resnet10_half_3d", weights=str(mine), start="weights", modality="mr"
    )
    keep_weights(str(mine), context.folder.weights())
    made = new_run(context, 0, "simclr", first_prior(context, "simclr"))
    assert torch.equal(seen(made.method.encoder), wanted(context, encoder))


def test_packaged_weights_bring_their_architecture_and_their_licence(data: Path) -> None:
    asked = Asked(weights="packaged:lite0", image_size=32, time_limit=60.0)
    _, config = begin.look(str(data), asked, None, None)
    assert config.backbone == "resnet10t"  # of random weights and of training on the labels alone
    assert config.weights == ("packaged:lite0",)
    given = config.given[0]
    assert (given["backbone"], given["licence"], given["size"]) == ("tf_efficientnet_lite0", "Apache-2.0", 224)
    assert Path(given["file"]).is_file()  # a resolved file: what is read from a study asks no network
    assert refused("search", str(data), "--weights", "packaged:nothing") == (
        "error: packaged weights were wanted, found 'packaged:nothing'; there are packaged:lite0, packaged:lite2"
    )
