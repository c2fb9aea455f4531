"""Figures of answers that are numbers."""

import numpy as np
import pytest

from autossl.proxies import Outcomes
from autossl.report import answers

rng = np.random.default_rng(0)


@pytest.mark.parametrize("columns", [1, 2, 6])
def test_predicted_is_drawn_against_true_and_gaps_are_left_out(columns: int) -> None:
    y = rng.normal(50, 10, (40, columns))
    y[::5, 0] = np.nan
    svg = answers.values(Outcomes.of(y, y + rng.normal(0, 5, y.shape)), [f"column {at}" for at in range(columns)])
    assert svg.startswith("<svg")
    assert "nan" not in svg.lower()
    assert svg.count("predicted minus true") == (columns == 1)  # Bland and Altman, of one number
    drawn = sum(f"true column {at}" in svg for at in range(columns))
    assert drawn == min(columns, answers.MOST)


def test_one_column_of_several_is_that_column() -> None:
    y = rng.normal(size=(30, 2))
    y[3:6, 1] = np.nan
    whole = Outcomes.of(y, y + 1)
    assert whole.column(1).value("mae") == pytest.approx(1)
    assert len(whole.column(1).owner) == 27
    assert whole.value("mae") == pytest.approx(1)
