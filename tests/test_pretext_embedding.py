"""SimSiam, SwAV, DINO, LeJEPA and W-MSE against their papers' formulas, and what keeps each from collapse."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate
from torch import Tensor

from autossl.nn.encoder import Encoder
from autossl.nn.heads import Prototypes
from autossl.pretext.batch import Batch
from autossl.pretext.dino import DINO, LOCAL, dino, entropy
from autossl.pretext.lejepa import LeJEPA, epps_pulley, lejepa
from autossl.pretext.simsiam import SimSiam, simsiam
from autossl.pretext.swav import SwAV, sinkhorn, swav
from autossl.pretext.wmse import WMSE, whitened, wmse
from autossl.views.images import Views
from autossl.views.presets import Preset
from tests.pretext_toys import cosine, encoder, normal, recorded_forward, still, uniform


def softmax(logits: Tensor) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Shares of one row, in double precision."""
    powers = np.exp(logits.double().numpy() - float(logits.max()))
    return np.asarray(powers / powers.sum())


def test_simsiam() -> None:
    """Equations 1 and 2 of Chen and He 2021; the target is held still."""
    p, z = normal(7, 5), normal(7, 5, seed=1)
    expected = -np.mean([cosine(a, b) for a, b in zip(p, z, strict=True)])
    p.requires_grad_(True)
    z.requires_grad_(True)
    loss = simsiam(p, z)
    loss.backward()  # type: ignore[no-untyped-call]
    assert float(loss.detach()) == pytest.approx(expected, rel=1e-5)
    assert p.grad is not None
    assert z.grad is None


def test_simsiam_predicts_each_view_from_the_other() -> None:
    pretext = SimSiam(encoder(), Views(Preset(hflip=True), (0.5,), (0.25,), crop_min=0.3, jitter=0.0)).eval()
    x = uniform(5, 1, 16, 16)
    pretext.generator.manual_seed(3)
    found = pretext.loss(Batch(x))
    pretext.generator.manual_seed(3)
    z = pretext.projector(pretext.encoder(pretext.views(x, pretext.generator, copies=2)))
    p = pretext.predictor(z)
    expected = (simsiam(p[:5], z[5:]) + simsiam(p[5:], z[:5])) / 2
    assert float(found.detach()) == pytest.approx(float(expected.detach()), rel=1e-5)


@given(st.integers(2, 40), st.integers(2, 20), st.floats(0.03, 1.0), st.integers(0, 999))
def test_codes_add_up_to_one_and_use_all_prototypes_alike(b: int, k: int, epsilon: float, seed: int) -> None:
    code = sinkhorn(normal(b, k, seed=seed).tanh(), epsilon)
    assert (code >= 0).all()
    assert torch.allclose(code.sum(1), torch.ones(b), atol=1e-4)
    balanced = sinkhorn(normal(b, k, seed=seed).tanh(), 0.5, iterations=100)
    assert torch.allclose(balanced.sum(0), torch.full((k,), b / k), rtol=1e-2)
    assert torch.allclose(balanced.sum(1), torch.ones(b), atol=1e-4)


def test_swav() -> None:
    """Equations 1 to 5 of Caron et al. 2020 with three iterations of Sinkhorn and Knopp's algorithm."""
    scores = [F.normalize(normal(6, 4, seed=i), dim=1) for i in (0, 1)]
    codes = []
    for score in scores:
        matrix = np.exp(score.double().numpy() / 0.05)
        for _ in range(3):
            matrix = matrix / matrix.sum(0, keepdims=True) / 4
            matrix = matrix / matrix.sum(1, keepdims=True) / 6
        codes.append(matrix * 6)
    terms = [-(codes[s][i] * np.log(softmax(scores[1 - s][i] / 0.1))).sum() for s in (0, 1) for i in range(6)]
    assert float(swav(scores[0], scores[1], 0.1, 0.05)) == pytest.approx(np.mean(terms), rel=1e-4)


def test_codes_are_given_and_prototypes_have_unit_length() -> None:
    first, second = normal(6, 4).requires_grad_(True), normal(6, 4, seed=1)
    swav(first, second, 0.1, 0.05).backward()  # type: ignore[no-untyped-call]
    assert first.grad is not None
    code = sinkhorn(second, 0.05)
    expected = ((first.detach() / 0.1).softmax(1) - code) / 0.1 / 6 / 2  # the gradient of a cross-entropy alone
    assert torch.allclose(first.grad, expected, atol=1e-5)
    heads = Prototypes(5, 7)
    assert torch.allclose(heads.weight.norm(dim=1), torch.ones(7))
    with torch.no_grad():
        heads.weight.mul_(3)
    z = normal(4, 5)
    found = heads(z).detach()
    for i, j in np.ndindex(4, 7):
        assert float(found[i, j]) == pytest.approx(cosine(z[i], heads.weight.detach()[j]), abs=1e-5)
    assert SwAV(encoder(), still(), prototypes=9).prototypes.weight.shape == (9, 128)


