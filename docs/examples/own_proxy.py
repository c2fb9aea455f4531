"""A proxy of your own beside those of AutoSSL: a score of embeddings is a function of arrays.

    python own_proxy.py ENCODER IMAGES.npz

IMAGES.npz holds `images` (n, h, w[, c]), `labels` (n,) and `patients` (n,).
"""

import sys

import numpy as np
from numpy.typing import NDArray

import autossl
from autossl.proxies import panel


def margin(z: NDArray[np.floating], y: NDArray[np.integer], patients: NDArray[np.integer]) -> float:
    """How much nearer (cosine) images are to their class than to the next, patients left out; larger is better."""
    unit = (z - z.mean(0)) / np.linalg.norm(z - z.mean(0), axis=1, keepdims=True)
    alike = unit @ unit.T
    alike[patients[:, None] == patients] = np.nan
    mean = np.stack([np.nanmean(alike[:, y == label], axis=1) for label in np.unique(y)], axis=1)
    own = np.searchsorted(np.unique(y), y)
    rows = np.arange(len(y))
    to_own = mean[rows, own]
    mean[rows, own] = -np.inf
    return float(np.mean(to_own - mean.max(1)))


def main(encoder: str, images: str) -> dict[str, float]:
    """This score and a few of those that AutoSSL has, on the same embeddings."""
    with np.load(images, allow_pickle=False) as stored:
        pixels, labels, patients = stored["images"], stored["labels"], stored["patients"]
    y, groups = (np.unique(values, return_inverse=True)[1] for values in (labels, patients))
    z = autossl.load(encoder).embed(pixels)
    found = panel(z, y, groups, scores=("ridge", "knn", "rankme"))
    told = {"margin": margin(z, y, groups), **{name: found[name].value for name in ("ridge", "knn", "rankme")}}
    for name, value in told.items():
        print(f"{name}: {value:.3f}")
    return told


if __name__ == "__main__":
    main(*sys.argv[1:3])
