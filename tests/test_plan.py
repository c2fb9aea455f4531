"""The time planner: what fits, what is planned away first, what is refused, and what a stored plan repeats."""

import json
import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autossl.errors import UserError
from autossl.record.clock import seconds
from autossl.trials.costs import Costs
from autossl.trials.deadlines import ensure_time, hard_end, left
from autossl.trials.limits import check_limit
from autossl.trials.plan import Plan, extend, fits, fits_whole, make_plan, make_untimed_plan
from autossl.trials.sizing import MIN_RUNG, Method, Needs

TABLE = (
    Method("simclr", "contrastive", 3, 2.0),
    Method("vicreg", "non-contrastive and predictive", 2, 2.0),
    Method("byol", "non-contrastive and predictive", 2, 2.7),
    Method("hybrid", "hybrid", 2, 3.2),
    Method("cnn_mae", "generative", 2, 1.2),
    Method("denoising", "generative", 1, 1.2),
    Method("rotation", "non-contrastive and predictive", 1, 1.0),
    Method("jigsaw", "non-contrastive and predictive", 1, 0.9),
)
PARADIGM = {row.name: row.paradigm for row in TABLE}
START = 22.0  # start-up, data, calibration and the untrained encoder on two cores


def needs(slower: float = 1.0, **changes: object) -> Needs:
    """28-px images on two cores, `slower` times."""
    per_image = {row.name: row.per_image * 1e-3 * slower for row in TABLE}
    costs = Costs(per_image, 1e-3 * slower, supervised=1.2e-3 * slower)
    found = Needs(costs, TABLE, pool=8400, images=17000, labelled=12000)
    return replace(found, **changes)  # type: ignore[arg-type]


def plan(limit: float, **changes: object) -> Plan:
    """The plan of such a study."""
    return make_plan(limit, START, needs(**changes))  # type: ignore[arg-type]


@pytest.mark.parametrize("slower", [0.5, 1.0, 2.0])
def test_three_minutes_give_four_paradigms_at_one_rung(slower: float) -> None:
    found = plan(180, slower=slower)
    assert {PARADIGM[name] for name in found.methods} == set(PARADIGM.values())
    assert found.candidates >= 4
    assert found.rungs[0] >= MIN_RUNG
    assert found.final_seconds >= 0.2 * 180


def test_ten_minutes_go_to_what_is_delivered() -> None:
    found = plan(600, finetune=True)
    assert found.candidates >= 6
    assert len({PARADIGM[name] for name in found.methods}) == 4
    assert found.until["search"] - START <= 0.22 * 600
    assert found.final_seconds >= 0.5 * 600
    assert found.supervised_seconds == pytest.approx(60)
    assert 0.11 * 600 <= found.finetune_seconds <= 0.15 * 600
    assert found.replicates == 0
    assert set(found.methods) | set(found.skipped) == set(PARADIGM)


def test_a_night_gives_more_of_everything_and_several_candidates_reach_the_top() -> None:
    short, long = plan(600), plan(8 * 3600)
    assert long.rungs[0] > 3 * short.rungs[0]
    assert long.candidates > 3 * short.candidates
    assert len(long.rungs) > 3
    assert long.candidates >= 3 * 3 ** (len(long.rungs) - 1)
    assert long.replicates >= 1
    assert long.finalists >= 2
    assert long.skipped == ()


@given(st.floats(140, 200_000), st.floats(1.0, 3.0), st.booleans())
def test_more_time_never_takes_away_what_is_planned_away_first(limit: float, longer: float, finetune: bool) -> None:
    """Replicates go before the second finalist, that before shares of the end, those before methods."""
    short, long = plan(limit, finetune=finetune, slower=0.5), plan(limit * longer, finetune=finetune, slower=0.5)
    for found in (short, long):
        if found.finalists == 1:
            assert found.replicates == 0
        if found.replicates:
            assert (found.limit or 0) >= 8 * 3600
        if found.supervised_seconds < 0.059 * (found.limit or 0):
            assert found.finalists == 1
        if len({PARADIGM[name] for name in found.methods}) < 4 and found.max_candidates is None:
            assert found.supervised_seconds < 0.02 * (found.limit or 0)
    assert len(long.methods) >= len(short.methods) or long.rungs[0] > short.rungs[0]
    assert long.final_seconds >= 0.99 * short.final_seconds
    searched = [found.candidates * found.rungs[-1] for found in (long, short)]
    assert searched[0] >= 0.8 * searched[1] or long.final_seconds > short.final_seconds


def test_what_was_planned_away_is_said() -> None:
    said = [sentence.split(" did not fit")[0] for sentence in plan(150, finetune=True).planned_away]
    lost = ["New training seeds of the finalists", "A second finalist", "Training on the labels alone", "Fine-tuning"]
    assert said[:4] == lost
    assert "Upper rungs" in said
    long = plan(8 * 3600, finetune=True).planned_away
    assert not any("did not fit" in sentence for sentence in long)


