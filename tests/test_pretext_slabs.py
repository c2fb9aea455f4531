"""Slice order and slice position: formulas written naively, and that empty slices and brightness tell nothing."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from autossl.pretext import Pretext
from autossl.pretext.batch import Batch
from autossl.pretext.slabs import cut, extent, slices_of
from autossl.pretext.slice_order import SliceOrder, pair
from autossl.pretext.slice_position import SlicePosition, place
from autossl.trials.fitted import FLAT, VOLUMES_ONLY, served
from autossl.trials.space import read_space
from autossl.views.presets import modalities, preset
from autossl.views.volumes import VolumeViews
from tests.pretext_toys import SIDE, binary, encoder, normal, recorded_forward, still, uniform, volume_encoder


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
    assert not method.paired
    inputs = recorded_forward(method.encoder)
    x = (torch.arange(SIDE) / 100).view(1, 1, SIDE, 1, 1) + 0.1 * uniform(n, 1, 1, SIDE, SIDE)
    loss = method.loss(Batch(x.clone()))
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


@pytest.mark.parametrize("cls", [SliceOrder, SlicePosition])
@pytest.mark.parametrize("positions", [None, torch.full((6,), torch.nan), torch.full((6,), 0.5)])
def test_slices_of_which_nothing_is_known_teach_nothing(cls: type[Slabs], positions: Tensor | None) -> None:
    method = cls(encoder(), still())
    loss = method.loss(Batch(uniform(6, 1, 16, 16), torch.arange(6) // 2, positions))
    if cls is SliceOrder or positions is None or positions.isnan().any():
        assert float(loss.detach()) == 0
    loss.backward()  # type: ignore[no-untyped-call]
    assert all(torch.isfinite(p.grad).all() for p in method.parameters() if p.grad is not None)


def test_order_of_slices_is_asked_of_one_patient_only_and_where_it_is_known() -> None:
    method = SliceOrder(encoder(), still()).eval()
    assert method.paired
    patients = torch.tensor([5, 7, 5, 9, 7, 7, 3, 3])
    at = [0.2, 0.0, 0.9, 0.5, 1.0, torch.nan, 0.4, 0.4]
    x = uniform(8, 1, 16, 16)
    loss = method.loss(Batch(x, patients, torch.tensor(at)))
    z = method.encoder(method.views.standardise(x)).detach()
    # 0 and 2 lie in one stack; of 1, 4 and 5, each with the next, only 1 with 4 is known; 6 and 7 lie in one place
    losses, right = [], 0
    for one, other in ((0, 2), (2, 0), (1, 4)):
        answer = float(method.head(torch.cat([z[one], z[other]])[None]).detach())
        losses.append(binary(answer, float(at[other] > at[one])))
        right += (answer > 0) == (at[other] > at[one])
    assert float(loss.detach()) == pytest.approx(np.mean(losses), rel=1e-4)
    assert method.accuracy is not None
    assert float(method.accuracy) == pytest.approx(right / 3)


def test_the_position_of_slices_is_learnt_where_it_is_known() -> None:
    method = SlicePosition(encoder(), still(), beta=0.1).eval()
    at = torch.tensor([0.2, torch.nan, 0.9, 1.0])
    x = uniform(4, 1, 16, 16)
    loss = float(method.loss(Batch(x, positions=at)).detach())
    answers = method.head(method.encoder(method.views.standardise(x)))[:, 0].detach()
    errors = [abs(float(answers[i] - at[i])) for i in (0, 2, 3)]
    expected = [error**2 / 0.2 if error < 0.1 else error - 0.05 for error in errors]
    assert loss == pytest.approx(np.mean(expected), rel=1e-4)


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
    method.loss(Batch(x))
    assert (inputs[0].std((1, 3, 4)) > 0.3).all()


@pytest.mark.parametrize("cls", [SliceOrder, SlicePosition])
def test_every_slab_has_intensities_of_its_own(cls: type[Pretext]) -> None:
    views = VolumeViews(preset("mr", 1), (0.5,), (0.25,), crop_min=1.0, jitter=0.8)
    method = cls(volume_encoder(), views)
    inputs = recorded_forward(method.encoder)
    method.loss(Batch(uniform(1, 1, SIDE, SIDE, SIDE).expand(8, -1, -1, -1, -1) * 0.2 + 0.4))
    means = inputs[0].mean((1, 2, 3, 4))
    assert means.std() > 0.1
    assert len(set(means.tolist())) == len(means)


def test_what_only_volumes_have_is_not_searched_for_images() -> None:
    whole = read_space()
    images, volumes = (served(whole, frozenset({lacking}))[0] for lacking in (VOLUMES_ONLY, FLAT))
    for name, idle in (("slice_order", {"gap", "thickness"}), ("slice_position", {"thickness"})):
        assert set(whole[name].searched) - set(images[name].searched) == idle
        assert volumes[name] == whole[name]
        assert all(set(prior) == set(images[name].searched) for prior in images[name].priors)


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