@pytest.mark.parametrize("crops", [2, 5])
def test_dino(crops: int) -> None:
    """Equation 3 of Caron et al. 2021: every crop follows the teacher's answers to the other global crops."""
    student, teacher = normal(crops, 6, 7), normal(2, 6, 7, seed=1)
    terms = [
        -(softmax(teacher[t, i] / 0.04) * np.log(softmax(student[s, i] / 0.1))).sum()
        for t in range(2)
        for s in range(crops)
        for i in range(6)
        if s != t
    ]
    assert float(dino(student, teacher, 0.1, 0.04)) == pytest.approx(np.mean(terms), rel=1e-5)
    answers = [softmax(row / 0.5) for row in teacher.flatten(0, 1)]
    assert float(entropy(teacher, 0.5)) == pytest.approx(np.mean([-(p * np.log(p)).sum() for p in answers]), rel=1e-5)


def test_dino_centres_its_teacher_and_averages_it_along_a_cosine() -> None:
    pretext = DINO(encoder(), still(), prototypes=9, teacher_rate=0.2, centre_rate=0.25).eval()
    x = uniform(5, 1, 16, 16)
    answers = pretext.teacher(pretext.views.standardise(x))
    first = pretext.loss(Batch(x))
    assert torch.allclose(pretext.centre, 0.25 * answers.mean(0), atol=1e-6)
    pretext.loss(Batch(x))
    assert torch.allclose(pretext.centre, (0.75 * 0.25 + 0.25) * answers.mean(0), atol=1e-6)
    again = pretext.loss(Batch(x))
    assert float(again.detach()) != float(first.detach())
    mine, theirs = next(pretext.encoder.parameters()), next(pretext.teacher.parameters())
    for progress, rate in ((0.0, 0.2), (0.5, 0.1), (1.0, 0.0)):
        with torch.no_grad():
            mine.copy_(theirs + 1)
        before = theirs.clone()
        pretext.after_step(progress)
        assert float((theirs - before).mean()) == pytest.approx(rate, abs=1e-5)


def test_local_crops_show_a_small_part_at_full_size() -> None:
    views = Views(Preset(), (0.0, 0.0), (1.0, 1.0), crop_min=0.9, jitter=0.0)
    pretext = DINO(encoder(2), views, local_crops=3)
    place = torch.arange(16.0) / 16
    x = torch.stack([place.expand(16, 16), place[:, None].expand(16, 16)])[None].repeat(50, 1, 1, 1)
    crops = pretext.small(x)
    assert crops.shape == (150, 2, 16, 16)
    wide = (crops[:, 0, :, -1] - crops[:, 0, :, 0]).mean(1) * 16 / 15
    high = (crops[:, 1, -1] - crops[:, 1, 0]).mean(1) * 16 / 15
    area = wide * high
    assert LOCAL[0] * 0.7 < float(area.min()) < 0.1  # pixels at the border repeat
    assert 0.3 < float(area.max()) < LOCAL[1] * 1.1
    assert pretext.views.crop_min == 0.9
    pretext.loss(Batch(uniform(4, 2, 16, 16)))


def test_local_crops_pass_the_encoder_by_themselves() -> None:
    """Batch norms of the student see global crops only where those of the teacher do."""
    pretext = DINO(encoder(), still(), local_crops=2).train()
    inputs = recorded_forward(pretext.encoder)
    x = uniform(6, 1, 16, 16)
    pretext.loss(Batch(x))
    assert [len(shown) for shown in inputs] == [12, 12]
    assert torch.allclose(inputs[0], still().standardise(x).repeat(2, 1, 1, 1), atol=1e-4)


@pytest.mark.parametrize("layers", [2, 3])
def test_the_head_of_dino_has_its_layers_and_norms_only_beside_norms(layers: int) -> None:
    transformer = Encoder("test_vit", 1, 16, model_args={"img_size": 16, "patch_size": 4})
    for network, norms in ((encoder(), layers - 1), (transformer, 0)):
        head = list(DINO(network, still(), layers=layers).head.modules())
        assert sum(isinstance(part, torch.nn.Linear) for part in head) == layers
        assert sum(isinstance(part, torch.nn.BatchNorm1d) for part in head) == norms


def test_epps_pulley_is_the_integral_it_approximates() -> None:
    """Epps and Pulley 1983 as LeJEPA uses it, integrated numerically and with many knots."""
    x = normal(12).double() * 1.4 + 0.3

    def error(t: float) -> float:
        empirical = complex(*(float(f(t * x).mean()) for f in (torch.cos, torch.sin)))
        return abs(empirical - math.exp(-(t**2) / 2)) ** 2 * math.exp(-(t**2) / 2)

    expected = 12 * integrate.quad(error, -3, 3)[0]
    assert float(epps_pulley(x.float().view(1, 12, 1), 200)) == pytest.approx(expected, rel=1e-3)
    assert float(epps_pulley(x.float().view(1, 12, 1), 17)) == pytest.approx(expected, rel=2e-2)


