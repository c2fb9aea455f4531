"""What clinicians read of a test, class by class: sensitivity, specificity, area under the curve, and who was confused.

What is asked of each class or finding is whether an image has it; numbers come from scikit-learn, intervals from here.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, softmax
from sklearn.metrics import confusion_matrix, roc_auc_score

from autossl.proxies import Outcomes

NORMAL = 1.96  # standard errors from the middle of a 95 % interval to its ends
LEAST = 2  # patients, from which on there can be an interval

Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]


class Share(NamedTuple):
    """A share with its 95 % interval over patients; NaN where there is none."""

    value: float
    low: float
    high: float

    @property
    def interval(self) -> str:
        """Its interval as text, empty where there is none."""
        return "" if math.isnan(self.low) else f"[{self.low:.3f}, {self.high:.3f}]"


@dataclass(frozen=True)
class Row:
    """One class or finding against the rest: how many have it, and how it was told."""

    name: str
    images: int
    patients: int
    sensitivity: Share
    specificity: Share
    area: float


@dataclass(frozen=True, eq=False)
class Reading:
    """Answers to yes-or-no questions: of n images and c classes who has it, who is said to, how sure the network is.

    `known` is False where nobody knows, `patients` (n,) are whose images they are. `exclusive`: one class per image;
    `likely`: `shares` say how probable each is, not only which is nearest.
    """

    names: tuple[str, ...]
    truth: Bools
    said: Bools
    shares: NDArray[np.float64]
    known: Bools
    patients: Ints
    exclusive: bool = True
    likely: bool = True

    @classmethod
    def of(cls, figure: str, outcomes: Outcomes, names: tuple[str, ...], patients: Ints) -> "Reading":
        """What the chosen network answered in the test; `figure` is the target's: classes, findings or grades."""
        y, scores = (np.asarray(outcomes.columns[key]) for key in ("y", "scores"))
        if figure == "findings":
            known, likely = np.isfinite(y), expit(scores.astype(np.float64))
            return cls(names, (y > 0.5) & known, likely > 0.5, likely, known, patients, exclusive=False)
        classes = np.arange(len(names))
        if figure == "grades":
            y, shares = y.reshape(-1).astype(np.int64), -np.abs(scores.reshape(-1, 1) - classes)  # the nearest is said
        else:
            shares = softmax(scores.astype(np.float64), axis=1)
        truth, said = y[:, None] == classes, shares.argmax(1)[:, None] == classes
        return cls(names, truth, said, shares, np.ones_like(truth), patients, likely=figure != "grades")

    @property
    def rows(self) -> list[Row]:
        """Each class that some images have."""
        return [self._row(at) for at in range(len(self.names)) if self.truth[:, at].any()]

    def _row(self, at: int) -> Row:
        known = self.known[:, at]
        truth, said, patients = self.truth[known, at], self.said[known, at], self.patients[known]
        both = self.likely and truth.any() and not truth.all()
        return Row(
            self.names[at],
            int(truth.sum()),
            len(np.unique(patients[truth])),
            share(said[truth], patients[truth]),
            share(~said[~truth], patients[~truth]),
            float(roc_auc_score(truth, self.shares[known, at])) if both else math.nan,
        )

    @property
    def confusion(self) -> Ints:
        """(c, c): how many images of each class (rows) were said to be of each (columns)."""
        labels = list(range(len(self.names)))
        found = confusion_matrix(self.truth.argmax(1), self.said.argmax(1), labels=labels)
        return np.asarray(found, dtype=np.int64)

    @property
    def sure(self) -> tuple[NDArray[np.float64], Bools]:
        """How sure the network is of what it said, and whether that is true; of findings of every one that is known."""
        if self.exclusive:
            return self.shares.max(1), np.asarray((self.truth & self.said).any(1))
        return self.shares[self.known], self.truth[self.known]


def share(hits: Bools, patients: Ints) -> Share:
    """The share of images that were told right, with its 95 % interval over patients.

    Wilson's interval (1927) with the effective number of images of Korn and Graubard (1998), so that images of one
    patient count as far as they differ; where all were right, or none, each patient counts once.
    """
    n = len(hits)
    if not n:
        return Share(math.nan, math.nan, math.nan)
    _, owner = np.unique(patients, return_inverse=True)
    sizes, value = np.bincount(owner).astype(float), float(hits.mean())
    if len(sizes) < LEAST:
        return Share(value, math.nan, math.nan)
    counted = float(len(sizes))
    if 0 < value < 1:
        apart = np.bincount(owner, weights=hits) - value * sizes
        spread = float((apart**2).sum()) * len(sizes) / (len(sizes) - 1) / n**2
        alone = value * (1 - value) / (n - 1)  # what it would be with each image another patient's
        counted = min(float(n), n * alone / spread) if spread else float(n)
    return Share(value, *_wilson(value, max(counted, 1.0)))


def _wilson(value: float, n: float) -> tuple[float, float]:
    z2 = NORMAL**2
    middle = (value + z2 / (2 * n)) / (1 + z2 / n)
    half = NORMAL * math.sqrt(value * (1 - value) / n + z2 / (4 * n * n)) / (1 + z2 / n)
    return max(0.0, middle - half), min(1.0, middle + half)
