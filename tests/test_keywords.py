"""Every keyword is checked for type and range before anything is opened or made, in Python and on the command line."""

import datetime
import decimal
import fractions
import inspect
import os
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner

import autossl
from autossl.cli.commands import main
from autossl.cli.options import SEVERAL
from autossl.data import open_data
from autossl.errors import UserError
from autossl.errors.keywords import MOST_NAME
from autossl.record.config import write_config
from autossl.record.folder import read_toml, write_toml
from autossl.run import jobs
from autossl.run.asked import KINDS, Asked, check
from autossl.run.settings import resolve
from autossl.study import Study
from tests.toy_config import TOY

LONG = "n" * (MOST_NAME + 1)


class Raises:
    """An object that cannot even be looked at."""

    def __repr__(self) -> str:
        raise RuntimeError

    def __eq__(self, other: object) -> bool:
        raise RuntimeError

    __hash__ = None  # type: ignore[assignment]


NASTY: list[Any] = [
    None, True, False, np.bool_(True), 0, -1, 1, 3, 10**400, -(10**400), 0.0, 1.5, 20.0, 20.5, 1e30, float("nan"),
    float("inf"), -float("inf"), np.int64(20), np.float64(20.5), np.uint8(3), np.float32("nan"), "", " ", "none",
    "auto",
    "20", "-3", "²", "٣", "9" * 5000, "20.0", "1e3", "0x10", "\0", "a\nb", "\x7f", "\ud800", "\x1b[31m", LONG,
    "/".join(["a"] * 4000),
    "x;y", b"bytes", bytearray(b"20"), [], ["a"], [3], [None], ["simclr"], ("simclr", "byol"), {}, {"a": 1}, {"simclr"},
    (), object(), Raises(), int, len, 1j, decimal.Decimal(20), fractions.Fraction(1, 2), datetime.timedelta(minutes=30),
    datetime.timedelta(seconds=-1), datetime.timedelta.max, datetime.date(2020, 1, 1), Path("there"), Path(LONG),
    Path("\ud800"),
    np.array(20), np.zeros(3), torch.tensor(20), torch.device("cpu"), torch.device("cuda", 99), torch.float32, "cuda:x",
]  # fmt: skip


@pytest.fixture
def images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """60 noise images of two classes, and the folder where the test works; nothing may come to be there."""
    path = tmp_path / "data" / "noise.npz"
    path.parent.mkdir()
    y = np.arange(60) % 2
    np.savez(path, images=np.random.default_rng(0).integers(0, 256, (60, 16, 16), dtype=np.uint8), labels=y)
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    yield path
    assert list(here.iterdir()) == []
    assert [p.name for p in path.parent.iterdir()] == ["noise.npz"]


def test_every_field_has_a_kind_and_is_a_keyword_of_the_call_with_the_same_default() -> None:
    defaults = {f.name: f.default for f in fields(Asked)}
    assert list(KINDS) == list(defaults)
    found = {name: p.default for name, p in inspect.signature(autossl.search).parameters.items()}
    assert {name: found[name] for name in found if name not in ("data", "unlabeled", "labels", "patients")} == defaults


def test_every_field_is_an_option_with_the_same_default() -> None:
    options = {option.name: option.default for option in main.commands["search"].params}
    for field in fields(Asked):
        shown = field.default if field.default is None or field.default is False else str(field.default)
        assert options[field.name] == ((shown,) if field.name in SEVERAL else shown)
    assert set(options) - {f.name for f in fields(Asked)} == {"data", "unlabeled", "labels", "quiet", "as_json"}


def test_the_defaults_are_taken() -> None:
    check(Asked())


@pytest.mark.parametrize("name", KINDS)
def test_a_nasty_value_is_refused_or_becomes_a_plain_one(name: str, tmp_path: Path) -> None:
    """What is taken can be written into settings and is found there again."""
    taken = 0
    for value in NASTY:
        try:
            asked = Asked(**{name: value})
            check(asked)
        except UserError:
            continue
        plain = getattr(asked, name)
        assert type(plain) in (str, int, float, bool, tuple, type(None)), value
        write_toml(tmp_path / "settings.toml", {"value": plain}, "a test")
        assert read_toml(tmp_path / "settings.toml").get("value") == (list(plain) if type(plain) is tuple else plain)
        taken += 1
    assert taken or name in ("metric", "task", "executor")


