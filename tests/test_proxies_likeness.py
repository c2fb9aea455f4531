"""Structural similarity against MONAI's."""

import numpy as np
import pytest
import torch
from monai.metrics.regression import compute_ssim_and_cs

from autossl.proxies import ssim


@pytest.mark.parametrize("shape", [(1, 40, 33), (3, 16, 20), (1, 16, 14, 15)])
def test_ssim_is_that_of_monai(shape: tuple[int, ...]) -> None:
    random = np.random.default_rng(0)
    first = random.random(shape)
    second = np.clip(first + random.normal(0, 0.2, shape), 0, 1)
    dims = len(shape) - 1
    a, b = (torch.from_numpy(each)[None] for each in (first, second))
    wanted, _ = compute_ssim_and_cs(b, a, dims, (11,) * dims, (1.5,) * dims)
    assert ssim(first, second) == pytest.approx(float(wanted.mean()), abs=1e-6)
    assert ssim(first, first) == pytest.approx(1)
    assert -1 < ssim(first[..., :5], second[..., :5]) < 1  # shorter than the window
    with pytest.raises(ValueError, match="one shape"):
        ssim(first, first[:, 1:])
