"""The steps of a study's end: how long each may take, also after a kill, and where its checkpoints are."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from autossl.train.resumable import Terms
from autossl.trials.context import Context
from autossl.trials.deadlines import left
from autossl.trials.plan import Step


@dataclass(frozen=True)
class Steps:
    """What every step of the end is given: `now` is the study's clock, `tick` is called at every training step."""

    context: Context
    now: Callable[[], float]
    say: Callable[[str], None]
    tick: Callable[[], None]

    @property
    def stopped(self) -> bool:
        """Whether `autossl stop` was called."""
        return self.context.folder.stop.exists()

    def over(self) -> bool:
        """The same, asked at every training step."""
        self.tick()
        return self.stopped

    def left(self, step: Step, needed: float = 0.0) -> float | None:
        """Seconds that a step may take (None: no limit), 0 if it is left out."""
        return 0.0 if self.stopped else left(self.context.plan, step, self.now(), needed)

    def late(self) -> bool:
        """Whether the time for all training is over, asked at every training step."""
        self.tick()
        return left(self.context.plan, "final training", self.now()) == 0

    def begun(self, name: str) -> bool:
        """Whether a training of this name has begun, in this run or one that was killed."""
        return name in (self.context.state("granted") or {})

    def terms(self, step: Step, name: str, part: float = 1.0) -> Terms:
        """What the training of this name may use of a step: what it was granted when it began, as far as that is left.

        That is a `part` of the step's seconds.
        """
        path, rest = self.checkpoint(name), self.left(step)
        granted, rest = self.context.state("granted") or {}, None if rest is None else part * rest
        if name not in granted:
            # a training that was killed before the study was extended has what it is granted on top
            granted[name] = None if path.is_file() else rest
            self.context.remember(granted=granted)
        return Terms(granted[name], rest, self.over, path)

    def checkpoint(self, name: str) -> Path:
        """Where a training of this name has its checkpoint."""
        return self.context.folder.checkpoints / f"{name}.pt"

    def forget(self, name: str) -> None:
        """Remove the checkpoints of this name."""
        for path in self.context.folder.checkpoints.glob(f"{name}*.pt"):
            path.unlink()
