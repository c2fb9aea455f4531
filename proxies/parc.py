"""PARC: whether embeddings that differ belong to labels that differ."""

import numpy as np
from numpy.typing import ArrayLike

from autossl.proxies.checks import matrix
from autossl.proxies.moments import moments
from autossl.proxies.neighbours import unit_rows


def parc(
    z: ArrayLike,
    y: ArrayLike,
    *,
    classes: int | None = None,
    components: int = 32,
    limit: int = 3000,
    seed: int = 0,
) -> float:
    """Spearman correlation over pairs of samples between the distance of embeddings and that of labels.

    Bolya et al. 2021, arXiv 2111.06977: distances are 1 minus the Pearson correlation, of rows of z (n, d) in their
    first principal components and of one-hot labels y (n,). Labels either agree or differ, so that their ranks take
    two values. In [-1, 1]; higher is better; NaN with one class only or two samples. At most `limit` samples, drawn
    from `seed`: n^2 / 2 pairs are ranked, 40 bytes each.
    """
    from scipy.stats import rankdata  # here, because it takes time to import

    whole = matrix(z)
    index = np.arange(len(whole))
    if len(whole) > limit:
        index = np.sort(np.random.default_rng(seed).permutation(len(whole))[:limit])
    m = moments(whole[index], np.asarray(y)[index], classes)
    projected = ((m.rows - m.mean) @ m.centred[1][:, -components:]).astype(np.float32)
    if projected.shape[1] < 2 or len(m.present) < 2:
        return float("nan")
    unit = unit_rows(projected - projected.mean(axis=1, keepdims=True))
    first, second = np.triu_indices(len(unit), 1)
    distances = 1 - (unit @ unit.T)[first, second]
    differ = m.labels[first] != m.labels[second]
    if not 0 < differ.sum() < len(differ):
        return float("nan")
    ranks = rankdata(distances)
    return float(np.corrcoef(ranks, differ)[0, 1]) if np.ptp(ranks) > 0 else float("nan")
