"""Detects embeddings that have collapsed to a point, to a line, or to a point with a few outliers."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from autossl.proxies.checks import matrix
from autossl.proxies.neighbours import unit_rows
from autossl.proxies.ridge import standardise
from autossl.proxies.spectrum import participation_ratio
from autossl.proxies.tiles import spans

STD_RATIO_FLOOR = 0.02
PARTICIPATION_FLOOR = 2.0
COSINE_CEILING = 0.98


@dataclass(frozen=True)
class Collapse:
    """What the detectors measured; NaN where embeddings are not finite."""

    std_ratio: float
    participation: float
    cosine: float
    collapsed: bool
    reason: str  # empty if not collapsed


def collapse(z: ArrayLike) -> Collapse:
    """Vetoes embeddings z (n, d) without variety; it never ranks those that pass.

    - `std_ratio`: mean standard deviation of the dimensions of L2-normalised rows, times sqrt(d). 1 if rows point
      everywhere, 0 if they coincide; below 0.02 (a mean cosine above .9996): collapsed to a point.
    - `participation`: participation ratio of the standardised dimensions; below 2: collapsed to a line.
    - `cosine`: mean cosine between centred rows; above 0.98: all coincide but a few outliers.
    - NaN or infinity.

    The usual floors (raw mean cosine .98, raw participation ratio 0.02 d) are meant for trained, batch-normalised
    embeddings and veto healthy untrained encoders, whose features after ReLU and pooling are positive and share a
    large mean: untrained ResNet-10t on 28-px blood cells has cosine .984, std_ratio .09, raw participation 3.1 (of
    512), standardised 8.0, and carries 76 % balanced accuracy; on X-rays 0.976, 0.11, 1.5 and 4.2. Therefore cosine
    is taken after centring, participation after standardising, without a share of d, and only std_ratio is raw.
    A ValueError for anything but a matrix of numbers; a single row counts as collapsed.
    """
    array = np.asarray(z)
    if array.ndim == 2 and array.dtype.kind == "f" and array.size and not _finite(array):
        return Collapse(float("nan"), float("nan"), float("nan"), True, "embeddings hold NaN or infinity")
    rows = matrix(array)
    return collapse_of(rows, participation_ratio(standardise(rows)))


def collapse_of(rows: NDArray[np.float32], participation: float) -> Collapse:
    """`collapse` of finite rows whose standardised participation ratio is known."""
    ratio = float(unit_rows(rows).std(axis=0, dtype=np.float64).mean() * np.sqrt(rows.shape[1]))
    cosine = mean_cosine(rows - rows.mean(axis=0, dtype=np.float64).astype(np.float32))
    reason = _reason(ratio, participation, cosine, rows.shape[1])
    return Collapse(ratio, participation, cosine, bool(reason), reason)


def mean_cosine(z: NDArray[np.float32]) -> float:
    """Mean cosine over pairs of different rows of z (n, d), from the sum of unit rows; 0 for a single row."""
    if len(z) < 2:
        return 0.0
    total, lengths = np.zeros(z.shape[1]), 0.0
    for start, stop in spans(len(z), 4096):
        unit = unit_rows(z[start:stop]).astype(np.float64)
        total += unit.sum(axis=0)
        lengths += float((unit**2).sum())
    return float((total @ total - lengths) / (len(z) * (len(z) - 1)))


def _finite(array: NDArray[np.floating]) -> bool:
    with np.errstate(over="ignore"):  # beyond float32 is as bad as infinite
        array = array.astype(np.float32, copy=False)
    return bool(np.isfinite(array.min()) and np.isfinite(array.max()))


def _reason(ratio: float, participation: float, cosine: float, dimensions: int) -> str:
    if ratio < STD_RATIO_FLOOR:
        return f"all embeddings point the same way (std ratio {ratio:.4f} is below {STD_RATIO_FLOOR})"
    if cosine > COSINE_CEILING:
        return f"all but a few embeddings coincide (centred mean cosine {cosine:.3f} is above {COSINE_CEILING})"
    if participation < min(PARTICIPATION_FLOOR, dimensions):
        return (
            f"embeddings vary along one line (participation ratio {participation:.2f} is below {PARTICIPATION_FLOOR})"
        )
    return ""
