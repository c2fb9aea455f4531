"""Scores of embeddings that live on a CUDA device, computed there; imported when the first such array arrives."""

from autossl.proxies.device.arrays import Rows, StandIn, rows_of
from autossl.proxies.device.bootstrap import bootstrap
from autossl.proxies.device.knn import knn_votes
from autossl.proxies.device.means import nearest_mean
from autossl.proxies.device.moments import collapse_of, moments, standardise
from autossl.proxies.device.ridge import SCORE_BYTES, decompose, errors, left_out, predict, probed

__all__ = [
    "SCORE_BYTES",
    "Rows",
    "StandIn",
    "bootstrap",
    "collapse_of",
    "decompose",
    "errors",
    "knn_votes",
    "left_out",
    "moments",
    "nearest_mean",
    "predict",
    "probed",
    "rows_of",
    "standardise",
]
