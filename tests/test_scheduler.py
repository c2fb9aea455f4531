"""The scheduler: priors first, a floor for every paradigm, halving by promotion, and nothing twice."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autossl.record.entries import Entry, State
from autossl.trials.costs import Costs
from autossl.trials.plan import Plan, make_untimed_plan
from autossl.trials.scheduler import Promote, Sample, Stop, Wait, next_step
from autossl.trials.sizing import Method, Needs
from autossl.trials.standing import best, finalists, order

TABLE = (
    Method("simclr", "contrastive", 3, 2.0),
    Method("byol", "predictive", 2, 2.7),
    Method("cnn_mae", "generative", 2, 1.2),
    Method("rotation", "predictive", 1, 1.0),
)
PARADIGM = {row.name: row.paradigm for row in TABLE}
RUNGS = (100, 300, 900)
PLAN = make_untimed_plan(Needs(Costs(), TABLE, 4000, 9000, 5000, max_candidates=30), RUNGS)
Step = Promote | Sample | Wait | Stop


def entry(
    number: int,
    candidate: int,
    score: float | None = None,
    *,
    rung: int = 0,
    method: str = "simclr",
    state: State = "scored",
    prior: int | None = None,
    se: float = 0.0,
    reason: str = "",
) -> Entry:
    """One trial, scored unless said otherwise."""
    return Entry(number, candidate, method, PARADIGM[method], rung, state, score, se, 1.0, prior, None, reason)


def drawn(scores: Sequence[float], rung: int = 0, first: int = 0) -> list[Entry]:
    """Scored candidates that TPE drew."""
    return [entry(first + k, first + k, score, rung=rung) for k, score in enumerate(scores)]


def after_priors(plan: Plan = PLAN, methods: Sequence[str] = ()) -> Plan:
    """A plan whose first priors are not in the way."""
    return replace(plan, methods=tuple(methods), table=tuple(row._replace(priors=1) for row in plan.table))


def one_second_each(method: str, images: int) -> float:
    """A cost of one second per image."""
    return float(images)


def promoted(entries: Sequence[Entry]) -> list[Entry]:
    """The same, each also taken up one rung."""
    return [*entries, *(replace(e, number=1000 + e.number, rung=e.rung + 1) for e in entries)]


def run(plan: Plan, score: dict[int, float], fails: frozenset[int] = frozenset()) -> list[tuple[Step, list[Entry]]]:
    """A whole untimed search by one worker: every step with what was known before it."""
    entries: list[Entry] = []
    steps: list[tuple[Step, list[Entry]]] = []
    while len(steps) < 500:
        step = next_step(entries, plan)
        steps.append((step, list(entries)))
        number = len(entries)
        if isinstance(step, Promote):
            parent = next(e for e in entries if e.candidate == step.candidate)
            state: State = "failed" if step.candidate + 100 * step.rung in fails else "scored"
            value = score.get(step.candidate, 0.5) + 0.01 * step.rung
            entries.append(replace(parent, number=number, rung=step.rung, score=value, state=state))
        elif isinstance(step, Sample):
            candidate = 1 + max((e.candidate for e in entries), default=-1)
            method = step.method or TABLE[candidate % len(TABLE)].name
            state = "failed" if candidate in fails else "scored"
            value = score.get(candidate, 0.5)
            entries.append(entry(number, candidate, value, method=method, state=state, prior=step.prior))
        else:
            return steps
    raise AssertionError("the search does not end")


def test_first_priors_come_first_one_paradigm_after_the_other() -> None:
    steps = [step for step, _ in run(PLAN, {})][:4]
    assert steps == [Sample("cnn_mae", 0), Sample("simclr", 0), Sample("byol", 0), Sample("rotation", 0)]


def test_the_best_prior_of_each_paradigm_goes_up_before_anything_else_is_drawn() -> None:
    scores = {0: 0.5, 1: 0.9, 2: 0.6, 3: 0.7}  # cnn_mae, simclr, byol, rotation
    steps = [step for step, _ in run(PLAN, scores)]
    assert steps[4:7] == [Promote(0, 1), Promote(1, 1), Promote(3, 1)]
    assert steps[7] == Promote(1, 2)  # three results on rung 1: the best of them goes on
    assert isinstance(steps[8], Sample)


def test_further_priors_follow_of_the_better_half_of_the_methods() -> None:
    steps = [step for step, _ in run(PLAN, {0: 0.5, 1: 0.9, 2: 0.6, 3: 0.7})]
    further = [step for step in steps[8:] if isinstance(step, Sample) and step.prior is not None]
    assert further[0] == Sample("simclr", 1)
    assert Sample("simclr", 2) in further
    assert Counter(further).most_common(1)[0][1] == 1
    assert steps.index(Sample()) > steps.index(Sample("simclr", 1))


def test_a_method_that_did_not_fit_at_first_is_met_by_its_prior_before_tpe_draws() -> None:
    plan = replace(after_priors(), methods=("simclr",), skipped=("byol", "rotation"))
    first = promoted([entry(0, 0, 0.5, prior=0)])
    assert next_step(first, plan) == Sample("byol", 0)
    two = [*first, entry(1, 1, 0.4, method="byol", prior=0)]
    assert next_step(two, plan) == Sample("rotation", 0)
    failed = [*two, entry(2, 2, method="rotation", prior=0, state="failed", reason="nan")]
    assert next_step(failed, plan) == Sample()


def test_a_rung_promotes_its_top_third_and_only_with_three_results() -> None:
    plan = after_priors()
    assert next_step(drawn([0.5, 0.9]), plan) == Sample()
    assert next_step(drawn([0.5, 0.9, 0.7]), plan) == Promote(1, 1)
    nine = drawn([0.1 * k for k in range(9)])
    assert next_step(nine[:8] + promoted(nine[8:]), plan) == Promote(7, 1)
    assert next_step(nine[:6] + promoted(nine[6:]), plan) == Promote(8, 2)


def test_the_highest_rung_promotes_first() -> None:
    entries = [*promoted(drawn([0.5, 0.6, 0.7])), *drawn([0.8, 0.9, 0.95], first=3)]
    assert next_step(entries, after_priors()) == Promote(2, 2)


def test_one_more_goes_up_where_the_cut_does_not_separate() -> None:
    plan = after_priors()
    near = [replace(e, se=0.02) for e in drawn([0.90, 0.89, 0.5])]
    entries = promoted(near[:1]) + near[1:]
    assert next_step(entries, plan) == Promote(1, 1)
    assert next_step(entries, plan, paired=lambda a, b, rung: (0.01, 0.005)) == Sample()
    assert next_step(entries, plan, paired=lambda a, b, rung: (0.01, 0.01)) == Promote(1, 1)
    assert next_step(promoted(near[:2]) + near[2:], plan) == Sample()  # one more, not two


def test_of_two_within_one_standard_error_the_cheaper_goes_first() -> None:
    plan = after_priors()
    entries = drawn([0.1, 0.2, 0.3, 0.4, 0.8, 0.81])
    entries[4] = replace(entries[4], method="rotation", paradigm="predictive")
    assert next_step(entries, plan) == Promote(5, 1)
    assert next_step(entries, plan, paired=lambda a, b, rung: (0.01, 0.02)) == Promote(4, 1)


def test_ties_go_to_the_older_candidate() -> None:
    assert next_step(drawn([0.5, 0.7, 0.7]), after_priors()) == Promote(1, 1)


@pytest.mark.parametrize("state", ["running", "waiting", "failed", "scored"])
def test_a_promotion_is_claimed_by_whatever_was_started(state: State) -> None:
    claim = entry(3, 1, 0.9, rung=1, state=state, reason="lost" if state == "failed" else "")
    step = next_step([*drawn([0.5, 0.9, 0.7]), claim], after_priors())
    assert step == Sample()


@pytest.mark.parametrize("reason", ["double", "out of time"])
def test_a_void_trial_claims_nothing(reason: str) -> None:
    void = entry(3, 1, rung=1, state="failed", reason=reason)
    assert next_step([*drawn([0.5, 0.9, 0.7]), void], after_priors()) == Promote(1, 1)


def test_a_lost_segment_that_was_queued_again_counts_once() -> None:
    lost = entry(0, 0, method="cnn_mae", state="failed", prior=0, reason="lost")
    again = entry(1, 0, 0.6, method="cnn_mae", prior=0)
    assert next_step([lost, again], PLAN) == Sample("simclr", 0)
    assert [e.number for e in order([lost, again])] == [1]
    assert finalists([lost, again], 1) == [again]


def test_a_prior_that_ran_out_of_time_is_tried_again() -> None:
    cut = entry(0, 0, method="cnn_mae", state="failed", prior=0, reason="out of time")
    assert next_step([cut], PLAN) == Sample("cnn_mae", 0)


def test_what_does_not_fit_is_not_started() -> None:
    def cost(method: str, images: int) -> float:
        return PLAN.method(method).per_image * images

    assert next_step([], PLAN, 119, cost) == Sample("rotation", 0)
    assert next_step([], PLAN, 99, cost) == Stop("no segment fits the time that is left")
    assert next_step([], PLAN, 0.0, cost) == Stop("the time of the search is over")
    plan = after_priors()
    assert next_step(drawn([0.5, 0.9, 0.7]), plan, 520, cost) == Sample()
    assert next_step(drawn([0.5, 0.9, 0.7]), plan, 269, cost) == Stop("no segment fits the time that is left")


def test_the_last_minutes_go_to_the_final_training() -> None:
    """A new candidate that could not climb any more is not begun, and nothing is promoted only because it fits."""
    two = drawn([0.5, 0.9])
    plan = after_priors(replace(PLAN, candidates=2))
    assert next_step(two, plan, 301, one_second_each) == Sample()
    assert isinstance(next_step(two, plan, 299, one_second_each), Stop)
    assert isinstance(next_step(promoted(two), plan, 299, one_second_each), Stop)


def test_promotions_leave_the_time_in_which_the_planned_candidates_start() -> None:
    three = drawn([0.5, 0.9, 0.7])
    plan = after_priors(replace(PLAN, candidates=8))  # five more, of which one may be lost: 100 seconds each
    assert next_step(three, plan, 200 + 5 * 100, one_second_each) == Promote(1, 1)
    assert next_step(three, plan, 199 + 5 * 100, one_second_each) == Sample()
    assert next_step(three, replace(plan, workers=2), 450, one_second_each) == Promote(1, 1)
    assert next_step(three, replace(plan, candidates=3), 200, one_second_each) == Promote(1, 1)


def test_a_worker_waits_only_for_what_may_be_promoted() -> None:
    plan = after_priors(replace(PLAN, max_candidates=3))
    running = [*drawn([0.5, 0.9]), entry(2, 2, state="running")]
    assert next_step(running, plan) == Wait()
    assert next_step(running, plan, 100, one_second_each) != Wait()
    one_rung = replace(plan, rungs=(100,))
    assert isinstance(next_step(running, one_rung), Stop)
    done = promoted(drawn([0.5, 0.9, 0.7]))
    assert next_step([*done, entry(99, 1, rung=2)], plan) == Stop(
        "3 candidates were tried and nothing is left to promote"
    )


def test_a_search_in_which_everything_fails_ends() -> None:
    steps = run(PLAN, {}, frozenset(range(100)))
    assert steps[-1][0] == Stop("12 candidates failed and none was scored")


SCORES = st.dictionaries(st.integers(0, 40), st.floats(0, 1).map(lambda x: round(x, 2)))
FAILS = st.frozensets(st.integers(0, 240), max_size=40)


@given(SCORES, FAILS, st.integers(1, 40))
def test_a_whole_search_keeps_the_rules(scores: dict[int, float], fails: frozenset[int], most: int) -> None:
    plan = replace(PLAN, max_candidates=most)
    steps = run(plan, scores, fails)
    assert steps == run(plan, scores, fails)
    promotions = [step for step, _ in steps if isinstance(step, Promote)]
    assert len(set(promotions)) == len(promotions)
    samples = [step for step, _ in steps if isinstance(step, Sample)]
    priors = [step for step in samples if step.prior is not None]
    assert len(set(priors)) == len(priors)
    last = steps[-1][1]
    for step, known in steps:
        if isinstance(step, Promote):
            below = [e for e in known if e.candidate == step.candidate]
            assert all(e.state == "scored" for e in below)
            assert max(e.rung for e in below) == step.rung - 1
    if any(e.state == "scored" for e in last):
        assert len(samples) == most
    for rung in range(2):
        here = [e for e in last if e.rung == rung and e.state == "scored"]
        gone_up = sum(isinstance(step, Promote) and step.rung == rung + 1 for step in promotions)
        assert gone_up >= min(len(here) // 3, 1)
        # who was in the top third once may have left it: the price of not waiting
        assert gone_up <= math.ceil(len(here) / 2) + (3 if rung == 0 else 0) + 1


@given(SCORES)
def test_the_top_third_of_a_rung_has_gone_up(scores: dict[int, float]) -> None:
    steps = run(PLAN, scores)
    last = steps[-1][1]
    for rung in range(2):
        here = sorted((e for e in last if e.rung == rung), key=lambda e: (-(e.score or 0), e.candidate))
        top = {e.candidate for e in here[: len(here) // 3]}
        assert top <= {e.candidate for e in last if e.rung == rung + 1}


@given(SCORES, FAILS, st.randoms(use_true_random=False))
def test_the_decision_does_not_depend_on_the_order_of_entries(
    scores: dict[int, float], fails: frozenset[int], random: object
) -> None:
    for step, known in run(replace(PLAN, max_candidates=12), scores, fails):
        shuffled = list(known)
        random.shuffle(shuffled)  # type: ignore[attr-defined]
        assert next_step(shuffled, replace(PLAN, max_candidates=12)) == step


def test_the_leaderboard_goes_by_rung_then_score() -> None:
    entries = [*promoted(drawn([0.4, 0.5])), *drawn([0.99, 0.4], first=2), entry(9, 9, state="running")]
    assert [(e.candidate, e.rung) for e in order(entries)] == [(1, 1), (0, 1), (2, 0), (3, 0)]
    assert [e.candidate for e in finalists(entries, 2)] == [1, 0]
    broke = [*entries, entry(20, 1, rung=2, state="failed", reason="nan")]
    assert [e.candidate for e in finalists(broke, 2)] == [0, 2]
    assert best(broke) == finalists(broke, 1)[0]
    assert best([entry(0, 0, state="failed", reason="nan")]) is None
    only = [entry(0, 0, 0.5), entry(1, 0, rung=1, state="failed", reason="nan")]
    assert best(only) == only[0]
