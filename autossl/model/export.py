"""A model as a folder that timm or MONAI loads: safetensors, config.json, model card, metrics."""

import copy
import json
import platform
import shutil
from collections.abc import Mapping
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from timm.models._hub import save_for_hf

from autossl.errors.machine import machine_faults
from autossl.model import recipe
from autossl.model.card import card, steps_of
from autossl.model.ensemble import Ensemble
from autossl.model.export_volumes import write_bundle, write_network
from autossl.model.front import FEATURES
from autossl.model.model import Model
from autossl.nn.networks import create
from autossl.nn.sight import PLAIN
from autossl.targets.readouts import Classifier

PACKAGES = ("torch", "timm", "monai", "optuna", "numpy", "scikit-learn")
READOUT = "readout.safetensors"
FORMAT = 2  # 1: a head was a timm classifier or, of a network for volumes, head.safetensors

OF_EACH = ("data", "seeds", "limits", "start")  # facts about a study, true of each of its networks
ORIGIN = ("tag", "origin_url", "license", "paper_ids", "paper_name", "notes", "description")  # of timm's weights


def write(model: Model, path: Path, facts: Mapping[str, Any]) -> None:
    """Write a model to `path`, whole or not at all; of several that answer together each is in a folder of its own."""
    part = path.with_name(f".{path.name[:50]}.part")
    with machine_faults():
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        if isinstance(model, Ensemble):
            _write_members(model, part, facts)
        else:
            _write_network(model, part)
        metrics = {**facts, "versions": {name: version(name) for name in PACKAGES}, "python": platform.python_version()}
        (part / "metrics.json").write_text(json.dumps(metrics, indent=1))
        members = [member.encoder.name for member in model.models] if isinstance(model, Ensemble) else []
        hub = FEATURES if model.meaning is None else model.target.hub
        words = card(model.encoder, model.preprocessing, metrics, model.classes, model.readout, members, hub)
        (part / "README.md").write_text(words)
        for weights in part.glob("*.safetensors"):  # written for its owner alone, unlike the files beside it
            weights.chmod((part / "README.md").stat().st_mode)
        shutil.rmtree(path, ignore_errors=True)
        part.rename(path)


def _write_members(model: Ensemble, part: Path, facts: Mapping[str, Any]) -> None:
    """A folder for each, with what is true of each alone, and their list."""
    names = [f"network-{number}" for number in range(1, len(model.models) + 1)]
    for name, member in zip(names, model.models, strict=True):
        write(member, part / name, {key: facts[key] for key in OF_EACH if key in facts})
    (part / "config.json").write_text(json.dumps({"members": names, "autossl": {"format": FORMAT}}, indent=1))


def _write_network(model: Model, part: Path) -> None:
    """The network as its library has it, and the readout beside it."""
    if model.encoder.dims == 3:
        write_network(model.encoder, part, {"num_classes": 0, **_config(model)})
        write_bundle(model.encoder, part, version("monai"))
    else:
        _write_timm(model, part)
    if model.readout is not None:
        state = {name: value.detach().cpu().contiguous() for name, value in model.readout.state_dict().items()}
        save_file(state, part / READOUT, metadata={"format": "pt"})


def _write_timm(model: Model, part: Path) -> None:
    encoder, p = model.encoder, model.preprocessing
    readout = model.readout
    network: Any = copy.deepcopy(
        _with_classifier(model, readout)
        if isinstance(readout, Classifier) and readout.sight == PLAIN
        else encoder.backbone
    )
    network.pretrained_cfg = {k: v for k, v in network.pretrained_cfg.items() if k not in ORIGIN}
    save_for_hf(
        network.cpu().to(memory_format=torch.contiguous_format),
        str(part),
        model_config=_config(model),
        model_args=encoder.model_args,
        safe_serialization=True,
        data_config={
            "input_size": (encoder.channels, *(2 * (p.image_size * encoder.upsample,))),
            "mean": p.mean,
            "std": p.std,
            "interpolation": "bicubic",
            "crop_mode": "border",  # the whole image, padded
            "crop_pct": 1.0,
        },
    )


def _with_classifier(model: Model, readout: Classifier) -> Any:
    """timm's network with the readout as its own classifier, so that timm alone can use it."""
    encoder = model.encoder
    classes = readout.linear.out_features
    network: Any = create(encoder.name, encoder.channels, encoder.image_size, encoder.model_args, classes=classes)
    network.load_state_dict(encoder.backbone.state_dict(), strict=False)
    with torch.no_grad():
        network.get_classifier().weight.copy_(readout.linear.weight)
        network.get_classifier().bias.copy_(readout.linear.bias)
    return network.eval()


def _config(model: Model) -> dict[str, Any]:
    """What config.json holds beside the plain library's own."""
    encoder, readout, meaning = model.encoder, model.readout, model.meaning
    steps = recipe.words(steps_of(encoder, model.preprocessing))
    own = {**asdict(model.preprocessing), "upsample": encoder.upsample, "recipe": steps, "format": FORMAT}
    if readout is not None:
        assert meaning is not None, "a readout without what it means"
        own |= {**readout.made, "meaning": asdict(meaning)}
    return {"autossl": own, **({"label_names": list(model.classes)} if model.classes else {})}
