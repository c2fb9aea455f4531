"""The studies of methods: tables that go on where they stopped, pairs that differ in nothing but their parts."""

import json
from dataclasses import replace
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from autossl.nn.encoder import Encoder
from autossl.pretext import METHODS
from autossl.pretext.batch import Batch
from autossl.trials.context import Context
from autossl.views.images import Views
from autossl.views.presets import preset
from studies import memory
from studies.bench_memory import grown
from studies.bench_pipeline import Case, Resident, measured, store
from studies.method_table import run as method_table
from studies.opened import facts, first_prior, opened, shown
from studies.rows import Rows, markdown
from studies.targets import manifests
from tests.pretext_toys import glyphs, train

IMAGES = 512


def dataset(path: Path) -> str:
    images, labels = glyphs(240, 0)
    np.savez(path, images=(images[:, 0].numpy() * 255).astype(np.uint8), labels=labels.numpy())
    return str(path)


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> Context:
    root = tmp_path_factory.mktemp("opened")
    return opened(dataset(root / "glyphs.npz"), root / "run", IMAGES, backbone="test_resnet", precision="fp32")


def test_rows_are_on_disk_at_once_and_found_again(tmp_path: Path) -> None:
    path = tmp_path / "rows.json"
    rows = Rows(path, {"images": 10, "sides": (1, 2)})
    assert "a" not in rows
    rows.add("a", {"score": 0.5})
    again = Rows(path, {"images": 10, "sides": (1, 2)})
    assert "a" in again
    assert again.rows == {"a": {"score": 0.5}}


def test_without_patient_ids_an_image_is_no_negative_of_itself(context: Context) -> None:
    groups = context.probe_pool.patients
    assert groups is not None
    assert len(set(groups.tolist())) == len(groups)  # the letters have no two images alike


@pytest.mark.parametrize("settings", [{"images": 20}, {}, {"images": 10, "seed": 1}])
def test_rows_of_other_settings_are_not_mixed(tmp_path: Path, settings: dict[str, Any]) -> None:
    path = tmp_path / "rows.json"
    Rows(path, {"images": 10}).add("a", {})
    with pytest.raises(SystemExit, match=r"images|seed"):
        Rows(path, settings)
    assert json.loads(path.read_text())["rows"] == {"a": {}}


def test_a_markdown_table() -> None:
    table = markdown(["name", "value"], [["a", 0.12345], ["b", 1234.5], ["c", None], ["d", 3]])
    assert table == "| name | value |\n| --- | ---: |\n| a | 0.123 |\n| b | 1,234 |\n| c |  |\n| d | 3 |\n"


def test_the_method_table_goes_on_where_it_stopped(context: Context, tmp_path: Path) -> None:
    table = tmp_path / "table"
    first = method_table.fill(context, ["simclr"], table)
    row = first.rows["simclr"]
    assert 0 <= row["score"] <= 1
    assert row["views_per_second"] > 0
    assert row["memory"] >= 0
    kept = {**row, "score": 0.9876}
    first.add("simclr", kept)
    both = method_table.fill(context, ["simclr", "rotation"], table)
    assert both.rows["simclr"] == kept, "what is there is not trained again"
    assert both.rows["rotation"]["early_accuracy"] > 0
    assert json.loads(table.with_suffix(".json").read_text())["rows"] == both.rows
    page = table.with_suffix(".md").read_text()
    assert page.index("| simclr |") < page.index("| rotation |"), "best first"
    assert "0.988" in page
    assert "colourisation (these images have no colour)" in page


