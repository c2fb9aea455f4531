"""Reconstruction methods: what is taken out, that only the input is disturbed, and where the loss looks."""

import math
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from autossl.nn.encoder import Features
from autossl.pretext.autoencoder import Autoencoder
from autossl.pretext.base import Pretext
from autossl.pretext.batch import Batch
from autossl.pretext.colourisation import Colourisation
from autossl.pretext.context_restoration import SMALLEST, ContextRestoration, swap
from autossl.pretext.inpainting import OBLONG, Inpainting, hole_mask
from autossl.pretext.simmim import SimMIM, masked_distance
from autossl.pretext.super_resolution import SuperResolution, coarse
from tests.pretext_toys import Blank, encoder, normal, recorded, still, uniform


@given(st.integers(0, 999), st.floats(0.01, 0.5), st.integers(1, 4), st.integers(8, 40), st.integers(8, 40))
def test_holes_have_the_area_they_should(seed: int, area: float, holes: int, h: int, w: int) -> None:
    u = uniform(3, holes, 3, seed=seed)
    whole = hole_mask(u, area, h, w)
    assert whole.shape == (3, 1, h, w)
    assert set(whole.flatten().tolist()) <= {0.0, 1.0}
    singles = [hole_mask(u[:, i : i + 1], area, h, w)[:, 0] for i in range(holes)]
    assert torch.equal(torch.stack(singles).amax(0), whole[:, 0])
    for mask in torch.cat(singles):
        rows, columns = int(mask.any(1).sum()), int(mask.any(0).sum())
        assert int(mask.sum()) == rows * columns
        longest = math.sqrt(area * OBLONG)
        assert math.sqrt(area / OBLONG) * h - 0.5 <= rows <= longest * h + 0.5 or rows == 1
        assert math.sqrt(area / OBLONG) * w - 0.5 <= columns <= longest * w + 0.5 or columns == 1
        assert abs(rows * columns - area * h * w) <= 0.5 * (rows + columns) + 1


def test_inpainting_hides_the_holes_and_looks_nowhere_else() -> None:
    pretext = Inpainting(encoder(), still(), area=0.3, holes=2)
    inputs = recorded(pretext.encoder)
    x = uniform(6, 1, 16, 16)
    pretext.views.weak(x, pretext.generator.manual_seed(3))  # the views draw first, then the holes
    mask = hole_mask(torch.rand(6, 2, 3, generator=pretext.generator), 0.15, 16, 16)
    other = torch.where(mask > 0, uniform(6, 1, 16, 16, seed=9), x)
    losses = []
    for image in (x, other):
        pretext.generator.manual_seed(3)
        losses.append(float(pretext.loss(Batch(image)).detach()))
    assert torch.allclose(inputs[0], still().standardise(x) * (1 - mask), atol=1e-4)
    assert torch.allclose(inputs[1], inputs[0], atol=1e-4)
    assert losses[0] != losses[1]
    pretext.decoder = Blank()  # type: ignore[assignment]
    pretext.generator.manual_seed(3)
    expected = float((still().standardise(x).square() * mask).sum() / mask.sum())
    assert float(pretext.loss(Batch(x)).detach()) == pytest.approx(expected, rel=1e-4)


