"""The arrays' own library, found among the loaded modules: products, sorting, solving and copies on their device."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from autossl.proxies.device.target import cuda

Array = Any  # of the library: a torch tensor, a cupy array or, under the simulator, a NumPy array


class Library(ABC):
    """What a library does for arrays of one device; indexing and arithmetic are alike in all of them."""

    @abstractmethod
    def cast(self, array: Array, dtype: str) -> Array:
        """A contiguous array of that type, the same one if it is so already; it carries no gradient."""

    @abstractmethod
    def empty(self, shape: tuple[int, ...], dtype: str) -> Array: ...

    @abstractmethod
    def zeros(self, shape: tuple[int, ...], dtype: str) -> Array: ...

    @abstractmethod
    def upload(self, array: NDArray[Any]) -> Array: ...

    @abstractmethod
    def download(self, array: Array) -> NDArray[Any]: ...

    @abstractmethod
    def real(self, array: Array) -> bool:
        """Whether it holds real numbers: floating point, integers or booleans."""

    @abstractmethod
    def finite_rows(self, array: Array) -> Array:
        """Whether all of each row is finite, (n,) booleans."""

    @abstractmethod
    def product(self, rows: Array, bank: Array, out: Array) -> None:
        """Writes rows @ bank' to `out`."""

    @abstractmethod
    def bits(self, array: Array, dtype: str) -> Array:
        """The same memory read as another type of the same size."""

    @abstractmethod
    def argsort(self, array: Array) -> Array:
        """Ascending order along the last axis, int64."""

    @abstractmethod
    def solve(self, left: Array, right: Array) -> Array:
        """Solves a batch of systems, (b, s, s) and (b, s, c)."""

    @abstractmethod
    def stream(self) -> Any:
        """The stream on which the library works now: kernels join it, so that nothing need be waited for."""

    @contextmanager
    def current(self) -> Iterator[None]:
        """While it lasts, the arrays' device is the current one, of the library and of the kernels."""
        yield


@final
class NumpyLike(Library):
    """cupy or, under the simulator, NumPy."""

    def __init__(self, module: ModuleType, device: int = 0) -> None:
        self.of, self.device = module, device

    def cast(self, array: Array, dtype: str) -> Array:
        with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite and is refused
            return self.of.ascontiguousarray(array, dtype=dtype)

    def empty(self, shape: tuple[int, ...], dtype: str) -> Array:
        return self.of.empty(shape, dtype)

    def zeros(self, shape: tuple[int, ...], dtype: str) -> Array:
        return self.of.zeros(shape, dtype)

    def upload(self, array: NDArray[Any]) -> Array:
        return self.of.array(array)

    def download(self, array: Array) -> NDArray[Any]:
        return np.array(array) if self.of is np else np.asarray(self.of.asnumpy(array))

    def real(self, array: Array) -> bool:
        return array.dtype.kind in "fiub"

    def finite_rows(self, array: Array) -> Array:
        return self.of.isfinite(array).all(axis=1)

    def product(self, rows: Array, bank: Array, out: Array) -> None:
        self.of.matmul(rows, bank.T, out=out)

    def bits(self, array: Array, dtype: str) -> Array:
        return array.view(dtype)

    def argsort(self, array: Array) -> Array:
        return self.of.argsort(array, axis=-1)

    def solve(self, left: Array, right: Array) -> Array:
        return self.of.linalg.solve(left, right)

    def stream(self) -> Any:
        return 0 if self.of is np else external(self.of.cuda.get_current_stream().ptr)

    @contextmanager
    def current(self) -> Iterator[None]:
        if self.of is np:
            yield
            return
        with self.of.cuda.Device(self.device), cuda.gpus[self.device]:
            yield


@final
class Torch(Library):
    """torch; under the simulator its tensors in memory."""

    def __init__(self, module: ModuleType, device: Any) -> None:
        self.of, self.device = module, device

    def cast(self, array: Array, dtype: str) -> Array:
        return array.detach().as_subclass(self.of.Tensor).to(getattr(self.of, dtype)).contiguous()

    def empty(self, shape: tuple[int, ...], dtype: str) -> Array:
        return self.of.empty(shape, dtype=getattr(self.of, dtype), device=self.device)

    def zeros(self, shape: tuple[int, ...], dtype: str) -> Array:
        return self.of.zeros(shape, dtype=getattr(self.of, dtype), device=self.device)

    def upload(self, array: NDArray[Any]) -> Array:
        return self.of.tensor(np.ascontiguousarray(array), device=self.device)

    def download(self, array: Array) -> NDArray[Any]:
        return np.array(array.cpu().numpy())

    def real(self, array: Array) -> bool:
        return not (array.is_complex() or array.is_quantized)

    def finite_rows(self, array: Array) -> Array:
        return self.of.isfinite(array).all(dim=1)

    def product(self, rows: Array, bank: Array, out: Array) -> None:
        self.of.matmul(rows, bank.T, out=out)

    def bits(self, array: Array, dtype: str) -> Array:
        return array.view(getattr(self.of, dtype))

    def argsort(self, array: Array) -> Array:
        return self.of.argsort(array, dim=-1)

    def solve(self, left: Array, right: Array) -> Array:
        return self.of.linalg.solve(left, right)

    def stream(self) -> Any:
        return external(self.of.cuda.current_stream(self.device).cuda_stream) if self.device.type == "cuda" else 0

    @contextmanager
    def current(self) -> Iterator[None]:
        if self.device.type != "cuda":
            yield
            return
        index = self.device.index or 0
        with self.of.cuda.device(index), cuda.gpus[index]:
            yield


def external(pointer: int) -> Any:
    """A stream of another library for kernels to be launched on; 0 is the default stream of both."""
    return cuda.external_stream(pointer) if pointer else 0
