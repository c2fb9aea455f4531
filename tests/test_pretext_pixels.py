"""Blind spots and stains: what the input hides, where the loss looks, and that unmixing can be undone."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from autossl.nn.encoder import Features
from autossl.pretext.batch import Batch
from autossl.pretext.noise2void import Noise2Void, blind_spots, overwritten
from autossl.pretext.stain_separation import DARKEST, STAINS, StainSeparation, stain_densities, stained
from tests.pretext_toys import Blank, encoder, normal, recorded, still, uniform


@given(st.integers(0, 999), st.integers(1, 9), st.integers(1, 3), st.integers(8, 20), st.integers(8, 20))
def test_blind_spots_never_show_their_own_pixel(seed: int, spacing: int, reach: int, h: int, w: int) -> None:
    boxes = math.ceil(h / spacing), math.ceil(w / spacing)
    spot, source = blind_spots(uniform(3, *boxes, 3, seed=seed), spacing, reach, h, w)
    for places, origins in zip(spot.tolist(), source.tolist(), strict=True):
        assert len(set(places)) == boxes[0] * boxes[1]
        assert {(p // w // spacing, p % w // spacing) for p in places} == set(np.ndindex(*boxes))
        for place, origin in zip(places, origins, strict=True):
            down, across = origin // w - place // w, origin % w - place % w
            assert (down, across) != (0, 0)
            assert max(abs(down), abs(across)) <= reach
            assert 0 <= origin < h * w


def test_every_offset_is_drawn() -> None:
    spot, source = blind_spots(uniform(4000, 1, 1, 3), 1, 1, 1, 1)
    assert (spot == 0).all()
    spot, source = blind_spots(uniform(4000, 1, 1, 3), 9, 1, 9, 9)
    inner = (spot // 9 % 8 > 0) & (spot % 9 % 8 > 0)
    steps = (source - spot)[inner]
    assert sorted(set(steps.tolist())) == [-10, -9, -8, -1, 1, 8, 9, 10]


def test_the_loss_sees_blind_spots_only_and_the_input_never_their_values() -> None:
    """All values of an image differ, so that a value tells where it came from."""
    method = Noise2Void(encoder(), still(), spacing=4)
    inputs = recorded(method.encoder)
    x = torch.linspace(0, 1, 512).view(2, 1, 16, 16)[:, :, torch.randperm(16, generator=torch.Generator())]
    target = still().standardise(x)
    method.generator.manual_seed(3)
    method.loss(Batch(x))
    changed = (inputs[0] - target).abs() > 1e-4
    assert changed.sum((1, 2, 3)).tolist() == [16, 16]
    for spot in changed.flatten(2).nonzero():
        image, _, place = spot.tolist()
        assert float(inputs[0].flatten(2)[image, 0, place]) != pytest.approx(float(target.flatten(2)[image, 0, place]))
    method.decoder = Blank()  # type: ignore[assignment]
    method.generator.manual_seed(3)
    expected = float(target[changed].square().mean())
    assert float(method.loss(Batch(x)).detach()) == pytest.approx(expected, rel=1e-4)


def test_overwriting_copies_values_of_the_undisturbed_image() -> None:
    x = normal(1, 2, 2, 3)
    found = overwritten(x, torch.tensor([[0, 1]]), torch.tensor([[1, 0]])).flatten(2)
    expected = x.flatten(2)[..., [1, 0, 2, 3, 4, 5]]
    assert torch.equal(found, expected)


@given(st.integers(0, 999))
def test_unmixing_stains_can_be_undone(seed: int) -> None:
    rgb = uniform(2, 3, 4, 5, seed=seed) * (1 - DARKEST) + DARKEST
    assert torch.allclose(stained(stain_densities(rgb)), rgb, atol=1e-4)
    densities = 0.7 * uniform(2, 3, 4, 5, seed=seed + 1)
    again = stain_densities(stained(densities))
    bright = stained(densities).amin(1, keepdim=True) > DARKEST
    assert torch.allclose(again * bright, densities * bright, atol=1e-3)


def test_densities_solve_the_equations_of_beer_and_lambert() -> None:
    rgb = uniform(1, 3, 1, 1) * 0.8 + 0.1
    rows = [np.array(stain) / np.linalg.norm(stain) for stain in STAINS]
    expected = np.linalg.solve(np.array(rows).T, -np.log10(rgb.flatten().double().numpy()))
    assert stain_densities(rgb).flatten().tolist() == pytest.approx(expected.tolist(), abs=1e-4)


class Nothing(torch.nn.Module):
    """A decoder that sees no stain anywhere."""

    def forward(self, seen: Features, size: tuple[int, int]) -> Tensor:
        return torch.zeros(len(seen.pooled), 1, *size)


def test_one_stain_is_shown_and_the_other_is_asked_for() -> None:
    method = StainSeparation(encoder(3), still(3))
    method.decoder = Nothing()  # type: ignore[assignment]
    inputs = recorded(method.encoder)
    densities = torch.cat([0.2 + 0.5 * uniform(8, 2, 16, 16), torch.zeros(8, 1, 16, 16)], 1)
    found = float(method.loss(Batch(stained(densities))))
    seen = stain_densities(inputs[0] * 0.25 + 0.5)
    first = seen[:, 0].mean((1, 2)) > 0.1
    assert 0 < int(first.sum()) < 8
    for image in range(8):
        kept, hidden = (0, 1) if first[image] else (1, 0)
        assert torch.allclose(seen[image, kept], densities[image, kept], atol=2e-3)
        assert seen[image, hidden].abs().max() < 2e-3
    asked = torch.where(first.view(-1, 1, 1), densities[:, 1], densities[:, 0])
    assert found == pytest.approx(float(asked.square().mean()), rel=1e-3)
    assert StainSeparation.needs == {"colour", "stain"}
