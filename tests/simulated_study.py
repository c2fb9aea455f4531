"""A simulated study on a simulated clock: the real planner and scheduler, costs and misfortunes made up."""

import heapq
import math
import re
from dataclasses import dataclass, field, replace

from autossl.errors import UserError
from autossl.record import clock
from autossl.record.entries import Entry
from autossl.trials.deadlines import ensure_time, hard_end, left
from autossl.trials.plan import PARADIGMS, Plan, extend, make_plan
from autossl.trials.scheduler import Promote, Sample, Stop, Wait, enough, next_step, search_left
from autossl.trials.sizing import Method, Needs
from autossl.trials.standing import finalists

WRONG = 3.0  # what the time limit must bear: true cost over estimated cost

TABLE = (
    Method("simclr", "contrastive", 3, 2.0),
    Method("vicreg", "predictive", 2, 2.0),
    Method("byol", "predictive", 2, 2.7),
    Method("hybrid", "hybrid", 2, 3.2),
    Method("cnn_mae", "generative", 2, 1.2),
    Method("denoising", "generative", 1, 1.2),
    Method("rotation", "predictive", 1, 1.0),
)


class Killed(Exception):
    """The process group was killed."""


class Refused(Exception):
    """There is no time for this study; its args are the limit that would do."""


@dataclass(frozen=True)
class World:
    """What a study meets; `wrong` is true cost over estimated cost, by method and for "score" and "end"."""

    limit: float
    needs: Needs
    start: float
    step: float  # seconds of one training step
    wrong: dict[str, float] = field(default_factory=dict)
    freezes: tuple[tuple[float, float], ...] = ()  # when (as a share of the time up to the rescue), seconds
    late: tuple[tuple[float, float], ...] = ()  # freezes at any time, small: when (as a share of the limit), seconds
    kills: tuple[float, ...] = ()  # when, as a share of the limit
    broken: frozenset[str] = frozenset()  # methods whose candidates collapse

    def off(self, what: str) -> float:
        """True cost over estimated cost."""
        return self.wrong.get(what, 1.0)


@dataclass
class Segment:
    """A segment that a worker ran: what its entry is, from when to when."""

    entry: Entry
    begin: float
    end: float


@dataclass
class Study:
    """A simulated study; `now` is the study clock."""

    world: World
    now: float = 0.0
    plan: Plan | None = None
    limit: float = 0.0
    segments: list[Segment] = field(default_factory=list)
    queue: list[Entry] = field(default_factory=list)
    freezes: list[tuple[float, float]] = field(default_factory=list)
    kills: list[float] = field(default_factory=list)
    measured: set[str] = field(default_factory=set)
    exported: list[str] = field(default_factory=list)
    lost: float = 0.0  # seconds that freezes and kills took
    spare: float = 0.0  # seconds that may be lost before the least answer is

    def after(self, now: float, seconds: float, until: float = math.inf) -> tuple[float, bool]:
        """When work of so many seconds ends, and whether it was done: the step that passes `until` is the last."""
        end, stop = now + seconds, until + self.world.step
        for at, length in self.freezes:
            if now <= at < end:
                end += length
            if now <= at < until < at + length:
                stop = at + length + self.world.step
            elif until <= at < stop:
                stop += length
        return min(end, stop), end <= stop

    def work(self, seconds: float, until: float = math.inf) -> None:
        """The main process works; it may be killed meanwhile."""
        end, _ = self.after(self.now, seconds, until)
        if self.kills and self.kills[0] < end:
            self.now = max(self.now, self.kills.pop(0))
            raise Killed
        self.now = end

    def cost(self, method: str, images: int) -> float:
        """Seconds of a segment: as estimated, or as measured once the method was trained."""
        world, costs = self.world, self.world.needs.costs
        return costs.image(method) * images * (world.off(method) if method in self.measured else 1.0) + costs.score

    def entries(self, now: float) -> list[Entry]:
        """The trials as they stand at this moment."""
        seen = [
            s.entry if s.end <= now else replace(s.entry, state="running", score=None, reason="") for s in self.segments
        ]
        return seen + self.queue


def run(world: World) -> Study:
    """One study to its end, taken up again after every kill. Raises Refused."""
    study = Study(world, limit=world.limit, kills=sorted(share * world.limit for share in world.kills))
    while True:
        try:
            _one_run(study)
            return study
        except Killed:
            _lose(study)


def _one_run(study: Study) -> None:
    world = study.world
    study.work(world.start)
    if study.plan is None:
        try:
            study.plan = make_plan(study.limit, study.now, world.needs)
        except UserError as refusal:
            raise Refused(_named(refusal, r"give --time-limit (\w+)")) from None
        _freeze(study, study.plan)
        costs, methods = world.needs.costs, study.plan.methods[:PARADIGMS]
        worst = WRONG * sum(costs.segment(name, study.plan.rungs[0]) for name in methods)
        study.spare = study.plan.until["rescue"] - study.now - worst
    else:
        _take_up(study, study.plan)
    _search(study, study.plan)
    _finish(study, study.plan)


def _named(refusal: UserError, pattern: str) -> float:
    found = re.search(pattern, str(refusal))
    assert found is not None
    return clock.seconds(found[1]) or math.inf


def _freeze(study: Study, plan: Plan) -> None:
    """Long freezes end before the last moment for the search; the others stay within the tolerance together."""
    world, last, free = study.world, plan.until["rescue"], study.now
    spare = hard_end(study.limit) - study.limit - world.step
    wanted = [(share * last, seconds, True) for share, seconds in world.freezes]
    wanted += [(share * study.limit, seconds, False) for share, seconds in world.late]
    for at, seconds, long in sorted(wanted):
        begin = max(at, free)
        length = max(0.0, min(seconds, last - begin if long else spare))
        spare -= 0.0 if long else length
        free = begin + length
        study.freezes.append((begin, length))
        study.lost += length


