"""What every method must do, over METHODS: a usable loss, gradients, repeatability and a whole state."""

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from autossl.nn.encoder import Encoder
from autossl.pretext import METHODS, Pretext
from autossl.pretext.batch import Batch
from autossl.pretext.needs import OF_ENCODERS, lacking
from autossl.views.images import Views
from autossl.views.presets import modalities, preset
from autossl.views.volumes import VolumeViews, views_for
from tests.pretext_toys import SIDE, blobs, fitting, glyphs, step, train, volume_encoder

NAMES = list(METHODS)
CASES = [(name, dims) for name, cls in METHODS.items() for dims in sorted(cls.dims)]
# 12 volumes cannot whiten 32 dimensions; a teacher that hardly moves is a random target for longer
OWN: dict[str, dict[str, Any]] = {"wmse": {"out": 4}, "mocov3": {"teacher_rate": 0.05}}
LONGER = {"mocov3": 36, "ressl": 28, "rotation": 28}
PARADIGMS = {"contrastive", "non-contrastive and predictive", "generative", "hybrid"}


def make(name: str, channels: int = 1, dims: int | None = None, seed: int = 0) -> Pretext:
    torch.manual_seed(seed)
    dims = dims or min(METHODS[name].dims)
    channels = 3 if "colour" in METHODS[name].needs else channels
    encoder = fitting(name, channels) if dims == 2 else volume_encoder(channels)
    views = views_for(dims)(preset("auto", channels), (0.4,) * channels, (0.2,) * channels)
    return METHODS[name](encoder, views).train()


def random(n: int, method: Pretext) -> Tensor:
    return torch.rand(n, method.encoder.channels, *[SIDE] * method.encoder.dims)


