"""The examples of the documentation, each run on tiny exported encoders and toy images."""

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from PIL import Image

from autossl.model import export
from autossl.model.card import Preprocessing
from autossl.model.model import Model
from autossl.nn.encoder import Encoder
from autossl.pretext import METHODS
from autossl.pretext.batch import Batch
from autossl.record.offered import chosen_methods
from autossl.trials.space import read_space
from autossl.views.images import Views
from autossl.views.presets import preset
from tests.pretext_toys import glyphs

EXAMPLES = Path(__file__).parents[1] / "docs" / "examples"


def example(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an encoder, an archive of images, and the same images as files."""
    root = tmp_path_factory.mktemp("examples")
    torch.manual_seed(0)
    model = Model(Encoder("test_resnet", 1, 20).eval(), Preprocessing(20, 255.0, (0.4,), (0.2,)))
    export.write(model, root / "encoder", {"data": {"name": "toy"}})
    x, y = glyphs(48, 0)
    images, labels, patients = (x[:, 0] * 255).byte().numpy(), (y % 3).numpy(), np.arange(48) // 3
    np.savez(root / "images.npz", images=images, labels=labels, patients=patients)
    (root / "files").mkdir()
    rows = ["file,diagnosis"]
    for row, (image, label, patient) in enumerate(zip(images, labels, patients, strict=True)):
        folder = root / "classes" / str(label)
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(folder / f"{row}.png")
        Image.fromarray(image).save(root / "files" / f"p{patient}_{row}.png")
        rows.append(f"p{patient}_{row}.png,kind {label}")
    (root / "files" / "labels.csv").write_text("\n".join(rows[:-4]) + "\n")
    return root


def test_an_encoder_is_fine_tuned_with_timm(place: Path) -> None:
    first, later = (example("fine_tune_with_timm").main(place / "encoder", place / "classes", epochs=n) for n in (1, 5))
    assert later < first


def test_an_encoder_is_judged_by_scikit_learn_and_by_a_proxy_of_ones_own(place: Path) -> None:
    assert 0 <= example("embed_for_sklearn").main(place / "encoder", place / "images.npz", folds=3) <= 1
    told = example("own_proxy").main(place / "encoder", place / "images.npz")
    assert set(told) == {"margin", "ridge", "knn", "rankme"}


def test_a_proxy_of_ones_own_is_larger_where_classes_lie_apart() -> None:
    rng, y = np.random.default_rng(0), np.arange(40) % 4
    margin, noise = example("own_proxy").margin, rng.normal(size=(40, 8))
    assert margin(noise + 5 * np.eye(8)[y], y, np.arange(40)) > 0.5 > margin(noise, y, np.arange(40))


def test_data_of_ones_own_become_an_archive(place: Path) -> None:
    assert example("own_data").main(place / "files", place / "own.npz") == 48
    with np.load(place / "own.npz") as stored:
        assert (stored["labels"] == "").sum() == 4
        assert len(np.unique(stored["patients"])) == 16


def test_a_method_of_ones_own_learns_and_its_space_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = example("own_method")
    monkeypatch.setitem(METHODS, "flipped_half", module.FlippedHalf)
    (tmp_path / "space.toml").write_text(module.SPACE)
    assert list(read_space(str(tmp_path / "space.toml"))) == ["flipped_half"]
    assert chosen_methods("flipped_half") == ("flipped_half",)
    torch.manual_seed(0)
    encoder = Encoder("test_resnet", 1, 20)
    method = module.FlippedHalf(encoder, Views(preset("auto", 1), (0.4,), (0.2,), crop_min=0.9, jitter=0.1))
    x, _ = glyphs(128, 0)
    optimiser = torch.optim.AdamW(method.parameters(), lr=4e-3)
    losses = []
    for _ in range(60):
        loss = method.loss(Batch(x))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert np.mean(losses[-5:]) < 0.8 * np.mean(losses[:5])


def test_volumes_are_segmented_with_monai(tmp_path: Path) -> None:
    torch.manual_seed(0)
    encoder = Encoder("segresnet_3d", 1, 16, model_args={"blocks_down": [1, 1, 1]}).eval()
    export.write(Model(encoder, Preprocessing(16, 255.0, (0.4,), (0.2,))), tmp_path / "encoder", {})
    rng = np.random.default_rng(0)
    masks = np.zeros((4, 16, 16, 16), np.uint8)
    masks[:, 4:10, 4:10, 4:10] = 1
    images = np.clip(60 + 120 * masks + rng.normal(0, 10, masks.shape), 0, 255).astype(np.uint8)
    np.savez(tmp_path / "volumes.npz", images=images, masks=masks)
    module = example("segment_with_monai")
    first, later = (module.main(tmp_path / "encoder", tmp_path / "volumes.npz", steps=n) for n in (1, 12))
    assert later < first
