"""A loaded encoder embeds what the study embeds, in whatever form it is handed over, and refuses the rest."""

import logging
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pandas
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from sklearn.base import clone
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline

import autossl
from autossl.data import open_data, prepare
from autossl.errors import UserError
from autossl.model import export
from autossl.model.card import Preprocessing
from autossl.model.model import Model
from autossl.nn.encoder import Encoder, fit_to_size

rng = np.random.default_rng(0)


def shapes(n: int, height: int, width: int, channels: int, white: int) -> list[NDArray[Any]]:
    """Bright rectangles on noise, every image of a size of its own: what resizing and scaling can get wrong."""
    images = []
    for row in range(n):
        image = rng.integers(0, white // 6, (height + row, width - row, channels))
        top, left = rng.integers(2, height // 2, 2)
        image[top : top + height // 3, left : left + 9 + row] += rng.integers(white // 2, white - white // 5, channels)
        images.append(image.astype(np.uint8 if white == 255 else np.uint16))
    return images


def encoder_for(path: Path, channels: int, size: int, white: float, dims: int = 2, **more: Any) -> Model:
    """An exported, untrained encoder, as a study of such pixels writes it."""
    torch.manual_seed(0)
    backbone = "resnet10_half_3d" if dims == 3 else "test_resnet"
    model_args, upsample = fit_to_size(backbone, channels, size)
    encoder = Encoder(backbone, channels, size, model_args=model_args, upsample=upsample).eval()
    with torch.no_grad():
        encoder.train()(torch.randn(64, channels, *encoder.size))  # norms that have seen something
    encoder.eval()
    depth = "uint8" if white == 255 else "uint16"
    given = Preprocessing(size, white, (0.3,) * channels, (0.2,) * channels, dims, depth=depth, **more)
    export.write(Model(encoder, given), path, {"data": {"name": "toy"}})
    return autossl.load(path)


def alike(a: NDArray[Any], b: NDArray[Any]) -> float:
    """The least cosine of embeddings (n, d) in pairs."""
    return float(((a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)).min())


def as_png(folder: Path, images: list[NDArray[Any]]) -> list[Path]:
    folder.mkdir()
    for row, image in enumerate(images):
        Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).save(folder / f"{row}.png")
    return sorted(folder.iterdir())


def expected(encoder: Model, images: list[NDArray[Any]], folder: Path) -> NDArray[np.float32]:
    """Embeddings by the store that a search decodes into, of the same images."""
    labels = np.arange(len(images)) % 2
    wide = {image.shape for image in images}
    assert len(wide) == 1
    size = encoder.preprocessing.image_size
    stored = prepare(open_data(np.stack(images), labels=labels), folder, image_size=size)
    return encoder.embed_stored(np.asarray(stored.images))


@pytest.mark.parametrize(("channels", "white"), [(1, 255), (3, 255), (1, 4095)])
def test_every_form_of_the_same_images_has_one_embedding(tmp_path: Path, channels: int, white: int) -> None:
    encoder = encoder_for(tmp_path / "encoder", channels, 32, float(white))
    images = shapes(4, 70, 50, channels, white)
    files = as_png(tmp_path / "set", images)
    z = encoder.embed(tmp_path / "set")
    pillow: list[Any] = [Image.open(file) for file in files]
    tensors: list[Any] = [torch.from_numpy(image.astype(np.int32)).movedim(-1, 0) for image in images]
    if white == 255:
        tensors = [tensor.to(torch.uint8) for tensor in tensors]
    forms: list[Any] = [files, [str(file) for file in files], images, pillow, tensors, tuple(images)]
    if channels == 1:
        forms.append([image[..., 0] for image in images])
    for form in forms:
        assert alike(encoder.embed(form), z) > 1 - 1e-5
    assert alike(encoder.embed(pillow[0]), z[:1]) > 1 - 1e-5
    assert alike(encoder.embed(images[1][None]), z[1:2]) > 1 - 1e-5
    assert alike(encoder.embed(tensors[1][None]), z[1:2]) > 1 - 1e-5


def test_arrays_of_another_size_are_those_that_a_search_stores(tmp_path: Path) -> None:
    encoder = encoder_for(tmp_path / "encoder", 1, 32, 255.0)
    images = [image[:70, :40] for image in shapes(30, 70, 80, 1, 255)]
    z = expected(encoder, images, tmp_path / "cache")
    assert alike(encoder.embed(np.stack(images)), z) > 1 - 1e-5
    assert alike(encoder.embed(np.stack(images)[..., 0]), z) > 1 - 1e-5


def test_a_photograph_is_turned_as_its_file_says(tmp_path: Path) -> None:
    encoder = encoder_for(tmp_path / "encoder", 3, 32, 255.0)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(shapes(1, 60, 40, 3, 255)[0]).save(tmp_path / "turned.jpg", exif=exif)
    z = encoder.embed([tmp_path / "turned.jpg"])
    assert alike(encoder.embed(Image.open(tmp_path / "turned.jpg")), z) > 1 - 1e-5


def test_grey_images_become_three_channels_and_a_note_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger("autossl"), "propagate", True)
    encoder = encoder_for(tmp_path / "encoder", 3, 32, 255.0)
    grey = np.stack([image[:40, :30] for image in shapes(3, 40, 40, 1, 255)])
    assert alike(encoder.embed(grey), encoder.embed(np.repeat(grey, 3, -1))) > 1 - 1e-5
    assert "3 grey images became three equal channels" in caplog.text


WRONG: list[tuple[Callable[[], Any], str]] = [
    (lambda: rng.random((2, 40, 40, 1)), r"whole numbers, as in the study, were wanted, found float64.*\(uint8\)"),
    (lambda: torch.rand(2, 1, 40, 40), "whole numbers, as in the study, were wanted, found float32"),
    (lambda: rng.integers(0, 200, (2, 40, 40), dtype=np.uint16), "8-bit images, as in the study.*found uint16"),
    (lambda: rng.integers(0, 999, (2, 40, 40)), "8-bit images, as in the study.*values up to"),
    (lambda: rng.integers(-9, 99, (2, 40, 40)), "pixel values from 0 to 65535"),
    (lambda: rng.integers(0, 99, (2, 40, 40, 3), dtype=np.uint8), "images with 1 channel"),
    (lambda: rng.integers(0, 99, (40, 40, 3), dtype=np.uint8), r"a batch .* single image is x\[None\]"),
    (lambda: torch.zeros(3, 40, 40, dtype=torch.uint8), r"a batch \(n, c, h, w\)"),
    (lambda: [torch.zeros(9, 40, 40, dtype=torch.uint8)], r"a tensor \(c, h, w\)"),
    (lambda: [], "found an empty list"),
    (lambda: ["nowhere.png"], "cannot be read"),
    (lambda: [np.zeros((40, 40), np.uint8), "x.png"], "found str as item 1 of the given list"),
    (lambda: [np.zeros((4, 4), np.uint8)], "images of at least 8 x 8"),
    (lambda: rng.integers(0, 99, (5, 40, 40, 40), dtype=np.uint8), "images, as in the study.*found volumes"),
    (lambda: 7, "found int as data"),
]  # fmt: skip


@pytest.fixture(scope="module")
def eight_bit(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return encoder_for(tmp_path_factory.mktemp("eight") / "encoder", 1, 32, 255.0)


@pytest.mark.parametrize(("data", "message"), WRONG)
def test_what_the_study_had_not_is_one_sentence(eight_bit: Model, data: Callable[[], Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        eight_bit.embed(data())


def test_whole_numbers_of_a_wide_type_are_not_stretched_because_they_are_small(tmp_path: Path) -> None:
    encoder = encoder_for(tmp_path / "encoder", 1, 32, 4095.0)
    dark = rng.integers(0, 200, (2, 32, 32, 1))
    assert alike(encoder.embed(dark), encoder.embed(dark.astype(np.uint16))) > 1 - 1e-5


def test_floats_are_taken_where_the_study_was_made_of_them(tmp_path: Path) -> None:
    encoder = encoder_for(tmp_path / "encoder", 1, 32, 255.0, floats=True)
    bytes_ = np.stack([image[:40, :30] for image in shapes(3, 40, 40, 1, 255)])
    assert alike(encoder.embed(bytes_ / 255), encoder.embed(bytes_)) > 1 - 1e-5


def volume_files(folder: Path) -> list[Path]:
    """Signed volumes of unlike sizes and voxels, one of them lying on its side."""
    folder.mkdir()
    for row, image in enumerate([(20, 24, 12), (18, 22, 14)]):
        values = (rng.normal(size=image) * 200).astype(np.float32)
        values[4:12, 5:15, 3:9] += 900 * (row + 1)
        affine = np.diag([1.0, 0.8, 2.5, 1.0])
        image_of: Any = nibabel.Nifti1Image
        nibabel.save(image_of(values, affine if row else affine[[1, 0, 2, 3]]), folder / f"{row}.nii.gz")
    return sorted(folder.iterdir())


@pytest.mark.parametrize("window", ["robust", "ct"])
def test_volumes_pass_their_whole_recipe(tmp_path: Path, window: str) -> None:
    white = {"robust": 65535.0, "ct": 4095.0}[window]
    encoder = encoder_for(tmp_path / "encoder", 1, 16, white, dims=3, window=window)
    files = volume_files(tmp_path / "set")
    z = encoder.embed(files)
    assert alike(encoder.embed(tmp_path / "set"), z) > 1 - 1e-5
    for row, file in enumerate(files):
        assert alike(by_card(tmp_path / "encoder", file)[None], z[row : row + 1]) > 1 - 1e-5
    alone = rng.normal(size=(2, 9, 12, 14)) * 300
    assert alike(encoder.embed(alone), encoder.embed(torch.from_numpy(alone[:, None]))) > 1 - 1e-5
    with pytest.raises(UserError, match="finite"):
        encoder.embed(np.full((1, 9, 9, 9), np.nan))


def by_card(path: Path, file: Path) -> NDArray[Any]:
    """The embedding (d,) that the last code of a model card computes, as it stands there."""
    blocks = re.findall(r"```python\n(.*?)```", (path / "README.md").read_text(), re.S)
    assert "autossl" not in blocks[-1]
    names: dict[str, Any] = {}
    exec(blocks[-1].replace("PATH", str(path)).replace("FILE", str(file)), names)
    return np.asarray(names["embedding"]).ravel()


@pytest.mark.parametrize(("channels", "white", "size"), [(1, 255, 32), (3, 255, 28), (1, 4095, 32)])
def test_the_code_of_the_card_computes_the_same_without_autossl(
    tmp_path: Path, channels: int, white: int, size: int
) -> None:
    encoder = encoder_for(tmp_path / "encoder", channels, size, float(white))
    files = as_png(tmp_path / "set", shapes(2, 70, 50, channels, white))
    z = encoder.embed(files)
    for row, file in enumerate(files):
        assert alike(by_card(tmp_path / "encoder", file)[None], z[row : row + 1]) > 1 - 1e-5


def test_the_card_says_every_step_in_words(tmp_path: Path) -> None:
    encoder_for(tmp_path / "encoder", 1, 16, 65535.0, dims=3, window="robust")
    told = (tmp_path / "encoder" / "README.md").read_text()
    for word in ("Decode", "Orientation", "Channels", "Values", "percentiles", "mm kept", "Range", "Standardised"):
        assert word in told
    assert "percentiles" in (tmp_path / "encoder" / "config.json").read_text()


def test_a_step_of_a_pipeline_of_scikit_learn(eight_bit: Model, tmp_path: Path) -> None:
    export.write(eight_bit, tmp_path / "encoder", {"data": {"name": "toy"}})
    images = shapes(8, 40, 44, 1, 255)
    step: Any = clone(autossl.Embedder(tmp_path / "encoder", batch=4))
    assert step.get_params() == {"path": tmp_path / "encoder", "batch": 4}
    z = step.transform(images)
    assert np.allclose(z, eight_bit.embed(images), atol=1e-5)
    found = make_pipeline(step, KNeighborsClassifier(1)).fit(images, [0, 1] * 4).predict(images)
    assert set(found.tolist()) <= {0, 1}
    assert step.get_feature_names_out().tolist() == [f"embedding{column}" for column in range(z.shape[1])]
    frame = step.set_output(transform="pandas").transform(images)
    assert isinstance(frame, pandas.DataFrame)
    assert frame.columns[1] == "embedding1"
