"""The harm test: labels that views take away are told from labels that they leave, before anything is trained."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from autossl.data import PROBE
from autossl.report import tolerated as drawn
from autossl.run import harm
from autossl.run.harm import asked, eyes, harm_test, read
from autossl.trials.context import Context
from autossl.trials.fitted import tolerated
from autossl.trials.space import read_space
from autossl.trials.tolerance import CROP, JITTER, Reading, Tolerance
from autossl.views.presets import MOVES, preset
from studies.opened import opened
from tests.processes import patched

N, SIDE = 240, 16
LADDERS = {f"autossl.run.harm.{name}": getattr(harm, name) for name in ("JITTERS", "CROPS")}  # before they are cut


def sides(rng: np.random.Generator) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Grey images, and whether their bright spot lies to the left; how bright they are says nothing."""
    y = rng.integers(2, size=N)
    x = rng.normal(60, 12, (N, SIDE, SIDE))
    for image, label in zip(x, y, strict=True):
        top, left = rng.integers(2, 10), rng.integers(1, 4) + 8 * (1 - label)
        image[top : top + 4, left : left + 4] += 60
    return np.clip(x * rng.uniform(0.6, 1.4, (N, 1, 1)), 0, 255).astype(np.uint8), y


def colours(rng: np.random.Generator) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Images with a spot anywhere, and which of two similar colours they have."""
    y = rng.integers(2, size=N)
    x = rng.normal(100, 12, (N, SIDE, SIDE, 3))
    for image, label in zip(x, y, strict=True):
        top, left = rng.integers(1, 11, size=2)
        image[top : top + 4, left : left + 4] += 60
        image[..., 2 * label] *= 1.25
    return np.clip(x, 0, 255).astype(np.uint8), y


def study(root: Path, made: Any, **settings: Any) -> Context:
    """A study on such images, decoded."""
    images, labels = made(np.random.default_rng(0))
    np.savez(root / "toy.npz", images=images, labels=labels, groups=np.arange(N) // 2)
    return opened(str(root / "toy.npz"), root / "run", 64, backbone="test_resnet", **settings)


@pytest.fixture(scope="module", autouse=True)
def whole_ladders() -> Iterator[None]:
    """Here every strength is asked that studies ask."""
    with pytest.MonkeyPatch.context() as patch:
        patched(LADDERS, patch.setattr)
        yield


@pytest.fixture(scope="module")
def of_sides(tmp_path_factory: pytest.TempPathFactory) -> Context:
    return study(tmp_path_factory.mktemp("sides"), sides, modality="grey")


@pytest.fixture(scope="module")
def told_sides(of_sides: Context) -> Tolerance:
    return harm_test(of_sides, None)


def test_a_side_is_lost_where_images_are_mirrored_and_kept_where_they_are_brighter(told_sides: Tolerance) -> None:
    assert told_sides.clean > 0.9
    (mirrored,) = told_sides.of("hflip")
    assert mirrored.kept < min(-0.3, -5 * mirrored.se)
    assert told_sides.of("brightness")[-1].kept > -0.05
    assert [reading.strength for reading in told_sides.of(CROP)] == sorted(
        (reading.strength for reading in told_sides.of(CROP)), reverse=True
    )
    assert told_sides.of(CROP)[-1].costs  # a corner does not show where it is


def test_a_colour_is_lost_where_colours_are_changed_and_kept_where_images_are_mirrored(tmp_path: Path) -> None:
    found = harm_test(study(tmp_path, colours, modality="colour"), None)
    assert found.of(JITTER)[-1].costs
    assert found.of(JITTER)[0].kept > found.of(JITTER)[-1].kept
    assert found.of("hflip")[0].kept > -0.05
    assert found.of(CROP)[-1].kept > -0.05


def test_it_is_the_same_again_and_survives_being_written_down(of_sides: Context, told_sides: Tolerance) -> None:
    one = asked(of_sides.preset, 2)[0][0]
    first, again = (read(list(eyes(of_sides)), one) for _ in range(2))
    assert first == again == told_sides.of(CROP)[0]
    of_sides.remember(tolerance=told_sides.to_dict())
    assert Tolerance.from_dict(of_sides.state("tolerance")) == told_sides


def test_only_labels_of_the_probe_part_are_asked(of_sides: Context) -> None:
    for eye in eyes(of_sides):
        assert np.isin(eye.rows, of_sides.rows(PROBE, labelled=True)).all()


def test_what_there_is_no_time_for_is_said(of_sides: Context) -> None:
    none = harm_test(of_sides, 0.0)
    assert not none.readings
    assert "no time" in none.left_out
    assert none.words() == f"what the labels tolerate was not asked: {none.left_out}"


def test_every_operation_of_a_preset_is_asked_alone_once() -> None:
    allowed = preset("mr", 1)
    views = [group[0].view for group in asked(allowed, 2)]
    assert sorted(views) == sorted([JITTER, CROP, *allowed.operations])
    for group in (group for group in asked(allowed, 2) if group[0].view not in (JITTER, CROP)):
        assert {name for one in group for name in one.allowed.operations} == {group[0].view}
    assert set(allowed.without(*MOVES).operations) == set(allowed.operations) - set(MOVES)


def test_the_figure_holds_every_view(told_sides: Tolerance) -> None:
    svg = drawn.figure(told_sides, "balanced accuracy")
    assert all(words in svg for words in ("mirrored", "brightness", "smallest share", "balanced accuracy"))


def test_moves_that_labels_do_not_survive_are_struck_from_the_preset(of_sides: Context, told_sides: Tolerance) -> None:
    allowed = preset("grey", 1)
    assert allowed.hflip
    assert told_sides.struck == ("hflip",)
    assert told_sides.allowed(allowed) == allowed.without("hflip")
    assert Tolerance().allowed(allowed) == allowed
    of_sides.remember(tolerance=told_sides.to_dict())
    assert not of_sides.preset.hflip


def test_methods_begin_with_crops_that_the_labels_tolerate(of_sides: Context) -> None:
    """Jitter stays, and so do ranges and further priors: labels that it costs have gained by it in training."""
    readings = [Reading(JITTER, at, -0.2, 0.01) for at in (0.05, 0.2, 0.5, 0.8)]
    readings += [Reading(CROP, at, 0.0 if at > 0.5 else -0.2, 0.01) for at in (0.8, 0.5, 0.3, 0.15)]
    found = Tolerance(("pixels", "an encoder"), 0.9, 300, tuple(readings))
    before, after = read_space()["simclr"], tolerated(read_space(), found)["simclr"]
    assert after == replace(before, priors=({**before.priors[0], CROP: 0.8}, *before.priors[1:]))
    assert tolerated(read_space(), replace(found, eyes=("pixels",))) == read_space()
    of_sides.remember(tolerance=found.to_dict())
    assert of_sides.space["simclr"].priors[0][CROP] == 0.8
