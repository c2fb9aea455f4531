"""Operations on intensities: each against its formula written naively, and what all of them have in common."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from monai.transforms.intensity.array import RandRicianNoise
from numpy.typing import NDArray
from torch import Tensor

from autossl.views.intensity import (
    ACQUIRED,
    RARE,
    STAINS,
    bias,
    cutout,
    depth,
    gamma,
    gaussian,
    ghost,
    lowres,
    normal,
    rician,
    speckle,
    stain,
    through,
    window,
)

WIDTH = {"stain": 6, "window": 2, "depth": 1, "lowres": 1, "ghost": 3, "speckle": 2, "rician": 3}
IN_RANGE = ("stain", "window", "bias", "depth", "lowres")  # what leaves images in [0, 1]
Operation = Callable[[Tensor, Tensor, float], Tensor]
EVERY: dict[str, Operation] = {**ACQUIRED, "cutout": cutout, "gamma": lambda x, u, a: gamma(x, u[:, 0], a)}
every = pytest.mark.parametrize("name", EVERY)


def pictures(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def drawn(name: str, x: Tensor, seed: int = 1) -> Tensor:
    axes = x.ndim - 2
    return pictures(len(x), {"bias": 4**axes, "cutout": 1 + axes, "gamma": 1, **WIDTH}[name], seed=seed)


@every
@pytest.mark.parametrize("space", [(11, 8), (10, 9, 11)])
def test_an_amplitude_of_zero_leaves_images_as_they_are(name: str, space: tuple[int, ...]) -> None:
    x = pictures(40, 3, *space)
    assert torch.allclose(EVERY[name](x, drawn(name, x), 0.0), x, atol=1e-5)


@every
@pytest.mark.parametrize("space", [(11, 8), (10, 9, 11)])
def test_a_batch_is_the_loop_over_its_images(name: str, space: tuple[int, ...]) -> None:
    x, operation = pictures(40, 3, *space), EVERY[name]
    u, before = drawn(name, x), x.clone()
    whole = operation(x, u, 0.5)
    assert torch.equal(x, before)
    assert not torch.allclose(whole, x, atol=1e-2)
    loop = torch.cat([operation(x[i : i + 1], u[i : i + 1], 0.5) for i in range(len(x))])
    assert torch.allclose(whole, loop, atol=1e-5)


@given(
    st.sampled_from(list(EVERY)),
    st.integers(1, 4),
    st.lists(st.integers(4, 17), min_size=2, max_size=3),
    st.floats(0, 1),
    st.sampled_from([0.0, 1.0, None]),
)
def test_values_are_finite_and_in_range(
    name: str, c: int, space: list[int], amplitude: float, flat: float | None
) -> None:
    x = pictures(12, c, *space) if flat is None else torch.full((12, c, *space), flat)
    result = EVERY[name](x, drawn(name, x), amplitude * 0.9)
    assert result.shape == x.shape
    assert torch.isfinite(result).all()
    assert result.min() >= -1e-6
    assert name not in IN_RANGE or result.max() <= 1 + 1e-5
    assert name != "ghost" or result.max() <= 1 + amplitude


@pytest.mark.parametrize("name", [name for name in EVERY if name != "stain"])
def test_grey_images_in_three_channels_stay_grey(name: str) -> None:
    x = pictures(30, 1, 9, 9).repeat(1, 3, 1, 1)
    result = EVERY[name](x, drawn(name, x), 0.7)
    assert torch.allclose(result[:, :1].expand_as(result), result, atol=1e-6)


@pytest.mark.parametrize("channels", [1, 2, 4])
def test_stains_are_those_of_three_channels(channels: int) -> None:
    x = pictures(4, channels, 6, 6)
    assert torch.equal(stain(x, drawn("stain", x), 0.5), x)


def test_gamma_and_window_against_one_pixel_after_the_other() -> None:
    x = pictures(20, 2, 3, 4) * 1.4 - 0.2
    u = pictures(20, 2, seed=1)
    bent, seen = gamma(x, u[:, 0], 0.5), window(x, u, 0.4)
    for i, c, row, column in np.ndindex(*x.shape):
        value = float(x[i, c, row, column])
        assert float(bent[i, c, row, column]) == pytest.approx(
            min(max(value, 0), 1) ** 1.5 ** float(2 * u[i, 0] - 1), abs=1e-5
        )
        width, level = 1 / 1.4 ** float(2 * u[i, 0] - 1), 0.5 + 0.4 * (float(u[i, 1]) - 0.5)
        low = level - width / 2
        assert float(seen[i, c, row, column]) == pytest.approx(min(max((value - low) / width, 0), 1), abs=1e-5)


@pytest.mark.parametrize("space", [(9, 12), (5, 6, 7)])
def test_bias_is_the_exponential_of_legendre_polynomials(space: tuple[int, ...]) -> None:
    x = pictures(5, 2, *space)
    u = drawn("bias", x)
    places = [(np.arange(n) + 0.5) / n * 2 - 1 for n in space]
    grid: Any = np.polynomial.legendre.leggrid2d if len(space) == 2 else np.polynomial.legendre.leggrid3d
    for image, numbers, result in zip(x.numpy(), u.double().numpy(), bias(x, u, 0.5).numpy(), strict=True):
        coefficients = ((2 * numbers - 1) * 0.5).reshape([4] * len(space))
        for degrees in np.ndindex(*coefficients.shape):
            if not 1 <= sum(degrees) <= 3:
                coefficients[degrees] = 0
        shaded = image * np.exp(grid(*places, coefficients))
        assert np.allclose(result, (shaded * image.mean() / shaded.mean()).clip(0, 1), atol=1e-5)


def test_depth_halves_the_last_row_at_most() -> None:
    x = pictures(3, 2, 10, 7)
    result = depth(x, torch.tensor([[0.0], [0.5], [1.0]]), 1.0)
    for row in range(10):
        for i, u in enumerate((0, 0.5, 1)):
            assert torch.allclose(result[i, :, row], x[i, :, row] * 0.5 ** (u * (row + 0.5) / 10), atol=1e-6)


def test_stain_against_separation_by_the_published_matrix() -> None:
    x = pictures(6, 3, 5, 4)
    u = drawn("stain", x)
    result = stain(x, u, 0.4).permute(0, 2, 3, 1).numpy()
    stains = np.array(STAINS)
    for i, row, column in np.ndindex(6, 5, 4):
        density = -np.log(x[i, :, row, column].double().numpy() + 1 / 255)
        amounts = density @ np.linalg.inv(stains)  # of haematoxylin, eosin and DAB
        numbers = u[i].double().numpy()
        amounts = amounts * 1.4 ** (2 * numbers[:3] - 1) + 0.4 * (numbers[3:] - 0.5)
        expected = np.exp(-(amounts @ stains)) - 1 / 255
        assert np.allclose(result[i, row, column], expected.clip(0, 1), atol=1e-4)


def test_more_haematoxylin_is_a_darker_blue() -> None:
    pale = (np.exp(-0.5 * np.array(STAINS[0])) - 1 / 255).reshape(1, 3, 1, 1)
    u = torch.full((1, 6), 0.5)
    u[0, 0] = 1.0
    darker = stain(torch.tensor(pale, dtype=torch.float32), u, 0.5).flatten().numpy()
    assert np.allclose(darker, np.exp(-0.75 * np.array(STAINS[0])) - 1 / 255, atol=1e-5)


def test_normal_deviates_are_normal_and_follow_the_place() -> None:
    x, place = torch.empty(64, 1, 20, 20), pictures(64)
    deviates = normal(x, place)
    assert abs(float(deviates.mean())) < 0.03
    assert abs(float(deviates.std()) - 1) < 0.03
    assert torch.equal(normal(x, place), deviates)
    assert not torch.equal(deviates[0], deviates[1])
    assert normal(torch.empty(2, 3, 300, 300), place[:2]).shape == (2, 3, 300, 300)


def test_noise_against_its_definition() -> None:
    x = pictures(8, 3, 6, 5)
    u = pictures(8, 3, seed=1)
    first, second = normal(x[:, :1], u[:, 1]), normal(x[:, :1], u[:, 2])
    sigma = (0.2 * u[:, 0]).view(-1, 1, 1, 1)
    grains = speckle(x, u[:, :2], 0.2)
    assert torch.allclose(grains, (x * (1 + sigma * first)).clamp_min(0), atol=1e-6)
    magnitude = torch.complex(x + sigma * first, (sigma * second).expand_as(x)).abs()
    assert torch.allclose(rician(x, u, 0.2), magnitude, atol=1e-5)


@pytest.mark.parametrize("value", [0.0, 0.1, 0.8])
def test_rician_noise_is_distributed_as_that_of_monai(value: float) -> None:
    flat = torch.full((1, 1, 200, 200), value)
    theirs = RandRicianNoise(prob=1.0, std=0.1, sample_std=False)
    theirs.set_random_state(0)
    expected = np.asarray(theirs(flat[0]))
    found = rician(flat, torch.tensor([[1.0, 0.1, 0.7]]), 0.1).numpy()
    assert found.mean() == pytest.approx(expected.mean(), abs=2e-3)
    assert found.std() == pytest.approx(expected.std(), abs=2e-3)
    assert (found**2).mean() == pytest.approx(value**2 + 2 * 0.1**2, abs=3e-3)


@pytest.mark.parametrize("side", [12, 17])
def test_ghosts_are_weak_lines_of_k_space(side: int) -> None:
    x = pictures(30, 1, side, side)
    u = drawn("ghost", x)
    u[:, 0] *= 2 * RARE  # every other image is left alone
    result = ghost(x, u, 0.6).numpy()
    for image, numbers, found in zip(x.numpy(), u.numpy(), result, strict=True):
        spectrum = np.fft.fft2(image[0])
        share, count, axis = 0.6 * numbers[0] / RARE, 4 + int(numbers[1] * 7), int(numbers[2] * 2)
        for line in range(1, side):
            if min(line, side - line) % count == 0 and numbers[0] < RARE:
                np.moveaxis(spectrum, axis, 0)[line] *= 1 - share
        assert np.allclose(found[0], np.abs(np.fft.ifft2(spectrum)), atol=1e-5)


def coarse(values: NDArray[Any], zoom: float) -> NDArray[Any]:
    """Means over cells of 1 / zoom pixels, the last one cut short, and linear interpolation between their centres."""
    n, size = len(values), 1 / zoom
    total = np.concatenate([[0.0], np.cumsum(values)])
    edges = np.minimum(np.arange(math.ceil(n * zoom - 1e-4) + 1) * size, n)
    means = np.diff(np.interp(edges, np.arange(n + 1), total)) / np.diff(edges)
    centres = (np.arange(len(means)) + 0.5) * size
    return np.asarray(np.interp(np.arange(n) + 0.5, centres, means))


def test_low_resolution_against_means_over_cells() -> None:
    x = pictures(16, 1, 13, 10)
    u = pictures(16, 1, seed=1) * 2 * RARE
    result = lowres(x, u, 0.6).double().numpy()
    for image, number, found in zip(x.double().numpy(), u[:, 0].double().numpy(), result, strict=True):
        zoom = 1 - 0.6 * number / RARE if number < RARE else 1.0
        down = np.apply_along_axis(coarse, 0, image[0], zoom)
        assert np.allclose(found[0], np.apply_along_axis(coarse, 1, down, zoom), atol=1e-4)


def test_half_the_resolution_is_that_of_torch() -> None:
    x = pictures(4, 3, 12, 16)
    halved = F.interpolate(F.avg_pool2d(x, 2), scale_factor=2, mode="bilinear")
    almost = torch.full((4, 1), RARE * (1 - 1e-6))
    assert torch.allclose(lowres(x, almost, 0.5), halved, atol=1e-4)


@pytest.mark.parametrize("space", [(6, 9), (5, 6, 7)])
def test_low_resolution_of_one_axis_or_of_all(space: tuple[int, ...]) -> None:
    axes = len(space)
    x = pictures(axes + 1, 1, *space)
    rare = torch.full((axes + 1,), RARE * 0.8)
    result = lowres(x, torch.stack([rare, (torch.arange(axes + 1) + 0.5) / (axes + 1)], 1), 0.6)
    expected = x.double().numpy().copy()
    for number in range(axes + 1):
        for axis in range(axes) if number == axes else [number]:
            expected[number, 0] = np.apply_along_axis(coarse, axis, expected[number, 0], 1 - 0.6 * 0.8)
    assert np.allclose(result.numpy(), expected, atol=1e-4)
    assert torch.equal(lowres(x, rare[:, None], 0.6)[axes], result[axes])


def test_matrices_work_along_their_axes() -> None:
    space = (4, 5, 6)
    x, matrices = pictures(2, 2, *space), [pictures(2, side, side, seed=side) for side in space]
    found = through(x, matrices).numpy()
    for i, c in np.ndindex(2, 2):
        expected = np.einsum("dhw,ad,bh,cw->abc", x[i, c].numpy(), *(m[i].numpy() for m in matrices))
        assert np.allclose(found[i, c], expected, atol=1e-4)


@pytest.mark.parametrize("space", [(20, 30), (8, 10, 12)])
def test_cutout_empties_its_share_of_the_image(space: tuple[int, ...]) -> None:
    x = pictures(60, 2, *space) + 1
    u = drawn("cutout", x)
    result = cutout(x, u, 0.4)
    emptied = result == 0
    assert torch.equal(result[~emptied], x[~emptied])
    for numbers, box in zip(u.numpy(), emptied[:, 0].numpy(), strict=True):
        side = (0.4 * numbers[0]) ** (1 / len(space))
        edges = [
            (start * (1 - side) * n, (start * (1 - side) + side) * n)
            for start, n in zip(numbers[1:], space, strict=True)
        ]
        for place in np.ndindex(*space):
            inside = [low <= at + 0.5 < high for at, (low, high) in zip(place, edges, strict=True)]
            margin = min(abs(at + 0.5 - edge) for at, both in zip(place, edges, strict=True) for edge in both)
            assert margin < 1e-3 or box[place] == all(inside)
    assert float(emptied.float().mean()) == pytest.approx(0.2, abs=0.05)


@pytest.mark.parametrize("side", [28, 224])
def test_no_weight_of_a_gaussian_is_too_small_for_a_normal_float(side: int) -> None:
    """Products with such numbers are ten times as slow; what is left out is less than a rounding."""
    sigma = torch.linspace(0.1, side / 8, 40)
    found = gaussian(side, sigma)
    assert not ((found > 0) & (found < torch.finfo(torch.float32).tiny)).any()
    away = (torch.arange(side)[:, None] - torch.arange(side)).double().square()
    exact = torch.exp(-away / (2 * sigma.double().square()).view(-1, 1, 1))
    assert torch.allclose(found.double(), exact / exact.sum(-1, keepdim=True), atol=2e-7)
