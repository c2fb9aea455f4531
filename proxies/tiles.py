"""Runs independent tiles of work in threads, with one thread pool active at a time."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

from threadpoolctl import ThreadpoolController


def spans(rows: int, size: int) -> list[tuple[int, int]]:
    """Cuts `rows` into consecutive (start, stop) of at most `size`; never depends on the number of threads."""
    return [(start, min(start + size, rows)) for start in range(0, rows, size)]


def run_tiles(work: Callable[[int, int], None], bounds: Sequence[tuple[int, int]]) -> None:
    """Calls `work(start, stop)` for each tile, in as many threads as BLAS may use; errors are passed on.

    While tiles run, each BLAS call has one thread: a product and the kernel that consumes it stay on one core and in
    its cache, and the threads of BLAS do not spin beside those of the kernels. Kernels release the interpreter lock;
    Numba's own pool is not used (its portable layer aborts the process when two threads enter it).
    """
    if len(bounds) < 2:
        for start, stop in bounds:
            work(start, stop)
        return
    blas = _blas()
    workers = min([len(bounds), *(library["num_threads"] for library in blas.info())])
    with blas.limit(limits=1):
        if workers == 1:
            for start, stop in bounds:
                work(start, stop)
            return
        with ThreadPoolExecutor(workers) as pool:
            for _ in pool.map(lambda bound: work(*bound), bounds):
                pass


@cache
def _blas() -> Any:
    """Finds the BLAS libraries that are loaded; NumPy's is from the start, and it is the only one in use here."""
    return ThreadpoolController().select(user_api="blas")
