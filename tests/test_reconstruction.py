"""Reconstruction: its score, its readout and its loss, and a study from pairs to restored images."""

import csv
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
from autossl.data.truth import SHARE, Pairs
from autossl.finish import anneal, baselines
from autossl.nn.encoder import Encoder
from autossl.nn.sight import Maps, mapped
from autossl.proxies import Outcomes
from autossl.study import Study
from autossl.targets import Seen, reconstruction
from autossl.targets.reconstruction import Reconstruction, cell_side
from autossl.targets.restorer import Restorer, laid_out
from autossl.views.presets import preset
from autossl.views.volumes import views_for
from tests.pair_toys import noisy

nib: Any = pytest.importorskip("nibabel", reason="nibabel is not installed")
N, SIZE = 40, 16
GROUPS = np.repeat(np.arange(N // 2), 2)


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> tuple[NDArray[np.float32], Pairs]:
    """Standardised images (n, c, *space) and their targets."""
    images, targets = noisy(N, size=SIZE)
    data = prepare(open_data(images, form=Pairs, labels=targets), tmp_path_factory.mktemp("pairs"))
    assert isinstance(data.truth, Pairs)
    x = (data.images / data.scale - np.array(data.mean)) / np.array(data.std)
    return np.moveaxis(x, -1, 1).astype(np.float32), data.truth


def seen_of(images: NDArray[np.float32], maps: NDArray[np.float32]) -> Seen:
    """An encoder that gives these maps (n, c, *grid), and their means over coarser cells."""
    pool = torch.nn.AvgPool2d(2)
    pooled = maps.reshape(*maps.shape[:2], -1).mean(2)

    def pass_over(at: NDArray[np.int64]) -> Iterator[tuple[NDArray[np.int64], Maps]]:
        for first in range(0, len(at), 16):
            taken = at[first : first + 16]
            fine = torch.from_numpy(maps[taken])
            yield taken, Maps(torch.from_numpy(images[taken]), torch.from_numpy(pooled[taken]), [fine, pool(fine)])

    return Seen(len(maps), maps.shape[1], lambda sight: pooled, pass_over)


def telling(pairs: tuple[NDArray[np.float32], Pairs], shuffled: bool = False) -> Seen:
    """Maps of stride 4 whose channels are the pixels of the target in each cell, or in those of other images."""
    x, truth = pairs
    target = truth.array[..., 0] / np.float32(SHARE)
    target = target[np.random.default_rng(1).permutation(N)] if shuffled else target
    cells = target.reshape(N, 4, 4, 4, 4).transpose(0, 2, 4, 1, 3).reshape(N, 16, 4, 4)
    return seen_of(x, np.ascontiguousarray(cells, np.float32))


def test_maps_that_hold_the_target_gain_most_and_those_of_others_what_smoothing_gains(
    pairs: tuple[NDArray[np.float32], Pairs],
) -> None:
    x, truth = pairs
    target = Reconstruction(truth.about)
    good, other = (target.score(telling(pairs, shuffled), truth, GROUPS) for shuffled in (False, True))
    nothing = target.score(seen_of(x, np.random.default_rng(0).normal(size=(N, 2, 4, 4)).astype("f4")), truth, GROUPS)
    assert good.value > 20
    assert set(good.proxies) == set(Reconstruction.shown)
    assert good.outcomes.value("psnr_gain") == pytest.approx(good.value)
    assert other.value < nothing.value + 0.3  # of others nothing is learnt
    assert 2 < nothing.value < 9  # the pixels around tell something
    assert 0 < nothing.se < 0.5
    gap = good.outcomes.minus(other.outcomes, "psnr_gain", GROUPS, draws=20)
    assert gap.low > 5
    assert target.line(good).count(".") == 2


def test_maps_that_are_broken_are_collapsed(pairs: tuple[NDArray[np.float32], Pairs]) -> None:
    x, truth = pairs
    found = Reconstruction(truth.about).score(seen_of(x, np.full((N, 4, 4, 4), np.nan, np.float32)), truth, GROUPS)
    assert found.collapsed
    assert found.value == pytest.approx(0)
    good = Reconstruction(truth.about).score(telling(pairs), truth, GROUPS)
    assert good.outcomes.minus(found.outcomes, "psnr_gain").value == pytest.approx(good.value)  # of the same pixels


def test_the_probe_tells_new_images_and_batches_are_the_whole(pairs: tuple[NDArray[np.float32], Pairs]) -> None:
    _, truth = pairs
    own, seen, first, rest = Reconstruction(truth.about), telling(pairs), np.arange(0, 28), np.arange(28, N)
    raw = own.transfer(seen[first], truth[first], GROUPS[first], seen[rest])
    assert raw.shape == (len(rest), 1, SIZE, SIZE)
    assert own.judge(raw, truth[rest]).value("psnr_gain") > 15
    raw = seen.answers(own.probe(seen, truth, GROUPS))
    whole = own.judge(raw, truth)
    joined = Outcomes.joined([own.judge(raw[at], truth[at]) for at in (first, rest)])
    for metric in own.reported:
        assert joined.value(metric) == pytest.approx(whole.value(metric))
        assert whole.intervals((metric,), GROUPS, draws=20)[metric][0] <= whole.value(metric)


def test_metrics_are_those_of_their_definitions(pairs: tuple[NDArray[np.float32], Pairs]) -> None:
    _, truth = pairs
    raw = np.moveaxis(np.random.default_rng(0).integers(0, SHARE, truth.array.shape).astype(np.uint16), -1, 1)
    found = Reconstruction(truth.about).judge(raw, truth)
    answer, target = raw / SHARE, np.moveaxis(truth.array, -1, 1) / SHARE
    errors = ((answer - target) ** 2).mean((1, 2, 3))
    assert found.value("psnr") == pytest.approx((-10 * np.log10(errors)).mean())
    assert found.value("psnr_gain") == pytest.approx((10 * np.log10(truth.error / errors)).mean())
    assert found.value("nmse") == pytest.approx((errors / (target**2).mean((1, 2, 3))).mean())
    assert found.each("psnr")[3] == pytest.approx(-10 * np.log10(errors[3]))


def test_windows_of_an_image_count_as_one(tmp_path: Path) -> None:
    images, targets = noisy(20, size=32)
    data = prepare(open_data(images, form=Pairs, labels=targets), tmp_path, image_size=16)
    truth = data.truth
    assert isinstance(truth, Pairs)
    own = Reconstruction(truth.about)
    raw = np.moveaxis(np.asarray(data.images).astype(np.uint16) * 257, -1, 1)
    found = own.judge(raw, truth)
    assert len(found.owner) == 20
    assert found.value("psnr_gain") == pytest.approx(0, abs=1e-3)
    whole = ((images / 255 - targets / 255) ** 2).mean((1, 2))
    assert found.value("psnr") == pytest.approx((-10 * np.log10(whole)).mean(), abs=1e-3)


def test_targets_that_are_withheld_cannot_be_read(pairs: tuple[NDArray[np.float32], Pairs]) -> None:
    _, truth = pairs
    held, own = truth.only(np.arange(N) > 5), Reconstruction(truth.about)
    assert (held.array[:6] == 0).all()
    for judged in (lambda: own.score(telling(pairs), held, GROUPS), lambda: own.judge(np.zeros((N, 1, 16, 16)), held)):
        with pytest.raises(AssertionError, match="withheld"):
            judged()


CELLS = [(28, 4, 2, 4), (64, 4, 2, 4), (64, 16, 2, 8), (30, 4, 2, 2), (27, 4, 2, 1), (24, 4, 3, 4), (32, 2, 3, 2)]


@pytest.mark.parametrize(("size", "stride", "dims", "side"), CELLS)
def test_cells_divide_the_image_and_are_no_wider_than_a_map_is_fine(
    size: int, stride: float, dims: int, side: int
) -> None:
    assert cell_side(size, dims, stride) == side


@pytest.mark.parametrize("dims", [2, 3])
def test_the_convolution_is_the_ridge_on_cells(dims: int) -> None:
    """The probe on cells and what is exported give the same answers, at the same places."""
    torch.manual_seed(0)
    name, size = ("test_resnet", 16) if dims == 2 else ("resnet10_half_3d", 16)
    encoder = Encoder(name, 1, size).eval()
    images, _ = noisy(3, dims=dims, size=size)
    with torch.no_grad():
        maps = mapped(encoder, torch.from_numpy(images / np.float32(255))[:, None])
    side = cell_side(size, dims, size / encoder.finest)
    random, grid = np.random.default_rng(0), size // side
    weights = [random.normal(size=(c, side**dims)) / c for c in encoder.pyramid_channels]
    own, intercept = random.normal(size=((side + 4) ** dims, side**dims)), random.normal(size=side**dims)
    made = Restorer.of(weights, own, intercept, 1, dims)
    at = random.integers(0, grid, (30, dims))
    z = reconstruction._looked(maps, 1, (at + 0.5) * side / size, side)
    wanted = z @ np.concatenate([*weights, own]) + intercept
    with torch.no_grad():
        missing = (made(maps) - maps.images)[1, 0].numpy()
    found = [missing[tuple(slice(side * i, side * i + side) for i in place)].reshape(-1) for place in at]
    np.testing.assert_allclose(found, wanted, atol=1e-4)


@pytest.mark.parametrize("grid", [(3, 2), (2, 3, 4)])
def test_cells_are_laid_out_where_they_lie(grid: tuple[int, ...]) -> None:
    dims, side = len(grid), 2
    whole = torch.arange(2 * int(np.prod(grid)) * side**dims).view(1, 2, *(side * g for g in grid)).float()
    cells = whole[0]
    for axis in range(1, dims + 1):
        cells = cells.unfold(axis, side, side)
    cells = cells.permute(0, *range(dims + 1, 2 * dims + 1), *range(1, dims + 1)).reshape(1, -1, *grid)
    torch.testing.assert_close(laid_out(cells, side), whole)


@pytest.mark.parametrize("dims", [2, 3])
def test_a_decoder_begins_with_the_answers_of_the_probe_and_learns(dims: int) -> None:
    images, targets = noisy(8 if dims == 2 else 3, dims=dims, size=16)
    torch.manual_seed(0)
    encoder = Encoder("test_resnet" if dims == 2 else "resnet10_half_3d", 1, 16).eval()
    x, wanted = (torch.from_numpy(each / np.float32(255))[:, None] for each in (images, targets))
    maps, side = mapped(encoder, x), cell_side(16, dims, 16 / encoder.finest)
    shapes = [(c, side**dims) for c in encoder.pyramid_channels]
    random = np.random.default_rng(0)
    own, intercept = random.normal(size=((side + 4) ** dims, side**dims)), np.zeros(side**dims)
    probe = Restorer.of([random.normal(size=shape) for shape in shapes], own, intercept, 1, dims)
    readout = Restorer(encoder.pyramid_channels, 1, side, dims)
    with torch.no_grad():
        torch.testing.assert_close(readout(maps), x)  # nothing is added before it learns
        readout.begins_as(probe)
        torch.testing.assert_close(readout(maps), probe(maps))
    readout = Restorer(encoder.pyramid_channels, 1, side, dims)
    optimizer = torch.optim.Adam([*encoder.train().parameters(), *readout.parameters()], 0.003 if dims == 2 else 0.001)
    losses = []
    for _ in range(30 if dims == 2 else 15):
        optimizer.zero_grad()
        loss = readout.loss(readout(mapped(encoder, x)), wanted)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < (0.6 if dims == 2 else 0.9) * losses[0]


@pytest.mark.parametrize("dims", [2, 3])
def test_targets_follow_views_to_the_pixel(dims: int) -> None:
    """Flips and turns alone: a target that is its image stays so, and no value is made up."""
    images, _ = noisy(16, dims=dims, size=12)
    x = torch.from_numpy(images / np.float32(255))[:, None]
    allowed = preset("microscopy", 1)
    views = views_for(dims)(replace(allowed, rotate=0.0), (0.3,), (0.2,), crop_min=1.0, jitter=0.0)
    u = views.draw(x, torch.Generator().manual_seed(0))
    readout = Restorer([4], 1, 4, dims).standardised((0.3,), (0.2,))
    target = torch.from_numpy(images.astype(np.int32) * 257)[..., None]
    seen, moved = views.apply(x, u) * 0.2 + 0.3, readout.moved(target, views, u)
    torch.testing.assert_close(seen, moved, atol=2e-4, rtol=0)
    assert not torch.allclose(moved, x, atol=0.05)
    for row in range(16):  # the same values, elsewhere
        torch.testing.assert_close(moved[row].flatten().sort()[0], x[row].flatten().sort()[0], atol=2e-4, rtol=0)


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    images, targets = noisy(42, size=16)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(baselines, "LABEL_PASSES", 1)
        patch.setattr(anneal, "PASSES", 1)
        patch.setattr(baselines, "SEARCHED", baselines.SEARCHED[:1])
        return autossl.search(
            images, "reconstruction", labels=targets, patients=np.repeat(np.arange(21), 2), time_limit=None,
            out=tmp_path_factory.mktemp("reconstruction") / "run", max_candidates=1, methods="simclr",
            backbone="test_resnet", weights="none",
        )  # fmt: skip


def test_a_study_ends_with_a_model_that_restores(study: Study) -> None:
    assert study.result is not None
    test = study.result["test"]
    assert test["metric"] == "psnr_gain"
    assert {"winner", "untrained", "input", "supervised", "winner, fine-tuned"} <= set(test["entrants"])
    assert test["entrants"]["input"]["psnr_gain"] == pytest.approx(0, abs=1e-3)
    assert max(found["psnr_gain"] for found in test["entrants"].values()) > 2
    assert set(test["entrants"]["winner"]) == {"psnr_gain", "psnr", "ssim", "nmse", "interval"}
    page = study.folder.report.read_text()
    for said in ("dB gained", "the image as it is", "how far each is from that", "data:image/png"):
        assert said in page
    assert "could not be drawn" not in page


def test_new_images_keep_their_size_and_are_seen_as_they_are(study: Study, tmp_path: Path) -> None:
    images, targets = noisy(3, seed=5, size=27)
    model = autossl.load(study.folder.model)
    found = model.restored(images)
    assert [(each.shape, each.dtype) for each in found] == [((27, 27, 1), np.dtype(np.uint8))] * 3
    both = [images.astype(float), np.stack(found)[..., 0].astype(float)]
    errors = [np.mean((each - targets) ** 2) for each in both]
    assert errors[1] < 0.8 * errors[0]
    (tmp_path / "new" / "deep").mkdir(parents=True)
    Image.fromarray(images[0, :20]).save(tmp_path / "new" / "a.png")
    Image.fromarray(images[1]).save(tmp_path / "new" / "deep" / "b.tif")
    Image.fromarray(images[2, :9, :8]).save(tmp_path / "new" / "small.png")
    asked = ["predict", str(study.folder.root), str(tmp_path / "new"), "-o", str(tmp_path / "out")]
    done = CliRunner().invoke(main, asked)
    assert done.exit_code == 0, done.output
    with open(tmp_path / "out" / "restored.csv") as file:
        assert [row["restored"] for row in csv.DictReader(file)] == ["a.png", "small.png", "deep/b.png"]
    whole = np.asarray(Image.open(tmp_path / "out" / "deep" / "b.png"))
    np.testing.assert_array_equal(whole, found[1][..., 0])
    assert np.asarray(Image.open(tmp_path / "out" / "a.png")).shape == (20, 27)
    assert np.asarray(Image.open(tmp_path / "out" / "small.png")).shape == (9, 8)


def test_a_study_is_evaluated_on_new_pairs(study: Study, tmp_path: Path) -> None:
    images, targets = noisy(12, seed=9, size=40)
    np.savez(tmp_path / "new.npz", images=images, targets=targets)
    done = CliRunner().invoke(main, ["evaluate", str(study.folder.root), "--data", str(tmp_path / "new.npz")])
    assert done.exit_code == 0, done.output
    assert "psnr_gain" in done.output
    assert "48" in done.output  # windows


def test_models_of_other_tasks_restore_nothing(study: Study, tmp_path: Path) -> None:
    encoder = autossl.load(study.folder.encoder)
    images, _ = noisy(2, size=16)
    with pytest.raises(autossl.UserError, match="a model that restores images was wanted, found an encoder"):
        encoder.restored(images)
    with pytest.raises(autossl.UserError, match="a model that segments was wanted, found one of reconstruction"):
        autossl.load(study.folder.model).masks(images)
