"""From frames that lie in the patient to volumes: sorted along their normal, turned to the axes of the body."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from autossl.data.readers import dicom
from autossl.data.readers.images import Header, Unreadable, decode
from autossl.data.readers.instances import Instance, Plane

FEWEST = 8  # slices of a volume, which is the least side that data may have
SAME, GAP = 0.01, 1.5  # mm between positions that are one; times the usual distance that is a gap
STEEP = 0.02  # of the directions of planes that count as parallel
MOST_VALUES = 1 << 31
TO_BODY = np.diag([-1.0, -1.0, 1.0])  # DICOM counts to the left and the back, NIfTI and we to the right and the front
Frame = tuple[Path, int]


class Sorted(NamedTuple):
    """Planes in order along their normal, the first of each position."""

    order: tuple[int, ...]
    step: float  # mm between them in the median
    repeated: int  # planes where another lies already
    gaps: int


class Row(NamedTuple):
    """What a sample is made of: one frame, or the frames of a volume in order along their normal."""

    frames: tuple[Frame, ...]
    header: Header
    position: float | None = None  # of an image along the normal, in mm
    axes: tuple[int, ...] = ()  # of a volume: which of its axes are depth, height and width
    turned: tuple[int, ...] = ()  # and -1 where one runs the other way
    picture: bool = False  # a file of another form than DICOM


def sort(planes: Sequence[Plane]) -> Sorted:
    """Planes of one orientation, sorted by position along the normal."""
    first, second = np.array(planes[0].along).reshape(2, 3)
    along = np.array([plane.corner for plane in planes]) @ np.cross(first, second)
    order: list[int] = []
    for at in np.argsort(along, kind="stable").tolist():
        if not order or along[at] - along[order[-1]] > SAME:
            order.append(at)
    steps = np.diff(along[order])
    step = float(np.median(steps)) if len(steps) else 0.0
    return Sorted(tuple(order), step, len(planes) - len(order), int((steps > GAP * step).sum()))


def position(plane: Plane) -> float:
    """Where a plane lies along its normal, in mm."""
    first, second = np.array(plane.along).reshape(2, 3)
    return float(np.array(plane.corner) @ np.cross(first, second))


def parallel(first: Plane, second: Plane) -> bool:
    """Whether two planes have one orientation and grid."""
    apart = np.abs(np.subtract(first.along + first.spacing, second.along + second.spacing)).max()
    return bool(apart < STEEP)


def volume(instances: Sequence[tuple[Instance, int]], found: Sorted) -> Row:
    """A volume of these frames, sorted so."""
    chosen = [instances[at] for at in found.order]
    head, frame = chosen[0]
    plane = head.planes[frame]
    assert plane is not None
    across, down = np.array(plane.along).reshape(2, 3)
    # columns of this matrix: where d, h and w of the stack lead in the body
    lead = TO_BODY @ np.stack([np.cross(across, down), down, across], axis=1)
    axes, turned = _nearest(lead)
    spacing = np.array([found.step, *plane.spacing])[list(axes)]
    sides = np.array([len(chosen), *head.header.size])[list(axes)]
    white = min(each.header.white for each, _ in chosen)
    header = Header(tuple(sides.tolist()), head.header.channels, white, tuple(spacing.tolist()))
    return Row(tuple((each.path, at) for each, at in chosen), header, None, axes, turned)


def _nearest(lead: NDArray[np.float64]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """For depth (to the head), height (to the front) and width (to the right): which axis leads there, which way."""
    axes, left = list[int](), [0, 1, 2]
    for body in (2, 1, 0):
        best = max(left, key=lambda axis: abs(lead[body, axis]))
        left.remove(best)
        axes.append(best)
    return tuple(axes), tuple(1 if lead[2 - at, axis] >= 0 else -1 for at, axis in enumerate(axes))


def raw(row: Row) -> tuple[NDArray[Any], dicom.Ends | None]:
    """The values of a row, (h, w, c) or (d, h, w, c), and the ends of its window (in the median of its frames).

    Images are as they are stored, the first row on top. Volumes are turned to the nearest axes of the body: d towards
    the head, h to the front, w to the right, as those of NIfTI are; nothing is interpolated.
    """
    if row.picture:
        return decode(row.frames[0][0]), None
    if not row.axes:
        return dicom.raw(*row.frames[0])
    if np.prod(row.header.size, dtype=float) > MOST_VALUES:
        raise Unreadable("its headers say more voxels than a volume may hold")
    planes, ends = list[NDArray[Any]](), list[dicom.Ends]()
    for frame in row.frames:
        values, window = dicom.raw(*frame)
        if planes and values.shape != planes[0].shape:
            raise Unreadable("its slices have several sizes")
        planes.append(values.astype(np.float32) if values.dtype.kind == "f" else values)
        ends += [] if window is None else [window]
    stack = turned(np.stack(planes), row)
    if len(ends) < len(planes):
        return stack, None
    low, high = np.median(np.array(ends), axis=0).tolist()
    return stack, (low, high)


def turned(stack: NDArray[Any], row: Row) -> NDArray[Any]:
    """The frames (n, h, w[, c]) of a volume with its axes as `raw` orders them."""
    axes = stack.transpose(*row.axes, *range(3, stack.ndim))
    return axes[tuple(slice(None, None, way) for way in row.turned)]
