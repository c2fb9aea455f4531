"""The settings of a study: checked, resolved against the data, and compared when a folder is used again."""

import math
import os
import re
from dataclasses import dataclass, fields
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from autossl.data import CT, Source, default_image_size, positions
from autossl.errors import UserError
from autossl.errors.keywords import COLUMNS, DEVICE, DURATION, NAMES, PATH, TEXT, WORDS, one_of, optional, whole
from autossl.nn.encoder import Encoder, check_device, default_backbone, default_precision, dims_of, fit_to_size
from autossl.nn.weights import file_of, load_weights, sha256
from autossl.pretext import METHODS
from autossl.pretext.needs import lacking
from autossl.record.clock import seconds
from autossl.record.folder import Folder, read_json, read_toml
from autossl.targets import target_class
from autossl.trials.limits import check_limit
from autossl.trials.space import FLAT, VOLUMES_ONLY, read_space, served
from autossl.views.presets import Preset, preset

ACCOMPANIED = 0.25  # share of the images that must share their patient (their stack) with another for it to be of use
FREE = ("workers", "device", "left_out", "version")  # may differ when a study goes on
UNTIL_PLANNED = ("time_limit", "max_candidates")  # these only until its time is planned
MOST_LISTED = 6  # methods that a message names
UNSTORED = ("out", "methods", "plan", "storage")
MOST_SEED = 2**32 - 1  # what NumPy's and Optuna's generators take
MOST_WORKERS = 1024
COUNT = optional(whole(1, wanted="a positive whole number", remedy="give 1 or more"))
KINDS = {  # what each keyword of a search takes, in Python and on the command line
    "task": TEXT,
    "label_column": optional(COLUMNS),
    "patient_column": optional(TEXT),
    "missing": optional(WORDS),
    "order": optional(WORDS),
    "max_labels": COUNT,
    "metric": TEXT,
    "adaptation": one_of("auto", "frozen", "finetune"),
    "weights": optional(PATH),
    "start": one_of("auto", "weights", "random"),
    "time_limit": DURATION,
    "max_candidates": COUNT,
    "space": PATH,
    "methods": NAMES,
    "backbone": TEXT,
    "image_size": whole(8, 1024, "auto", wanted="an image size between 8 and 1024 px", remedy="give 64, say, or auto"),
    "modality": TEXT,
    "out": optional(PATH),
    "storage": optional(TEXT),
    "workers": whole(1, MOST_WORKERS, "auto", wanted="a number of workers", remedy="give 1 or more, or auto"),
    "executor": one_of("local"),
    "device": DEVICE,
    "precision": one_of("auto", "fp32", "bf16"),
    "plan": optional(PATH),
    "seed": whole(0, MOST_SEED),
}  # fmt: skip


@dataclass(frozen=True)
class Asked:
    """What a user asked for; the words are the same in Python and on the command line."""

    task: str = "classification"
    label_column: str | None = None
    patient_column: str | None = None
    missing: str | None = None
    order: str | None = None
    max_labels: int | None = None
    metric: str = "auto"
    adaptation: str = "auto"
    weights: str | None = None
    start: str = "auto"
    time_limit: str | float | None = "8h"
    max_candidates: int | None = None
    space: str = "auto"
    methods: str | tuple[str, ...] = "all"
    backbone: str = "auto"
    image_size: int | str = "auto"
    modality: str = "auto"
    out: str | None = None
    storage: str | None = None
    workers: int | str = "auto"
    executor: str = "local"
    device: str = "auto"
    precision: str = "auto"
    plan: str | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        for name, kind in KINDS.items():
            object.__setattr__(self, name, kind.take(_option(name), getattr(self, name)))

    @property
    def limit(self) -> float | None:
        """Seconds, or None; an earlier study is repeated without a limit."""
        return None if self.plan is not None else seconds(self.time_limit)

    def check(self) -> None:
        """Refuse what can be refused before any file is opened; UserError."""
        target_class(self.task)({}, self.metric).adaptation(self.adaptation, 0)
        limit = self.limit
        check_limit(limit)
        if limit is None and self.max_candidates is None and self.plan is None:
            raise UserError(
                "a study without a time limit must end somehow, found neither; give --max-candidates as well"
            )
        if self.storage is not None:
            raise UserError("a study in its folder was wanted, found --storage, which is not served yet; leave it out")
        if self.start == "weights" and self.weights is None:
            raise UserError(
                "weights to start from were wanted, found --start weights alone; give --weights FILE as well"
            )
        chosen_methods(self.methods)
        if self.modality != "auto":
            preset(self.modality, channels=1)
        check_device(self.device)


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def chosen_methods(methods: str | tuple[str, ...] | list[str]) -> tuple[str, ...]:
    """Methods by name ("all", "simclr,byol" or a list); UserError for an unknown one."""
    if methods == "all":
        return tuple(METHODS)
    listed = methods.split(",") if isinstance(methods, str) else methods
    names = tuple(dict.fromkeys(name.strip() for name in listed))
    for name in names:
        if name not in METHODS:
            raise UserError(f"a method was wanted ({', '.join(METHODS)}), found --methods {name!r}; choose from these")
    return names


