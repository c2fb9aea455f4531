"""Decoding into the store, duplicates, depth, notes, the record, and doing it again."""

import json
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from autossl.data import DROPPED, PROBE, SELECTION, TEST, Data, load, open_data, prepare
from autossl.data.checks import find_duplicates
from autossl.data.store import digest
from autossl.errors import UserError

RANDOM = np.random.default_rng(0)


def noise(*shape: int) -> NDArray[np.uint8]:
    return RANDOM.integers(0, 256, shape, dtype=np.uint8)


def same(first: Data, second: Data) -> bool:
    arrays = all(np.array_equal(getattr(first, name), getattr(second, name)) for name in ("images", "groups", "part"))
    arrays = arrays and np.array_equal(first.truth.strata, second.truth.strata)
    arrays = arrays and first.truth.about == second.truth.about
    rest = ("name", "has_patients", "scale", "mean", "std", "notes", "record")
    return arrays and all(getattr(first, name) == getattr(second, name) for name in rest)


def official(tmp_path: Path, images: dict[str, NDArray[Any]], labels: dict[str, list[int]], **more: Any) -> Path:
    arrays: dict[str, Any] = {f"{name}_images": part for name, part in images.items()}
    arrays |= {f"{name}_labels": np.array(part) for name, part in labels.items()}
    np.savez(tmp_path / "set.npz", allow_pickle=False, **arrays, **more)
    return tmp_path / "set.npz"


def test_what_is_stored_is_what_was_there(tmp_path: Path) -> None:
    images = noise(60, 12, 12, 3)
    seen: list[tuple[int, int]] = []
    data = prepare(
        open_data(images, labels=np.arange(60) % 3), tmp_path, progress=lambda done, n: seen.append((done, n))
    )
    np.testing.assert_array_equal(data.images, images)
    assert not data.images.flags.writeable
    assert data.scale == 255
    probe = images[data.rows(PROBE)] / 255
    np.testing.assert_allclose(data.mean, probe.mean((0, 1, 2)), atol=1e-9)
    np.testing.assert_allclose(data.std, probe.std((0, 1, 2)), atol=1e-9)
    assert seen[-1] == (60, 60)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data.npz", "images.npy", "images.npz"]


def test_it_reopens_without_the_source_and_repeats_exactly(tmp_path: Path) -> None:
    images, labels = noise(60, 12, 12), np.arange(60) % 3
    first = prepare(open_data(images, labels=labels), tmp_path / "a", seed=3, max_labels=30)
    assert same(first, load(tmp_path / "a"))
    stamp = (tmp_path / "a" / "images.npy").stat().st_mtime_ns
    assert same(first, prepare(open_data(images, labels=labels), tmp_path / "a", seed=3, max_labels=30))
    assert (tmp_path / "a" / "images.npy").stat().st_mtime_ns == stamp  # not decoded again
    assert same(first, prepare(open_data(images, labels=labels), tmp_path / "b", seed=3, max_labels=30))


def test_other_pixels_are_decoded_again(tmp_path: Path) -> None:
    images, labels = noise(60, 12, 12), np.arange(60) % 3
    first = prepare(open_data(images, labels=labels), tmp_path)
    changed = images.copy()
    changed[0, 0, 0] ^= 1
    second = prepare(open_data(changed, labels=labels), tmp_path)
    np.testing.assert_array_equal(second.images[..., 0], changed)
    assert first.record["fingerprint"] != second.record["fingerprint"]


def test_a_file_that_changed_is_decoded_again(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / "set" / name).mkdir(parents=True)
        for at in range(9):
            Image.fromarray(noise(12, 12)).save(tmp_path / "set" / name / f"{at}.png")
    prepare(open_data(tmp_path / "set"), tmp_path / "cache")
    changed = noise(12, 12)
    path = tmp_path / "set" / "b" / "8.png"
    Image.fromarray(changed).save(path)
    os.utime(path, ns=(0, 10**18))
    data = prepare(open_data(tmp_path / "set"), tmp_path / "cache")
    np.testing.assert_array_equal(data.images[17, :, :, 0], changed)


