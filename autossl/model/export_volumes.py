"""What an exported network for volumes holds: weights and arguments of a plain MONAI class."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from autossl.nn.encoder import Encoder
from autossl.nn.volume_networks import VOLUMES, arguments
from autossl.record.stored import Damaged


def write_network(encoder: Encoder, part: Path, own: Mapping[str, Any]) -> None:
    """Write model.safetensors and config.json into the folder `part`."""
    state = {name: value.detach().cpu().contiguous() for name, value in encoder.backbone.state_dict().items()}
    save_file(state, part / "model.safetensors", metadata={"format": "pt"})
    config = {
        "architecture": encoder.name,
        "monai_class": VOLUMES[encoder.name].place,
        "monai_args": monai_args(encoder),
        "num_features": encoder.dim,
        "model_args": encoder.model_args,
        **own,
    }
    (part / "config.json").write_text(json.dumps(config, indent=2))


def write_bundle(encoder: Encoder, part: Path, version: str) -> None:
    """Make the folder a MONAI bundle as well: configs/metadata.json, and a network that `ConfigParser` builds.

    Its weights are those of model.safetensors, so that nothing is pickled.
    """
    volume = {
        "type": "image", "format": "standardised", "num_channels": encoder.channels,
        "spatial_shape": list(encoder.size), "dtype": "float32", "is_patch_data": False,
    }  # fmt: skip
    embedding = {"type": "embedding", "format": "features", "num_channels": encoder.dim, "dtype": "float32"}
    metadata = {
        "version": "1.0.0", "monai_version": version, "task": "self-supervised encoder",
        "description": "An encoder for volumes, found and trained by AutoSSL; README.md says how it is used.",
        "network_data_format": {"inputs": {"image": volume}, "outputs": {"pred": embedding}},
    }  # fmt: skip
    network = {"_target_": VOLUMES[encoder.name].place, **monai_args(encoder)}
    inference = {
        "imports": ["$from safetensors.torch import load_file"],
        "bundle_root": ".",
        "network_def": network,
        "weights": "$load_file(@bundle_root + '/model.safetensors')",
        "initialize": ["$@network_def.load_state_dict(@weights)", "$@network_def.eval()"],
    }
    (part / "configs").mkdir()
    for name, told in (("metadata", metadata), ("inference", inference)):
        (part / "configs" / f"{name}.json").write_text(json.dumps(told, indent=2))


def monai_args(encoder: Encoder) -> dict[str, Any]:
    """What MONAI's class is called with."""
    return arguments(encoder.name, encoder.channels, encoder.image_size * encoder.upsample, encoder.model_args)


def read_tensors(file: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file by name; `Damaged` if it is cut or no such file."""
    try:
        return load_file(file)
    except (SafetensorError, OSError) as fault:
        raise Damaged(file, type(fault).__name__) from None


def network_lines(encoder: Encoder) -> list[str]:
    """Lines that load the network by MONAI alone."""
    module, _, cls = VOLUMES[encoder.name].place.rpartition(".")
    return [
        "import json",
        "from pathlib import Path",
        f"from {module} import {cls}",
        "from safetensors.torch import load_file",
        "",
        'config = json.loads(Path("PATH/config.json").read_text())',
        f'network = {cls}(**config["monai_args"]).eval()                      # the same network in MONAI',
        'network.load_state_dict(load_file("PATH/model.safetensors"))',
    ]


def called(encoder: Encoder) -> str:
    """What the network is called with for the embeddings of standardised volumes x (b, c, d, h, w)."""
    cls = VOLUMES[encoder.name].place.rpartition(".")[2]
    return {"ResNet": "network(x)", "ViT": "network(x)[0].mean(1)"}.get(cls, "network(x)[-1].flatten(2).mean(2)")


def usage(encoder: Encoder, classes: int) -> list[str]:
    """Lines of a model card: how AutoSSL and how MONAI alone load the network."""
    lines = [
        "import autossl",
        *network_lines(encoder),
        'encoder = autossl.load("PATH")          # encoder.embed(DATA): paths, folders or arrays of any size',
        f"embedding = {called(encoder)}                         # of standardised volumes x (b, c, d, h, w)",
    ]
    if classes:
        lines.append(
            'head = load_file("PATH/readout.safetensors")  # embedding @ head["linear.weight"].T + head["linear.bias"]'
        )
    return lines
