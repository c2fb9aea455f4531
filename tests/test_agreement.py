"""How masks agree: distances of surfaces as MONAI has them, objects by hand, and the units that both are told in."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from monai.metrics.hausdorff_distance import compute_hausdorff_distance
from monai.metrics.surface_dice import compute_surface_dice
from numpy.typing import NDArray

from autossl.data import open_data, prepare
from autossl.data.truth import Masks
from autossl.data.truth.structures import IGNORED
from autossl.proxies import Outcomes
from autossl.proxies.image_metrics import DISTANCE, FALSE, MET, OBJECTS, SURFACE
from autossl.targets.agreement import agreement, objects
from autossl.targets.segmentation import Segmentation
from tests.mask_toys import discs

nib: Any = pytest.importorskip("nibabel", reason="nibabel is not installed")


def one_hot(mask: NDArray[np.integer[Any]], kinds: int) -> torch.Tensor:
    return torch.from_numpy(np.eye(kinds + 1, dtype=np.float32)[mask]).movedim(-1, 0)[None]


@pytest.mark.filterwarnings("ignore:.*always_return_as_numpy:FutureWarning", "ignore:the (pred|ground):UserWarning")
@pytest.mark.parametrize(("dims", "grain"), [(2, (1.0, 1.0)), (2, (3.0, 3.0)), (3, (1.5, 0.5, 1.0))])
def test_distances_are_those_of_monai(dims: int, grain: tuple[float, ...]) -> None:
    _, truth = discs(6, dims=dims, size=20)
    said = np.roll(truth, (1, 2), axis=(1, 2))
    said[:, :4] = 0
    for mask, other in zip(truth, said, strict=True):
        _, facts = agreement(other, mask, 2, np.array(grain))
        pair = one_hot(other, 2), one_hot(mask, 2)
        near = compute_surface_dice(*pair, [max(grain)] * 2, spacing=grain)[0].numpy()
        far = compute_hausdorff_distance(*pair, percentile=95, spacing=grain)[0].numpy()
        for kind in range(2):
            if (mask == kind + 1).any() and (other == kind + 1).any():
                assert facts[kind, SURFACE] == pytest.approx(near[kind], abs=1e-6)
                assert facts[kind, DISTANCE] == pytest.approx(far[kind], rel=1e-6)


def test_what_is_missed_is_far_and_what_is_not_there_has_no_surface() -> None:
    truth = np.zeros((8, 6), np.uint8)
    truth[2:4, 2:4] = 1
    _, facts = agreement(np.zeros_like(truth), truth, 2, np.full(2, 2.0))
    assert facts[0, SURFACE] == 0
    assert facts[0, DISTANCE] == pytest.approx(20)  # of 16 by 12
    assert np.isnan(facts[1, [SURFACE, DISTANCE]]).all()
    pixels, facts = agreement(truth, truth, 2, np.ones(2))
    assert pixels.tolist() == [4, 0]
    assert facts[0].tolist() == [4, 4, 1, 0, 1, 1, 0]


def test_what_is_not_judged_counts_in_nothing() -> None:
    truth = np.zeros((12, 12), np.uint8)
    truth[1:4, 1:4] = 1
    truth[8:] = IGNORED
    said = truth.copy()
    said[8:] = 1
    assert agreement(said, truth, 1, np.ones(2))[1][0].tolist() == [9, 9, 1, 0, 1, 1, 0]


def test_objects_meet_where_they_are_about_the_same() -> None:
    there, found = np.zeros((2, 20, 20), bool)
    there[1:5, 1:5] = there[8:12, 8:12] = there[15:18, 1:4] = True
    found[1:5, 2:6] = True  # meets the first
    found[8, 8] = True  # touches the second, a sixteenth of it
    found[2:4, 15:18] = True  # meets none
    assert objects(found, there) == (3, 1, 2)
    assert objects(np.ones_like(there), there) == (3, 0, 1)  # everything is not each of them
    assert objects(there, there) == (3, 3, 0)
    assert objects(np.zeros_like(there), there) == (3, 0, 0)


def prepared(data: Any, out: Path, size: int) -> Masks:
    truth = prepare(open_data(data, form=Masks), out, image_size=size).truth
    assert isinstance(truth, Masks)
    return truth


def test_distances_are_in_the_pixels_of_images_and_in_mm_of_files_of_volumes(tmp_path: Path) -> None:
    images, drawn = discs(16)
    np.savez(tmp_path / "images.npz", images=images[:, :24], masks=drawn[:, :24])
    truth = prepared(tmp_path / "images.npz", tmp_path / "flat", 16)
    assert truth.unit == "pixels"
    np.testing.assert_array_equal(truth.grains, np.full((16, 3), 2.0))
    own = Segmentation(truth.about)
    assert "hd95_pixels" in own.reported
    assert "hd95_mm" not in own.reported
    told = own.judge(np.eye(3)[np.minimum(truth.array, 2)].transpose(0, 3, 1, 2), truth)
    assert told.value("hd95_pixels") == 0
    assert told.value("surface_dice") == told.value("object_recall") == 1
    assert told.value("false_objects") == 0
    values, masks = discs(8, dims=3, size=16)
    for kind, each in (("images", values), ("masks", masks)):
        (tmp_path / "deep" / kind).mkdir(parents=True)
        for row, volume in enumerate(each):
            nib.save(nib.Nifti1Image(volume, np.diag([1.5, 0.5, 0.5, 1])), tmp_path / "deep" / kind / f"{row}.nii.gz")
    truth = prepared(tmp_path / "deep", tmp_path / "out", 12)
    assert truth.unit == "mm"
    np.testing.assert_allclose(truth.grains, 24 / 12)
    assert "hd95_mm" in Segmentation(truth.about).reported
    again = Masks.load(truth.columns(), truth.about)
    assert again.unit == "mm"
    np.testing.assert_array_equal(again[2:5].grains, truth.grains[2:5])


def test_objects_are_pooled_and_false_ones_counted_by_image() -> None:
    y, scores = np.ones((3, 2)), np.zeros((3, 2, 7))
    scores[:, :, OBJECTS], scores[:, :, MET] = [[3, 0], [1, 0], [0, 2]], [[1, 0], [1, 0], [0, 2]]
    scores[:, :, FALSE] = [[4, 0], [0, 1], [0, 0]]
    found = Outcomes.of(y, scores)
    assert found.value("object_recall") == pytest.approx((2 / 4 + 1) / 2)
    assert found.value("false_objects") == pytest.approx(5 / 3)
    with pytest.raises(ValueError, match=r"scores must hold \(3, 2, 7\) numbers of masks"):
        Outcomes.of(y, scores[:, :, :2]).value("object_recall")
