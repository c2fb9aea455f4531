"""Reads what `export` wrote, also before readouts had a file of their own."""

import re
from pathlib import Path
from typing import Any, cast

import numpy as np
from torch import Tensor

from autossl.data import KEPT
from autossl.errors import UserError
from autossl.errors.keywords import path_of
from autossl.model.card import Preprocessing
from autossl.model.ensemble import Ensemble
from autossl.model.export import READOUT
from autossl.model.export_volumes import read_tensors
from autossl.model.model import Meaning, Model
from autossl.nn.encoder import Encoder
from autossl.record.folder import Folder
from autossl.record.stored import Damaged, read_json
from autossl.targets.readout import Readout
from autossl.targets.readouts import Classifier, made_again

MEMBER, MOST_MEMBERS = re.compile(r"network-\d"), 8  # folders of models that answer together
NO_NETWORK = ("num_classes", "in_chans", "global_pool")  # of timm's model_args: what `Encoder` sets itself


def load(path: str | Path) -> Model:
    """An exported encoder or model, or that of a study folder, ready to embed (evaluation mode, CPU).

    Raises UserError if there is none at `path`.
    """
    root = _exported(path)
    names = read_json(root / "config.json").get("members")
    return _one(root) if names is None else _ensemble(root, names)


def _ensemble(root: Path, names: list[str]) -> Ensemble:
    """Models that answer together; `Damaged` if they are not of one target."""
    if not (1 < len(names) <= MOST_MEMBERS and all(MEMBER.fullmatch(name) for name in names)):
        raise Damaged(root / "config.json", "members are folders network-1, network-2, ...")
    members = [_one(root / name) for name in names]
    if any(member.readout is None or member.meaning != members[0].meaning for member in members):
        raise Damaged(root / "config.json", "its members do not answer the same question")
    if any(member.preprocessing.image_size != members[0].preprocessing.image_size for member in members):
        raise Damaged(root / "config.json", "its members take images of several sizes")
    return Ensemble(members).eval()


def _one(root: Path) -> Model:
    """A single network and its readout."""
    config_file, weights = root / "config.json", root / "model.safetensors"
    config = read_json(config_file)
    if config is None:
        raise Damaged(config_file, "it is not there")
    own = config["autossl"]
    args = {k: v for k, v in config.get("model_args", {}).items() if k not in NO_NETWORK}
    encoder = Encoder(
        config["architecture"], len(own["mean"]), own["image_size"], model_args=args, upsample=own["upsample"],
        where=config_file,
    )  # fmt: skip
    readout, state = _readout(root, config, encoder, read_tensors(weights))
    try:
        encoder.backbone.load_state_dict(state)
    except RuntimeError:  # torch lists every name that it misses
        raise Damaged(weights, f"its tensors are not those of {encoder.name}") from None
    return Model(encoder, _preprocessing(own), readout, _meaning(config) if readout else None).eval()


def _readout(
    root: Path, config: dict[str, Any], encoder: Encoder, state: dict[str, Tensor]
) -> tuple[Readout | None, dict[str, Tensor]]:
    """The readout, and the tensors of the encoder alone."""
    own, name = config["autossl"], config["autossl"].get("readout")
    bare = {key: value for key, value in state.items() if key in encoder.backbone.state_dict()} if name else state
    if name is not None:
        try:
            readout = made_again(own, read_tensors(root / READOUT))
            if not readout.fits(encoder):
                raise LookupError
            return readout, bare
        except (LookupError, TypeError, RuntimeError) as fault:
            raise Damaged(root / READOUT, type(fault).__name__) from None
    if not config["num_classes"]:
        return None, state
    return (_of_volumes(root), state) if encoder.dims == 3 else _of_timm(root, config, encoder, state)


def _of_volumes(root: Path) -> Classifier:
    """The head of format 1 that lay beside a network for volumes."""
    file = root / "head.safetensors"
    found = read_tensors(file)
    try:
        return Classifier.of(np.ascontiguousarray(found["weight"].numpy().T), found["bias"].numpy())
    except (LookupError, ValueError, RuntimeError) as fault:
        raise Damaged(file, type(fault).__name__) from None


def _of_timm(
    root: Path, config: dict[str, Any], encoder: Encoder, state: dict[str, Tensor]
) -> tuple[Classifier, dict[str, Tensor]]:
    """The head of format 1 that timm's network carried."""
    network = cast(Any, encoder.backbone)
    network.reset_classifier(config["num_classes"])
    try:
        network.load_state_dict(state)
    except RuntimeError:
        raise Damaged(root / "model.safetensors", f"its tensors are not those of {encoder.name}") from None
    layer = network.get_classifier()
    readout = Classifier.of(layer.weight.detach().numpy().T.copy(), layer.bias.detach().numpy().copy())
    network.reset_classifier(0)
    return readout, {key: value for key, value in state.items() if key in network.state_dict()}


def _meaning(config: dict[str, Any]) -> Meaning:
    told = config["autossl"].get("meaning")
    if told is None:
        return Meaning("classification", "classes", {"classes": list(config["label_names"])})
    return Meaning(told["task"], told["form"], dict(told["about"]))


def _preprocessing(own: dict[str, Any]) -> Preprocessing:
    return Preprocessing(
        own["image_size"], own["scale"], tuple(own["mean"]), tuple(own["std"]), own.get("dims", 2),
        own.get("window", KEPT), own.get("depth", ""), own.get("floats", False),
        own.get("cut", False),
    )  # fmt: skip


def _exported(path: str | Path) -> Path:
    """The folder of an exported encoder or model at `path`, which may be a study's; UserError if there is none."""
    root = Path(path_of(path, "the folder of an encoder"))
    folder = Folder(root)
    if (folder.encoder / "config.json").is_file():
        root = folder.encoder
    if not (root / "config.json").is_file() or not any(
        map(any, (root.glob("model.safetensors"), root.glob("*/model.safetensors")))
    ):
        raise UserError(
            f"an exported encoder (config.json, model.safetensors) or a finished study was wanted, none is at {path};"
            " give the folder that autossl export or --out named"
        )
    return root
