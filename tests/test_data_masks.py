"""Masks: every form in which they come, how they follow their images, and what is refused of them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from autossl.data import open_data, prepare
from autossl.data.frame import box, fitted, inner
from autossl.data.readers.masks import read_mask, read_pairs
from autossl.data.readers.squares import fit
from autossl.data.samples.cells import STRUCTURES, smear
from autossl.data.samples.lesions import scans
from autossl.data.truth import OUTSIDE, Masks
from autossl.errors import UserError
from tests.mask_toys import discs

nib: Any = pytest.importorskip("nibabel", reason="nibabel is not installed")
N = 24


def written(
    folder: Path, masks: str = "masks", ending: str = "", n: int = N, values: int = 1, seed: int = 0
) -> NDArray[np.uint8]:
    """Images and their masks as PNG files of 32 x 24 px."""
    images, found = discs(n, seed)
    (folder / "images").mkdir(parents=True)
    (folder / masks).mkdir()
    for row in range(n):
        Image.fromarray(images[row, :24]).save(folder / "images" / f"case_{row:02d}.png")
        Image.fromarray(found[row, :24] * np.uint8(values)).save(folder / masks / f"case_{row:02d}{ending}.png")
    return found[:, :24]


def prepared(data: Any, out: Path, **options: Any) -> Masks:
    """The masks of a study on these data."""
    asked = {name: options.pop(name) for name in ("image_size", "max_labels") if name in options}
    truth = prepare(open_data(data, form=Masks, **options), out, **asked).truth
    assert isinstance(truth, Masks)
    return truth


@pytest.mark.parametrize(
    ("masks", "ending"), [("masks", ""), ("labels", "_mask"), ("labelsTr", "-seg"), ("SegmentationClass", "_GT")]
)
def test_a_folder_of_images_beside_one_of_masks(tmp_path: Path, masks: str, ending: str) -> None:
    wanted = written(tmp_path / "data", masks, ending)
    truth = prepared(tmp_path / "data", tmp_path / "out", image_size=32)
    assert truth.known.all()
    assert truth.structures == ("structure 1", "structure 2")
    np.testing.assert_array_equal(truth.array[:, 4:28], wanted)  # padded above and below
    assert (truth.array[:, :4] == 255).all()
    assert (truth.array[:, 28:] == 255).all()


def test_official_parts_and_images_without_masks(tmp_path: Path) -> None:
    for seed, part in enumerate(("train", "test")):
        written(tmp_path / "data" / part, seed=seed)
    for row in (1, 5):
        (tmp_path / "data" / "train" / "masks" / f"case_{row:02d}.png").unlink()
    (tmp_path / "data" / "train" / "images" / "case_07.png").unlink()
    source = open_data(tmp_path / "data", form=Masks)
    assert "1 mask without an image of that name is not used" in source.notes
    assert "2 images without a mask are used without labels" in source.notes
    data = prepare(source, tmp_path / "out")
    assert data.truth.known.sum() == 2 * N - 3
    assert len(data.rows(2)) == N


def test_a_table_with_a_column_of_masks(tmp_path: Path) -> None:
    wanted = written(tmp_path / "data", values=100)
    rows = [f"images/case_{row:02d}.png,masks/case_{row:02d}.png,p{row // 2}" for row in range(N)]
    table = tmp_path / "data" / "list.csv"
    for column in ("mask", "label"):
        table.write_text(f"image,{column},patient\n" + "\n".join(rows))
        truth = prepared(table, tmp_path / column, image_size=32)
        np.testing.assert_array_equal(truth.array[:, 4:28], wanted)
        assert truth.values == (100, 200)
    table.write_text("image,outline,patient\n" + "\n".join(rows))
    with pytest.raises(UserError, match=r"a column mask was wanted, found none, but candidates \(outline\)"):
        open_data(table, form=Masks)
    assert open_data(table, form=Masks, label_column="outline").truth.known.all()


def test_archives_and_arrays(tmp_path: Path) -> None:
    images, masks = discs(N)
    np.savez(tmp_path / "one.npz", images=images, masks=masks)
    half = N // 2
    parts: Any = {"train_images": images[:half], "train_masks": masks[:half], "val_images": images[half:]}
    np.savez(tmp_path / "parts.npz", **parts)
    np.testing.assert_array_equal(prepared(str(tmp_path / "one.npz"), tmp_path / "a").array, masks)
    in_parts = prepared(str(tmp_path / "parts.npz"), tmp_path / "b")
    assert in_parts.known.tolist() == [True] * half + [False] * half
    listed: list[Any] = [*masks[:-1], None]
    for each in (masks, masks[..., None], torch.from_numpy(masks), listed):
        truth = prepared(images, tmp_path / f"{type(each).__name__}{np.ndim(each[0])}", labels=each)
        known = truth.known
        assert known.sum() >= N - 1
        np.testing.assert_array_equal(truth.array[known], masks[known])
    pairs = [(image, mask) for image, mask in zip(images, masks, strict=True)]
    truth = prepared(Items(pairs), tmp_path / "items")
    np.testing.assert_array_equal(truth.array, masks)


class Items:
    """A map-style data set."""

    def __init__(self, items: list[Any]) -> None:
        self.items = items

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, at: int) -> Any:
        return self.items[at]


def test_volumes_with_their_axes_turned(tmp_path: Path) -> None:
    images, masks = discs(12, dims=3, size=20)
    for name in ("imagesTr", "labelsTr"):
        (tmp_path / "data" / name).mkdir(parents=True)
    turned = np.array([[0.0, -1.5, 0, 7], [1.5, 0, 0, 3], [0, 0, -1.5, 2], [0, 0, 0, 1]])
    for row in range(12):
        for name, values, ending in (("imagesTr", images, "_0000"), ("labelsTr", masks, "")):
            own = nib.Nifti1Image(values[row], turned if row % 2 else np.diag([1.5, 1.5, 1.5, 1]))
            nib.save(own, tmp_path / "data" / name / f"v{row:02d}{ending}.nii.gz")
    source = open_data(tmp_path / "data", form=Masks)
    data = prepare(source, tmp_path / "out", image_size=20)
    found = data.truth.array
    bright = (data.images[..., 0] > 140) & (found != 255)
    overlap = (bright & (found == 1)).sum() / max(1, (found == 1).sum())
    assert overlap > 0.97  # large discs are bright, whatever the axes of the file


SHAPES = st.tuples(st.integers(3, 40), st.integers(3, 40))


@settings(max_examples=60)
@given(shape=SHAPES, size=st.integers(8, 40), seed=st.integers(0, 99))
def test_a_mask_follows_its_image(shape: tuple[int, int], size: int, seed: int) -> None:
    """Where an image lies in the store, its mask lies, and nothing of it is invented."""
    random = np.random.default_rng(seed)
    mask = random.integers(0, 4, shape)
    sides = inner(np.array(shape), size)
    found = fitted(mask, size, sides)
    assert found.shape == (size, size)
    assert set(np.unique(found[box(size, sides)])) <= set(np.unique(mask))
    outside = np.ones((size, size), bool)
    outside[box(size, sides)] = False
    assert (found[outside] == OUTSIDE).all()
    white = fit(np.full((*shape, 1), 200, np.uint8), size)
    black = fit(np.pad(np.full((*shape, 1), 200, np.uint8)[1:-1, 1:-1], ((1, 1), (1, 1), (0, 0))), size)
    assert white.shape == black.shape == (size, size, 1)
    if shape[0] == shape[1] == size:
        np.testing.assert_array_equal(found, mask)


MASK = np.zeros((16, 16), np.uint8)
MASK[4:12, 4:12] = 1
FILES: dict[str, Callable[[Path], object]] = {
    "palette": lambda path: _palette(path.with_suffix(".png")),
    "one bit": lambda path: Image.fromarray(MASK > 0).save(path.with_suffix(".png")),
    "deep": lambda path: Image.fromarray(MASK.astype(np.uint16) * 300).save(path.with_suffix(".tif")),
    "grey as colours": lambda path: Image.fromarray(np.repeat(MASK[..., None], 3, axis=2)).save(
        path.with_suffix(".png")
    ),
    "jpeg": lambda path: Image.fromarray((MASK > 0) * np.uint8(255)).save(path.with_suffix(".jpg")),
}


def _palette(path: Path) -> None:
    image = Image.fromarray(MASK, "P")
    image.putpalette([0, 0, 0, 255, 0, 0])
    image.save(path)


@pytest.mark.parametrize("kind", FILES)
def test_masks_are_read_as_numbers(tmp_path: Path, kind: str) -> None:
    FILES[kind](tmp_path / "mask")
    found = read_mask(next(tmp_path.iterdir()))
    np.testing.assert_array_equal(found > 0, MASK > 0)
    assert len(np.unique(found)) == 2


def test_what_numbers_objects_is_one_structure(tmp_path: Path) -> None:
    images, masks = discs(N)
    numbered = np.where(masks > 0, np.arange(N * 32 * 32).reshape(masks.shape) % 90 + 1, 0)
    truth = prepared(images, tmp_path, labels=numbered)
    assert truth.structures == ("foreground",)
    np.testing.assert_array_equal(truth.array > 0, masks > 0)


def test_a_few_bad_masks_are_set_aside_and_many_refused(tmp_path: Path) -> None:
    written(tmp_path / "data", n=40)
    bad = tmp_path / "data" / "masks"
    Image.fromarray(np.zeros((10, 10), np.uint8)).save(bad / "case_03.png")
    data = prepare(open_data(tmp_path / "data", form=Masks), tmp_path / "out")
    assert not data.truth.known[3]
    assert any("1 mask" in note and "set aside" in note for note in data.notes)
    for row in range(20):
        Image.fromarray(np.zeros((10, 10), np.uint8)).save(bad / f"case_{row:02d}.png")
    with pytest.raises(UserError, match=r"masks of the size of their images were wanted, found 20 of 40") as told:
        prepare(open_data(tmp_path / "data", form=Masks), tmp_path / "again")
    assert "the mask is 10 x 10, the image 24 x 32" in str(told.value)


@pytest.mark.parametrize(
    ("spoil", "match"),
    [
        (lambda at: [path.unlink() for path in (at / "masks").iterdir()], "none match"),
        (lambda at: [_saved(path, np.zeros((24, 32), np.uint8)) for path in (at / "masks").iterdir()], "throughout"),
        (lambda at: [path.write_bytes(b"x") for path in (at / "masks").iterdir()], "cannot identify|no image|is no"),
        (lambda at: _saved(at / "masks" / "case_03_mask.png", np.zeros((24, 32), np.uint8)), "one mask for each image"),
        (lambda at: [path.rename(path.with_name(f"x{path.name}")) for path in (at / "masks").iterdir()], "none match"),
    ],
    ids=["no masks", "empty masks", "damaged", "two masks", "other names"],
)  # fmt: skip
def test_what_is_refused(tmp_path: Path, spoil: Callable[[Path], object], match: str) -> None:
    written(tmp_path / "data")
    spoil(tmp_path / "data")
    with pytest.raises(UserError, match=match) as told:
        prepare(open_data(tmp_path / "data", form=Masks), tmp_path / "out")
    assert str(told.value).count(";") >= 1


def _saved(path: Path, values: NDArray[np.uint8]) -> Path:
    Image.fromarray(values).save(path)
    return path


def test_other_shapes_of_arrays_are_refused() -> None:
    images, masks = discs(N)
    with pytest.raises(UserError, match=r"masks \(24, 32, 32\) of whole numbers"):
        open_data(images, form=Masks, labels=masks[:, :16])
    with pytest.raises(UserError, match="24 masks, one per image"):
        open_data(images, form=Masks, labels=list(masks[:5]))
    with pytest.raises(UserError, match="images with masks were wanted"):
        open_data(images, form=Masks)


def test_affines_that_differ_are_refused(tmp_path: Path) -> None:
    images, masks = discs(12, dims=3, size=12)
    for name in ("images", "masks"):
        (tmp_path / "data" / name).mkdir(parents=True)
    for row in range(12):
        for name, values, step in (("images", images, 1.0), ("masks", masks, 2.0)):
            nib.save(nib.Nifti1Image(values[row], np.diag([step] * 3 + [1])), tmp_path / "data" / name / f"{row}.nii")
    with pytest.raises(UserError, match="their affines differ"):
        prepare(open_data(tmp_path / "data", form=Masks), tmp_path / "out")


def test_folders_that_are_no_pair_are_said(tmp_path: Path) -> None:
    (tmp_path / "cats").mkdir()
    with pytest.raises(UserError, match="folders of images and of their masks were wanted"):
        read_pairs(tmp_path)


def test_a_mask_that_changes_is_decoded_again(tmp_path: Path) -> None:
    written(tmp_path / "data")
    first = prepared(tmp_path / "data", tmp_path / "out", image_size=32)
    Image.fromarray(np.ones((24, 32), np.uint8)).save(tmp_path / "data" / "masks" / "case_03.png")
    again = prepared(tmp_path / "data", tmp_path / "out", image_size=32)
    assert (first.array[3] == again.array[3]).mean() < 0.9
    images, drawn = discs(N)
    prepared(images, tmp_path / "array", labels=drawn)
    assert (prepared(images, tmp_path / "array", labels=3 - drawn).array == 0).sum() == 0


def test_names_with_dots_keep_what_tells_them_apart(tmp_path: Path) -> None:
    for folder in ("images", "masks"):
        (tmp_path / "data" / folder).mkdir(parents=True)
        for row in range(12):
            values = discs(1, seed=row, dims=3, size=10)[folder == "masks"][0]
            nib.save(nib.Nifti1Image(values, np.eye(4)), tmp_path / "data" / folder / f"scan.{row}.nii")
    assert prepared(tmp_path / "data", tmp_path / "out").known.sum() == 12


def test_an_earlier_decoding_is_used_again_and_kept_apart_by_size(tmp_path: Path) -> None:
    written(tmp_path / "data")
    first = prepared(tmp_path / "data", tmp_path / "out", image_size=32)
    stamp = (tmp_path / "out" / "masks.npy").stat().st_mtime_ns
    again = prepared(tmp_path / "data", tmp_path / "out", image_size=32)
    assert (tmp_path / "out" / "masks.npy").stat().st_mtime_ns == stamp
    np.testing.assert_array_equal(first.array, again.array)
    assert prepared(tmp_path / "data", tmp_path / "out", image_size=16).array.shape[1:] == (16, 16)


def test_places_are_drawn_alike_of_each_structure_and_stand_for_all_pixels(tmp_path: Path) -> None:
    images, masks = discs(N)
    truth = prepared(images, tmp_path, labels=masks)
    places = truth.places(600)
    np.testing.assert_array_equal(masks[places.sample, places.at[:, 0], places.at[:, 1]], places.structure)
    counts = np.bincount(places.structure, weights=places.weight)
    np.testing.assert_allclose(counts, np.bincount(masks.ravel()))
    drawn = np.bincount(places.structure)
    assert drawn.max() <= 200 + N
    assert drawn.min() > 100
    again = truth.places(600)
    np.testing.assert_array_equal(places.at, again.at)


def test_samples_have_masks() -> None:
    """What was drawn is what the masks say: nuclei are darker than plasm, plasm than what lies around it."""
    images, _, _, drawn = smear(patients=3, per_patient=10)
    mask = drawn["mask"]
    means = [images.mean(3)[mask == kind].mean() for kind in (0, 1, 2)]
    assert means[0] > means[1] + 5 > means[2] + 20
    assert set(STRUCTURES) == {1, 2}
    volumes, _, _, masks = scans(patients=3)
    assert masks.shape == volumes.shape
    assert 0.03 < masks.mean() < 0.4
    middle = masks[:, 10:14, 10:14, 10:14]
    assert middle.mean() > 0.9
