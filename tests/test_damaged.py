"""Damaged files of studies and encoders: one sentence that names the file, and exit code 2, in every command."""

import json
import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

import autossl
from autossl.cli.commands import main
from autossl.errors import UserError
from autossl.model import export
from autossl.model.card import Preprocessing
from autossl.model.model import Model
from autossl.nn.encoder import Encoder
from autossl.record.config import StudyConfig
from autossl.record.folder import Folder, read_toml, write_toml
from autossl.record.stored import TYPES
from autossl.report.dashboard import open_server
from tests.test_report import finished

OF_STUDIES = ("config.toml", "state.json", "clock.json", "data.json", "study.journal")
WRONG: tuple[Any, ...] = (None, "x", -1, [3], {"x": 1})


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished study with an encoder and a model, made without a search, and a set of images."""
    root = tmp_path_factory.mktemp("whole")
    folder = finished(root / "run")
    torch.manual_seed(0)
    encoder, to_input = Encoder("test_resnet", 1, 16).eval(), Preprocessing(16, 255.0, (0.4,), (0.2,))
    export.write(Model(encoder, to_input), folder.encoder, {"data": {"name": "toy"}})
    shutil.copytree(folder.encoder, folder.model)
    np.savez(root / "new.npz", images=np.zeros((4, 16, 16), np.uint8), labels=np.arange(4) % 2)
    return root


def test_every_setting_has_a_type() -> None:
    """One without would be read as it stands, and a command that uses it would end with a fault of ours."""
    assert {setting.name for setting in fields(StudyConfig)} <= set(TYPES["config.toml"])


@pytest.fixture
def place(whole: Path, tmp_path: Path) -> Path:
    shutil.copytree(whole / "run", tmp_path / "run")
    shutil.copy(whole / "new.npz", tmp_path / "new.npz")
    return tmp_path


def typed(place: Path) -> dict[str, list[str]]:
    """Every command that reads a study."""
    run, data = str(place / "run"), str(place / "new.npz")
    return {
        "status": ["status", run],
        "leaderboard": ["leaderboard", run, "--json"],
        "report": ["report", run, "-o", str(place / "r.html")],
        "stop": ["stop", run],
        "resume": ["resume", run, "--quiet"],
        "export": ["export", run, str(place / "copy")],
        "embed": ["embed", run, data, "-o", str(place / "z.npy")],
        "evaluate": ["evaluate", run, "--data", data],
        "train": ["train", run, "-o", str(place / "trained"), "--time-limit", "1s"],
    }


def ended(place: Path, command: str) -> tuple[int, str]:
    """Exit code and output of a command, which must be one line where it is refused."""
    result = CliRunner().invoke(main, typed(place)[command])
    assert result.exit_code in (0, 2, 3), f"{command}: {result.output}"
    if result.exit_code:
        assert len(result.output.splitlines()) == 1, result.output
    for left in ("copy", "z.npy", "r.html", "trained"):
        if (path := place / left).exists():
            assert result.exit_code == 0, f"{command} was refused and left {left}"
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    return result.exit_code, result.output


def cut(data: bytes) -> bytes:
    return data[: len(data) // 2]


def garbage(data: bytes) -> bytes:
    return bytes(np.random.default_rng(0).integers(0, 256, len(data), dtype=np.uint8))


def half_garbage(data: bytes) -> bytes:
    return data[: len(data) // 3] + b'{"x": 1}\n\x00\xff[[[' + data[len(data) // 3 :]


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "cut": cut, "garbage": garbage, "half": half_garbage, "zeros": lambda d: b"\0" * len(d),
    "other JSON": lambda d: b'{"a": [1]}\n{"b": 2}\n', "no table": lambda d: b"[1, 2]\n[3]\n",
}  # fmt: skip


def test_a_whole_study_is_read(place: Path) -> None:
    for command in ("status", "leaderboard", "report", "export", "embed"):
        assert ended(place, command)[0] == 0
    assert "is finished" in ended(place, "stop")[1]


@pytest.mark.parametrize("kind", DAMAGE)
@pytest.mark.parametrize("name", OF_STUDIES)
def test_a_damaged_file_of_a_study_is_named(name: str, kind: str, place: Path) -> None:
    path = place / "run" / name
    path.write_bytes(DAMAGE[kind](path.read_bytes()))
    found = {command: ended(place, command) for command in ("status", "leaderboard", "report", "resume", "evaluate")}
    readers = {"clock.json": ("status", "report", "resume"), "data.json": ("report",)}
    journal_ends_early = name == "study.journal" and kind == "cut"  # as after a crash: it is mended
    if kind in ("cut", "garbage", "half", "zeros") and not journal_ends_early:
        for command in readers.get(name, ("status", "leaderboard", "report")):
            code, sentence = found[command]
            assert code == 2, (command, sentence)
            assert name in sentence
    with_server(place / "run")


def with_server(root: Path) -> None:
    """The dashboard opens on the study or refuses it."""
    with suppress(UserError):
        open_server(Folder(root), 0, read_only=True).server_close()


def mutants(value: Any, deep: int) -> list[Any]:
    """Each table with one key missing or of another type, as far down as `deep`."""
    if not isinstance(value, dict) or deep == 0:
        return []
    found: list[Any] = []
    for name, item in value.items():
        found.append({k: v for k, v in value.items() if k != name})
        found += [{**value, name: other} for other in WRONG]
        found += [{**value, name: mutant} for mutant in mutants(item, deep - 1)]
    return found


def test_settings_with_a_key_missing_or_of_another_type(place: Path) -> None:
    folder = Folder(place / "run")
    config = dict(read_toml(folder.config))
    for mutant in mutants(config, 1):
        write_toml(folder.config, mutant, "a test")
        for command in ("status", "leaderboard"):
            ended(place, command)
    for missing, command in (("time_limit", "status"), ("study_name", "leaderboard")):
        write_toml(folder.config, {k: v for k, v in config.items() if k != missing}, "a test")
        code, sentence = ended(place, command)
        assert (code, "config.toml" in sentence) == (2, True)


@pytest.mark.parametrize(("name", "deep"), [("state.json", 2), ("clock.json", 1)])
def test_a_state_with_a_key_missing_or_of_another_type(name: str, deep: int, place: Path) -> None:
    path = place / "run" / name
    for mutant in mutants(json.loads(path.read_text()), deep):
        path.write_text(json.dumps(mutant))
        for command in ("status", "leaderboard"):
            ended(place, command)


@pytest.mark.parametrize("kind", DAMAGE)
@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_damaged_encoder_is_named(name: str, kind: str, place: Path) -> None:
    path = place / "run" / "encoder" / name
    path.write_bytes(DAMAGE[kind](path.read_bytes()))
    code, sentence = ended(place, "embed")
    assert code == 2
    assert name in sentence
    with pytest.raises(UserError, match=name):
        autossl.load(place / "run")


def test_an_encoder_with_a_key_missing_or_of_another_type(place: Path) -> None:
    path = place / "run" / "encoder" / "config.json"
    config = json.loads(path.read_text())
    del config["pretrained_cfg"]  # timm's, of which nothing is read
    for mutant in mutants(config, 2):
        path.write_text(json.dumps(mutant))
        with suppress(UserError):  # and nothing else
            autossl.load(place / "run")


def test_weights_of_another_network_are_named(place: Path) -> None:
    path = place / "run" / "encoder" / "config.json"
    config = json.loads(path.read_text())
    path.write_text(json.dumps({**config, "architecture": "resnet10t"}))
    assert "model.safetensors" in ended(place, "embed")[1]


@pytest.mark.parametrize("name", ["images.npy", "data.npz"])
@pytest.mark.parametrize("kind", ["cut", "garbage", "zeros"])
def test_damaged_images_are_named(name: str, kind: str, place: Path) -> None:
    path = place / "run" / "cache" / name
    path.write_bytes(DAMAGE[kind](path.read_bytes()))
    for command in ("resume", "evaluate", "train"):
        code, sentence = ended(place, command)
        assert code == 2
        assert "cache" in sentence


def test_a_file_that_is_a_folder(place: Path) -> None:
    for name in ("config.toml", "state.json"):
        path = place / "run" / name
        path.rename(place / "kept")
        path.mkdir()
        for command in ("status", "report"):
            ended(place, command)
        path.rmdir()
        (place / "kept").rename(path)


ANY_TEXT = st.text(st.characters(exclude_categories=[])) | st.text(st.sampled_from('\0\x7f\r\n\ud800\udcff"\\09af'))


@given(st.dictionaries(ANY_TEXT, ANY_TEXT | st.lists(ANY_TEXT) | st.dictionaries(ANY_TEXT, ANY_TEXT), max_size=4))
def test_settings_come_back_whatever_their_text(values: dict[str, Any]) -> None:
    path = Folder(PLACE).config
    write_toml(path, {"value": values, "more": list(values)}, "a test")
    assert read_toml(path) == {"value": values, "more": list(values)}


PLACE = Path()


@pytest.fixture(autouse=True, scope="module")
def _place(tmp_path_factory: pytest.TempPathFactory) -> None:
    global PLACE
    PLACE = tmp_path_factory.mktemp("settings")
