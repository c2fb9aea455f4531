"""An exported encoder as a transformer of scikit-learn."""

from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, TransformerMixin

from autossl.model.load import load
from autossl.model.model import Model


class Embedder(TransformerMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """Turns images into embeddings: `make_pipeline(Embedder("encoder/"), LogisticRegression())`.

    `path` is a study folder, an exported encoder or an exported model; `batch` images are embedded at a time. There is
    nothing to fit: `transform` works at once, and `set_output` as for any transformer (columns `embedding0`, ...).
    """

    def __init__(self, path: str | Path, batch: int = 512) -> None:
        self.path, self.batch = path, batch

    def fit(self, X: Any = None, y: Any = None) -> Self:  # noqa: N803 (the name is scikit-learn's)
        """Read the encoder. UserError if there is none at `path`."""
        self.model_ = load(self.path)
        self.n_features_out_ = self.model_.dim
        return self

    def transform(self, X: Any) -> NDArray[np.float32]:  # noqa: N803
        """Embeddings (n, d) of images in any form that `Model.embed` takes."""
        return self._read().embed(X, self.batch)

    def get_feature_names_out(self, input_features: Any = None) -> NDArray[np.object_]:
        """A name for each column (d,)."""
        return np.array([f"embedding{column}" for column in range(self._read().dim)], dtype=object)

    def _read(self) -> Model:
        return self.model_ if hasattr(self, "model_") else self.fit().model_

    def __sklearn_is_fitted__(self) -> bool:
        return True

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.requires_fit, tags.input_tags.two_d_array, tags.no_validation = False, False, True
        return tags
