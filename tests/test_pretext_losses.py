"""Losses against the papers' formulas written naively, and what masking and painting must never do."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from autossl.nn.encoder import Features
from autossl.nn.heads import Decoder, Teacher, mlp
from autossl.pretext.barlow import barlow_twins
from autossl.pretext.batch import Batch
from autossl.pretext.byol import BYOL, byol
from autossl.pretext.cnn_mae import CNNMAE, block_mask, masked_error
from autossl.pretext.denoising import Denoising
from autossl.pretext.genesis import (
    BOXES,
    SHUFFLES,
    ModelsGenesis,
    boxes,
    how_many,
    intensity_curve,
    local_shuffles,
    through_curve,
)
from autossl.pretext.jigsaw import different_orders, normalised, one_channel, tiles
from autossl.pretext.rotation import in_ball, turn, turns
from autossl.pretext.simclr import nt_xent
from autossl.pretext.vicreg import vicreg
from autossl.views.images import Views
from autossl.views.presets import Preset
from tests.pretext_toys import Blank, cosine, encoder, normal, recorded, still, uniform


@pytest.mark.parametrize("groups", [None, [0, 0, 1, 2, 1, 3]])
@pytest.mark.parametrize("temperature", [0.1, 0.5])
def test_nt_xent(groups: list[int] | None, temperature: float) -> None:
    """Equation 1 of Chen et al. 2020; with patients, other images of a patient are in no denominator."""
    b = 6
    z = normal(2 * b, 5)
    patient = groups or list(range(b))
    losses = []
    for i in range(2 * b):
        positive = (i + b) % (2 * b)
        allowed = [k for k in range(2 * b) if k == positive or patient[k % b] != patient[i % b]]
        denominator = sum(math.exp(cosine(z[i], z[k]) / temperature) for k in allowed)
        losses.append(-math.log(math.exp(cosine(z[i], z[positive]) / temperature) / denominator))
    found = nt_xent(z, temperature, None if groups is None else torch.tensor(groups))
    assert float(found) == pytest.approx(np.mean(losses), rel=1e-5)


def test_vicreg() -> None:
    """Equations 1 to 6 of Bardes et al. 2022; variance and covariance as in the paper's Algorithm 1."""
    z, other = normal(9, 4), 0.3 * normal(9, 4, seed=1)
    invariance = np.mean([[float((z[i, j] - other[i, j]) ** 2) for j in range(4)] for i in range(9)])
    spread, correlated = 0.0, 0.0
    for batch in (z.double().numpy(), other.double().numpy()):
        spread += sum(max(0.0, 1 - math.sqrt(np.var(batch[:, j], ddof=1) + 1e-4)) for j in range(4)) / 4 / 2
        matrix = np.cov(batch.T)
        correlated += sum(matrix[i, j] ** 2 for i in range(4) for j in range(4) if i != j) / 4
    assert float(vicreg(z, other, 25, 20, 2)) == pytest.approx(25 * invariance + 20 * spread + 2 * correlated, rel=1e-5)


def test_barlow_twins() -> None:
    """Equations 1 and 2 of Zbontar et al. 2021."""
    z, other = normal(9, 4), normal(9, 4, seed=1)
    matrix = np.corrcoef(z.T, other.T)[:4, 4:]
    expected = sum((1 - matrix[i, i]) ** 2 for i in range(4))
    expected += 0.01 * sum(matrix[i, j] ** 2 for i in range(4) for j in range(4) if i != j)
    assert float(barlow_twins(z, other, 0.01)) == pytest.approx(expected, rel=1e-3)


def test_byol() -> None:
    """Equation 2 of Grill et al. 2020: the squared distance of the normalised vectors."""
    p, t = normal(7, 5), normal(7, 5, seed=1)
    expected = np.mean([float(((a / a.norm()) - (b / b.norm())).square().sum()) for a, b in zip(p, t, strict=True)])
    assert float(byol(p, t)) == pytest.approx(expected, rel=1e-5)


