"""The contract of every target: what perfect features and what noise come to, and what engine and export rely on."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

import autossl
from autossl.data.truth import Classes, Grades, Labels, Truth, Values
from autossl.model import export
from autossl.model.card import Preprocessing
from autossl.model.model import Meaning, Model
from autossl.nn.encoder import Encoder
from autossl.proxies import METRICS, PROXIES, Outcomes
from autossl.targets import TARGETS, Judged, Seen

N, PATIENTS = 240, 60
rng = np.random.default_rng(0)
HIDDEN = rng.normal(size=(N, 3))  # what labels follow from
GROUPS = np.repeat(np.arange(PATIENTS), N // PATIENTS)
NOISE = rng.normal(size=(N, 12)).astype(np.float32)
CHANCE = {
    "map_at_10": 1 / 3,
    "r_precision": 1 / 3,
    "balanced_accuracy": 1 / 3,
    "macro_auroc": 0.5,
    "multilabel_auroc": 0.5,
    "average_precision": 0.5,
}
TOP = {"map_at_10": 0.7, "r_precision": 0.55}  # where classes meet, the nearest are of both
GAPS = np.where(np.arange(N)[:, None] % 9 == np.array([0, 4]), np.nan, HIDDEN[:, :2])
TRUTHS: dict[str, Truth] = {
    "classes": Classes(HIDDEN.argmax(1).astype(np.int64), ("a", "b", "c")),
    "grades": Grades(np.digitize(HIDDEN[:, 0], (-0.5, 0.5)), ("1", "2", "3")),
    "values": Values.load({"values": GAPS}, Values.nothing(0).about | {"columns": ["a", "b"]}),
    "labels": Labels(
        np.where(rng.random((N, 2)) < 0.1, -1, HIDDEN[:, :2] > 0).astype(np.int8), ("there", "here"), (0, 1)
    ),
}
POOLED = [
    task for task, cls in TARGETS.items() if issubclass(cls, Judged) and cls.form.form in TRUTHS
]  # of an embedding
JUDGED = [(task, metric) for task in POOLED for metric in TARGETS[task].metrics]


def made(task: str, metric: str = "auto") -> tuple[Judged, Truth]:
    cls = TARGETS[task]
    truth = TRUTHS[cls.form.form]
    known = truth[truth.known]
    target = cls(known.about, metric)
    assert isinstance(target, Judged)
    return target, known


def features(truth: Truth, shuffled: bool = False) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Embeddings that hold what the labels follow from, or of other patients; and patients, of the known samples."""
    known = TRUTHS[truth.form].known
    z = np.hstack([HIDDEN, 0.1 * NOISE]).astype(np.float32)
    if shuffled:
        z = z.reshape(PATIENTS, -1, z.shape[1])[np.random.default_rng(1).permutation(PATIENTS)].reshape(z.shape)
    return z[known], GROUPS[known]


@pytest.mark.parametrize("task", TARGETS)
def test_a_row_is_whole(task: str) -> None:
    cls = TARGETS[task]
    assert cls.task == task
    assert cls.headings.keys() <= cls.shown.keys()
    assert set(cls.shown.values()) <= {row.name for row in PROXIES}
    assert all(METRICS[name].better == "higher" for name in cls.metrics), (
        "what is maximised is better where it is higher"
    )
    assert set(cls.told) <= METRICS.keys()


@pytest.mark.parametrize(("task", "metric"), JUDGED)
def test_perfect_features_score_near_the_top_and_shuffled_truth_at_chance(task: str, metric: str) -> None:
    target, truth = made(task, metric)
    z, groups = features(truth)
    good = target.score(Seen.of(z), truth, groups)
    assert good.value > TOP.get(metric, 0.8)
    assert 0 <= good.se < 0.2
    assert good.outcomes.value(metric) == pytest.approx(good.value)
    assert set(good.proxies) == set(target.shown)
    assert not good.collapsed
    z, groups = features(truth, shuffled=True)
    assert target.score(Seen.of(z), truth, groups).value < CHANCE.get(metric, 0.0) + 0.15


@pytest.mark.parametrize("task", POOLED)
def test_the_probe_and_its_transfer_tell_new_samples(task: str) -> None:
    target, truth = made(task)
    z, groups = features(truth)
    first, rest = groups < 40, groups >= 40
    probe = target.probe(Seen.of(z[first]), truth[first], groups[first])
    raw = target.transfer(Seen.of(z[first]), truth[first], groups[first], Seen.of(z[rest]))
    for answers in (probe.answers(z[rest]), raw):
        assert target.judge(answers, truth[rest]).value(target.metric) > TOP.get(target.metric, 0.75)


