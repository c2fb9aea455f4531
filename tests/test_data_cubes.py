"""Volumes brought to cubes: resampling against Pillow, proportions of the body, padding, the default size."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from autossl.data import default_image_size, open_data
from autossl.data.readers.volumes import fit

CUBIC = Image.Resampling.BICUBIC


@given(old=st.integers(1, 40), new=st.integers(1, 40), axis=st.integers(0, 2), seed=st.integers(0, 99))
def test_each_axis_is_resampled_as_pillow_does(old: int, new: int, axis: int, seed: int) -> None:
    side = max(new, 2)
    shape = [side, side, side]
    shape[axis] = old
    volume = np.random.default_rng(seed).integers(0, 65536, (*shape, 1), dtype=np.uint16)
    spacing = np.ones(3)
    spacing[axis] = new / old  # so that only this axis changes, to `new` voxels
    found = fit(volume, side, spacing)
    lines = np.moveaxis(volume[..., 0], axis, 2).reshape(-1, old).astype(np.float32)
    expected = np.asarray(Image.fromarray(lines).resize((new, len(lines)), CUBIC, box=(0, 0, old, len(lines))))
    expected = np.clip(np.rint(expected), volume.min(), volume.max()) if old != new else lines
    first = (side - new) // 2
    inside = np.moveaxis(found[..., 0], axis, 2)[..., first : first + new].reshape(-1, new)
    assert np.abs(inside.astype(float) - expected).max() <= 1


def test_proportions_are_those_of_the_body() -> None:
    """Slices 4 mm apart: a ball is a ball again."""
    z, y, x = np.meshgrid(4.0 * np.arange(-5, 6), np.arange(-22, 23), np.arange(-22, 23), indexing="ij")
    ball = (255 * (np.sqrt(z**2 + y**2 + x**2) < 15)).astype(np.uint8)[..., None]
    cube = fit(ball, 32, np.array([4.0, 1.0, 1.0]))
    assert cube.shape == (32, 32, 32, 1)
    extents = [int((cube[..., 0].max(tuple({0, 1, 2} - {axis})) > 127).sum()) for axis in range(3)]
    assert max(extents) - min(extents) <= 2
    assert abs(cube.mean() / 255 - (4 / 3 * np.pi * 15**3) / 45**3) < 0.02


def test_what_is_short_is_padded_with_the_median_of_the_border() -> None:
    volume = np.full((4, 16, 16, 2), 50, dtype=np.uint8)
    volume[1:3, 4:12, 4:12] = 200
    cube = fit(volume, 16, np.ones(3))
    np.testing.assert_array_equal(cube[6:10], volume)
    assert (cube[:6] == 50).all()
    assert (cube[10:] == 50).all()
    assert fit(cube, 16, np.ones(3)) is cube


@pytest.mark.parametrize(
    ("sides", "expected"),
    [((28, 28, 28), 28), ((64, 64, 64), 64), ((96, 96, 96), 64), ((10, 50, 20), 50), ((9, 70, 70), 64)],
)
def test_the_default_size_of_cubes(sides: tuple[int, int, int], expected: int) -> None:
    assert default_image_size(open_data(np.ones((4, *sides), np.uint8), labels=[0, 1, 0, 1])) == expected
