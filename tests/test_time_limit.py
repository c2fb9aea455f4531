"""The time limit is kept: planner and scheduler drive simulated studies whose costs, stalls and kills they cannot know.

What is shown. Training costs per image and scoring are wrong by a factor of three either way, by method; steps are up
to five seconds long; the machine freezes and is killed at any moment. What follows the final training costs at most
MARGIN times its estimate, and freezes there stay below the tolerance of the limit. Then no run ends later than 3 % (at
least 10 s) after the limit; and if freezes and kills leave the time of the least answer, it is there.
"""

import math
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from autossl.plan import MARGIN, hard_end
from autossl.rungs import Costs, Needs
from autossl.scheduler import enough
from tests.simulated_study import TABLE, Refused, Study, World, run


def shares(most: float) -> st.SearchStrategy[tuple[tuple[float, float], ...]]:
    """Up to three freezes of at most so many seconds."""
    return st.lists(st.tuples(st.floats(0, 1), st.floats(0, most)), max_size=3).map(tuple)


@st.composite
def worlds(draw: st.DrawFn) -> World:
    """Studies of 90 seconds to 48 hours, from a slow pair of cores to a GPU a hundred times as fast."""
    limit = round(90 * 1920 ** draw(st.floats(0, 1)))
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
        most = most or 120
    wrong = st.floats(-1, 1).map(lambda power: 3**power)
    return World(
        limit=limit,
        needs=Needs(costs, TABLE, images // 2, images, images // 2, most, workers, finetune=draw(st.booleans())),
        start=draw(st.floats(8, 30)),
        step=draw(st.floats(0.05, 5)),
        wrong={name: draw(wrong) for name in [row.name for row in TABLE] + ["score"]}
        | {"end": draw(st.floats(1 / 3, MARGIN))},
        freezes=draw(shares(0.3 * limit)),
        late=draw(shares(60)),
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


@settings(max_examples=250)
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
