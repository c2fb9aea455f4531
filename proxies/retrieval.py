"""Retrieval of samples of the same class: how high they rank among all samples of other patients."""

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray

from autossl.proxies.checks import class_index, matrix
from autossl.proxies.metrics import mean_of_defined
from autossl.proxies.neighbours import Hidden, hide, index_of, nearest, unit_rows


@dataclass(frozen=True)
class Retrieval:
    """Retrieval scores and their values for each query; NaN for queries with nothing to find."""

    map_at_k: float
    r_precision: float
    k: int
    average_precision: NDArray[np.float64]  # (m,) at k
    r_precisions: NDArray[np.float64]  # (m,)


def retrieval(
    z: ArrayLike,
    y: ArrayLike,
    groups: ArrayLike | None = None,
    queries: ArrayLike | None = None,
    query_labels: ArrayLike | None = None,
    query_groups: ArrayLike | None = None,
    *,
    k: int = 10,
) -> Retrieval:
    """Ranks the samples z (n, d) by cosine similarity to each query and counts those of the query's class, y (n,).

    Without queries every sample asks all others, those of its own group (patient) left out, or else the nearest are
    images of the same lesion and the score measures identity. With queries (m, d) their labels (m,) are needed, and
    samples of the query's group are left out where both groups are given. Of equal similarities the lower index first.

    With R the samples of the class that the query may see: average precision at k is the sum over ranks i <= k that
    hold one of them of (share of them among the first i) / min(k, R); R-precision is their share among the first R
    (Manning et al. 2008, Introduction to Information Retrieval, chapter 8). Both lie in [0, 1], higher is better, and
    queries with R = 0 are dropped; torchmetrics counts those as 0 unless told otherwise, and trec_eval and R's
    Metrics divide by R, so that no query with R > k can reach 1. Values are NaN where no query is left.

    Every query weighs the same, so frequent classes dominate, and a random ranking scores about the class's share:
    compare only on the same samples. For errors use `bootstrap_mean` with the patients of the queries. Cost 2 n m d;
    memory per thread 8 * 512 * (2 max(k, R) + 512) bytes beside 8 MB of similarities, never n x m. ValueError for input
    that cannot be used.
    """
    rows = unit_rows(matrix(z))
    labels = class_index(y, 1 + int(np.max(np.asarray(y), initial=0)), len(rows))
    others, asked = _queries(rows, labels, queries, query_labels)
    if k < 1:
        raise ValueError(f"k must be at least 1, found {k}.")
    hidden = hide(len(rows), None if queries is None else len(others), groups, query_groups)
    relevant = _relevant(labels, asked, hidden)
    precision, shares = np.full(len(others), np.nan), np.full(len(others), np.nan)

    def judge(first: int, keys: NDArray[np.int64], counts: NDArray[np.int64]) -> None:
        _judge(keys, counts, first, labels, asked, relevant, k, precision, shares)

    nearest(others, rows, max(k, int(relevant.max())), hidden, judge)
    return Retrieval(float(mean_of_defined(precision)), float(mean_of_defined(shares)), k, precision, shares)


def _queries(
    rows: NDArray[np.float32], labels: NDArray[np.int64], queries: ArrayLike | None, query_labels: ArrayLike | None
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    if (queries is None) != (query_labels is None):
        raise ValueError("queries and query_labels must both be given, or neither, found one of them.")
    if queries is None or query_labels is None:
        return rows, labels
    others = unit_rows(matrix(queries, "queries"))
    if others.shape[1] != rows.shape[1]:
        raise ValueError(f"queries must have the {rows.shape[1]} dimensions of z, found {others.shape[1]}.")
    classes = 1 + int(np.max(np.asarray(query_labels), initial=0))
    return others, class_index(query_labels, classes, len(others), "query_labels")


def _relevant(labels: NDArray[np.int64], asked: NDArray[np.int64], hidden: Hidden) -> NDArray[np.int64]:
    """Counts for each query the samples of its class that it may see, (m,)."""
    members, starts, owner = hidden
    classes = 1 + int(max(labels.max(), asked.max()))
    group = np.empty(len(labels), np.int64)
    group[members] = np.repeat(np.arange(len(starts) - 1), np.diff(starts))
    pairs, sizes = np.unique(group * classes + labels, return_counts=True)
    wanted = owner * classes + asked  # negative, and so never found, where the query has no group
    place = np.minimum(np.searchsorted(pairs, wanted), len(pairs) - 1)
    own = np.where(pairs[place] == wanted, sizes[place], 0)
    relevant: NDArray[np.int64] = np.bincount(labels, minlength=classes)[asked] - own
    return relevant


@njit(cache=True, nogil=True)
def _judge(keys, counts, first, labels, asked, relevant, k, precision, shares):  # type: ignore[no-untyped-def]
    """Writes average precision at k and R-precision of one tile of queries that have something to find."""
    for row in range(keys.shape[0]):
        query = first + row
        total = relevant[query]
        if total == 0:
            continue
        hits = early = 0
        gained = 0.0
        for rank in range(min(counts[row], max(k, total))):
            if labels[index_of(keys[row, rank])] == asked[query]:
                hits += 1
                if rank < k:
                    gained += hits / (rank + 1)
                if rank < total:
                    early += 1
        precision[query] = gained / min(k, total)
        shares[query] = early / total
