"""Boxes: every form in which they come, where they lie in the store and go back to, and what is wrong with them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from scipy.ndimage import label

from autossl.data import open_data, prepare, read_images
from autossl.data.frame import carried, frame_of
from autossl.data.readers.squares import fit
from autossl.data.truth import Boxes
from autossl.errors import UserError
from tests.box_toys import HIGH, WIDE, Drawn, scenes

N = 24
CROSS = np.array([[0, 1, 0], [1, 1, 1], [0, 1, 0]])
XML = """<annotation><filename>{name}.png</filename><size><width>{wide}</width><height>{high}</height></size>{objects}
</annotation>"""
OBJECT = "<object><name>{}</name><bndbox><xmin>{}</xmin><ymin>{}</ymin><xmax>{}</xmax><ymax>{}</ymax></bndbox></object>"


def pictures(folder: Path, n: int = N, seed: int = 0) -> list[Drawn]:
    """Images as PNG files below a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    drawn = scenes(n, seed)
    for row, scene in enumerate(drawn):
        Image.fromarray(scene.image).save(folder / f"case_{row:02d}.png")
    return drawn


def voc(root: Path) -> list[Drawn]:
    drawn = pictures(root / "JPEGImages")
    (root / "Annotations").mkdir()
    for row, scene in enumerate(drawn):
        marked = "".join(OBJECT.format(name, *box) for name, box in zip(scene.kinds, scene.boxes.tolist(), strict=True))
        (root / "Annotations" / f"case_{row:02d}.xml").write_text(
            XML.format(name=f"case_{row:02d}", wide=WIDE, high=HIGH, objects=marked)
        )
    return drawn


def coco(root: Path) -> list[Drawn]:
    drawn = pictures(root / "images")
    images, marked = [], []
    for row, scene in enumerate(drawn):
        images.append({"id": row + 5, "file_name": f"case_{row:02d}.png", "width": WIDE, "height": HIGH})
        for name, (x0, y0, x1, y1) in zip(scene.kinds, scene.boxes.tolist(), strict=True):
            kind = {"disc": 3, "square": 9}[name]
            marked.append({"image_id": row + 5, "category_id": kind, "bbox": [x0, y0, x1 - x0, y1 - y0], "iscrowd": 0})
    marked.append({"image_id": 5, "category_id": 3, "bbox": [0, 0, 5, 5], "iscrowd": 1})
    kinds = [{"id": 3, "name": "disc"}, {"id": 9, "name": "square"}]
    (root / "annotations").mkdir()
    whole = {"images": images, "annotations": marked, "categories": kinds}
    (root / "annotations" / "instances.json").write_text(json.dumps(whole))
    return drawn


def yolo(root: Path) -> list[Drawn]:
    drawn = pictures(root / "images" / "train")
    (root / "labels" / "train").mkdir(parents=True)
    (root / "data.yaml").write_text("path: x\nnames:\n  0: disc\n  1: square\n")
    for row, scene in enumerate(drawn):
        lines = []
        for name, (x0, y0, x1, y1) in zip(scene.kinds, scene.boxes.tolist(), strict=True):
            x, y = (x0 + x1) / 2 / WIDE, (y0 + y1) / 2 / HIGH
            lines.append(f"{int(name == 'square')} {x} {y} {(x1 - x0) / WIDE} {(y1 - y0) / HIGH}")
        (root / "labels" / "train" / f"case_{row:02d}.txt").write_text("\n".join(lines))
    return drawn


def table(root: Path, head: str = "image,x0,y0,x1,y1,label") -> list[Drawn]:
    drawn = pictures(root / "images")
    lines = [head]
    for row, scene in enumerate(drawn):
        rows = zip(scene.kinds, scene.boxes.tolist(), strict=True)
        lines += [",".join(map(str, (f"images/case_{row:02d}.png", *box, name))) for name, box in rows]
        lines += [] if len(scene.kinds) else [f"images/case_{row:02d}.png,,,,,"]
    (root / "boxes.csv").write_text("\n".join(lines))
    return drawn


def prepared(data: Any, out: Path, **options: Any) -> Boxes:
    """The boxes of a study on these data."""
    truth = prepare(open_data(data, form=Boxes, **options), out, image_size=32).truth
    assert isinstance(truth, Boxes)
    return truth


def agree(truth: Boxes, drawn: list[Drawn]) -> None:
    """Every box is where it was drawn, of the class that it was given."""
    assert set(truth.objects) == {"disc", "square"}
    assert truth.known.all()
    for row, scene in enumerate(drawn):
        boxes, kinds = truth.of(row)
        wanted = carried(scene.boxes.reshape(-1, 2), np.array([HIGH, WIDE]), 32).reshape(-1, 4)
        have = sorted(zip([truth.objects[kind] for kind in kinds], boxes.round(6).tolist(), strict=True))
        assert have == sorted(zip(scene.kinds, wanted.round(6).tolist(), strict=True))


