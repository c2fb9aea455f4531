"""DIET against its formula, and the places that images keep where their pool grows."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from autossl.pretext.batch import Batch
from autossl.pretext.diet import DIET
from studies.opened import opened
from tests.pretext_toys import encoder, still, uniform, volume_encoder


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize(("places", "pool", "rows"), [([4, 0, 2], 5, 5), ([9, 0, 13], 40, 7), ([6, 3, 1], 7, 7)])
def test_diet(dims: int, places: list[int], pool: int, rows: int) -> None:
    """Cross-entropy with the place in the pool, smoothed over as many rows as are used, of 7."""
    network = encoder() if dims == 2 else volume_encoder(side=16)
    method = DIET(network, still(dims=dims), smoothing=0.3, classes=7).eval()
    x = uniform(3, 1, *[16] * dims)
    z = network(still(dims=dims).standardise(x)).detach().double()
    weight = method.head.weight.detach().double()[:rows]
    expected = 0.0
    for embedding, place in zip(z, places, strict=True):
        answers = [math.exp(float(embedding @ row)) for row in weight]
        logs = [math.log(answer / sum(answers)) for answer in answers]
        expected -= 0.7 * logs[place % rows] + 0.3 * sum(logs) / rows
    found = method.loss(Batch(x, places=torch.tensor(places), pool=pool))
    assert float(found.detach()) == pytest.approx(expected / 3, rel=1e-4)
    found.backward()  # type: ignore[no-untyped-call]
    assert method.head.weight.grad is not None
    assert [name for name, _ in method.head.named_parameters()] == ["weight"]
    assert not method.head.weight.grad[rows:].any()


def test_images_keep_their_places_in_the_larger_pool_of_the_final_training(tmp_path: Path) -> None:
    rng, path = np.random.default_rng(0), tmp_path / "noise.npz"
    np.savez(path, images=rng.integers(0, 256, (90, 16, 16), dtype=np.uint8), labels=np.arange(90) % 3)
    context = opened(str(path), tmp_path / "run", 64, backbone="test_resnet")
    searched, final = context.probe_pool, context.final_pool
    assert len(final) > len(searched)
    numbers = {}
    for pool in (searched, final):
        batch = pool.batch(np.arange(len(pool)))
        assert batch.places is not None
        assert sorted(batch.places.tolist()) == list(range(len(pool)))
        assert batch.pool == len(pool)
        numbers[len(pool)] = dict(zip(pool.rows.tolist(), batch.places.tolist(), strict=True))
    assert numbers[len(searched)].items() <= numbers[len(final)].items()