@given(st.integers(0, 999), st.integers(1, 9), st.integers(6, 20), st.integers(6, 20))
def test_two_patches_change_places(seed: int, side: int, h: int, w: int) -> None:
    order = torch.arange(h * w).repeat(4, 1)
    swapped = swap(order, uniform(4, 4, seed=seed), side, h, w)
    fits = (h // side) * (w // side) >= 2
    for row in swapped:
        assert row.sort().values.equal(order[0])
        changed = (row != order[0]).view(h, w)
        assert int(changed.sum()) == (2 * side * side if fits else 0)
        assert row[row].equal(order[0])  # what went there came from there
        if fits:
            first = int(changed.flatten().int().argmax())
            offset = int(row[first]) - first
            patch = (torch.arange(side)[:, None] * w + torch.arange(side) + first).flatten()
            assert row[patch].equal(patch + offset)


@pytest.mark.parametrize(("swaps", "side"), [(1, 0.1), (10, 0.3)])
def test_swapping_keeps_every_intensity(swaps: int, side: float) -> None:
    pretext = ContextRestoration(encoder(2), still(2), swaps=swaps, side=side)
    x = normal(32, 2, 20, 24)
    moved = pretext.swapped(x)
    assert torch.equal(moved.flatten(2).sort(2).values, x.flatten(2).sort(2).values)
    changed = moved != x
    assert torch.equal(changed[:, 0], changed[:, 1])
    share = changed[:, 0].float().mean()
    assert 0 < float(share) <= 2 * swaps * max(side, SMALLEST) ** 2 * 1.3


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_coarse_images_are_means_of_blocks(scale: int) -> None:
    x = normal(2, 3, 12, 24)
    blocks = np.array(
        [
            [x[0, 0, i : i + scale, j : j + scale].double().mean().item() for j in range(0, 24, scale)]
            for i in range(0, 12, scale)
        ]
    )
    expected = F.interpolate(
        torch.from_numpy(blocks)[None, None].float(), (12, 24), mode="bilinear", align_corners=False
    )
    assert torch.allclose(coarse(x, scale)[0, 0], expected[0, 0], atol=1e-5)
    assert coarse(normal(1, 1, 13, 15), scale).shape == (1, 1, 13, 15)


RESTORERS: list[tuple[type[Pretext], dict[str, Any], int]] = [
    (ContextRestoration, {"swaps": 10}, 2),
    (SuperResolution, {"scale": 4}, 1),
    (Autoencoder, {}, 2),
]


@pytest.mark.parametrize(("method", "arguments", "power"), RESTORERS)
def test_the_target_is_the_undisturbed_image_everywhere(
    method: type[Pretext], arguments: dict[str, Any], power: int
) -> None:
    """Against an answer of zeros the loss is the mean power of the clean standardised image."""
    pretext = method(encoder(), still(), **arguments)
    pretext.decoder = Blank()
    inputs = recorded(pretext.encoder)
    x = uniform(8, 1, 16, 16)
    clean = still().standardise(x)
    assert float(pretext.loss(Batch(x)).detach()) == pytest.approx(float(clean.abs().pow(power).mean()), rel=1e-4)
    assert torch.allclose(inputs[0], clean, atol=1e-4) == (method is Autoencoder)


def test_super_resolution_shows_the_coarse_image() -> None:
    pretext = SuperResolution(encoder(), still(), scale=2)
    inputs = recorded(pretext.encoder)
    x = uniform(4, 1, 16, 16)
    pretext.loss(Batch(x))
    assert torch.allclose(inputs[0], coarse(still().standardise(x), 2), atol=1e-4)


def test_simmim_measures_masked_pixels_only() -> None:
    """Equation 1 of Xie et al. 2022."""
    restored, target, mask = normal(3, 2, 6, 6), normal(3, 2, 6, 6, seed=1), (uniform(3, 1, 6, 6) < 0.4).float()
    terms = [
        abs(float(restored[i, c, y, x] - target[i, c, y, x]))
        for i, c, y, x in np.ndindex(3, 2, 6, 6)
        if mask[i, 0, y, x] == 1
    ]
    assert float(masked_distance(restored, target, mask)) == pytest.approx(np.mean(terms), rel=1e-5)


def test_simmim_shows_its_token_for_what_is_masked_and_learns_it() -> None:
    pretext = SimMIM(encoder(2), still(2), ratio=0.5, grid=4)
    inputs = recorded(pretext.encoder)
    with torch.no_grad():
        pretext.token.copy_(torch.tensor([7.0, 8.0]).view(1, 2, 1, 1))
    x = uniform(6, 2, 16, 16)
    pretext.loss(Batch(x)).backward()  # type: ignore[no-untyped-call]
    masked = inputs[0][:, :1] == 7
    assert torch.equal(masked, inputs[0][:, 1:] == 8)
    assert float(masked.float().mean()) == 0.5
    assert torch.allclose(torch.where(masked, 0, inputs[0]), torch.where(masked, 0, still(2).standardise(x)), atol=1e-4)
    assert pretext.token.grad is not None
    assert pretext.token.grad.abs().sum() > 0


class Nothing(torch.nn.Module):
    """A decoder that sees no difference between the channels."""

    def forward(self, seen: Features, size: tuple[int, int]) -> Tensor:
        return torch.zeros(len(seen.pooled), 3, *size)


def test_colourisation_shows_grey_and_asks_for_the_differences() -> None:
    pretext = Colourisation(encoder(3), still(3))
    pretext.decoder = Nothing()  # type: ignore[assignment]
    inputs = recorded(pretext.encoder)
    x = uniform(5, 3, 16, 16)
    found = float(pretext.loss(Batch(x)))
    grey = x.mean(1, keepdim=True)
    assert torch.allclose(inputs[0], still(3).standardise(grey.expand(-1, 3, -1, -1)), atol=1e-4)
    assert found == pytest.approx(float((x - grey).abs().mean() / 0.25), rel=1e-4)
    assert float(pretext.loss(Batch(grey.expand(-1, 3, -1, -1)))) == pytest.approx(0, abs=1e-5)
    assert Colourisation.needs == {"colour"}
