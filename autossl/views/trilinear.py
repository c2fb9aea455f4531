"""Trilinear sampling of volumes on a CPU from the knots of each line of voxels: no grid of places in memory."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from math import ceil
from typing import Any

import numpy as np
import torch
from torch import Tensor

from autossl.proxies.compiled import njit

KNOTS = 4  # of a line; written out below: a loop over them is three times as slow
F = np.float32
kernel = njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract", "nnan", "nsz"})


def sampled(x: Tensor, lines: Tensor, hats: Tensor) -> Tensor:
    """Float32 volumes (b, c, d, h, w) at other places; what lies outside takes the value of the border.

    `lines` (b, d, h, KNOTS, 3) are the places (x, y, z), in voxels, of the knots of each line of voxels along w; the
    places between them are `hats` (KNOTS, w) times the knots. Runs in as many threads as torch may use, which take no
    part in its pool: kernels release the interpreter lock, and nothing spins.
    """
    out = torch.empty_like(x, memory_format=torch.contiguous_format)
    volumes, knots, weights, result = (
        t.contiguous().numpy() for t in (x.flatten(2), lines.flatten(0, 1).mT, hats, out)
    )
    planes, threads = len(knots), torch.get_num_threads()
    size = ceil(planes / threads)
    starts = range(0, planes, size)

    def work(start: int) -> None:
        _sample(volumes, knots, weights, start, min(start + size, planes), result)

    _run(work, starts, threads)
    return out


def _run(work: Callable[[int], None], starts: range, threads: int) -> None:
    if threads == 1:
        for start in starts:
            work(start)
        return
    with ThreadPoolExecutor(threads) as pool:
        for _ in pool.map(work, starts):
            pass


def warm_up() -> None:
    """Compiles the kernels ahead of their first use; later processes read them from the cache."""
    sampled(torch.zeros(1, 1, 2, 2, 2), torch.zeros(1, 2, 2, KNOTS, 3), torch.zeros(KNOTS, 2))


@kernel
def _sample(x: Any, knots: Any, hats: Any, start: int, stop: int, out: Any) -> None:
    """Planes `start` to `stop` of all volumes laid end to end."""
    channels, d, h, w = out.shape[1:]
    at = np.empty(w, np.uint32)
    part = np.empty((3, w), np.float32)
    step = (np.uint32(w > 1), np.uint32(w if h > 1 else 0), np.uint32(h * w if d > 1 else 0))
    for plane in range(start, stop):
        volume, z = plane // d, plane % d
        for y in range(h):
            at[:] = 0
            for axis, side in enumerate((w, h, d)):
                _place(knots[plane, y, axis], hats, side, step[axis], at, part[axis])
            for channel in range(channels):
                _mix(x[volume, channel], at, part, step, out[volume, channel, z, y])


@kernel
def _place(knots: Any, hats: Any, side: int, step: Any, at: Any, part: Any) -> None:
    """Adds to `at` the offset of the voxel below each place along one axis; `part` is how far beyond it, in [0, 1]."""
    last, below = F(side - 1), np.int32(max(side - 2, 0))
    first, second, third, fourth = knots[0], knots[1], knots[2], knots[3]
    for t in range(len(at)):
        place = first * hats[0, t] + second * hats[1, t] + third * hats[2, t] + fourth * hats[3, t]
        place = min(max(place, F(0)), last)
        voxel = min(np.int32(place), below)
        part[t] = place - F(voxel)
        at[t] += np.uint32(voxel) * step


@kernel
def _mix(x: Any, at: Any, part: Any, step: Any, out: Any) -> None:
    """The eight voxels around each place, mixed along w, then h, then d. Unsigned offsets: none counts from the end."""
    right, down, behind = step
    for t in range(len(out)):
        a = at[t]
        b, c = np.uint32(a + down), np.uint32(a + behind)
        d = np.uint32(c + down)
        across = part[0, t]
        top = x[a] + across * (x[np.uint32(a + right)] - x[a])
        bottom = x[b] + across * (x[np.uint32(b + right)] - x[b])
        top_behind = x[c] + across * (x[np.uint32(c + right)] - x[c])
        bottom_behind = x[d] + across * (x[np.uint32(d + right)] - x[d])
        front = top + part[1, t] * (bottom - top)
        back = top_behind + part[1, t] * (bottom_behind - top_behind)
        out[t] = front + part[2, t] * (back - front)
