"""How well one score ranks candidates by another, and how well it could, given the errors of both."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]


def weighted_kendall(a: ArrayLike, b: ArrayLike) -> float:
    """Weighted Kendall tau of two scores (n,) of the same candidates, in [-1, 1]: agreement at the top counts most.

    A pair of candidates weighs 1 / r + 1 / s, with r and s their ranks from the best, 1, 2, ... (additive hyperbolic
    weights); the result is the mean over ranking by a (ties by b) and by b (ties by a). Vigna 2015, WWW (arXiv
    1404.3325); computed by scipy.stats.weightedtau, O(n log n). Higher values must be better in both.

    Candidates of which either score is NaN are left out, where SciPy would rank NaN lowest; infinities are ranked. NaN
    where fewer than two are left or either score is the same for all. With few candidates the best one or two decide:
    report it with an interval over repetitions and beside `noise_ceiling`.
    """
    from scipy.stats import rankdata, weightedtau  # here, because they take time to import

    first, second = _pair(a, b, "a and b")
    kept = ~(np.isnan(first) | np.isnan(second))
    first, second = first[kept], second[kept]
    if len(first) < 2 or (first == first[0]).all() or (second == second[0]).all():
        return float("nan")
    return float(weightedtau(rankdata(first), rankdata(second)).statistic)  # ranks: infinities would not add up


def reliability(values: ArrayLike, errors: ArrayLike) -> float:
    """Share of the variance of values (n,) that is not noise: 1 - mean(errors^2) / variance, clipped to [0, 1].

    `errors` (n,) are standard errors, such as `standard_error` gives; the variance is that of the observed values (n -
    1 in the denominator). Its root is the largest correlation of the values with anything measured without error
    (Spearman 1904, American Journal of Psychology 15). Pairs with a NaN are left out; NaN where fewer than two are
    left, 0 where the values do not vary. It misleads for few candidates, whose variance is itself uncertain, and where
    errors are shared between candidates (the same patients): shared noise moves all values alike and is no noise in
    their differences, so the true reliability is then higher.
    """
    observed, spread = _pair(values, errors, "values and errors")
    kept = np.isfinite(observed) & np.isfinite(spread)
    observed, spread = observed[kept], spread[kept]
    if (spread < 0).any():
        raise ValueError(f"errors must not be negative, found {spread.min():g}.")
    if len(observed) < 2:
        return float("nan")
    variance = float(observed.var(ddof=1))
    return float(np.clip(1 - np.mean(spread**2) / variance, 0, 1)) if variance > 0 else 0.0


def noise_ceiling(values_a: ArrayLike, errors_a: ArrayLike, values_b: ArrayLike, errors_b: ArrayLike) -> float:
    """Largest correlation that can be seen between two scores (n,) of the same candidates, given their errors.

    sqrt(reliability of a * reliability of b), in [0, 1]: what perfectly correlated true values would show if the errors
    of both are independent (Spearman's attenuation, 1904). An observed correlation lies above it by chance in samples,
    or where both are measured on the same patients. Candidates with a NaN in any of the four are left out.
    """
    columns = [*_pair(values_a, errors_a, "values_a and errors_a"), *_pair(values_b, errors_b, "values_b and errors_b")]
    if len(columns[0]) != len(columns[2]):
        raise ValueError(
            f"values_a and values_b must hold the same candidates, found {len(columns[0])} and {len(columns[2])}."
        )
    kept = np.isfinite(columns).all(axis=0)
    value_a, error_a, value_b, error_b = (column[kept] for column in columns)
    return float(np.sqrt(reliability(value_a, error_a) * reliability(value_b, error_b)))


def _pair(a: ArrayLike, b: ArrayLike, names: str) -> tuple[Array, Array]:
    first, second = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if first.ndim != 1 or first.shape != second.shape:
        raise ValueError(f"{names} must be vectors of one length, found {first.shape} and {second.shape}.")
    return first, second
