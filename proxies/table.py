"""The scores as data: what each is called, which way it is better, its range and what it needs."""

from dataclasses import dataclass
from typing import Literal

Need = Literal["labels", "values", "groups"]


@dataclass(frozen=True)
class Proxy:
    """One row of PROXIES."""

    name: str
    better: Literal["higher", "lower", "veto"]  # veto: too low (cosine: too high) means collapsed, more is not better
    low: float
    high: float  # infinity where the number of dimensions bounds it
    needs: frozenset[Need]  # "groups" are used if there are any
    words: str
    paper: str

    @property
    def higher_is_better(self) -> bool:
        return self.better == "higher"


_PROBE: frozenset[Need] = frozenset({"labels", "groups"})
_NONE: frozenset[Need] = frozenset()
_INF = float("inf")

PROXIES: tuple[Proxy, ...] = (
    Proxy(
        "ridge", "higher", 0, 1, _PROBE, "ridge probe, leave-patient-out, balanced accuracy", "Hoerl and Kennard 1970"
    ),
    Proxy(
        "ridge_auroc", "higher", 0, 1, _PROBE, "ridge probe, leave-patient-out, macro-AUROC", "Hoerl and Kennard 1970"
    ),
    Proxy(
        "ridge_r2",
        "higher",
        -_INF,
        1,
        frozenset({"values", "groups"}),
        "ridge regression, leave-patient-out, R²",
        "Hoerl and Kennard 1970",
    ),
    Proxy(
        "knn",
        "higher",
        0,
        1,
        _PROBE,
        "weighted k-NN, leave-patient-out, balanced accuracy",
        "Wu et al. 2018, 1805.01978",
    ),
    Proxy("rankme", "veto", 0, _INF, _NONE, "entropy rank of the singular values", "Garrido et al. 2023, 2210.02885"),
    Proxy(
        "participation",
        "veto",
        0,
        _INF,
        _NONE,
        "participation ratio of the covariance",
        "Gao et al. 2017, bioRxiv 214262",
    ),
    Proxy("stable_rank", "veto", 0, _INF, _NONE, "stable rank of the covariance (NESum)", "He and Ozay 2022, ICML"),
    Proxy("std_ratio", "veto", 0, 1, _NONE, "spread of unit embeddings", "Chen and He 2021, 2011.10566"),
    Proxy("cosine", "veto", -1, 1, _NONE, "mean cosine between centred embeddings", "Chen and He 2021, 2011.10566"),
)