def test_plain_settings_are_resolved(images: Path) -> None:
    source = open_data(str(images))
    asked = Asked(
        max_labels=np.int64(40), image_size="16", time_limit=datetime.timedelta(hours=1), methods=["simclr", "simclr"],  # type: ignore[arg-type]
        backbone="test_resnet", device=torch.device("cpu"), seed=np.uint8(3),  # type: ignore[arg-type]
    )  # fmt: skip
    config = resolve(asked, source, data=str(images))
    wanted = {
        "max_labels": 40,
        "image_size": 16,
        "time_limit": 3600.0,
        "methods": ("simclr",),
        "device": "cpu",
        "seed": 3,
    }
    assert {name: getattr(config, name) for name in wanted} == wanted


@pytest.mark.parametrize("name", KINDS)
def test_the_call_raises_nothing_else_and_leaves_nothing(name: str, images: Path) -> None:
    for value in NASTY:
        given = {"time_limit": "1s", name: value}  # too short: what is taken is refused for that
        if name == "time_limit" and (value is None or isinstance(value, str | float | int | datetime.timedelta)):
            given["storage"] = "x"  # refused as well
        with pytest.raises(UserError):
            autossl.search(images, **given)


@pytest.mark.parametrize("name", KINDS)
def test_the_command_line_takes_the_same(name: str, images: Path) -> None:
    """Every option is a text there; its refusal is one line and exit code 2."""
    option = f"--{name.replace('_', '-')}"
    for value in (v for v in NASTY if isinstance(v, str) and "\0" not in v):
        limit = [] if name == "time_limit" else ["--time-limit", "1s"]
        more = ["--storage", "x"] if name == "time_limit" else []
        result = CliRunner().invoke(main, ["search", str(images), *limit, *more, f"{option}={value}"])
        assert result.exit_code == 2, (value, result.output)
        assert len(result.output.splitlines()) == 1, value
        assert result.output.startswith("error: "), value


WELCOME = [
    ("max_labels", np.int64(20), 20), ("max_labels", 20.0, 20), ("max_candidates", np.float64(3), 3), ("seed",
    np.uint8(7), 7),
    ("max_labels", "20", 20), ("image_size", "64", 64), ("image_size", np.int32(64), 64), ("workers", 2.0, 2),
    ("workers", "auto", "auto"),
    ("time_limit", datetime.timedelta(hours=2), 7200.0), ("time_limit", np.int64(90), 90.0), ("time_limit", "8h", "8h"),
    ("device", torch.device("cpu"), "cpu"), ("out", Path("a") / "b", "a/b"), ("plan", Path("a"), "a"), ("weights",
    Path("a.pt"), ("a.pt",)), ("weights", ["a.pt", "hub:b"], ("a.pt", "hub:b")), ("weights", None, ("none",)),
    ("methods", ["simclr", "byol"], ("simclr", "byol")), ("methods", ("simclr",), ("simclr",)), ("methods", "simclr",
    "simclr"),
    ("label_column", "a\nb", "a\nb"), ("label_column", ["age", "size"], "age,size"), ("out", "a\x7fb\n", "a\x7fb\n"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "value", "plain"), WELCOME)
def test_what_programmers_hand_over_is_welcome(name: str, value: Any, plain: Any) -> None:
    found = getattr(Asked(**{name: value}), name)
    assert found == plain
    assert type(found) is type(plain)


@pytest.mark.parametrize(
    ("name", "value", "named"),
    [
        ("max_labels", True, "True"), ("max_labels", 20.5, "20.5"), ("max_labels", 1e30, "1e+30"), ("out", 3,
        "--out 3"),
        ("out", ["a"], "<list>"), ("workers", 1.5, "1.5"), ("workers", "²", "²"), ("image_size", "9" * 5000, "..."),
        ("seed", float("nan"), "nan"), ("methods", None, "None"), ("methods", [], "<list>"), ("backbone", None, "None"),
        ("device", None, "None"), ("device", "cuda:x", "cuda:x"), ("out", LONG, "256 bytes"), ("out", "\ud800",
        "UTF-8"),
        ("plan", "a\0b", "zero character"), ("label_column", 3, "--label-column 3"), ("seed", 10**400,
        "more than 60 digits"),
    ],
)  # fmt: skip
def test_a_refusal_names_keyword_and_value(name: str, value: Any, named: str) -> None:
    with pytest.raises(UserError) as refused:
        check(Asked(**{name: value}))
    assert named in str(refused.value)
    assert f"--{name.replace('_', '-')}" in str(refused.value) or name == "device"


