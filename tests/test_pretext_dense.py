"""Dense methods against their papers' formulas written naively, and the geometry of cells against real crops."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from autossl.pretext.dense import cells, dense_map
from autossl.pretext.densecl import DenseCL, most_alike
from autossl.pretext.pixpro import neighbours, pixpro, propagated
from autossl.pretext.vicreg import vicreg
from autossl.pretext.vicregl import matched, vicregl
from autossl.views.images import Views
from autossl.views.presets import Preset
from tests.pretext_toys import cosine, encoder, normal, uniform

ALL = Preset(hflip=True, vflip=True, turns=True, rotate=180.0)


@given(st.integers(0, 999), st.floats(0.2, 1.0))
def test_a_cell_lies_where_its_pixels_come_from(seed: int, crop_min: float) -> None:
    """An image whose channels are the coordinates of its pixels shows in a view where each pixel came from."""
    h, w = 24, 32
    y, x = torch.meshgrid(torch.arange(h) + 0.5, torch.arange(w) + 0.5, indexing="ij")
    images = (torch.stack([x, y]) / w).expand(4, 2, h, w)
    views = Views(ALL, (0.0, 0.0), (1.0, 1.0), crop_min=crop_min, jitter=0.0)
    u = views.draw(images, torch.Generator().manual_seed(seed))
    shown = views.apply(images, u) * w
    places = views.places(u, (h, w), (h, w))
    assert torch.allclose(shown.permute(0, 2, 3, 1)[within(places)], places[within(places)], atol=1e-2)
    coarse = views.places(u, (h, w), (3, 4))
    middle = F.avg_pool2d(places.permute(0, 3, 1, 2), 8).permute(0, 2, 3, 1)
    assert torch.allclose(coarse, middle, atol=1e-3)


def within(places: torch.Tensor) -> torch.Tensor:
    """Where places (..., 2) lie inside an image of 24 x 32, away from the colour of its border."""
    inside = (places > 0.5) & (places < torch.tensor([31.5, 23.5]))
    return inside.all(-1)


def test_coarser_maps_are_enlarged_and_laid_behind() -> None:
    maps = [normal(2, 3, 8, 8), normal(2, 4, 4, 4), normal(2, 5, 2, 2)]
    found = dense_map(maps, 1)
    assert found.shape == (2, 9, 4, 4)
    assert torch.equal(found[:, :4], maps[1])
    assert torch.equal(dense_map(maps, 2), maps[2])
    assert torch.equal(cells(maps[2])[1, 1], maps[2][1, :, 0, 1])


def test_cells_match_the_most_alike() -> None:
    mine, theirs = normal(2, 5, 4), normal(2, 6, 4, seed=1)
    for i, row in enumerate(most_alike(mine, theirs).tolist()):
        assert row == [int(np.argmax([cosine(a, b) for b in theirs[i]])) for a in mine[i]]


@pytest.mark.parametrize("groups", [None, [0, 0, 1, 2]])
def test_densecl(groups: list[int] | None) -> None:
    """Equation 2 of Wang et al. 2021 on the method's own parts: no negatives of the own patient, chance taken off."""
    method = DenseCL(encoder(), Views(Preset(), (0.5,), (0.25,), crop_min=1.0, jitter=0.0), out=6)
    query, positive, keys, earlier = (
        normal(4, 3, 6),
        normal(4, 3, 6, seed=1),
        normal(4, 6, seed=2),
        normal(5, 6, seed=3),
    )
    owners = torch.tensor([0, 7, 8, 2, 9])
    method.dense_queue.push(earlier, owners, None)
    patient, numbers = groups or [-10, -11, -12, -13], None if groups is None else torch.tensor(groups)
    losses, chance = [], []
    for i in range(4):
        others = [keys[j] for j in range(4) if j != i and patient[j] != patient[i]]
        others += [earlier[j] for j in range(5) if int(owners[j]) != patient[i]]
        chance.append(math.log(1 + len(others)))
        for cell in range(3):
            hit = math.exp(cosine(query[i, cell], positive[i, cell]) / 0.2)
            misses = sum(math.exp(cosine(query[i, cell], other) / 0.2) for other in others)
            losses.append(-math.log(hit / (hit + misses)))
    found = method._contrast(query, positive, keys, method.dense_queue, numbers)
    assert float(found) == pytest.approx(np.mean(losses) - np.mean(chance), rel=1e-4)
    assert int(method.dense_queue.pushed) == 9


def test_pixpro() -> None:
    """Equations 1, 3 and 4 of Xie et al. 2021, each term as 1 - cos."""
    x, transformed, target = normal(3, 4, 5), normal(3, 4, 5, seed=1), normal(3, 4, 5, seed=2)
    near = uniform(3, 4, 4) < 0.4
    near[2] = False
    smooth = propagated(x, transformed, 2.0)
    losses = []
    for i in range(3):
        mixed = [
            sum((max(cosine(x[i, a], x[i, b]), 0.0) ** 2 * transformed[i, b] for b in range(4)), torch.zeros(5))
            for a in range(4)
        ]
        assert all(torch.allclose(smooth[i, a], mixed[a], atol=1e-4) for a in range(4))
        pairs = [1 - cosine(mixed[a], target[i, b]) for a in range(4) for b in range(4) if near[i, a, b]]
        losses += [np.mean(pairs)] if pairs else []
    assert len(losses) == 2
    assert float(pixpro(smooth, target, near)) == pytest.approx(np.mean(losses), rel=1e-4)
    assert float(pixpro(smooth, target, torch.zeros_like(near))) == 0


def test_neighbours_are_counted_in_diagonals_of_the_larger_cell() -> None:
    side = torch.arange(3.0)
    small = torch.stack(torch.meshgrid(side, side, indexing="xy"), 2)[None]
    large = 2 * small
    near = neighbours(small, large, 0.7)[0]
    for a, p in enumerate(small.view(9, 2)):
        for b, q in enumerate(large.view(9, 2)):
            assert bool(near[a, b]) == (float((p - q).norm()) < 0.7 * math.sqrt(8))


def test_vicregl() -> None:
    """Equations 2 and 3 of Bardes et al. 2022: both directions, both ways of matching, the best cells only."""
    z = normal(5, 6, 3), normal(5, 6, 3, seed=1)
    places = 9 * uniform(5, 6, 2), 9 * uniform(5, 6, 2, seed=1)
    total = 0.0
    for points in (places, z):
        for one, other in ((0, 1), (1, 0)):
            mine, theirs = torch.zeros(5, 2, 3), torch.zeros(5, 2, 3)
            for i in range(5):
                away = [[float((p - q).norm()) for q in points[other][i]] for p in points[one][i]]
                best = sorted(range(6), key=lambda a: min(away[a]))[:2]
                mine[i] = z[one][i, best]
                theirs[i] = z[other][i, [int(np.argmin(away[a])) for a in best]]
            places_apart = [vicreg(mine[:, k], theirs[:, k], 25, 20, 2) for k in range(2)]
            total += float(torch.stack(places_apart).mean()) / 2
    assert float(vicregl(*z, *places, 2, (25, 20, 2))) == pytest.approx(total, rel=1e-4)


def test_the_best_rows_come_with_their_nearest_columns() -> None:
    away = torch.tensor([[[3.0, 1.0], [0.5, 2.0], [9.0, 8.0]]])
    rows, columns = matched(away, 2)
    assert rows.tolist() == [[1, 0]]
    assert columns.tolist() == [[0, 1]]
