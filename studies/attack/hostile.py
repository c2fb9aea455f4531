"""Hostile study folders, encoders and data: every command that reads one, with sockets refused and files watched."""

import json
import os
import pickle
import shutil
import tomllib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from studies.attack.acts import Make, call, command, good_npz, search, textures
from studies.attack.case import EITHER, ENDED, Case, Faults
from studies.attack.commands import READERS, with_study
from studies.attack.options import Runs
from studies.attack.study import STUDY, prepare

__all__ = ["cases", "prepare"]
ESCAPE, SCRIPT = "\x1b[31mred\x07", "<script>alert(1)</script>![x](http://127.0.0.1:9/x.png)"
URL = "http://127.0.0.1:9/x.pth"
WRITES = ("run", "copy", "enc", "z.npy", "out")
READ = ("status", "leaderboard", "report", "export", "embed", "evaluate", "train", "resume")
Change = Callable[[Path], object]


def cases(_: int) -> Sequence[Case]:
    """All changes of a study times all commands that read one; encoders; data."""
    found = []
    for name, change in {**_configs(), **_files()}.items():
        for reader in READ:
            args = (reader, "run", *READERS[reader]) if reader != "leaderboard" else (reader, "run", "--csv")
            found.append(_case(f"{reader}: {name}", command(*args), with_study(change)))
    for name, change in _encoders().items():
        for reader in ("embed", "load", "evaluate"):
            found.append(_case(f"{reader}: encoder with {name}", _reading(reader), _with_encoder(change)))
    return [*found, *_data()]


def _case(name: str, act: Callable[[], None], make: Make) -> Case:
    return Case(name, act, make, EITHER, until=ENDED, writes=WRITES, check=clean, codes=(0, 2, 3), seconds=60)


def clean(here: Path) -> Faults:
    """No marker of code that ran; no script or picture of another site in a page or a card."""
    found: Faults = [("code", f"{path.name} was made")for path in here.rglob("RAN-CODE*")]
    for page in (*here.rglob("*.html"), *here.rglob("README.md")):
        text = page.read_text(errors="replace") if page.is_file() and not page.is_symlink() else ""
        if "<script>alert(1)" in text or "![x](http" in text or "\x1b" in text:
            found.append(("other", f"a name stands unescaped in {page.relative_to(here)}"))
    return found


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
    "checkpoint_path": {"checkpoint_path": "w.pth"}, "pretrained": {"pretrained": True}, "a url": {"pretrained": True, "pretrained_cfg": {"url": URL}},
    "a file": {"pretrained": True, "pretrained_cfg": {"file": "w.pth"}}, "a hub": {"pretrained": True, "pretrained_cfg": {"hf_hub_id": "a/b"}}, "pretrained_cfg": {"pretrained_cfg": "hf-hub:a/b"},
    "pretrained_cfg_overlay": {"pretrained": True, "pretrained_cfg_overlay": {"url": URL}}, "cache_dir": {"pretrained": True, "cache_dir": OUTSIDE}, "scriptable": {"scriptable": True},
    "pretrained_strict": {"pretrained_strict": False, "checkpoint_path": "w.pth"}, "features_only": {"features_only": True}, "act_layer": {"act_layer": "os.system"}, "norm_layer": {"norm_layer": "eval"},
    "a huge size": {"img_size": 10**9}, "a negative stride": {"output_stride": -8}, "text": {"output_stride": "eight"}, "a list": {"block_args": [{}]}, "num_classes": {"num_classes": 10**12}, "in_chans": {"in_chans": 10**9},
}  # fmt: skip
NETWORKS = ("hf-hub:a/b", "hf_hub:a/b", "local-dir:w", "local-dir:/tmp", "../w", "resnet18.a1_in1k", "os.system", ESCAPE, SCRIPT, "", "a" * 300)


def _configs() -> dict[str, Change]:
    found: dict[str, Change] = {f"model_args {name}": _beside(configured(model_args=args)) for name, args in ARGUMENTS.items()}
    for at, storage in enumerate((f"sqlite:///{OUTSIDE}.db", "postgresql://127.0.0.1:9/db", "mysql://127.0.0.1:9/db", "sqlite:///:memory:", "journal:x", "redis://127.0.0.1:9", "x", 3, ["a"])):
        found[f"storage {at}"] = configured(storage=storage)
    for at, network in enumerate(NETWORKS):
        found[f"backbone {at}"] = _beside(configured(backbone=network))
    for key in ("study_name", "data", "task", "modality", "device", "weights", "space", "precision", "image_size", "time_limit", "methods", "label_column", "unlabeled", "left_out", "lacks", "version", "start"):
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


def _pickled() -> bytes:
    return pickle.dumps(Runs())


def _objects() -> bytes:
    import io

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


