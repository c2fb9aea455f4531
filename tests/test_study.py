"""One small study through the Python call, and everything that can be done with it afterwards."""

import json
import os
import shutil
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

import autossl
from autossl.cli.commands import main
from autossl.data import PROBE, SELECTION, TEST
from autossl.errors import NoCandidate, UserError
from autossl.finish import baselines
from autossl.finish.finish import Finish
from autossl.finish.steps import Steps
from autossl.record.config import write_config
from autossl.record.folder import Folder, read_json, read_toml, write_json, write_toml
from autossl.report.page import write_report
from autossl.run import begin
from autossl.run.asked import Asked
from autossl.study import Study
from autossl.trials.context import open_context
from autossl.trials.plan import Plan
from autossl.trials.tolerance import CROP, JITTER, Tolerance

SETTINGS = {
    "time_limit": None, "max_candidates": 2, "methods": "vicreg,denoising", "backbone": "test_resnet",
    "adaptation": "frozen", "seed": 5,
}  # fmt: skip
LABELS, AGAIN, ON, TUNE = "training on the labels alone", "with another training seed", "falling", "fine-tuning"


def textures() -> tuple[np.ndarray, np.ndarray]:
    """240 noisy waves in four directions, 16 px, two channels' worth of grey as uint8."""
    rng = np.random.default_rng(0)
    y = np.arange(240) % 4
    angle = y * np.pi / 4
    row, column = np.mgrid[:16, :16]
    along = row * np.cos(angle)[:, None, None] + column * np.sin(angle)[:, None, None]
    x = 127 + 50 * np.sin(along + rng.uniform(0, 6, (240, 1, 1))) + rng.normal(0, 50, (240, 16, 16))
    return np.clip(x, 0, 255).astype(np.uint8), y


pytestmark = pytest.mark.usefixtures("short_runs_on_labels")


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    images, labels = textures()
    out = tmp_path_factory.mktemp("study") / "run"
    return autossl.search(images, labels=labels, out=out, **SETTINGS)  # type: ignore[arg-type]


def test_the_labels_were_asked_what_they_tolerate_before_the_search(study: Study) -> None:
    folder = study.folder
    asked = Tolerance.from_dict((read_json(folder.state) or {})["tolerance"])
    assert asked.of(JITTER)
    assert asked.of(CROP)
    assert f"plan: {asked.words()}" in folder.log.read_text()
    assert "What your labels tolerate" in folder.report.read_text()


def test_the_leaderboard_has_candidates_and_baselines(study: Study) -> None:
    rows = study.leaderboard()
    candidates = [r for r in rows if r["paradigm"] != "baseline"]
    assert {r["method"] for r in candidates} == {"vicreg", "denoising"}
    assert [r["method"] for r in rows if r["paradigm"] == "baseline"] == ["untrained", "supervised"]
    assert [r["score"] for r in rows if r["method"] == "supervised"] == [None]
    keys = [(-r["rung"], -r["score"]) for r in candidates]
    assert keys == sorted(keys)
    assert "untrained" not in {t.params.get("method") for t in study.optuna.trials}
    named = {"baseline untrained", "baseline supervised, in folds", "baseline supervised, test part"}
    assert named <= set(study.optuna.user_attrs)


def test_the_result_is_whole(study: Study) -> None:
    assert study.result is not None
    test = study.result["test"]
    assert {"winner", "untrained", "supervised", "supervised, frozen"} <= set(test["entrants"])
    for name, found in test["differences"].items():
        assert found["low"] <= found["value"] <= found["high"], name
    assert study.result["tests"] == 1
    assert study.status()["finished"]
    assert study.best is not None
    assert study.best.number == study.result["candidate"]["number"]


def test_parts_do_not_share_images(study: Study) -> None:
    data = open_context(study.folder).data
    parts = [set(np.flatnonzero(data.part == part)) for part in (PROBE, SELECTION, TEST)]
    assert all(parts)
    assert sum(len(part) for part in parts) == len(set.union(*parts))


def test_what_is_noted_of_the_data_stands_in_the_log(study: Study) -> None:
    said = study.folder.log.read_text()
    notes = json.loads(study.folder.data.read_text())["notes"]
    assert notes
    assert all(f"data: {note}" in said for note in notes)


