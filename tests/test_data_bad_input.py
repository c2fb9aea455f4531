"""Bad input ends in one sentence that says what was wanted, what was found, where, and what to do."""

import importlib.util
import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from autossl.data import check_enough, open_data, prepare
from autossl.errors import UserError

RANDOM = np.random.default_rng(0)


def noise(*shape: int) -> NDArray[np.uint8]:
    return RANDOM.integers(0, 256, shape, dtype=np.uint8)


def save(root: Path, name: str, image: NDArray[Any]) -> None:
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(root / name)


def write_classes(root: Path, count: int = 4, size: int = 12) -> Path:
    for name in ("a", "b"):
        for at in range(count):
            save(root, f"{name}/{at}.png", noise(size, size))
    return root


def empty_folder(root: Path) -> Path:
    return root


def no_class_folders(root: Path) -> Path:
    save(root, "one.png", noise(12, 12))
    return root


def dicom_files(root: Path) -> Path:
    (root / "a").mkdir()
    (root / "a" / "one.dcm").write_bytes(b"")
    return root


def loose_images_in_splits(root: Path) -> Path:
    for part in ("train", "test"):
        save(root, f"{part}/0.png", noise(12, 12))
    return root


def one_class(root: Path) -> Path:
    for at in range(4):
        save(root, f"a/{at}.png", noise(12, 12))
    return root


def class_of_one(root: Path) -> Path:
    write_classes(root)
    save(root, "rare/0.png", noise(12, 12))
    return root


def small(root: Path) -> Path:
    write_classes(root)
    save(root, "b/9.png", noise(12, 5))
    return root


def no_images_at_all(root: Path) -> Path:
    for at in range(4):
        (root / "a").mkdir(exist_ok=True)
        (root / "a" / f"{at}.png").write_text("not an image")
    return root


def frames(root: Path) -> Path:
    (root / "a").mkdir()
    stack = [Image.fromarray(noise(12, 12)) for _ in range(3)]
    stack[0].save(root / "a" / "stack.tif", save_all=True, append_images=stack[1:])
    return root


def table_beside_folders(root: Path) -> Path:
    write_classes(root)
    (root / "list.csv").write_text("image,label\ngone.png,x\n")
    return root


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (empty_folder, r"found no file in {root}; give the folder that holds the class folders"),
        (no_class_folders, r"found 1 image without class folders in {root}; make a folder per class, or give --labels"),
        (dicom_files, r"readable DICOM was wanted, found 1 of 1 file that cannot be read in {root} .* copy them again"),
        (loose_images_in_splits, r"found images that lie there directly; make a folder per class"),
        (one_class, r"at least two classes were wanted, found only 'a' \(4 images\) in {root}; add"),
        (class_of_one, r"found 1 of class 'rare' \(1 image\) in {root}; add some or leave the class out"),
        (small, r"found 1 smaller ones in {root}, the first 12 x 5 \(b/9.png\); leave them out"),
        (no_images_at_all, r"found 4 of 4 that cannot be read in {root}, the first a/0.png \(it is no image\); copy"),
        (frames, r"found 1 of 1 that cannot be read in {root}, the first a/stack.tif \(it holds 3 frames: choose"),
        (table_beside_folders, r"found both in {root}, but no image that list.csv lists, .*{root}/gone.png; correct"),
    ],
)
def test_folders(tmp_path: Path, make: Callable[[Path], Path], message: str) -> None:
    with pytest.raises(UserError, match=message.format(root=tmp_path)):
        open_data(make(tmp_path))


