"""Views of volumes: what they leave alone, what they may change, and that every volume is treated by itself."""

import itertools
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import map_coordinates
from torch import Tensor

from autossl.views import images as image_views
from autossl.views import intensity
from autossl.views.images import Views
from autossl.views.presets import Preset, modalities, preset
from autossl.views.volumes import COLUMN, COLUMNS, EXTRA, WIDTHS, VolumeViews, grid, orientations, sampled, views_for

MODALITIES = list(modalities())
STILL = Preset()  # nothing allowed
SCANNER = Preset(
    window=0.4,
    bias=0.5,
    rician=0.1,
    ghost=0.5,
    lowres=0.5,
    speckle=0.2,
    cutout=0.2,
    blur=0.05,
    blur_share=0.5,
)


def cubes(b: int, c: int, *size: int, seed: int = 0) -> Tensor:
    return torch.rand(b, c, *(size or (12, 12, 12)), generator=torch.Generator().manual_seed(seed))


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def make(allowed: Preset, channels: int, crop_min: float = 0.3, jitter: float = 1.0) -> VolumeViews:
    return VolumeViews(allowed, (0.4, 0.5)[:channels], (0.2, 0.25)[:channels], crop_min=crop_min, jitter=jitter)


def plain(allowed: Preset, crop_min: float = 1.0, jitter: float = 1.0) -> VolumeViews:
    """Views of one channel in the units of the volumes."""
    return VolumeViews(allowed, (0.0,), (1.0,), crop_min=crop_min, jitter=jitter)


def alone(name: str, amplitude: float) -> Preset:
    """Nothing allowed but one thing."""
    chosen: dict[str, Any] = {name: amplitude}
    return replace(STILL, **chosen)


def middle(b: int, **drawn: float) -> Tensor:
    """Draws of volumes with one channel that change nothing but what is named."""
    u = torch.full((b, len(COLUMNS) + sum(WIDTHS.values()) + 1), 0.5)
    u[:, [COLUMN[name] for name in ("hflip", "vflip", "dflip", "blur")]] = 0.999
    u[:, [COLUMN[name] for name in ("turn", "noise", "elastic")]] = 0.0
    for name, value in drawn.items():
        u[:, COLUMN[name]] = value
    return u


@pytest.mark.parametrize("modality", MODALITIES)
def test_at_zero_strength_nothing_changes(modality: str) -> None:
    fixed = replace(preset(modality, 2), hflip=False, vflip=False, turns=False, rotate=0.0)
    views, x = make(fixed, 2, crop_min=1.0, jitter=0.0), cubes(3, 2, 10, 8, 9)
    expected = (x - views.mean.view(1, -1, 1, 1, 1)) / views.std.view(1, -1, 1, 1, 1)
    assert torch.allclose(views(x, seeded()), expected, atol=1e-4)
    assert torch.allclose(views.standardise(x), expected, atol=1e-6)
    assert torch.allclose(make(fixed, 2, crop_min=1.0).weak(x, seeded()), x, atol=1e-4)


@pytest.mark.parametrize("allowed", [*MODALITIES, "everything"])
def test_without_jitter_intensities_stay_exactly(allowed: str) -> None:
    found = replace(SCANNER, elastic=0.1) if allowed == "everything" else preset(allowed, 1)
    plane = torch.full((6, 1, 10, 10, 10), 0.3)
    views = make(found, 1, jitter=0.0)
    assert torch.allclose(views(plane, seeded()), views.standardise(plane), atol=1e-5)


@pytest.mark.parametrize("allowed", ["mr", "microscopy", "everything"])
def test_a_batch_is_the_loop_over_its_volumes(allowed: str) -> None:
    found = replace(SCANNER, brightness=0.4, contrast=0.8, gamma=0.5, elastic=0.1, rotate=10.0)
    views = make(found if allowed == "everything" else preset(allowed, 2), 2)
    x = cubes(8, 2)
    u = views.draw(x, seeded())
    loop = torch.cat([views.apply(x[i : i + 1], u[i : i + 1]) for i in range(len(x))])
    assert torch.allclose(views.apply(x, u), loop, atol=1e-5)


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("jitter", [0.0, 0.7])
@pytest.mark.parametrize("held", [1, 3, 100])
def test_several_views_of_each_image_are_those_of_repeated_images(
    monkeypatch: pytest.MonkeyPatch, dims: int, jitter: float, held: int
) -> None:
    """Also where a batch is changed in pieces that end within a view."""
    views = views_for(dims)(preset("mr", 1), (0.4,), (0.2,), crop_min=0.4, jitter=jitter)
    x = cubes(5, 1) if dims == 3 else cubes(5, 1)[:, :, 0].contiguous(memory_format=torch.channels_last)
    u = views.draw(x, seeded(), copies=3)
    monkeypatch.setattr(image_views, "PIECE", held * x[0].numel())
    found = views.apply(x, u)
    one_by_one = torch.cat([views.apply(x, rows) for rows in u.chunk(3)])
    assert torch.allclose(found, one_by_one, atol=1e-5)
    assert torch.allclose(found, views.apply(x.repeat(3, *[1] * (dims + 1)), u), atol=1e-5)
    assert found.is_contiguous(memory_format=views.layout)


