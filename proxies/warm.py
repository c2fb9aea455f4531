"""Compiles every kernel ahead of its first use."""

import time

import numpy as np

from autossl.proxies.bootstrap import bootstrap
from autossl.proxies.knn import knn_votes
from autossl.proxies.metrics import macro_auroc
from autossl.proxies.ridge import ridge


def warm_up() -> float:
    """Runs every kernel once on tiny inputs and returns the seconds it took.

    The first time on a machine this compiles (some 10 s); compiled kernels are kept beside the package or, where its
    folder is read-only, in the user's cache folder, and later processes read them in well under a second.
    """
    began = time.perf_counter()
    labels = np.arange(12) % 2
    z = np.linspace(0, 1, 12 * 3, dtype=np.float32).reshape(12, 3) ** 2
    knn_votes(z, labels, classes=2)
    fitted = ridge(z, labels, np.arange(12) // 2, classes=2)
    bootstrap(labels, fitted.scores, draws=2)
    macro_auroc(labels, fitted.scores)
    return time.perf_counter() - began
