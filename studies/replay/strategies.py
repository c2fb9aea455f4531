"""Ways to spend a time on candidates, played over a table: what each does next, and what it delivers."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from studies.replay.table import SCORE, Cell

KEPT = 3  # of those that saw one epoch; one of so many goes up in halving
SEARCHED = (
    0.53  # of the seconds of search and final training that today's plans give to the search (studies/time_limit)
)
CORRELATED = 0.5  # standard error of a paired difference in that of an unpaired one (studies/time_limit)


@dataclass
class Play:
    """What is known at a moment of one search: seconds spent, and scores by candidate, the highest rung last."""

    cell: Cell
    limit: float
    draw: int  # of labels
    random: np.random.Generator
    order: Sequence[int]  # of candidates, by what other sets say: the best on the mean first
    spread: Sequence[int]  # the same, each where those before it fail
    spent: float = 0.0
    rung: dict[int, int] = field(default_factory=dict)
    begun: int | None = None  # what was to be trained when the time was over

    def score(self, at: int, rung: int | None = None) -> float:
        """What the search sees of a candidate, at its highest rung or at this."""
        return float(self.cell.candidates[at].proxies[SCORE][self.rung[at] if rung is None else rung, self.draw])

    @property
    def leader(self) -> int:
        """Of those on the highest rung the best; of none, the one that was begun, or the first of the order."""
        if not self.rung:
            return self.order[0] if self.begun is None else self.begun
        top = max(self.rung.values())
        return max((at for at, rung in self.rung.items() if rung == top), key=self.score)


Step = tuple[int, int]  # a candidate, and the rung to train it to
Strategy = Callable[[Play], Iterator[Step]]


def play(strategy: Strategy, now: Play) -> float:
    """Truth of what a strategy delivers at its limit: its leader, trained on for what is left.

    What does not fit is not begun, unless nothing else is there.
    """
    for at, rung in strategy(now):
        seconds = now.cell.seconds(at, now.rung.get(at, -1), rung)
        if now.spent + seconds > now.limit:
            now.begun = at
            break
        now.spent += seconds
        now.rung[at] = rung
    candidate = now.cell.candidates[now.leader]
    reached = candidate.images[now.rung[now.leader]] if now.rung else 0
    return candidate.at(reached + (now.limit - now.spent) / candidate.per_image, now.cell.untrained)


def top(now: Play) -> int:
    """The last rung."""
    return len(now.cell.candidates[0].images) - 1


def default(now: Play) -> Iterator[Step]:
    """The best configuration of other sets, all the time."""
    yield now.order[0], top(now)


def oracle(now: Play) -> Iterator[Step]:
    """The best candidate of the cell, all the time."""
    yield max(range(len(now.cell.candidates)), key=lambda at: now.cell.candidates[at].truth), top(now)


def static(now: Play) -> Iterator[Step]:
    """The order of other sets, each to the last rung."""
    yield from ((at, top(now)) for at in now.order)


def random(now: Play) -> Iterator[Step]:
    """Any order, each to the last rung."""
    yield from ((int(at), top(now)) for at in now.random.permutation(len(now.cell.candidates)))


def grid(now: Play) -> Iterator[Step]:
    """Twelve points by hand: two usual methods at every strength and rate, each to the last rung."""
    usual = [at for at, c in enumerate(now.cell.candidates) if c.method in ("simclr", "byol")]
    yield from ((at, top(now)) for at in usual)


def halving(now: Play) -> Iterator[Step]:
    """Synchronous halving of as many candidates, in any order, as the time allows."""
    drawn = [int(at) for at in now.random.permutation(len(now.cell.candidates))]
    affordable = (number for number in range(len(drawn), 0, -1) if _schedule(now, number) <= now.limit)
    here = drawn[: next(affordable, 1)]
    for rung in range(top(now) + 1):
        yield from ((at, rung) for at in here)
        here = sorted(here, key=now.score, reverse=True)[: max(1, len(here) // KEPT)]


def _schedule(now: Play, number: int) -> float:
    """Seconds of halving so many candidates of the mean price."""
    total = 0.0
    for rung in range(top(now) + 1):
        total += number * float(
            np.mean([now.cell.seconds(at, rung - 1, rung) for at in range(len(now.cell.candidates))])
        )
        number = max(1, number // KEPT)
    return total


def one_epoch(now: Play) -> Iterator[Step]:
    """Everybody to the first rung, in any order, as many as leave time for the best three to the last."""
    count = len(now.cell.candidates)
    first = np.mean([now.cell.seconds(at, -1, 0) for at in range(count)])
    rest = np.mean([now.cell.seconds(at, 0, top(now)) for at in range(count)])
    most = int(np.clip((now.limit - KEPT * rest) / first, 1, count))
    drawn = [int(at) for at in now.random.permutation(count)[:most]]
    yield from ((at, 0) for at in drawn)
    yield from ((at, top(now)) for at in sorted(drawn, key=partial(now.score, rung=0), reverse=True)[:KEPT])


def portfolio(now: Play, most: int = 5, share: float = 0.5, spread: bool = True) -> Iterator[Step]:
    """The first of the order, compared at the highest rung that a share of the time allows; the best is trained on."""
    chosen = now.spread if spread else now.order
    for number in range(min(most, len(chosen)), 1, -1):
        for rung in range(top(now), 0, -1):
            if sum(now.cell.seconds(at, -1, rung) for at in chosen[:number]) <= share * now.limit:
                yield from ((at, rung) for at in chosen[:number])
                return
    yield now.order[0], top(now)


CONTROLS: dict[str, Strategy] = {
    "random search": random,
    "synchronous halving": halving,
    "one epoch, best three": one_epoch,
    "grid by hand": grid,
    "static list": static,
    "default all the time": default,
    "portfolio of 5": portfolio,
    "portfolio of 3": partial(portfolio, most=3),
    "portfolio of 3, a fifth": partial(portfolio, most=3, share=0.2),
    "oracle": oracle,
}
RANDOM = (
    "random search",
    "synchronous halving",
    "one epoch, best three",
)  # others are the same in every seed of a draw
