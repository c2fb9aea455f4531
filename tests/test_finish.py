"""When the final training of the winner is kept."""

import numpy as np
import pytest

from autossl.finish.finish import clearly_fell
from autossl.proxies import Difference, paired


@pytest.mark.parametrize(("change", "fell"), [(0.1, False), (0.0, False), (-0.011, False), (-0.06, True)])
def test_final_training_is_dropped_only_where_its_score_fell_by_more_than_the_noise(change: float, fell: bool) -> None:
    assert clearly_fell(Difference(change, change - 0.1, change + 0.1, 0.05)) == fell


def test_a_true_gain_is_rarely_dropped_and_a_true_loss_mostly() -> None:
    rng = np.random.default_rng(0)
    y = np.arange(60) % 4
    dropped = {gain: 0 for gain in (0.04, -0.15)}
    for gain in dropped:
        for _ in range(100):
            luck = rng.random(60)
            scores = [
                np.eye(4)[np.where(luck + 0.1 * rng.normal(size=60) < p, y, (y + 1) % 4)] for p in (0.8, 0.8 + gain)
            ]
            dropped[gain] += clearly_fell(paired(y, scores[1], scores[0], draws=50))
    assert dropped[0.04] < 15
    assert dropped[-0.15] > 80