def test_byol_adds_both_directions_and_its_teacher_slows_to_rest() -> None:
    method = BYOL(encoder(), still(), teacher_rate=0.2)
    weight = next(method.encoder.parameters())
    theirs = next(method.teacher.parameters())
    with torch.no_grad():
        weight.add_(1.0)
    before = theirs.clone()
    method.after_step(0.0)
    assert torch.allclose(theirs, before + 0.2, atol=1e-6)
    method.after_step(0.5)
    assert torch.allclose(theirs, before + 0.2 + 0.1 * 0.8, atol=1e-6)
    rest = theirs.clone()
    method.after_step(1.0)
    assert torch.equal(theirs, rest)
    method.eval()
    x = uniform(4, 1, 16, 16)
    z = method.projector(method.encoder(still().standardise(x)))
    expected = 2 * byol(method.predictor(z), method.teacher(still().standardise(x)))
    assert float(method.loss(Batch(x)).detach()) == pytest.approx(float(expected.detach()), rel=1e-4)


def test_a_teacher_averages_weights_and_buffers_and_never_learns() -> None:
    student = mlp(3, 4, 2)
    teacher = Teacher(student)
    student(normal(8, 3) + 2)
    teacher.update(student, 0.25)
    norm, mean = student[1], teacher.module.get_buffer("1.running_mean")
    assert isinstance(norm, torch.nn.BatchNorm1d)
    assert norm.running_mean is not None
    assert torch.allclose(mean, 0.25 * norm.running_mean)
    assert not any(p.requires_grad for p in teacher.parameters())
    assert not teacher(normal(8, 3)).requires_grad


@given(st.integers(2, 14), st.floats(0.01, 0.99), st.integers(0, 99))
def test_every_image_has_the_same_number_of_masked_blocks(grid: int, ratio: float, seed: int) -> None:
    mask = block_mask(5, grid, ratio, torch.Generator().manual_seed(seed))
    assert set(mask.flatten().tolist()) == {0.0, 1.0}
    counts = mask.sum((1, 2, 3))
    assert (counts == counts[0]).all()
    assert abs(float(counts[0]) - ratio * grid * grid) <= 1


def test_only_masked_pixels_are_in_the_loss() -> None:
    restored, target, mask = normal(3, 2, 6, 6), normal(3, 2, 6, 6, seed=1), (uniform(3, 1, 6, 6) < 0.4).float()
    terms = [
        float((restored[i, c, y, x] - target[i, c, y, x]) ** 2)
        for i, c, y, x in np.ndindex(3, 2, 6, 6)
        if mask[i, 0, y, x] == 1
    ]
    assert float(masked_error(restored, target, mask)) == pytest.approx(np.mean(terms), rel=1e-5)
    restored.requires_grad_(True)
    masked_error(restored, target, mask).backward()  # type: ignore[no-untyped-call]
    assert restored.grad is not None
    assert torch.equal(restored.grad.abs().sum(1, keepdim=True) > 0, mask > 0)


@pytest.mark.parametrize("method", [ModelsGenesis, Denoising])
def test_the_target_of_restoration_is_the_undisturbed_image(method: type[ModelsGenesis | Denoising]) -> None:
    """Against an answer of zeros the loss is the mean square of the clean standardised image, whatever the input."""
    pretext = method(encoder(), still())
    pretext.decoder = Blank()  # type: ignore[assignment]
    x = uniform(8, 1, 16, 16)
    expected = float(still().standardise(x).square().mean())
    assert float(pretext.loss(Batch(x)).detach()) == pytest.approx(expected, rel=1e-4)


def test_masked_input_shows_nothing_of_the_target() -> None:
    """What lies under the mask does not change what the encoder sees; the rest is the standardised image."""
    pretext = CNNMAE(encoder(), still(), ratio=0.5, grid=4)
    inputs = recorded(pretext.encoder)
    x = uniform(6, 1, 16, 16)
    pretext.views.weak(x, pretext.generator.manual_seed(3))  # the views draw first, then the mask
    hidden = F.interpolate(block_mask(6, 4, 0.5, pretext.generator), (16, 16), mode="nearest")
    losses = []
    for image in (x, torch.where(hidden > 0, uniform(6, 1, 16, 16, seed=9), x)):
        pretext.generator.manual_seed(3)
        losses.append(float(pretext.loss(Batch(image)).detach()))
    assert torch.allclose(inputs[0], still().standardise(x) * (1 - hidden), atol=1e-4)
    assert torch.allclose(inputs[1], inputs[0], atol=1e-4)
    assert losses[0] != losses[1]


