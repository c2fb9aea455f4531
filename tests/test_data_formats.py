"""Every form of data that is opened: npz, class folders, CSV manifests, arrays, torch datasets."""

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torch.utils.data import TensorDataset

from autossl.data import Source, default_image_size, open_data, prepare, read_images
from autossl.data.parts import NO_SPLIT, OFFICIAL_TEST, TRAIN, VAL
from autossl.data.truth import Classes
from autossl.errors import UserError

RANDOM = np.random.default_rng(0)


def noise(*shape: int) -> NDArray[np.uint8]:
    return RANDOM.integers(0, 256, shape, dtype=np.uint8)


def pixels(source: Source) -> list[NDArray[np.uint8 | np.uint16]]:
    return [source.read(row) for row in range(source.n)]


def write_classes(root: Path, count: int = 3, size: int = 12) -> None:
    for name in ("a", "b"):
        (root / name).mkdir(parents=True)
        for at in range(count):
            Image.fromarray(noise(size, size, 3)).save(root / name / f"{at}.png")


def test_medmnist_layout(tmp_path: Path) -> None:
    images = {name: noise(size, 16, 16) for name, size in (("train", 8), ("val", 4), ("test", 6))}
    labels = {name: (np.arange(len(part)) % 2)[:, None] for name, part in images.items()}
    arrays = {f"{name}_images": part for name, part in images.items()}
    arrays |= {f"{name}_labels": part.astype(np.uint8) for name, part in labels.items()}
    np.savez(tmp_path / "set.npz", allow_pickle=False, **arrays)
    source = open_data(tmp_path / "set.npz")
    assert source.name == "set"
    assert source.truth.names == ("0", "1")
    assert source.split.tolist() == [TRAIN] * 8 + [VAL] * 4 + [OFFICIAL_TEST] * 6
    assert not source.has_patients
    assert source.array is not None
    np.testing.assert_array_equal(source.array[12:, :, :, 0], images["test"])


def test_plain_npz_with_patients_and_words_as_splits(tmp_path: Path) -> None:
    split = np.array(["train", "train", "val", "val", "test", "test"])
    np.savez(
        tmp_path / "set.npz", images=noise(6, 16, 16, 3), labels=np.array(["x", "y"] * 3), split=split,
        patients=np.array([7, 7, 8, 8, 9, 9]),
    )  # fmt: skip
    source = open_data(tmp_path / "set.npz")
    assert source.truth.names == ("x", "y")
    assert source.split.tolist() == [0, 0, 1, 1, 2, 2]
    assert source.has_patients
    assert source.groups.tolist() == [0, 0, 1, 1, 2, 2]


def test_numbers_as_labels_are_in_numeric_order(tmp_path: Path) -> None:
    labels = np.repeat([10.0, 9.0, 2.0], 3)
    source = open_data(noise(9, 16, 16), labels=labels)
    assert source.truth.names == ("2", "9", "10")
    assert source.truth.strata.tolist() == [2, 2, 2, 1, 1, 1, 0, 0, 0]


def test_labels_as_a_list_with_gaps() -> None:
    source = open_data(noise(6, 16, 16), labels=["x", "y", None, "x", float("nan"), "y"])
    assert source.truth.strata.tolist() == [0, 1, -1, 0, -1, 1]


def test_class_folders(tmp_path: Path) -> None:
    write_classes(tmp_path / "set")
    (tmp_path / "set" / "a" / ".hidden.png").write_bytes(b"")
    (tmp_path / "set" / "a" / "notes.txt").write_text("not an image")
    (tmp_path / "set" / "empty").mkdir()
    source = open_data(tmp_path / "set")
    assert source.name == "set"
    assert source.truth.names == ("a", "b")
    assert source.truth.strata.tolist() == [0, 0, 0, 1, 1, 1]
    assert (source.split == NO_SPLIT).all()
    assert any("without an image: 1" in note for note in source.notes)
    assert source.files is not None
    np.testing.assert_array_equal(source.read(4), np.asarray(Image.open(source.files[4])))


