"""Scores of embeddings: pure functions on arrays, which know neither torch nor the engine."""

if __name__ == "proxies":
    raise ImportError("import autossl.proxies; the folder proxies/ is not a package of its own")

from autossl.proxies import compiled as compiled  # before anything imports Numba
from autossl.proxies.bootstrap import bootstrap, bootstrap_mean
from autossl.proxies.clusters import Clid, Purity, clid, cluster_learnability, purity
from autossl.proxies.collapse import Collapse, collapse
from autossl.proxies.correlation import noise_ceiling, reliability, weighted_kendall
from autossl.proxies.dense import Dense, dense_knn, dense_ridge
from autossl.proxies.dimension import mst_dimension, two_nn
from autossl.proxies.evidence import TASKS, Evidence, Queries
from autossl.proxies.folds import grouped_folds, judging_folds
from autossl.proxies.knn import KNN_KS, KNN_TEMPERATURES, knn_votes
from autossl.proxies.knn_values import knn_values
from autossl.proxies.lda import shrinkage_lda
from autossl.proxies.likeness import ssim
from autossl.proxies.logistic import LOGISTIC_PENALTIES, logistic
from autossl.proxies.means import Episodes, few_shot, nearest_mean
from autossl.proxies.measures import METRICS, Metric, score
from autossl.proxies.metrics import (
    accuracy,
    average_precision,
    balanced_accuracy,
    dice,
    macro_auroc,
    mae,
    miou,
    multilabel_auroc,
    quadratic_kappa,
    r2,
    spearman,
)
from autossl.proxies.moments import Moments, moments
from autossl.proxies.n_leep import n_leep
from autossl.proxies.nca import nca_knn
from autossl.proxies.objects import Objectness, froc, objectness
from autossl.proxies.outcomes import Outcomes
from autossl.proxies.panel import Panel, Reading, panel, read
from autossl.proxies.parc import parc
from autossl.proxies.probe import Probe
from autossl.proxies.retrieval import Retrieval, retrieval
from autossl.proxies.ridge import PENALTIES, ridge, standardise
from autossl.proxies.spectrum import (
    Spectrum,
    alpha_req,
    coherence,
    condition,
    participation_ratio,
    rankme,
    spectrum,
    stable_rank,
)
from autossl.proxies.statistics import (
    Difference,
    detectable_difference,
    interval,
    paired,
    standard_error,
)
from autossl.proxies.table import PROXIES, Proxy
from autossl.proxies.transferability import gbc, h_score, label_cka, logme, transrate
from autossl.proxies.two_views import alignment, lidar, uniformity
from autossl.proxies.warm import warm_up

__all__ = [
    "KNN_KS",
    "KNN_TEMPERATURES",
    "LOGISTIC_PENALTIES",
    "METRICS",
    "PENALTIES",
    "PROXIES",
    "TASKS",
    "Clid",
    "Collapse",
    "Dense",
    "Difference",
    "Episodes",
    "Evidence",
    "Metric",
    "Moments",
    "Objectness",
    "Outcomes",
    "Panel",
    "Probe",
    "Proxy",
    "Purity",
    "Queries",
    "Reading",
    "Retrieval",
    "Spectrum",
    "accuracy",
    "alignment",
    "alpha_req",
    "average_precision",
    "balanced_accuracy",
    "bootstrap",
    "bootstrap_mean",
    "clid",
    "cluster_learnability",
    "coherence",
    "collapse",
    "condition",
    "dense_knn",
    "dense_ridge",
    "detectable_difference",
    "dice",
    "few_shot",
    "froc",
    "gbc",
    "grouped_folds",
    "h_score",
    "interval",
    "judging_folds",
    "knn_values",
    "knn_votes",
    "label_cka",
    "lidar",
    "logistic",
    "logme",
    "macro_auroc",
    "mae",
    "miou",
    "moments",
    "mst_dimension",
    "multilabel_auroc",
    "n_leep",
    "nca_knn",
    "nearest_mean",
    "noise_ceiling",
    "objectness",
    "paired",
    "panel",
    "parc",
    "participation_ratio",
    "purity",
    "quadratic_kappa",
    "r2",
    "rankme",
    "read",
    "reliability",
    "retrieval",
    "ridge",
    "score",
    "shrinkage_lda",
    "spearman",
    "spectrum",
    "ssim",
    "stable_rank",
    "standard_error",
    "standardise",
    "transrate",
    "two_nn",
    "uniformity",
    "warm_up",
    "weighted_kendall",
]