def resolve(asked: Asked, source: Source, description: dict[str, Any]) -> dict[str, Any]:
    """Every setting of the study, with nothing left to guess: what config.toml holds."""
    channels = source.channels
    device = asked.device
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    size = int(asked.image_size) if asked.image_size != "auto" else default_image_size(source)
    most, unit = (1024, "px") if source.dims == 2 else (256, "voxels")
    if not 8 <= size <= most:
        raise UserError(
            f"an image size between 8 and {most} {unit} was wanted, found --image-size {size}; choose one in between"
        )
    backbone = _backbone(asked, size, device, source.dims)
    model_args, upsample = fit_to_size(backbone, channels, size)
    encoder = Encoder(backbone, channels, size, model_args=model_args, upsample=upsample)
    if asked.weights is not None:
        load_weights(encoder, asked.weights)  # refused here, not when there is a study
    lacks = _lacks(preset(_modality(asked, source), channels), source, encoder)
    tried, left_out = _served(asked, _modality(asked, source), channels, lacks)
    limit = asked.limit
    return {
        **description,
        **{f.name: getattr(asked, f.name) for f in fields(asked) if f.name not in UNSTORED},
        **_given(asked),
        "space": asked.space if asked.space == "auto" else str(Path(asked.space).resolve()),
        "time_limit": "none" if limit is None else limit,
        "methods": list(tried),
        "left_out": left_out,
        "lacks": sorted(lacks),
        "modality": _modality(asked, source),
        "backbone": backbone,
        "model_args": model_args,
        "upsample": upsample,
        "image_size": size,
        "device": device,
        "precision": default_precision(device, source.dims) if asked.precision == "auto" else asked.precision,
        "workers": workers(asked, device),
        "study_name": re.sub(r"[^A-Za-z0-9_.-]+", "-", f"{source.name}.{asked.task}.{backbone}"),
        "version": version("autossl-imaging"),
    }


def _given(asked: Asked) -> dict[str, str | None]:
    """The user's weights, and whether candidates start from them; nothing where there are none."""
    if asked.weights is None:
        return {"weights": None, "weights_sha256": None, "start": None}
    file = os.path.abspath(file_of(asked.weights))  # a link stays one: what it leads to may be called anything
    start = "weights" if asked.start == "auto" else asked.start
    return {"weights": file, "weights_sha256": sha256(file), "start": start}


def _backbone(asked: Asked, size: int, device: str, dims: int) -> str:
    """The backbone asked for or the default; UserError if it takes images where there are volumes, or the reverse."""
    default = default_backbone(size, device, dims)
    backbone = default if asked.backbone == "auto" else asked.backbone
    if dims_of(backbone) != dims:
        raise UserError(
            f"a backbone for {'volumes' if dims == 3 else 'images'} was wanted, found --backbone {backbone}; "
            f"give {default}, or choose from autossl list backbones"
        )
    return backbone


