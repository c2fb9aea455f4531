"""All methods run from a start: a step from given weights moves what is trained of them, and nothing else."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from autossl.nn.encoder import Encoder
from autossl.nn.weights import load_weights
from autossl.pretext import METHODS
from autossl.pretext.batch import Batch
from autossl.pretext.needs import lacking
from autossl.train.partial import LAST, LORA, restrict
from autossl.views.presets import preset
from autossl.views.volumes import views_for
from tests.pretext_toys import fitting

PLAIN: dict[str, Any] = {"img_size": 20, "patch_size": 5, "global_pool": "avg"}
# teachers, masks, predictors, maps, a memory of images, parts: what could miss that layers have become other ones
OTHERWISE = ("byol", "moco", "dino", "mae", "ibot", "ijepa", "simmim", "densecl", "diet", "hybrid", "simclr")
CASES = [*((name, LAST) for name in METHODS), *((name, LORA) for name in OTHERWISE)]


def made(name: str, part: str, seed: int) -> Encoder:
    """What serves a method: its own toy, or a plain transformer for adapters."""
    torch.manual_seed(seed)
    channels = 3 if "colour" in METHODS[name].needs else 1
    return fitting(name, channels) if part == LAST else Encoder("test_vit", channels, 20, model_args=PLAIN)


@pytest.mark.parametrize(("name", "part"), CASES)
def test_a_step_from_given_weights(name: str, part: str, tmp_path: Path) -> None:
    given = made(name, part, 1)
    torch.save(given.backbone.state_dict(), tmp_path / "mine.pt")
    encoder = load_weights(made(name, part, 2), str(tmp_path / "mine.pt"))
    restrict(encoder, part)
    assert not METHODS[name].needs & lacking(encoder)
    images = torch.rand(8, encoder.channels, *encoder.size)
    with torch.no_grad():
        torch.testing.assert_close(encoder.eval()(images), given.eval()(images), rtol=1e-5, atol=1e-6)
    views = views_for(encoder.dims)(
        preset("auto", encoder.channels), (0.4,) * encoder.channels, (0.2,) * encoder.channels
    )
    method = METHODS[name](encoder, views).train()
    method.population = 8
    loss = method.loss(Batch(images, torch.arange(8) // 2, torch.rand(8), places=torch.arange(8), pool=8))
    assert torch.isfinite(loss)
    loss.backward()  # type: ignore[no-untyped-call]
    moving = [p for p in encoder.parameters() if p.requires_grad]
    assert sum(float(p.grad.abs().sum()) for p in moving if p.grad is not None) > 0
    assert all(p.grad is None for p in encoder.parameters() if not p.requires_grad)
    before = [value.clone() for value in still(encoder)]
    torch.optim.AdamW([p for p in method.parameters() if p.requires_grad], lr=1e-2).step()
    method.after_step(0.5)
    assert all(torch.equal(a, b) for a, b in zip(before, still(encoder), strict=True))


def still(encoder: Encoder) -> list[Tensor]:
    """What is frozen: weights, and statistics of norms."""
    held = [value for part in encoder.frozen for value in part.buffers()]
    return [*(p for p in encoder.parameters() if not p.requires_grad), *held]