def test_denoising_adds_noise_up_to_sigma() -> None:
    pretext = Denoising(encoder(), still(), sigma=0.2)
    inputs = recorded(pretext.encoder)
    pretext.loss(Batch(torch.full((256, 1, 16, 16), 0.5)))
    strength = inputs[0].std((1, 2, 3)) * 0.25  # back to the images' units
    assert 0.17 < float(strength.max()) < 0.24
    assert float(strength.min()) < 0.02
    assert 0.08 < float(strength.mean()) < 0.12


def test_intensity_curves_rise_or_fall_between_black_and_white() -> None:
    falling = torch.arange(64) % 2 == 0
    curve = intensity_curve(uniform(64, 4), falling)
    steps = curve.diff(dim=1) * torch.where(falling, -1.0, 1.0)[:, None]
    assert steps.min() > -1e-5
    assert torch.allclose(curve[:, 0], falling.float(), atol=1e-4)
    assert torch.allclose(curve[:, -1], 1 - falling.float(), atol=1e-4)
    # a cubic curve whose control points lie on the diagonal changes nothing
    straight = intensity_curve(torch.tensor([[1 / 3, 2 / 3, 1 / 3, 2 / 3]]), torch.tensor([False]))
    x = uniform(1, 3, 5, 5)
    assert torch.allclose(through_curve(x, straight), x, atol=1e-4)


@pytest.mark.parametrize("quantitative", [False, True])
def test_intensity_falls_only_where_it_is_no_physical_quantity(quantitative: bool) -> None:
    views = Views(Preset(quantitative=quantitative), (0.5,), (0.25,), crop_min=1.0, jitter=0.0)
    pretext = ModelsGenesis(encoder(), views, intensity=1.0, shuffle=0.0, paint=0.0)
    ramp = torch.linspace(0, 1, 16).expand(64, 1, 16, 16)
    bent = pretext.disturbed(ramp)
    falls = bent[:, 0, 0, -1] < bent[:, 0, 0, 0]
    assert int(falls.sum()) == 0 if quantitative else 10 < int(falls.sum()) < 54


