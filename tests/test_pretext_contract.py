"""What every method must do, over METHODS: a usable loss, gradients, repeatability and a whole state."""

import copy
from pathlib import Path

import pytest
import torch
from torch import Tensor

from autossl.encoder import Encoder
from autossl.pretext import METHODS, Pretext
from autossl.views import Views, modalities, preset
from tests.pretext_toys import glyphs, step

NAMES = list(METHODS)
PARADIGMS = {"contrastive", "non-contrastive and predictive", "generative", "hybrid"}


def make(name: str, channels: int = 1, backbone: str = "test_resnet", seed: int = 0) -> Pretext:
    torch.manual_seed(seed)
    channels = 3 if "colour" in METHODS[name].needs else channels
    encoder = Encoder(backbone, channels, 20)
    return METHODS[name](encoder, Views(preset("auto", channels), (0.4,) * channels, (0.2,) * channels)).train()


def optimizer(method: Pretext) -> torch.optim.Optimizer:
    return torch.optim.AdamW([p for p in method.parameters() if p.requires_grad], lr=2e-3)


@pytest.mark.parametrize("name", NAMES)
def test_a_method_says_what_it_is(name: str) -> None:
    cls = METHODS[name]
    assert cls.__base__ is Pretext, "methods are final: none inherits from another"
    assert cls.paradigm in PARADIGMS
    assert cls.dims == {2}
    assert 0.5 < cls.passes < 5
    assert any(mark in cls.paper for mark in ("arXiv", "doi"))
    assert cls.needs <= {"orientation", "colour", "order", "patients", "stain"}


def test_every_paradigm_has_a_method_and_every_modality_a_known_order() -> None:
    assert {cls.paradigm for cls in METHODS.values()} == PARADIGMS
    for found in modalities().values():
        served = {name for name, cls in METHODS.items() if not cls.needs & found.lacks}
        assert set(found.methods) == served
        assert len(found.methods) == len(served)
    assert "rotation" not in modalities()["microscopy"].methods


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_loss_is_a_finite_scalar_whose_gradient_reaches_the_encoder(name: str, channels: int) -> None:
    method = make(name, channels)
    loss = method.loss(torch.rand(10, method.encoder.channels, 20, 20), torch.arange(10) // 2)
    assert loss.shape == ()
    assert torch.isfinite(loss)
    loss.backward()  # type: ignore[no-untyped-call]
    stem = next(method.encoder.parameters())
    assert stem.grad is not None
    assert torch.isfinite(stem.grad).all()
    assert stem.grad.abs().sum() > 0


@pytest.mark.parametrize("name", NAMES)
def test_images_and_patients_are_left_as_they_were(name: str) -> None:
    method = make(name)
    images, groups = torch.rand(8, method.encoder.channels, 20, 20), torch.arange(8) // 2
    kept = images.clone(), groups.clone()
    method.loss(images, groups)
    assert torch.equal(images, kept[0])
    assert torch.equal(groups, kept[1])


@pytest.mark.parametrize("name", NAMES)
def test_same_seed_same_loss_and_only_the_seed_decides(name: str) -> None:
    images = glyphs(24, 0)[0]
    methods = make(name), make(name)
    torch.manual_seed(7)  # the global generator must play no part
    losses = []
    for method in methods:
        opt = optimizer(method)
        losses.append([float(step(method, opt, images, number)) for number in range(3)])
    assert losses[0] == losses[1]
    assert len(set(losses[0])) == 3


@pytest.mark.parametrize("name", NAMES)
def test_a_state_dict_resumes_exactly(name: str) -> None:
    images = glyphs(24, 0)[0]
    method = make(name)
    opt = optimizer(method)
    for number in range(3):
        step(method, opt, images, number)
    resumed = make(name, seed=5)
    resumed.load_state_dict(copy.deepcopy(method.state_dict()))
    after = optimizer(resumed)
    after.load_state_dict(copy.deepcopy(opt.state_dict()))
    for number in range(3, 6):
        assert torch.equal(step(method, opt, images, number), step(resumed, after, images, number))
    pairs = zip(method.state_dict().values(), resumed.state_dict().values(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


@pytest.mark.parametrize("name", NAMES)
def test_a_state_holds_each_tensor_once_and_passes_the_safe_loader(name: str, tmp_path: Path) -> None:
    state = make(name).state_dict()
    places = [value.data_ptr() for value in state.values() if value.numel()]
    assert len(places) == len(set(places))
    torch.save(state, tmp_path / "state.pt")
    again = torch.load(tmp_path / "state.pt", weights_only=True)
    assert all(torch.equal(again[key], state[key]) for key in state)


@pytest.mark.parametrize("name", NAMES)
def test_a_plain_transformer_serves_too(name: str) -> None:
    torch.manual_seed(0)
    channels = 3 if "colour" in METHODS[name].needs else 1
    encoder = Encoder("test_vit", channels, 20, model_args={"img_size": 20, "patch_size": 5})
    method = METHODS[name](encoder, Views(preset("auto", channels), (0.4,) * channels, (0.2,) * channels))
    assert torch.isfinite(method.loss(torch.rand(6, channels, 20, 20)))


@pytest.mark.parametrize("name", NAMES)
def test_a_constant_batch_gives_no_nan(name: str) -> None:
    method = make(name)
    images: Tensor = torch.full((8, method.encoder.channels, 20, 20), 0.5)
    loss = method.loss(images)
    loss.backward()  # type: ignore[no-untyped-call]
    assert torch.isfinite(loss)
    assert all(torch.isfinite(p.grad).all() for p in method.parameters() if p.grad is not None)
