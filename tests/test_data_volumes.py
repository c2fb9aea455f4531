"""Volumes as arrays: told from images, windowed, stored, and read anew for a study."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch.utils.data import TensorDataset

from autossl.cli.inspection import held
from autossl.data import CT, KEPT, PROBE, ROBUST, Data, open_data, prepare, read_images
from autossl.data.readers.volumes import HOUNSFIELD, to_voxels
from autossl.errors import UserError
from autossl.run.asked import Asked
from autossl.run.settings import resolve
from autossl.train.pool import Pool, at_a_time

RANDOM = np.random.default_rng(0)
LABELS = np.arange(60) % 3


def noise(*shape: int) -> NDArray[np.uint8]:
    return RANDOM.integers(0, 256, shape, dtype=np.uint8)


def hounsfield(n: int = 60, side: int = 10) -> NDArray[np.int16]:
    """Bodies in air: signed values as a CT has them."""
    values = RANDOM.integers(-150, 400, (n, side, side, side), dtype=np.int16)
    values[:, :, :3] = -1000
    return values


def relief(n: int = 60, side: int = 10) -> NDArray[np.float32]:
    """Floats on a scale of their own in every volume, as MR has them."""
    return (RANDOM.random((n, side, side, side)) * RANDOM.uniform(100, 9000, (n, 1, 1, 1))).astype(np.float32)


def prepared(values: NDArray[Any], folder: Path) -> Data:
    return prepare(open_data(values, labels=LABELS[: len(values)]), folder)


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((6, 12, 14), (12, 14, 1)),
        ((6, 12, 14, 1), (12, 14, 1)),
        ((6, 28, 28, 3), (28, 28, 3)),
        ((6, 12, 14, 4), (12, 14, 4)),
        ((6, 28, 28, 28), (28, 28, 28, 1)),
        ((6, 8, 30, 20), (8, 30, 20, 1)),
        ((6, 10, 12, 14, 2), (10, 12, 14, 2)),
    ],
)
def test_the_last_axis_tells_images_from_volumes(tmp_path: Path, shape: tuple[int, ...], expected: Any) -> None:
    np.savez(tmp_path / "set.npz", images=noise(*shape), labels=np.arange(6) % 2)
    for source in (open_data(tmp_path / "set.npz"), open_data(noise(*shape), labels=np.arange(6) % 2)):
        assert source.read(0).shape == expected
        assert source.dims == len(expected) - 1
        assert source.channels == expected[-1]


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((6, 12, 14, 5), r"found \(12, 14, 5\) in .*, which could be either; leave channels out, or pad .*\[\.\.\., N"),
        ((6, 6, 20, 20), r"found \(6, 20, 20\) in .*, which could be either"),
        ((6, 3, 20, 20, 20), r"channels first; move the channels last: images.transpose\(0, 2, 3, 4, 1\)"),
        ((6, 9, 20, 20, 20), r"of up to 4 channels were wanted, found \(9, 20, 20, 20\) in"),
        ((6, 9, 9, 9, 9, 1), r"\(n, d, h, w, c\), were wanted, found \(6, 9, 9, 9, 9, 1\) in .*; reshape them"),
        (
            (6, 7, 30, 20, 1),
            r"volumes of at least 8 x 8 x 8 voxels were wanted, found 6 .* the first 7 x 30 x 20 \(row 0",
        ),
        ((0, 9, 9, 9), r"found an empty array"),
    ],
)
def test_shapes_that_are_neither_are_refused(shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(UserError, match=message):
        open_data(noise(*shape), labels=np.arange(shape[0]) % 2)


def test_a_medmnist_volume_set_keeps_its_split_and_depth(tmp_path: Path) -> None:
    parts = {name: noise(n, 9, 9, 9) for name, n in (("train", 40), ("val", 20), ("test", 20))}
    arrays: dict[str, Any] = {f"{name}_images": part for name, part in parts.items()}
    arrays |= {f"{name}_labels": np.arange(len(part))[:, None] % 2 for name, part in parts.items()}
    np.savez(tmp_path / "set.npz", allow_pickle=False, **arrays)
    source = open_data(tmp_path / "set.npz")
    data = prepare(source, tmp_path / "cache")
    np.testing.assert_array_equal(data.images[..., 0], np.concatenate(list(parts.values())))
    assert (data.dims, data.scale, source.window) == (3, 255, KEPT)
    assert (data.record["shape"], data.record["unit"], data.record["window"]) == ([9, 9, 9, 1], "voxels", KEPT)
    assert np.bincount(data.part).tolist() == [40, 20, 20]
    rows = dict(held(source))
    assert rows["volumes"] == "80, 1 channel(s), all 9 x 9 x 9 voxels"


@pytest.mark.parametrize(
    "layout", ["tensor (d, h, w)", "tensor (c, d, h, w)", "array (c, d, h, w)", "array (d, h, w, c)"]
)
def test_items_of_a_dataset(layout: str) -> None:
    volumes = noise(6, 9, 10, 11)
    shaped: Any = {
        "tensor (d, h, w)": torch.from_numpy(volumes),
        "tensor (c, d, h, w)": torch.from_numpy(volumes)[:, None],
        "array (c, d, h, w)": volumes[:, None],
        "array (d, h, w, c)": volumes[..., None],
    }[layout]

    class Items:
        def __len__(self) -> int:
            return 6

        def __getitem__(self, row: int) -> tuple[Any, int]:
            return shaped[row], row % 2

    source = open_data(Items())
    np.testing.assert_array_equal(np.stack([source.read(row) for row in range(6)])[..., 0], volumes)


def test_a_dataset_of_floats_in_255ths_is_8_bit_and_one_of_reliefs_is_windowed() -> None:
    volumes = noise(6, 1, 9, 9, 9)
    source = open_data(TensorDataset(torch.from_numpy(volumes).float() / 255, torch.arange(6) % 2))
    np.testing.assert_array_equal(np.stack([source.read(row) for row in range(6)])[..., 0], volumes[:, 0])
    assert source.window == KEPT
    source = open_data(TensorDataset(torch.from_numpy(relief(6))[:, None], torch.arange(6) % 2))
    assert source.window == ROBUST
    assert all(source.read(row).min() == 0 and source.read(row).max() == 65535 for row in range(6))


def test_a_dataset_of_images_and_volumes_is_refused() -> None:
    class Mixed:
        def __len__(self) -> int:
            return 4

        def __getitem__(self, row: int) -> tuple[Any, int]:
            return noise(9, 9, 9) if row else noise(9, 9), row % 2

    with pytest.raises(UserError, match="one number of axes were wanted, found 2 and 3 in the given Mixed; leave"):
        open_data(Mixed())


def test_hounsfield_units_are_kept_in_steps_of_one(tmp_path: Path) -> None:
    values = hounsfield()
    source = open_data(values, labels=LABELS)
    data = prepare(source, tmp_path)
    assert (source.window, data.scale, data.images.dtype.name) == (CT, 4095, "uint16")
    np.testing.assert_array_equal(data.images[..., 0].astype(int) + HOUNSFIELD[0], values)
    assert any("Hounsfield units: -1024 to 3071" in note for note in data.notes)
    floats = to_voxels(np.array([-3000.0, -0.4, 0.6, 5000.0]).reshape(4, 1, 1, 1), CT, "it")[0]
    assert floats.ravel().tolist() == [0, 1024, 1025, 4095]


def test_each_relief_is_stretched_between_its_own_percentiles(tmp_path: Path) -> None:
    values = relief()
    data = prepared(values, tmp_path)
    assert data.scale == 65535
    for stored, volume in zip(data.images[:5, ..., 0], values, strict=False):
        low, high = np.percentile(volume.astype(np.float64), (0.5, 99.5))
        expected = np.clip((volume - low) / (high - low), 0, 1) * 65535
        assert np.abs(stored - expected).max() <= 0.51
    assert data.record["window"] == ROBUST


def test_a_window_survives_constant_volumes_and_lone_voxels() -> None:
    flat = np.full((9, 9, 9, 1), 7.5)
    assert (to_voxels(flat, ROBUST, "it")[0] == 0).all()
    flat[4, 4, 4] = 9.0
    assert to_voxels(flat, ROBUST, "it")[0].max() == 65535


def test_channels_have_windows_of_their_own() -> None:
    volume = RANDOM.random((9, 9, 9, 2)) * [1, 1000]
    assert (to_voxels(volume, ROBUST, "it")[0].max((0, 1, 2)) == 65535).all()


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_voxels_that_are_not_finite_are_refused(bad: float) -> None:
    values = relief(8)
    values[5, 0, 0, 0] = bad
    with pytest.raises(UserError, match="NaN or infinity in 1 of 8 rows of the given array, the first at row 5"):
        open_data(values, labels=LABELS[:8])
    with pytest.raises(UserError, match="NaN or infinity in 1 of 1 rows of item 5 of the given TensorDataset"):
        open_data(TensorDataset(torch.from_numpy(values), torch.arange(8) % 2))


def test_volumes_of_different_sizes_become_cubes_and_duplicates_are_found(tmp_path: Path) -> None:
    volumes = [noise(9 + row % 3, 12, 10) for row in range(60)]
    volumes[7] = volumes[3]

    class Items:
        def __len__(self) -> int:
            return 60

        def __getitem__(self, row: int) -> tuple[Any, int]:
            return volumes[row], row % 2

    data = prepare(open_data(Items()), tmp_path, image_size=11)
    assert data.images.shape == (60, 11, 11, 11, 1)
    assert data.groups[3] == data.groups[7]
    assert data.record["flaws"]["duplicate_sets"] == 1
    assert any(
        "60 images were resized to 11 x 11 x 11, whole and with their proportions in mm" in n for n in data.notes
    )


def test_moments_and_batches_of_the_pool(tmp_path: Path) -> None:
    volumes = noise(60, 8, 9, 10, 2)[:, :, :8, :8]
    data = prepared(volumes, tmp_path)
    probe = volumes[data.rows(PROBE)] / 255
    np.testing.assert_allclose(data.mean, probe.mean((0, 1, 2, 3)), atol=1e-9)
    np.testing.assert_allclose(data.std, probe.std((0, 1, 2, 3)), atol=1e-9)
    batch = Pool(data.images, np.arange(60), data.scale, torch.device("cpu")).images_at(np.array([4, 2]))
    assert batch.shape == (2, 2, 8, 8, 8)
    np.testing.assert_allclose(batch.numpy(), np.moveaxis(volumes[[4, 2]] / 255, -1, 1), atol=1e-6)
    assert batch.is_contiguous(memory_format=torch.channels_last_3d)


def test_large_volumes_come_in_smaller_batches() -> None:
    assert at_a_time(np.empty((1, 28, 28, 3), np.uint8), 512) == 512
    assert at_a_time(np.empty((1, 64, 64, 64, 1), np.uint8), 512) == 98
    assert at_a_time(np.empty((1, 32, 32, 32, 1), np.uint8), 512, enlarged=2) == 98  # as large as an encoder sees them
    assert at_a_time(np.broadcast_to(np.uint8(0), (1, 512, 512, 512, 1)), 256) == 1


@pytest.mark.parametrize(("make", "window"), [(hounsfield, CT), (relief, ROBUST)])
def test_new_volumes_are_prepared_like_those_of_the_study(tmp_path: Path, make: Any, window: str) -> None:
    values = make()
    data = prepared(values, tmp_path)
    fresh = read_images(values, 10, 1, data.scale, dims=3, window=data.record["window"])
    assert data.record["window"] == window
    np.testing.assert_array_equal(fresh.images, data.images)


def test_new_volumes_of_whole_numbers_are_windowed_where_the_study_was() -> None:
    fresh = read_images(noise(4, 10, 10, 10), 10, 1, 65535.0, dims=3, window=ROBUST)
    assert (fresh.images.max((1, 2, 3, 4)) == 65535).all()
    with pytest.raises(UserError, match="from 0 to 65535 were wanted, found -1000 to"):
        read_images(hounsfield(4), 10, 1, 255.0, dims=3)


def test_8_bit_volumes_are_no_hounsfield_units() -> None:
    class Items:
        def __len__(self) -> int:
            return 2

        def __getitem__(self, row: int) -> NDArray[np.uint8]:
            return noise(10, 10, 10)

    for data in (noise(4, 10, 10, 10), Items()):
        with pytest.raises(UserError, match=r"Hounsfield units were wanted, .* found 8-bit values in .*the given"):
            read_images(data, 10, 1, 4095.0, dims=3, window=CT)
    assert open_data(noise(6, 10, 10, 10), labels=np.arange(6) % 2, ct=True).window == KEPT
    assert open_data(relief(6), labels=np.arange(6) % 2, ct=True).window == CT


@pytest.mark.parametrize(
    ("make", "modality"), [(hounsfield, "ct"), (relief, "auto"), (lambda: noise(60, 9, 9, 9), "auto")]
)
def test_the_modality_follows_from_the_values(make: Any, modality: str) -> None:
    source = open_data(make(), labels=LABELS)
    assert resolve(Asked(device="cpu"), source).modality == modality
    assert resolve(Asked(device="cpu", modality="mr"), source).modality == "mr"


def test_images_and_volumes_do_not_mix(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="volumes, as in the study, were wanted, found images in the given array; give"):
        read_images(noise(4, 10, 10), 10, 1, 255.0, dims=3)
    with pytest.raises(UserError, match="images, as in the study, were wanted, found volumes in"):
        read_images(noise(4, 10, 10, 10), 10, 1, 255.0)
    with pytest.raises(UserError, match="unlabelled volumes, as in the given array, were wanted, found images in"):
        open_data(noise(8, 10, 10, 10), labels=np.arange(8) % 2, unlabeled=noise(8, 10, 10))


def test_unlabelled_volumes_join_in_the_window_of_the_labelled(tmp_path: Path) -> None:
    source = open_data(hounsfield(), labels=LABELS, unlabeled=relief(5, 12))
    assert source.window == CT
    assert (source.white == 4095).all()
    data = prepare(source, tmp_path, image_size=10)
    assert data.images.shape == (65, 10, 10, 10, 1)