def test_a_method_that_diverges_costs_its_own_row_only(
    context: Context, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    space = context.space["autoencoder"]
    broken = {**space.priors[0], "lr": 1e30}
    monkeypatch.setitem(context.space, "autoencoder", replace(space, priors=(broken,)))
    rows = method_table.fill(context, ["autoencoder"], tmp_path / "table")
    assert "the loss is nan" in rows.rows["autoencoder"]["note"]


@pytest.mark.parametrize(("method", "views"), [("simclr", 2.0), ("denoising", 1.0), ("byol", 2.0)])
def test_views_are_counted_as_the_encoder_is_shown_them(context: Context, method: str, views: float) -> None:
    encoder = context.new_encoder(0)
    made = METHODS[method](encoder, context.plain)
    counted = shown(encoder)
    made.loss(Batch(torch.rand(6, 1, 20, 20)))
    assert sum(counted) == pytest.approx(6 * views)


def test_first_priors_name_every_keyword(context: Context) -> None:
    assert first_prior(context, "simclr")["out"] == 128  # from the signature
    assert first_prior(context, "vicreg")["width"] == 512  # fixed in the space
    assert first_prior(context, "byol")["lr"] == context.space["byol"].priors[0]["lr"]
    assert facts(context)["backbone"] == "test_resnet"


def test_memory_is_seen_to_grow_and_to_peak() -> None:
    before = memory.resident()
    memory.forget_peak()
    held = np.ones(6_000_000)  # 48 MB
    assert memory.resident() - before > 40
    del held
    assert memory.resident() - before < 20
    assert memory.peak() - before > 40


@pytest.mark.parametrize("method", ["simclr", "slice_order", "rubik", "mae"])
def test_a_method_is_watched_over_its_steps(method: str) -> None:
    row = grown(method, 12)
    assert row["last_mb"] - row["settled_mb"] == pytest.approx(row["growth_mb"], abs=0.11)


@pytest.mark.parametrize(
    ("method", "backbone", "side", "parts"),
    [
        ("simclr", "test_resnet", 28, ["bare", "lightly"]),
        ("cnn_mae", "test_resnet", 28, ["bare"]),
        ("rotation", "test_resnet", 28, ["bare"]),
        ("simclr", "resnet10_half_3d", 16, ["bare"]),
    ],
)
@pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning")  # on a machine with one core
def test_the_loop_is_timed_beside_others(
    tmp_path: Path, method: str, backbone: str, side: int, parts: list[str]
) -> None:
    for part in parts:
        pytest.importorskip(part, reason=f"{part} is not installed") if part != "bare" else None
    case = Case(method, backbone, side, 8, "auto", torch.device("cpu"))
    row = measured(case, store(tmp_path, case), parts, rounds=1)
    assert all(row[part] > 0 for part in ["ours", *parts])


def test_the_bare_loop_shows_a_method_what_was_made_beforehand() -> None:
    views = Resident(preset("auto", 3), (0.5,) * 3, (0.3,) * 3)
    first, second = (views(torch.rand(8, 3, 28, 28), torch.Generator(), copies=2) for _ in range(2))
    assert first is second
    assert first.shape == (16, 3, 28, 28)


parity = pytest.importorskip("studies.parity.run", reason="lightly, which parity is measured against, is not installed")


def inputs_of(encoder: Encoder) -> list[Tensor]:
    """A list that takes in every batch that the encoder is shown."""
    seen: list[Tensor] = []

    def look(layer: torch.nn.Module, inputs: tuple[Tensor, ...]) -> None:
        seen.append(inputs[0].detach().clone())

    next(m for m in encoder.backbone.modules() if isinstance(m, torch.nn.Conv2d)).register_forward_pre_hook(look)
    return seen


@pytest.mark.filterwarnings("ignore:.*weight_norm.*")  # lightly's head
@pytest.mark.parametrize("method", ["simclr", "byol", "vicreg", "barlow", "dino", "swav"])
def test_both_sides_begin_with_one_encoder_and_see_the_same_views(context: Context, method: str) -> None:
    sides = [make(context, method, 3) for make in (parity.ours, parity.theirs)]
    states = [run.method.encoder.state_dict() for run in sides]
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())
    assert sides[0].settings == sides[1].settings
    views = []
    for run in sides:
        seen = inputs_of(run.method.encoder)
        next(parity.train(run, [run.batch]))
        assert np.isfinite(run.losses[0][1])
        views.append(torch.cat(seen))
    assert torch.equal(*views)


def test_parity_goes_on_where_it_stopped(context: Context, tmp_path: Path) -> None:
    rows = Rows(tmp_path / "parity.json", {"images": IMAGES})
    parity.fill(lambda method: context, ["simclr"], 1, rows)
    kept = {**rows.rows["simclr/0"], "ours": 0.75, "theirs": 0.5}
    rows.add("simclr/0", kept)
    parity.fill(lambda method: context, ["simclr"], 2, rows)
    assert rows.rows["simclr/0"] == kept, "what is there is not trained again"
    assert set(rows.rows) == {"simclr/0", "simclr/1"}
    gaps = [row["ours"] - row["theirs"] for row in rows.rows.values()]
    line = parity.summary(list(rows.rows.values()))
    assert line[5] == pytest.approx(mean(gaps))
    assert line[6] == pytest.approx(stdev(gaps) / 2**0.5)
    assert "| simclr | test_resnet | 2 |" in (tmp_path / "parity.md").read_text()


@pytest.mark.parametrize("method", ["simmim", "mae", "densecl"])
def test_parts_that_need_maps_or_tokens_learn(method: str) -> None:
    sizes = {"hidden": 64, "out": 32, "temperature": 0.2, "teacher_rate": 0.01, "weight": 0.5, "queue": 64}
    tokens = {"ratio": 0.6, "width": 32, "depth": 1}
    torch.manual_seed(0)
    patches = {"img_size": 20, "patch_size": 5}
    encoder = (
        Encoder("test_vit", 1, 20, model_args=patches)
        if method in parity.TRANSFORMERS
        else Encoder("test_resnet", 1, 20)
    )
    made = parity.THEIRS[method](encoder, Views(preset("grey", 1), (0.4,), (0.2,)), {**sizes, **tokens})
    losses = train(made.train(), glyphs(48, 0)[0], steps=40, batch=24)
    half = np.array(losses).reshape(2, -1).mean(1)
    assert np.isfinite(losses).all()
    assert half[1] < half[0] or method == "densecl", "a queue that fills makes its task harder"


def test_manifests_of_other_targets_count_and_measure(tmp_path: Path) -> None:
    root = tmp_path / "BCCD"
    for inner in ("JPEGImages", "Annotations", "ImageSets/Main"):
        (root / inner).mkdir(parents=True)
    for split in manifests.SPLITS:
        (root / "ImageSets/Main" / f"{split}.txt").write_text(f"{split}1\n")
        box = "<object><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>{}</xmax><ymax>9</ymax></bndbox></object>"
        boxes = "".join(map(box.format, (4, 1, 7)))  # the second has no area
        (root / "Annotations" / f"{split}1.xml").write_text(f"<annotation>{boxes}</annotation>")
    found = list(manifests.bccd(tmp_path))
    assert [(row["cells"], row["split"]) for row in found] == [("2", split) for split in manifests.SPLITS]
    assert found[0]["image"].endswith("JPEGImages/train1.jpg")
    mask = np.zeros((4, 5), np.uint16)
    mask[0, :2] = 300
    Image.fromarray(mask).save(tmp_path / "mask.png")
    (tmp_path / "manifest.csv").write_text("image,mask,split\na.png,mask.png,test\n")
    assert [row["foreground"] for row in manifests.nuclei(tmp_path)] == ["0.100000"]
