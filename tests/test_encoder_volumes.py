"""Networks for volumes: small cubes, maps and embedding, and what MONAI alone makes of an export."""

import importlib
import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from monai.bundle.config_parser import ConfigParser
from safetensors.torch import load_file
from torch import Tensor

import autossl
from autossl.errors import UserError
from autossl.model import export
from autossl.model.card import Preprocessing
from autossl.model.model import Meaning, Model
from autossl.nn.encoder import Encoder, default_backbone, dims_of, fit_to_size
from autossl.nn.heads import shuffle
from autossl.nn.volume_networks import VOLUMES
from autossl.targets.readouts import Classifier

TRANSFORMERS = {"swin_unetr_small", "vit_tiny_3d"}
BUILT = ["resnet10_half_3d", "resnet18_3d", "segresnet_3d", "swin_unetr_small", "vit_tiny_3d"]


def fitted(name: str, channels: int, size: int, model_args: dict[str, Any] | None = None) -> Encoder:
    if name in TRANSFORMERS and find_spec("einops") is None:
        pytest.skip("einops is not installed, which MONAI's transformers need")
    torch.manual_seed(0)
    fit = fit_to_size(name, channels, size) if model_args is None else (model_args, 1)
    return Encoder(name, channels, size, model_args=fit[0], upsample=fit[1]).eval()


def noise(b: int, channels: int, size: int) -> Tensor:
    return torch.randn(b, channels, *[size] * 3, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(("name", "size"), [*((name, 28) for name in BUILT), ("resnet10_half_3d", 16)])
def test_small_cubes_keep_two_cells_a_side(name: str, size: int) -> None:
    encoder = fitted(name, 1, size)
    assert encoder.dims == 3
    assert len(encoder.cells) == 3
    assert min(encoder.cells) >= 2
    x = noise(2, 1, size)
    with torch.no_grad():
        both = encoder.features(x)
        assert torch.equal(encoder(x), both.pooled)
    assert both.pooled.shape == (2, encoder.dim)
    assert [m.shape[1] for m in both.pyramid] == list(encoder.pyramid_channels)
    sides = [m.shape[2] for m in both.pyramid]
    assert sides == sorted(sides, reverse=True)
    assert sides[0] <= size * encoder.upsample
    assert len(set(both.pyramid[0].shape[2:])) == 1


def test_a_large_cube_is_taken_without_changes() -> None:
    assert fit_to_size("resnet10_half_3d", 1, 64) == ({}, 1)
    assert fit_to_size("resnet10_half_3d", 1, 28) == ({"no_max_pool": True}, 1)


def test_defaults_fit_their_dimensions() -> None:
    for device in ("cpu", "cuda"):
        assert dims_of(default_backbone(28, device, 3)) == 3
        assert dims_of(default_backbone(28, device, 2)) == 2


@pytest.mark.parametrize("name", BUILT)
def test_a_plain_monai_network_gives_the_same_embedding(name: str, tmp_path: Path) -> None:
    encoder = fitted(name, 2, 28, {} if name.startswith("swin") else None)  # coarse patches, for speed
    export.write(Model(encoder, Preprocessing(28, 255.0, (0.4,) * 2, (0.2,) * 2)), tmp_path / "encoder", {})
    config = json.loads((tmp_path / "encoder" / "config.json").read_text())
    module, _, cls = config["monai_class"].rpartition(".")
    network = getattr(importlib.import_module(module), cls)(**config["monai_args"]).eval()
    network.load_state_dict(load_file(tmp_path / "encoder" / "model.safetensors"))
    card = (tmp_path / "encoder" / "README.md").read_text()
    line = next(line for line in card.splitlines() if line.startswith("embedding ="))
    x = noise(3, 2, 28)
    with torch.no_grad():
        embedding = eval(line.split("=", 1)[1].split("#")[0], {"network": network, "x": x})
        assert torch.allclose(encoder(x), embedding, atol=1e-5)
        assert torch.equal(encoder(x), autossl.load(tmp_path / "encoder")(x))
    bundle = ConfigParser()
    bundle.read_config(str(tmp_path / "encoder" / "configs" / "inference.json"))
    bundle["bundle_root"] = str(tmp_path / "encoder")
    bundled = bundle.get_parsed_content("network_def")
    bundle.get_parsed_content("initialize")
    assert all(torch.equal(value, network.state_dict()[key]) for key, value in bundled.state_dict().items())


def test_an_export_starts_from_voxels_and_carries_its_head(tmp_path: Path) -> None:
    encoder, rng = fitted("resnet10_half_3d", 1, 16), np.random.default_rng(0)
    head = Classifier.of(rng.normal(size=(256, 3)).astype(np.float32), rng.normal(size=3).astype(np.float32))
    meaning = Meaning("classification", "classes", {"classes": ["a", "b", "c"]})
    export.write(Model(encoder, Preprocessing(16, 255.0, (0.4,), (0.2,)), head, meaning), tmp_path / "model", {})
    loaded = autossl.load(tmp_path / "model")
    voxels = rng.integers(0, 256, (4, 16, 16, 16, 1), dtype=np.uint8)
    standard = (torch.from_numpy(voxels / 255.0).float().movedim(-1, 1) - 0.4) / 0.2
    with torch.no_grad():
        z = encoder(standard).numpy()
    assert np.allclose(loaded.embed(voxels), z, atol=1e-5)
    assert np.allclose(loaded.logits(voxels), head.answers(z), atol=1e-3)
    assert loaded.classes == ("a", "b", "c")
    assert isinstance(loaded.readout, Classifier)
    assert torch.equal(loaded.readout.linear.weight, head.linear.weight)


def test_what_monai_refuses_is_one_sentence() -> None:
    with pytest.raises(UserError, match="MONAI cannot build 'resnet10_3d'"):
        Encoder("resnet10_3d", 1, 16, model_args={"depth": 3})
    with pytest.raises(UserError, match="for volumes resnet10_half_3d"):
        Encoder("resnet10_4d", 1, 16)


def test_names_are_not_those_of_timm() -> None:
    import timm

    assert not [name for name in VOLUMES if timm.is_model(name)]


def test_images_need_no_monai() -> None:
    code = (
        "import sys, autossl.nn.encoder, autossl.trials.space, autossl.model.export; assert 'monai' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("factor", [1, 2, 3])
def test_voxels_are_shuffled_as_pixels_are(factor: int) -> None:
    x = torch.randn(2, 2 * factor**3, 3, 4, 5)
    found = shuffle(x, factor)
    assert found.shape == (2, 2, 3 * factor, 4 * factor, 5 * factor)
    for c, d, h, w in np.ndindex(*found.shape[1:]):
        offset = (d % factor * factor + h % factor) * factor + w % factor
        cell = x[:, c * factor**3 + offset, d // factor, h // factor, w // factor]
        assert torch.equal(found[:, c, d, h, w], cell)