def test_local_shuffles_keep_every_pixel_near_its_place() -> None:
    orders = local_shuffles(28, 28)
    assert orders.shape == (SHUFFLES, 784)
    assert all(order.sort().values.equal(torch.arange(784)) for order in orders)
    moved = (orders != torch.arange(784)).float().mean()
    assert moved > 0.2
    distance = (orders // 28 - torch.arange(784) // 28).abs().max()
    assert 0 < int(distance) < 14


@given(st.integers(0, 999), st.booleans(), st.integers(8, 40), st.integers(8, 40))
def test_boxes_have_the_sides_they_should(seed: int, large: bool, h: int, w: int) -> None:
    u = uniform(4, 4 * BOXES, seed=seed)
    one = boxes(u, torch.tensor([large] * 4), torch.full((4,), 0.0 if large else 0.06), h, w)[:, 0]
    many = boxes(u, torch.tensor([large] * 4), torch.full((4,), 0.99), h, w)[:, 0]
    least, most = (3 / 7, 4 / 7) if large else (1 / 6, 1 / 3)
    assert (many | one).equal(many)
    for picture in one:
        rows, columns = int(picture.any(1).sum()), int(picture.any(0).sum())
        assert least * h - 1 <= rows <= most * h + 1
        assert least * w - 1 <= columns <= most * w + 1
        assert int(picture.sum()) == rows * columns


@pytest.mark.parametrize("large", [True, False])
def test_another_box_follows_with_the_probability_of_the_papers_code(large: bool) -> None:
    """As utils.py of ModelsGenesis counts: up to 5 small boxes, or 1 and up to 4 more large ones, each with .95."""
    found = how_many(uniform(40_000), torch.tensor(large))
    more = BOXES - large
    expected = {large + k: 0.95**k * 0.05 for k in range(more)} | {BOXES: 0.95**more}
    for number, share in expected.items():
        assert float((found == number).float().mean()) == pytest.approx(share, abs=0.006)


@pytest.mark.parametrize("outside", [0.0, 1.0])
def test_painting_in_hides_little_and_painting_out_hides_much(outside: float) -> None:
    pretext = ModelsGenesis(encoder(), still(), intensity=0.0, shuffle=0.0, paint=1.0, outside=outside)
    x = torch.full((128, 1, 28, 28), 2.0)  # no noise has this value
    hidden = (pretext.disturbed(x) != 2.0).float().mean((1, 2, 3))
    assert (hidden.mean() > 0.35) if outside else (hidden.mean() < 0.25)


def test_turns_are_right_angles_in_turn() -> None:
    x = uniform(6, 1, 5, 5)
    turned, angles = turn(x, 3, turns(2))
    assert angles.tolist() == [3, 0, 1, 2, 3, 0]
    for image, result, angle in zip(x, turned, angles.tolist(), strict=True):
        assert torch.equal(result, torch.rot90(image, angle, (1, 2)))


def test_the_disc_looks_the_same_however_it_is_turned() -> None:
    disc = in_ball(torch.ones(1, 1, 21, 28))
    assert disc.shape == (1, 1, 21, 21)
    assert disc[0, 0, 0, 0] == 0
    assert disc[0, 0, 10, 10] == 1
    assert torch.equal(disc, torch.rot90(disc, 1, (2, 3)))


def test_one_channel_stands_in_the_place_of_all() -> None:
    x = normal(4, 3, 5, 6)
    shown = one_channel(x, torch.tensor([0.0, 0.34, 0.67, 0.9999]))
    for image, found, channel in zip(x, shown, (0, 1, 2, 2), strict=True):
        assert torch.equal(found, torch.stack([image[channel]] * 3))


def test_tiles_are_cut_where_they_should_and_normalised() -> None:
    x = normal(3, 2, 28, 28)
    order = torch.tensor([[0, 1, 2, 3], [3, 2, 1, 0], [1, 0, 3, 2]])
    shift = uniform(3, 4, 2)
    cut = tiles(x, order, shift, 2, 0.15)
    assert cut.shape == (12, 2, 12, 12)
    for image in range(3):
        for place in range(4):
            cell = int(order[image, place])
            top = cell // 2 * 14 + int(shift[image, place, 0] * 3)
            left = cell % 2 * 14 + int(shift[image, place, 1] * 3)
            assert torch.equal(cut[image * 4 + place], x[image, :, top : top + 12, left : left + 12])
    brighter = normalised(3 * cut + 5)
    assert torch.allclose(brighter.mean((2, 3)), torch.zeros(12, 2), atol=1e-5)
    assert torch.allclose(brighter.std((2, 3)), torch.ones(12, 2), atol=0.1)


@pytest.mark.parametrize(("n", "count", "expected"), [(4, 24, 24), (4, 100, 24), (9, 24, 24), (9, 100, 100)])
def test_orders_are_different_permutations(n: int, count: int, expected: int) -> None:
    orders = different_orders(n, count)
    assert len({tuple(order) for order in orders.tolist()}) == len(orders) == expected
    assert (np.sort(orders, axis=1) == np.arange(n)).all()
    if n == 9 and count == 24:
        apart = [(a != b).sum() for i, a in enumerate(orders) for b in orders[:i]]
        assert min(apart) >= 7


@pytest.mark.parametrize("skips", [True, False])
@pytest.mark.parametrize("size", [(28, 28), (30, 26)])
def test_a_decoder_gives_the_size_asked_for(skips: bool, size: tuple[int, int]) -> None:
    decoder = Decoder((8, 16, 32), 3, 4, width=8, skips=skips)
    maps, pooled = [normal(2, 8, 7, 7), normal(2, 16, 4, 4), normal(2, 32, 2, 2)], normal(2, 5)
    image = decoder(Features(pooled, maps), size)
    assert image.shape == (2, 3, *size)
    finest = normal(2, 8, 7, 7, seed=4)
    assert torch.equal(decoder(Features(pooled, [finest, *maps[1:]]), size), image) != skips
    assert torch.equal(decoder(Features(pooled + 1, maps), size), image)
    assert Decoder((16,), 1, 4)(Features(pooled, [normal(2, 16, 7, 7)]), (28, 28)).shape == (2, 1, 28, 28)
    told = Decoder((8, 16, 32), 3, 4, width=8, skips=skips, told=5)
    assert not torch.equal(told(Features(pooled + 1, maps), size), told(Features(pooled, maps), size))
