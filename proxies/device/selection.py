"""The nearest of each query on a device: tiles of similarities by the library, selected in one read by a kernel."""

from dataclasses import dataclass
from typing import final

import numpy as np
from numba import int64

from autossl.proxies.device.arrays import THREADS, Rows, launch
from autossl.proxies.device.libraries import Array
from autossl.proxies.device.target import cuda
from autossl.proxies.tiles import spans

TILE_ROWS, TILE_COLUMNS = 2048, 32_768  # 256 MB of similarities
EACH = 4  # similarities that a thread looks at before its block counts the candidates
STEP = THREADS * EACH
SHARED = 4096  # candidates that are sorted in shared memory (32 KB); more: where they lie
LOWEST = -(2**63)


@dataclass(frozen=True)
class Hidden:
    """What each query may not see, on the device: bank items of its own group."""

    groups: Array  # (n,) of the bank, int32
    owners: Array  # (m,) of the queries, int32, -1 for none


@dataclass(frozen=True)
class Nearest:
    """The neighbours of one tile of queries, nearest first; of equal similarities the lower bank index first."""

    similarities: Array  # (rows, k) float32
    index: Array  # (rows, k) int32
    counts: Array  # (rows,) int32, how many of the k there are


@final
class Selector:
    """Finds the k nearest of a bank (n, d) of unit rows for one tile of so many queries after the other.

    Memory on the device: 4 * 2048 * 32,768 bytes for similarities and 2048 * capacity * 8 for candidates, capacity
    being the next power of two from max(2 k, k + 1024). Similarities are written and read once; one block a query
    keeps those above its floor, the k-th best when the candidates were last cut back, and sorts them when they might
    overflow: some log(n / k) times for a bank in no order.
    """

    def __init__(self, bank: Rows, k: int, queries: int = TILE_ROWS) -> None:
        self.bank, self.k = bank, min(k, len(bank))
        self.capacity = 1 << (max(2 * self.k, self.k + STEP) - 1).bit_length()
        library, rows = bank.library, min(TILE_ROWS, queries)
        with library.current():
            self._tile = library.empty((rows * min(TILE_COLUMNS, len(bank)),), "float32")
            self._keys = library.empty((rows, self.capacity), "int64")
            self._bits = library.empty((rows, self.k), "int32")
            self._index = library.empty((rows, self.k), "int32")

    def nearest(self, queries: Array, first: int, hidden: Hidden) -> Nearest:
        """The neighbours of at most TILE_ROWS queries (rows, d), the first of which is number `first`.

        What it returns is overwritten by the next call.
        """
        library, rows, k = self.bank.library, len(queries), self.k
        counts, floors = library.zeros((rows,), "int32"), library.zeros((rows,), "int64")
        floors[:] = LOWEST
        shared = self.capacity <= SHARED
        memory = 8 * self.capacity if shared else 0
        for start, stop in spans(len(self.bank), TILE_COLUMNS):
            tile = self._tile[: rows * (stop - start)].reshape(rows, stop - start)
            library.product(queries, self.bank.data[start:stop], tile)
            bits = library.bits(tile, "int32")
            state = (hidden.groups, hidden.owners, self._keys, counts, floors, k, shared)
            launch(library, _scan, rows, bits, first, start, *state, shared=memory)
        launch(library, _finish, rows, self._keys, counts, k, shared, self._bits, self._index, shared=memory)
        return Nearest(library.bits(self._bits[:rows], "float32"), self._index[:rows], counts)


@cuda.jit(cache=True)
def _scan(bits, first, offset, groups, owners, keys, counts, floors, k, shared):  # type: ignore[no-untyped-def]
    """Adds to a query's candidates what exceeds its floor and is not of its own group.

    Bank items come in ascending order, so that an equal similarity in a later step is never among the k best.
    """
    row, thread = cuda.blockIdx.x, cuda.threadIdx.x
    held = keys[row]
    work = held
    if shared:
        work = cuda.shared.array(0, int64)
    count = cuda.shared.array(1, int64)
    own, floor, width = owners[first + row], floors[row], bits.shape[1]
    if thread == 0:
        count[0] = counts[row]
    cuda.syncthreads()
    for start in range(0, width, STEP):
        found = count[0]
        cuda.syncthreads()  # all threads have read the count before any of them adds to it
        if found + STEP > held.shape[0]:
            _cut(held, work, found, k)
            floor = held[k - 1] >> 32
            if thread == 0:
                count[0] = k
            cuda.syncthreads()
        for turn in range(EACH):
            column = start + turn * THREADS + thread
            if column < width:
                value = _ordered(bits[row, column])
                if value > floor and groups[offset + column] != own:
                    place = cuda.atomic.add(count, 0, 1)
                    held[place] = (value << 32) | (int64(0xFFFFFFFF) - int64(offset + column))
        cuda.syncthreads()
    if thread == 0:
        counts[row] = count[0]
        floors[row] = floor


@cuda.jit(cache=True)
def _finish(keys, counts, k, shared, bits, index):  # type: ignore[no-untyped-def]
    """Sorts each query's candidates and takes the keys of the k best apart."""
    row, thread = cuda.blockIdx.x, cuda.threadIdx.x
    held = keys[row]
    work = held
    if shared:
        work = cuda.shared.array(0, int64)
    found = counts[row]
    _cut(held, work, found, k)
    count = min(int64(found), int64(k))
    for place in range(thread, count, THREADS):
        value = held[place] >> 32
        bits[row, place] = value if value >= 0 else value ^ int64(0x7FFFFFFF)
        index[row, place] = int64(0xFFFFFFFF) - (held[place] & int64(0xFFFFFFFF))
    if thread == 0:
        counts[row] = count


@cuda.jit(device=True)
def _ordered(bits):  # type: ignore[no-untyped-def]
    """An integer that sorts as the float32 with these bits does; -0 and 0 are equal."""
    value = int64(bits)
    if value == int64(-0x80000000):
        value = int64(0)
    return value if value >= 0 else value ^ int64(0x7FFFFFFF)


@cuda.jit(device=True)
def _cut(held, work, found, k):  # type: ignore[no-untyped-def]
    """Leaves the k largest of the first `found` keys in front, in descending order; `work` may be `held` itself."""
    size = 1
    while size < found:
        size *= 2
    for place in range(cuda.threadIdx.x, size, THREADS):
        work[place] = held[place] if place < found else int64(LOWEST)
    cuda.syncthreads()
    _sort(work, size)
    for place in range(cuda.threadIdx.x, min(found, k), THREADS):
        held[place] = work[place]
    cuda.syncthreads()


@cuda.jit(device=True)
def _sort(work, size):  # type: ignore[no-untyped-def]
    """Sorts a power of two of keys in descending order (Batcher's bitonic network, AFIPS 1968)."""
    span = 2
    while span <= size:
        step = span // 2
        while step > 0:
            for pair in range(cuda.threadIdx.x, size // 2, THREADS):
                low = ((pair & ~(step - 1)) << 1) | (pair & (step - 1))
                left, right = work[low], work[low + step]
                if (left < right) == ((low & span) == 0):
                    work[low], work[low + step] = right, left
            cuda.syncthreads()
            step //= 2
        span *= 2


def ids(values: np.ndarray) -> np.ndarray:
    """Groups or labels as kernels read them."""
    return np.ascontiguousarray(values, dtype=np.int32)
