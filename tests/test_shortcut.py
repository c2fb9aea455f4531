"""The shortcut monitor: marks that give the answer away are reported, clean images and guarded marks are not."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from autossl.cli.commands import main
from autossl.nn.encoder import Encoder
from autossl.pretext import METHODS
from autossl.report.leaderboard import as_csv, as_table
from autossl.study import Study
from autossl.train.loop import Run, Settings, resume, save, train
from autossl.train.pool import Pool
from autossl.train.shortcut import FIRST, SOLVED, early_accuracy, monitored, start
from autossl.trials.worker import Worker
from autossl.views.images import Views
from autossl.views.presets import preset
from studies.opened import opened
from tests.pretext_toys import glyphs

SIDE = 20


def noise(n: int = 2048) -> NDArray[np.uint8]:
    """Images without any content."""
    return np.random.default_rng(0).integers(60, 160, (n, SIDE, SIDE, 1), dtype=np.uint8)


def clean() -> NDArray[np.uint8]:
    """Upright letters: their orientation can be learnt, but only by reading them."""
    return (glyphs(2048, 0)[0].permute(0, 2, 3, 1).numpy() * 255).astype(np.uint8)


def with_top_mark() -> NDArray[np.uint8]:
    """A burned-in mark near the top that no disc hides."""
    images = clean()
    images[:, 3:6, 8:12] = 250
    return images


def with_corner_mark() -> NDArray[np.uint8]:
    images = noise()
    images[:, :3, :3] = 250
    return images


def with_border() -> NDArray[np.uint8]:
    """A bright line along the lower edge, as a scanner or a collimator leaves it."""
    images = noise()
    images[:, -1] = 250
    return images


def quarters_by_brightness() -> NDArray[np.uint8]:
    """The brightness of a quarter tells its place."""
    images = noise() // 2
    for place, level in enumerate((0, 40, 80, 120)):
        row, column = divmod(place, 2)
        images[:, 10 * row : 10 * row + 10, 10 * column : 10 * column + 10] += np.uint8(level)
    return images


def quarters_by_texture() -> NDArray[np.uint8]:
    """Every quarter has its own texture, which survives everything done to tiles."""
    images = noise().astype(np.float64)
    wave = 80 * np.sin(np.arange(10) * 2.1)
    images[:, :10, :10] += wave[:, None, None]
    images[:, :10, 10:] += wave[:, None]
    images[:, 10:, :10] += (wave[:, None] * np.sign(wave))[..., None]
    return np.clip(images, 0, 255).astype(np.uint8)


def with_aberration() -> NDArray[np.uint8]:
    """Random texture, its colours magnified by 3.5 % more and less, as a lens does: at most half a pixel."""
    texture = F.avg_pool2d(torch.rand(2048, 1, 28, 28, generator=torch.Generator().manual_seed(0)), 2, 1)
    place = (torch.arange(SIDE) * 2 + 1) / SIDE - 1
    grid = torch.stack(torch.meshgrid(place, place, indexing="xy"), -1).expand(2048, -1, -1, -1) * SIDE / 28
    colours = [F.grid_sample(texture, grid * scale, align_corners=False) for scale in (1.035, 1.0, 0.965)]
    return (torch.cat(colours, 1).permute(0, 2, 3, 1).numpy() * 255).astype(np.uint8)


def run_of(images: NDArray[np.uint8], method: str, modality: str = "xray", jitter: float = 0.0) -> Run:
    pool = Pool(images, np.arange(len(images)), 255.0, torch.device("cpu"))
    torch.manual_seed(0)
    channels = images.shape[3]
    encoder = Encoder("test_resnet", channels, SIDE)
    # by default no flips, crops of nearly everything: the answer must come from the images alone
    views = Views(preset(modality, channels), (0.5,) * channels, (0.25,) * channels, crop_min=0.9, jitter=jitter)
    return Run(METHODS[method](encoder, views), Settings(lr=2e-3, batch_size=64), pool, 1, warmup=128, horizon=1 << 20)


def trained(images: NDArray[np.uint8], method: str, modality: str = "xray", jitter: float = 0.0) -> Run:
    run = run_of(images, method, modality, jitter)
    assert next(train(run, [FIRST]))
    return run


@given(st.lists(st.floats(0, 1), max_size=40), st.integers(1, 700))
def test_the_early_accuracy_is_the_best_mean_over_some_512_images(shares: list[float], batch: int) -> None:
    steps = 1
    while steps * batch < 512:
        steps += 1
    means = [np.mean(shares[last - steps : last]) for last in range(steps, len(shares) + 1)]
    found = early_accuracy(shares, batch)
    assert (found is None) == (not means)
    if found is not None:
        assert found == pytest.approx(max(means))


def test_only_more_than_99_percent_is_suspicious() -> None:
    assert monitored(None, 5000) == {}
    assert "shortcut" not in monitored(SOLVED, 5000)
    found = monitored(0.9912, 5000)
    assert found["early_accuracy"] == 0.9912
    assert "99.1%" in found["shortcut"]
    assert "5,000 images" in found["shortcut"]
    assert start(100) == FIRST
    assert start(50_000) == 50_000


def test_a_mark_that_gives_the_answer_away_is_reported() -> None:
    run = trained(with_top_mark(), "rotation")
    assert "shortcut" in monitored(run.early_accuracy, run.watched)


@pytest.mark.parametrize("method", ["rotation", "jigsaw"])
def test_clean_images_are_not_suspected(method: str) -> None:
    run = trained(clean(), method)
    assert run.early_accuracy is not None
    assert "shortcut" not in monitored(run.early_accuracy, run.watched)


@pytest.mark.parametrize("images", [with_corner_mark, with_border])
def test_the_disc_hides_marks_in_corners_and_along_edges(images: Callable[[], NDArray[np.uint8]]) -> None:
    run = trained(images(), "rotation")
    assert run.early_accuracy is not None
    assert run.early_accuracy < 0.35  # chance is .25


def test_tiles_hide_brightness_but_not_texture() -> None:
    hidden, open_ = trained(quarters_by_brightness(), "jigsaw"), trained(quarters_by_texture(), "jigsaw")
    assert hidden.early_accuracy is not None
    assert open_.early_accuracy is not None
    assert hidden.early_accuracy < 0.2  # chance is 1 of 24
    assert open_.early_accuracy > 0.5


@pytest.mark.parametrize(("method", "chance"), [("jigsaw", 1 / 24), ("relative_location", 1 / 8)])
def test_one_channel_hides_chromatic_aberration(method: str, chance: float) -> None:
    run = trained(with_aberration(), method)
    assert run.early_accuracy is not None
    assert run.early_accuracy < chance + 0.1  # .97 and .71 with all channels


@pytest.mark.parametrize("modality", ["ultrasound", "oct", "mr"])
def test_views_leave_no_mark_of_the_angle(modality: str) -> None:
    run = trained(noise(), "rotation", modality, jitter=1.0)
    assert run.early_accuracy is not None
    assert run.early_accuracy < 0.35  # chance is .25; .58 where views of ultrasound fade with depth


def test_the_first_epoch_is_watched_across_a_checkpoint_and_no_further(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("autossl.train.shortcut.FIRST", 0)
    whole, first, second = (run_of(noise(512), "rotation") for _ in range(3))
    assert list(train(whole, [256, 640])) == [True, True]
    assert len(whole.shares) == 512 // 64
    assert next(train(first, [256]))
    save(first, tmp_path / "run.pt")
    resume(second, tmp_path / "run.pt")
    assert next(train(second, [640]))
    assert second.shares == whole.shares


def test_micro_batches_count_as_one_step() -> None:
    run = run_of(noise(64), "rotation")
    run.accumulate = 3
    assert next(train(run, [64]))
    assert len(run.shares) == 1
    assert round(run.shares[0] * 64) == pytest.approx(run.shares[0] * 64, abs=1e-4)


def test_a_method_without_right_answers_is_not_watched() -> None:
    run = run_of(noise(64), "denoising")
    assert next(train(run, [64]))
    assert run.shares == []
    assert run.early_accuracy is None


def test_status_leaderboard_and_report_say_so(tmp_path: Path) -> None:
    images = with_top_mark()
    np.savez(tmp_path / "marked.npz", images=images, labels=glyphs(len(images), 0)[1].numpy())
    (tmp_path / "space.toml").write_text(
        "[rotation]\nprior = [{ lr = 2e-3 }]\nlr = { low = 1e-3, high = 4e-3 }\ncrop_min = 0.9\nbatch_size = 64\n"
    )
    context = opened(
        str(tmp_path / "marked.npz"), tmp_path / "run", FIRST, methods="rotation", backbone="test_resnet",
        modality="xray", space=str(tmp_path / "space.toml"),
    )  # fmt: skip
    Worker(context, now=lambda: 0.0).work()
    study = Study(tmp_path / "run")
    row = study.leaderboard()[0]
    assert "of its answers were right" in row["shortcut"]
    assert "of its answers were right" in as_csv([row])
    assert "rotation (shortcut?)" in [str(cell) for cell in list(as_table([row]).columns)[1].cells]
    said = CliRunner().invoke(main, ["status", str(tmp_path / "run")]).output
    assert "shortcut? candidate 0 (rotation): " in said
    page = study.report().read_text()
    assert "<em>shortcut?</em>" in page
    assert study.status()["shortcuts"][0] in page
