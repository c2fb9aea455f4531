"""Detection: its score, its detector and its loss, and a study from images with boxes to boxes of new images."""

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from numpy.typing import NDArray
from PIL import Image

import autossl
from autossl.cli.commands import main
from autossl.data import open_data, prepare
from autossl.data.samples.fields import FIELD, fields
from autossl.data.truth import Boxes
from autossl.finish import anneal, baselines
from autossl.model import export
from autossl.model.card import Preprocessing
from autossl.model.model import Meaning, Model
from autossl.nn.encoder import Encoder
from autossl.nn.sight import Maps, mapped
from autossl.proxies import Outcomes
from autossl.report.detections import threshold
from autossl.report.overlays import boxed
from autossl.study import Study
from autossl.targets import Seen
from autossl.targets.detection import Detection
from autossl.targets.detector import MOST, Detector
from autossl.views.points import followed
from autossl.views.presets import preset
from autossl.views.volumes import views_for
from tests.box_toys import scenes

N, SIZE = 48, 32
GROUPS = np.repeat(np.arange(N // 2), 2)


def arrays(n: int, seed: int = 0, side: int = SIZE) -> tuple[NDArray[np.uint8], list[Any]]:
    """Images and what torchvision calls their targets."""
    drawn = scenes(n, seed, high=side, wide=side)
    labels = [{"boxes": scene.boxes, "labels": list(scene.kinds)} for scene in drawn]
    return np.stack([scene.image for scene in drawn]), labels


@pytest.fixture(scope="module")
def boxes(tmp_path_factory: pytest.TempPathFactory) -> Boxes:
    images, labels = arrays(N)
    truth = prepare(open_data(images, form=Boxes, labels=labels), tmp_path_factory.mktemp("boxes")).truth
    assert isinstance(truth, Boxes)
    return truth


def seen_of(maps: NDArray[np.float32]) -> Seen:
    """An encoder that gives these maps (n, c, rows, columns), and their means over coarser cells."""
    pooled = maps.reshape(*maps.shape[:2], -1).mean(2)

    def pass_over(at: NDArray[np.int64]) -> Iterator[tuple[NDArray[np.int64], Maps]]:
        for first in range(0, len(at), 16):
            taken = at[first : first + 16]
            fine = torch.from_numpy(maps[taken])
            yield taken, Maps(fine[:, :1], torch.from_numpy(pooled[taken]), [fine, torch.nn.AvgPool2d(4)(fine)])

    return Seen(len(maps), maps.shape[1], lambda sight: pooled, pass_over)


def perfect(boxes: Boxes, shuffled: bool = False) -> Seen:
    """Maps that hold, about the centre of each object, its class and the distances to its borders; or of others."""
    maps = np.zeros((len(boxes), 10, SIZE, SIZE), np.float32)
    y, x = np.mgrid[:SIZE, :SIZE] / SIZE + 0.5 / SIZE
    for row in range(len(boxes)):
        own, kinds = boxes.of(row)
        for (x0, y0, x1, y1), kind in zip(own, kinds, strict=True):
            bump = np.exp(-18 * (((x - (x0 + x1) / 2) / (x1 - x0)) ** 2 + ((y - (y0 + y1) / 2) / (y1 - y0)) ** 2))
            near = bump > 0.2
            maps[row, kind] = np.maximum(maps[row, kind], bump)
            for at, away in enumerate((x - x0, y - y0, x1 - x, y1 - y), 2):
                maps[row, at][near] = np.log(np.maximum(away, 0.01))[near]
    maps += 0.02 * np.random.default_rng(0).normal(size=maps.shape).astype(np.float32)
    return seen_of(maps[np.random.default_rng(1).permutation(len(maps))] if shuffled else maps)


@pytest.mark.parametrize("metric", Detection.metrics)
def test_perfect_maps_score_near_the_top_and_those_of_other_images_low(boxes: Boxes, metric: str) -> None:
    target = Detection(boxes.about, metric)
    good = target.score(perfect(boxes), boxes, GROUPS)
    assert good.value > 0.97
    assert good.outcomes.value(metric) == pytest.approx(good.value)
    assert good.proxies["knn"] > 0.9
    assert set(good.proxies) == set(Detection.shown)
    assert not good.collapsed
    chance = target.score(perfect(boxes, shuffled=True), boxes, GROUPS)
    assert chance.value < 0.4
    assert 0 < chance.se < 0.2


def test_objects_that_are_not_found_lower_the_score(boxes: Boxes) -> None:
    target = Detection(boxes.about)
    spots = boxes.spots(400)
    sure = np.eye(3)[spots.kind][:, 1:]
    assert target._outcomes(spots, sure, N).value("ap50") == pytest.approx(1)
    blind = np.where(spots.sample[:, None] % 2 == 0, sure, 0)  # as if nothing were found in every second image
    assert target._outcomes(spots, blind, N).value("ap50") < 0.8


def test_maps_that_say_nothing_or_are_broken_are_collapsed(boxes: Boxes) -> None:
    target = Detection(boxes.about)
    for value in (1.0, np.nan):
        assert target.score(seen_of(np.full((N, 4, SIZE, SIZE), value, np.float32)), boxes, GROUPS).collapsed


def test_the_probe_tells_new_images_and_batches_are_the_whole(boxes: Boxes) -> None:
    target, first, rest = Detection(boxes.about), np.arange(32), np.arange(32, N)
    seen = perfect(boxes)
    raw = target.transfer(seen[first], boxes[first], GROUPS[first], seen[rest])
    assert raw.shape == (len(rest), MOST, 6)
    assert target.judge(raw, boxes[rest]).value("ap50") > 0.85
    raw = seen.answers(target.probe(seen, boxes, GROUPS))
    whole = target.judge(raw, boxes)
    joined = Outcomes.joined([target.judge(raw[at], boxes[at]) for at in (first, rest)])
    for metric in target.metrics:
        assert joined.value(metric) == pytest.approx(whole.value(metric))
    low, high = whole.intervals(("ap50",), GROUPS, draws=50)["ap50"]
    assert low <= whole.value("ap50") <= high
    assert 0 < threshold(whole) < 1
    table = target.answer(raw)
    assert list(table) == list(boxes.objects)
    with pytest.raises(AssertionError, match="withheld"):
        target.judge(raw, boxes.only(np.arange(N) > 5))
    with pytest.raises(AssertionError, match="withheld"):
        target.score(seen, boxes.only(np.arange(N) > 5), GROUPS)


def test_answers_that_are_the_truth_are_perfect_and_nothing_is_nothing(boxes: Boxes) -> None:
    target = Detection(boxes.about)
    raw = np.zeros((N, MOST, 6), np.float32)
    raw[..., 5] = -1
    assert [target.judge(raw, boxes).value(metric) for metric in target.metrics] == [0, 0, 0]
    for row in range(N):
        own, kinds = boxes.of(row)
        raw[row, : len(own)] = np.column_stack([own, np.full(len(own), 0.9), kinds])
    assert [target.judge(raw, boxes).value(metric) for metric in target.metrics] == [1, 1, 1]


def test_a_detector_learns_and_is_exported(boxes: Boxes, tmp_path: Path) -> None:
    images, _ = arrays(N)
    torch.manual_seed(0)
    encoder = Encoder("test_resnet", 3, SIZE).train()
    target, truth = Detection(boxes.about), torch.from_numpy(boxes.array)
    readout = target.readout(encoder, boxes)
    x = (torch.from_numpy(images).permute(0, 3, 1, 2) / 255 - 0.5) / 0.25
    optimizer = torch.optim.AdamW([*encoder.parameters(), *readout.parameters()], 3e-3)
    losses = []
    for step in range(90):
        at = torch.arange(16) + 16 * (step % 3)
        optimizer.zero_grad()
        loss = readout.loss(readout(mapped(encoder, x[at])), truth[at])
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.3 * losses[0]
    with torch.no_grad():
        raw = readout.kept(readout(mapped(encoder.eval(), x)))
    assert target.judge(raw, boxes).value("ap50") > 0.6
    meaning = Meaning("detection", "boxes", boxes.about)
    model = Model(encoder, Preprocessing(SIZE, 255.0, (0.5,) * 3, (0.25,) * 3), readout.eval(), meaning)
    export.write(model, tmp_path / "model", {})
    assert "gives boxes in pixels of the images" in (tmp_path / "model" / "README.md").read_text()
    _predicted(tmp_path, images[0].repeat(2, axis=0).repeat(2, axis=1))


def _predicted(folder: Path, image: NDArray[np.uint8]) -> None:
    """Boxes of new images are in their own pixels, in a table and in the form of COCO."""
    (folder / "new" / "deep").mkdir(parents=True)
    Image.fromarray(image).save(folder / "new" / "a.png")
    Image.fromarray(np.full((50, 40, 3), 128, np.uint8)).save(folder / "new" / "deep" / "b.png")
    for name in ("boxes.csv", "boxes.json"):
        asked = ["predict", str(folder / "model"), str(folder / "new"), "-o", str(folder / name)]
        done = CliRunner().invoke(main, asked)
        assert done.exit_code == 0, done.output
    with open(folder / "boxes.csv") as file:
        rows = list(csv.DictReader(file))
    assert rows
    assert {row["image"] for row in rows} <= {"a.png", "deep/b.png"}
    assert {row["label"] for row in rows} <= {"disc", "square"}
    for row in rows:
        wide, high = (2 * SIZE, 2 * SIZE) if row["image"] == "a.png" else (40, 50)
        x0, y0, x1, y1, score = (float(row[key]) for key in ("x0", "y0", "x1", "y1", "score"))
        assert 0 <= x0 < x1 <= wide
        assert 0 <= y0 < y1 <= high
        assert 0 < score <= 1
    whole = json.loads((folder / "boxes.json").read_text())
    assert [each["file_name"] for each in whole["images"]] == ["a.png", "deep/b.png"]
    assert len(whole["annotations"]) == len(rows)
    x, y, wide, high = whole["annotations"][0]["bbox"]
    assert (x, y, x + wide, y + high) == pytest.approx(
        [float(rows[0][key]) for key in ("x0", "y0", "x1", "y1")], abs=0.02
    )


def test_boxes_follow_the_views_of_their_images() -> None:
    """A view of an image whose objects are bright shows them where the boxes went."""
    random = np.random.default_rng(0)
    images, boxes = torch.zeros(32, 1, 40, 40), torch.full((32, 2, 4), torch.nan)
    for row in range(32):
        x, y, wide, high = (
            random.integers(4, 20),
            random.integers(4, 20),
            random.integers(6, 14),
            random.integers(6, 14),
        )
        images[row, 0, y : y + high, x : x + wide] = 1
        boxes[row, 0] = torch.tensor([x, y, x + wide, y + high]) / 40
    views = views_for(2)(preset("microscopy", 1), (0.0,), (1.0,), crop_min=0.3, jitter=0.0).upright()
    u = views.draw(images, torch.Generator().manual_seed(0))
    shown, moved = views.apply(images, u)[:, 0] > 0.5, followed(boxes, views, u)
    assert moved[:, 1].isnan().all()
    compared = 0
    for view, box in zip(shown, moved[:, 0], strict=True):
        rows, columns = torch.nonzero(view).T
        if box.isnan().any() or not len(rows):
            continue
        found = torch.stack([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])
        torch.testing.assert_close(found.float(), box * 40, atol=1.2, rtol=0)
        compared += 1
    assert compared > 20


def test_the_loss_is_least_where_the_answer_is_right() -> None:
    readout = Detector([4], 2, decoder=False)
    truth = torch.full((1, 3, 5), torch.nan)
    truth[0, 0] = torch.tensor([0.25, 0.25, 0.75, 0.5, 1.0])
    raw = torch.full((1, 6, 8, 8), -8.0)
    raw[:, 2:] = torch.log(torch.tensor([0.25, 0.125, 0.25, 0.125]) * 8).view(1, 4, 1, 1)
    nothing = readout.loss(raw, truth)
    right = raw.clone()
    right[0, 1, 3, 4] = 8.0  # the cell that holds the middle
    wrong = raw.clone()
    wrong[0, 0, 3, 4] = 8.0  # of the other class
    assert readout.loss(right, truth) < nothing < readout.loss(wrong, truth)
    empty = readout.loss(raw, torch.full((1, 3, 5), torch.nan))
    assert torch.isfinite(empty)
    assert empty < 0.1


def test_fields_of_the_sample_show_cells_where_the_boxes_are() -> None:
    images, objects, patients = fields(3, 4)
    assert images.shape == (12, FIELD, FIELD, 3)
    assert len(np.unique(patients)) == 3
    inside, outside = list[float](), list[float]()
    for image, each in zip(images, objects, strict=True):
        mask = np.zeros((FIELD, FIELD), bool)
        for x0, y0, x1, y1 in each.boxes.astype(int):
            mask[y0:y1, x0:x1] = True
            assert 8 < x1 - x0 < 30
        inside += image[mask].mean(1).tolist()
        outside += image[~mask].mean(1).tolist()
    assert np.mean(inside) < np.mean(outside) - 15
    np.testing.assert_array_equal(fields(3, 4)[0], images)


def test_pictures_show_boxes_from_a_score_on() -> None:
    image = np.full((20, 20, 3), 200, np.uint8)
    found = np.array([[0.1, 0.1, 0.5, 0.5, 0.9, 0], [0.6, 0.6, 0.9, 0.9, 0.1, 1], [0, 0, 0, 0, 0, -1]])
    drawn = [boxed(image, 255.0, found, least) for least in (0.0, 0.5, 1.0)]
    counts = [int((each != 200).any(2).sum()) for each in drawn]
    assert counts[0] > counts[1] > counts[2] == 0
    assert (boxed(image, 255.0, np.full((2, 5), np.nan)) == 200).all()


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    images, labels = arrays(30, side=16)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(baselines, "LABEL_PASSES", 1)
        patch.setattr(anneal, "PASSES", 1)
        patch.setattr(baselines, "SEARCHED", baselines.SEARCHED[:1])
        return autossl.search(
            images, "detection", labels=labels, patients=np.repeat(np.arange(15), 2), time_limit=None,
            out=tmp_path_factory.mktemp("detection") / "run", max_candidates=1, methods="simclr",
            backbone="test_resnet", weights="none",
        )  # fmt: skip


def test_a_study_ends_with_a_model_that_finds_objects(study: Study) -> None:
    assert study.result is not None
    test = study.result["test"]
    assert test["metric"] == "ap50"
    assert {"winner", "untrained", "supervised", "winner, fine-tuned"} <= set(test["entrants"])
    assert max(found["ap50"] for found in test["entrants"].values()) > 0.05
    assert {column["name"] for column in test["columns"]} == {"disc", "square"}
    found = autossl.load(study.folder.model).predict(arrays(3, seed=5, side=27)[0])
    assert list(found) == ["image", "x0", "y0", "x1", "y1", "label", "score"]
    page = study.folder.report.read_text()
    assert "AP50" in page
    assert "with boxes of what is true" in page
    assert "false positives" in page
    assert "data:image/png" in page
    assert "could not be drawn" not in page