def test_the_encoder_embeds_and_exports(study: Study, tmp_path: Path) -> None:
    images, _ = textures()
    z = study.embed(images[:7])
    assert z.shape == (7, study.encoder().dim)
    for candidate in ("best", "model", "supervised"):
        assert autossl.load(study.export(tmp_path / candidate, candidate)).embed(images[:2, ..., None]).shape[0] == 2
    metrics = json.loads((tmp_path / "best" / "metrics.json").read_text())
    assert metrics["candidate"]["method"] == study.result["candidate"]["method"]  # type: ignore[index]
    with pytest.raises(UserError, match="empty or new"):
        study.export(tmp_path / "best")
    with pytest.raises(UserError, match="nonsense"):
        study.export(tmp_path / "other", "nonsense")


def test_the_same_call_goes_on_and_another_is_refused(study: Study) -> None:
    images, labels = textures()
    again = autossl.search(images, labels=labels, out=study.folder.root, **SETTINGS)  # type: ignore[arg-type]
    assert again.leaderboard() == study.leaderboard()
    with pytest.raises(UserError, match="seed = 5, found seed = 6"):
        autossl.search(images, labels=labels, out=study.folder.root, **{**SETTINGS, "seed": 6})  # type: ignore[arg-type]
    for changed, message in (
        ({"methods": "vicreg"}, "methods = vicreg, denoising, found methods = vicreg; give"),
        ({"max_candidates": 3}, "max_candidates = 2, found max_candidates = 3; give"),
        ({"time_limit": "9m"}, "time_limit = 'none', found time_limit = 540.0; autossl resume .* --time-limit there"),
    ):
        with pytest.raises(UserError, match=message):
            autossl.search(images, labels=labels, out=study.folder.root, **{**SETTINGS, **changed})  # type: ignore[arg-type]


def test_other_data_are_refused_and_touch_nothing(study: Study) -> None:
    images, labels = textures()
    whole = {path: path.read_bytes() for path in study.folder.cache.rglob("*") if path.is_file()}
    record = read_json(study.folder.data)
    for x, y in ((images[::-1], labels), (images[:200], labels[:200]), (images, labels[::-1])):
        with pytest.raises(UserError, match=rf"240 images, fingerprint {record['fingerprint'][:8]}.* or another --out"):
            autossl.search(x, labels=y, out=study.folder.root, **SETTINGS)  # type: ignore[arg-type]
    assert whole == {path: path.read_bytes() for path in study.folder.cache.rglob("*") if path.is_file()}


def test_the_same_files_of_another_date_go_on_and_other_pixels_do_not(tmp_path: Path) -> None:
    images, labels = textures()
    for k in range(60):
        path = tmp_path / "set" / str(labels[k]) / f"{k}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(images[k]).save(path)
    asked, folder = Asked(time_limit="9m", backbone="test_resnet"), Folder(tmp_path / "run")

    def open_again() -> None:
        source, config = begin.look(tmp_path / "set", asked, None, None)
        with begin.taken(folder, config):
            begin.decode(source, folder, config, lambda done, n: None)

    open_again()
    path = tmp_path / "set" / "0" / "0.png"
    os.utime(path, (1, 1))
    open_again()
    (folder.cache / "images.npy").unlink()
    open_again()
    assert open_context(folder).data.images.shape == (60, 16, 16, 1)
    Image.fromarray(images[60]).save(path)
    with pytest.raises(UserError, match="found other images, labels or patients"):
        open_again()
    assert sorted(p.name for p in folder.cache.iterdir()) == ["data.npz", "images.npy", "images.npz"]


def test_a_refused_time_limit_is_not_kept(study: Study) -> None:
    before = study.folder.config.read_bytes()
    result = CliRunner().invoke(main, ["resume", str(study.folder.root), "--time-limit", "1s"])
    assert result.exit_code == 2, result.output
    assert study.folder.config.read_bytes() == before
    assert study.status()["finished"]


def test_a_path_may_be_given_in_another_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images, labels = textures()
    np.savez(tmp_path / "set.npz", images=images, labels=labels)
    monkeypatch.chdir(tmp_path)
    configs = [begin.look(data, Asked(), None, None)[1].data for data in ("set.npz", tmp_path / "set.npz")]
    assert configs[0] == configs[1] == str((tmp_path / "set.npz").resolve())


def test_a_plan_repeats_the_study(study: Study, tmp_path: Path) -> None:
    images, labels = textures()
    options = {k: v for k, v in SETTINGS.items() if k != "max_candidates"}
    again = autossl.search(images, labels=labels, out=tmp_path / "again", plan=study.folder.root, **options)  # type: ignore[arg-type]
    first = {(r["candidate"], r["rung"]): (r["method"], r["score"]) for r in study.leaderboard()}
    second = {(r["candidate"], r["rung"]): (r["method"], r["score"]) for r in again.leaderboard()}
    assert first == second


