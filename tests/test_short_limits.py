"""Time limits that are too short: refused before anything is decoded, in a sentence that helps, and nothing is left."""

import re
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from autossl.data import Source
from autossl.data.readers import images as decoding
from autossl.errors import UserError
from autossl.nn.encoder import Encoder
from autossl.record.clock import seconds
from autossl.record.config import StudyConfig, read_config
from autossl.record.folder import Folder
from autossl.report.display import Display
from autossl.run import controller, forecast, outset
from autossl.run.asked import Asked
from autossl.study import Study
from autossl.trials.calibrate import measure

Start = Callable[..., Folder]
CALL = r"at least (.+) was wanted .*, found --time-limit 1m; give --time-limit (\w+)"


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Class folders with 80 grey PNG files of 160 px."""
    root, rng = tmp_path_factory.mktemp("photographs"), np.random.default_rng(0)
    for name, level in (("benign", 90), ("malignant", 160)):
        (root / name).mkdir()
        for number in range(40):
            pixels = rng.normal(level, 40, (160, 160)).clip(0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(root / name / f"{number}.png")
    return root


@pytest.fixture
def start(photographs: Path, tmp_path: Path) -> Start:
    """Begins a study of them in tmp_path/run."""

    def begin(time_limit: str, **more: object) -> Folder:
        options: dict[str, Any] = {"out": str(tmp_path / "run"), "device": "cpu", "backbone": "resnet34", **more}
        asked = Asked(time_limit=time_limit, **options)
        return controller.start(str(photographs), asked, quiet=True)

    return begin


def refused(start: Start, time_limit: str, **more: object) -> str:
    """The sentence."""
    with pytest.raises(UserError) as refusal:
        start(time_limit, **more)
    return str(refusal.value)


class Planned(Exception):
    """The time was planned: this is as far as these tests go."""


@pytest.fixture
def until_planned(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ends a run where its search would begin."""

    def search(*_: object) -> None:
        raise Planned

    monkeypatch.setattr(controller, "_search", search)


def test_a_limit_that_is_too_short_is_refused_before_decoding_and_leaves_nothing(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Path] = []
    read = decoding.decode
    monkeypatch.setattr("autossl.data.sources.decode", lambda path: seen.append(path) or read(path))  # type: ignore[func-returns-value]
    began = time.process_time()
    sentence = refused(start, "60s")
    assert time.process_time() - began < 12  # idle six, beside other programs half as much again; imports take two more
    assert re.match("a time limit of " + CALL + r", or smaller images: --image-size 64 needs \d+ min", sentence)
    assert len(seen) < 80 / 2
    assert not (tmp_path / "run").exists()


@pytest.mark.usefixtures("until_planned")
def test_the_limit_that_is_named_is_enough(start: Start, tmp_path: Path) -> None:
    limit = "60s"
    for _ in range(3):  # a machine that gets slower between two calls needs more
        named = re.search(CALL.replace("1m", r"\S+"), refused(start, limit))
        assert named is not None
        limit = named[2]
        with suppress(UserError):
            try:
                start(limit)
            except Planned:
                break
    assert Study(tmp_path / "run")._state()["plan"]["limit"] == seconds(limit)


@pytest.mark.usefixtures("until_planned")
def test_images_are_made_smaller_where_nobody_asked_for_a_size_and_stay_so(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The whole images are refused, those of 64 px are not: as if the time were enough for these alone."""
    measured = forecast._forecast

    def costly(source: Source, config: StudyConfig, *more: float) -> forecast.Forecast:
        found = measured(source, config, *more)
        return replace(found, before=1e4 if config.image_size > 64 else 0.0)

    monkeypatch.setattr(forecast, "_forecast", costly)
    monkeypatch.setattr(forecast, "SECONDS", 0.2)
    monkeypatch.setattr(outset, "MEASURING", 0.2)
    for _ in range(2):  # the second time it goes on with what was begun
        with suppress(Planned):
            start("1h", image_size="auto", backbone="test_resnet")
        state, config = Study(tmp_path / "run")._state(), read_config(tmp_path / "run" / "config.toml")
        assert config.image_size == 64
        assert "Images are brought to 64 a side: 96 would need" in state["plan"]["planned_away"][0]
    with pytest.raises(UserError, match="image_size = 64, found image_size = 96"):
        start("1h", image_size=96, backbone="test_resnet")


def test_what_is_refused_only_after_decoding_leaves_nothing_either(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as early:
        early.setattr(controller, "foresee", lambda _, config, *__: (None, config))
        late = refused(start, "60s")
    assert re.match("a time limit of " + CALL + ", or smaller images: --image-size 64$", late)
    assert not (tmp_path / "run").exists()
    assert "found --time-limit 1m" in refused(start, "60s", image_size=144)  # the same --out, other settings
    assert not (tmp_path / "run").exists()


def test_a_resumed_study_whose_limit_is_too_short_says_so(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object) -> None:
        raise Planned

    with monkeypatch.context() as early:
        early.setattr(controller, "_planned", killed)
        with pytest.raises(Planned):
            start("9h")
    with pytest.raises(UserError, match="give --time-limit"):
        controller.resume(tmp_path / "run", "60s", quiet=True)
    stage = Study(tmp_path / "run").status()["stage"]
    assert stage.startswith("refused: a time limit of at least")


def test_measuring_keeps_to_a_tenth_of_the_limit() -> None:
    encoder = Encoder("resnet10t", 1, 224)
    began = time.process_time()
    speed = measure(encoder, 1, torch.device("cpu"), 20.0, 4.0)
    assert time.process_time() - began < 2
    assert 0.001 < speed.embed < speed.per_pass < 1


def test_the_bar_moves_while_a_stage_says_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    began = time.monotonic()
    with Display(tmp_path / "log", 90.0, lambda: time.monotonic() - began) as display:
        display.say("measuring what things cost here")
        time.sleep(3.5)
    drawn = re.findall(r"(1 min \d+ s) left", capsys.readouterr().err)
    assert len(set(drawn)) >= 3
