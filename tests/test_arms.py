"""The ways to a model: judged on patients that their fits have not seen, chosen before the test, tested once."""

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

import autossl
from autossl.data import TEST
from autossl.data.truth import Classes
from autossl.finish import baselines, distilled, finish, fits
from autossl.finish.arms import Arm, alike, choose, frozen, together
from autossl.finish.baselines import untrained
from autossl.finish.finish import ELIGIBLE
from autossl.finish.fits import OWN, Scheme, affordable
from autossl.finish.folds import Folds, folds_of
from autossl.finish.steps import Steps
from autossl.finish.trained import trained
from autossl.model.entrants import DISTILLED, ENTRANTS, MEAN, SOUPS, TUNED, WEIGHTS_MEAN, WEIGHTS_TUNED
from autossl.nn.encoder import Encoder
from autossl.nn.sight import Sight
from autossl.proxies import Outcomes
from autossl.record.folder import Folder, read_json, write_json
from autossl.run.jobs import evaluate
from autossl.study import Study
from autossl.targets import Judged, Readout, Seen, base
from autossl.targets.classification import Classification
from autossl.train.resumable import Terms
from autossl.trials.context import PROBE, SELECTION, Context, open_context

pytestmark = pytest.mark.usefixtures("short_runs_on_labels")


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> Context:
    """A study of 144 images of four textures, of 48 made-up patients."""
    rng = np.random.default_rng(0)
    y = np.arange(144) % 4
    angle = y * np.pi / 4
    row, column = np.mgrid[:16, :16]
    along = row * np.cos(angle)[:, None, None] + column * np.sin(angle)[:, None, None]
    x = 127 + 50 * np.sin(along + rng.uniform(0, 6, (144, 1, 1))) + rng.normal(0, 60, (144, 16, 16))
    images = np.clip(x, 0, 255).astype(np.uint8)
    settings: dict[str, Any] = {"time_limit": None, "max_candidates": 1, "methods": "denoising", "seed": 1}
    study = autossl.search(
        images, labels=y, patients=np.arange(144) // 3, out=tmp_path_factory.mktemp("arms") / "run",
        backbone="test_resnet", modality="microscopy", **settings,
    )  # fmt: skip
    return open_context(study.folder)


def test_the_study_chose_before_its_test_and_says_why(context: Context) -> None:
    result = context.state("result")
    choice, test = result["choice"], result["test"]
    assert set(choice["arms"]) == {"winner", "supervised", TUNED, SOUPS[TUNED], MEAN}
    assert all(0 <= found["se"] < 0.2 for found in choice["arms"].values())
    assert test["chosen"] == choice["arm"]
    assert set(test["chosen_differences"]) == set(test["entrants"]) - {choice["arm"]}
    model = autossl.load(context.folder.model)
    rows = context.rows(TEST, labelled=True)
    outcomes = context.judged.judge(model.answers_stored(np.asarray(context.data.images[rows])), context.truth(rows))
    assert outcomes.value("balanced_accuracy") == pytest.approx(
        test["entrants"][choice["arm"]]["balanced_accuracy"], abs=1e-4
    )
    page = context.folder.report.read_text()
    assert "on folds of the labels" in page
    assert f"model/ holds {ENTRANTS[choice['arm']].words}, chosen before the test" in page
    others = [ENTRANTS[name].words for name in choice["arms"] if name != choice["arm"]]
    assert all(f"{words} 0." in page or f"{words} 1." in page for words in others)
    assert f"on the same {choice['judged']} labelled images" in page
    assert f"{ENTRANTS['winner'].words}, with {result['probe']}" in page
    assert result["probe"] == choice["arms"]["winner"]["head"]


