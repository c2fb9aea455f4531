"""Hostile study folders, encoders and data: every command that reads one, with sockets refused and files watched."""

import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from studies.attack.acts import Make, call, command, good_npz, search, textures
from studies.attack.case import EITHER, ENDED, PLANNED, Case, Faults
from studies.attack.commands import READERS, with_study
from studies.attack.crafted import ARGUMENTS, ESCAPE, NETWORKS, SCRIPT, configs, files, pickled
from studies.attack.options import Runs
from studies.attack.study import STUDY, prepare

__all__ = ["cases", "prepare"]
WRITES = ("run", "copy", "enc", "z.npy", "out")
READ = ("status", "leaderboard", "report", "export", "embed", "evaluate", "train", "resume")


def cases(_: int) -> Sequence[Case]:
    """All changes of a study times all commands that read one; encoders; data."""
    found = []
    for at, (name, change) in enumerate({**configs(), **files()}.items()):
        all_of_them = name.startswith(("model_args", "storage", "backbone", "a link"))
        for reader in READ if all_of_them else [READ[(at + 3 * turn) % len(READ)] for turn in range(3)]:
            args = (reader, "run", *READERS[reader]) if reader != "leaderboard" else (reader, "run", "--csv")
            found.append(_case(f"{reader}: {name}", command(*args), with_study(change)))
    for name, crafted in _encoders().items():
        for reader in ("embed", "load"):
            found.append(_case(f"{reader}: encoder with {name}", _reading(reader), _with_encoder(crafted)))
    return [*found, *_data()]


def _case(name: str, act: Callable[[], None], make: Make) -> Case:
    end = PLANNED if name.startswith("resume") else ENDED
    return Case(name, act, make, EITHER, until=end, writes=WRITES, check=clean, codes=(0, 2, 3), seconds=60)


def clean(here: Path) -> Faults:
    """No marker of code that ran; no script or picture of another site in a page or a card."""
    found: Faults = [("code", f"{path.name} was made") for path in here.rglob("RAN-CODE*")]
    for page in (*here.rglob("*.html"), *here.rglob("README.md")):
        text = page.read_text(errors="replace") if page.is_file() and not page.is_symlink() else ""
        if "<script>alert(1)" in text or ("![x](http" in text and page.suffix == ".md") or "\x1b" in text:
            found.append(("other", f"a name stands unescaped in {page.relative_to(here)}"))
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
        found[f"model_args {name}"] = lambda config, _, a=args: config["model_args"].update(a)
        if "pretrained_cfg" in args and isinstance(args["pretrained_cfg"], dict):
            found[f"pretrained_cfg {name}"] = lambda config, _, a=args: config["pretrained_cfg"].update(
                a["pretrained_cfg"]
            )
    for at, network in enumerate(NETWORKS):
        found[f"architecture {at}"] = lambda config, _, n=network: config.update(architecture=n)
    for key, values in {
        "image_size": (-1, 10**9, "x", None, 0),
        "scale": (0, -1, "x", 1e400),
        "mean": ([], "x", [1, 2, 3], [None]),
        "std": ([0.0], []),
        "upsample": (-1, 10**6, "x"),
        "dims": (3, 7, "x"),
        "window": (SCRIPT, 3),
    }.items():
        for value in values:
            found[f"{key} {value!r:.20}"] = lambda config, _, k=key, v=value: config["autossl"].update({k: v})
    found["weights that are a pickle"] = lambda _, path: (path / "model.safetensors").write_bytes(pickled())
    found["a header of 2^62"] = lambda _, path: (path / "model.safetensors").write_bytes(
        (1 << 62).to_bytes(8, "little") + b"{}"
    )
    found["weights that are a link"] = lambda _, path: (
        (path / "model.safetensors").unlink(),
        (path / "model.safetensors").symlink_to("/dev/zero"),
    )
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
    for at, name in enumerate(
        (ESCAPE, SCRIPT, "$(touch RAN-CODE)", "`touch RAN-CODE`", "{{7*7}}", "{0.__class__}", "%(x)s", "../../x")
    ):

        def make(here: Path, n: str = name) -> None:
            labels = textures()[1]
            good_npz(here, labels=np.array([n, "b"])[labels])
            os.rename(here / "x.npz", here / f"{n.replace('/', '_')[:60]}.npz")

        file = f"{name.replace('/', '_')[:60]}.npz"
        yield Case(f"search: named {at}", search(file), make, EITHER, check=clean)
        yield Case(f"inspect: named {at}", command("inspect", file), make, EITHER, check=clean)
