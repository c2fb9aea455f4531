"""Study folders and encoders that somebody made to do harm, from a whole one: what they would do leaves a marker."""

import json
import os
import pickle
import shutil
import zipfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from autossl.model import export
from autossl.model.card import Preprocessing
from autossl.model.model import Meaning, Model
from autossl.nn.encoder import Encoder
from autossl.pretext import METHODS
from autossl.record.folder import Folder, read_json, read_toml, write_json, write_toml
from autossl.targets.readouts import Classifier
from autossl.trials.costs import Costs
from autossl.trials.plan import Plan
from autossl.trials.sizing import Method
from tests.test_report import CLASSES, CONFIG, RUNGS, STATE, finished

ESCAPE = "\x1b]8;;http://127.0.0.1:9/\x07\x1b[31mred\u202e\n[link=http://x]"  # a terminal's link, colour, another line
TRAPS = ("torch.py", "yaml.py", "sitecustomize.py", ".numba_config.yaml", "autossl/__init__.py")
PLAN = Plan(
    tuple(RUNGS), ("simclr", "rotation"), ("cnn_mae",),
    tuple(Method(name, METHODS[name].paradigm, 1, 1.0) for name in CONFIG["methods"]), 3,
)  # fmt: skip


class Bomb:
    """What unpickling runs."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.marker}",)


def whole(root: Path) -> Folder:
    """A finished study with its encoders, named so as to do harm on a terminal and in a model card."""
    more = {"plan": PLAN.to_dict(), "costs": asdict(Costs(dict.fromkeys(CONFIG["methods"], 1e-4), score=0.1))}
    folder = finished(root, **more)
    state = read_json(folder.state)
    state["stage"] = state["result"]["candidate"]["method"] = ESCAPE
    state["baselines"]["[/b]" + ESCAPE] = STATE["baselines"]["untrained"]
    write_json(folder.state, state)
    config = {**read_toml(folder.config), "metric": "balanced_accuracy", "methods": list(CONFIG["methods"])}
    write_toml(folder.config, {**config, "lacks": []}, "a test")
    torch.manual_seed(0)
    encoder = Encoder("test_resnet", 1, 16).eval()
    rng = np.random.default_rng(0)
    head = Classifier.of(rng.normal(size=(encoder.dim, 3)).astype(np.float32), np.zeros(3, np.float32))
    meaning = Meaning("classification", "classes", {"classes": list(CLASSES)})
    prepared = Preprocessing(16, 255.0, (0.5,), (0.3,))
    for place in (folder.encoder, folder.model, root / "baselines" / "supervised"):
        place.parent.mkdir(exist_ok=True)
        given = (None, None) if place == folder.encoder else (head, meaning)
        export.write(Model(encoder, prepared, *given), place, {"data": {"name": ESCAPE}})
    return folder


def copied(folder: Folder, to: Path) -> Folder:
    shutil.copytree(folder.root, to, symlinks=True)
    return Folder(to)


def told(folder: Folder, **config: Any) -> Folder:
    """The same study with other settings, which another program wrote."""
    values = {**read_toml(folder.config), **config}
    write_toml(folder.config, values, "hostile")
    return folder


def unfinished(folder: Folder) -> Folder:
    """The same study before its end, so that `resume` goes on with it."""
    state = read_json(folder.state)
    write_json(folder.state, {key: state[key] for key in ("baselines", "plan", "costs", "detectable")})
    return folder


def spoilt(folder: Folder, **settings: Any) -> Folder:
    """The same study, its exported encoders telling who reads them to make another network."""
    for place in (folder.encoder, folder.model, folder.root / "baselines" / "supervised"):
        file = place / "config.json"
        file.write_text(json.dumps({**json.loads(file.read_text()), **settings}))
    return folder


def trapped(folder: Folder, marker: Path) -> Folder:
    """Files that Python and libraries would read and run where this folder is the current one."""
    for name in TRAPS:
        place = folder.root / name
        place.parent.mkdir(exist_ok=True)
        place.write_text(f"open({str(marker)!r}, 'w')")
    (folder.root / ".numba_config.yaml").write_text(f"cache_dir: {folder.root}")
    (folder.root / "matplotlibrc").write_text("text.usetex: True\n")
    return folder


def pickled(path: Path, marker: Path) -> Path:
    """A pickle that is a torch file of the old form."""
    path.write_bytes(pickle.dumps(Bomb(marker)))
    return path


def pickled_archive(path: Path, marker: Path) -> Path:
    """The same as an .npz."""
    with zipfile.ZipFile(path, "w") as archive:
        member = (
            b"\x93NUMPY\x01\x00v\x00" + b"{'descr': '|O', 'fortran_order': False, 'shape': (1,), }".ljust(117) + b"\n"
        )
        archive.writestr("images.npy", member + pickle.dumps(Bomb(marker)))
    return path


def linked(folder: Folder, outside: Path) -> Folder:
    """Links that writing, or deleting, would follow."""
    for name, target in (("autossl.log", "log"), ("stop", "stop"), ("report.html", "report"), ("checkpoints", ".")):
        place = folder.root / name
        shutil.rmtree(place) if place.is_dir() else place.unlink(missing_ok=True)
        place.symlink_to(outside / target)
    return folder
