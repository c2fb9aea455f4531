"""Given weights: the table of known ones, from what the user typed to a file, and from a file to an encoder."""

from autossl.nn.known_weights import Known, known
from autossl.nn.weights.fit import load_weights
from autossl.nn.weights.read import file_of, keep_weights, sha256
from autossl.nn.weights.where import AUTO, NONE, Weights, available, weights_of
from autossl.nn.weights_here import here

__all__ = [
    "AUTO", "NONE", "Known", "Weights", "available", "file_of", "here", "keep_weights", "known", "load_weights",
    "sha256", "weights_of",
]  # fmt: skip
