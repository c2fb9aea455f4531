"""Tells embeddings on a CUDA device from those in memory, and finds what scores them there."""

from types import ModuleType
from typing import cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from autossl.proxies.checks import matrix


def on_device(array: object) -> bool:
    """Whether an array lives on a CUDA device: a tensor of torch, an array of cupy, or `device.Rows` made of one.

    torch says so itself; of others the type is asked, for to read the interface may synchronise, or refuse.
    """
    found = getattr(array, "is_cuda", None)
    return bool(found) if found is not None else hasattr(type(array), "__cuda_array_interface__")


def device() -> ModuleType:
    """The subpackage for devices, which needs numba-cuda; it is imported when the first such array arrives."""
    try:
        from autossl.proxies import device as package
    except ImportError as error:
        raise ImportError(f"embeddings on a device need numba-cuda (the extra gpu), found none: {error}.") from error
    return package


def given(z: ArrayLike, name: str = "z") -> NDArray[np.float32]:
    """`checks.matrix` of embeddings (n, d) or, where they are on a device, `device.Rows` that reads like it."""
    return cast(NDArray[np.float32], device().rows_of(z, name)) if on_device(z) else matrix(z, name)