def test_a_study_that_was_stopped_in_its_end_goes_on_after_the_last_step(study: Study, tmp_path: Path) -> None:
    shutil.copytree(study.folder.root, tmp_path / "run")
    folder = Folder(tmp_path / "run")
    stored = read_json(folder.state)
    for key in ("finished", "result", *OF_THE_TEST):
        stored.pop(key, None)
    write_json(folder.state, {**stored, "tests": 0})
    before = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "run" / "baselines").iterdir()}
    again = autossl.resume(folder.root)
    assert again.result is not None
    assert study.result is not None
    assert {path.name: path.stat().st_mtime_ns for path in (tmp_path / "run" / "baselines").iterdir()} == before
    assert again.result["candidate"] == study.result["candidate"]
    assert again.result["final_training"] == study.result["final_training"]
    for name, found in study.result["test"]["entrants"].items():
        assert again.result["test"]["entrants"][name]["accuracy"] == pytest.approx(found["accuracy"], abs=0.03)
    assert again.result["tests"] == 1


def test_commands_on_a_finished_study(study: Study, tmp_path: Path) -> None:
    root, run = str(study.folder.root), CliRunner().invoke
    assert "done" in run(main, ["status", root]).output
    assert json.loads(run(main, ["status", root, "--json"]).output)["finished"] is True
    assert len(json.loads(run(main, ["leaderboard", root, "--json"]).output)) == 4
    assert run(main, ["leaderboard", root, "--csv"]).output.startswith("candidate,method")
    assert "vicreg" in run(main, ["leaderboard", root]).output
    counted = json.loads(run(main, ["evaluate", root]).output)
    assert counted["images"] == study.result["test"]["images"]  # type: ignore[index]
    assert open_context(study.folder).state("tests") == 2
    images, labels = textures()
    np.savez(tmp_path / "new.npz", images=images, labels=labels)
    done = run(main, ["evaluate", root, "--data", str(tmp_path / "new.npz")])
    own = json.loads(done.stdout)
    assert own["images"] == 240
    test = study.result["test"]["images"]  # type: ignore[index]
    assert f"trained or chose with {240 - test} and has tested on {test}: " in own["warning"]
    assert own["warning"] in done.stderr
    done = run(main, ["embed", root, str(tmp_path / "new.npz"), "-o", str(tmp_path / "z")])
    assert done.exit_code == 0, done.output
    assert f"in {tmp_path / 'z.npy'}" in done.output
    assert len(np.load(tmp_path / "z.npy")) == 240
    done = run(main, ["train", root, "--time-limit", "1s", "-o", str(tmp_path / "longer")])
    assert done.exit_code == 0, done.output
    assert autossl.load(tmp_path / "longer").dim == study.encoder().dim
    assert run(main, ["train", root, "--candidate", "77", "-o", str(tmp_path / "none")]).exit_code == 2


def test_new_images_are_evaluated_by_patient_and_without_a_warning(study: Study, tmp_path: Path) -> None:
    images, labels = textures()
    table = ["image,finding,who"]
    for k in range(60):
        Image.fromarray(255 - images[k]).save(tmp_path / f"{k}.png")
        table.append(f"{k}.png,{labels[k]},P{k // 20}")
    (tmp_path / "new.csv").write_text("\n".join(table))
    command = ["evaluate", str(study.folder.root), "--data", str(tmp_path / "new.csv"), "--label-column", "finding"]
    found = [
        json.loads(CliRunner().invoke(main, [*command, *more]).stdout) for more in ([], ["--patient-column", "who"])
    ]
    assert [one["images"] for one in found] == [60, 60]
    assert not any("warning" in one for one in found)
    assert found[0]["accuracy"] == found[1]["accuracy"]
    assert found[0]["interval"] != found[1]["interval"]


