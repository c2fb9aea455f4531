"""No labels at all: encoders can break down, but none can be shown to be better than another."""

from typing import ClassVar, final

import numpy as np
from numpy.typing import NDArray

from autossl.data.truth import Nothing, Truth
from autossl.proxies import Outcomes, collapse, rankme
from autossl.targets.base import Score, Target
from autossl.targets.seen import Seen


@final
class Unlabelled(Target):
    """No labels: label-free scores rule out what broke down, the order of trying decides, nothing is tested."""

    task: ClassVar = "none"
    form: ClassVar = Nothing
    metrics: ClassVar = ()
    shown: ClassVar = {"rankme": "rankme"}
    headings: ClassVar = {"rankme": "RankMe"}
    scored: ClassVar = "dimensions"
    ranks: ClassVar = False

    def score(self, seen: Seen, truth: Truth, groups: NDArray[np.int64] | None) -> Score:
        """Over how many dimensions the embedding spreads (participation ratio, standardised), which ranks nothing.

        Of the runs of one method more of it can be better or worse (RankMe: rank correlation with accuracy .96 over 31
        of VICReg, -.29 over 25 of SimCLR), and of two methods it says nothing at all.
        """
        health = collapse(seen.pooled)
        rank = rankme(seen.pooled) if np.isfinite(seen.pooled).all() else 0.0
        nothing = Outcomes({}, np.arange(len(seen.pooled)), len(seen.pooled))
        return Score(float(np.nan_to_num(health.participation)), 0.0, {"rankme": rank}, health.reason, nothing)

    def line(self, score: Score) -> str:
        return f"{score.value:.1f} dimensions"
