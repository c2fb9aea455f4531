"""Compiles every kernel ahead of its first use."""

import time

import numpy as np

from autossl.proxies.bootstrap import bootstrap
from autossl.proxies.detections import matched
from autossl.proxies.dimension import mst_dimension, two_nn
from autossl.proxies.knn import knn_votes
from autossl.proxies.knn_values import knn_values
from autossl.proxies.leave_out import decompose, leave_out_in
from autossl.proxies.logistic import logistic
from autossl.proxies.measures import score
from autossl.proxies.objects import froc
from autossl.proxies.retrieval import retrieval
from autossl.proxies.ridge import ridge


def warm_up(everything: bool = True) -> float:
    """Runs every kernel, or those that a search uses, once on tiny inputs and returns the seconds it took.

    The first time on a machine this compiles (some 10 s); compiled kernels are kept beside the package or, where its
    folder is read-only, in the user's cache folder, and later processes read them in well under a second.
    """
    began = time.perf_counter()
    labels = np.arange(12) % 2
    z = np.linspace(0, 1, 12 * 3, dtype=np.float32).reshape(12, 3) ** 2
    knn_votes(z, labels, classes=2)
    fitted = ridge(z, labels, np.arange(12) // 2, classes=2)
    problem = decompose(z, np.eye(2)[labels], np.ones(12), recentre=True)
    for number in (np.float32, np.float64):
        none = np.zeros((1, 12, 2), np.float32)
        leave_out_in(np.dtype(number), problem, np.arange(12) // 2, np.ones(1), np.zeros(1, np.int64), none)
    bootstrap(labels, fitted.scores, metrics=("balanced_accuracy", "macro_auroc"), draws=2)
    for metric in ("balanced_accuracy", "macro_auroc"):
        score(metric, labels, fitted.scores)
    logistic(z, labels, classes=2, penalties=[1.0])
    if everything:
        spread = np.random.default_rng(0).random((20, 3), np.float32)
        two_nn(spread)
        mst_dimension(spread)
        bootstrap(labels, fitted.scores, metrics=("average_precision",), draws=2)
        bootstrap(z[:, 0], z[:, 1], metrics=("spearman",), draws=2)
        knn_values(z, z[:, 0])
        retrieval(z, labels)
        froc(np.ones((1, 2, 2)), np.ones((1, 2, 2), np.int64))
        matched(np.ones((1, 4)), np.zeros(1, np.int64), np.ones((1, 4)), np.zeros(1, np.int64))
        for metric in ("ap50", "mean_ap", "froc_score"):
            bootstrap(np.ones((1, 1)), np.ones((1, 1, 3)), metrics=(metric,), draws=2)
    return time.perf_counter() - began
