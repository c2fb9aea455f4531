"""VoCo and the triple of Swin UNETR: overlaps counted pixel by pixel, losses naively, cut-outs, and learning in 3-D."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from autossl.pretext import METHODS
from autossl.pretext.batch import Batch
from autossl.pretext.rotation import turn
from autossl.pretext.simclr import nt_xent
from autossl.pretext.swin_unetr import SHORTEST, SwinUNETR, box_mask, in_disc
from autossl.pretext.voco import VoCo, cut, grid_corners, intensity_only, overlaps, random_corners, voco
from autossl.views.images import Views
from autossl.views.presets import Preset, preset
from autossl.views.volumes import VolumeViews
from tests.pretext_learning import GAIN, SEED, STEADY, score
from tests.pretext_toys import (
    Blank,
    blobs,
    cosine,
    encoder,
    normal,
    quilts,
    recorded,
    recorded_forward,
    still,
    train,
    uniform,
    volume_encoder,
)

GRIDS = [(3, 3), (4, 4), (1, 4, 4), (2, 3, 3)]


@given(st.integers(0, 999), st.integers(8, 13), st.sampled_from(GRIDS))
def test_overlaps_are_the_pixels_that_a_crop_shares_with_each_cell(
    seed: int, side: int, counts: tuple[int, ...]
) -> None:
    dims = len(counts)
    cell = [side // count for count in counts]
    corner = random_corners(uniform(2, 3, dims, seed=seed), cell, counts)
    share = overlaps(corner, cell, counts)
    assert share.shape == (2, 3, math.prod(counts))
    assert torch.allclose(share.sum(2), torch.ones(2, 3), atol=1e-6)
    assert ((share >= 0) & (share <= 1)).all()
    numbers = torch.full((1, 1, *[side] * dims), -1.0)  # which cell a pixel is of
    for number, places in enumerate(np.ndindex(*counts)):
        slices = [slice(place * length, (place + 1) * length) for place, length in zip(places, cell, strict=True)]
        numbers[0, 0][tuple(slices)] = number
    crops = cut(numbers.expand(2, -1, *[-1] * dims), corner, cell).view(2, 3, -1)
    for image, crop in np.ndindex(2, 3):
        counted = [float((crops[image, crop] == number).float().mean()) for number in range(math.prod(counts))]
        assert share[image, crop].tolist() == pytest.approx(counted, abs=1e-6)


def test_a_crop_on_a_cell_is_that_cell_and_lies_nowhere_else() -> None:
    for counts in GRIDS:
        cell = [12 // count for count in counts]
        on = grid_corners(cell, counts, torch.device("cpu"))[None]
        assert torch.equal(overlaps(on, cell, counts)[0], torch.eye(math.prod(counts)))
        ends = torch.tensor([0.0, 1 - 2**-24]).view(2, 1, 1).expand(2, 1, len(counts))
        first, last = random_corners(ends, cell, counts)[:, 0].tolist()
        assert (first, last) == (on[0, 0].tolist(), on[0, -1].tolist())


def test_crops_are_cut_where_they_should() -> None:
    x, corner = normal(2, 3, 7, 8, 9), torch.tensor([[[0, 1, 2], [3, 3, 3]], [[4, 5, 6], [1, 0, 1]]])
    crops = cut(x, corner, [3, 2, 3])
    for row, (image, crop) in enumerate(np.ndindex(2, 2)):
        d, h, w = corner[image, crop].tolist()
        assert torch.equal(crops[row], x[image, :, d : d + 3, h : h + 2, w : w + 3])


def test_voco() -> None:
    """Equations 1, 3 and 5 of Wu et al. 2024, with the code's weights and terms as the docstring has them."""
    base, random = normal(2, 4, 5), normal(2, 3, 5, seed=1)
    share = (uniform(2, 3, 4) - 0.4).clamp_min(0)
    above, negative, alike = 0.0, [], []
    for image, crop, cell in np.ndindex(2, 3, 4):
        close = max(cosine(random[image, crop], base[image, cell]), 0.0)
        wanted = float(share[image, crop, cell])
        if wanted > 0:
            above -= wanted * math.log(1 - abs(wanted - close) + 1e-6)
        else:
            negative.append(close**2)
    for image, one, other in np.ndindex(2, 4, 4):
        if one != other:
            alike.append(max(cosine(base[image, one], base[image, other]), 0.0))
    expected = above / float(share.sum()) + np.mean(negative) + 0.3 * np.mean(alike)
    assert float(voco(base, random, share, 0.3)) == pytest.approx(float(expected), rel=1e-5)


