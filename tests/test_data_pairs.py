"""Pairs of images: every form in which they come, windows, degradations, and what is refused."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from autossl.data import Data, open_data, prepare
from autossl.data.degradations import DEGRADATIONS, parsed, worse
from autossl.data.fresh import read_images
from autossl.data.truth import SHARE, Masks, Pairs
from autossl.data.windows import corners, cut
from autossl.errors import UserError
from tests.pair_toys import noisy

nib: Any = pytest.importorskip("nibabel", reason="nibabel is not installed")
N = 24


def written(folder: Path, names: tuple[str, str] = ("input", "target"), n: int = N, ending: str = "") -> Any:
    """Images and targets as PNG files of 32 x 24 px."""
    images, targets = noisy(n)
    for name in names:
        (folder / name).mkdir(parents=True)
    for row in range(n):
        Image.fromarray(images[row, :24]).save(folder / names[0] / f"case_{row:02d}.png")
        Image.fromarray(targets[row, :24]).save(folder / names[1] / f"case_{row:02d}{ending}.png")
    return images[:, :24], targets[:, :24]


def prepared(data: Any, out: Path, **options: Any) -> tuple[Data, Pairs]:
    """A study's images and targets."""
    asked = {name: options.pop(name) for name in ("image_size", "max_labels") if name in options}
    found = prepare(open_data(data, form=Pairs, **options), out, **asked)
    assert isinstance(found.truth, Pairs)
    return found, found.truth


def shares(truth: Pairs) -> NDArray[np.float64]:
    return truth.array[..., 0] / SHARE


@pytest.mark.parametrize(
    ("names", "ending"),
    [(("input", "target"), ""), (("noisy", "clean"), "_clean"), (("lr", "hr"), "-hr"), (("images", "targets"), "_GT")],
)
def test_folders_of_images_and_targets_cut_into_windows(tmp_path: Path, names: tuple[str, str], ending: str) -> None:
    images, targets = written(tmp_path / "data", names, ending=ending)
    data, truth = prepared(tmp_path / "data", tmp_path / "out", image_size=16)
    assert len(truth) == 2 * N  # side by side along the longer side, of the middle of the shorter one
    assert truth.known.all()
    np.testing.assert_array_equal(data.images[0::2, ..., 0], images[:, 4:20, :16])
    np.testing.assert_allclose(shares(truth)[1::2], targets[:, 4:20, 16:] / 255, atol=1e-5)
    np.testing.assert_array_equal(truth.image, np.repeat(np.arange(N), 2))
    assert (data.groups[0::2] == data.groups[1::2]).all()  # windows of an image stay together
    errors = np.mean((images[:, 4:20, :16] / 255 - targets[:, 4:20, :16] / 255) ** 2, axis=(1, 2))
    np.testing.assert_allclose(truth.error[0::2], errors, rtol=1e-3)
    assert any("none resized" in note for note in data.notes)


def test_a_table_archives_and_arrays(tmp_path: Path) -> None:
    images, targets = written(tmp_path / "data")
    rows = [f"input/case_{row:02d}.png,target/case_{row:02d}.png,p{row // 2}" for row in range(N)]
    (tmp_path / "data" / "list.csv").write_text("image,target,patient\n" + "\n".join(rows))
    _, truth = prepared(tmp_path / "data" / "list.csv", tmp_path / "a", image_size=24)
    assert len(np.unique(truth.image)) == N
    whole, wanted = noisy(N)
    np.savez(tmp_path / "one.npz", images=whole, targets=wanted)
    half = N // 2
    parts: Any = {"train_images": whole[:half], "train_targets": wanted[:half], "test_images": whole[half:]}
    np.savez(tmp_path / "parts.npz", **parts, test_targets=wanted[half:])
    listed: list[Any] = [*wanted[:-1], None]
    pairs = list(zip(whole, wanted, strict=True))
    given: list[tuple[Any, dict[str, Any]]] = [
        (str(tmp_path / "one.npz"), {}), (str(tmp_path / "parts.npz"), {}), (whole, {"labels": wanted}),
        (whole, {"labels": torch.from_numpy(wanted)}), (whole, {"labels": listed}), (Items(pairs), {}),
        ((whole / 255).astype(np.float32), {"labels": (wanted / 255).astype(np.float32)}),
    ]  # fmt: skip
    for place, (data, options) in enumerate(given):
        _, truth = prepared(data, tmp_path / str(place), **options)
        assert truth.known.sum() >= N - 1
        known = truth.known
        np.testing.assert_allclose(shares(truth)[known], wanted[known] / 255, atol=1e-4)
    assert images.shape == targets.shape


class Items:
    """A map-style data set."""

    def __init__(self, items: list[Any]) -> None:
        self.items = items

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, at: int) -> Any:
        return self.items[at]


