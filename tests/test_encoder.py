"""Backbones for images: any of timm's says how wide its embedding is, and is fitted to small images."""

import pytest
import torch

from autossl.errors import UserError
from autossl.nn.encoder import Encoder, fit_to_size
from autossl.nn.heads import mlp
from autossl.pretext import METHODS
from autossl.pretext.batch import Batch
from autossl.views.images import Views
from autossl.views.presets import preset
from tests.pretext_toys import volume_encoder


@pytest.mark.parametrize("name", ["mobilenetv3_small_050", "resnet10t", "test_vit"])
def test_the_embedding_is_as_wide_as_the_encoder_says(name: str) -> None:
    model_args, upsample = fit_to_size(name, 1, 32)
    encoder = Encoder(name, 1, 32, model_args=model_args, upsample=upsample).eval()
    x = torch.randn(2, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        found = encoder.features(x)
        assert found.pooled.shape == encoder(x).shape == (2, encoder.dim)
        assert mlp(encoder.dim, 8, 4)(found.pooled).shape == (2, 4)
    assert tuple(m.shape[1] for m in found.pyramid) == encoder.pyramid_channels


def test_a_network_of_fixed_size_is_built_for_the_enlarged_image() -> None:
    assert fit_to_size("levit_128s", 1, 64) == ({"img_size": 128}, 2)


def test_whatever_a_library_raises_is_one_sentence() -> None:
    with pytest.raises(UserError, match="timm cannot build 'visformer_tiny'"):
        Encoder("visformer_tiny", 1, 28, model_args={"img_size": 28, "patch_size": 7})


def windows() -> Encoder:
    """A small network of windows, which timm builds for one size of image."""
    args = {"img_size": 24, "patch_size": 2, "window_size": 3, "depths": (1, 1), "num_heads": (1, 2), "embed_dim": 16}
    return Encoder("swin_tiny_patch4_window7_224", 1, 24, model_args=args)


def test_what_takes_one_size_only_says_so() -> None:
    assert not windows().takes(12, 12)
    assert windows().takes(24, 24)
    assert not Encoder("test_vit", 1, 20, model_args={"img_size": 20, "patch_size": 5}).takes(10, 10)
    resnet = Encoder("test_resnet", 1, 32).train()
    assert resnet.takes(12, 12)
    assert resnet.training


@pytest.mark.parametrize("name", ["jigsaw", "relative_location", "voco"])
def test_tiles_are_enlarged_for_what_takes_one_size_only(name: str) -> None:
    method = METHODS[name](windows(), Views(preset("auto", 1), (0.4,), (0.2,)))
    assert torch.isfinite(method.loss(Batch(torch.rand(4, 1, 24, 24))))


@pytest.mark.parametrize("dims", [2, 3])
def test_one_channel_reaches_the_network_with_channels_last(dims: int) -> None:
    """torch takes either stride for either layout, convolutions on a CPU do not."""
    encoder = volume_encoder() if dims == 3 else Encoder("test_resnet", 1, 20)
    seen: list[tuple[int, ...]] = []
    stem = next(m for m in encoder.backbone.modules() if isinstance(m, torch.nn.Conv2d | torch.nn.Conv3d))
    stem.register_forward_pre_hook(lambda _, given: seen.append(given[0].stride()))
    x = torch.rand(3, 1, *encoder.size)
    assert torch.equal(encoder.eval()(x), encoder(x.clone()))
    encoder.pyramid(x)
    assert {stride[1] for stride in seen} == {1}
    apart = torch.rand(6, 1, *encoder.size)[::2]  # not dense: left as it is
    assert torch.allclose(encoder(apart), encoder(apart.clone()), atol=1e-5)
