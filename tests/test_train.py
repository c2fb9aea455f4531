"""The training loop: order of images, exact resumption, averages, the end by time, divergence."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from autossl.nn.encoder import Encoder
from autossl.pretext import METHODS
from autossl.train.loop import SETTLING, Diverged, Run, Settings, resume, save, settle_norms, train
from autossl.train.pool import Pool, places
from autossl.views.images import Views
from autossl.views.presets import preset

MEAN, STD = (0.5,), (0.25,)


def make_run(seed: int = 3, method: str = "simclr") -> Run:
    images = np.random.default_rng(0).integers(0, 256, (50, 16, 16, 1), dtype=np.uint8)
    pool = Pool(images, np.arange(50), 255.0, torch.device("cpu"))
    torch.manual_seed(seed)
    encoder = Encoder("test_resnet", 1, 16, model_args={"output_stride": 8})
    pretext = METHODS[method](encoder, Views(preset("grey", 1), MEAN, STD))
    return Run(pretext, Settings(lr=1e-3, batch_size=16), pool, seed, warmup=32, horizon=320)


def weights(run: Run) -> Tensor:
    return torch.cat([p.detach().flatten() for p in run.method.parameters()])


@given(st.integers(2, 40), st.integers(1, 60), st.integers(0, 5))
def test_every_epoch_shows_every_image_once(n: int, batch: int, seed: int) -> None:
    steps = -(-3 * n // batch)
    seen = np.concatenate([places(step, batch, n, seed) for step in range(steps)])[: 3 * n]
    assert all(count == 3 for count in Counter(seen.tolist()).values())
    assert len(set(seen[:n].tolist())) == n


@pytest.mark.parametrize("method", ["simclr", "byol", "hybrid"])
def test_a_resumed_run_repeats_the_undisturbed_one(tmp_path: Path, method: str) -> None:
    whole, first, second = (make_run(method=method) for _ in range(3))
    assert list(train(whole, [64, 160])) == [True, True]
    assert next(train(first, [64]))
    save(first, tmp_path / "run.pt")
    torch.manual_seed(99)
    resume(second, tmp_path / "run.pt")
    assert next(train(second, [160]))
    assert torch.equal(weights(whole), weights(second))
    assert [n for n, _ in second.losses] == [16 * k for k in range(1, 11)]


def test_a_run_cut_off_within_the_averaged_steps_goes_on_exactly(tmp_path: Path) -> None:
    whole, cut, rest = make_run(), make_run(), make_run()
    assert next(train(whole, [640]))
    assert not next(train(cut, [640], out_of_time=lambda: cut.step >= 38))  # steps 37 to 40 are averaged
    save(cut, tmp_path / "run.pt")
    resume(rest, tmp_path / "run.pt")
    assert next(train(rest, [640]))
    for name, value in whole.average.items():
        assert torch.equal(value, rest.average[name]), name


def test_the_scored_weights_are_the_mean_of_the_last_tenth() -> None:
    run, seen = make_run(), list[Tensor]()

    def remember() -> bool:  # called before each step, so it sees the weights after the one before
        seen.append(next(run.method.encoder.parameters()).detach().clone())
        return False

    assert next(train(run, [320], out_of_time=remember))
    remember()
    expected = torch.stack(seen[-2:]).mean(0)
    assert torch.allclose(run.average[next(iter(dict(run.method.encoder.named_parameters())))], expected, atol=1e-6)


def test_annealing_ends_at_zero() -> None:
    run = make_run()
    assert next(train(run, [320], anneal=lambda images: images / 304))
    assert run.optimizer.param_groups[0]["lr"] == pytest.approx(0.0, abs=1e-9)


def test_teachers_follow_while_the_rate_is_annealed_and_rest_with_it() -> None:
    run = make_run(method="byol")

    def teacher() -> Tensor:
        return next(p for name, p in run.method.named_parameters() if name.startswith("teacher.")).clone()

    assert next(train(run, [320]))
    rests = teacher()
    assert next(train(run, [336]))  # beyond the top rung at a constant rate: the schedule is over
    assert torch.equal(teacher(), rests)
    assert next(train(run, [656], anneal=lambda images: (images - 336) / 320))
    moved = teacher()
    assert (moved - rests).abs().max() > 1e-4
    assert next(train(run, [672], anneal=lambda _: 1.0))
    assert torch.equal(teacher(), moved)


def test_a_promoted_candidate_has_no_weights_of_the_rung_below_in_its_mean(tmp_path: Path) -> None:
    """A segment goes on from the checkpoint of the rung below, which holds what was scored there."""
    below, once, promoted = make_run(), make_run(), make_run()
    assert next(train(below, [160]))
    save(below, tmp_path / "run.pt")
    assert next(train(once, [480]))
    resume(promoted, tmp_path / "run.pt")
    assert next(train(promoted, [480]))
    assert once.averaged == promoted.averaged == 3
    for name, value in once.average.items():
        assert torch.equal(value, promoted.average[name]), name


def test_no_time_means_no_step() -> None:
    run = make_run()
    assert not next(train(run, [320], out_of_time=lambda: True))
    assert run.step == 0


def test_a_loss_that_is_not_finite_ends_the_run() -> None:
    run = make_run()
    with torch.no_grad():
        next(run.method.encoder.parameters()).fill_(float("nan"))
    with pytest.raises(Diverged, match="after 0 images"):
        next(train(run, [32]))


def test_micro_batches_see_the_same_images() -> None:
    run = make_run(method="denoising")
    run.accumulate = 4
    assert next(train(run, [64]))
    assert run.images == 64


@pytest.mark.parametrize("batch", [2, 5, 10, 13])
def test_no_micro_batch_holds_one_image_alone(batch: int) -> None:
    """Norms over the batch need two: 5 images in 4 parts would end in one."""
    run = make_run(method="jigsaw")
    run.accumulate, run.batch = 4, batch
    assert next(train(run, [2 * batch]))
    assert run.images == 2 * batch


def test_norms_are_settled_on_plain_images() -> None:
    run = make_run()
    encoder = run.method.encoder
    settle_norms(encoder, run.pool, run.method.views.standardise)
    norm = next(m for m in encoder.modules() if isinstance(m, torch.nn.BatchNorm2d))
    assert norm.num_batches_tracked == SETTLING[0]
    assert norm.momentum == 0.1
    assert not encoder.training


def test_a_batch_holds_what_is_known_of_its_images() -> None:
    images, rows = np.arange(80, dtype=np.uint8).reshape(20, 2, 2, 1), np.array([3, 19, 7, 4])
    groups, positions = np.arange(20) // 2, np.linspace(0, 1, 20, dtype=np.float32)
    at = np.array([2, 0])
    batch = Pool(
        images, rows, 255.0, torch.device("cpu"), (np.arange(20) % 3)[rows], groups=groups, positions=positions
    ).batch(at)
    assert torch.equal(batch.images[:, 0, 0, 0] * 255, torch.tensor([28.0, 12.0]))
    assert batch.groups is not None
    assert batch.positions is not None
    assert batch.groups.tolist() == [3, 1]
    assert np.array_equal(batch.positions.numpy(), positions[[7, 3]])
    assert batch.truth.tolist() == [1, 0]
    bare = Pool(images, rows, 255.0, torch.device("cpu")).batch(at)
    assert torch.equal(bare.images, batch.images)
    assert (bare.groups, bare.positions, bare.truth) == (None, None, None)


def test_twelve_bits_reach_the_device_without_loss() -> None:
    ramp = np.arange(4096, dtype=np.uint16).reshape(16, 16, 16, 1)
    pool = Pool(ramp, np.arange(16), 4095.0, torch.device("cpu"))
    back = pool.images_at(np.arange(16)).permute(0, 2, 3, 1).numpy() * 4095
    assert np.array_equal(np.rint(back), ramp)


def test_low_precision_trains_near_fp32_and_evaluates_in_fp32() -> None:
    exact, coarse = make_run(), make_run()
    coarse.method.encoder.low_precision = True
    images = exact.pool.images_at(np.arange(16))
    with torch.no_grad():
        assert torch.equal(exact.method.encoder.eval()(images), coarse.method.encoder.eval()(images))
        rough = coarse.method.encoder.train()(images)
        assert rough.dtype == torch.float32
        fine = exact.method.encoder.train()(images)
    assert 0 < (rough - fine).abs().max() < 0.05 * fine.abs().max()
    assert next(train(exact, [160]))
    assert next(train(coarse, [160]))
    assert all(p.dtype == torch.float32 for p in coarse.method.parameters())
    assert coarse.losses[-1][1] == pytest.approx(exact.losses[-1][1], rel=0.05)
