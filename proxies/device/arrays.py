"""Arrays on a CUDA device: which library they belong to, embeddings as rows of one, and how kernels read them."""

import math
import sys
from dataclasses import dataclass
from functools import cached_property
from typing import Any, final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from autossl.proxies.checks import matrix
from autossl.proxies.device.libraries import Array, Library, NumpyLike, Torch
from autossl.proxies.device.target import SIMULATED, cuda, kernels_view
from autossl.proxies.dispatch import on_device
from autossl.proxies.tiles import spans

THREADS = 4 if SIMULATED else 256  # of a block, a power of two; the simulator starts a thread of the system for each
CHECKED = 65_536  # rows looked at at once for what is not finite


@final
class StandIn:
    """An array in memory (of NumPy, or a tensor of torch) that passes for one on a device under the simulator."""

    def __init__(self, array: Array) -> None:
        if not SIMULATED:
            raise ValueError("a stand-in needs the simulator of numba-cuda, found NUMBA_ENABLE_CUDASIM unset.")
        self.array = array

    @property
    def __cuda_array_interface__(self) -> Any:
        return np.asarray(self.array).__array_interface__

    def __len__(self) -> int:
        return len(self.array)


@dataclass(frozen=True, eq=False)
class Rows:
    """Finite float32 embeddings or scores (n, d) on a device, with their library.

    NumPy takes it for an array in memory: whoever asks for that gets a copy, which is made once. Scores that have no
    form for devices are computed so.
    """

    library: Library
    data: Array

    @property
    def is_cuda(self) -> bool:
        return True

    @property
    def shape(self) -> tuple[int, int]:
        return int(self.data.shape[0]), int(self.data.shape[1])

    @property
    def nbytes(self) -> int:
        return 4 * self.shape[0] * self.shape[1]

    @cached_property
    def in_memory(self) -> NDArray[np.float32]:
        """The copy in memory."""
        with self.library.current():
            found: NDArray[np.float32] = self.library.download(self.data)
        return found

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: Any) -> Any:
        return self.in_memory[index]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.array(self.in_memory, dtype=dtype, copy=copy)


def library_of(array: Any) -> tuple[Library, Array]:
    """The library of an array on a device, and the array as that library knows it; ValueError for any other."""
    if isinstance(array, Rows):
        return array.library, array.data
    bare = array.array if isinstance(array, StandIn) else array
    torch, cupy = sys.modules.get("torch"), sys.modules.get("cupy")
    if torch is not None and isinstance(bare, torch.Tensor):
        return Torch(torch, bare.device), bare
    if cupy is not None and isinstance(bare, cupy.ndarray):
        return NumpyLike(cupy, bare.device.id), bare
    if isinstance(array, StandIn):
        return NumpyLike(np), np.asarray(bare)
    raise ValueError(f"arrays on a device must be torch tensors or cupy arrays, found {type(array).__name__}.")


def rows_of(values: Any, name: str = "z") -> Rows:
    """Returns finite embeddings (n, d) as contiguous float32 on their device, in place if they are so already.

    Any other shape or kind, or a NaN, is the ValueError of `checks.matrix`. Memory: none for contiguous float32, else
    4 n d bytes; one read.
    """
    if isinstance(values, Rows):
        return values
    library, array = library_of(values)
    shape = tuple(array.shape)
    if len(shape) != 2 or 0 in shape:
        raise ValueError(f"{name} must be a matrix (samples, dimensions) with at least one of each, found {shape}.")
    if not library.real(array):
        raise ValueError(f"{name} must hold real numbers, found dtype {array.dtype}.")
    with library.current():
        data = library.cast(array, "float32")
        good = [library.download(library.finite_rows(data[a:b])) for a, b in spans(shape[0], CHECKED)]
    bad = np.flatnonzero(~np.concatenate(good))
    if bad.size:
        raise ValueError(
            f"{name} must be finite, found NaN or infinity in {len(bad)} rows (the first is row {bad[0]})."
        )
    return Rows(library, data)


def beside(rows: Rows, other: ArrayLike, name: str) -> Rows:
    """Other embeddings on the device of `rows`, copied there from memory if need be; the same number of dimensions."""
    if on_device(other):
        found = rows_of(other, name)
    else:
        with rows.library.current():
            found = Rows(rows.library, rows.library.upload(matrix(other, name)))
    if found.shape[1] != rows.shape[1]:
        raise ValueError(f"{name} must have the {rows.shape[1]} dimensions of z, found {found.shape[1]}.")
    return found


def unit_rows(rows: Rows) -> Rows:
    """A copy of the rows scaled to length 1; a row of zeros stays one. 4 n d bytes; a read and a write."""
    library = rows.library
    with library.current():
        scaled = library.empty(rows.shape, "float32")
        launch(library, _unit, len(rows), rows.data, scaled)
    return Rows(library, scaled)


def launch(
    library: Library, kernel: Any, blocks: int, *arguments: Any, shared: int = 0, threads: int = THREADS
) -> None:
    """Starts a kernel of `blocks` blocks on the library's stream; arrays are read and written in place."""
    kernel[blocks, threads, library.stream(), shared](*map(view, arguments))


def each(count: int, threads: int = THREADS) -> int:
    """Blocks for one thread an item; fewer in the simulator, where each thread then takes several."""
    return min((count + threads - 1) // threads, 2 if SIMULATED else 2**30)


def view(argument: Any) -> Any:
    """What a kernel takes for an argument; numbers stay what they are."""
    return argument if isinstance(argument, bool | int | float) else kernels_view(argument)


@cuda.jit(cache=True)
def _unit(rows, scaled):  # type: ignore[no-untyped-def]
    """One block a row: by the largest entry first, which avoids overflow, then by the length."""
    partial = cuda.shared.array(THREADS, np.float32)
    row, thread = cuda.blockIdx.x, cuda.threadIdx.x
    largest = np.float32(1.1754944e-38)
    for place in range(thread, rows.shape[1], THREADS):
        largest = max(largest, abs(rows[row, place]))
    partial[thread] = largest
    half = THREADS // 2
    while half > 0:
        cuda.syncthreads()
        if thread < half:
            partial[thread] = max(partial[thread], partial[thread + half])
        half //= 2
    cuda.syncthreads()
    largest = partial[0]
    cuda.syncthreads()
    total = np.float32(0)
    for place in range(thread, rows.shape[1], THREADS):
        value = rows[row, place] / largest
        total += value * value
    partial[thread] = total
    add_up(partial, thread)
    length = max(np.float32(math.sqrt(partial[0])), np.float32(1e-12))
    for place in range(thread, rows.shape[1], THREADS):
        scaled[row, place] = rows[row, place] / largest / length


@cuda.jit(device=True)
def add_up(partial, thread):  # type: ignore[no-untyped-def]
    """Adds up one number a thread of a block; all threads see the sum in the first place."""
    half = THREADS // 2
    while half > 0:
        cuda.syncthreads()
        if thread < half:
            partial[thread] += partial[thread + half]
        half //= 2
    cuda.syncthreads()
