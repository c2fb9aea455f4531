"""The scores as data: what each is called, which way it is better, its range, whom it serves and how it is computed."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from autossl.proxies.bootstrap import bootstrap
from autossl.proxies.clusters import cluster_learnability, purity
from autossl.proxies.dimension import mst_dimension, two_nn
from autossl.proxies.evidence import Estimate, Evidence, Predicted
from autossl.proxies.lda import shrinkage_lda
from autossl.proxies.logistic import logistic
from autossl.proxies.means import few_shot
from autossl.proxies.metrics import score
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

TASKS = ("classification",)
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
    quick: bool = False  # made from what others need anyway
    views: bool = False  # needs embeddings of several views of each image
    tasks: frozenset[str] = frozenset(TASKS)

    @property
    def higher_is_better(self) -> bool:
        return self.better == "higher"


def _logistic(e: Evidence) -> Predicted:
    probe = logistic(standardise(e.rows), e.labels, e.groups, classes=e.classes, seed=e.seed)
    return Predicted(_judged(e, probe, standardised=True), "balanced_accuracy")


def _lda(e: Evidence) -> Predicted:
    probe = shrinkage_lda(e.rows, e.labels, e.groups, classes=e.classes, seed=e.seed)
    return Predicted(_judged(e, probe, standardised=False), "balanced_accuracy")


def _judged(e: Evidence, probe: Probe, *, standardised: bool) -> np.ndarray:
    if e.queries is None:
        return probe.scores
    return probe.predict(standardise(e.queries, e.rows) if standardised else e.queries)


def _few_shot(e: Evidence) -> Estimate:
    found = few_shot(e.rows, e.labels, e.groups, classes=e.classes, seed=e.seed)
    return Estimate(found.value, found.se)


def _purity(e: Evidence) -> Predicted:
    return Predicted(purity(e.rows, e.labels, e.groups, classes=e.classes, seed=e.seed).scores, "balanced_accuracy")


def _nca(e: Evidence) -> Estimate:
    votes, index = nca_knn(e.rows, e.labels, e.groups, classes=e.classes, seed=e.seed)
    y, groups = e.labels[index], None if e.groups is None else e.groups[index]
    drawn = bootstrap(y, votes, groups, metrics=("balanced_accuracy",), draws=200)["balanced_accuracy"]
    return Estimate(score("balanced_accuracy", y, votes), standard_error(drawn))


def _row(name: str, better: Better, low: float, high: float, of: Score, words: str, paper: str) -> Proxy:
    return Proxy(name, better, low, high, of, words, paper)


def _quick(name: str, better: Better, low: float, high: float, of: Score, words: str, paper: str) -> Proxy:
    return Proxy(name, better, low, high, of, words, paper, quick=True)


def _viewed(name: str, better: Better, low: float, high: float, of: Score, words: str, paper: str) -> Proxy:
    return Proxy(name, better, low, high, of, words, paper, views=True)


# fmt: off
PROXIES: tuple[Proxy, ...] = (
    _quick("ridge", "higher", 0, 1, lambda e: Predicted(e.probed, "balanced_accuracy"),
           "ridge probe, leave-patient-out, balanced accuracy", "Hoerl and Kennard 1970"),
    _quick("ridge_auroc", "higher", 0, 1, lambda e: Predicted(e.probed, "macro_auroc"),
           "ridge probe, leave-patient-out, macro-AUROC", "Hoerl and Kennard 1970"),
    _quick("knn", "higher", 0, 1, lambda e: Predicted(e.vote, "balanced_accuracy"),
           "weighted k-NN (k 20, T .07), leave-patient-out, balanced accuracy", "Wu et al. 2018, 1805.01978"),
    _quick("ncm", "higher", 0, 1, lambda e: Predicted(e.mean_cosines, "balanced_accuracy"),
           "nearest class mean, leave-patient-out, balanced accuracy", "Snell et al. 2017, 1703.05175"),
    _row("logistic", "higher", 0, 1, _logistic,
         "logistic probe, folds of patients, balanced accuracy", "Cox 1958"),
    _row("lda", "higher", 0, 1, _lda,
         "discriminant analysis with shrunk covariance, folds of patients, balanced accuracy", "Fisher 1936"),
    _row("few_shot", "higher", 0, 1, _few_shot,
         "nearest class mean from five samples a class, balanced accuracy", "Vinyals et al. 2016, 1606.04080"),
    _row("nca_knn", "higher", 0, 1, _nca,
         "k-NN in a learnt space, folds of patients, balanced accuracy", "Goldberger et al. 2004"),
    _row("purity", "higher", 0, 1, _purity,
         "many k-means clusters named by other patients' majority, balanced accuracy", "Ji et al. 2019, 1807.06653"),
    _quick("logme", "higher", -_INF, _INF, lambda e: logme_of(e.moments),
           "log maximum evidence of a linear model", "You et al. 2021, 2102.11005"),
    _quick("h_score", "higher", 0, _INF, lambda e: h_score_of(e.moments),
           "variance of class means over that of all, shrunk", "Ibrahim et al. 2021, 2110.06893"),
    _row("transrate", "higher", 0, _INF, lambda e: transrate(e.rows, e.labels, classes=e.classes),
         "coding rate of all less that within classes", "Huang et al. 2022, 2106.09362"),
    _row("gbc", "higher", -_INF, 0, lambda e: gbc(e.rows, e.labels, classes=e.classes),
         "overlap of classes as Gaussians", "Pandy et al. 2022, 2111.12780"),
    _row("label_cka", "higher", -1, 1, lambda e: label_cka(e.rows, e.labels, classes=e.classes),
         "kernel alignment with the labels, unbiased", "Kornblith et al. 2019, 1905.00414"),
    _row("parc", "higher", -1, 1, lambda e: parc(e.rows, e.labels, classes=e.classes, seed=e.seed),
         "rank correlation of distances with labels that differ", "Bolya et al. 2021, 2111.06977"),
    _row("n_leep", "higher", -_INF, 0, lambda e: n_leep(e.rows, e.labels, classes=e.classes, seed=e.seed),
         "log probability of labels given mixture components", "Li et al. 2021, 2011.11200"),
    _quick("rankme", "veto", 0, _INF, lambda e: rankme_of(e.spectra[0]),
           "entropy rank of the singular values", "Garrido et al. 2023, 2210.02885"),
    _quick("participation", "veto", 0, _INF, lambda e: e.participation,
           "participation ratio of the covariance", "Gao et al. 2017, bioRxiv 214262"),
    _quick("stable_rank", "veto", 0, _INF, lambda e: stable_rank_of(e.spectra[1]),
           "stable rank of the covariance (NESum)", "He and Ozay 2022, ICML"),
    _quick("alpha_req", "neither", 0, _INF, lambda e: alpha_of(e.spectra[1]),
           "power law of the covariance's eigenvalues, 1 is best", "Agrawal et al. 2022, NeurIPS"),
    _quick("condition", "lower", 1, 1e6, lambda e: condition_of(e.spectra[0]),
           "largest over smallest singular value", "Tsitsulin et al. 2023, 2305.16562"),
    _row("coherence", "lower", 1, _INF, lambda e: coherence_of(e.moments.rows, *e.moments.raw),
         "largest leverage of a row", "Tsitsulin et al. 2023, 2305.16562"),
    _row("uniformity", "lower", -8, 0, lambda e: uniformity(e.rows),
         "log mean potential of pairs of unit rows", "Wang and Isola 2020, 2005.10242"),
    _viewed("alignment", "lower", 0, 4, lambda e: alignment(e.viewed),
            "mean squared distance of views of one image", "Wang and Isola 2020, 2005.10242"),
    _viewed("lidar", "higher", 0, _INF, lambda e: lidar(e.viewed),
            "rank of differences between images in units of those between views", "Thilak et al. 2024, 2312.04000"),
    _row("two_nn", "neither", 0, _INF, lambda e: two_nn(e.rows, seed=e.seed),
         "intrinsic dimension from the two nearest neighbours", "Facco et al. 2017, 1803.06992"),
    _row("mst_dimension", "neither", 0, _INF, lambda e: mst_dimension(e.rows, seed=e.seed),
         "intrinsic dimension from minimum spanning trees", "IdEst 2026, 2606.03338"),
    _row("cluster_learnability", "higher", 0, 1, lambda e: cluster_learnability(e.rows, e.groups, seed=e.seed),
         "nearest neighbours share a k-means cluster", "Lu et al. 2022, 2206.01251"),
    _quick("std_ratio", "veto", 0, 1, lambda e: e.health.std_ratio,
           "spread of unit embeddings", "Chen and He 2021, 2011.10566"),
    _quick("cosine", "veto", -1, 1, lambda e: e.health.cosine,
           "mean cosine between centred embeddings", "Chen and He 2021, 2011.10566"),
)
# fmt: on
QUICK = tuple(row.name for row in PROXIES if row.quick)
