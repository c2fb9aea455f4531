"""The settings of a study: checked, resolved against the data, and compared when a folder is used again."""

import math
import re
from dataclasses import fields, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from autossl.data import CT, Source, default_image_size, positions
from autossl.data.truth import ALWAYS
from autossl.errors import UserError
from autossl.nn.encoder import Encoder, check_device, default_backbone, default_precision, dims_of, fit_to_size
from autossl.nn.weights import AUTO, NONE
from autossl.pretext import METHODS
from autossl.pretext.needs import lacking
from autossl.record.config import StudyConfig, read_config, read_settings
from autossl.record.folder import Folder, read_json
from autossl.record.offered import chosen_methods
from autossl.run import given
from autossl.run.asked import Asked
from autossl.trials.fitted import FLAT, VOLUMES_ONLY, served
from autossl.trials.space import read_space
from autossl.views.presets import Preset, preset

ACCOMPANIED = 0.25  # share of the images that must share their patient (their stack) with another for it to be of use
FREE = ("workers", "device", "left_out", "version", "given")  # may differ when a study goes on
OF_WEIGHTS = ("weights", "weights_sha256", "given", "start", "lacks")  # what follows from given weights
UNTIL_PLANNED = ("time_limit", "max_candidates")  # these only until its time is planned
# modalities as DICOM calls them, and their views; what is not here goes by its channels
OF_DICOM = {"CT": "ct", "MR": "mr", "US": "ultrasound", "IVUS": "ultrasound", "OPT": "oct"}
OF_DICOM |= dict.fromkeys(("CR", "DX", "MG", "RF", "XA", "IO", "PX"), "xray")
MOST_LISTED = 6  # methods that a message names


def resolve(
    asked: Asked, source: Source, *, data: str | None = None, unlabeled: str | None = None, labels: str | None = None
) -> StudyConfig:
    """Every setting of the study, with nothing left to guess; `data`, `unlabeled` and `labels` as it names them."""
    device, modality, channels = _device(asked), _modality(asked, source), source.channels
    encoder = _encoder(asked, source, device)
    found = given.given(asked.weights, source, encoder.image_size, encoder.name, device)
    # a method is tried from every start, so it must find in each encoder what it needs
    lacks = frozenset().union(*(
        _lacks(preset(modality, channels), source, each) for each in (encoder, *(one.encoder for one in found))
    ))  # fmt: skip
    tried, left_out = _served(asked, modality, channels, lacks)
    as_asked = {f.name: getattr(asked, f.name) for f in fields(StudyConfig) if hasattr(asked, f.name)}
    resolved: dict[str, Any] = dict(
        **given.settings(found, asked.weights, asked.start),
        data=data,
        unlabeled=unlabeled,
        labels=labels,
        space=asked.space if asked.space == "auto" else str(Path(asked.space).resolve()),
        time_limit=asked.limit,
        methods=tried,
        left_out=left_out,
        lacks=tuple(sorted(lacks)),
        modality=modality,
        backbone=encoder.name,
        model_args=encoder.model_args,
        upsample=encoder.upsample,
        image_size=encoder.image_size,
        windows=ALWAYS if source.truth.cropped else None,
        device=device,
        precision=default_precision(device, source.dims) if asked.precision == "auto" else asked.precision,
        workers=workers(asked, device),
        study_name=re.sub(r"[^A-Za-z0-9_.-]+", "-", f"{source.name}.{asked.task}.{encoder.name}"),
        version=version("autossl-imaging"),
    )
    return StudyConfig(**{**as_asked, **resolved})


def _device(asked: Asked) -> str:
    check_device(asked.device)
    if asked.device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    return asked.device


def _encoder(asked: Asked, source: Source, device: str) -> Encoder:
    """An encoder as it is without given weights; UserError for a size or a backbone that does not suit the images."""
    size = int(asked.image_size) if asked.image_size != "auto" else default_image_size(source)
    most, unit = (1024, "px") if source.dims == 2 else (256, "voxels")
    if not 8 <= size <= most:
        raise UserError(
            f"an image size between 8 and {most} {unit} was wanted, found --image-size {size}; choose one in between"
        )
    backbone = _backbone(asked, size, device, source.dims)
    model_args, upsample = fit_to_size(backbone, source.channels, size)
    return Encoder(backbone, source.channels, size, model_args=model_args, upsample=upsample)


def _backbone(asked: Asked, size: int, device: str, dims: int) -> str:
    """The backbone asked for, or the default.

    UserError if it takes images where there are volumes, or the reverse.
    """
    default = default_backbone(size, device, dims)
    backbone = default if asked.backbone == "auto" else asked.backbone
    if dims_of(backbone) != dims:
        raise UserError(
            f"a backbone for {'volumes' if dims == 3 else 'images'} was wanted, found --backbone {backbone}; "
            f"give {default}, or choose from autossl list backbones"
        )
    return backbone


def _modality(asked: Asked, source: Source) -> str:
    """The preset of views: as asked; microscopy for the sample of cells, ct for values in Hounsfield units and the
    sample of volumes, what the headers of DICOM say, otherwise by the number of channels."""
    if asked.modality != "auto":
        return asked.modality
    if source.window == CT or source.name == "sample:volumes":
        return "ct"
    if source.modality in OF_DICOM:
        return OF_DICOM[source.modality]
    return "microscopy" if source.name == "sample:cells" else "auto"


def _lacks(views: Preset, source: Source, encoder: Encoder) -> frozenset[str]:
    """What these images and this encoder do not have, of all that a method may need."""
    accompanied = float((np.bincount(source.groups)[source.groups] > 1).mean())
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


def _served(
    asked: Asked, modality: str, channels: int, lacks: frozenset[str]
) -> tuple[tuple[str, ...], dict[str, str]]:
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
    tried = tuple(m for m in order if m not in left_out)
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


def compare(folder: Folder, config: StudyConfig) -> None:
    """Refuse to go on with a study under other settings; UserError names the first difference.

    The file itself is compared, so that a setting which this version does not know is not passed over.
    """
    stored, asked = read_settings(folder.config), config.options
    free = FREE if "plan" in (read_json(folder.state) or {}) else (*FREE, *UNTIL_PLANNED)
    for key in (*asked, *(key for key in stored if key not in asked)):  # what users set stands first
        was, now = stored.get(key), asked.get(key)
        if key in free or was == now or _same(was, now):
            continue
        remedy = "give the same settings to go on with it, or another --out"
        if key == "time_limit":
            remedy = f"autossl resume {folder.root} goes on with it, and --time-limit there adds time"
        raise UserError(
            f"the study in {folder.root} was made with {key} = {_brief(was)}, found {key} = {_brief(now)}; {remedy}"
        )


def as_begun(folder: Folder, config: StudyConfig) -> StudyConfig:
    """These settings with the weights that a study began with, where it takes what it finds: there may be more now."""
    if not folder.has_begun or config.weights != (AUTO,):
        return config
    begun = read_config(folder.config)
    if begun.weights not in ((AUTO,), (NONE,)):
        return config
    same = {name: getattr(begun, name) for name in OF_WEIGHTS}
    # an encoder that lacks what others have may have left methods out
    return replace(config, **same) if begun.lacks == config.lacks else replace(config, **same, methods=begun.methods)


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
