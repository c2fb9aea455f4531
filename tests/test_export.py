"""What is exported: the same embeddings by timm and by AutoSSL, and a head that gives the same scores."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from huggingface_hub import ModelCard

import autossl
from autossl.errors import UserError
from autossl.model import export
from autossl.model.card import Preprocessing
from autossl.model.model import Meaning, Model
from autossl.model.onnx import write_onnx
from autossl.nn.encoder import Encoder, fit_to_size
from autossl.targets.readouts import Classifier
from tests.test_verdict import GOOD, outcome


def written(path: Path, backbone: str, channels: int, size: int, head: Classifier | None = None) -> Encoder:
    torch.manual_seed(0)
    model_args, upsample = fit_to_size(backbone, channels, size)
    encoder = Encoder(backbone, channels, size, model_args=model_args, upsample=upsample).eval()
    preprocessing = Preprocessing(size, 255.0, (0.4,) * channels, (0.2,) * channels)
    meaning = Meaning("classification", "classes", {"classes": ["a", "b", "c"]}) if head is not None else None
    export.write(Model(encoder, preprocessing, head, meaning), path, {"data": {"name": "toy"}})
    return encoder


@pytest.mark.parametrize(
    ("backbone", "channels", "size"),
    [("resnet10t", 3, 28), ("resnet10t", 1, 64), ("vit_tiny_patch16_224", 3, 28), ("convnext_atto", 3, 28)],
)
def test_timm_and_autossl_give_the_same_embeddings(tmp_path: Path, backbone: str, channels: int, size: int) -> None:
    encoder = written(tmp_path / "encoder", backbone, channels, size)
    x = torch.randn(5, channels, size, size)
    loaded = autossl.load(tmp_path / "encoder")
    config = json.loads((tmp_path / "encoder" / "config.json").read_text())
    args: dict[str, Any] = {**config.get("model_args", {}), "num_classes": 0, "in_chans": channels}
    weights = str(tmp_path / "encoder" / "model.safetensors")
    by_path = timm.create_model(config["architecture"], checkpoint_path=weights, **args).eval()
    by_folder = timm.create_model(f"local-dir:{tmp_path / 'encoder'}", pretrained=True).eval()
    with torch.no_grad():
        for other in (loaded(x), by_path(x), by_folder(x)):
            assert torch.allclose(encoder(x), other, atol=1e-5)


def test_the_card_loads_the_same_network_and_shows_scores_as_a_table(tmp_path: Path) -> None:
    torch.manual_seed(0)
    encoder = Encoder("resnet10t", 1, 28, model_args={"output_stride": 8}).eval()
    facts = {**outcome(GOOD), "data": {"name": "toy", "notes": ["one"]}}
    export.write(Model(encoder, Preprocessing(28, 255.0, (0.4,), (0.2,))), tmp_path / "encoder", facts)
    text = (tmp_path / "encoder" / "README.md").read_text()
    call = next(line for line in text.splitlines() if "checkpoint_path" in line)
    model = eval(call.removeprefix("model = ").replace("PATH", str(tmp_path / "encoder"))).eval()
    x = torch.randn(2, 1, 28, 28)
    with torch.no_grad():
        assert torch.allclose(model(x), encoder(x), atol=1e-5)
    assert "An encoder, pretrained without labels" in text
    assert "| the untrained encoder | 0.700 [0.680, 0.720] |" in text
    assert "| +0.100 [+0.050, +0.150] |" in text
    assert "```json" not in text


def test_files_say_nothing_of_weights_that_are_not_in_them_and_all_have_one_mode(tmp_path: Path) -> None:
    written(tmp_path / "encoder", "resnet10t", 3, 28)
    config = json.loads((tmp_path / "encoder" / "config.json").read_text())
    assert not {"tag", "origin_url", "license", "paper_ids", "paper_name"} & set(config["pretrained_cfg"])
    assert len({path.stat().st_mode for path in (tmp_path / "encoder").iterdir()}) == 1


def test_embed_starts_from_pixels(tmp_path: Path) -> None:
    encoder = written(tmp_path / "encoder", "resnet10t", 3, 28)
    pixels = np.random.default_rng(0).integers(0, 256, (4, 28, 28, 3), dtype=np.uint8)
    standard = (torch.from_numpy(pixels / 255.0).float().permute(0, 3, 1, 2) - 0.4) / 0.2
    with torch.no_grad():
        assert np.allclose(autossl.load(tmp_path / "encoder").embed(pixels), encoder(standard).numpy(), atol=1e-4)


def test_a_head_travels_with_the_model(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    head = Classifier.of(rng.normal(size=(512, 3)).astype(np.float32), rng.normal(size=3).astype(np.float32))
    encoder = written(tmp_path / "model", "resnet10t", 3, 28, head)
    x = torch.randn(4, 3, 28, 28)
    model = timm.create_model(f"local-dir:{tmp_path / 'model'}", pretrained=True).eval()
    loaded = autossl.load(tmp_path / "model")
    with torch.no_grad():
        z = encoder(x)
        assert np.allclose(model(x).numpy(), head.answers(z.numpy()), atol=1e-3)
        assert torch.allclose(loaded(x), z, atol=1e-5)
    assert loaded.classes == ("a", "b", "c")


def test_an_onnx_file_gives_what_the_model_gives_from_stored_values(tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    rng = np.random.default_rng(0)
    encoder = Encoder("test_resnet", 1, 20).eval()
    head = Classifier.of(rng.normal(size=(encoder.dim, 3)).astype(np.float32), np.zeros(3, np.float32))
    meaning = Meaning("classification", "classes", {"classes": ["a", "b", "c"]})
    model = Model(encoder, Preprocessing(20, 255.0, (0.4,), (0.2,)), head, meaning)
    path = write_onnx(model, tmp_path / "model.onnx")
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    pixels = rng.integers(0, 256, (5, 20, 20, 1), dtype=np.uint8)  # more images than it was made with
    embedding, answer = session.run(None, {"images": pixels.transpose(0, 3, 1, 2).astype(np.float32)})
    assert np.abs(embedding - model.embed_stored(pixels)).max() < 1e-4
    assert np.abs(answer - model.answers_stored(pixels)).max() < 1e-4


def test_the_header_of_a_card_is_what_hubs_read(tmp_path: Path) -> None:
    model = Model(Encoder("test_resnet", 1, 20).eval(), Preprocessing(20, 255.0, (0.4,), (0.2,)))
    export.write(model, tmp_path / "encoder", {**outcome(GOOD), "data": {"name": "a [name]: *"}})
    told: Any = ModelCard.load(tmp_path / "encoder" / "README.md").data
    assert (told.library_name, told.pipeline_tag) == ("timm", "image-feature-extraction")
    first = next(iter(told.eval_results or ()))
    assert (first.metric_type, first.metric_value) == ("balanced_accuracy", 0.8)


def test_an_upsampled_input_is_written_down(tmp_path: Path) -> None:
    encoder = written(tmp_path / "encoder", "mobilenetv3_small_100", 3, 28)
    assert encoder.upsample == 2
    loaded = autossl.load(tmp_path / "encoder")
    x = torch.randn(2, 3, 28, 28)
    with torch.no_grad():
        assert torch.allclose(encoder(x), loaded(x), atol=1e-5)
    assert "enlarged 2 x" in (tmp_path / "encoder" / "README.md").read_text()


def test_nothing_to_load_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="none is at"):
        autossl.load(tmp_path)


def test_an_encoder_without_head_has_no_class_scores(tmp_path: Path) -> None:
    written(tmp_path / "encoder", "resnet10t", 3, 28)
    with pytest.raises(UserError, match="model with a head"):
        autossl.load(tmp_path / "encoder").logits(np.zeros((1, 28, 28, 3), np.uint8))


@pytest.mark.parametrize(
    ("backbone", "size"), [("resnet10t", 28), ("resnet18", 16), ("convnext_atto", 28), ("vit_tiny_patch16_224", 64)]
)
def test_small_images_keep_more_than_one_cell(backbone: str, size: int) -> None:
    model_args, upsample = fit_to_size(backbone, 1, size)
    encoder = Encoder(backbone, 1, size, model_args=model_args, upsample=upsample).eval()
    assert min(encoder.cells) >= 2
    x = torch.randn(2, 1, size, size)
    with torch.no_grad():
        both = encoder.features(x)
        assert torch.allclose(encoder(x), both.pooled, atol=1e-5)
    assert [m.shape[1] for m in both.pyramid] == list(encoder.pyramid_channels)


def test_an_unknown_backbone_is_one_sentence() -> None:
    with pytest.raises(UserError, match="timm has no 'resnet10000'"):
        fit_to_size("resnet10000", 3, 28)
