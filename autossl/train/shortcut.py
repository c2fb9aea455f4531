"""The shortcut monitor: a pretext task that is solved at once was solved by something that gives its answer away."""

from collections.abc import Sequence
from typing import Any

SOLVED = 0.99  # share of right answers
WINDOW = 512  # images over which it is taken
FIRST = 4096  # images at least that count as the start: an epoch of a small set has too few steps to learn anything


def start(population: int) -> int:
    """How many images are watched: the first epoch, or more where that is short."""
    return max(population, FIRST)


def early_accuracy(shares: Sequence[float], batch: int) -> float | None:
    """The highest share of right answers over `WINDOW` successive images, from those of the first steps.

    None where the task has no right answers or too few images were seen to tell.
    """
    width = -(-WINDOW // batch)
    means = [sum(shares[at : at + width]) / width for at in range(len(shares) - width + 1)]
    return max(means, default=None)


def monitored(accuracy: float | None, images: int) -> dict[str, Any]:
    """What a segment notes: the accuracy reached within so many images, and a sentence on a task that was solved."""
    if accuracy is None:
        return {}
    found: dict[str, Any] = {"early_accuracy": round(accuracy, 4)}
    if accuracy > SOLVED:
        found["shortcut"] = (
            f"{accuracy:.1%} of its answers were right within the first {images:,} images: a mark, a border or a text "
            "may give the answer away, or it is too easy here, and the encoder learns little; look at what it is shown"
        )
    return found
