"""Every method and every prior configuration: a finite loss that reaches the encoder, and repeatable."""

import numpy as np
import pytest
import torch

from autossl.data.readers.found import stack_positions
from autossl.pretext import METHODS
from autossl.train.loop import Run, train
from autossl.train.pool import Pool
from autossl.trials.space import build, read_space
from autossl.views.presets import modalities, preset
from tests.pretext_toys import fitting

SPACE = read_space()
PRIORS = [(name, index) for name, table in SPACE.items() for index in range(len(table.priors))]


def make_run(name: str, index: int) -> Run:
    channels, side = 3, 28 if "dense map" in METHODS[name].needs else 20
    rng = np.random.default_rng(0)
    row = np.arange(side)
    pitch = rng.uniform(0.2, 1.5, 96)
    waves = np.sin(row[None, :, None] * pitch[:, None, None] + row[None, None, :] * 0.3)
    images = np.clip(127 + 90 * waves[..., None] + rng.normal(0, 10, (96, side, side, channels)), 0, 255).astype(
        np.uint8
    )
    torch.manual_seed(0)
    encoder = fitting(name, channels, side)
    if encoder.dims == 3:
        images = np.repeat(images[:, None], side, axis=1)
    table = SPACE[name]
    hyperparameters = {**table.fixed, **table.priors[index], "batch_size": 32}
    if name == "wmse":
        hyperparameters["out"] = 8  # as many images as dimensions would be white whatever they are
    mean, std = (0.5,) * channels, (0.3,) * channels
    method, settings = build(name, hyperparameters, encoder, preset("auto", channels), mean, std)
    patients = np.arange(96) // 2
    along = stack_positions(pitch.astype(float), patients)  # of two slices the one with shorter waves lies above
    pool = Pool(images, np.arange(96), 255.0, torch.device("cpu"), groups=patients, positions=along)
    return Run(method, settings, pool, 1, warmup=64, horizon=960)


def test_every_method_has_a_space_and_a_prior() -> None:
    assert set(SPACE) == set(METHODS)
    assert all(table.priors for table in SPACE.values())
    assert len({cls.paradigm for cls in METHODS.values()}) == 4


@pytest.mark.parametrize(("name", "index"), PRIORS)
def test_loss_is_finite_and_reaches_the_encoder(name: str, index: int) -> None:
    """With three channels; one and four are in test_pretext_contract.py."""
    run = make_run(name, index)
    loss = run.method.train().loss(run.pool.batch(np.arange(16)))
    assert loss.shape == ()
    assert torch.isfinite(loss)
    loss.backward()  # type: ignore[no-untyped-call]
    gradients = [p.grad for p in run.method.encoder.parameters() if p.grad is not None]
    assert all(torch.isfinite(g).all() for g in gradients)
    # the network starts with its residual branches at zero, so their inner weights get no gradient in the first step
    assert sum(float(g.abs().sum()) > 0 for g in gradients) > 0.5 * len(list(run.method.encoder.parameters()))


@pytest.mark.parametrize("name", [name for name, cls in METHODS.items() if 2 in cls.dims])  # waves have no depth
def test_same_seed_same_losses_in_the_loop(name: str) -> None:
    """That they fall is in test_pretext_learns_*.py."""
    first, second = make_run(name, 0), make_run(name, 0)
    for run in (first, second):
        assert next(train(run, [96]))
    assert [loss for _, loss in first.losses] == [loss for _, loss in second.losses]
    assert len({loss for _, loss in first.losses}) == 3


@pytest.mark.parametrize("modality", list(modalities()))
def test_views_of_grey_images_stay_grey_and_weak_ones_vanish(modality: str) -> None:
    grey = preset(modality, 1)
    assert grey.hue == grey.grey == grey.saturation == 0
