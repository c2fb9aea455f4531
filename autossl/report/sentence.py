"""The answer of a study in one sentence of about twelve words with two numbers."""

from typing import Any

from autossl.model.entrants import BASELINES, ENTRANTS, NAMES, measure
from autossl.report.verdict import chosen

HELPED = {"helped": "Self-supervision helped", "unclear": "Cannot tell whether self-supervision helped"}


def short(result: dict[str, Any], kind: str) -> str:
    """The score of what `model/` holds in the test, and how far it is from its strongest rival.

    `kind` is that of the verdict. Where a baseline is better it comes first; where `model/` holds one, the rival is the
    best self-supervised network.
    """
    test = result["test"]
    if "few" in test:
        return "Nothing can be measured: the test part has too few patients."
    judged, differences = chosen(test)
    ours = ENTRANTS[judged].role == "winner"
    rivals = [name for name in differences if (name in BASELINES) == ours]
    metric = measure(test)
    reached = f"{metric.text(test['entrants'][judged][metric.name])} {metric.words}"
    if not rivals:
        return f"{HELPED.get(kind, HELPED['unclear'])}: {reached}, with nothing to compare it with."
    rival = min(rivals, key=lambda name: float(differences[name]["value"]))
    gap = float(differences[rival]["value"])
    more = f"{metric.text(abs(gap))} {'more' if gap > 0 else 'less'} than" if gap else "as much as"
    if ours and kind == "hurt":
        theirs = metric.text(test["entrants"][rival][metric.name])
        return f"A baseline is better: {NAMES[rival]}, {theirs} {metric.words}, {metric.text(abs(gap))} more."
    if ours:
        return f"{HELPED[kind]}: {reached}, {more} {NAMES[rival]}."
    told = "Self-supervision did not help" if kind == "hurt" else HELPED["unclear"]
    return f"{told}: {NAMES[judged]}, {reached}, {more} {NAMES[rival]}."
