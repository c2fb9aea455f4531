"""Kernels compile for a real GPU, without one: the simulator runs them as Python and sees no type that is wrong."""

import subprocess
import sys
from importlib.metadata import distributions

import pytest

CODE = """
import sys
from types import SimpleNamespace

import numba.cuda.dispatcher
from numba import cuda, types as t

# Kernels ask the device for no more than what it can do; this is an H100.
numba.cuda.dispatcher.get_current_device = lambda: SimpleNamespace(compute_capability=(9, 0))
import autossl.proxies.device

f2, f3, f4 = (t.Array(t.float32, k, "C") for k in (2, 3, 4))
d1, d2, d3 = (t.Array(t.float64, k, "C") for k in (1, 2, 3))
(i1, i2), (l1, l2) = ([t.Array(kind, k, "C") for k in (1, 2)] for kind in (t.int32, t.int64))
n, b = t.int64, t.boolean
KERNELS = {
    "arrays": {"_unit": (f2, f2)},
    "selection": {"_scan": (i2, n, n, i1, i1, l2, i1, l1, n, b), "_finish": (l2, i1, n, b, i2, i2)},
    "knn": {"_vote": (f2, i2, i1, n, i1, l1, l1, i1, b, l1, l1, d1, d3, f4)},
    "bootstrap": {
        "_count": (i2, i2), "_rank": (f2, l2, i1, i1, i2, i2), "_areas": (i2, i2, i2, d2), "_recall": (f2, i1, i1, i2)
    },
    "leave_out": {"_solve": (d2, d3, l1, l1)},
    "means": {"_without": (f2, l1, l2, d2, f2, f2)},
}
for module, kernels in KERNELS.items():
    found = vars(sys.modules["autossl.proxies.device." + module])
    for name, signature in kernels.items():
        assert ".entry" in cuda.compile_ptx(found[name].py_func, signature, cc=(9, 0))[0], name
    mine = {name for name, value in found.items() if getattr(value, "targetoptions", {}).get("device") is False}
    assert mine == set(kernels), (module, mine)
"""


NEEDED = {"numba-cuda", "nvidia-nvvm"}


@pytest.mark.skipif(not {d.name for d in distributions()} >= NEEDED, reason="numba-cuda[cu13] is not here")
def test_every_kernel_compiles() -> None:
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
