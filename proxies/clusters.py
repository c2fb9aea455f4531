"""Scores of k-means clusters: whether neighbours share them, and how well they name the classes."""

import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from threadpoolctl import threadpool_limits

from autossl.proxies.checks import class_index, group_index, matrix, score_matrix
from autossl.proxies.dimension import two_nn
from autossl.proxies.knn import knn_votes
from autossl.proxies.neighbours import unit_rows

Array = NDArray[np.float64]
Floats = NDArray[np.float32]
Integers = NDArray[np.int64]

FITTED = 20_000  # rows that k-means sees; all others are given to the nearest of its centres
STEPS = 50  # of k-means
PER_CLASS = 10  # clusters a class


@dataclass(frozen=True)
class Clid:
    """Cluster learnability in [0, 1] and intrinsic dimension, the two parts of CLID."""

    learnability: float
    dimension: float


@dataclass(frozen=True)
class Purity:
    """How well clusters name the classes, and the class scores of each sample."""

    balanced_accuracy: float
    miou: float
    scores: Floats  # (n, c), 1 for the class that the sample's cluster is named by, shared out among equals


def clid(
    z: ArrayLike, groups: ArrayLike | None = None, *, clusters: int | None = None, k: int = 1, seed: int = 0
) -> Clid:
    """Learnability and dimension side by side (CLID; Lu et al. 2022, arXiv 2206.01251): many, but simple, distinctions.

    See `cluster_learnability` and `two_nn`. The paper adds the two, each standardised over the models that are
    compared, so that CLID of a single model does not exist. For both, higher is better in the paper.
    """
    return Clid(cluster_learnability(z, groups, clusters=clusters, k=k, seed=seed), two_nn(z, seed=seed))


def cluster_learnability(
    z: ArrayLike, groups: ArrayLike | None = None, *, clusters: int | None = None, k: int = 1, seed: int = 0
) -> float:
    """Accuracy of k-NN for the k-means cluster of each row, predicted from the other rows.

    The learnability of CLID (Lu et al. 2022, arXiv 2206.01251), there the learning speed of a k-NN classifier, its
    mean accuracy as rows arrive. This is what it ends at: leave-one-out, with `groups` leave-patient-out; public code
    that stores a half as the bank and predicts the other lies between. Rows of z (n, d) are scaled to length 1 for
    k-means as for k-NN, whose votes count alike (for k > 1, weighted at T = 0.07). Without `clusters` there are
    sqrt(n) of them, at most 100.

    In [0, 1]; higher is better, but 1 for embeddings that have collapsed to a few points: read it with a dimension,
    see `clid`. It falls with the number of clusters and rises with n; compare at equal n, clusters and seed. Copies of
    an image, and without groups images of one patient, make it too high. A row that may see no other counts as missed.
    n^2 d products and 50 n d clusters. ValueError for input that cannot be used.
    """
    rows = unit_rows(matrix(z))
    count = min(100, max(2, int(np.sqrt(len(rows))))) if clusters is None else clusters
    if count < 2:
        raise ValueError(f"clusters must be at least 2, found {clusters}.")
    labels = kmeans(rows, count, seed)
    votes = knn_votes(rows, labels, ks=(k,), temperatures=(0.07,), classes=count, groups=groups, balanced=False)[0, 0]
    blind = votes.max(axis=1) == votes.min(axis=1)  # equal votes for all clusters: no other row to see
    return float(np.mean((votes.argmax(axis=1) == labels) & ~blind))


def purity(
    z: ArrayLike,
    y: ArrayLike,
    groups: ArrayLike | None = None,
    *,
    clusters: int | None = None,
    classes: int | None = None,
    balanced: bool = False,
    seed: int = 0,
) -> Purity:
    """How well clusters, more than classes, tell the class when each is named by the majority of its members.

    z (n, d), images or patch tokens; y (n,) class indices, or (n, c) how much of each class is in a token (>= 0, such
    as shares of pixels; a row may sum to less where pixels have no label). Rows are scaled to length 1 and cut into
    `clusters` by k-means, without labels; without `clusters` into 10 a class (5 to 20 are usual for over-clustering,
    see Ji et al. 2019, arXiv 1807.06653). A cluster gets the class with the largest sum of y among its members. With
    `groups` it is named for each sample by the members of the other groups, so that a patient does not vote for
    itself; without, each sample votes for its own name, and random labels score far above chance with many clusters.
    With `balanced` votes count 1 / the class's sum, which names rare classes more often. Equal sums, and clusters
    without members from other groups, share the prediction out evenly, so that random labels score 1 / c with groups
    (some 1 / groups less, as the others of a finite sample have more of what one is not).

    Balanced accuracy is the mean recall and mIoU the mean intersection over union, by mass of y, over the classes
    that y has; both in [0, 1], higher is better. It favours embeddings whose large directions are those of the
    classes; small directions that a linear probe would find do not form clusters. Repeat with other seeds: k-means
    starts once and finds a local optimum.

    50 n d clusters operations for at most 20,000 rows drawn from `seed`, n d clusters for the rest; memory 4 n d
    + 12 n c bytes and that of k-means. ValueError for input that cannot be used.
    """
    rows = unit_rows(matrix(z))
    mass = _mass(y, classes, len(rows))
    labels = kmeans(rows, PER_CLASS * mass.shape[1] if clusters is None else clusters, seed)
    owner = np.zeros(len(rows), np.int64) if groups is None else group_index(groups, len(rows))
    pair, place = np.unique(owner * (labels.max() + 1) + labels, return_inverse=True)  # of a group and a cluster
    own = _sums(mass, place)
    names = _names(own, *np.divmod(pair, labels.max() + 1), grouped=groups is not None, balanced=balanced)
    return Purity(*_agreement(own.T @ names), names[place].astype(np.float32))


