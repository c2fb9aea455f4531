"""Views of volumes: what they leave alone, what they may change, and that every volume is treated by itself."""

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import map_coordinates
from torch import Tensor

from autossl import views as image_views
from autossl.views import Preset, Views, modalities, preset
from autossl.volume_intensity import bias_field, box, coarsening, ghosting, orientations, rician, terms, through, window
from autossl.volumes import COLUMN, COLUMNS, VolumeViews, views_for

MODALITIES = list(modalities())
STILL = Preset()  # nothing allowed
SCANNER = Preset(window=0.4, bias=0.5, rician=0.1, ghost=0.5, lowres=0.5, blur=0.05, blur_share=0.5, cutout=0.2)


def cubes(b: int, c: int, *size: int, seed: int = 0) -> Tensor:
    return torch.rand(b, c, *(size or (12, 12, 12)), generator=torch.Generator().manual_seed(seed))


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def make(allowed: Preset, channels: int, crop_min: float = 0.3, jitter: float = 1.0) -> VolumeViews:
    return VolumeViews(allowed, (0.4, 0.5)[:channels], (0.2, 0.25)[:channels], crop_min=crop_min, jitter=jitter)


def plain(allowed: Preset, crop_min: float = 1.0, jitter: float = 1.0) -> VolumeViews:
    """Views of one channel in the units of the volumes."""
    return VolumeViews(allowed, (0.0,), (1.0,), crop_min=crop_min, jitter=jitter)


def middle(b: int, **drawn: float) -> Tensor:
    """Draws that change nothing but what is named."""
    u = torch.full((b, len(COLUMNS) + len(terms())), 0.5)
    u[:, [COLUMN[name] for name in ("hflip", "vflip", "dflip", "blur")]] = 0.999
    u[:, [COLUMN[name] for name in ("turn", "noise", "elastic", "rician", "ghost", "lowres", "cutout")]] = 0.0
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
    found = replace(preset("mr", 2), elastic=0.1, window=0.4, bias=0.5, rician=0.1, ghost=0.5, lowres=0.5, cutout=0.2)
    views = make(found if allowed == "everything" else preset(allowed, 2), 2)
    x = cubes(8, 2)
    u = views.draw(x, seeded())
    loop = torch.cat([views.apply(x[i : i + 1], u[i : i + 1]) for i in range(len(x))])
    assert torch.allclose(views.apply(x, u), loop, atol=1e-5)


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


def test_a_bias_field_is_that_of_monai() -> None:
    from monai.transforms.intensity.array import RandBiasField

    drawn = torch.rand(2, len(terms()), generator=seeded()) - 0.5
    for coefficients, field in zip(drawn, bias_field(drawn, (9, 8, 7)), strict=True):
        # MONAI's order of terms: the first axis is the slowest; its first coefficient is the constant one
        theirs = RandBiasField()._generate_random_field((9, 8, 7), 3, [0.0, *coefficients.tolist()])
        assert np.allclose(field[0].numpy(), np.exp(theirs), atol=1e-4)


def test_a_window_is_that_of_monai() -> None:
    from monai.transforms.intensity.array import ScaleIntensityRange

    x = cubes(1, 1)
    low, high = 0.5 + 0.1 - 0.5 / 1.25, 0.5 + 0.1 + 0.5 / 1.25
    expected = ScaleIntensityRange(low, high, 0, 1, clip=True)(x)
    assert torch.allclose(window(x, torch.tensor([0.1]), torch.tensor([1.25])), torch.as_tensor(expected), atol=1e-5)


@pytest.mark.parametrize("side", [9, 12])
@pytest.mark.parametrize("ghosts", [2, 3, 5])
def test_ghosts_are_weakened_lines_of_k_space(side: int, ghosts: int) -> None:
    x = cubes(1, 1, side, 4, 5)
    spectrum = torch.fft.fft(x, dim=2)
    for line in range(side):
        if min(line, side - line) % ghosts:
            spectrum[:, :, line] *= 0.4
    matrix = ghosting(side, torch.tensor([0.6]), torch.tensor([float(ghosts)]))
    assert torch.allclose(through(x, matrix, 0), torch.fft.ifft(spectrum, dim=2).real, atol=1e-5)
    assert torch.allclose(ghosting(side, torch.zeros(1), torch.tensor([2.0])), torch.eye(side)[None], atol=1e-5)


def test_coarse_voxels_are_means_enlarged_linearly() -> None:
    signal = cubes(1, 1, 12, 1, 1)
    small = signal.view(1, 1, 6, 2).mean(3)
    expected = torch.nn.functional.interpolate(small, 12, mode="linear", align_corners=False)
    found = through(signal, coarsening(12, torch.tensor([0.5])), 0)
    assert torch.allclose(found.flatten(), expected.flatten(), atol=1e-5)
    matrices = coarsening(13, torch.linspace(0.1, 1, 10))
    assert torch.allclose(matrices.sum(2), torch.ones(10, 13), atol=1e-5)
    assert torch.allclose(matrices[-1], torch.eye(13), atol=1e-5)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_matrix_works_along_its_axis(axis: int) -> None:
    x, side = cubes(2, 2, 4, 5, 6), (4, 5, 6)[axis]
    matrix = cubes(2, side, side, seed=1).view(2, side, side)
    for i, c in np.ndindex(2, 2):
        expected = np.moveaxis(np.tensordot(matrix[i].numpy(), x[i, c].numpy(), (1, axis)), 0, axis)
        assert np.allclose(through(x, matrix, axis)[i, c].numpy(), expected, atol=1e-5)


def test_rician_noise_in_air_is_rayleigh() -> None:
    real, imaginary = (torch.randn(4, 1, 20, 20, 20, generator=seeded(i)) for i in (1, 2))
    air = rician(torch.zeros_like(real), real, imaginary, torch.full((4,), 0.1))
    assert float(air.mean()) == pytest.approx(0.1 * math.sqrt(math.pi / 2), rel=0.01)
    x = cubes(4, 1, 20, 20, 20)
    assert torch.allclose(rician(x, real, imaginary, torch.zeros(4)), x)


def test_a_cut_box_has_its_share_and_is_the_mean() -> None:
    inside = box(torch.tensor([0.125]), torch.tensor([[0.0, 0.99, 0.5]]), (16, 16, 16))
    assert int(inside.sum()) == 8**3
    views = make(replace(STILL, cutout=0.3), 1, crop_min=1.0)
    cut = views.apply(cubes(4, 1, 20, 20, 20), middle(4, cutout=1.0)) == 0
    assert float(cut.float().mean()) == pytest.approx(0.3, abs=0.05)


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