@pytest.mark.parametrize("write", [voc, coco, yolo, table])
def test_every_form_on_disk(tmp_path: Path, write: Callable[[Path], list[Drawn]]) -> None:
    drawn = write(tmp_path / "data")
    agree(prepared(tmp_path / "data", tmp_path / "out"), drawn)
    assert any(len(scene.kinds) == 0 for scene in drawn), "images that show nothing are among them"


def test_other_columns_and_patients_of_a_table(tmp_path: Path) -> None:
    drawn = table(tmp_path / "data", "filename,xmin,ymin,xmax,ymax,class")
    agree(prepared(tmp_path / "data" / "boxes.csv", tmp_path / "a"), drawn)
    text = (tmp_path / "data" / "boxes.csv").read_text().splitlines()
    lines = [f"{line},p{int(line[12:14]) // 2}" for line in text[1:]]
    (tmp_path / "data" / "boxes.csv").write_text("\n".join([f"{text[0]},patient", *lines]))
    assert len(np.unique(open_data(tmp_path / "data", form=Boxes).groups)) == N // 2
    lines[-1] = lines[-1][:-1] + "x"
    lines += [lines[-1][:-1] + "y"]
    (tmp_path / "data" / "boxes.csv").write_text("\n".join([f"{text[0]},patient", *lines]))
    with pytest.raises(UserError, match="one patient for each image was wanted"):
        open_data(tmp_path / "data", form=Boxes)


def test_arrays_and_data_sets_in_the_form_of_torchvision(tmp_path: Path) -> None:
    drawn = scenes(N)
    labels: list[Any] = [{"boxes": torch.from_numpy(scene.boxes), "labels": list(scene.kinds)} for scene in drawn]
    images = np.stack([scene.image for scene in drawn])
    agree(prepared(images, tmp_path / "a", labels=labels), drawn)

    class Items:
        def __len__(self) -> int:
            return N

        def __getitem__(self, at: int) -> Any:
            return images[at], labels[at]

    agree(prepared(Items(), tmp_path / "b"), drawn)
    with pytest.raises(UserError, match=r"boxes \(k, 4\) of numbers and labels \(k,\)"):
        open_data(images, form=Boxes, labels=[{"boxes": np.ones((2, 3)), "labels": [1, 2]}] * N)
    with pytest.raises(UserError, match="boxes and labels were wanted, found boxes as entry 0"):
        open_data(images, form=Boxes, labels=[{"boxes": np.ones((2, 4))}] * N)


def test_boxes_are_drawn_around_the_parts_of_masks(tmp_path: Path) -> None:
    drawn = scenes(N, apart=True)
    masks = np.zeros((N, HIGH, WIDE), np.uint8)
    for row, scene in enumerate(drawn):
        for name, (x0, y0, x1, y1) in zip(scene.kinds, scene.boxes.astype(int).tolist(), strict=True):
            masks[row, y0:y1, x0:x1] = {"disc": 1, "square": 2}[name]
    images = np.stack([scene.image for scene in drawn])
    truth = prepared(images, tmp_path / "a", labels=masks)
    renamed = [scene._replace(kinds=tuple({"disc": "structure 1", "square": "structure 2"}[k] for k in scene.kinds))
               for scene in drawn]  # fmt: skip
    assert [sorted(truth.objects[k] for k in truth.of(row)[1]) for row in range(N)] == [
        sorted(scene.kinds) for scene in renamed
    ]
    numbered = label(masks, np.stack([0 * CROSS, CROSS, 0 * CROSS]))[0]  # each part of each image has its own
    assert prepared(images, tmp_path / "b", labels=numbered).objects == ("object",)