def toys(n: int, dims: int) -> Tensor:
    return glyphs(n, 0)[0] if dims == 2 else blobs(n // 2, 0)[0]


def optimizer(method: Pretext) -> torch.optim.Optimizer:
    return torch.optim.AdamW([p for p in method.parameters() if p.requires_grad], lr=2e-3)


@pytest.mark.parametrize("name", NAMES)
def test_a_method_says_what_it_is(name: str) -> None:
    cls = METHODS[name]
    assert cls.__base__ is Pretext, "methods are final: none inherits from another"
    assert cls.paradigm in PARADIGMS
    assert set() < cls.dims <= {2, 3}
    assert 0.5 < cls.passes < 5
    assert any(mark in cls.paper for mark in ("arXiv", "doi"))
    assert cls.needs <= {"orientation", "colour", "order", "patients", "stain", *OF_ENCODERS}


def test_every_paradigm_has_a_method_and_every_modality_a_known_order() -> None:
    assert {cls.paradigm for cls in METHODS.values()} == PARADIGMS
    for found in modalities().values():
        served = {name for name, cls in METHODS.items() if not cls.needs & found.lacks}
        assert set(found.methods) == served
        assert len(found.methods) == len(served)
    assert "rotation" not in modalities()["microscopy"].methods


@pytest.mark.parametrize(
    ("name", "dims", "channels"),
    [(*case, channels) for case in CASES for channels in ((1, 3, 4) if case[1] == 2 else (2,))],
)
def test_loss_is_a_finite_scalar_whose_gradient_reaches_the_encoder(name: str, dims: int, channels: int) -> None:
    method = make(name, channels, dims)
    loss = method.loss(Batch(random(10, method), torch.arange(10) // 2, torch.rand(10)))
    assert loss.shape == ()
    assert torch.isfinite(loss)
    loss.backward()  # type: ignore[no-untyped-call]
    stem = next(method.encoder.parameters())
    assert stem.grad is not None
    assert torch.isfinite(stem.grad).all()
    assert stem.grad.abs().sum() > 0


@pytest.mark.parametrize(("name", "dims"), CASES)
def test_images_and_patients_are_left_as_they_were(name: str, dims: int) -> None:
    method = make(name, dims=dims)
    images, groups = random(8, method), torch.arange(8) // 2
    kept = images.clone(), groups.clone()
    method.loss(Batch(images, groups))
    assert torch.equal(images, kept[0])
    assert torch.equal(groups, kept[1])


@pytest.mark.parametrize(("name", "dims"), CASES)
def test_same_seed_same_loss_and_only_the_seed_decides(name: str, dims: int) -> None:
    images = toys(16, dims)
    methods = make(name, dims=dims), make(name, dims=dims)
    torch.manual_seed(7)  # the global generator must play no part
    losses = []
    for method in methods:
        opt = optimizer(method)
        losses.append([float(step(method, opt, images, number)) for number in range(2)])
    assert losses[0] == losses[1]
    assert len(set(losses[0])) == 2


@pytest.mark.parametrize("name", NAMES)
def test_a_state_dict_resumes_exactly(name: str) -> None:
    images = toys(16, min(METHODS[name].dims))
    method = make(name)
    opt = optimizer(method)
    for number in range(2):
        step(method, opt, images, number)
    resumed = make(name, seed=5)
    resumed.load_state_dict(copy.deepcopy(method.state_dict()))
    after = optimizer(resumed)
    after.load_state_dict(copy.deepcopy(opt.state_dict()))
    for number in range(2, 4):
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


PLAIN = [name for name, cls in METHODS.items() if 2 in cls.dims and "convolutions" not in cls.needs]


@pytest.mark.parametrize("pooling", ["token", "avg"])
@pytest.mark.parametrize("name", PLAIN)
def test_a_plain_transformer_serves_too(name: str, pooling: str) -> None:
    torch.manual_seed(0)
    channels = 3 if "colour" in METHODS[name].needs else 1
    args = {"img_size": 20, "patch_size": 5, "global_pool": pooling}
    encoder = Encoder("test_vit", channels, 20, model_args=args)
    missing = METHODS[name].needs & lacking(encoder)
    assert missing <= ({"mean pooling"} if pooling == "token" else set())
    method = METHODS[name](encoder, Views(preset("auto", channels), (0.4,) * channels, (0.2,) * channels))
    batch = Batch(torch.rand(6, channels, 20, 20), torch.arange(6) // 2, torch.rand(6))
    assert torch.isfinite(method.loss(batch))


@pytest.mark.parametrize("name", [name for name, cls in METHODS.items() if 2 in cls.dims])
@pytest.mark.parametrize("kind", ["class token", "wide head"])
def test_what_is_scored_is_trained(name: str, kind: str) -> None:
    """The embedding has a gradient of its own, also where it is more than the mean of the last map."""
    torch.manual_seed(0)
    channels = 3 if "colour" in METHODS[name].needs else 1
    if kind == "wide head":
        encoder = Encoder("mobilenetv3_small_050", channels, 32)
    else:
        encoder = Encoder("test_vit", channels, 32, model_args={"img_size": 32, "patch_size": 8})
    if METHODS[name].needs & lacking(encoder):
        pytest.skip(f"{name} is left out for this encoder")
    assert not encoder.mean_pooled
    method = METHODS[name](encoder, Views(preset("auto", channels), (0.4,) * channels, (0.2,) * channels)).train()
    pooled: list[Tensor] = []
    network: Any = encoder.backbone
    head = network.forward_head

    def kept(x: Tensor, pre_logits: bool = False) -> Tensor:
        found: Tensor = head(x, pre_logits=pre_logits)
        if found.requires_grad:
            found.retain_grad()
            pooled.append(found)
        return found

    network.forward_head = kept
    batch = Batch(torch.rand(6, channels, 32, 32), torch.arange(6) // 2, torch.rand(6))
    method.loss(batch).backward()  # type: ignore[no-untyped-call]
    assert any(z.grad is not None and float(z.grad.abs().sum()) > 0 for z in pooled)


@pytest.mark.parametrize(("name", "dims"), CASES)
def test_a_constant_batch_gives_no_nan(name: str, dims: int) -> None:
    method = make(name, dims=dims)
    images = torch.full_like(random(8, method), 0.5)
    loss = method.loss(Batch(images))
    loss.backward()  # type: ignore[no-untyped-call]
    assert torch.isfinite(loss)
    assert all(torch.isfinite(p.grad).all() for p in method.parameters() if p.grad is not None)


SMALL = 16
# blobs look the same from everywhere: tiles and slabs have a toy of their own in tests/test_pretext_learns_volumes.py
TILES = ("jigsaw", "relative_location", "rubik", "slice_order", "slice_position")


@pytest.mark.parametrize("name", [name for name, cls in METHODS.items() if 3 in cls.dims and name not in TILES])
def test_the_loss_falls_on_volumes(name: str) -> None:
    """Under mild views: with small crops a batch of 12 needs many more steps to be told apart."""
    torch.manual_seed(0)
    views = VolumeViews(preset("auto", 1), (0.4,), (0.2,), crop_min=0.6, jitter=0.1)
    method = METHODS[name](volume_encoder(side=SMALL), views, **OWN.get(name, {})).train()
    losses = train(method, blobs(32, 0, SMALL)[0], steps=LONGER.get(name, 12), batch=12)
    assert np.mean(losses[-5:]) < np.mean(losses[:3])