def test_the_mean_of_two_networks_is_delivered_as_two(
    context: Context, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def mean(_: Context, found: Sequence[Arm], __: Folds) -> tuple[Arm, str]:
        return next(arm for arm in found if arm.name == MEAN), "this test wants it"

    folder = Folder(Path(shutil.copytree(context.folder.root, tmp_path / "run")))
    kept = {key: value for key, value in read_json(folder.state).items() if key not in ("tested", "testing", "result")}
    write_json(folder.state, kept)
    monkeypatch.setattr(finish, "choose", mean)
    finish.Finish(Steps(open_context(folder), lambda: 0.0, lambda _: None, lambda: None)).run()
    result = read_json(folder.state)["result"]
    members = result["choice"]["arms"][MEAN]["members"]
    assert members[0] in (TUNED, SOUPS[TUNED])
    assert members[1] in ("supervised", "winner")
    model, one = autossl.load(folder.model), autossl.load(folder.model / "network-1")
    rows = context.rows(TEST, labelled=True)
    images = np.asarray(context.data.images[rows])
    outcomes = context.judged.judge(model.answers_stored(images), context.truth(rows))
    tested = result["test"]["entrants"]
    assert outcomes.value("balanced_accuracy") == pytest.approx(tested[MEAN]["balanced_accuracy"], abs=1e-4)
    first = context.judged.judge(one.answers_stored(images), context.truth(rows))
    assert first.value("balanced_accuracy") == pytest.approx(tested[members[0]]["balanced_accuracy"], abs=1e-4)
    assert evaluate(folder.root)["balanced_accuracy"] == pytest.approx(outcomes.value("balanced_accuracy"), abs=1e-3)
    words = Study(folder.root).report().read_text()
    assert "the mean of the answers of two networks" in words


class Killed(BaseException):
    """In place of a kill."""


def test_a_student_is_an_arm_like_others_also_after_a_kill(
    context: Context, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(distilled, "TIMES", 1)
    monkeypatch.setattr(baselines, "LABEL_PASSES", 3)
    folder = Folder(Path(shutil.copytree(context.folder.root, tmp_path / "run")))
    undone = ("tested", "testing", "result", "arms", "granted")
    state = {key: value for key, value in read_json(folder.state).items() if key not in undone}
    state["plan"] |= {"limit": 1200.0, "finetune_seconds": 1e9}
    write_json(folder.state, state)
    now, steps = "", 0

    def say(words: str) -> None:
        nonlocal now, steps
        now, steps = words, 0

    def tick(kill: bool) -> None:
        nonlocal steps
        steps += 1
        if kill and now.startswith("teaching") and steps > 3:
            raise Killed

    def run(kill: bool) -> finish.Finish:
        found = finish.Finish(Steps(open_context(folder), lambda: 0.0, say, lambda: tick(kill)))
        found.run()
        return found

    with pytest.raises(Killed):
        run(kill=True)
    assert set(read_json(folder.state)["arms"]) == {"supervised", TUNED, SOUPS[TUNED]}
    done = run(kill=False)
    result = read_json(folder.state)["result"]
    assert 0 < result["choice"]["arms"][DISTILLED]["score"] <= 1
    assert DISTILLED in result["test"]["entrants"]
    assert result["choice"]["left_out"] == ""
    assert "No student was taught" in done._left_out([])["left_out"]
    assert autossl.load(folder.root / "arms" / "winner-student").readout is not None
    assert not list(folder.checkpoints.glob("winner*"))
    assert ENTRANTS[DISTILLED].words in Study(folder.root).report().read_text()


def test_the_mean_is_of_what_was_fine_tuned_and_what_was_not_begun_from_it_and_of_nothing_unjudged(
    context: Context,
) -> None:
    n, few, folds = 40, np.arange(40) % 10 < 4, cast(Folds, SimpleNamespace(groups=np.arange(40)))
    worse, better = judged_as(few, TUNED), judged_as(~few, SOUPS[TUNED])
    (mean,) = together(context, [judged_as(few, "winner"), worse, better, judged_as(~few, "supervised")], folds)
    assert [arm.name for arm in mean.members] == [SOUPS[TUNED], "supervised"]
    (mean,) = together(context, [judged_as(~few, "winner"), worse, better, judged_as(few, "supervised")], folds)
    assert [arm.name for arm in mean.members] == [SOUPS[TUNED], "winner"]
    (mean,) = together(context, [judged_as(few, "winner"), worse, better], folds)
    assert [arm.name for arm in mean.members] == [SOUPS[TUNED], "winner"]
    assert mean.outcomes is not None
    assert mean.outcomes.n == n
    assert together(context, [judged_as(few, "winner"), replace(worse, outcomes=None)], folds) == []
    (own,) = together(context, [judged_as(few, "weights"), judged_as(few, WEIGHTS_TUNED)], folds)
    assert own.name == WEIGHTS_MEAN


def test_no_patient_is_judged_by_a_fit_that_has_seen_it(context: Context) -> None:
    folds = folds_of(context)
    assert folds.judged == (0, 1, 2)
    assert set(folds.rows) == set(context.rows(PROBE, SELECTION, labelled=True))
    judged = []
    for fold in folds.judged:
        others, held = folds.parts(fold)
        groups = context.groups(folds.rows)
        assert not set(groups[others]) & set(groups[held])
        assert set(context.truth(folds.rows[held]).strata) == {0, 1, 2, 3}
        judged += held.tolist()
    assert sorted(judged) == list(range(len(folds.rows)))


def test_the_outcomes_of_an_arm_are_those_of_its_folds(context: Context) -> None:
    folds, encoder = folds_of(context), untrained(context)
    arm = frozen(context, "winner", encoder, folds)
    assert arm.outcomes is not None
    truth, groups = context.truth(folds.rows), context.groups(folds.rows)
    raw = []
    for fold in folds.judged:
        others, held = folds.parts(fold)
        seen = context.see(encoder, folds.rows[others])
        head = context.judged.probe(seen, truth[others], groups[others], context.judged.sights(context.plan.turned))
        raw.append(head.answers(context.embed(encoder, folds.rows[held], head.sight)))
    np.testing.assert_allclose(arm.outcomes.columns["scores"], np.concatenate(raw), rtol=1e-5)
    assert folds.groups.shape == (arm.outcomes.n,)


def test_head_and_sight_are_chosen_without_the_labels_of_the_judged_fold(context: Context) -> None:
    folds, encoder = folds_of(context), untrained(context)
    _, held = folds.parts(0)
    labels = context.data.truth.strata.copy()
    labels[folds.rows[held]] = np.random.default_rng(0).permutation(labels[folds.rows[held]])
    data = replace(context.data, truth=Classes(labels, context.data.truth.names))
    found = []
    for each in (context, replace(context, data=data)):
        arm = frozen(each, "winner", encoder, replace(folds, context=each))
        assert arm.outcomes is not None
        found.append(arm.outcomes.columns["scores"])
    np.testing.assert_array_equal(found[0][: len(held)], found[1][: len(held)])
    assert not np.array_equal(found[0], found[1])  # other folds have learnt from those labels


def test_flips_and_turns_are_tried_where_the_modality_has_no_orientation(context: Context) -> None:
    assert len(context.judged.sights(context.plan.turned)) == 4
    grey = replace(context)
    grey.__dict__["plan"] = replace(context.plan, turned=False)
    assert grey.judged.sights(grey.plan.turned) == (Sight(), Sight(2))


def test_the_sight_of_least_loss_is_taken(context: Context) -> None:
    rows = folds_of(context).rows
    truth, groups, rng = context.truth(rows), context.groups(rows), np.random.default_rng(0)
    hidden = np.eye(4)[truth.strata] + rng.normal(0, 0.3, (len(rows), 4))

    def look(sight: Sight) -> NDArray[np.float32]:
        told = hidden if sight == Sight(2) else hidden + rng.normal(0, 0.5, hidden.shape)
        return np.hstack([told, rng.normal(size=(len(rows), 4))]).astype(np.float32)

    seen = Seen(len(rows), 8, look, lambda at: iter(()))
    assert context.judged.probe(seen, truth, groups, (Sight(), Sight(2), Sight(1, True))).sight == Sight(2)
    assert context.judged.probe(seen, truth, groups).sight == Sight()


def test_of_many_labels_sights_are_compared_on_whole_patients_and_the_head_is_fitted_to_all(
    monkeypatch: pytest.MonkeyPatch, context: Context
) -> None:
    rows = folds_of(context).rows
    truth, groups = context.truth(rows), context.groups(rows)
    seen = context.see(untrained(context), rows)
    monkeypatch.setattr(base, "COMPARED", 50)
    some = base.compared(len(rows), groups)
    assert 50 <= len(some) < 50 + 3
    assert not set(groups[some]) & set(np.delete(groups, some))
    head = context.judged.probe(seen, truth, groups, context.judged.sights(context.plan.turned))
    alone = context.judged.probe(seen, truth, groups, (head.sight,))
    for own, other in zip(head.parameters(), alone.parameters(), strict=True):
        assert torch.equal(own, other)


def test_the_labels_of_the_test_part_are_not_looked_at(context: Context) -> None:
    labels = context.data.truth.strata.copy()
    labels[context.rows(TEST)] = 0
    changed = replace(context, data=replace(context.data, truth=Classes(labels, context.data.truth.names)))
    (first,), (second,) = (
        trained(each, "supervised", lambda: untrained(context), folds_of(each), Terms(), probed=False)
        for each in (context, changed)
    )
    assert first.effort is not None
    assert second.effort is not None
    assert first.effort.settings == second.effort.settings
    for own, other in zip(first.head.parameters(), second.head.parameters(), strict=True):
        assert torch.equal(own, other)


def test_fine_tuning_that_spoils_the_encoder_is_not_taken(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(baselines, "SEARCHED", (baselines.Setting(3.0, 0.05, 5.0),))  # a learning rate that destroys it
    folds, encoder = folds_of(context), untrained(context)
    tuned = trained(context, TUNED, lambda: untrained(context), folds, Terms(), probed=True)
    assert tuned
    chosen, _ = choose(context, [frozen(context, "winner", encoder, folds), *tuned], folds)
    assert chosen.name == "winner"


def test_with_time_for_one_fit_what_is_judged_is_delivered_and_with_none_nothing_is_trained(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    folds = folds_of(context)
    for module, constant in ((fits, "LEAST_IMAGES"), (fits, "FIRST_STEPS"), (baselines, "NIGHT")):
        monkeypatch.setattr(module, constant, 10**6)  # no fit comes to its last pass
    monkeypatch.setattr(Judged, "least_passes", 10**6)
    (short,) = trained(context, TUNED, lambda: untrained(context), folds, Terms(1.0), probed=True)
    others, held = folds.parts(folds.judged[0])
    assert short.effort is not None
    assert short.effort.settings["tried"] == 1
    assert short.effort.labels == len(others)
    own = context.see(short.encoder, folds.rows[held]).answers(short.head)
    assert short.outcomes is not None
    assert short.outcomes.n == len(held)
    if short.effort.readout == OWN:  # a probe is fitted once more, to all labels
        np.testing.assert_allclose(short.outcomes.columns["scores"], own, rtol=1e-4, atol=1e-5)
    still = frozen(context, "winner", untrained(context), folds)
    both = alike([still, short, replace(short, outcomes=None)])
    assert [arm.name for arm in both] == ["winner", TUNED]
    assert still.outcomes is not None
    assert both[0].outcomes is not None
    np.testing.assert_array_equal(both[0].outcomes.columns["scores"], still.outcomes.columns["scores"][: len(held)])
    assert both[0].outcomes.n == short.outcomes.n
    assert trained(context, TUNED, lambda: untrained(context), folds, Terms(0.0), probed=True) == []


def test_a_network_that_saw_less_than_each_label_once_is_no_baseline(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fits, "ONCE", 1e9)
    folds, terms = folds_of(context), Terms(0.2)
    assert trained(context, "supervised", lambda: untrained(context), folds, terms, probed=False) == []
    done = finish.Finish(Steps(context, lambda: 0.0, lambda _: None, lambda: None))
    left = done._left_out([frozen(context, "winner", untrained(context), folds)])
    assert set(left["wanted"]) == {"supervised", TUNED}


@pytest.mark.parametrize(
    ("seconds", "scheme"),
    [
        (None, (3, 3)), (70.0, (3, 3)), (69.0, (2, 3)), (60.0, (2, 3)), (50.0, (1, 3)), (49.0, (1, 1)), (30.0, (1, 1)),
        (29.0, (1, 1, False, False)), (0.0, (1, 1, False, False)),
    ],
)  # fmt: skip
def test_settings_go_before_folds_and_folds_before_the_fit_to_all_labels(
    seconds: float | None, scheme: tuple[Any, ...]
) -> None:
    assert affordable(seconds, 10.0, 3, 3, averaged=False) == Scheme(*scheme)
    assert affordable(seconds, 10.0, 3, 0, averaged=True) == Scheme(0, 0)


@pytest.mark.parametrize(
    ("seconds", "scheme"), [(None, (3, True)), (300.0, (3, True)), (299.0, (2, True)), (199.0, (3, False))]
)
def test_averages_go_before_settings(seconds: float | None, scheme: tuple[int, bool]) -> None:
    settings, averaged = scheme
    assert affordable(seconds, 10.0, 3, 3, averaged=True) == Scheme(settings, 3, averaged)


TUNED_ONES = [WEIGHTS_TUNED, SOUPS[WEIGHTS_TUNED], TUNED, SOUPS[TUNED]]


def test_what_may_be_chosen_follows_what_was_asked() -> None:
    asked = {
        word: [name for name, words in ELIGIBLE.items() if word in words] for word in ("auto", "frozen", "finetune")
    }
    assert asked["auto"] == ["weights", "winner", "supervised", *TUNED_ONES, DISTILLED, WEIGHTS_MEAN, MEAN]
    assert asked["frozen"] == ["weights", "winner"]
    assert asked["finetune"] == [*TUNED_ONES, DISTILLED]


def judged_as(right: NDArray[np.bool_], name: str) -> Arm:
    """An arm that is right for these images of two classes."""
    y = np.arange(len(right)) % 2
    scores = np.eye(2, dtype=np.float32)[np.where(right, y, 1 - y)]
    return Arm(name, cast(Encoder, None), cast(Readout, None), Outcomes.of(y, scores))


def chosen_of(found: list[Arm], n: int) -> tuple[str, str]:
    context = cast(Context, SimpleNamespace(target=Classification({"classes": ["a", "b"]})))
    arm, why = choose(context, found, cast(Folds, SimpleNamespace(groups=np.arange(n))))
    return arm.name, why


def test_ways_are_compared_on_the_images_that_all_were_judged_on() -> None:
    n = 4000
    better_later = np.where(np.arange(n) < n // 2, np.arange(n) % 10 < 9, True)
    some = np.arange(n // 4) % 10 < 9
    some[9] = True  # one more of the first quarter than the other
    name, why = chosen_of([judged_as(better_later, "winner"), judged_as(some, TUNED)], n)
    assert name == TUNED
    assert why.endswith("0.901")


def test_the_best_is_taken_and_of_equals_the_simplest() -> None:
    n = 4000
    half, most = np.arange(n) % 10 < 5, np.arange(n) % 10 < 9
    name, why = chosen_of([judged_as(half, "winner"), judged_as(most, TUNED)], n)
    assert (name, why) == (TUNED, "it has the best balanced accuracy on folds of the labels, 0.900")
    nearly = most.copy()
    nearly[9::10], nearly[:4010:10] = True, False  # 400 are right that were wrong, and one more the other way round
    nearly[1] = False
    name, why = chosen_of([judged_as(nearly, "winner"), judged_as(most, TUNED)], n)
    assert name == "winner"
    assert "as good as the best" in why
    assert "less simple" in why
    worse = most.copy()
    worse[:30] = False
    assert chosen_of([judged_as(worse, "winner"), judged_as(most, TUNED)], n)[0] == TUNED
    both = replace(judged_as(worse, MEAN), members=(judged_as(most, TUNED), judged_as(half, "supervised")))
    name, why = chosen_of([judged_as(most, TUNED), both], n)
    assert name == TUNED  # 30 of 3600 fewer are more than a standard error
    near = most.copy()
    near[[0, 1, 9]] = [False, False, True]
    name, why = chosen_of([judged_as(most, TUNED), replace(both, outcomes=judged_as(near, MEAN).outcomes)], n)
    assert name == MEAN
    assert "within a standard error" in why
    name, _ = chosen_of([judged_as(most, "winner"), judged_as(half, TUNED)], n)
    assert name == "winner"
