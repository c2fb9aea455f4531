"""Tiles of volumes, Rubik's cube, slice order and slice position: formulas written naively, and what must not leak."""

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from autossl.encoder import Encoder
from autossl.pretext import METHODS, Pretext
from autossl.pretext.jigsaw import different_orders, fitted, normalised, tiles
from autossl.pretext.relative_location import RelativeLocation
from autossl.pretext.rubik import Rubik, half_turned
from autossl.pretext.slabs import cut, extent, slices_of
from autossl.pretext.slice_order import SliceOrder, pair
from autossl.pretext.slice_position import SlicePosition, place
from autossl.space import read_space, served
from autossl.views import Views, modalities, preset
from autossl.volumes import VolumeViews
from tests.pretext_toys import SIDE, encoder, normal, recorded_forward, still, uniform, volume_encoder


def cross_entropy(answers: Tensor, right: int) -> float:
    return float(answers.double().exp().sum().log() - answers[right].double())


def binary(answer: float, right: float) -> float:
    p = 1 / (1 + math.exp(-answer))
    return -(right * math.log(p) + (1 - right) * math.log(1 - p))


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
    found = float(method.loss(x.clone()).detach())
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
    found = float(method.loss(x.clone()).detach())
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
        method.loss(change * x + (1 - change) / 3)
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
        method.loss(x)
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
    args = {"vit_tiny_3d": {"patch_size": 8, "num_layers": 2}, "segresnet_3d": {"blocks_down": [1, 1, 1]}}
    network = Encoder(backbone, 1, 24, model_args=args.get(backbone))
    assert fitted(torch.zeros(1, 1, 10, 10, 10), network).shape[2] == (24 if backbone == "vit_tiny_3d" else 10)
    loss = METHODS[name](network, still(dims=3)).train().loss(uniform(4, 1, 24, 24, 24))
    loss.backward()  # type: ignore[no-untyped-call]
    assert torch.isfinite(loss)


def padded(n: int, first: int, last: int, depth: int = SIDE, air: float = 0.0) -> Tensor:
    """Volumes with texture from slice `first` to `last` and nearly nothing before and behind."""
    x = 0.5 + air * normal(n, 1, depth, 8, 8, seed=1)
    x[:, :, first : last + 1] = uniform(n, 1, last - first + 1, 8, 8)
    return x


@given(st.integers(0, 8), st.integers(11, SIDE - 1), st.sampled_from([0.0, 0.01]))
@settings(max_examples=30)
def test_the_extent_is_what_shows_something(first: int, last: int, air: float) -> None:
    x = padded(3, first, last, air=air)
    assert [values.tolist() for values in extent(x, 2)] == [[first] * 3, [last] * 3]
    assert [values.tolist() for values in extent(x, SIDE)] == [[0] * 3, [SIDE - 1] * 3]  # too short: the whole depth
    assert [v.tolist() for v in extent(torch.full((2, 1, 6, 4, 4), 0.3), 2)] == [[0, 0], [5, 5]]


def test_slabs_are_slices_enlarged() -> None:
    x = normal(3, 2, 12, 6, 6)
    found = cut(x, torch.tensor([0, 4, 9]), 3)
    assert found.shape == x.shape
    for volume, start in enumerate((0, 4, 9)):
        for slice_ in range(12):
            at = min(max((slice_ + 0.5) / 4 - 0.5, 0), 2)  # of the slab's three slices
            low, share = int(at), at - int(at)
            upper = x[volume, :, start + min(low + 1, 2)]
            expected = (1 - share) * x[volume, :, start + low] + share * upper
            assert torch.allclose(found[volume, :, slice_], expected, atol=1e-5)


@given(st.floats(0.01, 1.0), st.integers(2, 40))
def test_two_slabs_always_fit(share: float, depth: int) -> None:
    assert 1 <= slices_of(share, depth) <= depth // 2


@given(
    st.integers(0, 10),
    st.integers(1, 5),
    st.integers(0, 12),
    st.integers(1, 20),
    st.floats(0, 0.999),
    st.floats(0, 0.999),
)
def test_pairs_stay_inside_do_not_overlap_and_are_not_too_far(
    first: int, thick: int, more: int, most: int, distance: float, at: float
) -> None:
    last, most = first + 2 * thick + more - 1, max(most, thick)
    below, above = pair(torch.tensor([first]), torch.tensor([last]), torch.tensor([[distance, at]]), thick, most)
    assert first <= int(below)
    assert int(above) + thick - 1 <= last
    assert thick <= int(above - below) <= most


def test_pairs_reach_every_distance_and_both_ends() -> None:
    u = uniform(4000, 2)
    below, above = pair(torch.full((4000,), 2), torch.full((4000,), 13), u, 2, 6)
    assert set((above - below).tolist()) == {2, 3, 4, 5, 6}
    assert int(below.min()) == 2
    assert int(above.max()) == 12


Slabs = SliceOrder | SlicePosition


