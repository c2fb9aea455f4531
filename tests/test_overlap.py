"""Views of one image that share a part of it: how much, that crops stay inside, and what is left as it was drawn."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from autossl.errors import UserError
from autossl.pretext import METHODS
from autossl.pretext.batch import Batch
from autossl.pretext.patient_positives import PairViews
from autossl.pretext.rotation import unfaded
from autossl.views.images import MOST_OVERLAP, PIECE, Views
from autossl.views.overlap import overlapping
from autossl.views.presets import Preset, preset
from autossl.views.volumes import views_for
from tests.pretext_toys import fitting, uniform

STILL = Preset()
SIDE = 24


def make(dims: int, overlap: float, crop_min: float = 0.05) -> Views:
    return views_for(dims)(STILL, (0.0,), (1.0,), crop_min=crop_min, jitter=0.0, overlap=overlap)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def places(n: int, dims: int, side: int = SIDE) -> Tensor:
    """Images (n, dims, side, ...) whose channels are the coordinates of their pixels, in units of the side."""
    axis = (torch.arange(side) + 0.5) / side
    return torch.stack(torch.meshgrid([axis] * dims, indexing="ij")).expand(n, *[-1] * (dims + 1))


def boxes(shown: Tensor) -> Tensor:
    """First and last edges (n, dims, 2) of the crops that views of such images show, read off two pixels each."""
    dims, side = shown.shape[1], shown.shape[2]
    step = sum(side**axis for axis in range(dims))  # from a pixel on the diagonal to the next
    one, other = (shown.flatten(2)[..., at * step] for at in (side // 4, side * 3 // 4))
    length = 2 * (other - one)
    start = one - length * (1 / 4 + 1 / (2 * side))
    return torch.stack([start, start + length], 2)


def shared(first: Tensor, second: Tensor) -> Tensor:
    """The part of the smaller of two boxes (..., dims, 2) that lies in the other one."""
    ends, starts = torch.minimum(first, second)[..., 1], torch.maximum(first, second)[..., 0]
    least = torch.minimum(*(box.diff(dim=-1).squeeze(-1).prod(-1) for box in (first, second)))
    return (ends - starts).clamp_min(0).prod(-1) / least


@given(
    st.sampled_from([2, 3]), st.floats(0.01, MOST_OVERLAP), st.floats(0.03, 1.0), st.integers(2, 3), st.integers(0, 999)
)
def test_later_views_overlap_the_first(dims: int, overlap: float, crop_min: float, copies: int, seed: int) -> None:
    views, x = make(dims, overlap, crop_min), places(8, dims)
    shown = views(x, seeded(seed), copies=copies)
    found = boxes(shown).view(copies, 8, dims, 2)
    assert (shared(found[:1], found[1:]) > overlap - 1e-3).all()
    assert torch.equal(shown, views(x, seeded(seed), copies=copies))


@given(st.integers(1, 3), st.data())
def test_no_crop_leaves_its_image_and_the_share_is_reached(dims: int, data: st.DataObject) -> None:
    """Crops of any sides, also in corners and as wide as the image, asked for up to all that they can share."""
    side, place = st.floats(0.05, 1.0), st.floats(0.0, 1.0)

    def draw(one: st.SearchStrategy[float]) -> Tensor:
        return torch.tensor(data.draw(st.lists(one, min_size=2 * dims, max_size=2 * dims))).view(2, 1, dims)

    sides, at = draw(side), draw(place)
    most = torch.minimum(*sides).prod() / sides.prod(2).min()
    share = float(most) * data.draw(st.floats(0.0, 1.0))
    found = overlapping(at, sides, share)
    assert 0 <= found.min() <= found.max() <= 1
    start = found * (1 - sides)
    assert shared(*torch.stack([start, start + sides], 3)).item() > share - 1e-3
    assert torch.equal(found[0], at[0])


@pytest.mark.parametrize("dims", [2, 3])
def test_what_overlaps_enough_is_left_as_it_was_drawn(dims: int) -> None:
    x = places(200, dims, 8)
    free, views = make(dims, 0.0), make(dims, 0.3)
    u, moved = free.draw(x, seeded(), copies=2), views.draw(x, seeded(), copies=2)
    assert torch.equal(u, torch.rand(u.shape, generator=seeded()))
    assert torch.equal(u, torch.cat([free.draw(part, generator) for generator in [seeded()] for part in (x, x)]))
    share = shared(*boxes(free.apply(places(400, dims), u)).chunk(2))
    changed = (u != moved).any(1)
    assert not changed[:200].any()
    assert torch.equal(changed[200:], share < 0.3)
    assert changed.sum() > 5
    others = [column for column in range(u.shape[1]) if column not in views.place]
    assert torch.equal(u[:, others], moved[:, others])
    assert torch.equal(views.draw(x, seeded()), u[:200])


def test_a_batch_that_is_changed_in_pieces_overlaps_too() -> None:
    side, n = 512, 6
    assert n * 2 * side**2 > PIECE
    found = boxes(make(2, 0.4)(places(n, 2, side), seeded(3), copies=2))
    assert (shared(*found.chunk(2)) > 0.4 - 1e-3).all()


class Recorded(Views):
    """Views that keep what was drawn for them."""

    def apply(self, images: Tensor, u: Tensor) -> Tensor:
        self.__dict__.setdefault("drawn", []).append(u)
        return super().apply(images, u)


@pytest.mark.parametrize("name", ["simclr", "lejepa", "pixpro", "vicregl", "glcl", "pcrl", "dira"])
def test_methods_of_several_views_draw_them_together(name: str) -> None:
    least = {}
    for overlap in (0.0, 0.4):
        views = Recorded(STILL, (0.0,), (1.0,), crop_min=0.05, jitter=0.0, overlap=overlap)
        drawn = views.__dict__["drawn"] = []  # shared by the copies that methods make of their views
        METHODS[name](fitting(name, 1), views).loss(Batch(uniform(32, 1, 16, 16)))
        u = torch.cat(drawn)
        found = boxes(make(2, 0.0).apply(places(len(u), 2), u)).view(-1, 32, 2, 2)
        assert len(found) > 1
        least[overlap] = float(shared(found[:1], found[1:]).min())
    assert least[0.0] < 0.1
    assert least[0.4] > 0.4 - 1e-3


def test_views_of_another_preset_and_of_patients_keep_the_overlap() -> None:
    views = Views(preset("ultrasound", 1), (0.5,), (0.25,), overlap=0.1)
    assert unfaded(views).overlap == views.upright().overlap == 0.1
    pairs = PairViews(make(2, 0.4))
    pairs.partner = torch.arange(32)
    found = boxes(pairs(places(32, 2), seeded(), copies=2))
    assert (shared(*found.chunk(2)) > 0.4 - 1e-3).all()


@pytest.mark.parametrize("wrong", [-0.1, 0.6])
def test_an_overlap_that_crops_may_not_have_is_refused(wrong: float) -> None:
    with pytest.raises(UserError, match=r"overlap in \[0, 0.5\] was wanted"):
        make(2, wrong)