@pytest.mark.parametrize("task", POOLED)
def test_batches_judged_are_the_whole_judged_and_the_same_differ_by_nothing(task: str) -> None:
    target, truth = made(task)
    z, groups = features(truth)
    raw = target.probe(Seen.of(z), truth, groups).answers(z)
    whole = target.judge(raw, truth)
    parts = [target.judge(raw[at], truth[at]) for at in (slice(0, 100), slice(100, len(raw)))]
    for metric in target.reported if target.apart else ():  # else images are asked for among those judged with them
        assert Outcomes.joined(parts).value(metric) == pytest.approx(whole.value(metric))
    gap = whole.minus(whole, target.metric, groups, draws=20)
    assert (gap.value, gap.low, gap.high) == (0, 0, 0)
    low, high = whole.intervals((target.metric,), groups, draws=50)[target.metric]
    assert low <= whole.value(target.metric) <= high


@pytest.mark.parametrize("task", POOLED)
def test_labels_that_are_withheld_cannot_be_read(task: str) -> None:
    target, truth = made(task)
    z, groups = features(truth)
    held = truth.only(np.arange(len(truth)) > 5)
    with pytest.raises(AssertionError, match="withheld"):
        target.score(Seen.of(z), held, groups)
    with pytest.raises(AssertionError, match="withheld"):
        target.judge(np.zeros((len(truth), 3)), held)


@pytest.mark.parametrize("task", POOLED)
def test_a_readout_learns_and_its_export_answers_alike(task: str, tmp_path: Path) -> None:
    target, truth = made(task)
    torch.manual_seed(0)
    encoder = Encoder("test_resnet", 1, 16).eval()
    readout = target.readout(encoder, truth)
    z = torch.from_numpy(rng.normal(size=(len(truth), encoder.dim)).astype(np.float32))
    z[:, :3] = torch.from_numpy(features(truth)[0][:, :3])
    wanted = torch.from_numpy(np.ascontiguousarray(truth.array))
    wanted = wanted[:, None].float() if task == "ordinal" else wanted
    optimizer = torch.optim.Adam(readout.parameters(), 0.05)
    losses = []
    for _ in range(60):
        optimizer.zero_grad()
        loss = readout.loss(readout(z), wanted)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.7 * losses[0]
    assert target.judge(readout.answers(z.numpy()), truth).value(target.metric) > 0.7
    meaning = Meaning(task, truth.form, truth.about)
    export.write(Model(encoder, Preprocessing(16, 255.0, (0.4,), (0.2,)), readout, meaning), tmp_path / "model", {})
    images: Any = rng.integers(0, 255, (4, 16, 16), np.uint8)
    again = autossl.load(tmp_path / "model")
    np.testing.assert_allclose(again.answers(images), readout.answers(again.embed(images)), rtol=1e-4, atol=1e-4)
    assert again.meaning == meaning


@pytest.mark.parametrize("task", ["regression", "ordinal"])
def test_a_constant_answer_explains_nothing(task: str) -> None:
    target, truth = made(task)
    encoder = Encoder("test_resnet", 1, 16).eval()
    constant = target.constant(encoder, truth)
    assert constant is not None
    raw = constant.answers(np.zeros((len(truth), encoder.dim), np.float32))
    assert abs(target.judge(raw, truth).value(target.metric)) < 0.01


def test_too_few_patients_are_said_for_every_target() -> None:
    for task in POOLED:
        target, truth = made(task)
        _, groups = features(truth)
        assert target.few(truth, groups, "patient", "the test part") == ""
        four = groups < 4
        said = target.few(truth[four], groups[four], "patient", "the test part")
        assert said.startswith("the test part has ")
        assert "patient" in said


@pytest.mark.parametrize("task", POOLED)
def test_the_loss_of_a_probe_tells_the_better_embedding_and_is_that_of_a_constant_where_nothing_can_be_known(
    task: str,
) -> None:
    target, truth = made(task)
    z, groups = features(truth)
    noisy = z + rng.normal(size=z.shape).astype(np.float32)
    nothing = {"classification": np.log(3), "retrieval": 2 / 3, "multilabel": np.log(2)}.get(task, 1.0)
    losses = [target.fitted(each, truth, groups).loss for each in (z, noisy, features(truth, shuffled=True)[0])]
    assert losses[0] < losses[1] < nothing
    assert losses[2] > 0.95 * nothing
