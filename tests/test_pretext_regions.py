"""Relative location and global-local contrast: pairs of tiles, places of a map, and what the views share."""

import math

import numpy as np
import pytest
import torch

from autossl.pretext.batch import Batch
from autossl.pretext.glcl import GLCL, local_contrast
from autossl.pretext.jigsaw import normalised, tiles
from autossl.pretext.relative_location import RelativeLocation, location_pairs
from autossl.pretext.simclr import nt_xent
from autossl.views.images import Views
from autossl.views.presets import Preset, preset
from tests.pretext_toys import cosine, encoder, normal, recorded, recorded_forward, still, uniform


def test_pairs_are_the_middle_and_each_neighbour() -> None:
    z = normal(3, 9, 4)
    pairs = location_pairs(z).view(3, 8, 8)
    for image in range(3):
        for number, cell in enumerate((0, 1, 2, 3, 5, 6, 7, 8)):
            assert torch.equal(pairs[image, number], torch.cat([z[image, 4], z[image, cell]]))


def test_relative_location_is_the_cross_entropy_of_the_eight_places() -> None:
    method = RelativeLocation(encoder(), still()).eval()
    inputs = recorded_forward(method.encoder)
    x = uniform(3, 1, 16, 16)
    method.generator.manual_seed(3)
    found = float(method.loss(Batch(x)).detach())
    method.views.weak(x, method.generator.manual_seed(3))
    shift = torch.rand(3, 9, 2, generator=method.generator)
    cut = normalised(tiles(still().standardise(x), torch.arange(9).expand(3, 9), shift, 3, 0.15))
    assert torch.allclose(inputs[0], cut, atol=1e-4)
    z = method.encoder(cut).view(3, 9, -1).detach()
    losses = []
    for image in range(3):
        for place, cell in enumerate((0, 1, 2, 3, 5, 6, 7, 8)):
            answer = method.head(torch.cat([z[image, 4], z[image, cell]])[None])[0].detach().double()
            losses.append(float(answer.exp().sum().log() - answer[place]))
    assert found == pytest.approx(np.mean(losses), rel=1e-4)


def test_local_contrast() -> None:
    """Equation 3 of Chaitanya et al. 2020, both ways: one place against the other places of the other view."""
    one, other = normal(2, 5, 6), normal(2, 5, 6, seed=1)
    losses = []
    for first, second in ((one, other), (other, one)):
        for image, place in np.ndindex(2, 5):
            terms = [math.exp(cosine(first[image, place], second[image, k]) / 0.2) for k in range(5)]
            losses.append(-math.log(terms[place] / sum(terms)))
    assert float(local_contrast(one, other, 0.2)) == pytest.approx(np.mean(losses), rel=1e-5)


def test_the_local_views_share_their_crop_and_differ_in_intensity() -> None:
    views = Views(preset("xray", 1), (0.5,), (0.25,), crop_min=0.3, jitter=1.0)
    method = GLCL(encoder(), views)
    inputs = recorded(method.encoder)
    x = uniform(32, 1, 16, 16) * 0.2 + 0.4
    x[:, :, :, 8:] += 0.2
    method.loss(Batch(x))
    first, second, third = (part.flatten(1) for part in inputs[0].chunk(3))

    def alike(a: torch.Tensor, b: torch.Tensor) -> float:
        return float(torch.stack([torch.corrcoef(torch.stack(pair))[0, 1] for pair in zip(a, b, strict=True)]).mean())

    assert alike(second, third) > alike(first, second) + 0.1
    assert (second - third).abs().mean() > 0.05


def test_the_local_views_are_bent_alike() -> None:
    bent = Preset(hflip=True, rotate=30.0, elastic=0.1, shear=0.4)
    method = GLCL(encoder(), Views(bent, (0.5,), (0.25,), crop_min=0.3, jitter=1.0))
    inputs = recorded(method.encoder)
    method.loss(Batch(uniform(8, 1, 16, 16)))
    first, second, third = inputs[0].chunk(3)
    assert torch.allclose(second, third, atol=1e-5)
    assert (first - second).abs().mean() > 0.1


@pytest.mark.parametrize("weight", [0.0, 1.0])
def test_glcl_is_one_of_its_losses_at_either_end_of_its_weight(weight: float) -> None:
    method = GLCL(encoder(), still(), weight=weight, regions=1000).eval()
    x, groups = uniform(4, 1, 16, 16), torch.tensor([0, 0, 1, 2])
    found = float(method.loss(Batch(x, groups)).detach())
    seen = method.encoder.features(still().standardise(x).repeat(2, 1, 1, 1))
    maps = method.decoder(seen, (seen.pyramid[0].shape[2], seen.pyramid[0].shape[3]))
    one, other = maps.flatten(2).transpose(1, 2).chunk(2)
    expected = local_contrast(one, other, 0.1) if weight else nt_xent(method.projector(seen.pooled), 0.1, groups)
    assert found == pytest.approx(float(expected.detach()), rel=1e-3)
