"""Intrinsic dimensions against plain formulas, SciPy's trees, and samples whose dimension is known."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.sparse.csgraph import minimum_spanning_tree
from scipy.spatial.distance import cdist
from sklearn.neighbors import NearestNeighbors

from autossl.proxies import dimension as module
from autossl.proxies.dimension import mst_dimension, two_nn


def sample(shape: str, dimension: int, n: int, seed: int) -> NDArray[np.float64]:
    """A cube or a sphere of a dimension, mapped into 20 dimensions about a mean."""
    rng = np.random.default_rng(seed)
    if shape == "cube":
        z = rng.uniform(size=(n, dimension))
    else:
        z = rng.normal(size=(n, dimension + 1))
        z /= np.linalg.norm(z, axis=1, keepdims=True)
    image: NDArray[np.float64] = z @ np.linalg.qr(rng.normal(size=(20, 20)))[0][: z.shape[1]] + 3
    return image


def slow_two_nn(z: NDArray[Any], discard: float) -> float:
    """The definition on rows that differ, from all distances."""
    rows = np.unique(np.asarray(z, np.float64), axis=0)
    if len(rows) < 3:
        return float("nan")
    ratios = []
    for i in range(len(rows)):
        near = sorted(np.linalg.norm(rows[i] - rows[j]) for j in range(len(rows)) if j != i)
        ratios.append(near[1] / near[0])
    kept = min(int(len(rows) * (1 - discard)), len(rows) - 1)
    x = np.log(sorted(ratios)[:kept])
    y = np.array([-np.log(1 - (i + 1) / len(rows)) for i in range(kept)])
    return float((x * y).sum() / (x * x).sum()) if kept > 1 and x.any() else float("nan")


@given(
    n=st.integers(1, 40), d=st.integers(1, 8), copies=st.integers(0, 5), discard=st.sampled_from([0.0, 0.1, 0.5]),
    seed=st.integers(0, 99), dtype=st.sampled_from([np.float16, np.float32, np.float64]),
)  # fmt: skip
def test_two_nn_follows_its_definition(n: int, d: int, copies: int, discard: float, seed: int, dtype: type) -> None:
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(n, d)).astype(dtype).astype(np.float32)
    z[:, 0] = 0  # constant, and with d = 1 all rows equal
    z = np.concatenate([z, z[rng.integers(0, n, copies)] * np.where(z[:1] == 0, -1, 1)])  # -0 is 0
    assert two_nn(z, discard) == pytest.approx(slow_two_nn(z, discard), rel=1e-4, nan_ok=True)


def test_the_two_nearest_are_those_of_scikit_learn_at_any_tile(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    # Tight groups far from each other and from 0: products in float32 would lose the distances.
    z = (1000 * rng.normal(size=(20, 6)))[rng.integers(0, 20, 400)] + 0.05 * rng.normal(size=(400, 6)) + 500
    rows = z.astype(np.float32).astype(np.float64)
    expected = NearestNeighbors(n_neighbors=3, algorithm="brute").fit(rows)
    exact = np.sort(cdist(rows, rows), axis=1)[:, 1:3]
    np.testing.assert_allclose(expected.kneighbors(rows)[0][:, 1:], exact, atol=1e-3)
    np.testing.assert_allclose(np.stack(module._two_distances(rows), axis=1), exact, rtol=1e-9)
    monkeypatch.setattr(module, "TILE_ROWS", 37)
    monkeypatch.setattr(module, "TILE_COLUMNS", 41)
    np.testing.assert_allclose(np.stack(module._two_distances(rows), axis=1), exact, rtol=1e-9)


@given(n=st.integers(1, 40), d=st.integers(1, 5), grid=st.booleans(), seed=st.integers(0, 99))
def test_the_tree_is_that_of_scipy(n: int, d: int, grid: bool, seed: int) -> None:
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(50, d))
    rows = np.unique(np.round(rows), axis=0) if grid else rows  # many equal distances
    members = rng.permutation(len(rows))[:n]
    table = module._distances(rows)
    np.testing.assert_allclose(table, cdist(rows, rows), atol=1e-6)
    expected = minimum_spanning_tree(cdist(rows[members], rows[members])).sum()
    assert module._tree_length(table, members) == pytest.approx(expected, rel=1e-6, abs=1e-6)


def test_the_growth_of_the_tree_is_fitted_as_said() -> None:
    z = sample("cube", 3, 200, 1).astype(np.float32)
    rows = z.astype(np.float64)
    sizes = np.geomspace(25, 200, 6).astype(int)
    rng = np.random.default_rng([5, 200])
    orders = [rng.permutation(200) for _ in range(8)]
    heights = [
        float(np.mean([float(np.log(minimum_spanning_tree(cdist(rows[o[:s]], rows[o[:s]])).sum())) for o in orders]))
        for s in sizes
    ]
    slope = np.polyfit(np.log(sizes), heights, 1)[0]
    assert mst_dimension(z, seed=5) == pytest.approx(1 / (1 - slope), rel=1e-5)


@pytest.mark.parametrize("shape", ["cube", "sphere"])
@pytest.mark.parametrize("dimension", [1, 2, 3, 5])
def test_known_dimensions_are_found(shape: str, dimension: int) -> None:
    z = sample(shape, dimension, 1500, dimension)
    slack = 0.12 + 0.1 * (dimension > 3)  # the border of a cube lowers it
    assert two_nn(z) == pytest.approx(dimension, rel=slack)
    assert mst_dimension(z, 1500) == pytest.approx(dimension, rel=slack)
    assert two_nn(40 * z - 9) == pytest.approx(two_nn(z), rel=1e-3)  # neither scale nor place matter
    assert mst_dimension(40 * z - 9, 1500) == pytest.approx(mst_dimension(z, 1500), rel=1e-3)


def test_copies_do_not_count() -> None:
    z = sample("cube", 4, 300, 2).astype(np.float32)
    doubled = np.concatenate([z, z[:150]])[np.random.default_rng(0).permutation(450)]
    assert two_nn(doubled) == pytest.approx(two_nn(z), rel=1e-6)
    assert mst_dimension(doubled) == pytest.approx(mst_dimension(z), rel=0.1)


def test_few_or_equal_rows_and_lattices_have_no_dimension() -> None:
    rng = np.random.default_rng(3)
    assert np.isnan(two_nn(np.ones((50, 4))))
    assert np.isnan(two_nn(rng.normal(size=(2, 4))))
    assert np.isnan(two_nn(np.stack(np.meshgrid(range(5), range(5)), axis=-1).reshape(-1, 2)))
    assert np.isnan(mst_dimension(np.ones((50, 4))))
    assert np.isnan(mst_dimension(rng.normal(size=(15, 4))))
    huge = np.float32(1e30) * rng.normal(size=(60, 2)).astype(np.float32)
    assert two_nn(huge) == pytest.approx(2, rel=0.5)
    tiny = np.concatenate([np.float32(1e-30) * rng.normal(size=(60, 2)).astype(np.float32), np.ones((1, 2))])
    assert two_nn(tiny) > 0  # distances far below the rounding of products


def test_no_more_rows_than_the_limit_are_drawn_by_the_seed() -> None:
    z = sample("sphere", 2, 900, 4)
    assert two_nn(z, limit=300, seed=1) == two_nn(z, limit=300, seed=1) != two_nn(z, limit=300, seed=2)
    assert mst_dimension(z, 300, 1) == mst_dimension(z, 300, 1) != mst_dimension(z, 300, 2)
    assert two_nn(z, limit=900) == two_nn(z)
    assert two_nn(z, limit=300) == pytest.approx(2, rel=0.25)


def test_bad_input_is_told_in_one_sentence() -> None:
    z = np.ones((20, 3))
    for score in (two_nn, mst_dimension):
        with pytest.raises(ValueError, match="z must be finite"):
            score(np.full((20, 3), np.nan))
        with pytest.raises(ValueError, match="must be a matrix"):
            score(z[0])
    with pytest.raises(ValueError, match=r"discard must lie in \[0, 1\), found 1"):
        two_nn(z, 1)
    with pytest.raises(ValueError, match="limit must be at least 3, found 2"):
        two_nn(z, limit=2)
    with pytest.raises(ValueError, match="limit must be at least 16, found 9"):
        mst_dimension(z, 9)
