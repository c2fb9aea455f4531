"""Views: what they leave alone, what they may change, and that every image is treated by itself."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from scipy.interpolate import BSpline
from torch import Tensor

from autossl.errors import UserError
from autossl.views.images import COLUMN, COLUMNS, EXTRA, WIDTHS, Views
from autossl.views.presets import Preset, modalities, preset

MODALITIES = list(modalities())
KNOTS = np.arange(-3, 6) / 2  # of a cubic spline with five coefficients over [0, 1]
STILL = Preset()  # nothing allowed


def pictures(b: int, c: int, h: int = 16, w: int = 16, seed: int = 0) -> Tensor:
    return torch.rand(b, c, h, w, generator=torch.Generator().manual_seed(seed))


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def make(allowed: Preset, channels: int, crop_min: float = 0.3, jitter: float = 1.0) -> Views:
    mean, std = (0.4, 0.5, 0.6, 0.45)[:channels], (0.2, 0.25, 0.3, 0.22)[:channels]
    return Views(allowed, mean, std, crop_min=crop_min, jitter=jitter)


def plain(views: Views) -> Views:
    """The same views in the units of the images."""
    channels = len(views.mean)
    kept = {"crop_min": views.crop_min, "jitter": views.jitter}
    return Views(views.preset, (0.0,) * channels, (1.0,) * channels, **kept)


def middle(b: int, channels: int, **drawn: float) -> Tensor:
    """Draws that change nothing but what is named."""
    u = torch.full((b, len(COLUMNS) + channels), 0.5)
    u[:, [COLUMN["hflip"], COLUMN["vflip"], COLUMN["grey"], COLUMN["blur"]]] = 0.999
    u[:, [COLUMN["turn"], COLUMN["noise"]]] = 0.0
    for name, value in drawn.items():
        u[:, COLUMN[name]] = value
    return u


@pytest.mark.parametrize("modality", MODALITIES)
@pytest.mark.parametrize("channels", [1, 3])
def test_at_zero_strength_nothing_changes(modality: str, channels: int) -> None:
    fixed = replace(preset(modality, channels), hflip=False, vflip=False, turns=False, rotate=0.0)
    views, images = make(fixed, channels, crop_min=1.0, jitter=0.0), pictures(9, channels, 20, 14)
    expected = (images - views.mean.view(1, -1, 1, 1)) / views.std.view(1, -1, 1, 1)
    assert torch.allclose(views(images, seeded()), expected, atol=1e-4)
    assert torch.allclose(views.standardise(images), expected, atol=1e-6)
    assert torch.allclose(make(fixed, channels, crop_min=1.0).weak(images, seeded()), images, atol=1e-4)


@pytest.mark.parametrize("modality", MODALITIES)
def test_without_jitter_intensities_stay_exactly(modality: str) -> None:
    """Crops, flips and rotation of a plain image give that image: the border is continued, not filled with black."""
    views = make(preset(modality, 3), 3, jitter=0.0)
    plane = torch.tensor([0.25, 0.5, 0.75]).view(1, 3, 1, 1).expand(32, 3, 18, 18)
    assert torch.allclose(views(plane, seeded()), views.standardise(plane), atol=1e-5)


@pytest.mark.parametrize("modality", MODALITIES)
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_a_batch_is_the_loop_over_its_images(modality: str, channels: int) -> None:
    views, images = make(preset(modality, channels), channels), pictures(12, channels)
    u = views.draw(images, seeded())
    loop = torch.cat([views.apply(images[i : i + 1], u[i : i + 1]) for i in range(len(images))])
    assert torch.allclose(views.apply(images, u), loop, atol=1e-5)


@pytest.mark.parametrize("modality", MODALITIES)
def test_seeded_and_different_for_each_image(modality: str) -> None:
    views, images = make(preset(modality, 1), 1), pictures(1, 1).repeat(8, 1, 1, 1)
    first = views(images, seeded(1))
    assert torch.equal(first, views(images, seeded(1)))
    assert not torch.allclose(first, views(images, seeded(2)))
    assert torch.pdist(first.flatten(1)).min() > 0.01


@given(
    st.sampled_from(MODALITIES),
    st.sampled_from([1, 2, 3, 5]),
    st.tuples(st.integers(4, 40), st.integers(4, 40)),
    st.floats(0.05, 1),
    st.floats(0, 1),
)
def test_views_are_finite_and_bounded(
    modality: str, channels: int, size: tuple[int, int], crop_min: float, jitter: float
) -> None:
    views = Views(preset(modality, channels), (0.5,) * channels, (0.25,) * channels, crop_min=crop_min, jitter=jitter)
    images = pictures(6, channels, *size)
    result = views(images, seeded())
    assert result.shape == images.shape
    assert result.dtype == torch.float32
    assert result.is_contiguous(memory_format=torch.channels_last)
    assert torch.isfinite(result).all()
    assert result.abs().max() < 50
    weak = views.weak(images, seeded())
    assert 0 <= weak.min() <= weak.max() <= 1 + 1e-5


@pytest.mark.parametrize("modality", MODALITIES)
@pytest.mark.parametrize("channels", [1, 2, 4])
def test_colour_is_turned_on_three_channels_only(modality: str, channels: int) -> None:
    allowed = preset(modality, channels)
    assert allowed.hue == allowed.saturation == allowed.grey == allowed.stain == 0
    assert channels > 1 or allowed.gain == 0
    # even a preset that asks for it cannot turn the colour of other images
    views, images = (
        make(replace(allowed, hue=0.5, saturation=1.0, grey=1.0, stain=1.0), channels),
        pictures(4, channels),
    )
    u = views.draw(images, seeded())
    changed = u.clone()
    changed[:, [COLUMN["hue"], COLUMN["saturation"], COLUMN["grey"]]] = torch.rand(4, 3, generator=seeded(5))
    changed[:, EXTRA["stain"]] = torch.rand(4, 6, generator=seeded(5))
    assert torch.equal(views.apply(images, u), views.apply(images, changed))


@pytest.mark.parametrize("modality", ["xray", "ct", "mr", "ultrasound", "oct", "grey"])
def test_grey_images_stored_in_three_channels_stay_grey(modality: str) -> None:
    views = Views(replace(preset(modality, 3), noise=0.0), (0.5,) * 3, (0.2,) * 3, jitter=1.0)
    result = views(pictures(8, 1).repeat(1, 3, 1, 1), seeded())
    assert torch.allclose(result[:, :1].expand_as(result), result, atol=1e-4)


@pytest.mark.parametrize("modality", MODALITIES)
def test_presets_name_known_needs_and_operations_in_range(modality: str) -> None:
    found = modalities()[modality]
    amplitudes = {k: v for k, v in vars(found).items() if isinstance(v, float) and k != "rotate"}
    assert all(0 <= amplitude <= 1 for amplitude in amplitudes.values())
    assert found.elastic < 1 / 8  # more would fold the image
    assert 0 <= found.hue <= 0.5
    assert found.lacks <= {"orientation", "colour", "stain", "order"}
    assert not found.quantitative or not (found.hue or found.blur or found.bias or found.stain or found.depth)
    # an upright modality is never turned over
    assert "orientation" in found.lacks or not (found.turns or found.vflip or found.rotate > 15)


@pytest.mark.parametrize("quarters", range(4))
def test_right_angles_are_exact(quarters: int) -> None:
    views, images = make(replace(STILL, turns=True), 1, crop_min=1.0, jitter=0.0), pictures(2, 1)
    result = plain(views).apply(images, middle(2, 1, turn=quarters / 4 + 0.1))
    assert any(torch.allclose(result, torch.rot90(images, sign * quarters, (2, 3)), atol=1e-4) for sign in (1, -1))


def test_flips_are_exact_and_take_place_half_of_the_time() -> None:
    views, images = plain(make(replace(STILL, hflip=True, vflip=True), 1, crop_min=1.0)), pictures(2, 1, 10, 16)
    across, down = views.apply(images, middle(2, 1, hflip=0.1)), views.apply(images, middle(2, 1, vflip=0.1))
    assert torch.allclose(across, images.flip(3), atol=1e-4)
    assert torch.allclose(down, images.flip(2), atol=1e-4)
    many = views(images[:1].repeat(400, 1, 1, 1), seeded())
    unchanged = (many - images[:1]).abs().amax((1, 2, 3)) < 1e-3
    assert 60 < int(unchanged.sum()) < 140  # neither flip: a quarter


@given(st.floats(0.1, 1), st.floats(0, 1), st.floats(0, 1), st.floats(0, 1), st.floats(-0.5, 0.5))
def test_geometry_against_a_loop_over_pixels(area: float, aspect: float, left: float, top: float, tilt: float) -> None:
    h, w = 6, 8
    views = plain(make(replace(STILL, rotate=90.0), 1, crop_min=0.05, jitter=0.0))
    image = pictures(1, 1, h, w)
    drawn = {"aspect": aspect, "left": left, "top": top, "angle": 0.5 + tilt / 2}
    result = views.apply(image, middle(1, 1, area=(area - 0.05) / 0.95, **drawn))[0, 0]
    stretch = (2 * aspect - 1) * min(-math.log(area), math.log(4 / 3))
    wide, high = w * math.sqrt(area * math.exp(stretch)), h * math.sqrt(area / math.exp(stretch))
    cx, cy = wide / 2 + left * (w - wide), high / 2 + top * (h - high)
    cos, sin = math.cos(tilt * math.pi / 2), math.sin(tilt * math.pi / 2)
    for row in range(h):
        for column in range(w):
            dx, dy = ((column + 0.5) / w - 0.5) * wide, ((row + 0.5) / h - 0.5) * high
            x, y = cx + cos * dx - sin * dy - 0.5, cy + sin * dx + cos * dy - 0.5
            assert abs(float(result[row, column]) - between(image[0, 0], x, y)) < 1e-3


@pytest.mark.parametrize(("elastic", "shear"), [(0.0, 0.0), (0.05, 0.0), (0.0, 0.3), (0.05, 0.3)])
def test_elastic_and_shear_against_a_loop_over_pixels(elastic: float, shear: float) -> None:
    """A pixel looks where its place leads, moved by a spline through the knots and leaning with its height."""
    h, w, jitter = 9, 12, 0.5
    allowed = replace(STILL, elastic=elastic, shear=shear)
    views, images = plain(make(allowed, 1, crop_min=1.0, jitter=jitter)), pictures(3, 1, h, w)
    u = views.draw(images, seeded())
    assert u.shape[1] == len(COLUMNS) + (sum(WIDTHS.values()) if elastic or shear else 0) + 1
    for i, result in enumerate(views.apply(images, u)[:, 0]):
        # without either, nothing was drawn for them
        knots = 2 * u[i, EXTRA["elastic"]].double().numpy() - 1 if elastic else np.zeros(50)
        knots = knots.reshape(2, 5, 5) * elastic * jitter
        lean = (2 * float(u[i, EXTRA["shear"]]) - 1) * shear * jitter if shear else 0.0
        for row, column in np.ndindex(h, w):
            down, across = (row + 0.5) / h, (column + 0.5) / w
            moved = [float(BSpline(KNOTS, BSpline(KNOTS, k, 3)(down), 3)(across)) for k in knots]
            x, y = (across + moved[0]) * w, (down + moved[1]) * h
            x += lean * (y - h / 2)
            assert abs(float(result[row, column]) - between(images[i, 0], x - 0.5, y - 0.5)) < 1e-3


def between(image: Tensor, x: float, y: float) -> float:
    """Bilinear interpolation, coordinates cut off at the border."""
    h, w = image.shape
    x, y = min(max(x, 0), w - 1), min(max(y, 0), h - 1)
    x0, y0 = min(int(x), w - 2), min(int(y), h - 2)
    fx, fy = x - x0, y - y0
    upper = (1 - fx) * image[y0, x0] + fx * image[y0, x0 + 1]
    lower = (1 - fx) * image[y0 + 1, x0] + fx * image[y0 + 1, x0 + 1]
    return float((1 - fy) * upper + fy * lower)


def test_colour_against_one_operation_after_the_other() -> None:
    allowed = Preset(brightness=0.4, contrast=0.8, gain=0.4, saturation=0.6, hue=0.2, grey=0.3)
    views, images = make(allowed, 3, crop_min=1.0, jitter=0.7), pictures(16, 3)
    u = views.draw(images, seeded())
    result = views.apply(images, u)
    for i, image in enumerate(images):
        drawn = {name: float(2 * u[i, column] - 1) for name, column in COLUMN.items()}
        gains = torch.exp((2 * u[i, len(COLUMNS) :] - 1) * math.log1p(0.4 * 0.7)).view(3, 1, 1)
        x = image * gains
        grey = x.mean(0, keepdim=True)
        away = 0.0 if u[i, COLUMN["grey"]] < 0.3 * 0.7 else math.exp(drawn["saturation"] * math.log1p(0.6 * 0.7))
        x = grey + away * turned(x - grey, drawn["hue"] * 0.2 * 0.7 * 2 * math.pi)
        contrast = math.exp(drawn["contrast"] * math.log1p(0.8 * 0.7))
        x = contrast * (x - views.mean.view(3, 1, 1)) + drawn["brightness"] * 0.4 * 0.7
        assert torch.allclose(result[i], x / views.std.view(3, 1, 1), atol=1e-4)


def turned(x: Tensor, angle: float) -> Tensor:
    """Colour differences (3, h, w) turned about the grey axis, by Rodrigues' formula."""
    axis = torch.full((3,), 1 / math.sqrt(3)).view(3, 1, 1).expand_as(x)
    crossed: Tensor = torch.linalg.cross(axis, x, dim=0)
    return x * math.cos(angle) + crossed * math.sin(angle)