def test_a_gaussian_passes_and_a_collapsed_or_narrow_embedding_does_not() -> None:
    gauss = normal(1, 512, 4)
    passing = float(epps_pulley(gauss, 17).mean())
    assert passing < 1
    for other in (0 * gauss, 0.3 * gauss, gauss + 2, gauss.sign()):
        assert float(epps_pulley(other, 17).mean()) > 5 * passing


def test_lejepa() -> None:
    """Balestriero and LeCun 2025: distance from the centre, and the mean statistic over slices."""
    z, directions = normal(3, 8, 5), normal(5, 6, seed=1)
    centre = z.mean(0)
    distance = np.mean([float((z[v, i, j] - centre[i, j]) ** 2) for v, i, j in np.ndindex(3, 8, 5)])
    slices = [direction / direction.norm() for direction in directions.T]
    statistics = [float(epps_pulley((z[v] @ s).view(1, 8, 1), 17)) for v in range(3) for s in slices]
    expected = 0.8 * distance + 0.2 * np.mean(statistics)
    assert float(lejepa(z, directions, 0.2, 17)) == pytest.approx(expected, rel=1e-5)


def test_lejepa_draws_its_slices_from_the_generator() -> None:
    pretext = LeJEPA(encoder(), still(), slices=3, copies=3).eval()
    x = uniform(5, 1, 16, 16)
    losses = [
        float(pretext.loss(Batch(x)).detach())
        for pretext.generator in (torch.Generator().manual_seed(s) for s in (1, 1, 2))
    ]
    assert losses[0] == losses[1] != losses[2]


def test_what_cannot_be_whitened_is_no_number_and_no_crash() -> None:
    """The trainer then says that it diverged; an exception would end its worker."""
    assert whitened(torch.full((8, 4), torch.nan), 1e-3).isnan().all()
    assert not whitened(1e30 * normal(8, 4), 1e-3).isfinite().all()


def test_whitening_leaves_neither_mean_nor_correlation() -> None:
    z = normal(200, 6) @ normal(6, 6, seed=1) + 5
    white = whitened(z, 0.0)
    assert torch.allclose(white.mean(0), torch.zeros(6), atol=1e-4)
    assert torch.allclose(white.T.cov(), torch.eye(6), atol=1e-3)
    # by Cholesky: each coordinate is made of those up to it only
    mixing = torch.linalg.lstsq(z - z.mean(0), white).solution.T
    assert torch.allclose(mixing.triu(1), torch.zeros(6, 6), atol=1e-3)


@pytest.mark.parametrize("size", [5, 8, 100])
def test_wmse(size: int) -> None:
    """Ermolov et al. 2021: squared distance of whitened, normalised views in random sub-batches of even size."""
    first, second = normal(16, 3), normal(16, 3, seed=1)
    order = torch.randperm(16, generator=torch.Generator().manual_seed(0))
    parts = np.array_split(order.numpy(), max(1, 16 // size))
    assert all(len(part) >= min(size, 16) for part in parts)
    terms = []
    for part in parts:
        white = []
        for z in (first, second):
            rows = z[torch.from_numpy(part)].double().numpy()
            rows = rows - rows.mean(0)
            white.append(rows @ np.linalg.inv(np.linalg.cholesky(rows.T @ rows / (len(rows) - 1))).T)
        a, b = (w / np.linalg.norm(w, axis=1, keepdims=True) for w in white)
        terms += list(((a - b) ** 2).sum(1))
    assert float(wmse(first, second, order, size, 0.0)) == pytest.approx(np.mean(terms), rel=1e-3)


@pytest.mark.parametrize("scale", [1e-3, 1e3])
def test_wmse_is_not_lowered_by_the_size_of_embeddings(scale: float) -> None:
    shared, own = normal(64, 1) @ normal(1, 8, seed=1), 0.3 * normal(128, 8, seed=2)
    first, second = (shared + part for part in own.chunk(2))
    losses = [float(wmse(s * first, s * second, torch.arange(64), 64, 1e-3)) for s in (1.0, scale)]
    assert losses[1] == pytest.approx(losses[0], rel=1e-3)


def test_wmse_takes_batches_smaller_than_its_embedding() -> None:
    pretext = WMSE(encoder(), still(), out=32)
    loss = pretext.loss(Batch(uniform(6, 1, 16, 16)))
    loss.backward()  # type: ignore[no-untyped-call]
    assert all(torch.isfinite(p.grad).all() for p in pretext.parameters() if p.grad is not None)
