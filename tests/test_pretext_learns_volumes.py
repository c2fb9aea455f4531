"""Methods on tiles and slabs of volumes learn: short training makes the embedding of a toy set better by ridge."""

from functools import cache

import numpy as np
import pytest
import torch

from autossl.pretext import METHODS
from autossl.views.presets import preset
from autossl.views.volumes import VolumeViews
from tests.pretext_learning import GAIN, SEED, Setting, score
from tests.pretext_toys import bodies, train, volume_encoder

# the toy set made for the order of slices: what a place shows tells its depth, and cubes in different depths differ
SETTINGS = {
    "jigsaw": Setting("bodies", "mr", steps=28, lr=4e-3),
    "relative_location": Setting("bodies", "mr", steps=48, lr=4e-3),
    "rubik": Setting("bodies", "mr", steps=60, lr=4e-3),
    "slice_order": Setting("bodies", "mr", steps=24, lr=4e-3),
    "slice_position": Setting("bodies", "mr", steps=40, lr=4e-3),
}
TOYS = {"bodies": bodies}


@cache
def trained(name: str) -> tuple[float, list[float]]:
    """How much short training adds to the score, and the losses on the way."""
    setting = SETTINGS[name]
    volumes, y = TOYS[setting.toy](240, SEED)
    torch.manual_seed(SEED)
    encoder = volume_encoder()
    views = VolumeViews(preset(setting.modality, 1), (float(volumes.mean()),), (float(volumes.std()),), jitter=0.1)
    method = METHODS[name](encoder, views, **setting.own)
    shown = views.standardise(volumes)
    before = score(encoder, shown, y)
    losses = train(method.train(), volumes, steps=setting.steps, batch=32, lr=setting.lr)
    return score(encoder, shown, y) - before, losses


@pytest.mark.parametrize("name", SETTINGS)
def test_the_embedding_of_volumes_beats_the_untrained_one(name: str) -> None:
    assert trained(name)[0] > GAIN


@pytest.mark.parametrize("name", SETTINGS)
def test_the_loss_falls_on_tiles_and_slabs(name: str) -> None:
    losses = trained(name)[1]
    assert np.mean(losses[-8:]) < np.mean(losses[:4])