def test_class_folders_in_official_splits(tmp_path: Path) -> None:
    for part in ("train", "valid", "test"):
        write_classes(tmp_path / part, count=2)
    source = open_data(str(tmp_path))
    assert source.truth.names == ("a", "b")
    assert sorted(zip(source.split.tolist(), source.truth.strata.tolist(), strict=True)) == [
        (code, label) for code in (0, 1, 2) for label in (0, 0, 1, 1)
    ]


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_manifest(tmp_path: Path, separator: str) -> None:
    write_classes(tmp_path / "files", count=2)
    rows = [["image", "label", "patient_id", "split"]]
    rows += [["files/a/0.png", "mild", "Doe, J", "train"], ["files/a/1.png", "", "Doe, J", "train"]]
    rows += [["files/b/0.png", "severe", "", "validation"], ["files/b/1.png", "mild", "Roe", "test"]]
    rows += [[str(tmp_path / "files/a/0.png"), "severe", "Poe", ""]]
    lines = [separator.join(f'"{cell}"' if "," in cell else cell for cell in row) for row in rows]
    (tmp_path / "list.csv").write_text("\ufeff" + "\n".join(lines), encoding="utf-8")
    source = open_data(tmp_path / "list.csv")
    assert source.truth.names == ("mild", "severe")
    assert source.truth.strata.tolist() == [0, -1, 1, 0, 1]
    assert source.split.tolist() == [TRAIN, TRAIN, VAL, OFFICIAL_TEST, NO_SPLIT]
    assert source.has_patients
    assert source.groups[0] == source.groups[1]
    assert len(set(source.groups.tolist())) == 4
    assert any("1 image has no patient id" in note for note in source.notes)
    assert "Doe" not in repr(source)


def test_other_names_for_the_columns(tmp_path: Path) -> None:
    write_classes(tmp_path / "files", count=4)
    names = [f"files/{name}/{at}.png" for name in "ab" for at in range(4)]
    lines = [f"{name},{at % 2},{at // 2},who{at // 2}" for at, name in enumerate(names)]
    (tmp_path / "list.csv").write_text("image,stage,visit,case\n" + "\n".join(lines))
    with pytest.raises(UserError, match=r"found none, but candidates \(stage, visit, case\), in .*--label-column"):
        open_data(tmp_path / "list.csv")
    source = open_data(tmp_path / "list.csv", label_column="stage", patient_column="case")
    assert source.truth.strata.tolist() == [0, 1] * 4
    assert source.has_patients
    assert source.groups.tolist() == [0, 0, 1, 1, 2, 2, 3, 3]


def test_even_the_only_candidate_must_be_named(tmp_path: Path) -> None:
    write_classes(tmp_path / "files", count=2)
    lines = [f"files/{name}/{at}.png,{name},{name}{at}" for name in "ab" for at in range(2)]
    (tmp_path / "list.csv").write_text("image,sex,number\n" + "\n".join(lines))
    with pytest.raises(UserError, match=r"found none, but candidates \(sex\), in .*; choose by --label-column"):
        open_data(tmp_path / "list.csv")
    assert open_data(tmp_path / "list.csv", label_column="sex").truth.names == ("a", "b")


def test_labels_of_a_flat_folder_by_csv(tmp_path: Path) -> None:
    root = tmp_path / "flat"
    root.mkdir()
    for at in range(6):
        Image.fromarray(noise(12, 12)).save(root / f"{at}.png")
    (tmp_path / "labels.csv").write_text("image,label\n0.png,x\n1,y\n2.png,x\n3.png,y\n")
    source = open_data(root, labels=tmp_path / "labels.csv")
    assert source.truth.strata.tolist() == [0, 1, 0, 1, -1, -1]


def test_unlabelled_images_join_and_keep_their_patients(tmp_path: Path) -> None:
    np.savez(
        tmp_path / "set.npz", images=noise(4, 12, 12, 3), labels=np.array([0, 1, 0, 1]), patients=np.array([5, 5, 6, 6])
    )
    np.savez(tmp_path / "more.npz", images=noise(3, 12, 12, 3), patients=np.array([6, 7, 7]))
    source = open_data(tmp_path / "set.npz", unlabeled=tmp_path / "more.npz")
    assert source.truth.strata.tolist() == [0, 1, 0, 1, -1, -1, -1]
    assert source.has_patients
    assert source.groups.tolist() == [0, 0, 1, 1, 1, 2, 2]
    write_classes(tmp_path / "folder")
    joined = open_data(tmp_path / "set.npz", unlabeled=tmp_path / "folder")
    assert joined.n == 10
    assert joined.truth.strata[4:].tolist() == [-1] * 6
    assert joined.read(9).shape == (12, 12, 3)