PLACES = [v for v in NASTY if not isinstance(v, np.ndarray | torch.Tensor | Raises) and v != "auto"]


def calls(value: Any) -> dict[str, Any]:
    """Every other call of the public interface with this value in each place where a user may put one."""
    return {
        "resume": lambda: autossl.resume(value),
        "load": lambda: autossl.load(value),
        "Study": lambda: Study(value),
        "evaluate": lambda: jobs.evaluate(value),
        "train": lambda: jobs.train_on(value, None, "1h", "there"),
    }


@pytest.mark.parametrize("name", calls(None))
def test_other_calls_refuse_what_is_no_study(name: str, images: Path) -> None:
    for value in PLACES:
        with pytest.raises(UserError):
            calls(value)[name]()


@pytest.mark.parametrize("value", [None, 3, True, b"x.npz", 1.5, object(), "\ud800.npz", LONG, "a\0b", "", {"simclr"}])
def test_data_that_are_none(value: Any, images: Path) -> None:
    with pytest.raises(UserError):
        autossl.search(value)
    if isinstance(value, str):
        with pytest.raises(UserError):
            autossl.search(images, unlabeled=value)
        with pytest.raises(UserError):
            autossl.search(images.parent, labels=value)


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """A study that is known by its settings alone."""
    root = tmp_path / "study"
    root.mkdir()
    write_config(root / "config.toml", TOY)
    return root


def test_single_jobs_check_their_arguments_before_they_open_the_study(study: Path, tmp_path: Path) -> None:
    before = sorted(os.listdir(study))
    for candidate in (True, 1.5, "x", -1, [3], "²"):
        with pytest.raises(UserError, match="--candidate"):
            jobs.train_on(study, candidate, "1h", tmp_path / "e")  # type: ignore[arg-type]
    for limit in (True, "x", -1, [3], float("nan"), "9" * 400):
        with pytest.raises(UserError, match="time limit"):
            jobs.train_on(study, None, limit, tmp_path / "e")  # type: ignore[arg-type]
        with pytest.raises(UserError, match="time limit"):
            autossl.resume(study, limit)  # type: ignore[arg-type]
    for output in (None, 3, tmp_path / LONG, "/dev/null/x", "/proc/x", study, study / "config.toml" / "x"):
        with pytest.raises(UserError, match="--output"):
            jobs.train_on(study, None, "1h", output)  # type: ignore[arg-type]
    for value in (None, 3, "better", ["best"]):
        with pytest.raises(UserError, match="--candidate"):
            Study(study).export(tmp_path / "e", value)  # type: ignore[arg-type]
    assert not (tmp_path / "e").exists()
    assert sorted(set(os.listdir(study)) - {"lock"}) == before


@pytest.mark.parametrize("command", ["status", "leaderboard", "stop", "report", "resume", "dashboard"])
@pytest.mark.parametrize("name", [LONG, "a\nb", "\x1b[31m", "/dev/null/x", "/proc/x"])
def test_a_run_that_is_none_ends_in_one_line(command: str, name: str) -> None:
    result = CliRunner().invoke(main, [command, name])
    assert result.exit_code == 2, result.output
    assert len(result.output.splitlines()) == 1
    assert "\x1b" not in result.output


@pytest.mark.parametrize("port", ["x", "-1", "65536", "²", "9" * 5000])
def test_ports(port: str, study: Path) -> None:
    result = CliRunner().invoke(main, ["dashboard", str(study), f"--port={port}"])
    assert result.exit_code == 2
    assert result.output.count("\n") == 1
    assert "--port" in result.output


@pytest.mark.parametrize(
    "arguments", [["search"], ["serch"], ["search", "x", "--sed", "1"], ["list", "nothing"], ["embed", "a", "b"]]
)
def test_a_wrong_command_is_one_line(arguments: list[str]) -> None:
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 2
    assert result.output.count("\n") == 1
    assert "--help" in result.output