def arrays(**more: Any) -> dict[str, Any]:
    return {"images": noise(8, 12, 12), "labels": np.arange(8) % 2} | more


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (arrays(images=noise(0, 12, 12), labels=np.zeros(0)), r"found an empty array \(0, 12, 12\) in {path}"),
        (arrays(labels=np.arange(7) % 2), r"8 entries in labels.*found 7 in {path}; align"),
        (
            arrays(labels=np.ones((8, 3))),
            r"found 3 columns of labels in {path}; several labels per image are --task multilabel",
        ),
        (
            arrays(labels=np.linspace(0, 1, 8)),
            r"numbers with fractions such as 0.14.* in {path}; --task regression takes numbers; bin them",
        ),
        (arrays(images=noise(8, 3, 20, 20)), r"found \(8, 3, 20, 20\) in {path}, channels first; move"),
        (arrays(images=noise(8, 12)), r"found \(8, 12\) in {path}; reshape"),
        (arrays(images=np.full((8, 12, 12), -3)), r"found -3 to -3 in {path}; shift or rescale"),
        (arrays(images=np.full((8, 12, 12), 7.5)), r"found 7.5 to 7.5 in {path}; divide by the white value"),
        (arrays(images=np.full((8, 12, 12), "x")), r"found an array of <U1 in {path}; save them as uint8"),
        (arrays(split=np.array(["train"] * 7 + ["hold"])), r"found 'hold' in the split column of {path}; rename"),
        ({"x": noise(8, 12, 12)}, r"MedMNIST-layout .* was wanted, found the arrays x in {path}; save"),
        ({}, r"was wanted, found no array in {path}; save"),
    ],
)
def test_npz(tmp_path: Path, content: dict[str, Any], message: str) -> None:
    path = tmp_path / "set.npz"
    np.savez(path, allow_pickle=False, **content)
    with pytest.raises(UserError, match=message.format(path=path)):
        open_data(path)


def test_an_object_array_is_refused_and_never_unpickled(tmp_path: Path) -> None:
    trap = tmp_path / "sprung"

    class Trap:
        def __reduce__(self) -> tuple[Callable[[Path], None], tuple[Path]]:
            return Path.touch, (trap,)

    images = np.empty(1, dtype=object)
    images[0] = Trap()
    path = tmp_path / "set.npz"
    np.savez(path, images=images, labels=np.zeros(1))
    with pytest.raises(UserError, match=rf"found an object array in {path}, .*; save it as one numeric array"):
        open_data(path)
    assert not trap.exists()
    pickle.loads(pickle.dumps(images))
    assert trap.exists()  # the trap works


@pytest.mark.parametrize("kept", [0.0, 0.3, 0.9, 0.999])
def test_a_truncated_npz(tmp_path: Path, kept: float) -> None:
    path = tmp_path / "set.npz"
    np.savez_compressed(path, **arrays())
    path.write_bytes(path.read_bytes()[: int(kept * path.stat().st_size)])
    with pytest.raises(UserError, match=rf"truncated or damaged at {path} .*; copy or download it again"):
        open_data(path)


def test_a_damaged_npz_member(tmp_path: Path) -> None:
    path = tmp_path / "set.npz"
    np.savez(path, allow_pickle=False, **arrays())
    content = bytearray(path.read_bytes())
    content[500] ^= 255
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"found images.npy in .*set.npz \(it is damaged \(BadZipFile\)\); save"):
        open_data(path)


def test_official_parts_of_different_shapes(tmp_path: Path) -> None:
    path = tmp_path / "set.npz"
    np.savez(
        path, train_images=noise(4, 12, 12), test_images=noise(4, 14, 14), train_labels=np.arange(4) % 2,
        test_labels=np.arange(4) % 2,
    )  # fmt: skip
    with pytest.raises(UserError, match=rf"train_images \(4, 12, 12, 1\) uint8, test_images .* in {path}; save"):
        open_data(path)


