"""Volumes as arrays: their values as 8 or 16 bit whole numbers, their proportions in a cube of the wanted size."""

from collections.abc import Iterable
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autossl.data.dataset import CT, KEPT, ROBUST, Pixels
from autossl.data.readers.images import to_pixels
from autossl.errors import UserError

HOUNSFIELD = (-1024, 3071)  # what 12 bits of a CT hold; stored as value - HOUNSFIELD[0], one step a unit
CT_WHITE, ROBUST_WHITE = HOUNSFIELD[1] - HOUNSFIELD[0], 65535
AIR, SOME_AIR = -500, 0.01  # Hounsfield units below which only air and lung lie, and the share that tells a CT
TAILS = (0.5, 99.5)  # percentiles of a volume that become black and white
MOST_COUNTED = 1 << 20  # voxels of a volume that percentiles and the search for air look at
LOOKED_AT = 8  # volumes of a set that are asked whether they are CT
WORDS = {
    CT: f"voxels are Hounsfield units: {HOUNSFIELD[0]} to {HOUNSFIELD[1]} are kept in steps of 1, others are clipped",
    ROBUST: f"each volume is stretched to 16 bit between its {TAILS[0]} and {TAILS[1]} percentiles (channel by "
    "channel), for its values are signed, fractional or of mixed types",
}


def kept_as_is(values: NDArray[Any]) -> bool:
    """Whether values fit into 8 or 16 bit as they stand: whole numbers up to 65535, or floats in [0, 1]."""
    if values.size == 0 or values.dtype.kind not in "iuf":
        return True  # whatever is wrong with it is said where it is converted
    low, high = float(values.min()), float(values.max())
    return not (low < 0 or high > (1 if values.dtype.kind == "f" else 65535))


def recognise(volumes: Iterable[NDArray[Any]]) -> str:
    """The window for volumes that do not fit as they stand: CT where most hold air in Hounsfield units, else ROBUST."""
    votes = [_holds_air(volume) for volume in volumes]
    return CT if votes and np.mean(votes) > 0.5 else ROBUST


def looked_at(n: int) -> list[int]:
    """The places of a few of n volumes, evenly spaced."""
    return [int(at) for at in np.unique(np.linspace(0, n - 1, LOOKED_AT).astype(int))]


def _holds_air(volume: NDArray[Any]) -> bool:
    some = _thinned(volume)
    return bool((some <= AIR).mean() >= SOME_AIR and (some == np.rint(some)).all())


def _thinned(volume: NDArray[Any]) -> NDArray[Any]:
    """Every k-th voxel in each direction of (d, h, w, c)."""
    step = int(np.ceil(max(1.0, np.prod(volume.shape[:3], dtype=float) / MOST_COUNTED) ** (1 / 3)))
    return volume[::step, ::step, ::step]


def to_voxels(
    volume: NDArray[Any],
    window: str,
    place: str,
    deep: bool = False,
    like: NDArray[Any] | None = None,
    between: tuple[float, float] | None = None,
) -> tuple[Pixels, int]:
    """Finite values (d, h, w, c) or (h, w, c) as uint8 or uint16, and the value that means 1.0 (0: unknown, 16 bit).

    KEPT: as `to_pixels` has it, without loss. CT: Hounsfield units in steps of 1. ROBUST: each channel between the
    `ends` of these values, or of others that they are `like`. UserError for what KEPT cannot hold, and for 8-bit values
    where CT is wanted.
    """
    if window == KEPT:
        return to_pixels(volume, place, deep)
    if window == CT:
        if volume.dtype == np.uint8:
            raise UserError(
                f"Hounsfield units were wanted, as in the rest of the data, found 8-bit values in {place}; "
                "give the volumes in their own units"
            )
        # as floats: unsigned types hold no -1024
        whole = np.rint(volume.astype(np.result_type(volume.dtype, np.float32), copy=False))
        return (np.clip(whole, *HOUNSFIELD) - HOUNSFIELD[0]).astype(np.uint16), CT_WHITE
    low, high = ends(volume if like is None else like, between)
    kind = np.result_type(volume.dtype, np.float32)  # double precision only where the values have it
    share = np.subtract(volume, low, dtype=kind) / np.where(high > low, high - low, 1).astype(kind)
    return np.rint(np.clip(share, 0, 1) * kind.type(ROBUST_WHITE)).astype(np.uint16), ROBUST_WHITE