def test_flips_and_turns_are_planned_where_they_cost_little_and_their_time_is_reserved() -> None:
    few = {"labelled": 250, "images": 3000, "turned": True}
    costs, without = needs(**few).costs, plan(1200, **(few | {"turned": False}))
    found = plan(1200, **few)
    assert found.turned
    assert not without.turned
    assert not any("turns" in sentence for sentence in found.planned_away)
    views = 2 * 8 * costs.embed * 3000  # of the winner and of what was trained on labels
    more = without.until["final training"] - found.until["final training"]
    assert views <= 0.06 * 1200
    assert more == pytest.approx(1.25 * (views + 4 * 2 * costs.sight))  # three folds and all labels, at two more sights
    short = plan(250, **few)
    assert not short.turned
    assert any("flips and turns" in sentence for sentence in short.planned_away)
    assert Plan.from_dict(json.loads(json.dumps(found.to_dict()))).turned
    assert not plan(1200, **(few | {"frozen": 12})).turned  # all frozen encoders together
    assert make_untimed_plan(needs(max_candidates=4, **few)).turned


@given(st.floats(150, 200_000), st.integers(1, 4), st.floats(0.01, 1.5), st.booleans())
def test_steps_end_in_order_and_leave_room_for_the_end(
    limit: float, workers: int, slower: float, finetune: bool
) -> None:
    found = plan(limit, workers=workers, slower=slower, finetune=finetune)
    ends = [found.until[step] for step in ("search", "supervised", "replicate", "final training")]
    ends += [found.until[step] for step in ("finetune", "label curve")]
    assert ends == sorted(ends)
    assert START < found.until["search"] <= found.until["rescue"] <= found.until["final training"]
    costs = needs(slower).costs
    musts = 2 * costs.score + (3 + finetune) * costs.encoder(17000) + costs.export + costs.report
    assert found.end_seconds >= 1.25 * musts
    assert ends[-1] + 1.25 * (costs.export + costs.report) < limit


@given(st.floats(1, 200), st.floats(0.02, 20), st.integers(1, 4))
def test_a_refused_limit_names_one_that_works(limit: float, slower: float, workers: int) -> None:
    asked = needs(slower, workers=workers)
    try:
        make_plan(limit, START, asked)
    except UserError as refusal:
        named = re.search(r"give --time-limit (\w+)$", str(refusal))
        assert named is not None
        enough = seconds(named[1])
        assert enough is not None
        assert enough > limit
        slightly_slower = replace(asked, costs=replace(asked.costs, score=1.05 * asked.costs.score))
        make_plan(enough, 1.05 * START, slightly_slower)


def test_a_hopeless_limit_is_refused_before_anything_is_measured() -> None:
    with pytest.raises(UserError, match=r"at least 60s was wanted .* found --time-limit 10s; give for example 3m"):
        check_limit(10)
    check_limit(60)
    check_limit(None)


def test_the_cheapest_methods_of_two_or_three_paradigms_remain_when_time_is_shortest() -> None:
    few = {"labelled": 1200}
    enough = (limit for limit in range(60, 250) if _fits(limit, **few))
    found = plan(next(limit for limit in enough if plan(limit, **few).candidates > 1), **few)
    assert found.methods[0] == "jigsaw"
    assert 2 <= len(found.methods) == len({PARADIGM[name] for name in found.methods}) < 4
    assert set(found.skipped) | set(found.methods) == set(PARADIGM)
    assert found.supervised_least > 0


def test_one_short_candidate_remains_where_there_is_no_time_to_search() -> None:
    found = plan(next(limit for limit in range(60, 200) if _fits(limit)))
    assert (found.max_candidates, found.candidates, len(found.rungs)) == (1, 1, 1)
    assert found.planned_away[0].startswith("A search did not fit")
    assert found.rungs[0] < plan(600).rungs[0]


@pytest.mark.parametrize("slower", [1.0, 4.0])
def test_where_answers_are_learnt_the_search_and_the_final_training_go_before_training_on_labels(slower: float) -> None:
    asked = {"decoded": True, "finetune": True, "labelled": 400, "images": 600, "slower": slower}
    for limit in (240, 300, 600, 1200):
        found = plan(limit, **asked)
        assert found.supervised_seconds >= 0.2 * limit
        assert found.finetune_seconds >= 0.1 * limit
        if found.finetune_seconds < 0.28 * limit:
            assert found.final_seconds <= 0.1 * limit


def test_training_that_would_not_see_each_label_once_is_not_planned() -> None:
    for limit in (180, 300, 600):
        found = plan(limit, slower=4.0, labelled=12000, images=14000, finetune=True)
        once = 8000 * 1.2e-3 * 4
        assert found.supervised_seconds == 0 or found.supervised_seconds >= once
        said = any("labels alone did not fit: to see each of them once takes 38 s" in s for s in found.planned_away)
        assert said == (found.supervised_seconds == 0)


