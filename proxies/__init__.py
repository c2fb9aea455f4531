"""Scores of embeddings: pure functions on arrays, which know neither torch nor the engine."""

if __name__ == "proxies":
    raise ImportError("import autossl.proxies; the folder proxies/ is not a package of its own")

from autossl.proxies.bootstrap import bootstrap
from autossl.proxies.collapse import Collapse, collapse
from autossl.proxies.evidence import Evidence, Queries
from autossl.proxies.knn import KNN_KS, KNN_TEMPERATURES, knn_votes
from autossl.proxies.logistic import LOGISTIC_PENALTIES, logistic
from autossl.proxies.metrics import METRICS, accuracy, balanced_accuracy, macro_auroc, r2, score
from autossl.proxies.panel import Panel, Reading, panel, read
from autossl.proxies.probe import Probe
from autossl.proxies.ridge import PENALTIES, ridge, standardise
from autossl.proxies.spectrum import Spectrum, participation_ratio, rankme, spectrum, stable_rank
from autossl.proxies.statistics import (
    Difference,
    detectable_difference,
    grouped_folds,
    interval,
    paired,
    standard_error,
)
from autossl.proxies.table import PROXIES, Proxy
from autossl.proxies.warm import warm_up

__all__ = [
    "KNN_KS",
    "KNN_TEMPERATURES",
    "LOGISTIC_PENALTIES",
    "METRICS",
    "PENALTIES",
    "PROXIES",
    "Collapse",
    "Difference",
    "Evidence",
    "Panel",
    "Probe",
    "Proxy",
    "Queries",
    "Reading",
    "Spectrum",
    "accuracy",
    "balanced_accuracy",
    "bootstrap",
    "collapse",
    "detectable_difference",
    "grouped_folds",
    "interval",
    "knn_votes",
    "logistic",
    "macro_auroc",
    "paired",
    "panel",
    "participation_ratio",
    "r2",
    "rankme",
    "read",
    "ridge",
    "score",
    "spectrum",
    "stable_rank",
    "standard_error",
    "standardise",
    "warm_up",
]