def named_in_folds(z: ArrayLike, y: ArrayLike, folds: Integers, *, classes: int, seed: int = 0) -> Floats:
    """What `purity` names each sample, (n, c), by clusters that are made and named without the sample's fold.

    Clusters made of all samples know which patients are large, and patients that fill a cluster name nobody.
    z (n, d), y (n,) class indices, folds (n,). With one fold only all classes are alike.
    """
    rows = unit_rows(matrix(z))
    mass = _mass(y, classes, len(rows))
    scores = np.full(mass.shape, 1 / classes, np.float32)
    for fold in range(int(folds.max()) + 1 if folds.any() else 0):
        seen = folds != fold
        labels = kmeans(rows, PER_CLASS * classes, seed, rows[seen])
        votes = np.zeros((int(labels.max()) + 1, classes))
        np.add.at(votes, labels[seen], mass[seen])
        best = votes == votes.max(axis=1, keepdims=True)
        scores[~seen] = (best / best.sum(axis=1, keepdims=True))[labels[~seen]]
    return scores


def kmeans(rows: Floats, clusters: int, seed: int, fitted: Floats | None = None) -> Integers:
    """Returns the k-means cluster (n,) of each row, in [0, clusters); some may be empty where rows are equal.

    The centres are those of `fitted`, without them of the rows themselves.

    One thread: scikit-learn's sums depend on which of several threads ends first, and one seed shall give one result.
    """
    if clusters < 1:
        raise ValueError(f"clusters must be positive, found {clusters}.")
    # here, because they take time to import
    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning

    fitted = rows if fitted is None else fitted
    if len(fitted) > FITTED:
        fitted = fitted[np.sort(np.random.default_rng(seed).permutation(len(fitted))[:FITTED])]
    model = KMeans(min(clusters, len(fitted)), n_init=1, max_iter=STEPS, random_state=seed)
    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # fewer different rows than clusters
        model.fit(fitted)
        labels = model.labels_ if fitted is rows else model.predict(rows)
    return np.asarray(labels, np.int64)


def _mass(y: ArrayLike, classes: int | None, rows: int) -> Array:
    """Returns how much of each class each sample has, (n, c)."""
    array = np.asarray(y)
    if array.ndim == 2:
        mass = score_matrix(array, rows, classes)
        if mass.min(initial=0) < 0 or mass.sum() <= 0:
            raise ValueError(f"y (n, c) must not be negative nor all 0, found {mass.min()} to {mass.max()}.")
        return mass
    count = classes or 1 + int(np.max(array, initial=0))
    return np.eye(count)[class_index(array, count, rows)]


def _names(own: Array, group: Integers, cluster: Integers, *, grouped: bool, balanced: bool) -> Array:
    """Names the cluster of each pair of a group and a cluster, whose members have the mass `own` (pairs, c).

    Returns (pairs, c): 1 for the class with most votes; equal votes share it out evenly.
    """
    votes, totals = _sums(own, cluster)[cluster], np.broadcast_to(own.sum(axis=0), own.shape)
    rounding = 1e-9 * votes.sum(axis=1, keepdims=True)  # what is left where one's own votes are taken off
    if grouped:
        votes, totals = votes - own, totals - _sums(own, group)[group]
    if balanced:
        scale = np.where(totals > 1e-9 * own.sum(), 1 / np.maximum(totals, 1e-300), 0)
        votes, rounding = votes * scale, rounding * scale.max(axis=1, keepdims=True)
    best = votes >= votes.max(axis=1, keepdims=True) - rounding
    names: Array = best / best.sum(axis=1, keepdims=True)
    return names


def _sums(values: Array, owner: Integers) -> Array:
    """Adds up rows (n, c) by owner, (owners, c)."""
    return np.stack([np.bincount(owner, weights=column) for column in values.T], axis=1)


def _agreement(confusion: Array) -> tuple[float, float]:
    """Returns balanced accuracy and mean intersection over union from mass by true and named class (c, c)."""
    present = confusion.sum(axis=1) > 0
    right, true = np.diag(confusion), confusion.sum(axis=1)
    union = true + confusion.sum(axis=0) - right
    return float(np.mean(right[present] / true[present])), float(np.mean(right[present] / union[present]))