@given(
    st.sampled_from([*MODALITIES, "everything"]),
    st.tuples(*[st.integers(6, 14)] * 3),
    st.floats(0.05, 1),
    st.floats(0, 1),
    st.integers(0, 99),
)
@settings(max_examples=40)
def test_views_are_finite_seeded_and_different(
    modality: str, size: tuple[int, int, int], crop_min: float, jitter: float, seed: int
) -> None:
    allowed = replace(SCANNER, elastic=0.05, rotate=20.0) if modality == "everything" else preset(modality, 1)
    views = make(allowed, 1, crop_min=crop_min, jitter=jitter)
    x = cubes(1, 1, *size).repeat(3, 1, 1, 1, 1)
    kept = x.clone()
    result = views(x, seeded(seed), copies=2)
    assert result.shape == (6, 1, *size)
    assert torch.isfinite(result).all()
    assert result.abs().max() < 50
    assert torch.equal(result, views(x, seeded(seed), copies=2))
    assert torch.equal(x, kept)
    if crop_min < 0.9:
        assert torch.pdist(result.flatten(1)).min() > 0
    weak = views.weak(x, seeded(seed))
    assert 0 <= weak.min() <= weak.max() <= 1 + 1e-5


def test_right_angles_are_the_24_turns_of_a_cube() -> None:
    x = cubes(1, 1, 5, 5, 5)
    views = plain(replace(STILL, turns=True))
    found = [views.apply(x, middle(1, turn=(i + 0.5) / 24))[0, 0] for i in range(24)]
    assert torch.allclose(found[0], x[0, 0], atol=1e-4)
    possible: list[Tensor] = []
    for a, b, c in itertools.product(range(4), repeat=3):
        turned = torch.rot90(torch.rot90(torch.rot90(x[0, 0], a, (0, 1)), b, (0, 2)), c, (1, 2))
        if not any(torch.equal(turned, other) for other in possible):
            possible.append(turned)
    assert len(possible) == 24
    assert all(sum(torch.allclose(view, turned, atol=1e-4) for view in found) == 1 for turned in possible)


def test_turns_keep_their_hand_and_begin_with_nothing() -> None:
    assert torch.equal(orientations()[0], torch.eye(3))
    assert torch.allclose(torch.linalg.det(orientations()), torch.ones(24))


@pytest.mark.parametrize(("name", "axis"), [("hflip", 4), ("vflip", 3), ("dflip", 2)])
def test_flips_are_exact_and_only_where_allowed(name: str, axis: int) -> None:
    x = cubes(2, 1, 6, 8, 10)
    allowed = replace(STILL, hflip=name == "hflip", vflip=name != "hflip")
    assert torch.allclose(plain(allowed).apply(x, middle(2, **{name: 0.1})), x.flip(axis), atol=1e-4)
    assert torch.allclose(plain(STILL).apply(x, middle(2, **{name: 0.1})), x, atol=1e-4)