def test_noise_has_the_strength_it_says() -> None:
    images, u = pictures(400, 1), middle(400, 1, noise=1.0)
    u[:, COLUMN["noise_from"]] = torch.rand(400, generator=seeded())
    for jitter in (1.0, 0.5):
        noisy = plain(make(replace(STILL, noise=0.1), 1, 1.0, jitter)).apply(images, u)
        assert abs(float((noisy - images).std()) - 0.1 * jitter) < 0.002


def test_blur_is_a_gaussian_on_its_share_of_the_images() -> None:
    image = torch.zeros(1, 1, 33, 33)
    image[0, 0, 16, 16] = 1
    views = plain(make(replace(STILL, blur=0.06, blur_share=0.5), 1, 1.0))
    spot = views.apply(image, middle(1, 1, blur=0.1, blur_width=1.0))[0, 0]
    place = torch.arange(33.0) - 16
    assert abs(float(spot.sum()) - 1) < 1e-4
    assert abs(float((spot.sum(0) * place.square()).sum()) - (0.06 * 33) ** 2) < 0.02
    untouched = views.apply(image, middle(1, 1, blur=0.6, blur_width=1.0))[0, 0]
    assert torch.allclose(untouched, image[0, 0], atol=1e-4)


def test_copies_are_view_after_view() -> None:
    views, images = make(STILL, 3, crop_min=1.0, jitter=0.0), pictures(5, 3)
    first, second = views(images, seeded(), copies=2).chunk(2)
    assert torch.allclose(first, views.standardise(images), atol=1e-4)
    assert torch.allclose(second, first, atol=1e-4)
    views = make(preset("microscopy", 3), 3)
    first, second = views(images, seeded(), copies=2).chunk(2)
    assert F.mse_loss(first, second) > 0.01


