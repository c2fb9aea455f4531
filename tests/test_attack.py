"""The attack of studies/attack: what it must see, its table, and a selection of it against AutoSSL as it stands."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from studies.attack import formats
from studies.attack.case import EITHER, FINE, REFUSED, Case, Outcome
from studies.attack.privacy import FILE, PATIENT, told
from studies.attack.sandbox import run_case
from studies.attack.table import row, write_result
from studies.attack.values import turned

ROOT = Path(__file__).parents[1]
SELECTION = {
    "npz": 0.021,
    "tables": 0.021,
    "folders": 0.024,
    "options": 0.009,
    "calls": 0.009,
    "values": 0.0072,
    "fuzz": 0.012,
}


def say(text: str, code: int) -> None:
    print(text, file=sys.stderr)
    sys.exit(code)


def leave(path: Path, code: int) -> None:
    path.write_text("x")
    say("error: one sentence", code)


ACTS: dict[str, tuple[Callable[[], object], str]] = {
    "exit 1": (lambda: say("a fault", 1), "exit 1"),
    "an exception": (lambda: [][1], "traceback"),
    "no end": (lambda: time.sleep(60), "hang"),
    "a signal": (lambda: os.kill(os.getpid(), signal.SIGKILL), "crash"),
    "two lines": (lambda: say("error: one\nsentence", 2), "lines"),
    "a trace and exit 2": (lambda: say("Traceback (most recent call last):\nValueError", 2), "traceback"),
    "a file left": (lambda: leave(Path("left"), 2), "outside"),
    "a connection": (lambda: socket.create_connection(("127.0.0.1", 9)), "connection"),
    "a shell": (lambda: os.system("true"), "code"),
    "an escape": (lambda: print("\x1b[31m"), "other"),
    "exit 9": (lambda: sys.exit(9), "other"),
}


@pytest.mark.parametrize("name", ACTS)
def test_the_attack_sees(tmp_path: Path, name: str) -> None:
    act, kind = ACTS[name]
    outcome = run_case(Case(name, act, seconds=1), tmp_path / "case")
    assert kind in {found for found, _ in outcome.faults}, outcome
    assert not (tmp_path / "case").exists()


def test_the_attack_sees_a_file_elsewhere_and_nonsense_taken(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    outcome = run_case(Case("x", lambda: elsewhere.write_text("x")), tmp_path / "case")
    assert [kind for kind, _ in outcome.faults] == ["outside"]
    assert [kind for kind, _ in run_case(Case("x", lambda: None, expect=REFUSED), tmp_path / "case").faults] == [
        "silent"
    ]


@pytest.mark.parametrize(("expect", "code"), [(REFUSED, 2), (EITHER, 2), (FINE, 0)])
def test_what_is_as_expected_is_no_fault(tmp_path: Path, expect: str, code: int) -> None:
    assert run_case(Case("x", lambda: say("error: one sentence", code), expect=expect), tmp_path / "case").faults == []


def test_permissions_hold_for_a_case_that_asks_for_it(tmp_path: Path) -> None:
    def make(here: Path) -> None:
        (here / "closed").write_text("x")
        (here / "closed").chmod(0)

    outcome = run_case(Case("x", lambda: Path("closed").read_text(), make, plain=True), tmp_path / "case")
    assert "PermissionError" in outcome.faults[0][1]


@pytest.mark.parametrize("planar", [False, True])
@pytest.mark.parametrize("big", [False, True])
def test_the_writer_of_tiff_agrees_with_pillow_on_8_bits(tmp_path: Path, planar: bool, big: bool) -> None:
    image = np.random.default_rng(0).integers(0, 256, (9, 7, 3)).astype(np.uint8)
    (tmp_path / "a.tif").write_bytes(formats.tiff(image, big, planar, packed=planar, strips=2))
    (tmp_path / "a.png").write_bytes(formats.png(image))
    for name in ("a.tif", "a.png"):
        with Image.open(tmp_path / name) as found:
            assert np.array_equal(np.asarray(found), image)


@pytest.mark.parametrize("turn", range(1, 9))
def test_the_oracle_of_orientation_agrees_with_pillow(tmp_path: Path, turn: int) -> None:
    from PIL import ImageOps

    image = np.random.default_rng(0).integers(0, 256, (5, 8)).astype(np.uint8)
    (tmp_path / "a.png").write_bytes(formats.png(image, orientation=turn))
    with Image.open(tmp_path / "a.png") as found:
        found.load()
        assert np.array_equal(np.asarray(ImageOps.exif_transpose(found)), turned(image, turn))


def test_canaries_are_found_in_packed_and_coded_bytes() -> None:
    import base64
    import gzip
    import hashlib

    assert list(told(gzip.compress(f"x{PATIENT}001".encode("utf-16-le")), "a")) == [PATIENT]
    assert FILE in list(told(base64.b64encode(f"of {FILE}7".encode()), "a"))
    assert list(told(b"0" + hashlib.sha256(f"{PATIENT}000".encode()).hexdigest().encode(), "a")) == [
        "a digest of an id"
    ]
    assert list(told(b"nothing", "a")) == []


def test_the_table_counts_and_names_what_is_unexpected(tmp_path: Path) -> None:
    outcomes = [Outcome("fine"), Outcome("bad", [("exit 1", "a | fault\n")]), Outcome("absent", skipped="no disk")]
    figures = row(outcomes)
    assert (figures["tried"], figures["as expected"], figures["exits of 1"], figures["skipped"]) == (2, 1, 1, 1)
    text, bad = write_result({"npz": outcomes}, tmp_path, save=True)
    assert bad == 1
    assert "npz `bad`: **exit 1** a / fault" in text
    assert json.loads((tmp_path / "result.json").read_text())["unexpected"][0]["name"] == "bad"


def test_a_selection_of_the_attack(tmp_path: Path) -> None:
    chosen = [word for name, share in SELECTION.items() for word in ("--campaign", f"{name}={share}")]
    places = ["--work", str(tmp_path / "work"), "--result", str(tmp_path), "--lanes", "1"]
    command = [sys.executable, "-m", "studies.attack", *chosen, *places]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-2000:]
