"""What the trials of a study say: one entry per segment of a candidate."""

import math
from dataclasses import dataclass
from typing import Literal

METHOD = "method"  # the name of the parameter that chooses the method

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
    ranked: bool = True  # whether its score tells it from others; else it counts as good as any that took no shortcut
    shortcut: bool = False  # its pretext task was solved suspiciously early

    @property
    def live(self) -> bool:
        """Whether somebody works on it, or will."""
        return self.state in ("waiting", "running")

    @property
    def value(self) -> float:
        """By which entries are put in order: the score, where it ranks; minus infinity of what is not scored."""
        if self.score is None or self.state != "scored":
            return -math.inf
        return self.score if self.ranked else -float(self.shortcut)
