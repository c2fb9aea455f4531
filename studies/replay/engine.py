"""The scheduler of the engine, played over a table under a simulated clock, and what might be changed in it."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from autossl.pretext import METHODS
from autossl.record.entries import Entry
from autossl.trials.costs import Costs
from autossl.trials.plan import Plan, make_untimed_plan
from autossl.trials.scheduler import Promote, Sample, next_step
from autossl.trials.sizing import Method, Needs, order, tried_first
from studies.replay.strategies import Play, Step, Strategy
from studies.replay.table import SCORE, SE

SEARCHED = 0.53  # of the seconds of search and final training that plans give to the search (studies/time_limit)
CORRELATED = 0.5  # standard error of a paired difference in that of an unpaired one (studies/time_limit)
ONE = "all"  # paradigm of everything where none has a floor
Choice = Callable[[Play, list[Entry], list[int]], int]


def anyone(now: Play, entries: list[Entry], others: list[int]) -> int:
    """In place of what TPE would draw: any candidate that was not tried."""
    return int(now.random.choice(others))


def today(
    now: Play, known: bool = False, floors: bool = True, share: float = SEARCHED, draw: Choice = anyone
) -> Iterator[Step]:
    """The scheduler as it is, its rungs those of the table.

    `known`: methods are tried in the order of other sets, not in that of the modality. `floors`: the best of each
    paradigm goes up once. `share` of the time is searched, the rest trains the best on.
    """
    own: dict[str, int] = {}
    for at, candidate in enumerate(now.cell.candidates):
        own.setdefault(candidate.method, at)
    names = dict.fromkeys(now.cell.candidates[at].method for at in now.order) if known else now.cell.usual
    plan, until = _plan(now, own, [name for name in names if name in own], known, share * now.limit), share * now.limit
    entries: list[Entry] = []
    if not floors:
        plan = replace(plan, table=tuple(row._replace(paradigm=ONE) for row in plan.table))
    while (step := _next(now, plan, entries, own, until, draw)) is not None:
        yield step
        entries.append(_entry(now, *step, len(entries), own, floors))


def _next(now: Play, plan: Plan, entries: list[Entry], own: dict[str, int], until: float, draw: Choice) -> Step | None:
    """The step that the engine takes, as the candidate and the rung; None where its search is over."""
    cell = now.cell

    def cost(method: str, images: int) -> float:
        return cell.candidates[own[method]].per_image * images + cell.scoring

    def paired(a: int, b: int, rung: int) -> tuple[float, float]:
        one, other = (cell.candidates[at].proxies for at in (a, b))
        gap = one[SCORE][rung, now.draw] - other[SCORE][rung, now.draw]
        return float(gap), CORRELATED * float(np.hypot(one[SE][rung, now.draw], other[SE][rung, now.draw]))

    step = next_step(entries, plan, until - now.spent, cost, paired)
    if isinstance(step, Promote):
        return step.candidate, step.rung
    if not isinstance(step, Sample):
        return None
    if step.method is not None:
        return own[step.method], 0
    others = [at for at in range(len(cell.candidates)) if at not in now.rung]
    return (draw(now, entries, others), 0) if others else None


def _entry(now: Play, at: int, rung: int, number: int, own: dict[str, int], floors: bool) -> Entry:
    one = now.cell.candidates[at]
    prior, paradigm = 0 if own[one.method] == at else None, one.paradigm if floors else ONE
    score, se = (float(one.proxies[name][rung, now.draw]) for name in (SCORE, SE))
    return Entry(number, at, one.method, paradigm, rung, "scored", score, se, prior_index=prior)


def _plan(now: Play, own: dict[str, int], names: Sequence[str], known: bool, seconds: float) -> Plan:
    """As a timed study plans it, but for the rungs."""
    cell = now.cell
    table = tuple(Method(name, METHODS[name].paradigm, 1, cell.candidates[own[name]].per_image) for name in names)
    costs = Costs({row.name: row.per_image for row in table}, score=cell.scoring)
    needs = Needs(costs, table, 1, 1, 1, max_candidates=len(cell.candidates))
    rungs = cell.candidates[0].images
    inorder = tuple(names) if known else order(table)
    first = tried_first(inorder, rungs[0], seconds, len(table), needs)
    return replace(make_untimed_plan(needs, rungs), methods=first, skipped=needs.others(first), candidates=len(first))


ENGINE: dict[str, Strategy] = {
    "today": today,
    "today, order of other sets": partial(today, known=True),
    "today, no floors": partial(today, floors=False),
    "today, equal seconds": today,
    "today, a fifth searched": partial(today, share=0.2),
    "order, no floors, a fifth": partial(today, known=True, floors=False, share=0.2),
}
TIMED = ("today, equal seconds",)  # rungs of these are seconds
