"""Given weights fitted to other networks: other names, sizes and dimensions; and why some are refused."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from autossl.errors import UserError
from autossl.nn.encoder import Encoder
from autossl.nn.weights import load_weights

SMALL_EVA = {"depth": 2, "embed_dim": 48, "num_heads": 4}


def made(name: str, channels: int, size: int = 32, seed: int = 0, **model_args: Any) -> Encoder:
    torch.manual_seed(seed)
    return Encoder(name, channels, size, model_args=model_args).eval()


def seen(encoder: Encoder, images: Tensor) -> Tensor:
    with torch.no_grad():
        found: Tensor = encoder(images)
    return found


def noise(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def official_dinov3(encoder: Encoder) -> dict[str, Tensor]:
    """The tensors of timm's DINOv3 network by the names of the file that its authors publish."""
    state = {}
    for name, value in encoder.backbone.state_dict().items():
        name = (
            name.replace("reg_token", "storage_tokens").replace("gamma_1", "ls1.gamma").replace("gamma_2", "ls2.gamma")
        )
        state[name] = value
        if name.endswith("attn.qkv.weight"):  # their key has a bias that is masked to nothing
            state[name.replace("weight", "bias")] = torch.zeros(len(value))
    return state | {"rope_embed.periods": torch.ones(3), "mask_token": torch.zeros(1, 48)}


@pytest.mark.parametrize("prefix", ["", "teacher.backbone."])
def test_dinov3_under_its_official_names(prefix: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = made("vit_small_patch16_dinov3", 3, 64, seed=1, img_size=64, **SMALL_EVA)
    save_file({prefix + k: v for k, v in official_dinov3(given).items()}, tmp_path / "dinov3.safetensors")
    found = load_weights(
        made("vit_small_patch16_dinov3", 3, 64, img_size=64, **SMALL_EVA), str(tmp_path / "dinov3.safetensors")
    )
    assert torch.equal(seen(found, noise(2, 3, 64, 64)), seen(given, noise(2, 3, 64, 64)))
    assert capsys.readouterr().out == ""


def test_dinov3_with_other_patches_channels_and_image_size(tmp_path: Path) -> None:
    given = made("vit_small_patch16_dinov3", 3, 64, seed=1, img_size=64, **SMALL_EVA)
    save_file(official_dinov3(given), tmp_path / "dinov3.safetensors")
    here = made("vit_small_patch16_dinov3", 1, 32, img_size=32, patch_size=8, **SMALL_EVA)
    load_weights(here, str(tmp_path / "dinov3.safetensors"))
    ours, theirs = here.backbone.state_dict(), given.backbone.state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs if name.startswith("blocks."))
    assert ours["patch_embed.proj.weight"].shape == (48, 1, 8, 8)
    # a constant image says nearly the same to patches of either size
    sums = torch.stack([state["patch_embed.proj.weight"].sum((1, 2, 3)) for state in (ours, theirs)])
    assert torch.corrcoef(sums)[0, 1] > 0.99


def test_convnext_under_the_names_of_its_authors(tmp_path: Path) -> None:
    given = made("test_convnext", 3, seed=1)
    state = {}
    for name, value in given.backbone.state_dict().items():
        name = name.replace("stem.", "downsample_layers.0.").replace("head.norm.", "norm.")
        for stage in range(4):
            name = name.replace(f"stages.{stage}.downsample.", f"downsample_layers.{stage}.")
        name = name.replace(".blocks.", ".").replace("conv_dw", "dwconv").replace("mlp.fc", "pwconv")
        state[name] = value
    assert not set(state) & set(given.backbone.state_dict())
    torch.save({"model": state}, tmp_path / "convnext.pth")
    found = load_weights(made("test_convnext", 3), str(tmp_path / "convnext.pth"))
    assert torch.equal(seen(found, noise(2, 3, 32, 32)), seen(given, noise(2, 3, 32, 32)))


def test_filters_for_images_see_the_mean_over_the_depth_of_volumes(tmp_path: Path) -> None:
    flat, deep = made("resnet50", 3, 32, seed=1), made("resnet50_3d", 1, 32)
    torch.save(flat.backbone.state_dict(), tmp_path / "resnet50.pth")
    load_weights(deep, str(tmp_path / "resnet50.pth"))
    image: Any = noise(1, 1, 32, 32)
    networks: tuple[Any, Any] = flat.backbone, deep.backbone
    with torch.no_grad():
        wanted = networks[0].conv1(image.expand(-1, 3, -1, -1))
        found = networks[1].conv1(image[:, :, None].expand(-1, -1, 32, -1, -1))
    assert torch.allclose(found[:, :, 8], wanted, atol=1e-4)  # far from both ends every slice is the same


def test_a_network_for_images_with_more_in_it_is_not_blown_up(tmp_path: Path) -> None:
    torch.save(made("resnet18", 3, seed=1).backbone.state_dict(), tmp_path / "resnet18.pth")
    with pytest.raises(
        UserError, match=r"has other shapes \(conv1.weight is \(64, 3, 7, 7\) there, \(64, 1, 7, 7, 7\)"
    ):
        load_weights(made("resnet18_3d", 1), str(tmp_path / "resnet18.pth"))  # its shortcuts have no filters