def ends(
    volume: NDArray[Any], between: tuple[float, float] | None = None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """What ROBUST makes black and white in each channel of ([d,] h, w, c): `between` where that meets its values, else
    percentiles.
    """
    space = tuple(range(volume.ndim - 1))
    if between is not None and between[0] < volume.max() and between[1] > volume.min():
        low, high = (np.full(volume.shape[-1], end, np.float64) for end in between)
    else:
        some = _thinned(volume if volume.ndim == 4 else volume[None]).reshape(-1, volume.shape[-1])
        low, high = np.percentile(some.astype(np.float64), TAILS, axis=0)
    narrow = high <= low  # nearly one value throughout: an outlier is all there is to see
    return np.where(narrow, volume.min(space), low), np.where(narrow, volume.max(space), high)


def fit(volume: Pixels, size: int, spacing: NDArray[np.float64]) -> Pixels:
    """(d, h, w, c) -> (size, size, size, c): the whole volume, its proportions kept, padded with its border's median.

    `spacing` (3,) is the distance of voxels, so that proportions are those of the body: the longest extent gets
    `size` voxels, and voxels become cubes. A volume that has this size already is untouched. Resampling is cubic
    with antialiasing, axis by axis, and never leaves the volume's own range of values.
    """
    extent = np.array(volume.shape[:3]) * spacing
    inner = tuple(int(side) for side in np.maximum(1, np.floor(size * (extent / extent.max()) + 0.5)))
    resized = volume if inner == volume.shape[:3] else _resample(volume, inner)
    if inner == (size, size, size):
        return resized
    faces = [np.moveaxis(volume, axis, 0)[at].reshape(-1, volume.shape[3]) for axis in range(3) for at in (0, -1)]
    cube = np.empty((size, size, size, volume.shape[3]), dtype=volume.dtype)
    cube[:] = np.median(np.concatenate(faces), axis=0).astype(volume.dtype)
    first = [(size - side) // 2 for side in inner]
    cube[tuple(slice(at, at + side) for at, side in zip(first, inner, strict=True))] = resized
    return cube


def _resample(volume: Pixels, shape: tuple[int, ...]) -> Pixels:
    values = volume.astype(np.float32)
    # the axis that shrinks most goes first: less is left for the others
    for axis in sorted(range(3), key=lambda axis: shape[axis] / volume.shape[axis]):
        if shape[axis] != volume.shape[axis]:
            turned = np.tensordot(_weights(volume.shape[axis], shape[axis]), values, axes=(1, axis))
            values = np.moveaxis(turned, 0, axis)
    low, high = volume.min((0, 1, 2)), volume.max((0, 1, 2))
    return np.asarray(np.clip(np.rint(values), low, high).astype(volume.dtype))


@cache
def _weights(old: int, new: int) -> NDArray[np.float32]:
    """(new, old) weights of cubic interpolation (a = -0.5), the kernel widened by old / new where that shrinks."""
    ratio = old / new
    centre = (np.arange(new)[:, None] + 0.5) * ratio
    distance = np.abs(np.arange(old)[None, :] + 0.5 - centre) / max(ratio, 1.0)
    near = (1.5 * distance - 2.5) * distance**2 + 1
    far = ((-0.5 * distance + 2.5) * distance - 4) * distance + 2
    weights = np.where(distance < 1, near, np.where(distance < 2, far, 0.0))
    return np.asarray(weights / weights.sum(1, keepdims=True), dtype=np.float32)