@pytest.mark.parametrize("kind", ["kept", "ct", "robust"])
def test_targets_of_volumes_are_counted_as_their_volumes_are(tmp_path: Path, kind: str) -> None:
    """Hounsfield units in steps of one; other values between the percentiles of the volume, not of the target."""
    images, targets = noisy(12, dims=3, size=12)
    turn: dict[str, Callable[[NDArray[np.uint8]], NDArray[Any]]] = {
        "kept": lambda x: x,
        "ct": lambda x: np.where(x < 60, -1000, x.astype(np.int16)).astype(np.int16),
        "robust": lambda x: x * np.float32(0.37) - 20,
    }
    for name, values in (("input", images), ("target", targets)):
        (tmp_path / "data" / name).mkdir(parents=True)
        for row in range(12):
            path = tmp_path / "data" / name / f"v{row:02d}.nii.gz"
            nib.save(nib.Nifti1Image(turn[kind](values[row]), np.diag([2.0, 2, 2, 1])), path)
    source = open_data(tmp_path / "data", form=Pairs)
    assert source.window == kind
    data = prepare(source, tmp_path / "out")
    assert isinstance(data.truth, Pairs)
    image, target = data.images[..., 0] / data.scale, shares(data.truth)
    same = images == targets
    same = same.transpose(0, 3, 2, 1)  # as volumes are read
    np.testing.assert_allclose(image[same], target[same], atol=1e-4)
    np.testing.assert_allclose(data.truth.error, ((image - target) ** 2).mean((1, 2, 3)), rtol=1e-6)


def test_deep_images_keep_their_depth(tmp_path: Path) -> None:
    images, targets = noisy(N)
    deep = [each.astype(np.uint16) * 16 for each in (images, targets)]
    data, truth = prepared(deep[0], tmp_path, labels=deep[1])
    assert data.scale == 4095
    np.testing.assert_allclose(shares(truth) * 4095, deep[1], atol=0.04)
    with pytest.raises(UserError, match="another depth"):
        prepared(deep[0], tmp_path / "again", labels=targets)


