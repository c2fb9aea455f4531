"""What every score asks of its input, with one sentence for each way in which it can be wrong."""

import numpy as np
from numpy.typing import ArrayLike, NDArray


def matrix(values: ArrayLike, name: str = "z") -> NDArray[np.float32]:
    """Returns finite embeddings (n, d) as contiguous float32; any other shape, kind or a NaN is a ValueError."""
    array = np.asarray(values)
    if array.ndim != 2 or 0 in array.shape:
        raise ValueError(
            f"{name} must be a matrix (samples, dimensions) with at least one of each, found {array.shape}."
        )
    if array.dtype.kind not in "fiub":
        raise ValueError(f"{name} must hold real numbers, found dtype {array.dtype}.")
    with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite and is refused below
        array = np.ascontiguousarray(array, dtype=np.float32)
    if not (np.isfinite(array.min()) and np.isfinite(array.max())):
        rows = np.flatnonzero(~np.isfinite(array).all(axis=1))
        raise ValueError(
            f"{name} must be finite, found NaN or infinity in {len(rows)} rows (the first is row {rows[0]})."
        )
    return array


def class_index(y: ArrayLike, classes: int, rows: int | None = None, name: str = "y") -> NDArray[np.int64]:
    """Returns labels (n,) as int64 in [0, classes); -1 for "unlabelled" is refused: leave such rows out first."""
    array = np.asarray(y)
    if array.ndim != 1 or array.size == 0 or (rows is not None and len(array) != rows):
        raise ValueError(f"{name} must hold one class index for each of {rows or 'n'} samples, found {array.shape}.")
    if array.dtype.kind not in "iub":
        raise ValueError(f"{name} must hold integer class indices, found dtype {array.dtype}.")
    if array.min() < 0 or array.max() >= classes:
        raise ValueError(f"{name} must lie in [0, {classes}), found {array.min()} to {array.max()}.")
    return np.ascontiguousarray(array, dtype=np.int64)


def group_index(groups: ArrayLike | None, rows: int) -> NDArray[np.int64]:
    """Returns groups (n,) numbered 0, 1, ... in sorted order of their ids; without ids each sample is its own group."""
    if groups is None:
        return np.arange(rows)
    array = np.asarray(groups)
    if array.shape != (rows,):
        raise ValueError(f"groups must hold one id for each of {rows} samples, found {array.shape}.")
    return np.unique(array, return_inverse=True)[1].astype(np.int64)


def score_matrix(scores: ArrayLike, rows: int, classes: int | None = None) -> NDArray[np.float64]:
    """Returns finite class scores (n, c) as float64; a vector becomes one column."""
    array = np.ascontiguousarray(scores, dtype=np.float64)
    array = array[:, None] if array.ndim == 1 else array
    if array.ndim != 2 or len(array) != rows or (classes is not None and array.shape[1] != classes):
        raise ValueError(f"scores must have the shape ({rows}, {classes or 'classes'}), found {array.shape}.")
    if not np.isfinite(array).all():
        raise ValueError("scores must be finite, found NaN or infinity.")
    return array
