"""Judge an exported encoder with scikit-learn: a classifier on its embeddings, cross-validated by patient.

    python embed_for_sklearn.py ENCODER IMAGES.npz

IMAGES.npz holds `images` (n, h, w[, c]), `labels` (n,) and `patients` (n,).
"""

import sys

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import autossl


def main(encoder: str, images: str, folds: int = 5) -> float:
    """The balanced accuracy over folds in which no patient is on both sides."""
    with np.load(images, allow_pickle=False) as stored:
        pixels, labels, patients = stored["images"], stored["labels"], stored["patients"]
    z = autossl.load(encoder).embed(pixels)
    classifier = make_pipeline(StandardScaler(), LogisticRegression(class_weight="balanced", max_iter=1000))
    cv = StratifiedGroupKFold(folds, shuffle=True, random_state=0)
    scores = cross_val_score(classifier, z, labels, groups=patients, cv=cv, scoring="balanced_accuracy")
    print(f"balanced accuracy {scores.mean():.3f}, over {folds} folds of patients ({scores.std():.3f} apart)")
    return float(scores.mean())


if __name__ == "__main__":
    main(*sys.argv[1:3])
