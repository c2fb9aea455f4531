"""The report at every stage of a study: real Optuna trials and files, as a search leaves them."""

import base64
import io
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from optuna.trial import TrialState
from PIL import Image

from autossl.data import open_data, prepare
from autossl.errors import UserError
from autossl.nn.encoder import Encoder
from autossl.pretext import METHODS
from autossl.proxies import Outcomes
from autossl.record.config import write_config
from autossl.record.folder import Folder, write_json, write_toml
from autossl.record.journal import open_study
from autossl.report.charts import contact_sheet
from autossl.report.page import MOST_ROWS, headline, write_report
from autossl.report.shown import shown, watched
from autossl.trials.context import TEST, Context, open_context
from autossl.trials.space import read_space, suggest
from tests.test_verdict import GOOD, outcome
from tests.toy_config import TOY

NASTY = "<script>alert($x_1$)</script>"  # a class name: markup, and half a formula
CLASSES = [NASTY, "benign", "良性"]
RUNGS = [64, 192]
VOID = {"meta", "br", "img", "link", "input", "hr"}

CONFIG: dict[str, Any] = {
    "data": "/images of <a> clinic.npz", "task": "classification", "metric": "auto", "adaptation": "auto",
    "time_limit": 180.0, "max_labels": 60, "space": "auto", "backbone": "test_resnet", "image_size": 16,
    "modality": "grey", "workers": 1, "device": "cpu", "seed": 0, "methods": ["simclr", "rotation", "cnn_mae"],
    "left_out": {"jigsaw": "these images have no orientation"}, "model_args": {}, "upsample": 1, "precision": "fp32",
    "study_name": "toy.classification.test_resnet", "version": "0",
}  # fmt: skip


STATE: dict[str, Any] = {
    "stage": "searching", "detectable": 0.0432,
    "baselines": {"untrained": {"score": 0.5, "se": 0.01, "knn": 0.4, "auroc": 0.7, "rankme": 9.0, "seconds": 1.0}},
    "plan": {
        "rungs": RUNGS, "methods": ["simclr", "rotation"], "skipped": ["cnn_mae"], "limit": 180.0,
        "table": [], "max_candidates": None,
        "planned_away": ["A second finalist did not fit: <b>so</b> it is."],
    },
}  # fmt: skip


def begin(root: Path, state: dict[str, Any] | None = None) -> Folder:
    """A study folder with data, settings and state."""
    folder = Folder(root)
    folder.make()
    rng = np.random.default_rng(0)
    labels = np.array(CLASSES)[np.arange(150) % 3]
    source = open_data(rng.integers(0, 255, (150, 16, 16), dtype=np.uint8), labels=labels)
    data = prepare(source, folder.cache, image_size=16)
    write_toml(folder.config, CONFIG, "a test")
    write_json(folder.data, data.record)
    write_json(folder.clock, {"runs": [{"started": 1.0, "seconds": 100.0}, {"started": 900.0, "seconds": 70.5}]})
    if state is not None:
        write_json(folder.state, state)
    return folder


def add(folder: Folder, candidate: int, method: str, rung: int, score: float | None, **attrs: Any) -> None:
    """One segment, told to Optuna as a worker does."""
    study = open_study(folder, CONFIG["study_name"])
    study.enqueue_trial({"method": method})
    trial = study.ask()
    space = {name: table for name, table in read_space().items() if name in CONFIG["methods"]}
    suggest(trial, space)
    facts = {"candidate": candidate, "method": method, "paradigm": METHODS[method].paradigm, "rung": rung, **attrs}
    if score is not None:
        facts |= {"score": score, "se": 0.02, "seconds": 5.0, "knn": 0.6, "auroc": 0.8, "rankme": 20.0}
        losses = np.column_stack([np.arange(1, 400) * 4.0, np.linspace(6, 3, 399)]).astype(np.float32)
        np.savez(folder.artifacts / f"c{candidate:04d}-r{rung}.npz", predicted=np.zeros(3), losses=losses)
    for key, value in facts.items():
        trial.set_user_attr(key, value)
    if score is None:
        study.tell(trial, state=TrialState.FAIL)
        return
    trial.report(score, step=RUNGS[rung])
    top = rung == len(RUNGS) - 1
    study.tell(trial, score if top else None, state=TrialState.COMPLETE if top else TrialState.PRUNED)


def searched(root: Path, state: dict[str, Any]) -> Folder:
    """A study with scores at two rungs and with failures."""
    folder = begin(root, state)
    add(folder, 0, "simclr", 0, 0.6)
    add(folder, 1, "rotation", 0, 0.7)
    add(folder, 2, "simclr", 0, None, reason="nan", why="the loss is nan after <64> images")
    add(folder, 3, "simclr", 0, None, reason="double")
    add(folder, 1, "rotation", 1, 0.75)
    return folder


