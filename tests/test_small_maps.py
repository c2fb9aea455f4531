"""Small maps: the same values and gradients as torch's convolutions, and the same networks as timm's and MONAI's."""

from typing import Any

import pytest
import timm
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from torch import nn

from autossl.nn.small_maps import BLOCKS, KINDS, positions_after, serve_small_maps
from tests.pretext_toys import normal

PLAIN: dict[int, Any] = {2: nn.Conv2d, 3: nn.Conv3d}


@given(
    space=st.lists(st.integers(1, 4), min_size=2, max_size=3),
    kernel=st.sampled_from([1, 2, 3, 5]),
    stride=st.integers(1, 2),
    padding=st.integers(0, 2),
    dilation=st.integers(1, 2),
    bias=st.booleans(),
    last=st.booleans(),
)
def test_values_and_gradients_are_those_of_the_convolution(
    space: list[int], kernel: int, stride: int, padding: int, dilation: int, bias: bool, last: bool
) -> None:
    torch.manual_seed(0)
    plain = PLAIN[len(space)](3, 4, kernel, stride, padding, dilation, bias=bias)
    after = positions_after(plain, torch.Size(space))
    assume(min(after) > 0)
    swapped = type(plain)(3, 4, kernel, stride, padding, dilation, bias=bias)
    swapped.load_state_dict(plain.state_dict())
    network = nn.Sequential(swapped)
    serve_small_maps(network)
    assert type(network[0]) is KINDS[type(plain)]
    layout = torch.channels_last if len(space) == 2 else torch.channels_last_3d
    maps = normal(5, 3, *space).contiguous(memory_format=layout if last else torch.contiguous_format)
    here, there = maps.clone().requires_grad_(), maps.clone().requires_grad_()
    found, wanted = network(here), plain(there)
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)
    assert found.shape[2:] == after
    factors = normal(*wanted.shape, seed=1)
    (found * factors).sum().backward()
    (wanted * factors).sum().backward()
    torch.testing.assert_close(here.grad, there.grad, rtol=1e-4, atol=1e-5)
    for mine, theirs in zip(swapped.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, theirs.grad, rtol=1e-4, atol=1e-4)


def test_large_maps_groups_and_other_paddings_are_left_to_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    layers = nn.Sequential(
        nn.Conv2d(4, 4, 3, groups=2), nn.Conv2d(4, 4, 3, padding="same"), nn.Conv2d(4, 4, 3, padding_mode="reflect")
    )
    serve_small_maps(layers)
    assert {type(layer) for layer in layers} == {nn.Conv2d}
    large = nn.Sequential(nn.Conv2d(4, 4, 3, padding=1))
    serve_small_maps(large)
    asked = []
    monkeypatch.setattr("autossl.nn.small_maps.as_product", lambda *given: asked.append(given))
    assert large(normal(2, 4, 3, 3)).shape == (2, 4, 3, 3)  # 81 pairs of places
    assert not asked
    large(normal(2, 4, 2, 2))
    assert len(asked) == 1
    assert BLOCKS == 16


def test_bf16_is_that_of_autocast() -> None:
    plain = nn.Conv2d(16, 16, 3, padding=1)
    network = nn.Sequential(nn.Conv2d(16, 16, 3, padding=1))
    network[0].load_state_dict(plain.state_dict())
    serve_small_maps(network)
    maps = normal(8, 16, 2, 2)
    with torch.autocast("cpu", torch.bfloat16):
        found, wanted = network(maps), plain(maps)
    assert found.dtype == wanted.dtype == torch.bfloat16
    torch.testing.assert_close(found, wanted, rtol=2e-2, atol=1e-2)


def test_a_network_keeps_its_names_and_its_embeddings() -> None:
    torch.manual_seed(0)
    network = timm.create_model("test_resnet", num_classes=0).eval()
    images = normal(3, 3, 28, 28)
    before, names = network(images), list(network.state_dict())
    serve_small_maps(network)
    torch.testing.assert_close(network(images), before, rtol=1e-4, atol=1e-5)
    assert list(network.state_dict()) == names