@given(sides=st.lists(st.integers(5, 90), min_size=2, max_size=3), size=st.integers(8, 32), most=st.integers(1, 9))
def test_windows_lie_inside_and_cover_what_they_can(sides: list[int], size: int, most: int) -> None:
    found = corners(np.array(sides), size, most, 0)
    assert 1 <= len(found) <= most
    assert len(np.unique(found, axis=0)) == len(found)
    image = np.arange(np.prod(sides)).reshape(*sides, 1).astype(np.uint16)
    for corner in found:
        assert all(0 <= at <= max(0, side - size) for at, side in zip(corner, sides, strict=True))
        assert cut(image, corner, size).shape == (*[size] * len(sides), 1)
    if len(found) < most:
        assert len(found) == np.prod([max(1, side // size) for side in sides])


LEVELS = {"noise": 25, "poisson": 40, "downsample": 2, "blur": 1.5, "undersampling": 3, "motion": 4}


@pytest.mark.parametrize("name", DEGRADATIONS)
@pytest.mark.parametrize("shape", [(30, 26, 1), (28, 33, 3), (12, 14, 13, 1)])
def test_degradations_are_alike_every_time_and_grow_with_their_number(name: str, shape: tuple[int, ...]) -> None:
    images, _ = noisy(1, dims=len(shape) - 1, size=36)
    image = np.repeat(images[0][tuple(slice(side) for side in shape[:-1])][..., None], shape[-1], axis=-1)
    row, level = parsed(f"{name}:{LEVELS[name]}")
    found = worse(image, 255, row.of, level)
    np.testing.assert_array_equal(found, worse(image, 255, row.of, level))
    assert found.shape == image.shape
    assert found.dtype == image.dtype
    more = worse(image, 255, row.of, level / 4 if name == "poisson" else 2 * level)
    errors = [np.mean((each.astype(float) - image) ** 2) for each in (found, more)]
    assert errors[0] > 0
    assert errors[0] < errors[1] or name == "motion"  # which may lead back
    other = image.copy()
    other[0, 0] = 91
    if name in ("noise", "poisson"):  # another image has another noise
        assert (worse(other, 255, row.of, level)[4:] != found[4:]).mean() > 0.5


def test_noise_is_as_strong_as_asked_for() -> None:
    row, level = parsed("noise:25")
    flat = np.full((200, 200, 1), 128, np.uint8)
    assert worse(flat, 255, row.of, level).std() == pytest.approx(25, rel=0.02)
    deep = worse(flat.astype(np.uint16) * 256, 65535, row.of, level)
    assert deep.std() == pytest.approx(25 / 255 * 65535, rel=0.02)
    row, level = parsed("poisson:50")
    assert worse(flat, 255, row.of, level).std() == pytest.approx(255 * np.sqrt(128 / 255 / 50), rel=0.02)


def test_any_images_are_pairs_with_a_degradation(tmp_path: Path) -> None:
    _, targets = noisy(N)
    for row in range(N):
        (tmp_path / "data" / "cat" if row % 2 else tmp_path / "data" / "dog").mkdir(parents=True, exist_ok=True)
        Image.fromarray(targets[row]).save(tmp_path / "data" / ("cat" if row % 2 else "dog") / f"{row}.png")
    data, truth = prepared(tmp_path / "data", tmp_path / "out", degradation="noise:30")
    assert truth.known.all()
    assert truth.degradation == "noise:30"
    error = (data.images[..., 0] / 255 - shares(truth)).std() * 255
    assert error == pytest.approx(30, rel=0.1)
    again = read_images(str(tmp_path / "data"), 32, 1, 255.0, known=truth)  # new images for the same study
    assert isinstance(again.truth, Pairs)
    np.testing.assert_array_equal(again.images, data.images)
    np.testing.assert_array_equal(again.truth.array, truth.array)


def test_images_without_targets_join(tmp_path: Path) -> None:
    _, targets = noisy(N)
    _, more = noisy(10, seed=3)
    np.savez(tmp_path / "more.npz", images=more)
    data, truth = prepared(targets, tmp_path / "out", degradation="noise:30", unlabeled=str(tmp_path / "more.npz"))
    assert truth.known.tolist() == [True] * N + [False] * 10
    assert (data.images[N:, ..., 0] != more).mean() > 0.9  # as bad as the others


@pytest.mark.parametrize(
    ("spoil", "match"),
    [
        (lambda at: [path.unlink() for path in (at / "target").iterdir()], "none match"),
        (lambda at: [_saved(path, (10, 10)) for path in (at / "target").iterdir()], r"10 x 10, the image 24 x 32"),
        (lambda at: [_saved(path, (24, 32), 0) for path in (at / "target").iterdir()], "one value throughout"),
        (lambda at: [path.write_bytes(b"x") for path in (at / "target").iterdir()], "targets that fit their images"),
        (lambda at: _saved(at / "target" / "case_03_gt.png", (24, 32)), "one target for each image"),
    ],
    ids=["no targets", "other size", "constant", "damaged", "two targets"],
)  # fmt: skip
def test_what_is_refused(tmp_path: Path, spoil: Callable[[Path], object], match: str) -> None:
    written(tmp_path / "data")
    spoil(tmp_path / "data")
    with pytest.raises(UserError, match=match) as told:
        prepared(tmp_path / "data", tmp_path / "out")
    assert str(told.value).count(";") >= 1


def _saved(path: Path, shape: tuple[int, ...], spread: int = 9) -> Path:
    Image.fromarray(np.random.default_rng(0).integers(0, spread + 1, shape).astype(np.uint8)).save(path)
    return path


def test_a_few_bad_targets_are_set_aside(tmp_path: Path) -> None:
    written(tmp_path / "data", n=40)
    _saved(tmp_path / "data" / "target" / "case_03.png", (10, 10))
    (tmp_path / "data" / "target" / "case_05.png").unlink()
    data, truth = prepared(tmp_path / "data", tmp_path / "out", image_size=24)
    assert np.flatnonzero(~truth.known).tolist() == [3, 5]
    assert any("1 target" in note and "set aside" in note for note in data.notes)
    assert any("1 image without a target" in note for note in data.notes)


def test_affines_and_shapes_that_differ_are_refused(tmp_path: Path) -> None:
    images, targets = noisy(12, dims=3, size=12)
    for name, values, step in (("input", images, 1.0), ("target", targets, 2.0)):
        (tmp_path / "data" / name).mkdir(parents=True)
        for row in range(12):
            nib.save(nib.Nifti1Image(values[row], np.diag([step] * 3 + [1])), tmp_path / "data" / name / f"{row}.nii")
    with pytest.raises(UserError, match="their affines differ"):
        prepared(tmp_path / "data", tmp_path / "out")
    with pytest.raises(UserError, match="one for each image and of its size"):
        open_data(images, form=Pairs, labels=targets[:, :10])
    with pytest.raises(UserError, match="images with targets were wanted"):
        open_data(images, form=Pairs)


@pytest.mark.parametrize("text", ["fog:3", "noise", "noise:x", "noise:-1", "noise:nan", "downsample:2.5", "blur:99"])
def test_degradations_that_are_none_are_said(text: str) -> None:
    with pytest.raises(UserError, match="was wanted"):
        parsed(text)


def test_degradations_are_for_reconstruction_without_targets() -> None:
    images, targets = noisy(N)
    with pytest.raises(UserError, match="--task reconstruction"):
        open_data(images, form=Masks, labels=targets > 100, degradation="noise:25")
    with pytest.raises(UserError, match="found both"):
        open_data(images, form=Pairs, labels=targets, degradation="noise:25")