@given(high=st.integers(8, 90), wide=st.integers(8, 90), size=st.integers(8, 64), seed=st.integers(0, 9))
def test_points_follow_their_image_and_come_back(high: int, wide: int, size: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    points, sides = random.uniform(0, 1, (5, 2)) * [wide, high], np.array([high, wide])
    there = carried(points, sides, size)
    assert there.min() >= -1e-9
    assert there.max() <= 1 + 1e-9
    np.testing.assert_allclose(carried(there, sides, size, back=True), points, atol=1e-9)
    image = np.zeros((high, wide, 1), np.uint8)
    image[high // 2 :, wide // 2 :] = 255
    rows, columns = np.nonzero(fit(np.pad(image, ((0, 0), (0, 0), (0, 0))), size)[..., 0] > 127)
    if len(rows) > 9 and high // 2 * wide // 2 > 0:
        corner = carried(np.array([[wide // 2, high // 2]], float), sides, size)[0] * size
        assert abs(columns.min() - corner[0]) <= 1.5
        assert abs(rows.min() - corner[1]) <= 1.5


def test_what_is_no_box_is_set_aside_counted_and_listed(tmp_path: Path) -> None:
    voc(tmp_path / "data")
    for row, box in ((3, (5, 5, 5, 5)), (8, (35, 5, 60, 20))):
        path = tmp_path / "data" / "Annotations" / f"case_{row:02d}.xml"
        path.write_text(path.read_text().replace("</annotation>", OBJECT.format("disc", *box) + "</annotation>"))
    data = prepare(open_data(tmp_path / "data", form=Boxes), tmp_path / "out")
    told = "; ".join(data.notes)
    assert "2 boxes are none and are set aside (no area, or outside; images in order, from 0: 3, 8)" in told
    assert "cannot be judged" not in told  # strata are for proportions only
    assert data.truth.known.all()


def test_many_bad_boxes_are_refused_in_a_sentence(tmp_path: Path) -> None:
    drawn = table(tmp_path / "data")
    lines = ["image,x0,y0,x1,y1,label"]
    for row, scene in enumerate(drawn):
        for name, (x0, y0, x1, y1) in zip(scene.kinds, scene.boxes.tolist(), strict=True):
            lines.append(f"images/case_{row:02d}.png,{x1},{y1},{x0},{y0},{name}")
    (tmp_path / "data" / "boxes.csv").write_text("\n".join(lines))
    with pytest.raises(UserError, match=r"boxes with an area, inside their images.*a box is upside down"):
        prepared(tmp_path / "data", tmp_path / "out")


def _texts(root: Path, change: Callable[[str], str], some: int = N) -> None:
    for path in sorted((root / "Annotations").iterdir())[:some]:
        path.write_text(change(path.read_text()))


BOMB = '<!DOCTYPE a [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;">]><annotation>&b;</annotation>'


@pytest.mark.parametrize(
    ("spoil", "match"),
    [
        (lambda at: _texts(at, lambda _: ""), "24 of 24 that are none"),
        (lambda at: _texts(at, lambda _: BOMB), "declares a document type"),
        (lambda at: _texts(at, lambda text: text.replace("<xmin>", "<xmin>a")), "a number was wanted, found 'a"),
        (lambda at: _texts(at, lambda text: text.replace("<object>", "").replace("</object>", "")), "no box in them"),
        (lambda at: _texts(at, lambda text: text.replace(str(WIDE), "999")), "another size.*boxes on 999"),
        (lambda at: [path.rename(path.with_name(f"x{path.name}")) for path in (at / "JPEGImages").iterdir()], "absent"),
        (lambda at: _texts(at, lambda text: text.replace("annotation>", "note>")), "begins with <note>"),
    ],
    ids=["empty", "entities", "no number", "no object", "other size", "no images", "other xml"],
)  # fmt: skip
def test_what_is_refused(tmp_path: Path, spoil: Callable[[Path], object], match: str) -> None:
    voc(tmp_path / "data")
    for path in (tmp_path / "data" / "Annotations").iterdir():  # by the images' own names
        path.write_text(path.read_text().replace(f"{path.stem}.png", "other.png"))
    spoil(tmp_path / "data")
    with pytest.raises(UserError, match=match) as told:
        prepared(tmp_path / "data", tmp_path / "out")
    assert str(told.value).count(";") >= 1


def test_a_few_damaged_or_lost_annotations_are_told(tmp_path: Path) -> None:
    voc(tmp_path / "data")
    marked = tmp_path / "data" / "Annotations"
    (marked / "case_04.xml").write_text("<annotation>")
    (tmp_path / "data" / "JPEGImages" / "case_06.png").unlink()
    (marked / "case_09.xml").unlink()
    source = open_data(tmp_path / "data", form=Boxes)
    told = "; ".join(source.notes)
    assert "1 annotation cannot be read and is set aside (Annotations/case_04.xml)" in told
    assert "annotations of 1 image that is not there are not used" in told
    assert "2 images without annotations are used without labels" in told
    assert source.truth.known.sum() == N - 3


def test_classes_that_differ_in_case_are_one(tmp_path: Path) -> None:
    drawn = voc(tmp_path / "data")
    _texts(tmp_path / "data", lambda text: text.replace("disc", "Disc"), 5)
    source = open_data(tmp_path / "data", form=Boxes)
    assert "objects called Disc and disc count as one class, disc" in source.notes
    agree(prepared(tmp_path / "data", tmp_path / "out"), drawn)


def test_official_parts(tmp_path: Path) -> None:
    voc(tmp_path / "data")
    sets = tmp_path / "data" / "ImageSets" / "Main"
    sets.mkdir(parents=True)
    names = [f"case_{row:02d}" for row in range(N)]
    (sets / "train.txt").write_text("\n".join(names[:18]))
    (sets / "test.txt").write_text("\n".join(names[18:]))
    (sets / "trainval.txt").write_text("\n".join(names[:18]))
    assert open_data(tmp_path / "data", form=Boxes).split.tolist() == [0] * 18 + [2] * 6


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda whole: whole.pop("categories"), "no list of categories"),
        (lambda whole: whole["annotations"][0].update(bbox=[1, 2, 3]), "a bbox that is not four numbers"),
        (lambda whole: whole["annotations"][0].update(category_id=77), "the category 77"),
        (lambda whole: [each.update(image_id=999) for each in whole["annotations"]], "images that it does not list"),
        (lambda whole: whole["images"][0].pop("file_name"), "an entry of images without file_name"),
    ],
)  # fmt: skip
def test_json_that_is_no_coco(tmp_path: Path, change: Callable[[Any], object], match: str) -> None:
    coco(tmp_path / "data")
    path = tmp_path / "data" / "annotations" / "instances.json"
    whole = json.loads(path.read_text())
    change(whole)
    path.write_text(json.dumps(whole))
    with pytest.raises(UserError, match=match):
        open_data(path, form=Boxes)


def test_new_images_are_told_in_the_terms_of_the_study(tmp_path: Path) -> None:
    drawn = voc(tmp_path / "data")
    study = prepared(tmp_path / "data", tmp_path / "out")
    fresh = read_images(tmp_path / "data", 32, 3, 255.0, study)
    assert isinstance(fresh.truth, Boxes)
    agree(fresh.truth, drawn)
    _texts(tmp_path / "data", lambda text: text.replace("square", "ring"))
    with pytest.raises(UserError, match=r"objects of the study's classes \(.*\) were wanted, found ring"):
        read_images(tmp_path / "data", 32, 3, 255.0, study)


def test_places_are_centres_and_what_lies_beside_all_boxes(tmp_path: Path) -> None:
    voc(tmp_path / "data")
    truth = prepared(tmp_path / "data", tmp_path / "out")
    spots = truth.spots(400, rim=0.2)
    again = truth.spots(400, rim=0.2)
    np.testing.assert_array_equal(spots.where, again.where)
    for sample, (y, x), kind, weight in zip(spots.sample, spots.where, spots.kind, spots.weight, strict=True):
        boxes, kinds = truth.of(sample)
        inside = (boxes[:, 0] <= x) & (x <= boxes[:, 2]) & (boxes[:, 1] <= y) & (y <= boxes[:, 3])
        assert inside.any() == (kind > 0 or weight == 0)
        assert kind == 0 or kind - 1 in kinds[inside]
        low, high = truth.inside[sample, [1, 0]], truth.inside[sample, [3, 2]]
        assert ((low <= (y, x)) & ((y, x) <= high)).all()
    counts = np.bincount(spots.kind)
    assert counts[0] > 150
    assert counts[1:].min() > 20


def test_bccd(shared_data: Path, tmp_path: Path) -> None:
    """Real smears: the two boxes without an area are set aside, official parts are kept."""
    source = open_data(shared_data / "bccd" / "BCCD", form=Boxes)
    assert [int((source.split == code).sum()) for code in (0, 1, 2)] == [205, 87, 72]
    truth = source.truth.decoded(frame_of(source, tmp_path, np.zeros((source.n, 32, 32, 3), np.uint8), 255.0))
    assert isinstance(truth, Boxes)
    assert truth.objects == ("WBC", "RBC", "Platelets")
    assert np.isfinite(truth.boxes[..., 0]).sum() == 4155 + 372 + 361 - 2
    assert truth.notes()[0].startswith("2 boxes are none and are set aside")


def test_tables_and_folders_without_boxes_are_told(tmp_path: Path) -> None:
    pictures(tmp_path / "data" / "a")
    rows = "\n".join(f"a/case_{row:02d}.png,{row % 2}" for row in range(N))
    (tmp_path / "list.csv").write_text(f"image,label\n{rows}")
    with pytest.raises(UserError, match=r"a CSV with the columns image, x0, y0, x1, y1 and label was wanted"):
        open_data(tmp_path / "list.csv", form=Boxes)
    with pytest.raises(UserError, match=r"images with boxes were wanted, found 24 without"):
        open_data(tmp_path / "data", form=Boxes)
