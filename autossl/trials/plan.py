"""The time planner: how a study's seconds go to search, baselines, finalists, final training and the end."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Literal

from autossl.errors import UserError
from autossl.errors.printable import joined
from autossl.record.clock import in_words
from autossl.trials.ambitions import Ambition, alone, hopes
from autossl.trials.limits import too_short
from autossl.trials.sizing import (
    ETA,
    Ladder,
    Method,
    Needs,
    climb,
    ladder,
    tried_first,
)

MARGIN = 1.25  # what must follow the final training is reserved at its estimated cost times this
PAUSE = 2.0  # seconds kept free at the very end
WRONG = 3.0  # training and scoring may cost so many times their estimate: the least answer must still fit
RESTART = 30.0  # seconds of another start-up, for a study that is refused and taken up with more time
PARADIGMS = 2  # the least honest answer: so many paradigms at one rung
MOST_FINAL = 0.75  # of the time before the end for the final training
REPLICATES = 0.15  # share of the time before the end that new training seeds of the finalists may take
CURVE = 0.2  # times what the supervised baseline gets: enough for points up to a third of its labels, probes included
UNSEARCHED = "A search did not fit: one candidate is trained, and compared with what needs no search."
SHORTER = 4  # times as short may the only rung be then
UNBOUNDED = "a bound of the search was wanted, found --time-limit none without --max-candidates; give one of the two"

Step = Literal["search", "rescue", "supervised", "finalist", "replicate", "final training", "finetune", "label curve"]


@dataclass(frozen=True)
class Plan:
    """What a study does and until when (seconds of the study clock); stored in the study, repeated by `--plan`."""

    rungs: tuple[int, ...]  # images seen, lowest first
    methods: tuple[str, ...]  # whose first priors are tried first, in this order
    skipped: tuple[str, ...]  # did not fit; their first priors come after promotions and further priors
    table: tuple[Method, ...]  # all methods
    max_candidates: int | None
    limit: float | None = None
    until: Mapping[str, float] = field(default_factory=dict)  # when a Step must be over; empty without a limit
    candidates: int = 0  # so many the rungs were sized for
    workers: int = 1
    supervised_seconds: float = 0.0
    supervised_least: float = 0.0  # one short run, which every study gets in which it sees each label
    finalists: int = 2
    finalist_seconds: float = 0.0  # one encoder embedded and scored
    replicates: int = 0  # new training seeds of each finalist
    final_seconds: float = 0.0
    final_images: int | None = None  # length of the final training without a time limit
    finetune_seconds: float = 0.0
    end_seconds: float = 0.0  # reserved for what follows the final training
    planned_away: tuple[str, ...] = ()  # sentences
    eta: int = ETA
    ranked: bool = True  # whether scores rank candidates
    turned: bool = False  # whether probes may look at flips and turns

    @property
    def search_until(self) -> float | None:
        """When the search is over; None without a limit."""
        return self.until.get("search")

    def words(self, now: float) -> str:
        """About how long its parts take from `now` on; empty without a limit."""
        if not self.until:
            return ""
        parts = {
            "search": self.until["search"] - now,
            "training on the labels": self.supervised_seconds,
            "the final training": self.final_seconds,
            "fine-tuning": self.finetune_seconds,
        }
        told = [f"{in_words(seconds)} for {name}" for name, seconds in parts.items() if seconds >= 1]
        return f"about {joined(told)}; what a part leaves goes to those after it"

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
        known = {field.name: values[field.name] for field in fields(cls) if field.name in values}
        return cls(**{**known, **lists, "table": tuple(Method(*row) for row in values["table"])})


def make_plan(limit: float, now: float, needs: Needs, smaller: str = "") -> Plan:
    """Plan the seconds from `now` to `limit`; UserError naming the limit that would do if it is too short.

    `smaller` ends that sentence: the other way out.
    """
    plan = _best(limit, now, needs)
    if plan is None:
        raise too_short(limit, least_limit(limit, now, needs), smaller)
    return plan


def fits(limit: float, now: float, needs: Needs) -> bool:
    """Whether `make_plan` would plan these seconds."""
    return _best(limit, now, needs) is not None


def fits_whole(limit: float, now: float, needs: Needs) -> bool:
    """The same, with candidates to choose from and, where that is wanted, time for fine-tuning."""
    found = _best(limit, now, needs)
    searches = found is not None and UNSEARCHED not in found.planned_away
    return searches and found is not None and (found.finetune_seconds > 0 or not needs.finetune)


def make_untimed_plan(needs: Needs, rungs: Sequence[int] = ()) -> Plan:
    """A plan without a time limit, which depends on no measured speed; `max_candidates` must bound it."""
    most = needs.max_candidates
    if most is None:
        raise UserError(UNBOUNDED)
    first = needs.step * round(min(max(needs.pool, needs.least), 16 * needs.least) / needs.step)
    images = tuple(rungs) or climb(first, needs.rungs(most))
    tried = needs.order(needs.methods, max(most, 4))[:most]
    return Plan(
        rungs=images,
        methods=tried,
        skipped=needs.others(tried),
        table=needs.methods,
        max_candidates=most,
        candidates=most,
        finalists=min(2, most) if needs.ranked else 1,
        final_images=3 * images[-1],
        ranked=needs.ranked,
        turned=needs.turned,
    )


def extend(plan: Plan, limit: float | None, now: float, needs: Needs, answered: bool = False) -> Plan:
    """The plan of a study that goes on until another limit: its rungs and first priors stay, upper rungs may come.

    `answered`: the least answer is there already, so that little time serves a longer final training only.
    """
    if limit is None:
        if needs.max_candidates is None:
            raise UserError(UNBOUNDED)
        bounds = replace(plan, limit=None, until={}, max_candidates=needs.max_candidates, planned_away=())
        return replace(bounds, final_images=plan.final_images or 3 * plan.rungs[-1])
    known = Ladder(plan.rungs, plan.candidates, answered)
    found = _best(limit, now, needs, known)
    if found is None:
        more = least_limit(limit, now + RESTART, needs, known) - math.floor(plan.limit or now)
        raise UserError(
            f"time for another candidate, evaluation and export was wanted, found {max(0.0, limit - now):.0f}s left of "
            f"{limit:.0f}s; give --time-limit +{more}s"
        )
    return replace(found, methods=plan.methods, skipped=plan.skipped, table=plan.table)


def _best(limit: float, now: float, needs: Needs, known: Ladder | None = None) -> Plan | None:
    attempts = (_attempt(limit, now, needs, level, known) for level in hopes(limit, needs))
    found = next((plan for plan in attempts if plan is not None), None)
    if found is not None or not needs.ranked:
        return found
    one = needs if known else replace(needs, max_candidates=1, least=needs.least // SHORTER)
    attempts = (_attempt(limit, now, one, level, known) for level in alone(limit, needs))
    found = next((plan for plan in attempts if plan is not None), None)
    return found if found is None or known else replace(found, planned_away=(UNSEARCHED, *found.planned_away))


def least_limit(limit: float, now: float, needs: Needs, known: Ladder | None = None) -> int:
    """The least limit from `limit` on that would do, a tenth to spare for the next measurement.

    In steps of ten seconds, from ten minutes on of whole minutes.
    """
    low = high = max(limit, now) - now
    while _best(now + high, now, needs, known) is None:
        low, high = high, 1.5 * high + 10
    while high - low > 2:
        middle = (low + high) / 2
        low, high = (low, middle) if _best(now + middle, now, needs, known) else (middle, high)
    enough = now + 1.1 * high + min(0.1 * now, 60)
    step = 10 if enough < 600 else 60
    return step * math.ceil(enough / step)


def _attempt(limit: float, now: float, needs: Needs, ambition: Ambition, known: Ladder | None) -> Plan | None:
    """The plan with this ambition; None if it does not fit."""
    costs = needs.costs
    until = _end(limit, needs, ambition)
    room = until["final training"] - now
    one = 2 * costs.score  # a finalist: embeds the scored images and the selection part
    final = min(ambition.final * limit, MOST_FINAL * room)
    supervised = max(ambition.supervised * limit, needs.short)
    others = final + supervised + ambition.finalists * one + costs.export
    # the last segment is scored after its deadline, and one finalist is scored and exported even then
    until["rescue"] = until["final training"] - needs.short - WRONG * (costs.score + one) - MARGIN * costs.export
    names = needs.order(needs.table, ambition.candidates)
    surely = needs.images_within((until["rescue"] - now) / WRONG, names[: min(PARADIGMS, ambition.candidates)])
    found = _search(room, others, replace(needs, longest=int(surely)), ambition, names, known)
    if found is None or (surely < found[0].rungs[0] and not found[0].answered):
        return None
    sized, again = found
    methods = tried_first(names, sized.rungs[0], room - others - again, sized.candidates, needs)
    until["replicate"] = until["finalist"] = until["final training"] - final
    until["supervised"] = until["replicate"] - ambition.finalists * one - again - costs.export
    until["search"] = min(until["supervised"] - supervised, until["rescue"])
    return _written(limit, until, sized, methods, needs, ambition)


def _written(
    limit: float, until: Mapping[str, float], sized: Ladder, methods: tuple[str, ...], needs: Needs, ambition: Ambition
) -> Plan:
    plan = Plan(
        rungs=sized.rungs,
        methods=methods,
        skipped=needs.others(methods),
        table=needs.table,
        max_candidates=needs.max_candidates,
        limit=limit,
        until=until,
        candidates=sized.candidates,
        workers=needs.workers,
        supervised_seconds=max(ambition.supervised * limit, needs.short),
        supervised_least=needs.short,
        finalists=min(ambition.finalists, sized.candidates),
        finalist_seconds=2 * needs.costs.score,
        replicates=ambition.replicates,
        final_seconds=until["final training"] - until["replicate"],
        finetune_seconds=ambition.finetune * limit if needs.finetune else 0.0,
        end_seconds=limit - until["final training"],
        ranked=needs.ranked,
        turned=needs.turns(limit),
    )
    return replace(plan, planned_away=_planned_away(plan, needs))


def _search(
    room: float, others: float, needs: Needs, ambition: Ambition, names: Sequence[str], known: Ladder | None
) -> tuple[Ladder, float] | None:
    """The rungs that fit, and the seconds kept for replicates; None if that is less than was hoped for."""
    sized = ladder(room - others, needs, names, known)
    if sized is None:
        return None
    again = ambition.finalists * ambition.replicates * (sized.rungs[-1] * needs.mean(names) + 2 * needs.costs.score)
    if again > REPLICATES * room:
        return None
    sized = ladder(room - others - again, needs, names, known)
    demand = min(ambition.candidates, needs.max_candidates or ambition.candidates)
    if ambition.candidates <= 4:
        demand = min(demand, needs.paradigms)
    return None if sized is None or (known is None and sized.candidates < demand) else (sized, again)


def _end(limit: float, needs: Needs, ambition: Ambition) -> dict[str, float]:
    """When the last steps must be over, from the limit backwards."""
    written = limit - MARGIN * (needs.costs.export + needs.costs.report) - PAUSE
    curve = 0.0 if needs.decoded else CURVE * ambition.supervised * limit
    fits = 2 if ambition.finetune else 1  # that are tested: one, and the mean of several where there is time
    tuned = written - curve - fits * MARGIN * needs.testing_tuned
    tested = tuned - (ambition.finetune * limit if needs.finetune else 0.0)
    trained = tested - MARGIN * (2 * needs.costs.score + needs.judging(limit) + needs.testing)
    return {"label curve": written, "finetune": tuned, "final training": trained}


def _a_pass(needs: Needs) -> str:
    return f"to see each of them once takes {in_words(needs.fitted * needs.costs.supervised)}"


def _planned_away(plan: Plan, needs: Needs) -> tuple[str, ...]:
    """What the limit left no time for, in sentences."""
    if not plan.ranked:
        return ()
    rows = (
        (plan.replicates == 0, "New training seeds of the finalists did not fit: one seed stands behind each score."),
        (plan.finalists == 1, "A second finalist did not fit: the best candidate of the search is trained on."),
        (not plan.supervised_seconds, f"Training on the labels alone did not fit: {_a_pass(needs)}."),
        (needs.finetune and not plan.finetune_seconds, "Fine-tuning did not fit: encoders stay frozen."),
        (needs.turned and not plan.turned, "Means over flips and turns did not fit: probes see images as they are."),
        (len(plan.rungs) < 3, f"Upper rungs did not fit: candidates are compared after {plan.rungs[-1]} images."),
        (bool(plan.skipped), f"Methods that were not tried first: {', '.join(plan.skipped)}."),
    )
    return tuple(sentence for lost, sentence in rows if lost)