@given(st.integers(0, 9999))
@settings(max_examples=20)
def test_geometry_against_a_formula_for_each_voxel(seed: int) -> None:
    x = cubes(1, 1, 6, 8, 7, seed=seed)
    views = plain(replace(STILL, rotate=30.0), crop_min=0.2, jitter=0.0)
    u = views.draw(x, seeded(seed))
    drawn = {name: float(u[0, column]) for name, column in COLUMN.items()}
    share = 0.2 + 0.8 * drawn["area"]
    room = min(-math.log(share) / 3, math.log(4 / 3)) / 2
    one, two = ((2 * drawn[name] - 1) * room for name in ("aspect", "deep_aspect"))
    extent = share ** (1 / 3) * np.exp([one, two, -one - two])  # x, y, z
    assert math.isclose(float(np.prod(extent)), share, rel_tol=1e-5)
    assert (extent <= 1 + 1e-6).all()
    centre = np.array([2 * drawn[name] - 1 for name in ("left", "top", "front")]) * (1 - extent)
    a, b, c = (math.radians(30) * (2 * drawn[name] - 1) for name in ("roll", "pitch", "angle"))
    about_x = np.array([[1, 0, 0], [0, math.cos(a), -math.sin(a)], [0, math.sin(a), math.cos(a)]])
    about_y = np.array([[math.cos(b), 0, math.sin(b)], [0, 1, 0], [-math.sin(b), 0, math.cos(b)]])
    about_z = np.array([[math.cos(c), -math.sin(c), 0], [math.sin(c), math.cos(c), 0], [0, 0, 1]])
    size = np.array([7, 8, 6])
    places = np.stack(np.meshgrid(*[np.arange(n) for n in (7, 8, 6)], indexing="ij"), -1)
    offset = ((places + 0.5) - size / 2) * extent
    looked = offset @ (about_z @ about_y @ about_x).T + centre * size / 2 + size / 2 - 0.5
    expected = map_coordinates(x[0, 0].numpy(), looked[..., ::-1].transpose(3, 2, 1, 0), order=1, mode="nearest")
    assert np.allclose(views.apply(x, u)[0, 0].numpy(), expected, atol=1e-3)


def test_an_operation_finds_the_numbers_that_are_its_own() -> None:
    """Each operation of a scanner, alone, against a call with its slice of the row; the others are not drawn from."""
    x = cubes(8, 1)
    for name in WIDTHS:
        views = plain(alone(name, 0.4), jitter=0.5)
        u = views.draw(x, seeded())
        assert u.shape[1] == len(COLUMNS) + sum(WIDTHS.values()) + 1
        u[:, : len(COLUMNS)] = middle(8)[:, : len(COLUMNS)]
        operation = {**intensity.ACQUIRED, "cutout": intensity.cutout}[name]
        found = views.apply(x, u)
        assert torch.allclose(found, operation(x, u[:, EXTRA[name]], 0.2), atol=1e-5)
        assert not torch.allclose(found, x, atol=1e-3)


@pytest.mark.parametrize("name", ["ghost", "lowres"])
def test_a_quarter_of_the_volumes_is_touched_as_of_images(name: str) -> None:
    x = cubes(200, 1, 20, 21, 22)
    views = plain(alone(name, 0.5))
    u = middle(200)
    u[:, EXTRA[name]] = torch.rand(200, WIDTHS[name], generator=seeded())
    touched = (views.apply(x, u) - x).abs().flatten(1).amax(1) > 1e-3
    assert 0.15 < float(touched.float().mean()) < 0.35
    assert not touched[u[:, EXTRA[name].start] > intensity.RARE].any()


def test_what_has_no_meaning_in_volumes_is_left_out() -> None:
    x = cubes(2, 2)
    colour = Preset(hue=0.5, saturation=1.0, grey=1.0, stain=1.0, depth=1.0, shear=0.2)
    views = VolumeViews(colour, (0.0,) * 2, (1.0,) * 2, crop_min=1.0, jitter=1.0)
    u = views.draw(x, seeded())
    u[:, : len(COLUMNS)] = middle(2)[:, : len(COLUMNS)]
    assert torch.allclose(views.apply(x, u), x, atol=1e-4)


def test_a_bias_field_is_that_of_monai() -> None:
    from monai.transforms.intensity.array import RandBiasField

    u = torch.rand(2, 64, generator=seeded())
    shaded = intensity.bias(torch.full((2, 1, 9, 8, 7), 0.2), u, 0.5)
    degrees = [d for d in np.ndindex(4, 4, 4) if sum(d) <= 3]  # MONAI's order of terms: the first axis is the slowest
    for numbers, found in zip(u, shaded[:, 0], strict=True):
        coefficients = [float(numbers[np.ravel_multi_index(d, (4, 4, 4))]) - 0.5 for d in degrees]
        # MONAI's places are even steps from -1 to 1: of twice as many and one, every other is the centre of a voxel
        steps = RandBiasField()._generate_random_field((19, 17, 15), 3, [0.0, *coefficients[1:]])
        field = np.exp(np.asarray(steps))[1::2, 1::2, 1::2]
        assert np.allclose(found.numpy(), 0.2 * field / field.mean(), atol=1e-4)


