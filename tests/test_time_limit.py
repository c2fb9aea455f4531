"""The time limit is kept: planner and scheduler drive simulated studies whose costs, stalls and kills they cannot know.

What is shown. Training costs per image and scoring are wrong by a factor of three either way, by method; steps are up
to five seconds long; the machine is killed at any moment and freezes: for any time before the search's last moment
(`until["rescue"]`), after it for the tolerance of the limit less one step in all, or not at all if a kill came so late.
What follows the final training costs at most MARGIN times its estimate. Then no study ends later than 3 % (at least
10 s) after its limit. If freezes and kills leave the time of the least answer at three times its estimated cost, that
answer is there; and whatever was scored ends in an exported encoder. A refusal names a limit that is then enough.
"""

import math
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autossl.record.entries import Entry
from autossl.trials.costs import Costs
from autossl.trials.deadlines import hard_end
from autossl.trials.plan import MARGIN
from autossl.trials.scheduler import enough, search_left
from autossl.trials.sizing import Needs
from tests.simulated_study import TABLE, WRONG, Refused, Study, World, run


def extremes(low: float, high: float) -> st.SearchStrategy[float]:
    """Numbers of a range, often its ends."""
    return st.sampled_from((low, high)) | st.floats(low, high)


def freezes(first: float, most: float) -> st.SearchStrategy[tuple[tuple[float, float], ...]]:
    """Up to three: when, as a share of the time (from `first` on), and at most so many seconds."""
    return st.lists(st.tuples(st.floats(first, 1), extremes(0, most)), max_size=3).map(tuple)


@st.composite
def worlds(draw: st.DrawFn) -> World:
    """Studies of 90 seconds to 48 hours, from a slow pair of cores to a GPU a hundred times as fast."""
    limit = round(90 * 1920 ** (draw(st.floats(0, 1)) * draw(st.sampled_from((0.2, 1.0)))))
    speed = 100 ** draw(st.floats(-0.3, 1))
    workers = draw(st.integers(1, 4))
    images = draw(st.integers(300, 60000))
    costs = Costs(
        per_image={row.name: row.per_image * 1e-3 / speed for row in TABLE},
        per_pass=1e-3 / speed,
        score=draw(st.floats(0.3, 3)),
        embed=3e-4 / speed,
        supervised=1.2e-3 / speed,
    )
    most = draw(st.sampled_from([None, 2, 5, 40]))
    if limit * workers * speed > 1e5:  # thousands of simulated segments would take minutes
        most = most or 80
    wrong = extremes(-1, 1).map(lambda power: WRONG**power)
    return World(
        limit=limit,
        needs=Needs(costs, TABLE, images // 2, images, images // 2, most, workers, finetune=draw(st.booleans())),
        start=draw(st.floats(8, 30)),
        step=draw(extremes(0.05, 5)),
        wrong={name: draw(wrong) for name in [row.name for row in TABLE] + ["score"]}
        | {"end": draw(extremes(1 / 3, MARGIN))},
        freezes=draw(freezes(0, 0.3 * limit)),
        late=draw(freezes(0.5, 60)),
        kills=tuple(draw(st.lists(st.floats(0, 1), max_size=2))),
        broken=draw(st.frozensets(st.sampled_from([row.name for row in TABLE]), max_size=2)),
    )


def check(study: Study) -> None:
    """Never late; never empty-handed."""
    assert study.plan is not None
    assert study.now <= hard_end(study.limit) + 1e-6
    entries = study.entries(math.inf)
    if not study.world.broken and study.lost <= study.spare:
        assert enough(entries, study.plan)
    if any(entry.state == "scored" for entry in entries):
        assert study.exported[-1] == "final"
    claims = [(e.candidate, e.rung) for e in entries if e.state == "scored"]
    assert len(claims) == len(set(claims))


@settings(max_examples=150)
@given(worlds())
def test_never_late_and_never_empty_handed(world: World) -> None:
    limit = refused(world)
    if limit is not None:
        assert limit > world.limit
        check(run(replace(world, limit=limit, kills=())))


def refused(world: World) -> float | None:
    """The limit that a refusal names; None if the study ran, and well."""
    try:
        check(run(world))
    except Refused as refusal:
        return float(refusal.args[0])
    return None


def two_cores(limit: int, wrong: dict[str, float], workers: int = 1) -> World:
    """17,000 images of 28 px on two cores."""
    costs = Costs({row.name: row.per_image * 1e-3 for row in TABLE})
    return World(limit, Needs(costs, TABLE, 8400, 17000, 12000, workers=workers), 22, 0.5, wrong)


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("limit", [170, 180, 600])
def test_the_worst_of_everything_at_once(limit: int, workers: int) -> None:
    """Everything three times as dear, long steps, a freeze of any length early, the tolerance used up late."""
    wrong = {**{row.name: WRONG for row in TABLE}, "score": WRONG, "end": MARGIN}
    world = replace(two_cores(limit, wrong, workers), step=4, late=((0.97, 60.0),))
    answered = 0
    for seconds in range(0, limit, 3):
        study = run(replace(world, freezes=((0.2, float(seconds)),)))
        check(study)
        answered += study.exported[-1:] == ["final"]
    assert answered > limit / 10


@pytest.mark.parametrize("dearer", [0.7, 1.0, 1.3])
def test_what_three_and_ten_minutes_give(dearer: float) -> None:
    wrong = {name: dearer for name in [row.name for row in TABLE] + ["score"]}
    for limit, candidates, rungs in ((180, 4 if dearer < 1.3 else 3, 1), (600, 8, 2)):
        study = run(two_cores(limit, wrong))
        scored = [entry for entry in study.entries(math.inf) if entry.state == "scored"]
        assert len({entry.candidate for entry in scored}) >= candidates
        assert len({entry.paradigm for entry in scored if entry.rung == 0}) == 4
        assert len({entry.rung for entry in scored}) >= rungs


def test_the_search_goes_on_for_the_least_answer_only() -> None:
    """Two paradigms at one rung, or one where there is only one."""
    plan = run(two_cores(600, {})).plan
    assert plan is not None
    one = Entry(0, 0, "simclr", "contrastive", 0, "scored", 0.5)
    other = Entry(1, 1, "byol", "predictive", 0, "scored", 0.6)
    assert enough([one, other], plan)
    assert not enough([one, replace(other, rung=1)], plan)
    assert not enough([one, replace(other, state="failed")], plan)
    assert enough([one], replace(plan, table=TABLE[:1]))
    assert enough([one], replace(plan, max_candidates=1))
    end, last = plan.until["search"], plan.until["rescue"]
    assert search_left([one, other], plan, end - 3) == pytest.approx(3)
    assert search_left([one, other], plan, end + 1) == 0
    assert search_left([one], plan, end + 1) == pytest.approx(last - end - 1)
    assert search_left([one], plan, 1e6) == 0
    assert search_left([one], replace(plan, until={}), 1e6) is None
