"""Settings of a study on volumes: a backbone and methods that take them, or one sentence that says why not."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from autossl.data import Source
from autossl.data.truth import Classes
from autossl.errors import UserError
from autossl.nn.encoder import Encoder
from autossl.pretext import METHODS
from autossl.pretext.batch import Batch
from autossl.run.asked import Asked
from autossl.run.settings import resolve
from autossl.trials.space import build, read_space
from autossl.views.images import Views
from autossl.views.presets import preset
from autossl.views.volumes import VolumeViews
from tests.pretext_toys import volume_encoder


def source(dims: int) -> Source:
    labels = np.arange(40) % 2
    return Source(
        name="toy", place="toy", truth=Classes(labels, ("a", "b")), groups=np.arange(40),
        split=np.full(40, -1, np.int8),
        read=lambda i: np.zeros((28,) * dims + (1,), np.uint8), sizes=np.full((40, dims), 28), channels=1,
        white=np.full(40, 255), key="toy",
    )  # fmt: skip


ASKED = Asked(device="cpu", image_size=28, modality="mr", time_limit="1h")


def test_volumes_get_a_backbone_and_the_methods_that_take_them() -> None:
    config = resolve(ASKED, source(3))
    assert config.backbone == "resnet10_half_3d"
    assert config.model_args == {"no_max_pool": True}
    assert config.precision == "fp32"  # on a CPU
    assert set(config.methods) == {
        n for n in preset("mr", 1).methods if 3 in METHODS[n].dims and "patients" not in METHODS[n].needs
    }
    assert config.left_out["densecl"] == "it is not for volumes"
    flat = resolve(ASKED, source(2))
    assert "densecl" in flat.methods
    assert flat.left_out["rubik"] == "it is for volumes only"
    assert flat.left_out["slice_order"] == "these images have no known order of slices"
    assert flat.left_out["colourisation"] == "these images have no colour"


@pytest.mark.parametrize(("dims", "backbone", "named"), [(3, "resnet18", "volumes"), (2, "resnet18_3d", "images")])
def test_a_backbone_of_other_dimensions_is_refused(dims: int, backbone: str, named: str) -> None:
    with pytest.raises(
        UserError, match=f"a backbone for {named} was wanted, found --backbone {backbone}; give resnet10"
    ):
        resolve(replace(ASKED, backbone=backbone), source(dims))


def test_the_encoder_chooses_the_views() -> None:
    prior = {**read_space()["simclr"].fixed, **read_space()["simclr"].priors[0]}
    for encoder, cls in ((volume_encoder(), VolumeViews), (Encoder("test_resnet", 1, 20), Views)):
        method, settings = build("simclr", prior, encoder, preset("mr", 1), (0.5,), (0.2,))
        assert type(method.views) is cls
        assert method.views.crop_min == prior["crop_min"]
        assert settings.lr == prior["lr"]
        assert torch.isfinite(method.loss(Batch(torch.rand(4, 1, *encoder.size))))
