"""Who is tested in a study, and by which metrics: names as results hold them, and as people read them."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from autossl.proxies import METRICS, Metric

Role = Literal["winner", "control"]
BEFORE = ("balanced_accuracy", "macro_auroc", "accuracy")  # what tests that do not say so were measured by


@dataclass(frozen=True)
class EntrantRow:
    """One network of a test: its key in results, its name in a sentence, what it is there for, its colour in charts."""

    key: str
    words: str
    role: Role
    colour: str  # a key of charts.COLOURS


TUNED = "winner, fine-tuned"
WEIGHTS_TUNED = "weights, fine-tuned"
DISTILLED = "winner, student"
MEAN, WEIGHTS_MEAN = "mean", "weights, mean"  # of the answers of two networks
SOUPS = {TUNED: "winner, soup", WEIGHTS_TUNED: "weights, soup"}  # means of the weights of several fits
ENTRANTS: dict[str, EntrantRow] = {
    row.key: row
    for row in (
        EntrantRow("winner", "the winner", "winner", "contrastive"),
        EntrantRow(TUNED, "the winner, fine-tuned", "winner", "contrastive"),
        EntrantRow(SOUPS[TUNED], "the winner, mean of several fine-tunes", "winner", "contrastive"),
        EntrantRow(DISTILLED, "a student of the fine-tuned winner, taught on all images", "winner", "contrastive"),
        EntrantRow(MEAN, "the mean of the answers of two networks", "winner", "contrastive"),
        EntrantRow("supervised", "training on the same labels alone", "control", "hybrid"),
        EntrantRow("supervised, frozen", "the encoder trained on the same labels (frozen)", "control", "hybrid"),
        EntrantRow("weights", "the given weights", "control", "generative"),
        EntrantRow(WEIGHTS_TUNED, "the given weights, fine-tuned", "control", "generative"),
        EntrantRow(SOUPS[WEIGHTS_TUNED], "the given weights, mean of several fine-tunes", "control", "generative"),
        EntrantRow(
            WEIGHTS_MEAN, "the mean of the answers of the given weights, frozen and fine-tuned", "control", "generative"
        ),
        EntrantRow("untrained", "the untrained encoder", "control", "baseline"),
        EntrantRow("constant", "the best constant answer", "control", "baseline"),
        EntrantRow("input", "the image as it is", "control", "baseline"),
    )
}
NAMES = {key: row.words for key, row in ENTRANTS.items()}
BASELINES = tuple(key for key, row in ENTRANTS.items() if row.role == "control")


def measure(test: Mapping[str, Any]) -> Metric:
    """The metric of a test; one that this version does not know is shown by its name."""
    name = str(test["metric"])
    return METRICS.get(name) or replace(METRICS["accuracy"], name=name, words=name)


def measures(test: Mapping[str, Any]) -> list[Metric]:
    """The metrics that a test was measured by, the study's own first."""
    return [METRICS[name] for name in test.get("metrics") or BEFORE if name in METRICS]
