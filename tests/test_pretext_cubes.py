"""Tiles of volumes and Rubik's cube: formulas written naively, and what must not leak."""

import itertools
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from autossl.nn.encoder import Encoder
from autossl.pretext import METHODS
from autossl.pretext.batch import Batch
from autossl.pretext.jigsaw import different_orders, fitted, normalised, tiles
from autossl.pretext.relative_location import RelativeLocation
from autossl.pretext.rubik import Rubik, half_turned
from autossl.views.images import Views
from autossl.views.presets import preset
from autossl.views.volumes import VolumeViews
from tests.pretext_toys import SIDE, binary, encoder, normal, recorded_forward, still, uniform, volume_encoder


def cross_entropy(answers: Tensor, right: int) -> float:
    return float(answers.double().exp().sum().log() - answers[right].double())


@given(st.integers(2, 3), st.integers(18, 29), st.floats(0.01, 0.4), st.integers(0, 99))
@settings(max_examples=30)
def test_cubes_are_cut_where_they_should_be(grid: int, side: int, gap: float, seed: int) -> None:
    x = normal(2, 2, side, side + 1, side, seed=seed)
    order = torch.stack([torch.randperm(grid**3, generator=torch.Generator().manual_seed(seed + i)) for i in range(2)])
    shift = uniform(2, grid**3, 3, seed=seed)
    found = tiles(x, order, shift, grid, gap)
    cell = side // grid
    t = max(cell - max(round(gap * cell), 1), 1)
    assert found.shape == (2 * grid**3, 2, t, t, t)
    for image, at in itertools.product(range(2), range(grid**3)):
        number = int(order[image, at])
        cells = (number // grid**2, number // grid % grid, number % grid)
        a, b, c = (n * cell + int(s * (cell - t + 1)) for n, s in zip(cells, shift[image, at], strict=True))
        assert all(n * cell <= start <= (n + 1) * cell - t for n, start in zip(cells, (a, b, c), strict=True))
        assert torch.equal(found[image * grid**3 + at], x[image, :, a : a + t, b : b + t, c : c + t])


@pytest.mark.parametrize(("count", "apart"), [(8, 7), (24, 6), (100, 5)])
def test_orders_of_eight_cubes_lie_far_apart(count: int, apart: int) -> None:
    orders = different_orders(8, count)
    assert len(orders) == count
    assert (np.sort(orders, axis=1) == np.arange(8)).all()
    assert min((a != b).sum() for i, a in enumerate(orders) for b in orders[:i]) >= apart


def test_relative_location_of_cubes_is_the_cross_entropy_of_the_26_places() -> None:
    method = RelativeLocation(volume_encoder(), still(dims=3)).eval()
    x = uniform(2, 1, SIDE, SIDE, SIDE)
    found = float(method.loss(Batch(x.clone())).detach())
    generator = torch.Generator().manual_seed(0)
    method.views.draw(x, generator)
    shift = torch.rand(2, 27, 3, generator=generator)
    shown = normalised(tiles(still(dims=3).standardise(x), torch.arange(27).expand(2, 27), shift, 3, 0.15))
    z = method.encoder(shown).view(2, 27, -1).detach()
    around = [cell for cell in range(27) if cell != 13]
    losses = [
        cross_entropy(method.head(torch.cat([z[image, 13], z[image, cell]])[None])[0].detach(), number)
        for image in range(2)
        for number, cell in enumerate(around)
    ]
    assert found == pytest.approx(np.mean(losses), rel=1e-3)


def test_rubik_is_the_sum_of_its_three_tasks() -> None:
    method = Rubik(volume_encoder(), still(dims=3), turned=0.5, masked=2.0, permutations=30).eval()
    inputs = recorded_forward(method.encoder)
    x = uniform(3, 1, SIDE, SIDE, SIDE)
    found = float(method.loss(Batch(x.clone())).detach())
    generator = torch.Generator().manual_seed(0)
    method.views.draw(x, generator)
    u = torch.rand(3, 8, 6, generator=generator)
    label = torch.randint(30, (3,), generator=generator)
    shown = normalised(tiles(still(dims=3).standardise(x), method.order[label], u[..., :3], 2, 0.15)).view(
        3, 8, 1, 8, 8, 8
    )
    losses = []
    for volume in range(3):
        answers = method.head(method.encoder(inputs[0].view(3, 8, 1, 8, 8, 8)[volume]).reshape(1, -1))[0].detach()
        loss = cross_entropy(answers[:30], int(label[volume]))
        for cube in range(8):
            vertical, horizontal, masked = (float(coin < 0.5) for coin in u[volume, cube, 3:])
            expected = shown[volume, cube]
            if vertical:
                expected = torch.rot90(expected, 2, (2, 3))
            if horizontal:
                expected = torch.rot90(expected, 2, (1, 2))
            same = inputs[0].view(3, 8, 1, 8, 8, 8)[volume, cube].isclose(expected, atol=1e-4)
            assert float((~same).sum()) == pytest.approx(masked * 8**3 / 2, abs=4)
            assert (inputs[0].view(3, 8, 1, 8, 8, 8)[volume, cube][~same] == 0).all()
            for kind, right in enumerate((vertical, horizontal)):
                loss += 0.5 * binary(float(answers[30 + 2 * cube + kind]), right) / 16
            loss += 2.0 * binary(float(answers[46 + cube]), masked) / 8
        losses.append(loss)
    assert found == pytest.approx(np.mean(losses), rel=1e-3)


def test_half_turns_undo_themselves_and_commute() -> None:
    x = normal(4, 1, 5, 5, 5)
    which = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    turned = half_turned(x, which)
    assert torch.equal(turned[0], x[0])
    assert torch.equal(turned[3], x[3].flip(1, 3))  # both together are the half turn about the third line
    assert torch.equal(half_turned(turned, which), x)


@pytest.mark.parametrize("name", ["jigsaw", "relative_location", "rubik"])
def test_brightness_and_contrast_of_a_cell_do_not_reach_the_encoder(name: str) -> None:
    x = uniform(2, 1, SIDE, SIDE, SIDE)
    seen = []
    for change in (1.0, 0.5):
        method = METHODS[name](volume_encoder(), still(dims=3)).eval()
        inputs = recorded_forward(method.encoder)
        method.loss(Batch(change * x + (1 - change) / 3))
        seen.append(inputs[0])
    assert (seen[0] - seen[1]).abs().max() < 0.25  # 0 but for the guard of empty tiles
    for one, other in zip(seen[0].flatten(1), seen[1].flatten(1), strict=True):
        if one.abs().sum() > 0:
            assert torch.corrcoef(torch.stack([one, other]))[0, 1] > 0.999


@pytest.mark.parametrize("name", ["jigsaw", "relative_location", "rubik"])
@pytest.mark.parametrize("dims", [2, 3])
def test_jitter_reaches_the_tiles(name: str, dims: int) -> None:
    if dims not in METHODS[name].dims:
        return
    x = uniform(4, 1, *[SIDE] * dims)
    seen = []
    for jitter in (0.0, 0.8):
        views = (Views if dims == 2 else VolumeViews)(preset("mr", 1), (0.5,), (0.25,), jitter=jitter)
        method = METHODS[name](encoder() if dims == 2 else volume_encoder(), views)
        inputs = recorded_forward(method.encoder)
        method.loss(Batch(x))
        seen.append(inputs[0])
    assert (seen[0] - seen[1]).abs().mean() > 0.02


@pytest.mark.parametrize("dims", [2, 3])
def test_upright_views_are_weak_ones_with_intensities(dims: int) -> None:
    cls = Views if dims == 2 else VolumeViews
    x = uniform(5, 1, *[12] * dims)
    for jitter in (0.0, 0.5):
        views = cls(preset("ct", 1), (0.5,), (0.25,), crop_min=0.4, jitter=jitter)
        found = views.upright()(x, torch.Generator().manual_seed(1))
        weak = views.standardise(views.weak(x, torch.Generator().manual_seed(1)))
        assert torch.allclose(found, weak, atol=1e-5) == (jitter == 0)
    assert type(views.upright()) is cls
    assert views.upright().jitter == 0.5


@pytest.mark.parametrize("name", ["jigsaw", "rubik"])
@pytest.mark.parametrize("backbone", ["vit_tiny_3d", "swin_unetr_small", "segresnet_3d"])
def test_other_networks_for_volumes_take_cubes(name: str, backbone: str) -> None:
    torch.manual_seed(0)
    args: dict[str, dict[str, Any]] = {
        "vit_tiny_3d": {"patch_size": 8, "num_layers": 2},
        "segresnet_3d": {"blocks_down": [1, 1, 1]},
    }
    network = Encoder(backbone, 1, 24, model_args=args.get(backbone))
    assert fitted(torch.zeros(1, 1, 10, 10, 10), network).shape[2] == (24 if backbone == "vit_tiny_3d" else 10)
    loss = METHODS[name](network, still(dims=3)).train().loss(Batch(uniform(4, 1, 24, 24, 24)))
    loss.backward()  # type: ignore[no-untyped-call]
    assert torch.isfinite(loss)


def test_still_views_of_images_are_upright_already() -> None:
    x = uniform(2, 1, 16, 16)
    views = still()
    assert torch.allclose(views.upright()(x, torch.Generator()), views.standardise(x), atol=1e-5)
