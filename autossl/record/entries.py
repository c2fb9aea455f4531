"""What the trials of a study say: one entry per segment of a candidate."""

import math
from dataclasses import dataclass
from typing import Literal

State = Literal["waiting", "running", "scored", "failed"]


@dataclass(frozen=True)
class Entry:
    """One trial: one segment of one candidate."""

    number: int
    candidate: int
    method: str
    paradigm: str
    rung: int
    state: State
    score: float | None = None
    se: float | None = None
    seconds: float = 0.0
    prior_index: int | None = None  # which prior configuration of its method; None: drawn by TPE
    checkpoint: str | None = None
    reason: str = ""  # why it failed: nan, collapsed, out of memory, lost, double, out of time

    @property
    def live(self) -> bool:
        """Whether somebody works on it, or will."""
        return self.state in ("waiting", "running")

    @property
    def value(self) -> float:
        """The score of a scored entry; minus infinity otherwise."""
        return -math.inf if self.score is None or self.state != "scored" else self.score
