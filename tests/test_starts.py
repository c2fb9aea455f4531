"""Starts: given weights in several ways to feed them, looked at before anything is trained, each with its own input."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import autossl
from autossl.errors import UserError
from autossl.nn.encoder import Encoder
from autossl.nn.weights import keep_weights
from autossl.record.config import StudyConfig, read_config
from autossl.record.folder import write_toml
from autossl.run import begin
from autossl.run.asked import Asked
from autossl.run.looking import look
from autossl.run.repeat import adopt_plan
from autossl.run.settings import as_begun
from autossl.trials.context import Context
from autossl.trials.fitted import GENTLE
from autossl.trials.starts import Start, factors, rescaled, rescaling, ways
from studies.opened import opened
from tests.test_cli import refused, run

STATISTICS = st.tuples(st.floats(-2, 2), st.floats(0.05, 3))


def shades(path: Path, n: int = 60, side: int = 16) -> Path:
    """Noisy grey images of three brightnesses."""
    y = np.arange(n) % 3
    x = np.random.default_rng(0).normal(100 + 30 * y[:, None, None], 40, (n, side, side))
    np.savez(path, images=np.clip(x, 0, 255).astype(np.uint8), labels=y)
    return path


def checkpoint(path: Path, seed: int) -> Path:
    torch.manual_seed(seed)
    torch.save(Encoder("test_resnet", 1, 16).backbone.state_dict(), path)
    return path


def with_weights(tmp_path: Path, *files: Path, **settings: object) -> Context:
    """A study with these weights, as it is when its images are decoded."""
    data = shades(tmp_path / "shades.npz")
    context = opened(
        str(data), tmp_path / "run", 64, backbone="test_resnet", weights=tuple(map(str, files)), **settings
    )
    for place, each in enumerate(context.config.given):
        keep_weights(each["file"], context.folder.weights(place))
    return context


@given(STATISTICS, STATISTICS, st.floats(-5, 5))
def test_rescaling_is_another_normalisation(data: tuple[float, float], own: tuple[float, float], value: float) -> None:
    by, wanted = ((data[0],), (data[1],)), ((own[0],), (own[1],))
    (factor,), (summand,) = rescaling(by, wanted)
    standardised = (value - data[0]) / data[1]
    assert factor * standardised + summand == pytest.approx((value - own[0]) / own[1], rel=1e-6, abs=1e-6)
    (mean,), (std,) = rescaled(*by, rescaling(by, wanted))
    assert (mean, std) == pytest.approx(own, rel=1e-6, abs=1e-6)
    assert rescaled(*by, None) == by


@pytest.mark.parametrize(
    ("side", "learnt", "least", "most", "found"),
    [(28, 224, 1, 8, [1, 3, 8]), (64, 224, 1, 8, [1, 2, 4]), (96, 224, 1, 8, [1, 2]), (224, 224, 1, 8, [1]),
     (512, 224, 1, 8, [1]), (28, None, 1, 8, [1, 3]), (16, 64, 2, 8, [2, 4]), (28, 28, 1, 8, [1]),
     (16, 96, 1, 2, [1, 2]), (48, None, 1, 2, [1, 2])],
)  # fmt: skip
def test_small_images_are_enlarged_towards_what_was_learnt(
    side: int, learnt: int | None, least: int, most: int, found: list[int]
) -> None:
    assert factors(side, learnt, least, most) == found


def test_every_way_is_looked_at_and_the_best_exported(tmp_path: Path) -> None:
    files = [checkpoint(tmp_path / f"{seed}.pt", seed) for seed in (3, 4)]
    context = with_weights(tmp_path, *files)
    facts = look(context, None)
    context.remember(**facts)
    rows = facts["baselines"]
    assert list(rows) == ["untrained", *(f"{seed}.pt{size}" for seed in (3, 4) for size in ("", " (96 px)"))]
    best = max((name for name in rows if name != "untrained"), key=lambda name: float(rows[name]["score"]))
    assert context.given is not None
    assert context.given.words(16) == best
    assert facts["starts"]["begins"] == (rows[best]["score"] >= rows["untrained"]["score"])
    leader = autossl.load(context.folder.starts / context.given.name)
    images = context.data.images[context.rows(0)[:4]]
    expected = context.embed(context.encoder(context.given, 0), context.rows(0)[:4])
    np.testing.assert_allclose(leader.embed_stored(images), expected, rtol=1e-5, atol=1e-5)
    assert {path.name for path in context.folder.starts.iterdir()} == {"3.pt", "4.pt"}


def test_without_a_second_to_spare_given_weights_are_not_looked_at(tmp_path: Path) -> None:
    """A limit that just suffices for a candidate must not be spent on looking, and be refused then."""
    context = with_weights(tmp_path, checkpoint(tmp_path / "mine.pt", 3))
    facts = look(context, 100.0, spare=0.0)
    assert list(facts["baselines"]) == ["untrained"]
    assert facts["starts"] == {"given": None, "ways": [], "begins": False}
    context.remember(**facts)
    assert not context.begins.given
    assert list(look(context, 1000.0, spare=60.0)["baselines"]) == ["untrained", "mine.pt", "mine.pt (96 px)"]


def test_an_own_normalisation_and_size_are_those_of_the_export(tmp_path: Path) -> None:
    context = with_weights(tmp_path, checkpoint(tmp_path / "mine.pt", 3))
    plain = next(iter(ways(context.config, 1, 0)))
    own = replace(plain, upsample=3, mean=(0.5,), std=(0.25,))
    context.remember(starts={"given": own.to_dict(), "ways": [own.to_dict()], "begins": True})
    assert context.begins == own == Start.from_dict(own.to_dict())
    rows = context.rows(0)[:6]
    pixels = torch.from_numpy(context.data.images[rows].astype(np.float32) / context.data.scale).movedim(-1, 1)
    enlarged = torch.nn.functional.interpolate((pixels - 0.5) / 0.25, scale_factor=3.0, mode="bilinear")
    encoder = context.new_candidate(0).eval()
    with torch.inference_mode():
        expected = encoder.backbone(enlarged).numpy()
    np.testing.assert_allclose(context.embed(encoder, rows), expected, rtol=1e-4, atol=1e-5)
    preprocessing = context.preprocessing(encoder)
    assert preprocessing.mean == pytest.approx((0.5,))
    assert preprocessing.std == pytest.approx((0.25,))


def test_a_repeated_study_begins_as_the_earlier_one_did(tmp_path: Path) -> None:
    """What a time limit decided (here: random weights, though the given ones lead) is not decided again without one."""
    for name in ("earlier", "again", "others"):
        (tmp_path / name).mkdir()
    file = checkpoint(tmp_path / "mine.pt", 3)
    earlier, again = (with_weights(tmp_path / name, file) for name in ("earlier", "again"))
    others = with_weights(tmp_path / "others", checkpoint(tmp_path / "other.pt", 4))
    plain = next(iter(ways(earlier.config, 1, 0))).to_dict()
    starts = {"given": plain, "trains": plain, "ways": [plain], "begins": False}
    earlier.remember(starts=starts, costs={}, baselines={})
    for context in (again, others):
        context.folder.state.unlink()
        adopt_plan(context.folder, str(earlier.folder.root))
    assert again.state("starts") == starts
    assert not again.begins.given
    assert others.state("starts") is None


def test_what_begins_from_weights_is_trained_gently(tmp_path: Path) -> None:
    context = with_weights(tmp_path, checkpoint(tmp_path / "mine.pt", 3), start="weights")
    gentle = context.space["simclr"].priors[0]["lr"]
    context.remember(starts={"given": None, "ways": [], "begins": False})
    assert gentle == pytest.approx(GENTLE * context.space["simclr"].priors[0]["lr"])


def test_weights_of_the_same_name_are_told_apart(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        checkpoint(tmp_path / folder / "mine.pt", len(folder))
    context = with_weights(tmp_path, tmp_path / "a" / "mine.pt", tmp_path / "b" / "mine.pt")
    assert [each["name"] for each in context.config.given] == ["mine.pt", "mine.pt (2)"]


@pytest.mark.usefixtures("installed_weights")
def test_auto_takes_what_is_installed_and_none_takes_nothing(tmp_path: Path) -> None:
    data = str(shades(tmp_path / "shades.npz"))

    def config(weights: object) -> StudyConfig:
        return begin.look(data, Asked(weights=weights, time_limit=60.0), None, None)[1]  # type: ignore[arg-type]

    found = config("auto")
    assert "packaged:lite0" in [each["name"] for each in found.given]
    assert found.weights == ("auto",)
    assert found.start == "auto"
    told = run("inspect", data).output
    assert re.search(r"given weights +packaged:lite0.*: looked at first", told), told
    assert re.search(r"given weights +none here", run("inspect", data, "--weights", "none").output)
    for none in ("none", None):
        assert (config(none).given, config(none).start) == ((), None)


def test_a_study_that_goes_on_keeps_the_weights_that_it_found(tmp_path: Path) -> None:
    context = with_weights(tmp_path, checkpoint(tmp_path / "mine.pt", 3))
    begun = replace(context.config, weights=("auto",))
    write_toml(context.folder.config, begun.options, "")
    now = replace(begun, given=(), weights_sha256=(), start=None)
    assert as_begun(context.folder, now).given == begun.given
    assert as_begun(context.folder, replace(now, weights=("none",))).given == ()


def test_settings_of_one_file_are_read_as_of_one(tmp_path: Path) -> None:
    context = with_weights(tmp_path, checkpoint(tmp_path / "mine.pt", 3), start="weights")
    old = {k: v for k, v in context.config.options.items() if k not in ("given", "weights", "weights_sha256")}
    old |= {"weights": "/somewhere/mine.pt", "weights_sha256": "ab", "weights_licence": "MIT"}
    write_toml(context.folder.config, old, "")
    found = read_config(context.folder.config)
    assert found.weights == ("/somewhere/mine.pt",)
    assert found.weights_sha256 == ("ab",)
    assert (found.given[0]["name"], found.given[0]["licence"]) == ("mine.pt", "MIT")
    assert Context(context.folder, found, context.data, context.device).begins.given


def test_bad_weights_are_one_sentence(tmp_path: Path) -> None:
    data = str(shades(tmp_path / "shades.npz"))
    asked = ("search", data, "--out", str(tmp_path / "run"), "--backbone", "test_resnet")
    assert "auto, none, or the names or files of weights" in refused(*asked, "--weights", "auto", "--weights", "a.pt")
    assert "found nothing at --weights" in refused(*asked, "--weights", str(tmp_path / "nothing.pt"))
    with pytest.raises(UserError, match="auto, none"):
        Asked(weights=())
    assert not (tmp_path / "run").exists()