def test_images_are_not_changed_in_place() -> None:
    images = pictures(8, 3)
    before = images.clone()
    views = make(preset("colour", 3), 3)
    views(images, seeded())
    views.weak(images, seeded())
    assert torch.equal(images, before)


def test_a_constant_channel_and_large_images_do_no_harm() -> None:
    views = Views(preset("grey", 1), (0.5,), (0.0,), jitter=0.0)
    assert torch.isfinite(views(torch.full((2, 1, 16, 16), 0.5), seeded())).all()
    large = make(preset("colour", 3), 3)(pictures(2, 3, 300, 300), seeded())
    assert torch.isfinite(large).all()


@pytest.mark.parametrize("wrong", [{"crop_min": 0.0}, {"crop_min": 1.5}, {"jitter": -0.1}, {"jitter": 1.1}])
def test_strengths_outside_their_range_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(UserError, match=r"was wanted.*, found"):
        Views(STILL, (0.5,), (0.2,), **wrong)


def test_unknown_modality_is_refused_with_the_known_ones() -> None:
    with pytest.raises(UserError, match=r"found 'x-ray'; choose one of auto, .*xray"):
        preset("x-ray", 1)
    assert preset("auto", 3) == preset("colour", 3)
    assert preset("auto", 1) == preset("grey", 1)