def test_a_window_is_that_of_monai() -> None:
    from monai.transforms.intensity.array import ScaleIntensityRange

    x = cubes(1, 1)
    low, high = 0.5 + 0.1 - 0.5 / 1.25, 0.5 + 0.1 + 0.5 / 1.25
    expected = ScaleIntensityRange(low, high, 0, 1, clip=True)(x)
    found = intensity.window(x, torch.tensor([[1.0, 0.9]]), 0.25)  # the widest factor, and .4 of the amplitude
    assert torch.allclose(found, torch.as_tensor(expected), atol=1e-5)


def test_rician_noise_in_air_is_rayleigh() -> None:
    u = torch.rand(4, 3, generator=seeded())
    u[:, 0] = 1.0
    air = intensity.rician(torch.zeros(4, 1, 20, 20, 20), u, 0.1)
    assert float(air.mean()) == pytest.approx(0.1 * math.sqrt(math.pi / 2), rel=0.01)


def test_an_elastic_view_is_smooth_and_near() -> None:
    place = torch.arange(24.0).expand(4, 1, 24, 24, 24) / 24
    u = middle(4, elastic=1.0)
    u[:, COLUMN["elastic_from"]] = torch.rand(4, generator=seeded())
    moved = plain(replace(STILL, elastic=0.03)).apply(place, u) - place
    assert 0.005 < float(moved.std()) < 0.03
    assert float(moved.diff(dim=2).abs().max()) < 0.03
    assert torch.allclose(plain(replace(STILL, elastic=0.03)).apply(place, middle(4)), place, atol=1e-4)


def test_dimensions_choose_the_class_and_share_columns() -> None:
    assert views_for(2) is Views
    assert views_for(3) is VolumeViews
    assert all(COLUMN[name] == column for name, column in image_views.COLUMN.items())


@pytest.mark.parametrize("knots", [None, 3, 4])
def test_the_grid_is_the_affine_grid_and_the_interpolated_knots(knots: int | None) -> None:
    generator = torch.Generator().manual_seed(0)
    matrix, size = torch.randn(3, 3, 4, generator=generator), (5, 7, 9)
    expected = F.affine_grid(matrix, [3, 1, *size], align_corners=False)
    moved = None
    if knots is not None:
        moved = torch.randn(3, knots, knots, knots, 3, generator=generator)
        field = F.interpolate(moved.movedim(-1, 1), size, mode="trilinear", align_corners=True)
        expected = expected + field.movedim(1, -1)
    assert torch.allclose(grid(matrix, size, moved), expected, atol=1e-5)


@given(st.integers(1, 3), st.integers(1, 2), st.tuples(*[st.integers(2, 19)] * 3), st.booleans(), st.integers(0, 99))
@settings(max_examples=60)
def test_the_kernel_samples_as_torch_does(b: int, c: int, size: tuple[int, int, int], bent: bool, seed: int) -> None:
    x, matrix = cubes(b, c, *size, seed=seed), torch.randn(b, 3, 4, generator=seeded(seed))  # much of it looks outside
    moved = 0.3 * torch.randn(b, 4, 4, 4, 3, generator=seeded(seed)) if bent else None
    expected = F.grid_sample(x, grid(matrix, size, moved), padding_mode="border", align_corners=False)
    assert torch.allclose(sampled(x, matrix, moved), expected, atol=1e-4)
    channels_last = x.contiguous(memory_format=torch.channels_last_3d)
    assert torch.equal(sampled(channels_last, matrix, moved), sampled(x, matrix, moved))


@pytest.mark.parametrize("threads", [2, 5])
def test_threads_change_nothing(threads: int) -> None:
    x, matrix = cubes(3, 1), torch.randn(3, 3, 4, generator=seeded())
    alone = sampled(x, matrix)
    torch.set_num_threads(threads)
    assert torch.equal(sampled(x, matrix), alone)


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("modality", ["mr", "ct"])
def test_a_large_batch_in_pieces_is_the_same(dims: int, modality: str, monkeypatch: pytest.MonkeyPatch) -> None:
    views = views_for(dims)(preset(modality, 1), (0.5,), (0.25,), crop_min=0.4, jitter=0.8)
    x = torch.rand(7, 1, *[16] * dims, generator=seeded())
    whole = views(x, seeded(1))
    monkeypatch.setattr(image_views, "PIECE", 3 * x[0].numel())
    pieces = views(x, seeded(1))
    assert torch.allclose(pieces, whole, atol=1e-5)
    assert all(found.is_contiguous(memory_format=views.layout) for found in (whole, pieces))