def slab_method(cls: type[Slabs], n: int) -> tuple[Slabs, Tensor, Tensor]:
    """A method, what it shows, and the volumes: slice z of a volume is all z / 100, with a weak texture."""
    method = cls(volume_encoder(), still(dims=3)).eval()
    inputs = recorded_forward(method.encoder)
    x = (torch.arange(SIDE) / 100).view(1, 1, SIDE, 1, 1) + 0.1 * uniform(n, 1, 1, SIDE, SIDE)
    loss = method.loss(x.clone())
    return method, inputs[0], loss.detach()


def depth_of(shown: Tensor, n: int) -> Tensor:
    """Where each slab (b, c, d, h, w) was cut, by its mean grey level: start in slices (b,)."""
    texture = 0.1 * uniform(n, 1, 1, SIDE, SIDE).mean((1, 2, 3, 4)).repeat(len(shown) // n)
    return (shown.mean((1, 2, 3, 4)) * 0.25 + 0.5 - texture) * 100 - 1  # the middle of three slices


def test_slice_order_is_the_binary_cross_entropy_of_what_is_shown() -> None:
    method, shown, loss = slab_method(SliceOrder, 24)
    starts = depth_of(shown, 24)
    assert torch.allclose(starts, starts.round(), atol=0.02)
    first, second = starts.chunk(2)
    assert ((second - first).abs() > 2.9).all()
    assert ((second - first).abs() < 10.1).all()
    assert 4 < int((second > first).sum()) < 20
    z = method.encoder(shown).detach()
    losses, right = [], 0
    for volume in range(24):
        answer = float(method.head(torch.cat([z[volume], z[24 + volume]])[None]).detach())
        ascending = float(second[volume] > first[volume])
        losses.append(binary(answer, ascending))
        right += (answer > 0) == bool(ascending)
    assert float(loss) == pytest.approx(np.mean(losses), rel=1e-3)
    assert method.accuracy is not None
    assert float(method.accuracy) == pytest.approx(right / 24)


def test_slice_position_is_the_smooth_distance_to_where_the_slab_was_cut() -> None:
    method, shown, loss = slab_method(SlicePosition, 24)
    starts = depth_of(shown, 24)
    assert torch.allclose(starts, starts.round(), atol=0.02)
    answers = method.head(method.encoder(shown))[:, 0].detach()
    losses = []
    for answer, start in zip(answers.tolist(), starts.round().tolist(), strict=True):
        error = abs(answer - start / (SIDE - 3))
        losses.append(error**2 / 0.2 if error < 0.1 else error - 0.05)
    assert float(loss) == pytest.approx(np.mean(losses), rel=1e-3)


def test_positions_run_from_0_to_1_between_the_slices_that_show_something() -> None:
    first, last = torch.full((500,), 4), torch.full((500,), 15)
    start, target = place(first, last, uniform(500), 3)
    assert (int(start.min()), int(start.max())) == (4, 13)
    assert torch.allclose(target, (start - 4) / 9)
    assert (float(target.min()), float(target.max())) == (0, 1)


@pytest.mark.parametrize("cls", [SliceOrder, SlicePosition])
def test_no_empty_slice_is_shown(cls: type[Pretext]) -> None:
    method = cls(volume_encoder(), still(dims=3)).eval()
    inputs = recorded_forward(method.encoder)
    x = torch.full((16, 1, SIDE, SIDE, SIDE), 0.5)
    x[:, :, 5:16] = uniform(16, 1, 11, SIDE, SIDE)
    method.loss(x)
    assert (inputs[0].std((1, 3, 4)) > 0.3).all()


@pytest.mark.parametrize("cls", [SliceOrder, SlicePosition])
def test_every_slab_has_intensities_of_its_own(cls: type[Pretext]) -> None:
    views = VolumeViews(preset("mr", 1), (0.5,), (0.25,), crop_min=1.0, jitter=0.8)
    method = cls(volume_encoder(), views)
    inputs = recorded_forward(method.encoder)
    method.loss(uniform(1, 1, SIDE, SIDE, SIDE).expand(8, -1, -1, -1, -1) * 0.2 + 0.4)
    means = inputs[0].mean((1, 2, 3, 4))
    assert means.std() > 0.1
    assert len(means.unique()) == len(means)


def test_slices_need_an_order_that_is_known() -> None:
    for name, views in modalities().items():
        kept, why = served(read_space(), views.lacks)
        for method in ("slice_order", "slice_position"):
            if "order" in views.lacks:
                assert why[method] == "these images have no known order of slices"
                assert method not in views.methods
            else:
                assert method in kept
        assert ("orientation" in views.lacks) <= ("order" in views.lacks), name


def test_still_views_of_images_are_upright_already() -> None:
    x = uniform(2, 1, 16, 16)
    views = still()
    assert torch.allclose(views.upright()(x, torch.Generator()), views.standardise(x), atol=1e-5)
