"""The scheduler: what a worker does next (promote, sample, wait or stop), decided from the study's trials alone."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from autossl.record.entries import Entry
from autossl.trials.plan import PARADIGMS, Plan
from autossl.trials.standing import VOID

Cost = Callable[[str, int], float]  # seconds of a segment: a method, images it trains on; scoring included
Paired = Callable[[int, int, int], tuple[float, float]]  # candidates a and b at a rung: difference, standard error

HOPELESS = 12  # when so many candidates failed and none was ever scored, something else is wrong
BREADTH = 0.9  # of the planned candidates are started, whatever promotions turn out to cost


@dataclass(frozen=True)
class Promote:
    """Train a candidate on to this rung."""

    candidate: int
    rung: int


@dataclass(frozen=True)
class Sample:
    """Start a new candidate: a prior configuration of a method, or (None, None) what TPE draws."""

    method: str | None = None
    prior: int | None = None


@dataclass(frozen=True)
class Wait:
    """Nothing to do until a running segment ends."""


@dataclass(frozen=True)
class Stop:
    """The search is over for this worker."""

    reason: str


def next_step(
    entries: Sequence[Entry],
    plan: Plan,
    time_left: float | None = None,
    cost: Cost = lambda method, images: 0.0,
    paired: Paired | None = None,
) -> Promote | Sample | Wait | Stop:
    """The first wish that fits `time_left` (seconds, None: no limit).

    Wishes in order: first priors, one promotion per paradigm, promotions by asynchronous successive halving (Li et
    al. 2020, arXiv 1810.05934), further priors, first priors of the methods that did not fit at first, TPE.
    """
    search = _Search(entries, plan, time_left, cost, paired)
    if time_left is not None and time_left <= 0:
        return Stop("the time of the search is over")
    if search.hopeless:
        return Stop(f"{len(search.candidates)} candidates failed and none was scored")
    for wish in search.wishes():
        if search.seconds(wish) <= search.time:
            return wish
    if any(entry.live for entry in search.entries) and search.may_promote:
        return Wait()
    if search.full:
        return Stop(f"{len(search.candidates)} candidates were tried and nothing is left to promote")
    return Stop("no segment fits the time that is left")


class _Search:
    """The trials of a study as the rules see them."""

    def __init__(
        self, entries: Sequence[Entry], plan: Plan, time_left: float | None, cost: Cost, paired: Paired | None
    ) -> None:
        self.plan, self.cost, self.paired = plan, cost, paired
        self.time = math.inf if time_left is None else time_left
        # a segment queued again has a later trial, which counts; a void one never does
        current = {(e.candidate, e.rung): e for e in sorted(entries, key=lambda e: e.number) if e.reason not in VOID}
        self.entries = list(current.values())
        self.claimed = set(current)
        self.candidates = {e.candidate for e in self.entries}
        self.broken = {e.candidate for e in self.entries if e.state == "failed"}
        self.tried = {(e.method, e.prior_index) for e in entries if e.reason != "out of time"}
        self._scored: dict[int, list[Entry]] = {}
        for entry in sorted(self.entries, key=lambda e: (-e.value, e.candidate)):
            if entry.state == "scored":
                self._scored.setdefault(entry.rung, []).append(entry)

    @property
    def full(self) -> bool:
        most = self.plan.max_candidates
        return most is not None and len(self.candidates) >= most

    @property
    def hopeless(self) -> bool:
        return len(self.broken) >= max(HOPELESS, 2 * len(self.plan.table)) and not self._scored

    @property
    def may_promote(self) -> bool:
        rungs = self.plan.rungs
        if len(rungs) < 2:
            return False
        return min(self.cost(row.name, rungs[1] - rungs[0]) for row in self.plan.table) <= self.time

    @property
    def _could_climb(self) -> bool:
        """Whether a new candidate could still be promoted: else the final training has more of the time."""
        rungs, rows = self.plan.rungs, self.plan.table
        if len(rungs) < 2:
            return True
        climbing = sum(self.cost(row.name, n) for row in rows for n in (rungs[0], rungs[1] - rungs[0])) / len(rows)
        return self.time >= climbing

    def wishes(self) -> Iterator[Promote | Sample]:
        """What would be done, best first, if there were time for it."""
        if not self.full:
            yield from (Sample(name, 0) for name in self.plan.methods if (name, 0) not in self.tried)
        yield from self._floor()
        for rung in range(len(self.plan.rungs) - 2, -1, -1):
            yield from filter(self._leaves_breadth, self._halving(rung))
        if not self.full and self._could_climb:
            yield from self._further_priors()
            yield Sample()

    def seconds(self, wish: Promote | Sample) -> float:
        """What a wish costs; whatever TPE draws must fit."""
        rungs = self.plan.rungs
        if isinstance(wish, Promote):
            below = next(e for e in self.scored(wish.rung - 1) if e.candidate == wish.candidate)
            return self.cost(below.method, rungs[wish.rung] - rungs[wish.rung - 1])
        if wish.method is not None:
            return self.cost(wish.method, rungs[0])
        return max(self.cost(row.name, rungs[0]) for row in self.plan.table)

    def scored(self, rung: int) -> list[Entry]:
        """Scored entries of a rung, best first; ties by number."""
        return self._scored.get(rung, [])

    def _open(self, entries: Sequence[Entry]) -> list[Entry]:
        """Those that nobody promoted yet, and may be."""
        return [e for e in entries if (e.candidate, e.rung + 1) not in self.claimed and e.candidate not in self.broken]

    def _floor(self) -> Iterator[Promote]:
        """The best prior of each paradigm goes up once, so that slow starters get their chance."""
        if len(self.plan.rungs) < 2:
            return
        for paradigm in dict.fromkeys(self.plan.method(name).paradigm for name in self.plan.methods):
            priors = [e for e in self.entries if e.paradigm == paradigm and e.prior_index is not None]
            if any(e.rung == 0 and e.live for e in priors) or any(e.rung > 0 for e in priors):
                continue
            best = self._open([e for e in self.scored(0) if e in priors])[:1]
            wish = [Promote(e.candidate, 1) for e in best]
            yield from (w for w in wish if self.seconds(w) <= self.time / self.plan.eta)

    def _leaves_breadth(self, wish: Promote) -> bool:
        """Whether the candidates that the rungs were sized for can still start after this promotion."""
        missing = math.ceil(BREADTH * self.plan.candidates) - len(self.candidates)
        rows = self.plan.table
        starting = missing * sum(self.cost(row.name, self.plan.rungs[0]) for row in rows) / len(rows)
        return missing <= 0 or self.time - self.seconds(wish) >= starting / self.plan.workers

    def _halving(self, rung: int) -> Iterator[Promote]:
        """The top 1/eta of a rung, and one more that the cut does not separate; of two equals the cheaper first."""
        here = self.scored(rung)
        quota = len(here) // self.plan.eta
        if quota == 0:
            return
        promotable = self._open(here[:quota])
        if promotable:
            best = promotable[0]
            cheaper = [e for e in promotable[1:] if self._price(e) < self._price(best) and self._equal(best, e)]
            first = min([best, *cheaper], key=self._price)
            yield from (Promote(e.candidate, rung + 1) for e in [first, *(e for e in promotable if e is not first)])
            return
        gone_up = sum((e.candidate, rung + 1) in self.claimed for e in here)
        if gone_up <= quota:
            more = self._open(here[quota : quota + 1])
            yield from (Promote(e.candidate, rung + 1) for e in more if self._equal(here[quota - 1], e))

    def _price(self, entry: Entry) -> float:
        """From the plan, not from what was measured since: a repeated study must decide the same."""
        return self.plan.method(entry.method).per_image

    def _equal(self, better: Entry, worse: Entry) -> bool:
        """Whether two entries of a rung lie within one standard error of their (paired) difference."""
        if self.paired is not None:
            difference, se = self.paired(better.candidate, worse.candidate, better.rung)
            return difference <= se
        return better.value - worse.value <= math.hypot(better.se or 0.0, worse.se or 0.0)

    def _further_priors(self) -> Iterator[Sample]:
        """Second priors of the better half of the methods, third priors of the best quarter, then what was skipped."""
        ranked = list(dict.fromkeys(e.method for e in self.scored(0)))
        for index in range(1, max(row.priors for row in self.plan.table)):
            for name in ranked[: math.ceil(len(ranked) / 2**index)]:
                if index < self.plan.method(name).priors and (name, index) not in self.tried:
                    yield Sample(name, index)
        # a method is met by its prior, not by what TPE draws where it knows nothing
        yield from (Sample(name, 0) for name in self.plan.skipped if (name, 0) not in self.tried)


def enough(entries: Sequence[Entry], plan: Plan) -> bool:
    """Whether the least honest answer is there: two paradigms scored at one rung (one, if there is only one)."""
    wanted = min(PARADIGMS, len({row.paradigm for row in plan.table}), plan.max_candidates or PARADIGMS)
    found: dict[int, set[str]] = {}
    for entry in entries:
        if entry.state == "scored":
            found.setdefault(entry.rung, set()).add(entry.paradigm)
    return any(len(paradigms) >= wanted for paradigms in found.values())


def search_end(entries: Sequence[Entry], plan: Plan) -> float | None:
    """When the search is over (study clock); later than planned while the least answer is missing. None: no limit."""
    return plan.until["search" if enough(entries, plan) else "rescue"] if plan.until else None


def search_left(entries: Sequence[Entry], plan: Plan, now: float) -> float | None:
    """Seconds of the search left at `now` (study clock); None without a limit."""
    end = search_end(entries, plan)
    return None if end is None else max(0.0, end - now)
