"""Faults are ours and told without names; full disks are the machine's; a refused call leaves nothing."""

import errno
import json
import os
import pickle
import shutil
import subprocess
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result

import autossl
from autossl.cli import exits
from autossl.cli.commands import main
from autossl.errors import MachineStopped, UserError
from autossl.errors.faults import account
from autossl.errors.machine import machine_faults, why_stopped
from autossl.record.config import write_config
from autossl.record.folder import Folder, check_folder, check_output, replace_file, write_json
from autossl.run import begin
from autossl.trials import executor
from tests.toy_config import TOY

CANARY = "ZZCANARY"


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments))


def refused(*arguments: str) -> str:
    """The one line of a command that ends with exit code 2."""
    result = run(*arguments)
    assert result.exit_code == 2, result.output
    assert len(result.output.splitlines()) == 1, result.output
    return result.output.strip()


@pytest.fixture
def images(tmp_path: Path) -> Path:
    path = tmp_path / "noise.npz"
    x = np.random.default_rng(0).integers(0, 256, (60, 16, 16), dtype=np.uint8)
    np.savez(path, images=x, labels=np.arange(60) % 2)
    return path


# Faults of ours


@pytest.fixture
def broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, where every command meets a fault that names a file."""
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)

    def fail(*_: Any, **__: Any) -> None:
        try:
            raise KeyError(f"/home/{CANARY}/patient.png")
        except KeyError:
            raise OSError(errno.EPROTO, f"no way to {CANARY}", f"/home/{CANARY}.png") from ValueError(CANARY)

    monkeypatch.setattr("autossl.run.opening.open_data", fail)
    return here


def test_a_fault_is_logged_without_a_name_of_a_file(broken: Path) -> None:
    result = run("inspect", f"{CANARY}.npz")
    assert result.exit_code == 1
    assert len(result.output.splitlines()) == 1
    assert "a fault in AutoSSL (OSError)" in result.output
    assert "autossl-fault.log" in result.output
    text = (broken / "autossl-fault.log").read_text()
    assert CANARY not in text + result.output
    assert str(Path(autossl.__file__).parent) not in text
    for told in ("OSError (EPROTO", "ValueError", "autossl.cli.commands, line", "source = open_data(", "torch 2."):
        assert told in text


def test_where_the_current_folder_takes_no_log_another_does(
    broken: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.mkfifo(broken / "autossl-fault.log")  # writing to it would wait for a reader
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    result = run("inspect", "x.npz")
    assert result.exit_code == 1
    assert len(result.output.splitlines()) == 1
    log = next((tmp_path / "temporary").iterdir())
    assert str(log) in result.output
    assert "OSError (EPROTO" in log.read_text()


def test_where_nothing_takes_a_log_the_line_has_it_all(broken: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (broken / "autossl-fault.log").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", "/proc")
    result = run("inspect", "x.npz")
    assert result.exit_code == 1
    assert len(result.output.splitlines()) == 1
    assert "OSError (EPROTO" in result.output
    assert CANARY not in result.output


def test_a_fault_of_a_study_is_in_its_log(broken: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = Folder(tmp_path / "study")
    folder.make()
    write_config(folder.config, TOY)
    write_json(folder.data, {"images": 1})

    def fail(*_: object) -> None:
        raise TypeError(CANARY)

    monkeypatch.setattr("autossl.run.controller.mend", fail)
    result = run("resume", str(folder.root), "--quiet")
    assert result.exit_code == 1
    assert str(folder.log) in result.output
    text = folder.log.read_text()
    assert "TypeError" in text
    assert CANARY not in text
    assert not (broken / "autossl-fault.log").exists()


def test_a_fault_of_a_worker_names_no_file(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    root = tmp_path / f"{CANARY}study"
    root.mkdir()
    write_config(root / "config.toml", TOY)
    (root / "cache").mkdir()
    np.savez(root / "cache" / "data.npz", about=np.array(json.dumps({"name": CANARY})))
    np.save(root / "cache" / "images.npy", np.zeros(3))
    with pytest.raises(SystemExit):
        executor.guarded(str(os.getppid()), str(root), "0", "1", "0")
    assert "a fault of this worker" in caplog.text
    assert "UserError" in caplog.text
    assert CANARY not in caplog.text


def test_an_account_of_a_fault_ends_where_it_began() -> None:
    first, second = ValueError("a"), KeyError("b")
    first.__cause__, second.__cause__ = second, first  # a ring
    assert account(first).count("ValueError") == 1


# The machine's


@pytest.fixture
def tiny() -> Iterator[Path]:
    """A file system of a megabyte."""
    place = Path(tempfile.mkdtemp())
    mounted = shutil.which("mount") and subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place)], capture_output=True, check=False
    )
    if not mounted or mounted.returncode:
        place.rmdir()
        pytest.skip("no small file system can be mounted here")
    yield place
    subprocess.run(["umount", str(place)], check=True)
    place.rmdir()


@pytest.mark.parametrize("size", [1 << 18, 1 << 20, 1 << 23])
def test_a_full_disk_stops_a_checkpoint_as_the_machine_does(tiny: Path, size: int) -> None:
    """torch reports it as a RuntimeError of another name."""
    state = {f"layer {k}": torch.rand(size // 16) for k in range(16)}
    replace_file(tiny / "small.pt", lambda file: torch.save({"a": torch.rand(8)}, file))
    with pytest.raises(MachineStopped, match="No space left on device"):
        replace_file(tiny / "big.pt", lambda file: torch.save(state, file))
    assert [p.name for p in tiny.iterdir()] == ["small.pt"]
    with pytest.raises(MachineStopped, match="No space left on device"):
        replace_file(tiny / "big.npz", lambda file: np.savez(file, a=np.random.rand(size)))
    assert [p.name for p in tiny.iterdir()] == ["small.pt"]


def test_a_full_disk_stops_weights_and_embeddings(tiny: Path, tmp_path: Path) -> None:
    from safetensors.torch import save_file

    with pytest.raises(MachineStopped, match="No space left on device"), machine_faults():
        save_file({"a": torch.rand(1 << 20)}, tiny / "a.safetensors")
    with pytest.raises(MachineStopped, match="No space left on device"), machine_faults():
        replace_file(tiny / "z.npy", lambda file: np.save(file, np.zeros((1 << 18, 2))))


def test_a_full_disk_is_exit_4_and_one_line(tiny: Path) -> None:
    x = np.random.default_rng(0).integers(0, 256, (400, 64, 64), dtype=np.uint8)
    place = tiny.parent / f"{tiny.name}.npz"
    np.savez(place, images=x, labels=np.arange(400) % 2)
    try:
        result = run("search", str(place), "--out", str(tiny / "run"), "--quiet")
    finally:
        place.unlink()
    assert result.exit_code == 4, result.output
    assert len(result.output.splitlines()) == 1
    assert "No space left on device" in result.output
    assert "free space, then run autossl resume" in result.output


@pytest.mark.parametrize(
    "fault",
    [
        MemoryError(), OSError(errno.ENOMEM, "Cannot allocate memory"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:125] . DefaultCPUAllocator: can't allocate memory: you tried"),
    ],
)  # fmt: skip
def test_a_lack_of_memory_is_exit_4(fault: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise fault

    monkeypatch.setattr("autossl.run.opening.open_data", fail)
    result = run("inspect", "x.npz")
    assert result.exit_code == 4
    assert "out of memory" in result.output
    with pytest.raises(MachineStopped, match="out of memory"), machine_faults():
        fail()


def test_torch_says_so_when_memory_is_used_up() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(1 << 50)
    assert "out of memory" in str(why_stopped(caught.value))
    assert why_stopped(RuntimeError("shapes do not match")) is None


# Refusals leave nothing


def out_of_ours(tmp_path: Path) -> dict[str, str]:
    """Places where no study can be."""
    (tmp_path / "file").write_text("mine")
    for name in ("locked", "piped"):
        (tmp_path / name).mkdir()
    (tmp_path / "locked" / "lock").mkdir()
    os.mkfifo(tmp_path / "piped" / "lock")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    return {
        "a lock that is a folder": str(tmp_path / "locked"),
        "a lock that is a pipe": str(tmp_path / "piped"),
        "a pipe": str(tmp_path / "pipe"),
        "a dangling link": str(tmp_path / "dangling"),
        "under a file": str(tmp_path / "file" / "x"),
        "under a device": "/dev/null/x",
        "a device": "/dev/null",
        "in proc": "/proc/x",
        "a long name": str(tmp_path / ("n" * 300)),
        "a long name below": str(tmp_path / "deep" / ("n" * 300) / "x"),
        "no UTF-8": str(tmp_path / "m\udcff"),
    }


def listed(root: Path) -> list[str]:
    return sorted(str(p.relative_to(root)) for p in root.rglob("*"))


PLACES = [
    "a lock that is a folder", "a lock that is a pipe", "a pipe", "a dangling link", "under a file", "under a device",
    "a device", "in proc", "a long name", "a long name below", "no UTF-8",
]  # fmt: skip


@pytest.mark.parametrize("name", PLACES)
def test_a_place_where_no_study_can_be_is_refused_and_left_as_it_was(name: str, images: Path, tmp_path: Path) -> None:
    place = out_of_ours(tmp_path)[name]
    before = listed(tmp_path)
    refused("search", str(images), "--out", place, "--backbone", "test_resnet", "--quiet")
    assert listed(tmp_path) == before


@pytest.mark.parametrize("name", [place for place in PLACES if "lock" not in place])
def test_a_place_for_no_output_is_refused_before_the_work(name: str, tmp_path: Path) -> None:
    place = Path(out_of_ours(tmp_path)[name])
    before = listed(tmp_path)
    for check in (check_output, check_folder):
        with pytest.raises(UserError):
            check(place, "--output")
    assert listed(tmp_path) == before
    for command in (["embed", "e", "x.npz", "-o"], ["inspect", "x.npz", "--views", "--out"]):
        if name != "a device" or command[0] != "embed":  # which appends .npy
            assert "place" in refused(*command, str(place)) or name != "under a file"
    assert listed(tmp_path) == before


def test_outputs_that_can_be_made_are_not_made_by_the_check(tmp_path: Path) -> None:
    check_output(tmp_path / "z.npy", "--output")
    with pytest.raises(UserError, match=r"ends in \.html was wanted"):
        check_output(tmp_path / "z.npy", "--output", ".html", ".htm")
    check_folder(tmp_path / "a" / "b", "--output")
    (tmp_path / "empty").mkdir()
    check_folder(tmp_path / "empty", "--output")
    assert listed(tmp_path) == ["empty"]


def test_a_lock_of_a_study_that_is_a_pipe_does_not_hold_us_up(tmp_path: Path) -> None:
    write_config(tmp_path / "config.toml", TOY)
    os.mkfifo(tmp_path / "lock")
    assert "pipe" in refused("resume", str(tmp_path), "--quiet")


@pytest.mark.parametrize("fault", [TypeError("x"), RuntimeError("x"), KeyError("x"), UserError("x"), OSError("x")])
def test_a_call_that_fails_before_its_study_began_leaves_nothing(
    fault: Exception, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "deep" / "run"

    def fail(*_: Any, **__: Any) -> None:
        assert (out / "config.toml").is_file()
        raise fault

    monkeypatch.setattr(begin, "prepare", fail)
    with pytest.raises(type(fault)):
        autossl.search(images, out=out, time_limit="5m", backbone="test_resnet")
    assert listed(tmp_path) == ["noise.npz"]


def test_a_call_with_a_slip_can_be_made_again(images: Path, tmp_path: Path) -> None:
    for labels in (True, 20.5, "20.5", None):
        with pytest.raises(UserError):
            autossl.search(images, out=tmp_path / "run", max_labels=labels, time_limit="1s")  # type: ignore[arg-type]
    assert listed(tmp_path) == ["noise.npz"]


# One line


def test_names_stand_on_one_line_and_do_nothing(tmp_path: Path) -> None:
    sentence = refused("search", str(tmp_path / "a\nb\x1b[31m\u202e.npz"), "--out", str(tmp_path / "o"))
    assert r"a\nb\x1b[31m\u202e.npz" in sentence


def test_no_warning_of_a_library_comes_before_a_sentence(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """torch warns of a pickle before it refuses it."""
    (tmp_path / "w.pt").write_bytes(pickle.dumps({"a": print}))
    shown: list[object] = []
    monkeypatch.setattr(warnings, "showwarning", lambda *given, **_: shown.append(given))
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        sentence = refused("search", str(images), "--weights", str(tmp_path / "w.pt"), "--backbone", "test_resnet")
        assert sentence.startswith("error: weights that load without running code")
        assert not shown
        with pytest.raises(UserError):
            autossl.search(images, weights=tmp_path / "w.pt", backbone="test_resnet")
        assert shown  # a programmer is told


def test_output_with_names_in_no_encoding_is_printed(tmp_path: Path) -> None:
    place = tmp_path / "m\udcff"
    place.mkdir()
    assert refused("status", str(place)).startswith("error: ")


def test_an_edge_that_has_nowhere_to_write_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exits, "_kept", lambda *_: None)
    assert exits._fault(ValueError(CANARY)).startswith("a fault in AutoSSL (ValueError); please report it: Python 3.")