def test_candidates_that_cost_more_are_worth_it_only_where_there_is_a_search_and_fine_tuning_left() -> None:
    asked = needs(finetune=True)
    whole = [limit for limit in range(60, 900, 10) if fits_whole(limit, START, asked)]
    some = [limit for limit in range(60, 900, 10) if fits(limit, START, asked)]
    assert some[0] < whole[0]
    for limit in whole:
        found = make_plan(limit, START, asked)
        assert found.finetune_seconds > 0
        assert found.max_candidates is None


def _fits(limit: float, **changes: object) -> bool:
    try:
        plan(limit, **changes)
    except UserError:
        return False
    return True


def test_a_plan_survives_json() -> None:
    for found in (plan(600), plan(180, finetune=True), make_untimed_plan(needs(max_candidates=5))):
        assert Plan.from_dict(json.loads(json.dumps(found.to_dict()))) == found


def test_without_a_limit_nothing_depends_on_measured_speed() -> None:
    slow, fast = (make_untimed_plan(needs(slower, max_candidates=15)) for slower in (1.0, 0.01))
    assert slow == fast
    assert len(slow.rungs) == 3
    assert slow.until == {}
    assert left(slow, "final training", 1e6) is None
    assert make_untimed_plan(needs(max_candidates=4), rungs=(64, 192)).rungs == (64, 192)
    assert len(make_untimed_plan(needs(max_candidates=3)).methods) == 3
    with pytest.raises(UserError, match="--max-candidates"):
        make_untimed_plan(needs())


@given(st.integers(2, 40))
def test_a_bound_on_candidates_is_kept(most: int) -> None:
    found = plan(1800, max_candidates=most)
    assert found.candidates <= most
    assert len(found.methods) <= most
    assert found.rungs[0] >= 0.8 * plan(1800).rungs[0]


def test_an_extended_study_keeps_its_rungs_and_may_get_more() -> None:
    first = plan(600)
    longer = extend(first, 8 * 3600, 610, needs())
    assert longer.rungs[: len(first.rungs)] == first.rungs
    assert len(longer.rungs) > len(first.rungs)
    assert (longer.methods, longer.table) == (first.methods, first.table)
    assert longer.until["search"] > 610
    untimed = extend(first, None, 610, needs(max_candidates=30))
    assert (untimed.rungs, untimed.until, untimed.max_candidates) == (first.rungs, {}, 30)
    with pytest.raises(UserError, match="--max-candidates"):
        extend(first, None, 610, needs())


def test_little_more_time_serves_a_study_that_has_its_answer_and_is_refused_to_one_that_has_not() -> None:
    night = plan(8 * 3600)
    limit = 8 * 3600 + 120.0
    assert left(extend(night, limit, 8 * 3600 + 15, needs(), answered=True), "final training", 8 * 3600 + 20)
    with pytest.raises(UserError, match=r"give --time-limit \+\d+s") as refusal:
        extend(night, limit, 8 * 3600 + 15, needs())
    more = int(str(refusal.value).split("+")[1].removesuffix("s"))
    assert more > 120
    assert extend(night, 8 * 3600 + more, 8 * 3600 + 15, needs()).until["search"] > 8 * 3600 + 15


def test_a_step_gets_what_is_left_before_what_must_follow() -> None:
    found = plan(600, labelled=1200)
    until = found.until
    assert left(found, "search", until["search"] - 5) == pytest.approx(5)
    assert left(found, "search", until["search"] + 1) == 0
    assert left(found, "supervised", until["search"]) == pytest.approx(found.supervised_seconds)
    assert left(found, "supervised", 100) == pytest.approx(found.supervised_seconds)
    late = left(found, "supervised", until["final training"] - 60)
    assert late == pytest.approx(found.supervised_least)
    assert left(found, "supervised", until["final training"]) == 0
    assert left(found, "finalist", until["finalist"] - 1) == 0
    assert left(found, "replicate", until["replicate"] - 30, needed=40) == 0
    assert left(found, "final training", until["final training"] - 7) == pytest.approx(7)
    assert left(found, "final training", 60) == pytest.approx(until["final training"] - 60)  # all that others leave
    assert left(found, "finetune", until["finetune"] - 1) == 0
    assert left(found, "label curve", until["label curve"] + 1) == 0


def test_a_study_whose_end_no_longer_fits_is_not_taken_up() -> None:
    found = plan(600)
    ensure_time(found, found.until["rescue"])
    ensure_time(found, found.until["final training"], found.end_seconds)
    ensure_time(make_untimed_plan(needs(max_candidates=3)), 1e9)
    ensure_time(found, 600, needed=5)
    late = hard_end(600) - (600 - found.until["rescue"]) + 1
    with pytest.raises(UserError, match=r"resume with --time-limit \+\d+s") as refusal:
        ensure_time(found, late)
    more = int(str(refusal.value).split("+")[1].removesuffix("s"))
    extend(found, 600 + more, late + 12, needs(), answered=True)


def test_a_hard_end_is_three_percent_or_ten_seconds_late() -> None:
    assert hard_end(180) == 190
    assert hard_end(3600) == pytest.approx(3708)