def _take_up(study: Study, plan: Plan) -> None:
    """A killed study goes on in what was left, or gets the time that its refusal names."""
    if study.now > plan.until["rescue"]:  # the tolerance is needed for the kill
        study.freezes = []
    try:
        ensure_time(plan, study.now)
    except UserError as refusal:
        study.limit += _named(refusal, r"\+(\d+)s")
        study.now += study.world.start
        _extend(study, plan)


def _extend(study: Study, plan: Plan) -> None:
    answered = enough(study.entries(study.now), plan)
    try:
        study.plan = extend(plan, study.limit, study.now, study.world.needs, answered)
    except UserError as refusal:  # it names more where the least answer is still missing
        study.limit = (plan.limit or 0) + _named(refusal, r"\+(\d+)s")
        study.now += study.world.start
        study.plan = extend(plan, study.limit, study.now, study.world.needs, answered)


def _lose(study: Study) -> None:
    """Running segments are lost, and queued again: a kill of the whole study is not their doing."""
    begun = min((s.begin for s in study.segments if s.end > study.now), default=study.now)
    study.lost += study.now - begun + study.world.start
    for segment in study.segments:
        if segment.end > study.now:
            segment.end = study.now
            segment.entry = replace(segment.entry, state="failed", reason="lost", score=None)
            number = len(study.segments) + len(study.queue)
            study.queue.append(replace(segment.entry, number=number, state="waiting", reason=""))


def _search(study: Study, plan: Plan) -> None:
    """Workers ask, train to their deadline, score; the one that is free first asks next."""
    free = [(study.now, number) for number in range(study.world.needs.workers)]
    over = study.now
    while free:
        now, number = heapq.heappop(free)
        if study.kills and study.kills[0] <= now:
            study.now = max(study.now, study.kills.pop(0))
            raise Killed
        seconds = search_left(study.entries(now), plan, now)
        assert seconds is not None
        step = study.queue[0] if study.queue else next_step(study.entries(now), plan, seconds, study.cost)
        if seconds == 0 or isinstance(step, Stop):
            over = max(over, now)
        elif isinstance(step, Wait):
            heapq.heappush(free, (now + 0.5, number))
        else:
            heapq.heappush(free, (_segment(study, plan, step, now, seconds), number))
    study.now = over


def _segment(study: Study, plan: Plan, step: Entry | Promote | Sample, now: float, seconds: float) -> float:
    """Train and score; returns when the worker is free again."""
    world, costs = study.world, study.world.needs.costs
    entry = _entry(study, step)
    below = plan.rungs[entry.rung - 1] if entry.rung else 0
    training = costs.image(entry.method) * world.off(entry.method) * (plan.rungs[entry.rung] - below)
    end, done = study.after(now, training, now + seconds)
    if not done:
        study.segments.append(Segment(replace(entry, state="failed", reason="out of time"), now, end))
        return end
    end, _ = study.after(end, costs.score * world.off("score"))
    study.measured.add(entry.method)
    quality = (entry.candidate * 37 % 101) / 101
    told = replace(entry, state="scored", score=quality)
    if entry.method in world.broken:
        told = replace(entry, state="failed", reason="collapsed")
    study.segments.append(Segment(told, now, end))
    return end


def _entry(study: Study, step: Entry | Promote | Sample) -> Entry:
    number = len(study.segments)
    if isinstance(step, Entry):
        study.queue.pop(0)
        return replace(step, number=number, state="running")
    if isinstance(step, Promote):
        parent = next(s.entry for s in study.segments if s.entry.candidate == step.candidate)
        return replace(parent, number=number, rung=step.rung, state="running", score=None, reason="")
    candidate = 1 + max((s.entry.candidate for s in study.segments), default=-1)
    row = TABLE[candidate % len(TABLE)] if step.method is None else next(r for r in TABLE if r.name == step.method)
    return Entry(number, candidate, row.name, row.paradigm, 0, "running", prior_index=step.prior)


def _finish(study: Study, plan: Plan) -> None:
    """What follows the search; optional steps ask first, the others are reserved."""
    world, needs, costs = study.world, study.world.needs, study.world.needs.costs
    chosen = finalists([s.entry for s in study.segments], plan.finalists)
    if not chosen:
        return
    one = 2 * costs.score * world.off("score")
    _cut(study, left(plan, "supervised", study.now))
    study.work(one)
    for _ in chosen[1:]:
        if left(plan, "finalist", study.now):
            study.work(one)
    for entry in chosen * plan.replicates:
        training = costs.image(entry.method) * plan.rungs[entry.rung]
        seconds = left(plan, "replicate", study.now, needed=training)
        if seconds:
            study.work(training * world.off(entry.method), study.now + seconds)
            study.work(one)
    study.work(costs.export * world.off("end"))
    study.exported.append(chosen[0].method)
    _cut(study, left(plan, "final training", study.now))
    study.work(world.off("end") * (2 * costs.score + (1 + needs.baselines) * costs.encoder(needs.images)))
    if needs.finetune:
        seconds = left(plan, "finetune", study.now)
        _cut(study, seconds)
        if seconds:
            study.work(world.off("end") * costs.encoder(needs.images))
    _cut(study, left(plan, "label curve", study.now))
    study.work(world.off("end") * (costs.export + costs.report))
    study.exported.append("final")


def _cut(study: Study, seconds: float | None) -> None:
    """Work that would go on for ever and is stopped after so many seconds."""
    assert seconds is not None
    if seconds:
        study.work(math.inf, study.now + seconds)
