"""Weights that users bring: from checkpoints, for another number of channels, for other patches."""

from pathlib import Path

import pytest
import torch

from autossl.errors import UserError
from autossl.nn.encoder import Encoder
from autossl.nn.weights import load_weights


def made(name: str, channels: int, size: int = 32, seed: int = 0, **model_args: int) -> Encoder:
    torch.manual_seed(seed)
    return Encoder(name, channels, size, model_args=model_args).eval()


def noise(channels: int, size: int = 32) -> torch.Tensor:
    return torch.randn(2, channels, size, size, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("prefix", ["", "module.", "backbone.", "module.encoder.", "visual.trunk.", "swinViT."])
@pytest.mark.parametrize("key", ["state_dict", "model", "network", "teacher"])
def test_a_checkpoint_holds_its_weights_beside_its_optimiser(key: str, prefix: str, tmp_path: Path) -> None:
    given = made("test_resnet", 1, seed=1)
    state = {prefix + name: value for name, value in given.backbone.state_dict().items()}
    state |= {"head.0.weight": torch.ones(3, 3), "projector.bias": torch.ones(3)}
    moments = {"state": {0: {"exp_avg": torch.ones(2)}}, "param_groups": [{"lr": 0.1}]}
    torch.save({key: state, "epoch": 3, "optimizer": moments}, tmp_path / "last.pt")
    found = load_weights(made("test_resnet", 1), str(tmp_path / "last.pt"))
    with torch.no_grad():
        assert torch.equal(found(noise(1)), given(noise(1)))


def test_of_a_student_and_its_teacher_the_teacher_is_taken(tmp_path: Path) -> None:
    student, teacher = made("test_resnet", 1, seed=1), made("test_resnet", 1, seed=2)
    held = {
        "student": {f"module.{name}": value for name, value in student.backbone.state_dict().items()},
        "teacher": {f"backbone.{name}": value for name, value in teacher.backbone.state_dict().items()},
    }
    torch.save(held, tmp_path / "both.pt")
    found = load_weights(made("test_resnet", 1), str(tmp_path / "both.pt"))
    with torch.no_grad():
        assert torch.equal(found(noise(1)), teacher(noise(1)))


def test_older_files_count_no_batches(tmp_path: Path) -> None:
    given = made("test_resnet", 1, seed=1)
    state = {k: v for k, v in given.backbone.state_dict().items() if not k.endswith("num_batches_tracked")}
    torch.save(state, tmp_path / "older.pth")
    found = load_weights(made("test_resnet", 1), str(tmp_path / "older.pth"))
    with torch.no_grad():
        assert torch.equal(found(noise(1)), given(noise(1)))


def test_colour_weights_see_grey_as_three_equal_channels(tmp_path: Path) -> None:
    given = made("test_resnet", 3, seed=1)
    torch.save(given.backbone.state_dict(), tmp_path / "colour.pt")
    found = load_weights(made("test_resnet", 1), str(tmp_path / "colour.pt"))
    with torch.no_grad():
        assert torch.allclose(found(noise(1)), given(noise(1).expand(-1, 3, -1, -1)), atol=1e-5)


def test_grey_weights_see_the_mean_of_the_channels(tmp_path: Path) -> None:
    given = made("test_resnet", 1, seed=1)
    torch.save(given.backbone.state_dict(), tmp_path / "grey.pt")
    found = load_weights(made("test_resnet", 2), str(tmp_path / "grey.pt"))
    with torch.no_grad():
        assert torch.allclose(found(noise(2)), given(noise(2).mean(1, keepdim=True)), atol=1e-5)


def test_a_transformer_takes_weights_of_other_patches(tmp_path: Path) -> None:
    given = made("test_vit", 3, size=160, seed=1)
    torch.save(given.backbone.state_dict(), tmp_path / "vit.pt")
    found = load_weights(made("test_vit", 1, img_size=32, patch_size=4), str(tmp_path / "vit.pt"))
    theirs, ours = given.backbone.state_dict(), found.backbone.state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs if name.startswith("blocks."))
    assert ours["pos_embed"].shape == (1, 65, 64)
    assert torch.isfinite(found(noise(1))).all()


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    torch.save(made("test_vit", 1, size=160).backbone.state_dict(), tmp_path / "vit.pt")
    with pytest.raises(UserError, match="weights for test_resnet were wanted"):
        load_weights(made("test_resnet", 1), str(tmp_path / "vit.pt"))


def test_a_state_dict_whose_keys_are_no_names_is_refused(tmp_path: Path) -> None:
    torch.save({3: torch.ones(2), 4: torch.ones(3)}, tmp_path / "w.pt")
    with pytest.raises(UserError, match="lacks"):
        load_weights(Encoder("test_resnet", 1, 32), str(tmp_path / "w.pt"))
