"""Segmentation: its score, its readout and its loss, and a study from images and masks to masks of new images."""

import csv
import resource
from collections.abc import Iterator
from dataclasses import replace
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
from autossl.data.frame import Given
from autossl.data.truth import Masks
from autossl.data.truth.structures import IGNORED
from autossl.finish import anneal, baselines
from autossl.finish.arms import frozen, together
from autossl.finish.folds import folds_of
from autossl.finish.pictures import picked
from autossl.model import export
from autossl.model.card import Preprocessing
from autossl.model.entrants import MEAN, TUNED
from autossl.model.masks import Said, restored
from autossl.model.model import Meaning, Model
from autossl.nn.encoder import Encoder
from autossl.nn.sight import Maps, mapped
from autossl.proxies import Outcomes
from autossl.report.overlays import edge, outlined, sheet
from autossl.study import Study
from autossl.targets import Seen
from autossl.targets.cells import gathered, linear
from autossl.targets.segmentation import Segmentation
from autossl.targets.segmenter import Segmenter
from autossl.trials.context import open_context
from autossl.views.presets import preset
from autossl.views.volumes import views_for
from tests.mask_toys import SIZE, discs

nib: Any = pytest.importorskip("nibabel", reason="nibabel is not installed")
N = 40
GROUPS = np.repeat(np.arange(N // 2), 2)


@pytest.fixture(scope="module")
def masks(tmp_path_factory: pytest.TempPathFactory) -> Masks:
    images, drawn = discs(N)
    truth = prepare(open_data(images, form=Masks, labels=drawn), tmp_path_factory.mktemp("masks")).truth
    assert isinstance(truth, Masks)
    return truth


def seen_of(maps: NDArray[np.float32], coarse: int = 4) -> Seen:
    """An encoder that gives these maps (n, c, *space), and their means over coarser cells."""
    dims = maps.ndim - 2
    pool = torch.nn.AvgPool2d(coarse) if dims == 2 else torch.nn.AvgPool3d(coarse)
    pooled = maps.reshape(*maps.shape[:2], -1).mean(2)

    def pass_over(at: NDArray[np.int64]) -> Iterator[tuple[NDArray[np.int64], Maps]]:
        for first in range(0, len(at), 16):
            taken = at[first : first + 16]
            fine = torch.from_numpy(maps[taken])
            yield taken, Maps(fine[:, :1], torch.from_numpy(pooled[taken]), [fine, pool(fine)])

    return Seen(len(maps), maps.shape[1], lambda sight: pooled, pass_over)


def perfect(masks: Masks, shuffled: bool = False) -> Seen:
    """Maps that hold what is true, or what is true of other images, and a little noise."""
    told = masks.array
    told = told[np.random.default_rng(1).permutation(len(told))] if shuffled else told
    maps = np.eye(3, 8, dtype=np.float32)[told].transpose(0, 3, 1, 2)
    return seen_of((maps + 0.1 * np.random.default_rng(0).normal(size=maps.shape)).astype(np.float32))


def target(masks: Masks, metric: str = "auto") -> Segmentation:
    return Segmentation(masks.about, metric)


@pytest.mark.parametrize("metric", Segmentation.metrics)
def test_perfect_maps_score_near_the_top_and_those_of_other_images_at_chance(masks: Masks, metric: str) -> None:
    good = target(masks, metric).score(perfect(masks), masks, GROUPS)
    assert good.value > 0.97
    assert good.outcomes.value(metric) == pytest.approx(good.value)
    assert good.proxies["knn"] > 0.9
    assert set(good.proxies) == set(Segmentation.shown)
    assert not good.collapsed
    chance = target(masks, metric).score(perfect(masks, shuffled=True), masks, GROUPS)
    everywhere = np.mean([2 * share / (1 + share) for share in masks.shares.mean(0)])  # all is foreground
    assert chance.value < everywhere + 0.1
    assert 0 < chance.se < 0.2


def test_maps_that_say_nothing_or_are_broken_are_collapsed(masks: Masks) -> None:
    flat = target(masks).score(seen_of(np.ones((N, 4, SIZE, SIZE), np.float32)), masks, GROUPS)
    assert flat.collapsed
    broken = np.full((N, 4, SIZE, SIZE), np.nan, np.float32)
    assert target(masks).score(seen_of(broken), masks, GROUPS).collapsed


def test_the_probe_tells_new_images_and_batches_are_the_whole(masks: Masks) -> None:
    own, first, rest = target(masks), np.arange(0, 28), np.arange(28, N)
    seen = perfect(masks)
    probe = own.probe(seen[first], masks[first], GROUPS[first])
    for raw in (seen[rest].answers(probe), own.transfer(seen[first], masks[first], GROUPS[first], seen[rest])):
        assert raw.shape == (len(rest), 3, SIZE, SIZE)
        assert own.judge(raw, masks[rest]).value("pooled_dice") > 0.97
    raw = seen.answers(probe)
    whole = own.judge(raw, masks)
    joined = Outcomes.joined([own.judge(raw[at], masks[at]) for at in (first, rest)])
    assert joined.value("case_dice") == pytest.approx(whole.value("case_dice"))
    gap = whole.minus(whole, "pooled_dice", GROUPS, draws=20)
    assert (gap.value, gap.low, gap.high) == (0, 0, 0)
    assert len(whole.column(1).owner) == N
    assert own.answer(raw)["share structure 1"] == pytest.approx((raw.argmax(1) == 1).mean((1, 2)), abs=1e-4)


def test_masks_that_are_withheld_cannot_be_read(masks: Masks) -> None:
    held = masks.only(np.arange(N) > 5)
    for judged in (lambda: target(masks).score(perfect(masks), held, GROUPS),
                   lambda: target(masks).judge(np.zeros((N, 3, SIZE, SIZE)), held)):  # fmt: skip
        with pytest.raises(AssertionError, match="withheld"):
            judged()
    assert (held.array[:6] == IGNORED).all()


def test_cells_are_what_the_maps_laid_over_the_image_show(masks: Masks) -> None:
    """The probe on cells and its convolution give the same answers, at the same places."""
    maps = np.random.default_rng(3).normal(size=(N, 5, SIZE, SIZE)).astype(np.float32)
    seen, places = seen_of(maps), masks.places(500)
    cells = gathered(seen, places)
    fit = linear(cells, places, GROUPS[places.sample], 3)
    edges = np.cumsum(cells.widths)[:-1]
    readout = Segmenter.of(np.split(fit.weights, edges), fit.intercept, cells.channels, 2)
    _, batch = next(seen.maps())
    with torch.no_grad():
        raw = readout(batch).numpy()
    inside = places.sample < 16
    at = (places.sample[inside], slice(None), places.at[inside, 0], places.at[inside, 1])
    np.testing.assert_allclose(raw[at], (cells.z @ fit.weights + fit.intercept)[inside], atol=1e-4)


@pytest.mark.parametrize("dims", [2, 3])
def test_a_decoder_begins_with_the_answers_of_the_probe_and_learns(dims: int) -> None:
    images, drawn = discs(8 if dims == 2 else 3, dims=dims, size=16)
    torch.manual_seed(0)
    encoder = Encoder("test_resnet" if dims == 2 else "resnet10_half_3d", 1, 16).eval()
    x = torch.from_numpy(images / np.float32(255))[:, None]
    maps, truth = mapped(encoder, x), torch.from_numpy(drawn)
    weights = [np.random.default_rng(0).normal(size=(c, 3)) for c in encoder.pyramid_channels]
    probe = Segmenter.of(weights, np.zeros(3), 1, dims)
    readout = Segmenter(encoder.pyramid_channels, 1, 2, dims)
    readout.begins_as(probe)
    with torch.no_grad():
        torch.testing.assert_close(readout(maps), probe(maps))
    readout = Segmenter(encoder.pyramid_channels, 1, 2, dims)
    optimizer = torch.optim.Adam([*encoder.train().parameters(), *readout.parameters()], 0.003)
    losses = []
    for _ in range(30 if dims == 2 else 10):
        optimizer.zero_grad()
        loss = readout.loss(readout(mapped(encoder, x)), truth)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < (0.5 if dims == 2 else 0.8) * losses[0]


def test_what_is_ignored_counts_in_no_loss() -> None:
    readout = Segmenter([4], 1, 2)
    raw = torch.randn(3, 3, 8, 8, requires_grad=True)
    truth = torch.randint(0, 3, (3, 8, 8)).to(torch.uint8)
    truth[:, :4] = IGNORED
    readout.loss(raw, truth).backward()  # type: ignore[no-untyped-call]
    assert raw.grad is not None
    assert (raw.grad[:, :, :4] == 0).all()
    assert (raw.grad[:, :, 4:] != 0).any()
    assert torch.isfinite(readout.loss(raw, torch.full_like(truth, IGNORED)))


@pytest.mark.parametrize("dims", [2, 3])
def test_masks_follow_the_views_of_their_images(dims: int) -> None:
    """A view of an image whose brightness is its structure shows the structures of the mask that followed it."""
    _, drawn = discs(24, dims=dims, size=24)
    truth = torch.from_numpy(drawn)
    images = truth.float()[:, None] / 2
    own = preset("microscopy" if dims == 2 else "ct", 1)
    views = views_for(dims)(own, (0.0,), (1.0,), crop_min=0.4, jitter=0.0)
    u = views.draw(images, torch.Generator().manual_seed(0))
    seen, moved = views.apply(images, u)[:, 0] * 2, views.followed(truth, u, IGNORED)
    inside = moved != IGNORED
    whole = inside & ((seen - seen.round()).abs() < 0.02)  # not between two structures
    assert ((seen.round()[whole] == moved[whole]).float().mean()) > 0.995
    assert whole.float().mean() > 0.6


def test_an_export_answers_alike_and_masks_have_the_size_of_their_images(tmp_path: Path) -> None:
    torch.manual_seed(0)
    encoder = Encoder("test_resnet", 1, 16).eval()
    readout = Segmenter(encoder.pyramid_channels, 1, 1)
    torch.nn.init.normal_(readout.leave.weight)
    meaning = Meaning("segmentation", "masks", {"structures": ["cell"], "values": [7], "ranges": _ANY})
    model = Model(encoder, Preprocessing(16, 255.0, (0.4,), (0.2,)), readout.eval(), meaning)
    export.write(model, tmp_path / "model", {})
    assert "all maps" in (tmp_path / "model" / "README.md").read_text()
    again = autossl.load(tmp_path / "model")
    images = np.random.default_rng(0).integers(0, 255, (3, 16, 16), np.uint8)
    np.testing.assert_array_equal(again.answers(images), model.answers(images))
    (tmp_path / "new" / "deep").mkdir(parents=True)
    for name, shape in (("a.png", (20, 31)), ("deep/b.tif", (16, 16))):
        Image.fromarray(np.random.default_rng(1).integers(0, 255, shape, np.uint8)).save(tmp_path / "new" / name)
    done = CliRunner().invoke(
        main, ["predict", str(tmp_path / "model"), str(tmp_path / "new"), "-o", str(tmp_path / "out")]
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    found = {
        path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*.*") if path.is_file()
    }
    assert found == {"a.png", "deep/b.png", "masks.csv"}
    mask = np.asarray(Image.open(tmp_path / "out" / "a.png"))
    assert mask.shape == (20, 31)
    assert set(np.unique(mask)) <= {0, 7}
    with open(tmp_path / "out" / "masks.csv") as file:
        assert [row["mask"] for row in csv.DictReader(file)] == ["a.png", "deep/b.png"]
    again_out = CliRunner().invoke(
        main, ["predict", str(tmp_path / "model"), str(tmp_path / "new"), "-o", str(tmp_path / "out")]
    )  # fmt: skip
    assert again_out.exit_code == 2
    assert "an empty or new folder was wanted" in again_out.output


_ANY = {"centre": [0.0], "spread": [1.0], "edges": []}


def test_masks_go_back_to_where_their_image_was() -> None:
    raw = np.zeros((2, 16, 16), np.uint8)
    raw[0], raw[:, 4:8, 4:8] = 255, [[[0]], [[255]]]
    whole = restored(Said("a", Given((32, 64), (), None), raw), ())
    assert whole.shape == (32, 64)
    assert set(np.unique(whole)) == {0, 255}
    rows, columns = np.nonzero(whole)
    assert abs(rows.mean() - 7.5) < 1  # rows 4 to 8 of the middle 8 of 16, four times as large
    assert abs(columns.mean() - 23.5) < 1


def test_masks_of_volumes_lie_where_the_volumes_do(tmp_path: Path) -> None:
    from autossl.data.readers import volume_files

    turned = np.array([[0.0, -1.5, 0, 7], [1.2, 0, 0, 3], [0, 0, -2.0, 2], [0, 0, 0, 1]])
    values = np.random.default_rng(0).integers(0, 4, (5, 7, 9)).astype(np.uint8)
    nib.save(nib.Nifti1Image(values, turned), tmp_path / "image.nii.gz")
    volume_files.write_like(
        volume_files.raw(tmp_path / "image.nii.gz")[..., 0], tmp_path / "image.nii.gz", (), tmp_path / "out.nii.gz"
    )
    again: Any = nib.load(tmp_path / "out.nii.gz")
    np.testing.assert_array_equal(np.asarray(again.dataobj), values)
    np.testing.assert_allclose(again.affine, turned)


def test_large_pyramids_are_looked_at_within_little_memory() -> None:
    """Pyramids of ResNet-50 at 224 px, 6 MB each: a batch of them is held, and some cells."""
    n, sides, widths = 512, (56, 28, 14, 7), (256, 512, 1024, 2048)
    drawn = np.zeros((n, 8, 8), np.uint8)
    drawn[:, 2:5, 2:5] = 1
    truth = Masks(
        np.ones(n, bool), ("x",), (1,), np.full((n, 1), 9 / 64), prints=np.arange(n), at=np.arange(n), stored=drawn
    )

    def pass_over(at: NDArray[np.int64]) -> Iterator[tuple[NDArray[np.int64], Maps]]:
        for first in range(0, len(at), 64):
            taken = at[first : first + 64]
            maps = [torch.zeros(len(taken), c, s, s) for c, s in zip(widths, sides, strict=True)]
            yield taken, Maps(torch.zeros(len(taken), 3, 8, 8), torch.zeros(len(taken), 2048), maps)

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    cells = gathered(Seen(n, 2048, lambda sight: np.zeros((n, 2048), np.float32), pass_over), truth.places(4000))
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 2**20
    assert cells.z.shape == (len(truth.places(4000).sample), sum(widths))
    assert grown < 1  # of 3 GiB


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    images, drawn = discs(24, size=20)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(baselines, "LABEL_PASSES", 1)
        patch.setattr(anneal, "PASSES", 1)
        patch.setattr(baselines, "SEARCHED", baselines.SEARCHED[:1])
        return autossl.search(
            images, "segmentation", labels=drawn, patients=np.repeat(np.arange(12), 2), time_limit=None,
            image_size=16, windows="always", out=tmp_path_factory.mktemp("segmentation") / "run", max_candidates=1,
            methods="simclr", backbone="test_resnet", weights="none",
        )  # fmt: skip


def test_a_study_ends_with_a_model_that_segments(study: Study) -> None:
    assert study.result is not None
    test = study.result["test"]
    assert test["metric"] == "pooled_dice"
    assert {"winner", "untrained", "supervised", TUNED, MEAN} <= set(test["entrants"])
    assert max(found["pooled_dice"] for found in test["entrants"].values()) > 0.5
    assert {"surface_dice", "hd95_pixels", "object_recall", "false_objects"} <= test["entrants"]["winner"].keys()
    assert [column["name"] for column in test["columns"]] == ["structure 1", "structure 2"]
    images, _ = discs(3, seed=5, size=27)
    model = autossl.load(study.folder.model)
    found = model.masks(images)
    assert [mask.shape for mask in found] == [(27, 27)] * 3
    assert set(np.unique(np.stack(found))) <= {0, 1, 2}
    page = study.folder.report.read_text()
    assert "pooled Dice" in page
    assert "outlines of what is true" in page
    assert "data:image/png" in page
    assert "could not be drawn" not in page


def test_the_answers_of_two_networks_are_averaged_pixel_by_pixel(study: Study) -> None:
    context = open_context(study.folder)
    folds = folds_of(context)
    still, other = (frozen(context, "winner", context.new_encoder(seed), folds) for seed in (0, 1))
    (mean,) = together(context, [still, replace(other, name=TUNED)], folds)
    assert mean.name == MEAN
    assert mean.outcomes is not None
    raws = [(first.astype(float) + second) / 2 for first, second in zip(still.raws, other.raws, strict=True)]
    wanted = folds.outcomes(iter(raws))
    assert wanted is not None
    assert mean.outcomes.value("pooled_dice") == pytest.approx(wanted.value("pooled_dice"), abs=1e-6)
    assert together(context, [still, replace(other, name=TUNED, raws=())], folds) == []


def test_windows_are_put_together_for_masks_of_whole_images(study: Study, tmp_path: Path) -> None:
    assert "24 images were cut into 96 windows of 16 a side, none resized" in study.folder.data.read_text()
    model, (images, _) = autossl.load(study.folder.model), discs(6, seed=5, size=40)
    assert len(model.predict(images)["share structure 1"]) == 6
    with pytest.raises(autossl.UserError, match="found one that sees windows of them; call masks"):
        model.answers(images)
    configs = [path.read_text() for path in study.folder.model.rglob("config.json")]
    assert any("windows of 16 x 16 at the resolution of the image" in text for text in configs)
    (tmp_path / "new").mkdir()
    Image.fromarray(np.tile(images[0], (2, 3))[:70, :101]).save(tmp_path / "new" / "a.png")
    asked = ["predict", str(study.folder.root), str(tmp_path / "new"), "-o", str(tmp_path / "out")]
    assert CliRunner().invoke(main, asked).exit_code == 0
    assert np.asarray(Image.open(tmp_path / "out" / "a.png")).shape == (70, 101)


def test_a_study_is_evaluated_on_new_masks(study: Study, tmp_path: Path) -> None:
    images, drawn = discs(12, seed=9, size=20)
    np.savez(tmp_path / "new.npz", images=images, masks=drawn)
    done = CliRunner().invoke(main, ["evaluate", str(study.folder.root), "--data", str(tmp_path / "new.npz")])
    assert done.exit_code == 0, done.output
    assert "pooled_dice" in done.output
    other = np.where(drawn > 0, 9, 0).astype(np.uint8)
    np.savez(tmp_path / "other.npz", images=images, masks=other)
    done = CliRunner().invoke(main, ["evaluate", str(study.folder.root), "--data", str(tmp_path / "other.npz")])
    assert done.exit_code == 2
    assert "masks of the values 0 and 1 and 2, as in the study, were wanted, found 9" in done.output


def test_pictures_go_from_the_worst_to_the_best() -> None:
    value = np.array([0.9, np.nan, 0.1, 0.5, 0.3, 0.7])
    assert picked(value).tolist() == [2, 4, 3, 5, 0]
    assert picked(np.array([np.nan])).tolist() == []
    inside = np.zeros((20, 20), bool)
    inside[4:16, 4:16] = True
    assert edge(inside).sum() == 12 * 12 - 8 * 8
    image = np.zeros((8, 8, 1), np.uint8)
    mask = np.zeros((8, 8), np.uint8)
    mask[2:6, 2:6] = 1
    assert (outlined(image, 255.0, mask) != outlined(image, 255.0, None)).any()
    volumes = np.zeros((2, 6, 8, 8, 1), np.uint16)
    told = sheet(volumes, 4095.0, {"truth": np.zeros((2, 6, 8, 8), np.uint8)}, ["0.500", "nan"], outlined)
    assert told.startswith("data:image/png;base64,")