class Pairs(torch.utils.data.Dataset[tuple[Image.Image, int]]):
    """Pillow images of different sizes, as torchvision's datasets hand them out."""

    def __len__(self) -> int:
        return 6

    def __getitem__(self, index: int) -> tuple[Image.Image, int]:
        return Image.fromarray(np.full((10 + index, 12, 3), 40 * index, dtype=np.uint8)), index % 2


def test_a_torch_dataset_of_pillow_images() -> None:
    source = open_data(Pairs())
    assert source.name == "Pairs"
    assert source.truth.strata.tolist() == [0, 1] * 3
    assert [image.shape for image in pixels(source)] == [(10 + at, 12, 1) for at in range(6)]  # grey, stored as RGB


def test_a_torch_dataset_of_tensors_in_steps_of_one_255th_is_8_bit() -> None:
    images = noise(6, 3, 10, 12)
    tensors = torch.from_numpy(images).float() / 255
    source = open_data(TensorDataset(tensors, torch.arange(6) % 3))
    assert source.truth.names == ("0", "1", "2")
    np.testing.assert_array_equal(np.stack(pixels(source)), images.transpose(0, 2, 3, 1))
    assert source.read(0).dtype == np.uint8


def test_floats_between_the_steps_become_16_bit() -> None:
    images = RANDOM.random((6, 10, 10))
    source = open_data(images, labels=np.arange(6) % 2)
    assert source.array is not None
    assert np.abs(source.array[..., 0] / 65535 - images).max() < 1e-5
    assert any("steps of 1/65535" in note for note in source.notes)


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [([(28, 28)] * 3, 28), ([(96, 96)] * 3, 96), ([(128, 128)] * 3, 96), ([(60, 90), (70, 80)], 64), ([(500, 9)], 224)],
)
def test_the_default_size_enlarges_nothing(sizes: list[tuple[int, int]], expected: int) -> None:
    class Sized(torch.utils.data.Dataset[tuple[NDArray[np.uint8], int]]):
        def __len__(self) -> int:
            return 4 * len(sizes)

        def __getitem__(self, index: int) -> tuple[NDArray[np.uint8], int]:
            return noise(*sizes[index // 4]), index % 2

    assert default_image_size(open_data(Sized())) == expected


def test_new_images_are_read_in_the_geometry_and_scale_of_a_study(tmp_path: Path) -> None:
    write_classes(tmp_path / "set", count=5, size=20)
    fresh = read_images(tmp_path / "set", 16, 3, 255.0, Classes.nothing(0, {"classes": ("b", "a")}))
    assert fresh.images.shape == (10, 16, 16, 3)
    assert fresh.truth.strata.tolist() == [1] * 5 + [0] * 5
    data = prepare(open_data(tmp_path / "set"), tmp_path / "cache", image_size=16)
    np.testing.assert_array_equal(fresh.images, data.images)


def test_new_images_without_labels_and_of_another_depth(tmp_path: Path) -> None:
    (tmp_path / "flat").mkdir()
    Image.fromarray(np.full((16, 16), 255, dtype=np.uint8)).save(tmp_path / "flat" / "white.png")
    fresh = read_images(tmp_path / "flat", 16, 3, 4095.0)
    assert fresh.images.shape == (1, 16, 16, 3)
    assert (fresh.images == 4095).all()
    assert fresh.truth.strata.tolist() == [-1]
    with pytest.raises(UserError, match="8-bit images, as in the study"):
        read_images(np.full((2, 16, 16), 3000, dtype=np.uint16), 16, 1, 255.0)
    with pytest.raises(UserError, match="1 channels, as in the study"):
        read_images(noise(2, 16, 16, 3), 16, 1, 255.0)
    with pytest.raises(UserError, match="classes of the study"):
        read_images(noise(2, 16, 16), 16, 1, 255.0, Classes.nothing(0, {"classes": ("x", "y")}), labels=["x", "z"])
