"""The scores as data: what each is called, which way it is better, its range, whom it serves and how it is computed."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from autossl.proxies.bootstrap import bootstrap, bootstrap_mean
from autossl.proxies.clusters import cluster_learnability, named_in_folds
from autossl.proxies.dense import Dense
from autossl.proxies.dimension import mst_dimension, two_nn
from autossl.proxies.evidence import DENSE, TASKS, Estimate, Evidence, Predicted
from autossl.proxies.lda import shrinkage_lda
from autossl.proxies.logistic import logistic
from autossl.proxies.means import few_shot
from autossl.proxies.measures import score
from autossl.proxies.n_leep import n_leep
from autossl.proxies.nca import nca_knn
from autossl.proxies.parc import parc
from autossl.proxies.probe import Probe
from autossl.proxies.ridge import standardise
from autossl.proxies.spectrum import alpha_of, coherence_of, condition_of, rankme_of, stable_rank_of
from autossl.proxies.statistics import standard_error
from autossl.proxies.transferability import gbc, h_score_of, label_cka, logme_of, transrate
from autossl.proxies.two_views import alignment, lidar, uniformity

# veto: beyond its floor means collapsed, more of it is not better; neither: it shows, it does not rank
Better = Literal["higher", "lower", "veto", "neither"]
Score = Callable[[Evidence], float | Predicted | Estimate]

_INF = float("inf")


@dataclass(frozen=True)
class Proxy:
    """One row of PROXIES; `of` computes the score from what all scores of one embedding share."""

    name: str
    better: Better
    low: float
    high: float  # infinity where the number of dimensions or classes bounds it
    of: Score
    words: str
    paper: str
    tasks: frozenset[str]
    quick: bool = False  # made from what others need anyway
    views: bool = False  # needs embeddings of several views of each image

    @property
    def higher_is_better(self) -> bool:
        return self.better == "higher"


def _predicted(e: Evidence, scores: np.ndarray, metric: str) -> Predicted:
    return Predicted(scores, metric, e.judged_in(e.folds))


def _logistic(e: Evidence) -> Predicted:
    probe = logistic(standardise(e.rows), e.labels, e.few_folds, classes=e.classes)
    return Predicted(_judged(e, probe, standardised=True), "balanced_accuracy", e.judged_in(e.few_folds))


def _lda(e: Evidence) -> Predicted:
    probe = shrinkage_lda(e.rows, e.labels, e.few_folds, classes=e.classes)
    return Predicted(_judged(e, probe, standardised=False), "balanced_accuracy", e.judged_in(e.few_folds))


def _judged(e: Evidence, probe: Probe, *, standardised: bool) -> np.ndarray:
    if e.queries is None:
        return probe.scores
    return probe.predict(standardise(e.queries, e.rows) if standardised else e.queries)


def _few_shot(e: Evidence) -> Estimate:
    found = few_shot(e.rows, e.labels, e.groups, classes=e.classes, seed=e.seed)
    return Estimate(found.value, found.se)


def _purity(e: Evidence) -> Predicted:
    named = named_in_folds(e.rows, e.labels, e.few_folds, classes=e.classes, seed=e.seed)
    return Predicted(named, "balanced_accuracy", e.few_folds)


def _nca(e: Evidence) -> Estimate:
    votes, index, folds = nca_knn(e.rows, e.labels, e.groups, classes=e.classes, seed=e.seed)
    y, groups = e.labels[index], None if e.groups is None else e.groups[index]
    drawn = bootstrap(y, votes, groups, metrics=("balanced_accuracy",), draws=200, folds=folds)["balanced_accuracy"]
    return Estimate(score("balanced_accuracy", y, votes, folds), standard_error(drawn))


def _retrieved(e: Evidence, mean: float, each: np.ndarray) -> Estimate:
    return Estimate(mean, standard_error(bootstrap_mean(each, e.judged)))


def _overlap(e: Evidence, found: Dense, metric: str) -> Estimate:
    groups = found.images if e.groups is None else e.groups[found.images]
    drawn = bootstrap(found.shares, found.scores, groups, metrics=(metric,), draws=200)[metric]
    return Estimate(found.dice if metric == "dice" else found.miou, standard_error(drawn))


CLASSES, ANY = frozenset({"classification"}), frozenset(TASKS)
VALUES, ORDINAL, LABELS = frozenset({"regression", "ordinal"}), frozenset({"ordinal"}), frozenset({"multilabel"})
SEGMENTS, OBJECTS = frozenset({"segmentation"}), frozenset({"detection"})
assert ANY == CLASSES | VALUES | ORDINAL | LABELS | DENSE


# fmt: off
PROXIES: tuple[Proxy, ...] = (
    Proxy("ridge", "higher", 0, 1, lambda e: _predicted(e, e.probed, "balanced_accuracy"),
          "ridge probe, leave-patient-out, balanced accuracy", "Hoerl and Kennard 1970", CLASSES, quick=True),
    Proxy("ridge_auroc", "higher", 0, 1, lambda e: _predicted(e, e.probed, "macro_auroc"),
          "ridge probe, leave-patient-out, macro-AUROC", "Hoerl and Kennard 1970", CLASSES, quick=True),
    Proxy("knn", "higher", 0, 1, lambda e: _predicted(e, e.vote, "balanced_accuracy"),
          "weighted k-NN (k 20, T .07), leave-patient-out, balanced accuracy", "Wu et al. 2018, 1805.01978",
          CLASSES, quick=True),
    Proxy("ncm", "higher", 0, 1, lambda e: _predicted(e, e.mean_cosines, "balanced_accuracy"),
          "nearest class mean, leave-patient-out, balanced accuracy", "Snell et al. 2017, 1703.05175",
          CLASSES, quick=True),
    Proxy("logistic", "higher", 0, 1, _logistic,
          "logistic probe, folds of patients, balanced accuracy", "Cox 1958", CLASSES),
    Proxy("lda", "higher", 0, 1, _lda,
          "discriminant analysis with shrunk covariance, folds of patients, balanced accuracy", "Fisher 1936", CLASSES),
    Proxy("few_shot", "higher", 0, 1, _few_shot,
          "nearest class mean from five samples a class, balanced accuracy", "Vinyals et al. 2016, 1606.04080",
          CLASSES),
    Proxy("nca_knn", "higher", 0, 1, _nca,
          "k-NN in a learnt space, folds of patients, balanced accuracy", "Goldberger et al. 2004", CLASSES),
    Proxy("purity", "higher", 0, 1, _purity,
          "many k-means clusters made and named by other patients, balanced accuracy", "Ji et al. 2019, 1807.06653",
          CLASSES),
    Proxy("map_at_10", "higher", 0, 1, lambda e: _retrieved(e, e.retrieved.map_at_k, e.retrieved.average_precision),
          "retrieval of the same class among other patients, mAP@10", "Manning et al. 2008", CLASSES),
    Proxy("r_precision", "higher", 0, 1, lambda e: _retrieved(e, e.retrieved.r_precision, e.retrieved.r_precisions),
          "retrieval of the same class among other patients, R-precision", "Manning et al. 2008", CLASSES),
    Proxy("ridge_r2", "higher", -_INF, 1, lambda e: _predicted(e, e.probed, "r2"),
          "ridge regression, leave-patient-out, R²", "Hoerl and Kennard 1970", VALUES, quick=True),
    Proxy("ridge_spearman", "higher", -1, 1, lambda e: _predicted(e, e.probed, "spearman"),
          "ridge regression, leave-patient-out, rank correlation", "Spearman 1904", VALUES, quick=True),
    Proxy("ridge_kappa", "higher", -1, 1, lambda e: _predicted(e, e.probed, "quadratic_kappa"),
          "ridge regression, leave-patient-out, rounded, quadratic kappa", "Cohen 1968", ORDINAL, quick=True),
    Proxy("knn_r2", "higher", -_INF, 1, lambda e: _predicted(e, e.neighbour_means, "r2"),
          "mean of neighbours (k 20, T .07), leave-patient-out, R²", "Wu et al. 2018, 1805.01978", VALUES, quick=True),
    Proxy("knn_spearman", "higher", -1, 1, lambda e: _predicted(e, e.neighbour_means, "spearman"),
          "mean of neighbours (k 20, T .07), leave-patient-out, rank correlation", "Spearman 1904", VALUES, quick=True),
    Proxy("knn_kappa", "higher", -1, 1, lambda e: _predicted(e, e.neighbour_means, "quadratic_kappa"),
          "mean of neighbours (k 20, T .07), rounded, quadratic kappa", "Cohen 1968", ORDINAL, quick=True),
    Proxy("ridge_labels", "higher", 0, 1, lambda e: _predicted(e, e.probed, "multilabel_auroc"),
          "ridge for each label, leave-patient-out, macro-AUROC", "Hoerl and Kennard 1970", LABELS, quick=True),
    Proxy("ridge_labels_ap", "higher", 0, 1, lambda e: _predicted(e, e.probed, "average_precision"),
          "ridge for each label, leave-patient-out, average precision", "Hoerl and Kennard 1970", LABELS, quick=True),
    Proxy("knn_labels", "higher", 0, 1, lambda e: _predicted(e, e.neighbour_means, "multilabel_auroc"),
          "neighbours' labels (k 20, T .07), leave-patient-out, macro-AUROC", "Wu et al. 2018", LABELS, quick=True),
    Proxy("dense_ridge", "higher", 0, 1, lambda e: _overlap(e, e.dense_ridge, "dice"),
          "ridge on patch tokens, leave-patient-out, Dice", "Hoerl and Kennard 1970", SEGMENTS, quick=True),
    Proxy("dense_ridge_miou", "higher", 0, 1, lambda e: _overlap(e, e.dense_ridge, "miou"),
          "ridge on patch tokens, leave-patient-out, mean IoU", "Hoerl and Kennard 1970", SEGMENTS, quick=True),
    Proxy("dense_knn", "higher", 0, 1, lambda e: _overlap(e, e.dense_knn, "dice"),
          "k-NN of patch tokens, leave-patient-out, Dice", "Balazevic et al. 2023, 2306.01667", SEGMENTS, quick=True),
    Proxy("dense_knn_miou", "higher", 0, 1, lambda e: _overlap(e, e.dense_knn, "miou"),
          "k-NN of patch tokens, leave-patient-out, mean IoU", "Balazevic et al. 2023", SEGMENTS, quick=True),
    Proxy("token_ap", "higher", 0, 1, lambda e: e.objectness.token_ap,
          "is a token in an object: ridge, leave-patient-out, average precision", "Everingham et al. 2010", OBJECTS,
          quick=True),
    Proxy("froc", "higher", 0, 1, lambda e: e.objectness.froc,
          "objects found at 1, 2 and 4 false positives an image", "Bunch et al. 1977", OBJECTS, quick=True),
    Proxy("logme", "higher", -_INF, _INF, lambda e: logme_of(e.moments),
          "log maximum evidence of a linear model", "You et al. 2021, 2102.11005", CLASSES, quick=True),
    Proxy("h_score", "higher", 0, _INF, lambda e: h_score_of(e.moments),
          "variance of class means over that of all, shrunk", "Ibrahim et al. 2021, 2110.06893", CLASSES, quick=True),
    Proxy("transrate", "higher", 0, _INF, lambda e: transrate(e.rows, e.labels, classes=e.classes),
          "coding rate of all less that within classes", "Huang et al. 2022, 2106.09362", CLASSES),
    Proxy("gbc", "higher", -_INF, 0, lambda e: gbc(e.rows, e.labels, classes=e.classes),
          "overlap of classes as Gaussians", "Pandy et al. 2022, 2111.12780", CLASSES),
    Proxy("label_cka", "higher", -1, 1, lambda e: label_cka(e.rows, e.labels, classes=e.classes),
          "kernel alignment with the labels, unbiased", "Kornblith et al. 2019, 1905.00414", CLASSES),
    Proxy("parc", "higher", -1, 1, lambda e: parc(e.rows, e.labels, classes=e.classes, seed=e.seed),
          "rank correlation of distances with labels that differ", "Bolya et al. 2021, 2111.06977", CLASSES),
    Proxy("n_leep", "higher", -_INF, 0, lambda e: n_leep(e.rows, e.labels, classes=e.classes, seed=e.seed),
          "log probability of labels given mixture components", "Li et al. 2021, 2011.11200", CLASSES),
    Proxy("rankme", "veto", 0, _INF, lambda e: rankme_of(e.raw_spectrum),
          "entropy rank of the singular values", "Garrido et al. 2023, 2210.02885", ANY, quick=True),
    Proxy("participation", "veto", 0, _INF, lambda e: e.participation,
          "participation ratio of the covariance", "Gao et al. 2017, bioRxiv 214262", ANY, quick=True),
    Proxy("stable_rank", "veto", 0, _INF, lambda e: stable_rank_of(e.centred_spectrum),
          "stable rank of the covariance (NESum)", "He and Ozay 2022, ICML", ANY, quick=True),
    Proxy("alpha_req", "neither", 0, _INF, lambda e: alpha_of(e.centred_spectrum),
          "power law of the covariance's eigenvalues, 1 is best", "Agrawal et al. 2022, NeurIPS", ANY, quick=True),
    Proxy("condition", "lower", 1, 1e6, lambda e: condition_of(e.raw_spectrum),
          "largest over smallest singular value", "Tsitsulin et al. 2023, 2305.16562", ANY, quick=True),
    Proxy("coherence", "lower", 1, _INF, lambda e: coherence_of(e.moments.rows, *e.moments.raw),
          "largest leverage of a row", "Tsitsulin et al. 2023, 2305.16562", ANY),
    Proxy("uniformity", "lower", -8, 0, lambda e: uniformity(e.rows),
          "log mean potential of pairs of unit rows", "Wang and Isola 2020, 2005.10242", ANY),
    Proxy("alignment", "lower", 0, 4, lambda e: alignment(e.viewed),
          "mean squared distance of views of one image", "Wang and Isola 2020, 2005.10242", ANY, views=True),
    Proxy("lidar", "higher", 0, _INF, lambda e: lidar(e.viewed),
          "rank of differences between images in units of those between views", "Thilak et al. 2024, 2312.04000",
          ANY, views=True),
    Proxy("two_nn", "neither", 0, _INF, lambda e: two_nn(e.rows, seed=e.seed),
          "intrinsic dimension from the two nearest neighbours", "Facco et al. 2017, 1803.06992", ANY),
    Proxy("mst_dimension", "neither", 0, _INF, lambda e: mst_dimension(e.rows, seed=e.seed),
          "intrinsic dimension from minimum spanning trees", "IdEst 2026, 2606.03338", ANY),
    Proxy("cluster_learnability", "higher", 0, 1, lambda e: cluster_learnability(e.rows, e.groups, seed=e.seed),
          "nearest neighbours share a k-means cluster", "Lu et al. 2022, 2206.01251", ANY),
    Proxy("std_ratio", "veto", 0, 1, lambda e: e.health.std_ratio,
          "spread of unit embeddings", "Chen and He 2021, 2011.10566", ANY, quick=True),
    Proxy("cosine", "veto", -1, 1, lambda e: e.health.cosine,
          "mean cosine between centred embeddings", "Chen and He 2021, 2011.10566", ANY, quick=True),
)
# fmt: on
QUICK = tuple(row.name for row in PROXIES if row.quick)