def _files() -> dict[str, Change]:
    """Pickles for arrays and weights, links that lead out, journals and records with odd names."""
    found: dict[str, Change] = {f"a link: {name}": _linked(name) for name in ("report.html", "state.json", "clock.json", "autossl.log", "stop", "encoder", "config.toml", "study.journal.lock")}
    for name in ("cache/*.npz", "cache/*.npy", "artifacts/*.npz", "checkpoints/*.pt", "encoder/*.safetensors", "model/*.safetensors", "data.json"):
        found[f"a pickle: {name}"] = _replaced(name, _pickled)
        if name.endswith(".npz"):
            found[f"objects: {name}"] = _replaced(name, _objects)
    for at, odd in enumerate((ESCAPE, SCRIPT, "../../x", "/etc/passwd")):
        quoted = json.dumps(odd)[1:-1]
        found[f"journal method {at}"] = _journal("simclr", quoted)
        found[f"classes {at}"] = lambda run, o=quoted: [p.write_text(p.read_text().replace('"0"', f'"{o}"')) for p in (run / "data.json", run / "model" / "config.json", run / "encoder" / "metrics.json")]  # type: ignore[misc]
        found[f"stage {at}"] = _state(stage=odd, finished=at % 2 == 0)
    found["journal candidate"] = _journal('"candidate":0', '"candidate":"../../x"')
    found["not finished"] = _state(finished=False, stage="testing once")
    found["result of text"] = _state(result=SCRIPT)
    return found


def _with_encoder(change: Callable[[dict[str, Any], Path], object]) -> Make:
    """An exported encoder in enc/ whose config.json is changed."""

    def make(here: Path) -> None:
        good_npz(here)
        shutil.copytree(STUDY.folder / "encoder", here / "enc")
        shutil.copytree(STUDY.folder, here / "run")
        torch.save(Runs(), here / "w.pth")
        torch.save(Runs(), here / "enc" / "w.pth")
        config = json.loads((here / "enc" / "config.json").read_text())
        change(config, here / "enc")
        for place in (here / "enc", here / "run" / "model"):
            (place / "config.json").write_text(json.dumps(config))

    return make


def _encoders() -> dict[str, Callable[[dict[str, Any], Path], object]]:
    found: dict[str, Callable[[dict[str, Any], Path], object]] = {}
    for name, args in ARGUMENTS.items():
        found[f"model_args {name}"] = lambda config, _, a=args: config["model_args"].update(a)  # type: ignore[misc]
        if "pretrained_cfg" in args and isinstance(args["pretrained_cfg"], dict):
            found[f"pretrained_cfg {name}"] = lambda config, _, a=args: config["pretrained_cfg"].update(a["pretrained_cfg"])  # type: ignore[misc]
    for at, network in enumerate(NETWORKS):
        found[f"architecture {at}"] = lambda config, _, n=network: config.update(architecture=n)  # type: ignore[misc]
    for key, values in {"image_size": (-1, 10**9, "x", None, 0), "scale": (0, -1, "x", 1e400), "mean": ([], "x", [1, 2, 3], [None]), "std": ([0.0], []), "upsample": (-1, 10**6, "x"), "dims": (3, 7, "x"), "window": (SCRIPT, 3)}.items():
        for value in values:
            found[f"{key} {value!r:.20}"] = lambda config, _, k=key, v=value: config["autossl"].update({k: v})  # type: ignore[misc]
    found["weights that are a pickle"] = lambda _, path: (path / "model.safetensors").write_bytes(_pickled())
    found["a header of 2^62"] = lambda _, path: (path / "model.safetensors").write_bytes((1 << 62).to_bytes(8, "little") + b"{}")
    found["weights that are a link"] = lambda _, path: ((path / "model.safetensors").unlink(), (path / "model.safetensors").symlink_to("/dev/zero"))
    found["labels with escapes"] = lambda config, _: config.update(num_classes=2, label_names=[ESCAPE, SCRIPT])
    return found


def _reading(reader: str) -> Callable[[], None]:
    if reader == "embed":
        return command("embed", "enc", "x.npz", "-o", "z.npy")
    if reader == "evaluate":
        return command("evaluate", "run", "--data", "x.npz")

    def load() -> None:
        import autossl

        encoder = autossl.load("enc")
        encoder.embed(textures(2)[0][..., None])

    return call(load)


def _data() -> Iterator[Case]:
    """Data whose names want to be code, tags or escapes: nothing of them may come out raw."""
    for at, name in enumerate((ESCAPE, SCRIPT, "$(touch RAN-CODE)", "`touch RAN-CODE`", "{{7*7}}", "{0.__class__}", "%(x)s", "../../x")):
        def make(here: Path, n: str = name) -> None:
            images, labels = textures()
            good_npz(here, labels=np.array([n, "b"])[labels])
            os.rename(here / "x.npz", here / f"{n.replace('/', '_')[:60]}.npz")

        file = f"{name.replace('/', '_')[:60]}.npz"
        yield Case(f"search: named {at}", search(file), make, EITHER, check=clean)
        yield Case(f"inspect: named {at}", command("inspect", file), make, EITHER, check=clean)
