"""Numba's CUDA target, most of whose names type checkers cannot see."""

from importlib import import_module
from typing import Any

import numpy as np

cuda: Any = import_module("numba.cuda")
SIMULATED: bool = bool(import_module("numba").config.ENABLE_CUDASIM)  # NUMBA_ENABLE_CUDASIM=1: run by the interpreter
if not SIMULATED:
    import_module("numba.cuda.dispatcher").config.CUDA_LOW_OCCUPANCY_WARNINGS = 0  # a tile of few queries is no mistake


def kernels_view(array: Any) -> Any:
    """What a kernel takes for an array of another library: the same memory, without a copy."""
    if SIMULATED:
        return import_module("numba.cuda.simulator.cudadrv.devicearray").FakeCUDAArray(np.asarray(array))
    return cuda.as_cuda_array(array, sync=False)  # the kernel joins the stream on which the array is made