def finished(root: Path, **more: Any) -> Folder:
    folder = searched(root, {**STATE, "stage": "done", "finished": True, "tests": 1, "result": outcome(GOOD), **more})
    rng = np.random.default_rng(1)
    winner = rng.normal(size=(45, 32)).astype(np.float16)
    np.savez(folder.artifacts / "test.npz", winner=winner, labels=np.arange(45) % 3)
    y = open_context(folder, "cpu").data.truth.strata[open_context(folder, "cpu").rows(TEST, labelled=True)]
    answers = Outcomes.of(y, np.eye(3)[y] + rng.normal(size=(len(y), 3)))
    kept: dict[str, Any] = answers.arrays()
    np.savez(folder.artifacts / "answers.npz", entrant=np.array("winner"), **kept)
    return folder


class Page(HTMLParser):
    """Checks that tags close in order, and gathers text and addresses."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.addresses: list[str] = []
        self.ids: list[str] = []
        self.words: list[str] = []
        self.counts: dict[str, int] = {}
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.counts[tag] = self.counts.get(tag, 0) + 1
        self.addresses += [v or "" for k, v in attrs if k in ("src", "href", "xlink:href", "action", "data")]
        self.ids += [v or "" for k, v in attrs if k == "id"]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.words.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.words))


def page_of(folder: Folder) -> Page:
    path = write_report(folder, folder.report)
    assert path == folder.report
    text = path.read_text()
    assert len(text) < 1_500_000
    assert not re.search(r"https?://", text)
    page = Page(text)
    assert "script" not in page.counts
    assert all(a.startswith(("data:image/png;base64,", "#")) for a in page.addresses)
    assert {a[1:] for a in page.addresses if a.startswith("#")} <= set(page.ids)
    assert len(set(page.ids)) == len(page.ids)
    return page


def test_before_anything_but_settings_there_is_a_report(tmp_path: Path) -> None:
    write_config(Folder(tmp_path).config, TOY)
    page = page_of(Folder(tmp_path))
    assert "No answer yet: no candidate has been scored (stage: starting)" in page.text
    assert page.counts.get("svg", 0) == 0


def test_half_way_and_with_a_torn_journal_it_names_the_leader(tmp_path: Path) -> None:
    folder = searched(tmp_path, STATE)
    with open(folder.journal, "ab") as file:
        file.write(b'{"op_code": 5, "worker_id": "half a li')
    page = page_of(folder)
    leads = "No answer yet: rotation (candidate 1) leads with an aligned score of 0.750 ± 0.020, the untrained encoder"
    assert leads in page.text
    assert "autossl resume" in page.text
    assert "the loss is nan after <64> images" in page.text
    assert "double" not in page.text
    assert "Not tried so far, for want of time: cnn_mae" in page.text
    assert "jigsaw (these images have no orientation)" in page.text
    assert page.counts["svg"] == 3  # scores, ladder, losses
    assert page.counts["img"] == 1  # views of the leader
    assert journal_is_untouched(folder)


def journal_is_untouched(folder: Folder) -> bool:
    before = folder.journal.read_bytes()
    write_report(folder, folder.report)
    return folder.journal.read_bytes() == before


def test_what_ended_without_a_fault_of_its_candidate_is_no_failure(tmp_path: Path) -> None:
    folder = searched(tmp_path, STATE)
    add(folder, 4, "rotation", 0, None, reason="out of time")
    add(folder, 5, "rotation", 0, None, reason="lost")
    page = page_of(folder)
    assert "2 segments were cut off by the end of the search, a stop or a crash" in page.text
    assert "out of time" not in page.text
    assert page.text.count("nan: the loss is nan") == 1


def test_a_long_leaderboard_is_cut_but_keeps_the_baselines(tmp_path: Path) -> None:
    folder = begin(tmp_path, STATE)
    for number in range(MOST_ROWS + 5):
        add(folder, number, "simclr", 0, 0.5 + number / 1000)
    page = page_of(folder)
    assert "5 more candidates are in autossl leaderboard RUN --csv" in page.text
    assert page.text.count("0.544 ± 0.020") == 1 + 1  # the best, in the first line too
    assert "0.503 ± 0.020" not in page.text
    assert "untrained" in page.text.split("Leaderboard")[1].split("5 more")[0]


def test_when_everything_failed_it_says_so(tmp_path: Path) -> None:
    folder = begin(tmp_path, STATE)
    add(folder, 0, "simclr", 0, None, reason="collapsed", why="one direction holds 99 % of the variance")
    page = page_of(folder)
    assert "No answer yet: all 1 trials so far failed" in page.text
    assert "collapsed: one direction holds 99 % of the variance" in page.text


def test_a_finished_study_answers_first_and_shows_everything(tmp_path: Path) -> None:
    folder = finished(tmp_path)
    page = page_of(folder)
    first = headline(outcome(GOOD))
    assert page.text.index(first) < page.text.index("Leaderboard")
    assert first.startswith(
        "Self-supervision helped: the winner (rotation) reaches a balanced accuracy of 0.800 [0.780"
    )
    assert "One training seed stands behind the winner" in page.text
    assert "The test part has been evaluated once" in page.text
    assert "can show a difference of about 0.043 in balanced accuracy, hardly a smaller one" in page.text
    assert "2 min 50 s used in 2 runs, of a limit of 3 min" in page.text
    assert "A second finalist did not fit: <b>so</b> it is." in page.text
    assert "extended after its test" not in page.text
    repeat = "autossl search 'images of <a> clinic.npz' --task classification --max-labels 60"
    assert repeat in page.text
    same = "--methods simclr,rotation,cnn_mae,jigsaw --precision fp32 --device cpu --workers 1"
    assert f"{same} --plan {folder.root.name}" in page.text
    assert "/images" not in page.text
    assert "3 settings compared on the selection part, the best at learning rate 0.002" in page.text
    assert page.counts["svg"] == 10
    assert page.counts["img"] == 2  # views, and the worst errors
    assert "Class by class" in page.text
    assert page.text.count("sensitivity") >= 1
    labels = re.findall('aria-label="([^"]*)"', folder.report.read_text())
    assert not any(label.startswith("figure: ") for label in labels)  # a screen reader hears the caption
    assert "contains pixels of your images" in page.text
    assert " predictive 1 0.750 ± 0.020" in page.text  # the paradigm as the terminal names it
    assert "could not be drawn" not in page.text
    assert page.text.count(NASTY) == 3  # the tables of classes, and the map's legend
    told = folder.root / "report.md"
    assert told.read_text().startswith("# AutoSSL report")
    assert "<script>" not in told.read_text()
    assert "| the winner (in model/) | 0.800 [0.780, 0.820] |" in told.read_text()


def test_an_extension_after_the_test_is_confessed(tmp_path: Path) -> None:
    folder = finished(tmp_path, finished=False, extended_after_test=True, tests=2)
    page = page_of(folder)
    assert "This study was extended after its test." in page.text
    assert "the extension is not finished" in page.text
    assert "evaluated 2 times" in page.text


@pytest.mark.parametrize("lost", ["cache", "artifacts"])
def test_what_is_missing_costs_its_own_figure_only(tmp_path: Path, lost: str) -> None:
    folder = finished(tmp_path)
    for path in (folder.root / lost).iterdir():
        path.write_bytes(b"no such thing")
    page = page_of(folder)
    assert "Self-supervision helped" in page.text
    assert "could not be drawn" in page.text
    assert page.counts["svg"] >= 5


def test_a_folder_that_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nowhere"):
        write_report(finished(tmp_path), tmp_path / "nowhere" / "report.html")


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> Context:
    return open_context(begin(tmp_path_factory.mktemp("views")))


@pytest.mark.parametrize(
    "method",
    [n for n, cls in METHODS.items() if 2 in cls.dims and not cls.needs & {"colour", "patch tokens"}],
)
def test_every_method_can_show_its_views(context: Context, method: str) -> None:
    prior = read_space()[method]
    drawn = contact_sheet(shown(context, method, {**prior.fixed, **prior.priors[0]}))
    sheet = np.asarray(Image.open(io.BytesIO(base64.b64decode(drawn.removeprefix("data:image/png;base64,")))))
    originals = sheet[: 6 * 18, :16, 3].reshape(6, 18, 16)[:, :16]
    assert (originals == 255).all()
    views = sheet[: 6 * 18, 22:, :3]
    assert views.std() > 1
    assert (sheet[..., 0] == sheet[..., 1]).all()  # grey images stay grey


def test_what_an_encoder_is_shown_is_noted_at_its_own_size_and_trials_are_not() -> None:
    encoder = Encoder("test_resnet", 1, 20, upsample=2)
    seen = watched(encoder)
    images = torch.rand(3, 1, 20, 20)
    encoder(images)
    encoder.pyramid(images)
    assert encoder.takes(10, 10)
    assert [len(one) for one in seen] == [3, 3]
    assert all(torch.equal(one, images) for one in seen)
