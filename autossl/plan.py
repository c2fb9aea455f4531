"""The time planner: how a study's seconds go to search, baselines, finalists, final training and the end."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal, NamedTuple

from autossl.errors import UserError
from autossl.rungs import ETA, MIN_RUNG, ROUND, Ladder, Method, Needs, climb, depth, ladder, order, tried_first

FLOOR_SECONDS = 60.0  # no machine gets through start-up, two paradigms, evaluation and export in less
MARGIN = 1.25  # what must follow the final training is reserved at its estimated cost times this
PAUSE = 2.0  # seconds kept free at the very end
WRONG = 3.0  # training and scoring may cost so many times their estimate: the least answer must still fit
PARADIGMS = 2  # the least honest answer: so many paradigms at one rung
REPLICATES = 0.15  # share of the time before the end that new training seeds of the finalists may take
SUPERVISED_EPOCHS = 10  # one run of the supervised search should see the labels so often

Step = Literal["search", "rescue", "supervised", "finalist", "replicate", "final training", "finetune", "label curve"]


@dataclass(frozen=True)
class Plan:
    """What a study does and until when (seconds of the study clock); stored in the study, repeated by `--plan`."""

    rungs: tuple[int, ...]  # images seen, lowest first
    methods: tuple[str, ...]  # whose first priors are tried first, in this order
    skipped: tuple[str, ...]  # did not fit; TPE may still draw them
    table: tuple[Method, ...]  # all methods
    max_candidates: int | None
    limit: float | None = None
    until: Mapping[str, float] = field(default_factory=dict)  # when a Step must be over; empty without a limit
    candidates: int = 0  # so many the rungs were sized for
    supervised_seconds: float = 0.0
    supervised_least: float = 0.0  # one short run, which every study gets
    supervised_runs: int = 1
    finalists: int = 2
    finalist_seconds: float = 0.0  # one encoder embedded and scored
    replicates: int = 0  # new training seeds of each finalist
    final_seconds: float = 0.0
    final_images: int | None = None  # length of the final training without a time limit
    finetune_seconds: float = 0.0
    end_seconds: float = 0.0  # reserved for what follows the final training
    planned_away: tuple[str, ...] = ()  # sentences
    eta: int = ETA

    @property
    def search_until(self) -> float | None:
        """When the search is over; None without a limit."""
        return self.until.get("search")

    @property
    def final_until(self) -> float | None:
        """When the final training is over; None without a limit."""
        return self.until.get("final training")

    def method(self, name: str) -> Method:
        """The row of a method."""
        return next(row for row in self.table if row.name == name)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {**asdict(self), "table": [list(row) for row in self.table]}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Plan":
        """The plan that `to_dict` wrote."""
        lists = {name: tuple(values[name]) for name in ("rungs", "methods", "skipped", "planned_away")}
        return cls(**{**values, **lists, "table": tuple(Method(*row) for row in values["table"])})


class Ambition(NamedTuple):
    """One level of what a study hopes for; supervised, finetune and final are shares of the limit."""

    finalists: int
    replicates: int
    supervised: float
    finetune: float
    final: float
    candidates: int  # fewer than these: planned away to the next level


AMBITIONS = (  # what goes first: replicates, second finalist, supervised search, upper rungs, methods
    Ambition(3, 2, 0.10, 0.06, 1 / 3, 24),
    Ambition(3, 1, 0.10, 0.06, 1 / 3, 18),
    Ambition(2, 1, 0.10, 0.06, 1 / 3, 14),
    Ambition(2, 0, 0.10, 0.06, 1 / 3, 8),
    Ambition(1, 0, 0.10, 0.06, 1 / 3, 6),
    Ambition(1, 0, 0.05, 0.04, 1 / 3, 4),
    Ambition(1, 0, 0.05, 0.00, 1 / 4, 4),
    Ambition(1, 0, 0.00, 0.00, 1 / 6, 3),
    Ambition(1, 0, 0.00, 0.00, 0.00, 2),
)


def check_limit(limit: float | None) -> None:
    """Refuse, before anything is measured, a limit in which nothing can be done."""
    if limit is not None and limit < FLOOR_SECONDS:
        raise UserError(
            f"a time limit of at least {FLOOR_SECONDS:.0f}s was wanted (start-up, two methods, evaluation and export take "
            f"that), found --time-limit {limit:g}s; give for example 3m"
        )


def make_plan(limit: float, now: float, needs: Needs) -> Plan:
    """Plan the seconds from `now` to `limit`; UserError naming the limit that would do if it is too short."""
    plan = _best(limit, now, needs)
    if plan is None:
        raise UserError(
            f"a time limit of at least {_least(limit, now, needs)}s was wanted (two paradigms at one rung, their evaluation "
            f"and export, at the speed measured here), found --time-limit {limit:g}s; give that much, or fewer images"
        )
    return plan


def make_untimed_plan(needs: Needs, rungs: Sequence[int] = ()) -> Plan:
    """A plan without a time limit, which depends on no measured speed; `max_candidates` must bound it."""
    most = needs.max_candidates
    if most is None:
        raise UserError("a bound of the search was wanted, found --time-limit none and no --max-candidates; give one")
    first = ROUND * round(min(max(needs.pool, MIN_RUNG), 16 * MIN_RUNG) / ROUND)
    ladder_ = tuple(rungs) or climb(first, depth(most))
    tried = order(needs.methods)[:most]
    return Plan(
        rungs=ladder_,
        methods=tried,
        skipped=_others(needs, tried),
        table=needs.methods,
        max_candidates=most,
        candidates=most,
        supervised_runs=3,
        finalists=min(2, most),
        final_images=3 * ladder_[-1],
    )


def extend(plan: Plan, limit: float | None, now: float, needs: Needs) -> Plan:
    """The plan of a study that goes on until another limit: its rungs and first priors stay, upper rungs may come."""
    if limit is None:
        if needs.max_candidates is None:
            raise UserError(
                "a bound of the search was wanted, found --time-limit none and no --max-candidates; give one"
            )
        bounds = replace(plan, limit=None, until={}, max_candidates=needs.max_candidates, planned_away=())
        return replace(bounds, final_images=plan.final_images or 3 * plan.rungs[-1])
    known = Ladder(plan.rungs, plan.candidates)
    found = _best(limit, now, needs, known)
    if found is None:
        raise UserError(
            f"time for two paradigms, their evaluation and export was wanted, found {max(0.0, limit - now):.0f}s left of "
            f"{limit:.0f}s; give --time-limit +{_least(limit, now, needs, known) - math.floor(plan.limit or limit)}s"
        )
    return replace(found, methods=plan.methods, skipped=plan.skipped, table=plan.table)


def repeat(plan: Plan, candidates: int, final_images: int) -> Plan:
    """An earlier plan without its clock, for `--plan`: the same rungs, priors and order, bounded by counts."""
    return replace(plan, limit=None, until={}, max_candidates=candidates, final_images=final_images)


def hard_end(limit: float) -> float:
    """When a study is over at the very latest: 3 % after its limit, at least 10 s."""
    return max(1.03 * limit, limit + 10)


def left(plan: Plan, step: Step, now: float, needed: float = 0.0) -> float | None:
    """Seconds that a step may take from `now`, 0.0 if it must be left out; None without a limit.

    What follows the step is reserved. With `needed` (seconds) a step that would be cut short is left out.
    """
    if not plan.until:
        return None
    seconds = plan.until[step] - now
    if step == "supervised":  # every study has one short run, if need be at the cost of the final training
        spare = plan.until["rescue"] + plan.supervised_least - now
        seconds = min(plan.supervised_seconds, max(seconds, min(plan.supervised_least, spare)))
    elif step == "finalist":
        needed = max(needed, plan.finalist_seconds)
    elif step == "final training":  # a search that ended early must not make the rest of a night final training
        seconds = min(seconds, 1.5 * plan.final_seconds)
    elif step == "finetune":
        seconds = min(seconds, 1.5 * plan.finetune_seconds)
    return seconds if seconds > max(needed, 0.0) else 0.0


def ensure_time(plan: Plan, now: float, needed: float | None = None) -> None:
    """Refuse to take up a study whose end no longer fits; UserError says how much time to add.

    `needed`: seconds of what remains to be done, start-up over; None: the whole end after the final training.
    """
    if plan.limit is None:
        return
    seconds = plan.end_seconds if needed is None else needed
    missing = now + seconds - hard_end(plan.limit)
    if missing > 0:
        more = 10 * math.ceil((now + 1.1 * seconds + 30 - plan.limit) / 10)  # 30: another start-up
        raise UserError(
            f"{seconds:.0f}s were wanted for evaluation, export and report, found {max(0.0, plan.limit - now):.0f}s left of "
            f"--time-limit {plan.limit:g}s; resume with --time-limit +{more}s"
        )


def _best(limit: float, now: float, needs: Needs, known: Ladder | None = None) -> Plan | None:
    attempts = (_attempt(limit, now, needs, ambition, known) for ambition in AMBITIONS)
    return next((plan for plan in attempts if plan is not None), None)


def _least(limit: float, now: float, needs: Needs, known: Ladder | None = None) -> int:
    """A limit that would do, with a tenth to spare for the next measurement, in steps of ten seconds."""
    while _best(limit, now, needs, known) is None:
        limit *= 1.02
    return 10 * math.ceil(1.1 * limit / 10)


def _attempt(limit: float, now: float, needs: Needs, ambition: Ambition, known: Ladder | None) -> Plan | None:
    costs = needs.costs
    until = _end(limit, needs, ambition)
    room = until["final training"] - now
    one = 2 * costs.score  # a finalist: embeds the scored images and the selection part
    least = MIN_RUNG * costs.supervised
    final = min(ambition.final * limit, 0.45 * room)
    supervised = max(ambition.supervised * limit, least)
    search = room - final - supervised - ambition.finalists * one
    names = order(needs.table, ambition.candidates if ambition.candidates < 4 else None)
    sized = ladder(search, needs, names, known)
    if sized is None:
        return None
    again = ambition.finalists * ambition.replicates * (sized.rungs[-1] * needs.mean(names) + one)
    if again > REPLICATES * room:
        return None
    sized = ladder(search - again, needs, names, known)
    if sized is None or sized.candidates < _demand(needs, ambition):
        return None
    methods = tried_first(names, sized.rungs[0], search - again, sized.candidates, needs)
    until["replicate"] = until["finalist"] = until["final training"] - final
    until["supervised"] = until["replicate"] - ambition.finalists * one - again
    until["search"] = until["supervised"] - supervised
    until["rescue"] = until["final training"] - least - one
    if until["rescue"] - now < WRONG * sum(costs.segment(name, sized.rungs[0]) for name in methods[:PARADIGMS]):
        return None
    plan = Plan(
        rungs=sized.rungs,
        methods=methods,
        skipped=_others(needs, methods),
        table=needs.table,
        max_candidates=needs.max_candidates,
        limit=limit,
        until=until,
        candidates=sized.candidates,
        supervised_seconds=supervised,
        supervised_least=least,
        supervised_runs=_supervised_runs(supervised, needs),
        finalists=min(ambition.finalists, sized.candidates),
        finalist_seconds=one,
        replicates=ambition.replicates,
        final_seconds=final,
        finetune_seconds=ambition.finetune * limit if needs.finetune else 0.0,
        end_seconds=limit - until["final training"],
    )
    return replace(plan, planned_away=_planned_away(plan))


def _end(limit: float, needs: Needs, ambition: Ambition) -> dict[str, float]:
    """When the last steps must be over, from the limit backwards."""
    costs = needs.costs
    written = limit - MARGIN * (costs.export + costs.report) - PAUSE
    tuned = written - min(0.02 * limit, 60.0)
    tested = tuned - (ambition.finetune * limit if needs.finetune else 0.0)
    trained = tested - MARGIN * (2 * costs.score + (1 + needs.baselines) * costs.encoder(needs.images))
    return {"label curve": written, "finetune": tuned, "final training": trained}


def _demand(needs: Needs, ambition: Ambition) -> int:
    demand = min(ambition.candidates, needs.max_candidates or ambition.candidates)
    return min(demand, needs.paradigms) if ambition.candidates <= 4 else demand


def _supervised_runs(seconds: float, needs: Needs) -> int:
    epoch = needs.costs.supervised * max(needs.labelled, 1)
    return max(1, min(8, int(seconds / (SUPERVISED_EPOCHS * epoch))))


def _others(needs: Needs, names: Sequence[str]) -> tuple[str, ...]:
    return tuple(row.name for row in needs.methods if row.name not in names)


def _planned_away(plan: Plan) -> tuple[str, ...]:
    """What the limit left no time for, in sentences."""
    lost = {
        "New training seeds of the finalists did not fit: one training seed stands behind each score.": (
            plan.replicates == 0
        ),
        "A second finalist did not fit: the best candidate of the search is trained on.": plan.finalists == 1,
        "A search over supervised settings did not fit: the supervised baseline is one default run.": (
            plan.supervised_runs == 1
        ),
        f"Upper rungs did not fit: candidates are compared after {plan.rungs[-1]} images.": len(plan.rungs) < 3,
        f"Methods that were not tried first: {', '.join(plan.skipped)}.": bool(plan.skipped),
    }
    return tuple(sentence for sentence, holds in lost.items() if holds)
