"""Studies without labels: label-free scores rule out, the order of trying decides, nothing is tested or claimed."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

import autossl
from autossl.cli.commands import main
from autossl.data import PROBE, SELECTION, TEST
from autossl.data.truth import Nothing
from autossl.errors import UserError
from autossl.record.entries import Entry
from autossl.record.folder import read_json, write_json
from autossl.report import unverified
from autossl.report.verdict import verdict
from autossl.run.asked import Asked, check
from autossl.study import Study
from autossl.targets import Seen
from autossl.targets.unlabelled import Unlabelled
from autossl.trials.context import open_context
from autossl.trials.costs import Costs
from autossl.trials.plan import Plan, make_plan, make_untimed_plan
from autossl.trials.scheduler import Sample, Stop, next_step
from autossl.trials.sizing import Method, Needs, foremost
from autossl.trials.standing import finalists

ROWS = (
    Method("simclr", "contrastive", 3, 2.0),
    Method("moco", "contrastive", 1, 2.0),
    Method("dcl", "contrastive", 1, 2.0),
    Method("cnn_mae", "generative", 2, 1.0),
)
NEEDS = Needs(
    Costs(supervised=0.0, evaluate=0.0), foremost(ROWS), pool=4000, images=0, labelled=0, max_candidates=3, ranked=False
)


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """Of 60 made-up patients with four images each."""
    images = np.random.default_rng(0).integers(0, 255, (240, 16, 16), dtype=np.uint8)
    return autossl.search(
        images, "none", patients=np.repeat(np.arange(60), 4), out=tmp_path_factory.mktemp("none") / "run",
        time_limit=None, max_candidates=3, methods="simclr,vicreg,denoising", backbone="test_resnet",
    )  # fmt: skip


def test_the_first_that_holds_is_trained_on_and_nothing_is_tested(study: Study) -> None:
    assert study.result is not None
    assert study.best is not None
    assert study.best.method == study.result["candidate"]["method"] == "simclr"
    assert study.result["final_training"]["kept"]
    assert {row["paradigm"] for row in study.result["others"]} == {"non-contrastive and predictive", "generative"}
    assert "test" not in study.result
    assert not study.folder.model.exists()
    assert study.status()["finished"]
    assert study.embed(np.zeros((2, 16, 16), np.uint8)).shape[0] == 2
    part = open_context(study.folder).data.part
    assert {PROBE, SELECTION} <= set(part.tolist())
    assert TEST not in part


def test_the_report_and_the_last_line_say_that_nothing_is_verified(study: Study) -> None:
    page = study.folder.report.read_text()
    assert verdict(study.result or {}).kind == "none"
    for said in ("Nothing could be verified", "180 labelled patients", "rank nothing", "simclr"):
        assert said in page
    for claimed in ("aligned score", "Self-supervision helped", "Test part", "<h2>Test</h2>", "balanced accuracy of"):
        assert claimed not in page
    done = CliRunner().invoke(main, ["resume", str(study.folder.root), "--quiet"])
    assert done.exit_code == 0
    assert "Nothing could be verified" in done.output
    board = CliRunner().invoke(main, ["leaderboard", str(study.folder.root)]).output
    assert "dimensions" in board
    assert "±" not in board


def test_what_needs_labels_is_refused_in_one_sentence(study: Study, tmp_path: Path) -> None:
    for arguments in (["evaluate"], ["predict", "sample:cells", "-o", str(tmp_path / "t.csv")]):
        done = CliRunner().invoke(main, [arguments[0], str(study.folder.root), *arguments[1:]])
        assert done.exit_code == 2
        assert "--task none" in done.output or "a model with a head" in done.output
    for candidate in ("model", "supervised"):
        with pytest.raises(UserError, match="--task none"):
            study.export(tmp_path / "out", candidate)
    with pytest.raises(UserError, match="--task none"):
        study.predict(np.zeros((2, 16, 16), np.uint8))
    for wrong in (Asked(task="none", metric="macro_auroc"), Asked(task="none", adaptation="finetune")):
        with pytest.raises(UserError, match="none"):
            check(wrong)


def test_a_killed_end_goes_on_after_the_final_training(study: Study) -> None:
    known = read_json(study.folder.state) or {}
    encoder = (study.folder.encoder / "model.safetensors").read_bytes()
    write_json(study.folder.state, {k: v for k, v in known.items() if k not in ("result", "tested", "finished")})
    again = autossl.resume(study.folder.root)
    assert again.result == known["result"]
    assert (study.folder.encoder / "model.safetensors").read_bytes() == encoder


def test_embeddings_that_broke_down_are_ruled_out() -> None:
    rng, target = np.random.default_rng(0), Unlabelled({})
    for z, healthy in (
        (rng.normal(size=(100, 8)), True),
        (np.outer(rng.normal(size=100), np.ones(8)), False),
        (np.ones((100, 8)), False),
        (np.full((100, 8), np.nan), False),
    ):
        found = target.score(Seen.of(z.astype(np.float32)), Nothing(100), None)
        assert math.isfinite(found.value)
        assert (not found.collapsed) == healthy


@given(scores=st.lists(st.floats(0, 100), min_size=3, max_size=3), shortcut=st.integers(0, 3))
def test_scores_never_rank_but_a_shortcut_stands_last(scores: list[float], shortcut: int) -> None:
    found = [
        Entry(k, k, "simclr", "contrastive", 0, "scored", score, 0.0, ranked=False, shortcut=k == shortcut)
        for k, score in enumerate(scores)
    ]
    order = [e.candidate for e in finalists(found, 3)]
    assert order == sorted(range(3), key=lambda k: (k == shortcut, k))


def test_two_of_a_paradigm_are_tried_at_one_rung_and_then_it_is_over() -> None:
    assert [row.name for row in foremost(ROWS)] == ["simclr", "moco", "cnn_mae"]
    plan, entries = make_untimed_plan(NEEDS), list[Entry]()
    assert len(plan.rungs) == 1
    assert (plan.finalists, plan.replicates) == (1, 0)
    while not isinstance(step := next_step(entries, plan), Stop):
        assert isinstance(step, Sample)
        assert step.method is not None
        row, number = plan.method(step.method), len(entries)
        entries.append(
            Entry(number, number, row.name, row.paradigm, 0, "scored", 1.0, 0.0, 1.0, step.prior, ranked=False)
        )
    assert [entry.method for entry in entries] == ["simclr", "cnn_mae", "moco"]


@pytest.mark.parametrize("limit", [120.0, 3600.0])
def test_most_of_the_time_trains_what_is_delivered(limit: float) -> None:
    plan = make_plan(limit, 5.0, NEEDS)
    assert len(plan.rungs) == 1
    assert (plan.supervised_seconds, plan.finetune_seconds, plan.finalists) == (0, 0, 1)
    assert plan.final_seconds > 0.4 * limit
    assert Plan.from_dict(plan.to_dict()) == plan
    ranked = make_plan(limit, 5.0, replace(NEEDS, ranked=True, labelled=1000, images=2000))
    assert ranked.final_seconds < plan.final_seconds


def test_the_labels_that_are_recommended_would_do() -> None:
    from autossl.proxies import detectable_difference

    assert unverified.advice("patient").startswith("How many labels would do: about 180 labelled patients")
    for gap in unverified.SHOWN:
        n = unverified._tested(gap)
        assert detectable_difference(np.arange(n) % 2) <= gap < detectable_difference(np.arange(int(0.9 * n)) % 2)