def test_scored_images_are_whole_patients(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("autossl.trials.context.SCORED", 50)
    context = open_context(study.folder)
    groups = np.arange(240) // 7
    context.data = replace(context.data, groups=groups)
    rows = context.scored_rows
    everyone = groups[context.rows(PROBE, labelled=True)]
    assert 50 <= len(rows) < 57
    for name in np.unique(groups[rows]):
        assert (groups[rows] == name).sum() == (everyone == name).sum()


def test_looking_at_a_study_writes_nothing(study: Study, tmp_path: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in study.folder.root.rglob("*")}
    for command in ("status", "leaderboard"):
        assert CliRunner().invoke(main, [command, str(study.folder.root)]).exit_code == 0
    assert {path: path.stat().st_mtime_ns for path in study.folder.root.rglob("*")} == before
    begun = Folder(tmp_path)  # a study that has not searched yet
    write_config(begun.config, study.config)
    assert Study(tmp_path).status()["candidates"] == 0
    assert [path.name for path in tmp_path.iterdir()] == ["config.toml"]


def test_nothing_in_the_study_names_a_file_or_a_patient(tmp_path: Path) -> None:
    images, labels = textures()
    table = ["image,label,patient_id"]
    for k in range(60):
        Image.fromarray(images[k]).save(tmp_path / f"DOE_JANE_{k}.png")
        table.append(f"DOE_JANE_{k}.png,{labels[k]},PID-{k // 2:03d}")
    (tmp_path / "table.csv").write_text("\n".join(table))
    out = tmp_path / "run"
    one = {"max_candidates": 1, "methods": "denoising"}
    autossl.search(tmp_path / "table.csv", out=out, **{**SETTINGS, **one})  # type: ignore[arg-type]
    for path in out.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert b"DOE_JANE" not in content, path
            assert path.name == "config.toml" or str(tmp_path).encode() not in content, path
            assert b"PID-0" not in content, path


OF_THE_TEST = ("testing", "tested")  # what a study writes down while it is tested


def endless(study: Study, root: Path, step: str) -> Folder:
    """That study as it was before a step of its end, in which every training would go on for ever."""
    shutil.copytree(study.folder.root, root)
    folder = Folder(root)
    stored = read_json(folder.state)
    plan = replace(Plan.from_dict(stored["plan"]), replicates=1, final_images=1 << 40)
    plan = replace(plan, rungs=tuple((1 << 40) + k for k in range(len(plan.rungs))))
    names = ("arms", "finalists", "final")
    done = names[: {LABELS: 0, AGAIN: 1, ON: 2, TUNE: 3}[step]]
    left_out = ("result", "finished", "granted", "scored", *OF_THE_TEST, *names)
    begun = {k: v for k, v in stored.items() if k not in left_out or k in done}
    write_json(folder.state, {**begun, "tests": 0, "plan": plan.to_dict()})
    write_toml(folder.config, {**read_toml(folder.config), "adaptation": "finetune"}, "a test")
    return folder


@pytest.mark.parametrize("during", [LABELS, AGAIN, ON, TUNE])
def test_a_stop_ends_each_step_and_the_best_so_far_is_tested_and_exported(
    study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, during: str
) -> None:
    folder = endless(study, tmp_path / "run", during)
    monkeypatch.setattr(baselines, "LABEL_PASSES", 10**9)
    said: list[str] = []
    steps: list[str] = []

    def tick() -> None:
        steps.append(said[-1])
        assert len(steps) < 40, f"{said[-1]} went on after the stop"
        if during in said[-1]:
            folder.stop.touch()

    Finish(Steps(open_context(folder), lambda: 0.0, said.append, tick)).run()
    assert any(during in step for step in steps)
    stopped = Study(folder.root)
    assert stopped.result is not None
    assert stopped.result["stopped"]
    assert stopped.result["tests"] == 1
    assert stopped.result["choice"]["arm"] == "winner"
    assert ("supervised" in stopped.result["test"]["entrants"]) == (during != LABELS)
    assert ("selection_after" in stopped.result["final_training"]) == (during in (ON, TUNE))
    assert len(stopped.encoder().embed(textures()[0][:3, ..., None])) == 3
    assert "This study was stopped early." in write_report(folder, folder.report).read_text()


def test_a_stop_before_the_first_score_says_so(study: Study, tmp_path: Path) -> None:
    folder = endless(study, tmp_path / "run", LABELS)
    folder.journal.unlink()

    def stop() -> None:
        while read_json(folder.state)["stage"] != "searching":
            time.sleep(0.01)
        folder.stop.touch()

    thread = threading.Thread(target=stop, daemon=True)
    thread.start()
    with pytest.raises(NoCandidate, match="stopped before a candidate was scored; autossl resume"):
        autossl.resume(folder.root)
    thread.join()
    assert Study(folder.root).status()["finished"] is False
