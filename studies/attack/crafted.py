"""Study folders as somebody may send them: settings, weights, links and journals that want more than to be read."""

import io
import json
import pickle
import shutil
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from studies.attack.options import Runs

ESCAPE, SCRIPT = "\x1b[31mred\x07", "<script>alert(1)</script>![x](http://127.0.0.1:9/x.png)"
URL = "http://127.0.0.1:9/x.pth"
Change = Callable[[Path], object]


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{json.dumps(str(key))} = {_toml(item)}" for key, item in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return json.dumps(value).replace("\x7f", "\\u007f")


def configured(**changed: Any) -> Change:
    """config.toml with other values."""

    def change(run: Path) -> None:
        path = run / "config.toml"
        config = {**tomllib.loads(path.read_text()), **changed}
        path.write_text("\n".join(f"{key} = {_toml(value)}" for key, value in config.items()) + "\n")

    return change


OUTSIDE = "/tmp/autossl-attack-outside"
ARGUMENTS: dict[str, dict[str, Any]] = {
    "checkpoint_path": {"checkpoint_path": "w.pth"}, "pretrained": {"pretrained": True},
    "a url": {"pretrained": True, "pretrained_cfg": {"url": URL}},
    "a file": {"pretrained": True, "pretrained_cfg": {"file": "w.pth"}},
    "a hub": {"pretrained": True, "pretrained_cfg": {"hf_hub_id": "a/b"}},
    "pretrained_cfg": {"pretrained_cfg": "hf-hub:a/b"},
    "pretrained_cfg_overlay": {"pretrained": True, "pretrained_cfg_overlay": {"url": URL}},
    "cache_dir": {"pretrained": True, "cache_dir": OUTSIDE}, "scriptable": {"scriptable": True},
    "pretrained_strict": {"pretrained_strict": False, "checkpoint_path": "w.pth"},
    "features_only": {"features_only": True}, "act_layer": {"act_layer": "os.system"},
    "norm_layer": {"norm_layer": "eval"},
    "a huge size": {"img_size": 10**9}, "a negative stride": {"output_stride": -8},
    "text": {"output_stride": "eight"}, "a list": {"block_args": [{}]}, "num_classes": {"num_classes": 10**12},
    "in_chans": {"in_chans": 10**9},
}  # fmt: skip
NETWORKS = (
    "hf-hub:a/b",
    "hf_hub:a/b",
    "local-dir:w",
    "local-dir:/tmp",
    "../w",
    "resnet18.a1_in1k",
    "os.system",
    ESCAPE,
    SCRIPT,
    "",
    "a" * 300,
)


def configs() -> dict[str, Change]:
    found: dict[str, Change] = {
        f"model_args {name}": _beside(configured(model_args=args)) for name, args in ARGUMENTS.items()
    }
    for at, storage in enumerate(
        (
            f"sqlite:///{OUTSIDE}.db",
            "postgresql://127.0.0.1:9/db",
            "mysql://127.0.0.1:9/db",
            "sqlite:///:memory:",
            "journal:x",
            "redis://127.0.0.1:9",
            "x",
            3,
            ["a"],
        )
    ):
        found[f"storage {at}"] = configured(storage=storage)
    for at, network in enumerate(NETWORKS):
        found[f"backbone {at}"] = _beside(configured(backbone=network))
    for key in (
        "study_name",
        "data",
        "task",
        "modality",
        "device",
        "weights",
        "space",
        "precision",
        "image_size",
        "time_limit",
        "methods",
        "label_column",
        "unlabeled",
        "left_out",
        "lacks",
        "version",
        "start",
    ):
        for at, value in enumerate((ESCAPE, SCRIPT, "../../../x", URL, "/dev/zero", 10**15, [], {"a": 1}, True)):
            if (at + len(key)) % 3 == 0:
                found[f"{key} {at}"] = configured(**{key: value})
    return found


def _beside(change: Change) -> Change:
    """The change, and weights that run code beside the study, in the current folder and inside."""

    def changed(run: Path) -> None:
        change(run)
        for place in (run.parent / "w.pth", run / "w.pth", run.parent / "w" / "model.safetensors"):
            place.parent.mkdir(exist_ok=True)
            torch.save(Runs(), place)

    return changed


def _linked(name: str) -> Change:
    """A file of the study that is a link out of it: it must not be written through."""

    def change(run: Path) -> None:
        target = run.parent / "mine" / "thesis.txt"
        target.parent.mkdir(exist_ok=True)
        target.write_text("mine")
        path = run / name
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        path.symlink_to(target.parent if "." not in name else target)

    return change


def _replaced(name: str, data: Callable[[], bytes]) -> Change:
    return lambda run: [path.write_bytes(data()) for path in run.glob(name)]


def pickled() -> bytes:
    return pickle.dumps(Runs())


def _objects() -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, labels=np.array([Runs()], dtype=object), about=np.array([Runs()], dtype=object))
    return buffer.getvalue()


def _journal(old: str, new: str) -> Change:
    def change(run: Path) -> None:
        path = run / "study.journal"
        path.write_text(path.read_text().replace(old, new))

    return change


def _state(**changed: Any) -> Change:
    def change(run: Path) -> None:
        state = json.loads((run / "state.json").read_text())
        (run / "state.json").write_text(json.dumps({**state, **changed}))

    return change


def files() -> dict[str, Change]:
    """Pickles for arrays and weights, links that lead out, journals and records with odd names."""
    found: dict[str, Change] = {
        f"a link: {name}": _linked(name)
        for name in (
            "report.html",
            "state.json",
            "clock.json",
            "autossl.log",
            "stop",
            "encoder",
            "config.toml",
            "study.journal.lock",
        )
    }
    for name in (
        "cache/*.npz",
        "cache/*.npy",
        "artifacts/*.npz",
        "checkpoints/*.pt",
        "encoder/*.safetensors",
        "model/*.safetensors",
        "data.json",
    ):
        found[f"a pickle: {name}"] = _replaced(name, pickled)
        if name.endswith(".npz"):
            found[f"objects: {name}"] = _replaced(name, _objects)
    for at, odd in enumerate((ESCAPE, SCRIPT, "../../x", "/etc/passwd")):
        quoted = json.dumps(odd)[1:-1]
        found[f"journal method {at}"] = _journal("simclr", quoted)
        found[f"classes {at}"] = lambda run, o=quoted: [
            p.write_text(p.read_text().replace('"0"', f'"{o}"'))
            for p in (run / "data.json", run / "model" / "config.json", run / "encoder" / "metrics.json")
        ]
        found[f"stage {at}"] = _state(stage=odd, finished=at % 2 == 0)
    found["journal candidate"] = _journal('"candidate":0', '"candidate":"../../x"')
    found["not finished"] = _state(finished=False, stage="testing once")
    found["result of text"] = _state(result=SCRIPT)
    return found