def test_nan_pixels_are_refused_with_their_row() -> None:
    images = RANDOM.random((8, 12, 12))
    images[5, 3, 3] = np.nan
    with pytest.raises(UserError, match="NaN or infinity in 1 of 8 rows of the given array, the first at row 5"):
        open_data(images, labels=np.arange(8) % 2)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("nowhere/at all", r"found nothing at nowhere/at all; check the path"),
        (
            "sample:stars",
            r"built-in sample \(sample:cells, sample:volumes\) was wanted, found sample:stars as data; use",
        ),
        ([[1, 2], [3, 4]], r"found list as data; pass one of these"),
        ({"a": 1}, r"found no item 0 in the given dict \(KeyError\); pass"),
        (np.empty(3, dtype=object), r"found an object array in the given array; bring the images to one size"),
    ],
)
def test_what_is_no_data(data: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        open_data(data)


def test_a_file_of_another_type(tmp_path: Path) -> None:
    (tmp_path / "set.feather").write_bytes(b"")
    with pytest.raises(UserError, match=r"found a file of type .feather at .*set.feather; convert it to one"):
        open_data(tmp_path / "set.feather")


def test_a_single_array_in_a_file(tmp_path: Path) -> None:
    with open(tmp_path / "set.npz", "wb") as file:
        np.save(file, noise(4, 12, 12))
    with pytest.raises(UserError, match=r"found a single array in .*set.npz; pass it"):
        open_data(tmp_path / "set.npz")


def test_medmnist_without_its_package() -> None:
    if importlib.util.find_spec("medmnist") is not None:
        pytest.skip("the package medmnist is installed")
    with pytest.raises(UserError, match=r"medmnist:bloodmnist, found none .*pip install 'autossl-imaging\[medmnist\]'"):
        open_data("medmnist:bloodmnist")


def test_a_class_of_one_patient(tmp_path: Path) -> None:
    np.savez(
        tmp_path / "set.npz", images=noise(12, 12, 12), labels=np.array([0] * 8 + [1] * 4),
        patients=np.array([*range(8), 9, 9, 9, 9]),
    )  # fmt: skip
    with pytest.raises(UserError, match=r"two patients of every class.*found 1 of class '1' \(4 images\)"):
        open_data(tmp_path / "set.npz")


def test_too_few_patients_for_three_parts(tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"two images of each of two classes.*in the probe part.*found 1 image of class"
    ):
        prepare(open_data(noise(4, 12, 12), labels=[0, 1, 0, 1]), tmp_path / "a")
    with pytest.raises(UserError, match="two classes at least were wanted in the selection part, found 0 in"):
        prepare(open_data(noise(6, 12, 12), labels=[0, 1, 0, 1, 0, 1]), tmp_path / "b")


def test_a_class_that_no_two_patients_have_outside_the_test_part(tmp_path: Path) -> None:
    np.savez(
        tmp_path / "set.npz", images=noise(60, 12, 12), labels=np.repeat([0, 1], [30, 30]),
        patients=np.r_[np.arange(30), np.full(25, 90), np.full(5, 91)],
        split=np.repeat(["train", "test", "train", "test"], [20, 10, 25, 5]),
    )  # fmt: skip
    with pytest.raises(
        UserError, match=r"two patients of each of two classes.*found 1 patient of class '1' in .*label mo"
    ):
        prepare(open_data(tmp_path / "set.npz"), tmp_path / "store")


def test_too_few_labels_asked_for(tmp_path: Path) -> None:
    source = open_data(noise(80, 12, 12), labels=np.arange(80) % 4)
    with pytest.raises(UserError, match="found --max-labels 0; leave it out"):
        prepare(source, tmp_path, max_labels=0)
    with pytest.raises(UserError, match=r"found --max-labels 7 .*give --max-labels 8 or more"):
        prepare(source, tmp_path, max_labels=7)


def test_unlabelled_images_with_other_channels(tmp_path: Path) -> None:
    np.savez(tmp_path / "more.npz", images=noise(3, 12, 12, 4))
    with pytest.raises(UserError, match=r"unlabelled images with 1 channels, .* found 4 in .*more.npz; convert"):
        open_data(noise(8, 12, 12), labels=np.arange(8) % 2, unlabeled=tmp_path / "more.npz")


def test_every_message_is_one_sentence_without_a_line_break(tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        open_data(tmp_path)
    message = str(caught.value)
    assert "\n" not in message
    assert not message.endswith(".")
    assert json.dumps(message)


@pytest.mark.parametrize("option", ["label_column", "patient_column"])
def test_a_column_is_named_where_there_is_no_table(tmp_path: Path, option: str) -> None:
    np.savez(tmp_path / "set.npz", allow_pickle=False, **arrays())
    write_classes(tmp_path / "folders")
    flag = f"--{option.replace('_', '-')}"
    column: dict[str, Any] = {option: "x"}
    for name in ("set.npz", "folders"):
        with pytest.raises(UserError, match=f"found {flag} x beside {tmp_path / name}; leave it out"):
            open_data(tmp_path / name, **column)
    for data in (noise(8, 12, 12), "sample:volumes"):
        with pytest.raises(UserError, match=f"found {flag} x beside"):
            open_data(data, **column)


def test_an_archive_that_is_text(tmp_path: Path) -> None:
    (tmp_path / "set.npz").write_text("some words")
    with pytest.raises(UserError, match=r"found a file of another kind at .*set.npz; save the arrays"):
        open_data(tmp_path / "set.npz")


@pytest.mark.parametrize("data", ["", " "])
def test_an_empty_path_is_not_the_current_folder(data: str) -> None:
    with pytest.raises(UserError, match="found an empty text as data; give a path"):
        open_data(data)


@pytest.mark.parametrize("suffix", ["png", "nii.gz"])
def test_links_to_nothing_are_named(tmp_path: Path, suffix: str) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for at in range(3):
            (tmp_path / name / f"{at}.{suffix}").symlink_to(tmp_path / "annex" / f"{at}")
    with pytest.raises(UserError, match=rf"found 6 of 6 .*a/0.{suffix} \(it is a link to a file that is not there\)"):
        open_data(tmp_path)


def test_a_few_links_to_nothing_are_set_aside(tmp_path: Path) -> None:
    write_classes(tmp_path / "set", 20)
    (tmp_path / "set" / "b" / "20.png").symlink_to("nowhere.png")
    data = prepare(open_data(tmp_path / "set"), tmp_path / "cache")
    assert data.record["flaws"]["unreadable"] == 1


def test_images_that_show_nothing(tmp_path: Path) -> None:
    images = np.broadcast_to(np.arange(60, dtype=np.uint8)[:, None, None], (60, 12, 12))
    with pytest.raises(UserError, match="a single pixel value throughout in each of 60 in the given array; check"):
        prepare(open_data(images, labels=np.arange(60) % 2), tmp_path)


def test_too_few_labels_for_a_search() -> None:
    labels = np.arange(40) % 2
    check_enough(open_data(noise(20, 12, 12), labels=labels[:20]), None)
    with pytest.raises(UserError, match="at least 20 labelled images were wanted, found 19 in the given array; label"):
        check_enough(open_data(noise(19, 12, 12), labels=labels[:19]), None)
    with pytest.raises(UserError, match="at least 16 labels were wanted, found --max-labels 15; give 16 or more"):
        check_enough(open_data(noise(40, 12, 12), labels=labels), 15)


def test_too_few_labels_beside_an_official_test_part(tmp_path: Path) -> None:
    split = np.array(["train"] * 15 + ["test"] * 25)
    np.savez(tmp_path / "set.npz", images=noise(40, 12, 12), labels=np.arange(40) % 2, split=split)
    with pytest.raises(UserError, match="16 labelled images outside the official test part were wanted, found 15 in"):
        check_enough(open_data(tmp_path / "set.npz"), None)


def refused_parts(tmp_path: Path, **content: Any) -> str:
    np.savez(tmp_path / "set.npz", allow_pickle=False, **content)
    with pytest.raises(UserError) as caught:
        prepare(open_data(tmp_path / "set.npz"), tmp_path / "cache")
    return str(caught.value)


def test_the_remedy_for_a_part_without_labels_is_one_that_helps(tmp_path: Path) -> None:
    two = np.arange(40) % 2
    assert refused_parts(tmp_path, images=noise(4, 12, 12), labels=two[:4]).endswith(
        "; label more images of each class"
    )
    copies = refused_parts(tmp_path, images=np.repeat(noise(2, 12, 12), 20, 0), labels=np.repeat([0, 1], 20))
    assert copies.endswith("; 40 of 40 images are exact duplicates, which count once: leave out the copies")
    split = np.array(["train", "test"] * 20)
    both = refused_parts(tmp_path, images=noise(40, 12, 12), labels=two, split=split, patients=np.arange(40) // 2)
    assert both.endswith("; 20 patients in more than one official part stay in the last: remove the official split")
    one = refused_parts(
        tmp_path, images=noise(40, 12, 12), labels=np.where(split == "test", 0, np.arange(40) // 2 % 2), split=split
    )
    assert one.endswith("; label more images of each class, or remove the official split")