def test_other_names_are_told_from_tensors_that_are_not_there(tmp_path: Path) -> None:
    given = made("test_resnet", 1).backbone.state_dict()
    torch.save({f"features_{number}": value for number, value in enumerate(given.values())}, tmp_path / "names.pt")
    with pytest.raises(
        UserError, match=r"knows none of its names.*features_0 and features_1 there, conv1\.0\.weight and"
    ):
        load_weights(made("test_resnet", 1), str(tmp_path / "names.pt"))
    torch.save({name: value for name, value in given.items() if "layer4" not in name}, tmp_path / "less.pt")
    with pytest.raises(UserError, match=r"lacks \d+ of \d+ tensors \(for example layer4"):
        load_weights(made("test_resnet", 1), str(tmp_path / "less.pt"))


def test_another_size_of_the_same_family_is_told_by_its_shapes(tmp_path: Path) -> None:
    torch.save(made("vit_tiny_3d", 1, 32, img_size=32, patch_size=8).backbone.state_dict(), tmp_path / "tiny.pt")
    with pytest.raises(
        UserError, match=r"has other shapes .*192.* there, .*384.* here.*another size of the same family"
    ):
        load_weights(made("vit_small_3d", 1, 32, img_size=32, patch_size=8), str(tmp_path / "tiny.pt"))


def of_transformers(name: str, folder: Path, **settings: Any) -> Any:
    """A network with random weights in the layout of Hugging Face's transformers, saved in `folder`."""
    import transformers

    torch.manual_seed(1)
    sizes = {"hidden_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4, "image_size": 64}
    config = getattr(transformers, f"{name}Config")(**{**sizes, **settings})
    model = getattr(transformers, f"{name}Model")(config).eval()
    with torch.no_grad():
        for value in model.parameters():
            value.add_(0.05 * torch.randn_like(value))
    model.save_pretrained(folder)
    return model


def tokens_of(encoder: Encoder, images: Tensor) -> Tensor:
    network: Any = encoder.backbone
    with torch.no_grad():
        found: Tensor = network.forward_features(images)
    return found


@pytest.mark.parametrize("side", [64, 96])
@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("vit_small_patch16_dinov3", {"intermediate_size": 192, "query_bias": False, "value_bias": False}),
        ("vit_small_patch16_dinov3_qkvb", {"intermediate_size": 192}),
        ("vit_small_plus_patch16_dinov3", {"use_gated_mlp": True, "query_bias": False, "value_bias": False}),
    ],
)
def test_dinov3_as_hugging_face_has_it(name: str, settings: dict[str, Any], side: int, tmp_path: Path) -> None:
    """The same tokens at any size of image: rotary positions are computed, registers stand before the patches."""
    here = made(name, 3, side, img_size=side, **SMALL_EVA)
    if "use_gated_mlp" in settings:
        network: Any = here.backbone
        settings = {**settings, "hidden_act": "silu", "intermediate_size": network.blocks[0].mlp.fc1_g.out_features}
    given = of_transformers("DINOv3ViT", tmp_path, num_register_tokens=4, **settings)
    load_weights(here, str(tmp_path))
    images = noise(2, 3, side, side)
    with torch.no_grad():
        wanted = given(images).last_hidden_state
    torch.testing.assert_close(tokens_of(here, images), wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["Dinov2", "ViT"])
def test_older_transformers_as_hugging_face_has_them(name: str, tmp_path: Path) -> None:
    patch = {"Dinov2": 14, "ViT": 16}[name]
    own = {"mlp_ratio": 4} if name == "Dinov2" else {"intermediate_size": 192, "layer_norm_eps": 1e-6}
    given = of_transformers(name, tmp_path, image_size=4 * patch, patch_size=patch, **own)
    backbone = {"Dinov2": "vit_small_patch14_dinov2", "ViT": "vit_small_patch16_224"}[name]
    here = made(backbone, 3, 4 * patch, img_size=4 * patch, embed_dim=48, depth=2, num_heads=4)
    load_weights(here, str(tmp_path))
    images = noise(2, 3, 4 * patch, 4 * patch)
    with torch.no_grad():
        wanted = given(images).last_hidden_state
    torch.testing.assert_close(tokens_of(here, images), wanted, rtol=1e-4, atol=1e-5)


def test_biases_that_a_network_has_no_place_for_are_not_left_out_in_silence(tmp_path: Path) -> None:
    given = made("vit_small_patch16_dinov3", 3, 64, seed=1, img_size=64, **SMALL_EVA)
    state = official_dinov3(given)
    state["blocks.1.attn.qkv.bias"][48:96] = 1.0  # of the keys: it changes nothing
    save_file(state, tmp_path / "keys.safetensors")
    load_weights(made("vit_small_patch16_dinov3", 3, 64, img_size=64, **SMALL_EVA), str(tmp_path / "keys.safetensors"))
    state["blocks.1.attn.qkv.bias"][:48] = 1.0
    save_file(state, tmp_path / "queries.safetensors")
    with pytest.raises(
        UserError, match=r"biases of queries and values .*; give --backbone vit_small_patch16_dinov3_qkvb"
    ):
        load_weights(
            made("vit_small_patch16_dinov3", 3, 64, img_size=64, **SMALL_EVA), str(tmp_path / "queries.safetensors")
        )