def test_what_a_killed_run_left_is_removed(tmp_path: Path) -> None:
    (tmp_path / ".images.npy.1.part").write_bytes(b"half")
    (tmp_path / "images.npz").write_bytes(b"")
    prepare(open_data(noise(60, 12, 12), labels=np.arange(60) % 3), tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data.npz", "images.npy", "images.npz"]


def test_a_decoding_that_fails_leaves_nothing(tmp_path: Path) -> None:
    def stop(done: int, n: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare(open_data(noise(60, 12, 12), labels=np.arange(60) % 3), tmp_path / "cache", progress=stop)
    assert list((tmp_path / "cache").iterdir()) == []
    with pytest.raises(UserError, match="decoded images were wanted"):
        load(tmp_path / "cache")


@pytest.mark.parametrize(("highest", "scale"), [(4000, 4095.0), (4096, 8191.0), (65535, 65535.0), (90, 255.0)])
def test_16_bit_images_keep_their_values_and_are_scaled_by_their_depth(
    tmp_path: Path, highest: int, scale: float
) -> None:
    images = RANDOM.integers(0, highest + 1, (30, 12, 12), dtype=np.uint16)
    images[0, 0, 0] = highest
    data = prepare(open_data(images, labels=np.arange(30) % 2), tmp_path)
    assert data.images.dtype == np.uint16
    assert data.scale == scale
    np.testing.assert_array_equal(data.images[..., 0], images)


def test_8_bit_files_among_12_bit_ones_are_stretched_to_their_white(tmp_path: Path) -> None:
    for name, first in (("a", 0), ("b", 8)):
        (tmp_path / "set" / name).mkdir(parents=True)
        for at in range(first, first + 8):
            deep = np.full((12, 12), 4095 - at, dtype=np.uint16)
            deep[:3] = 7 * at
            image = np.where(deep > 100, 255, at).astype(np.uint8) if at % 2 else deep
            Image.fromarray(image).save(tmp_path / "set" / name / f"{at:02}.png")
    data = prepare(open_data(tmp_path / "set"), tmp_path / "cache")
    assert data.scale == 4095
    assert data.images[0].max() == 4095
    assert (data.images[1, 5, 5], data.images[1, 0, 0]) == (4095, round(1 * 4095 / 255))
    assert any("8 8-bit images among 16-bit ones" in note for note in data.notes)


def test_duplicates_share_a_group_and_leave_the_earlier_part(tmp_path: Path) -> None:
    images = {"train": noise(40, 12, 12), "val": noise(24, 12, 12), "test": noise(12, 12, 12)}
    images["train"][0] = images["train"][1]  # within a part: both stay
    images["train"][2] = images["val"][0]
    images["train"][4] = images["val"][2] = images["test"][0]
    labels = {name: [at % 2 for at in range(len(part))] for name, part in images.items()}
    labels["train"][0] = labels["train"][1]
    data = prepare(open_data(official(tmp_path, images, labels)), tmp_path / "cache")
    assert data.groups[0] == data.groups[1]
    assert data.groups[2] == data.groups[40]
    assert data.groups[4] == data.groups[42] == data.groups[64]
    assert len(set(data.groups.tolist())) == 76 - 4
    assert np.flatnonzero(data.part == DROPPED).tolist() == [2, 4, 42]
    assert (data.part[64:] == TEST).all()
    assert data.record["flaws"]["duplicate_sets_across_official_parts"] == 2
    assert data.record["flaws"]["left_an_earlier_part"] == 3
    assert any("3 images left a part" in note for note in data.notes)


def test_contradicting_duplicates_lose_their_label_outside_the_test_part(tmp_path: Path) -> None:
    images = {"train": noise(40, 12, 12), "test": noise(12, 12, 12)}
    images["train"][0] = images["train"][1]
    images["test"][0] = images["test"][1]
    labels = {name: [at % 2 for at in range(len(part))] for name, part in images.items()}
    data = prepare(open_data(official(tmp_path, images, labels)), tmp_path / "cache")
    assert data.truth.strata[:2].tolist() == [-1, -1]
    assert data.part[:2].tolist() == [PROBE, PROBE]
    assert data.truth.strata[40:42].tolist() == [0, 1]
    assert data.record["flaws"]["duplicate_sets_with_different_labels"] == 2


def test_flat_images_are_no_duplicates_that_tie_patients_together(tmp_path: Path) -> None:
    images = noise(60, 12, 12)
    images[:10] = 0
    data = prepare(open_data(images, labels=np.arange(60) % 2), tmp_path)
    assert len(set(data.groups.tolist())) == 60
    assert data.record["flaws"]["flat_images"] == 10


def test_a_patient_in_two_official_parts_leaves_the_earlier_one(tmp_path: Path) -> None:
    images = {"train": noise(40, 12, 12), "test": noise(12, 12, 12)}
    labels = {name: [at % 2 for at in range(len(part))] for name, part in images.items()}
    patients = {"train_patients": np.arange(40) // 2, "test_patients": np.array([3] * 2 + list(range(100, 110)))}
    data = prepare(open_data(official(tmp_path, images, labels, **patients)), tmp_path / "cache")
    assert np.flatnonzero(data.part == DROPPED).tolist() == [6, 7]
    assert any("1 patient in more than one official part" in note for note in data.notes)


@pytest.mark.parametrize("unit", ["image", "patient"])
def test_a_train_part_alone_says_where_the_test_part_comes_from(tmp_path: Path, unit: str) -> None:
    more = {"train_patients": np.arange(60) // 2} if unit == "patient" else {}
    path = official(tmp_path, {"train": noise(60, 12, 12)}, {"train": [at % 3 for at in range(60)]}, **more)
    data = prepare(open_data(path), tmp_path / "cache")
    assert f"there is no official test part: it was drawn by {unit} from the others" in data.notes
    assert not any("cannot be checked" in note for note in data.notes)


def test_no_identifier_is_written_anywhere(tmp_path: Path) -> None:
    (tmp_path / "files").mkdir()
    lines = ["image,label,patient"]
    for at in range(60):
        Image.fromarray(noise(12, 12)).save(tmp_path / "files" / f"Doe_{at}.png")
        lines.append(f"files/Doe_{at}.png,{at % 2},Jane Doe {at // 3}")
    (tmp_path / "files" / "Doe_7.png").write_bytes(b"no image")
    (tmp_path / "list.csv").write_text("\n".join(lines))
    source = open_data(tmp_path / "list.csv")
    data = prepare(source, tmp_path / "cache")
    for path in (tmp_path / "cache").iterdir():
        content = path.read_bytes()
        assert b"Doe" not in content
        assert "Doe".encode("utf-32-le") not in content  # as NumPy stores text
    assert "Doe" not in json.dumps(data.record) + repr(data) + repr(source.notes)
    # nor a hash of one, which counting would undo
    assert re.findall('"([0-9a-f]{12,})"', json.dumps(data.record)) == [data.record["fingerprint"]]


def test_a_few_unreadable_files_are_set_aside_and_listed_by_place(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / "set" / name).mkdir(parents=True)
        for at in range(30):
            Image.fromarray(noise(40, 40)).save(tmp_path / "set" / name / f"{at:02}.png")
    whole = (tmp_path / "set" / "a" / "04.png").read_bytes()
    (tmp_path / "set" / "a" / "04.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "set" / "b" / "01.png").write_bytes(b"")
    data = prepare(open_data(tmp_path / "set"), tmp_path / "cache")
    assert np.flatnonzero(data.part == DROPPED).tolist() == [4, 31]
    assert data.truth.strata[[4, 31]].tolist() == [-1, -1]
    assert any("2 of 60 images cannot be read" in note and "4, 31" in note for note in data.notes)
    assert data.record["flaws"]["unreadable"] == 2
    (tmp_path / "set" / "a" / "05.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "set" / "a" / "06.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match=r"found 4 of 60 that cannot be read in .*set, the first a/04.png \(.*\)"):
        prepare(open_data(tmp_path / "set"), tmp_path / "other")
    assert not any((tmp_path / "other").iterdir())


def test_notes_on_what_the_pixels_and_classes_are(tmp_path: Path) -> None:
    grey = np.repeat(noise(66, 12, 12, 1), 3, axis=3)
    data = prepare(open_data(grey, labels=["few"] * 6 + ["many"] * 60 + [None] * 0), tmp_path)
    assert any("66 images grey but stored as RGB: one channel is kept" in note for note in data.notes)
    assert data.images.shape == (66, 12, 12, 1)
    assert any("no patient ids" in note and "optimistic" in note for note in data.notes)
    rows = data.rows(PROBE, TEST, labelled=True)
    assert len(rows) == (np.isin(data.part, (PROBE, TEST)) & (data.truth.strata >= 0)).sum()


def test_class_counts_of_the_record(tmp_path: Path) -> None:
    data = prepare(open_data(noise(60, 12, 12), labels=np.arange(60) % 3), tmp_path)
    parts = data.record["parts"]
    assert sum(part["images"] for part in parts.values()) == 60
    for number, name in ((PROBE, "probe"), (SELECTION, "selection"), (TEST, "test")):
        rows = data.rows(number)
        assert parts[name]["classes"] == {
            str(label): int((data.truth.strata[rows] == label).sum()) for label in range(3)
        }


def test_equal_pixels_are_duplicates_only_with_the_same_shape_and_depth() -> None:
    image = np.zeros((4, 6, 1), dtype=np.uint8)
    assert (digest(image) == digest(image.copy())).all()
    assert (digest(image) != digest(image.reshape(6, 4, 1))).any()
    assert (digest(image) != digest(np.zeros((2, 6, 1), dtype=np.uint16))).any()


def test_duplicates_are_found_among_usable_images_only() -> None:
    source = open_data(noise(6, 12, 12), labels=[0, 1, 0, 1, 0, 1])
    digests = np.zeros((6, 16), dtype=np.uint8)
    digests[4:] = 9
    found = find_duplicates(digests, np.array([True, True, False, True, True, True]), source)
    assert found.set_of.tolist() == [0, 0, -1, 0, 1, 1]
    assert (found.sets, found.images) == (2, 5)
    assert found.contradicting.tolist() == [0, 1]