def test_base_crops_learn_from_the_regulariser_alone() -> None:
    share = overlaps(torch.tensor([[[1, 1]]]), [2, 2], (3, 3))
    base, random = normal(1, 9, 5).requires_grad_(), normal(1, 1, 5, seed=1).requires_grad_()
    voco(base, random, share, 0.0).backward()  # type: ignore[no-untyped-call]
    assert base.grad is not None
    assert random.grad is not None
    assert not base.grad.any()
    assert random.grad.any()
    voco(base, random, share, 1.0).backward()  # type: ignore[no-untyped-call]
    assert base.grad.any()


@pytest.mark.parametrize("perfect", [True, False])
def test_the_loss_of_voco_is_zero_where_cosines_are_the_overlaps(perfect: bool) -> None:
    """A crop on one of orthogonal base crops; one that points elsewhere costs both terms."""
    share = torch.eye(3)[None]
    random = torch.eye(3)[None] if perfect else torch.eye(3).roll(1, 0)[None]
    expected = 0.0 if perfect else -math.log(1e-6) + 0.5
    assert float(voco(torch.eye(3)[None], random, share, 1.0)) == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("dims", [2, 3])
def test_voco_shows_the_grid_and_then_crops_of_the_same_size(dims: int) -> None:
    network = encoder() if dims == 2 else volume_encoder()
    side = network.image_size
    views = (Views if dims == 2 else VolumeViews)(Preset(), (0.5,), (0.25,), crop_min=1.0, jitter=0.0)
    method = VoCo(network, views, grid=3, crops=2).eval()
    inputs = recorded_forward(method.encoder)
    x = uniform(2, 1, *[side] * dims)
    found = float(method.loss(Batch(x)).detach())
    cell = [side // count for count in method.counts]
    assert inputs[0].shape == (2 * 9 + 2 * 2, 1, *cell)
    on = grid_corners(cell, method.counts, torch.device("cpu")).expand(2, -1, -1)
    assert torch.allclose(inputs[0][:18], cut(views.standardise(x), on, cell), atol=1e-4)
    z = method.projector(method.encoder(inputs[0])).detach()
    shares = []  # of the crops, found by their voxels among those of the image
    for crop, image in zip(inputs[0][18:], views.standardise(x).repeat_interleave(2, 0), strict=True):
        corners = torch.cartesian_prod(*(torch.arange(side - length + 1) for length in cell))
        every = cut(image[None], corners[None], cell)
        nearest = (every - crop).abs().flatten(1).amax(1).argmin()
        shares.append(overlaps(corners[None, nearest[None]], cell, method.counts)[0])
    expected = voco(z[:18].view(2, 9, -1), z[18:].view(2, 2, -1), torch.stack(shares).view(2, 2, 9), 1.0)
    assert found == pytest.approx(float(expected), rel=1e-3)


@pytest.mark.parametrize("modality", ["microscopy", "xray", "mr"])
@pytest.mark.parametrize("kind", [Views, VolumeViews])
def test_views_of_intensity_only_leave_every_pixel_in_its_place(modality: str, kind: type[Views]) -> None:
    views = kind(preset(modality, 1), (0.5,), (0.25,), crop_min=0.2, jitter=0.0)
    x = uniform(3, 1, *[11] * (2 if kind is Views else 3))
    shown = intensity_only(views)(x, torch.Generator().manual_seed(0), copies=2)
    assert torch.allclose(shown, views.standardise(x).repeat(2, *[1] * (x.ndim - 1)), atol=1e-3)


@given(
    st.integers(0, 999), st.floats(0, 0.6), st.floats(0.1, 0.5), st.lists(st.integers(8, 24), min_size=2, max_size=3)
)
def test_cut_outs_are_boxes_that_cover_no_more_than_their_share(
    seed: int, share: float, side: float, size: list[int]
) -> None:
    u = uniform(3, 12, 2 * len(size), seed=seed)
    mask = box_mask(u, torch.tensor([share] * 3), side, *size)
    assert mask.shape == (3, 1, *size)
    assert mask.dtype == torch.bool
    whole = math.prod(size)
    for image in range(3):
        expected, volume = torch.zeros(size, dtype=torch.bool), 0
        for box in u[image].tolist():
            slices, pixels = [], 1
            for axis, n in enumerate(size):
                length = min(max(round(n * (SHORTEST + (side - SHORTEST) * box[axis])), 1), n)
                start = int(box[len(size) + axis] * (n - length + 1))
                slices.append(slice(start, start + length))
                pixels *= length
            volume += pixels
            if volume > share * whole:
                break
            expected[tuple(slices)] = True
        wrong = (mask[image, 0] != expected).float().mean()
        assert wrong < 0.3  # a length that is rounded the other way in single precision
        assert float(mask[image].float().mean()) <= share + 1e-6


@pytest.mark.parametrize("dims", [2, 3])
def test_cut_outs_come_near_their_share(dims: int) -> None:
    method = SwinUNETR(encoder() if dims == 2 else volume_encoder(), still(), share=0.3)
    mask = box_mask(uniform(64, method.boxes, 2 * dims), torch.full((64,), 0.3), 0.25, *[20] * dims)
    covered = mask.flatten(1).float().mean(1)
    assert covered.max() <= 0.3
    assert covered.mean() > 0.18  # boxes overlap


def test_copies_are_cut_out_by_noise_and_by_another_image() -> None:
    method = SwinUNETR(encoder(), still(), share=0.4)
    shades = torch.arange(1.0, 9).view(8, 1, 1, 1).expand(-1, 1, 16, 16)  # each copy has a value of its own
    seen = method.disturbed(shades)
    own = (seen == shades).flatten(1).float().mean(1)
    other = torch.stack([(seen == value).flatten(1).float().mean(1) for value in range(1, 9)], 1)
    foreign = other.sum(1) - own
    assert (own > 0.2 - 1e-6).all()
    assert 0 < float(foreign.max()) <= 0.4
    assert 0 < float((1 - own - foreign).max()) <= 0.4
    for image in range(8):
        sources = [value for value in range(8) if value != image and other[image, value] > 0]
        assert len(sources) <= 1
        assert all((value - image) % 8 != 4 for value in sources), "the other copy of an image is no other image"


@pytest.mark.parametrize("dims", [2, 3])
def test_a_disc_in_the_plane_of_the_turn(dims: int) -> None:
    shown = in_disc(torch.ones(2, 3, *[11] * dims))
    assert shown.shape == (2, 3, *[11] * dims)
    assert torch.equal(shown, torch.rot90(shown, 1, (dims, dims + 1)))
    assert (shown[..., 0, 0] == 0).all()
    assert (shown[..., 5, 5] == 1).all()


@pytest.mark.parametrize("groups", [None, [0, 0, 1, 2]])
@pytest.mark.parametrize("weights", [(1.0, 1.0, 1.0), (0.5, 3.0, 0.2)])
def test_the_triple_is_the_weighted_sum_of_its_losses(
    weights: tuple[float, float, float], groups: list[int] | None
) -> None:
    """Equations 4 to 7 of Tang et al. 2022; against an answer of zeros L1 is the mean absolute value of the target."""
    names: dict[str, Any] = dict(zip(("inpainting", "contrast", "rotation"), weights, strict=True))
    method = SwinUNETR(encoder(), still(), **names).eval()
    method.decoder = Blank()  # type: ignore[assignment]
    inputs = recorded(method.encoder)
    x, patients = uniform(4, 1, 16, 16), None if groups is None else torch.tensor(groups)
    found = float(method.loss(Batch(x, patients)).detach())
    target = in_disc(still().standardise(x))
    z = method.encoder.features(inputs[0]).pooled.detach()
    answers = method.head(z).detach().double()
    terms = {}
    for pair in np.ndindex(4, 4):  # whichever turn was first in each copy
        copies = [turn(target, first, method.turns) for first in pair]
        label = torch.cat([numbers for _, numbers in copies])
        kept = (torch.cat([turned for turned, _ in copies]) - inputs[0]).abs() < 1e-4
        entropy = [float(row.exp().sum().log() - row[right]) for row, right in zip(answers, label, strict=True)]
        terms[float(kept.float().mean())] = np.mean(entropy)
    expected = weights[0] * float(target.abs().mean())
    expected += weights[1] * float(nt_xent(method.projector(z), 0.5, patients).detach())
    expected += weights[2] * float(terms[max(terms)])  # the right turns keep most of the pixels
    assert found == pytest.approx(expected, rel=1e-3)
    assert method.accuracy is not None


LEARNING: dict[str, tuple[Any, int, int, dict[str, Any]]] = {  # volumes, how many, steps and hyperparameters
    "voco": (lambda n, seed: quilts(n, seed, dims=3), 144, 60, {"grid": 2, "crops": 8}),
    "swin_unetr": (blobs, 96, 24, {}),
}


def gain(name: str) -> float:
    """What short training on volumes adds to the score."""
    toy, count, steps, own = LEARNING[name]
    images, y = toy(count, SEED)
    torch.manual_seed(SEED)
    network = volume_encoder()
    views = VolumeViews(STEADY, (float(images.mean()),), (float(images.std()),), jitter=0.1)
    method = METHODS[name](network, views, **own)
    shown = views.standardise(images)
    before = score(network, shown, y)
    train(method.train(), images, steps=steps, batch=24, lr=4e-3)
    return score(network, shown, y) - before


@pytest.mark.parametrize("name", LEARNING)
def test_the_embedding_of_volumes_beats_the_untrained_one(name: str) -> None:
    assert gain(name) > GAIN


def test_inputs_in_bf16_autocast_give_a_finite_loss() -> None:
    for method in (VoCo(encoder(), still()), SwinUNETR(encoder(), still())):
        method.encoder.low_precision = True
        with torch.autocast("cpu", torch.bfloat16):
            assert torch.isfinite(method.train().loss(Batch(uniform(4, 1, 16, 16))))
