"""The label curve of the report: which of its points are drawn, and what they are in words."""

from collections.abc import Mapping
from typing import Any

from autossl.model.entrants import NAMES

RIVAL = "supervised"  # whose points are one training each, at numbers of labels of its own


def whole(test: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The points at numbers of labels that every probed network has, and the rival's; time may have run out within one.

    None where there is one number of labels only.
    """
    points = test.get("label_curve", [])
    probed = [point for point in points if point["name"] != RIVAL]
    names = {point["name"] for point in probed}
    at = {n: {p["name"] for p in probed if p["labels"] == n} for n in {p["labels"] for p in probed}}
    kept = [p for p in points if p["name"] == RIVAL or at[p["labels"]] == names]
    return kept if len({point["labels"] for point in kept}) > 1 else []


def words(test: Mapping[str, Any], patients: bool) -> str:
    """What the points are, how they were made, and whom the choice of the encoder flatters; empty without points."""
    points, groups = whole(test), "whole patients" if patients else "images"
    below = [point for point in points if point["labels"] < test["labels"]]
    draws = [point.get("draws", 0) for point in below if point["name"] != RIVAL]
    if not draws:
        return ""
    many = " (one draw where labels are many)" if min(draws) == 1 < max(draws) else ""
    drawn = f"{max(draws)} draws of {groups}{many}" if min(draws) else "a few draws of labels"
    sentences = [
        "Test score of the best probe on frozen encoders for growing numbers of labels: "
        f"mean and standard deviation over {drawn}. The last points are the test itself, with all labels.",
        "The winner was chosen by its score on all labels, so where labels are few its curve flatters it: a study that "
        "had those alone may have chosen another encoder.",
    ]
    if any(point["name"] == RIVAL for point in below):
        sentences.append(
            f"The curve “{NAMES[RIVAL]}” is one training from scratch per point, on the first draw, with the setting "
            "that the baseline chose with all labels (which flatters it too) and as many passes over its labels, or at "
            "least half as many where time was short."
        )
    return " ".join([*sentences, "Points for which there was no time are left out."])
