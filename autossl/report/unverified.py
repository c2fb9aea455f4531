"""The answer of a study without labels, in words: what was made, that nothing is verified, how many labels would do."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from autossl.errors.printable import joined
from autossl.proxies import detectable_difference
from autossl.record.shares import SELECTION_SHARE_FEW, TEST_SHARE
from autossl.report.leaderboard import RANKED

SHOWN = (0.1, 0.05)  # differences in balanced accuracy that somebody may want to see


def first_line(result: Mapping[str, Any]) -> str:
    """What `encoder/` holds, and that nobody knows how good it is."""
    chosen = result["candidate"]
    return (
        f"Nothing could be verified, for there are no labels. The encoder was pretrained by {chosen['method']} "
        f"({chosen['paradigm']}), the first method in the usual order for such images that did not break down; whether "
        "it serves your target is not known."
    )


def others(result: Mapping[str, Any]) -> str:
    """What may be as good, and how to have it; empty where nothing else held."""
    found = [f"{row['method']} (candidate {row['number']})" for row in result["others"]]
    if not found:
        return ""
    number = result["others"][0]["number"]
    return (
        f"Of other paradigms {joined(found)} did not break down either, and may be better: "
        f"autossl train RUN --candidate {number} -o PATH trains one on."
    )


def advice(unit: str) -> str:
    """How many labels would do for a choice and for a test; `unit` is the word for what is split, a patient say."""
    ranked = RANKED / (1 - TEST_SHARE) / (1 - SELECTION_SHARE_FEW)
    shown = [f"{_round(_tested(gap) / TEST_SHARE):,} to show a difference of {gap:g}" for gap in SHOWN]
    return (
        f"How many labels would do: about {_round(ranked):,} labelled {unit}s let a search rank its candidates; its "
        f"test needs about {joined(shown)} in balanced accuracy (two classes of one size)."
    )


def _tested(gap: float) -> int:
    """Patients of a test part, half of each class, that can show this difference."""
    n = 4
    while detectable_difference(np.arange(n) % 2) > gap:
        n = math.ceil(1.05 * n)
    return n


def _round(value: float) -> int:
    """To two digits, upwards."""
    unit = int(10 ** max(0, len(str(int(value))) - 2))
    return unit * math.ceil(value / unit)
