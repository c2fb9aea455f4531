"""Nothing that is read runs code, asks the network or writes outside: every command that reads a study or an encoder
is run on hostile ones, in a process that refuses connections and tells what it did (tests/watched.py)."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib as mpl
import numpy as np
import pytest

import autossl
from autossl.record.folder import Folder
from autossl.trials import executor
from tests import hostile
from tests.hostile import ESCAPE, copied, spoilt, told, unfinished

HUB = "hf-hub:timm/resnet18.a1_in1k"
URL = {"pretrained": True, "pretrained_cfg": {"url": "http://127.0.0.1:9/x.pth"}}
EVERY = (  # what reads a study, by name, and what it is called with; calls in Python come after the commands
    "status RUN", "leaderboard RUN", "leaderboard RUN --csv", "report RUN", "stop RUN", "evaluate RUN", "resume RUN",
    "dashboard RUN --port 0", "embed RUN DATA -o OUT.npy", "export RUN OUT", "export RUN OUT --candidate model",
    "train RUN --time-limit 1s -o OUT", "search DATA --time-limit 3m --out RUN", "search DATA --plan RUN --out OUT",
    "compare RUN", "load RUN", "study RUN", "plan RUN",
)  # fmt: skip
NETWORK = ("evaluate", "resume", "embed", "train", "load")  # what makes a study's network, or loads an exported one
SAME = EVERY[12]  # a search that would go on with the study
EXPORTED = ("embed", "load")  # what reads the exported encoder alone


class Seen(NamedTuple):
    """What happened, by probe: exit code, events and output; the folder beside all others; the codes expected."""

    found: dict[str, dict[str, Any]]
    outside: Path
    codes: dict[str, int]


def probes(folder: Folder, data: Path, refused: Iterable[str], only: Iterable[str] = ()) -> list[dict[str, Any]]:
    """The calls of EVERY (`only` some) on this study; those whose name is in `refused` should end with 2."""
    found = []
    for number, line in enumerate(EVERY):
        name, out = line.split()[0], folder.root.with_name(f"{folder.root.name}-{number}")
        if only and name not in only and line not in only:
            continue
        words = {"RUN": str(folder.root), "DATA": str(data), "OUT": str(out), "OUT.npy": f"{out}.npy"}
        args = [words.get(word, word) for word in line.split()]
        call = {"dashboard": "served", "load": "load", "study": "study", "plan": "plan"}.get(name, "command")
        parts = [str(out.with_name(f".{out.name}.{part}")) for part in ("part", "npy.{pid}.part")]
        allowed = [str(folder.root), str(out), *parts, f"{out}.npy"]
        where = folder.root.with_name("repeated") if call == "plan" else folder.root
        found.append({
            "name": f"{folder.root.name}: {line}", "call": call, "allowed": [*allowed, str(where)],
            "args": args[1:] if call in ("load", "study", "plan") else args, "code": 2 if name in refused else 0,
        })  # fmt: skip
    return found


def given(top: Path, name: str, *args: str) -> dict[str, Any]:
    """A command that should end with 2 and leave nothing."""
    return {"name": name, "call": "command", "args": [*args, "--out", str(top / "o")], "code": 2, "allowed": []}


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Seen:
    top = tmp_path_factory.mktemp("security")
    outside, home, data = top / "outside", top / "home", top / "data.npz"
    for folder in (outside, home):
        folder.mkdir()
    marker = outside / "marker"
    labels = np.array(["a", "b"] * 30)
    np.savez(data, images=np.random.default_rng(0).integers(0, 255, (60, 16, 16), dtype=np.uint8), labels=labels)
    bomb, npz = hostile.pickled(top / "bomb.pth", marker), hostile.pickled_archive(top / "bomb.npz", marker)

    base = hostile.whole(top / "base")
    named = hostile.trapped(told(copied(base, top / "named"), storage=f"sqlite:///{outside}/db"), marker)
    title = told(copied(base, top / "title"), study_name=ESCAPE)
    path = {"checkpoint_path": str(bomb)}
    bombed = spoilt(unfinished(told(copied(base, top / "bombed"), model_args=path)), model_args=path)
    asking = spoilt(unfinished(told(copied(base, top / "asking"), model_args=URL)), model_args=URL)
    hub = spoilt(told(copied(base, top / "hub"), backbone=HUB), architecture=HUB)
    links = hostile.linked(copied(base, top / "links"), outside)
    early = told(copied(base, top / "early"), data="medmnist:bloodmnist", weights=str(bomb))
    early.data.unlink()  # so it has not begun
    brought = told(copied(early, top / "brought"), data=str(data))

    every = {line.split()[0] for line in EVERY}
    asked = [
        *probes(named, data, ["search"], every - {"search"} | {SAME}),
        *probes(title, data, (), ["status"]),
        *probes(bombed, data, NETWORK, [*NETWORK, "report", "export", "study"]),
        *probes(asking, data, NETWORK, NETWORK),
        *probes(hub, data, NETWORK, [*EXPORTED, "evaluate", "train"]),
        *probes(links, data, every - {*EXPORTED}),
        *probes(early, data, ["resume"], ["resume"]),
        *probes(brought, data, ["resume"], ["resume"]),
        given(top, "data", "search", str(npz)),
        given(top, "weights", "search", str(data), "--backbone", "test_resnet", "--weights", str(bomb)),
        given(top, "given archive", "search", str(data), "--backbone", "test_resnet", "--weights", str(npz)),
        given(top, "given encoder", "search", str(data), "--weights", str(bombed.encoder), "--backbone", HUB),
    ]
    found = _watched(top, home, named, asked)
    return Seen(found, outside, {"importing": 0, **{probe["name"]: probe["code"] for probe in asked}})


def _watched(top: Path, home: Path, current: Folder, asked: list[dict[str, Any]]) -> dict[str, Any]:
    """What a process did that was asked all this, in a current folder full of traps."""
    package = Path(autossl.__file__).parent
    caches = [package.resolve(), (package / "proxies").resolve(), mpl.get_cachedir(), home, os.devnull]
    plan = top / "plan.json"
    traps = [str(current.root / trap) for trap in hostile.TRAPS]
    plan.write_text(json.dumps({"allowed": list(map(str, caches)), "traps": traps, "probes": asked}))
    environ = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "TORCHINDUCTOR_CACHE_DIR")}
    own = {"HOME": str(home), "TMPDIR": str(home), "OMP_NUM_THREADS": "1", "MPLCONFIGDIR": mpl.get_cachedir()}
    command = [sys.executable, "-P", str(Path(__file__).with_name("watched.py")), str(plan)]
    done = subprocess.run(
        command, cwd=current.root, env={**environ, **own}, timeout=600, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(Path(f"{plan}.found").read_text())
    return found


def test_no_connection_no_program_no_write_outside_no_pickle(seen: Seen) -> None:
    assert {name: what["seen"] for name, what in seen.found.items() if what["seen"]} == {}
    assert list(seen.outside.iterdir()) == []
    assert not seen.outside.with_name("o").exists()


def test_every_command_ends_as_it_should(seen: Seen) -> None:
    ends = {name: (what["code"], what["output"][-600:]) for name, what in seen.found.items()}
    assert {name: end for name, end in ends.items() if end[0] != seen.codes[name]} == {}
    assert [name for name, (_, text) in ends.items() if "Traceback" in text] == []
    last = [text.splitlines()[-1] for code, text in ends.values() if code == 2]  # `resume` tells its progress before
    assert [line for line in last if not line.startswith("error: ")] == []


@pytest.mark.parametrize(("study", "word"), [("bombed", "'checkpoint_path'"), ("asking", "'pretrained'"), ("hub", HUB)])
def test_what_is_refused_is_named_with_its_file(seen: Seen, study: str, word: str) -> None:
    for call, file in (("embed RUN DATA -o OUT.npy", "config.json"), (EVERY[11], "config.toml")):
        assert word in (text := seen.found[f"{study}: {call}"]["output"])
        assert file in text


def test_nothing_that_a_terminal_obeys_is_printed(seen: Seen) -> None:
    assert "\\x1b]8;;" in seen.found["title: status RUN"]["output"]
    assert "\\x1b" in seen.found["named: leaderboard RUN"]["output"]
    ends = {"named: leaderboard RUN --csv": "\r"}
    odd = {
        name: [c for c in what["output"] if not c.isprintable() and c not in "\n" + ends.get(name, "")]
        for name, what in seen.found.items()
    }
    assert {name: found for name, found in odd.items() if found} == {}


def test_a_worker_imports_nothing_from_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, marker = Folder(tmp_path), tmp_path / "marker"
    hostile.trapped(folder, marker)
    monkeypatch.chdir(tmp_path)
    process = executor._start(folder, 0, 1, time.time())
    libraries = Path(f"/proc/{process.pid}/maps")  # where there are such: the true torch is there, so that will do
    while process.poll() is None and not (libraries.is_file() and "libtorch" in libraries.read_text()):
        time.sleep(0.05)
    process.kill()
    assert process.wait() != 0
    assert not marker.exists()
    assert "ModuleNotFoundError" not in folder.log.read_text()