def _modality(asked: Asked, source: Source) -> str:
    """The preset of views: as asked; microscopy for the sample of cells, ct for volumes in Hounsfield units and the
    sample of volumes, otherwise by the number of channels."""
    if asked.modality != "auto":
        return asked.modality
    if source.window == CT or source.name == "sample:volumes":
        return "ct"
    return "microscopy" if source.name == "sample:cells" else "auto"


def _lacks(views: Preset, source: Source, encoder: Encoder) -> frozenset[str]:
    """What these images and this encoder do not have, of all that a method may need."""
    groups = source.groups
    accompanied = 0.0 if groups is None else float((np.bincount(groups)[groups] > 1).mean())
    found = {
        "colour": source.channels != 3,
        "patients": accompanied < ACCOMPANIED,
        FLAT: encoder.dims == 3,
        VOLUMES_ONLY: encoder.dims == 2,
    }
    lacks = views.lacks | lacking(encoder)
    if encoder.dims == 2:  # of volumes the modality says whether slices run one known way, of images a column
        along = positions(source)
        lacks -= {"order"}
        found["order"] = along is None or float(np.isfinite(along).mean()) < ACCOMPANIED
    return lacks | {name for name, missing in found.items() if missing}


def _served(asked: Asked, modality: str, channels: int, lacks: frozenset[str]) -> tuple[list[str], dict[str, str]]:
    """Methods that this data set and encoder can serve, in the order of the prior, and why the others are left out."""
    chosen, views = chosen_methods(asked.methods), preset(modality, channels)
    space, unserved = served(read_space(asked.space), lacks)
    order = [m for m in views.methods if m in chosen] + [m for m in chosen if m not in views.methods]
    left_out: dict[str, str] = {}
    for name in order:
        if name in unserved:
            left_out[name] = unserved[name]
        elif name not in space:
            left_out[name] = "not in the search space"
    tried = [m for m in order if m not in left_out]
    if len({METHODS[m].paradigm for m in tried}) == 0:
        why = "; ".join(f"{m}: {reason}" for m, reason in left_out.items())
        raise UserError(
            f"at least one method that this data set and encoder can serve was wanted, found none ({why}); "
            "give --methods all"
        )
    return tried, left_out


def workers(asked: Asked, device: str) -> int:
    """How many workers: one on a CPU, one per GPU, or as asked."""
    if asked.workers == "auto":
        return max(1, torch.cuda.device_count()) if device.startswith("cuda") else 1
    return int(asked.workers)


def compare(folder: Folder, config: dict[str, Any]) -> None:
    """Refuse to go on with a study under other settings; UserError names the first difference."""
    stored = read_toml(folder.config)
    free = FREE if "plan" in (read_json(folder.state) or {}) else (*FREE, *UNTIL_PLANNED)
    for key in (*config, *(key for key in stored if key not in config)):  # what users set stands first
        was, now = stored.get(key), config.get(key)
        if key in free or was == now or _same(was, now):
            continue
        remedy = "give the same settings to go on with it, or another --out"
        if key == "time_limit":
            remedy = f"autossl resume {folder.root} goes on with it, and --time-limit there adds time"
        raise UserError(
            f"the study in {folder.root} was made with {key} = {_brief(was)}, found {key} = {_brief(now)}; {remedy}"
        )


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, float | int) and isinstance(b, float | int):
        return math.isclose(a, b)
    return (a or None) == (b or None)


def _brief(value: Any) -> str:
    if isinstance(value, list) and len(value) > MOST_LISTED:
        return f"{', '.join(map(str, value[:MOST_LISTED]))} and {len(value) - MOST_LISTED} more"
    if isinstance(value, list) and value:
        return ", ".join(map(str, value))
    return "nothing" if value in (None, {}, []) else f"{value!r}"


def default_out(name: str, task: str) -> Path:
    """runs/NAME-TASK in the current folder."""
    return Path("runs") / f"{re.sub(r'[^A-Za-z0-9_.-]+', '-', name)}-{task}"
