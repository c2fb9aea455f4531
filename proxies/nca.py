"""k-NN in the space that neighbourhood components analysis learns, scored on folds of whole patients."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from autossl.proxies.checks import class_index, group_index, matrix
from autossl.proxies.folds import judging_folds
from autossl.proxies.moments import spanned


def nca_knn(
    z: ArrayLike,
    y: ArrayLike,
    groups: ArrayLike | None = None,
    *,
    classes: int,
    components: int = 50,
    k: int = 5,
    folds: int = 3,
    steps: int = 50,
    limit: int = 2000,
    seed: int = 0,
) -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.int64]]:
    """Votes (m, classes) of the k nearest neighbours in the learnt space, for which samples (m,), and their folds (m,).

    Neighbourhood components analysis (Goldberger et al. 2004) learns a linear map of z (n, d) to `components`
    dimensions, starting from principal components; k-NN is Euclidean there, unweighted. Each of the `judging_folds`
    is scored by the map and the neighbours of the others. Public code scores the points it was fitted on,
    which rewards memory. At most `limit` samples: a step costs n^2 d. With one fold only, votes are 1 / classes.
    """
    # here, because it takes time to import
    from sklearn.neighbors import KNeighborsClassifier, NeighborhoodComponentsAnalysis

    whole = matrix(z)
    labels = class_index(y, classes, len(whole))
    index = np.arange(len(whole))
    if len(whole) > limit:
        index = np.sort(np.random.default_rng(seed).permutation(len(whole))[:limit])
    rows, labels = spanned(whole[index])[0].astype(np.float64), labels[index]
    fold = judging_folds(labels, group_index(groups, len(whole))[index], most=folds)
    votes = np.full((len(rows), classes), 1 / classes, np.float32)
    count = int(fold.max()) + 1
    if count < 2:
        return votes, index, fold
    scale = max(float(rows.std(axis=0).max()), 1e-30)
    for part in range(count):
        seen, out = fold != part, fold == part
        if len(np.unique(labels[seen])) < 2:
            continue
        learnt = NeighborhoodComponentsAnalysis(
            min(components, rows.shape[1], int(seen.sum())), init="pca", max_iter=steps, random_state=seed
        ).fit(rows[seen] / scale, labels[seen])
        nearest = KNeighborsClassifier(min(k, int(seen.sum()))).fit(learnt.transform(rows[seen] / scale), labels[seen])
        votes[out] = 0
        votes[np.ix_(out, nearest.classes_)] = nearest.predict_proba(learnt.transform(rows[out] / scale))
    return votes, index, fold
