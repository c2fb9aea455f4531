"""Npz archives: every array that cannot be read is named, nothing is passed over, and mutants never crash."""

import io
import random
import struct
import warnings
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from autossl.data import open_data
from autossl.errors import UserError


def noise(*shape: int) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


IMAGES, LABELS = noise(8, 12, 12), np.array(["a", "b"] * 4)


def npy(values: Any) -> bytes:
    file = io.BytesIO()
    np.save(file, np.asarray(values), allow_pickle=False)
    return file.getvalue()


def archive(path: Path, members: list[tuple[str, bytes]], form: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", form) as file, ignoring() if twice(members) else nullcontext():
        for name, content in members:
            file.writestr(name, content)
    return path


@contextmanager
def ignoring() -> Iterator[None]:
    """Python warns of two members of one name."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        yield


def twice(members: list[tuple[str, bytes]]) -> bool:
    return len({name for name, _ in members}) < len(members)


def sentence(path: Path) -> str:
    with pytest.raises(UserError) as caught:
        open_data(path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)
    return str(caught.value)


def header(text: str) -> bytes:
    padded = text.ljust(117) + "\n"
    return b"\x93NUMPY\x01\0" + struct.pack("<H", len(padded)) + padded.encode("latin-1")


def promising(count: int) -> bytes:
    return header(f"{{'descr': '|u1', 'fortran_order': False, 'shape': ({count}, 12, 12), }}") + bytes(1152)


def codes(*values: int) -> bytes:
    head = header("{'descr': '<U1', 'fortran_order': False, 'shape': (8,), }")
    return head + struct.pack("<8I", *[*values, *[97] * 8][:8])


@pytest.mark.parametrize(
    ("member", "content", "why"),
    [
        ("images.npy", b"no array at all", "it is no array"),
        ("images", b"", "it is no array"),
        ("images.npy", promising(10**12), "its header promises 144,000,000,000,000 values and it holds fewer"),
        ("images.npy", promising(10**30), "values and it holds fewer"),
        ("images.npy", promising(9), "its header promises 1,296 values"),
        ("images.npy", promising(7), "it holds more than its header says"),
        ("images.npy", promising(-8), "it is damaged"),
        ("images.npy", header("{'descr': '|u1', 'fortran_order': False, 'shape': (8, 12"), "it is damaged"),
        ("images.npy", header("{'descr': 'zz', 'fortran_order': False, 'shape': (8,), }"), "it is damaged"),
        ("images.npy", header("  {'descr'\n: 1\n  }"), "it is damaged"),
        ("images.npy", header("(" * 117), "it is damaged"),
        ("labels.npy", header("{'descr': '<U0', 'fortran_order': False, 'shape': (99999999999,), }"), "holds fewer"),
        ("labels.npy", codes(0x110000), "its text is not Unicode"),
        ("labels.npy", codes(0xFFFFFFFF), "its text is not Unicode"),
        ("patients.npy", codes(0xD800), "its text is not Unicode"),
    ],
)
def test_an_array_that_cannot_be_read_is_named(tmp_path: Path, member: str, content: bytes, why: str) -> None:
    whole = {"images.npy": npy(IMAGES), "labels.npy": npy(LABELS)}
    whole = {name: held for name, held in whole.items() if name.removesuffix(".npy") != member.removesuffix(".npy")}
    said = sentence(archive(tmp_path / "x.npz", [*whole.items(), (member, content)]))
    assert f"found {member} in {tmp_path / 'x.npz'} ({why}" in said or f"{why})" in said or why in said
    assert member in said


@pytest.mark.parametrize("form", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_every_compression_is_read_and_its_damage_is_named(tmp_path: Path, form: int) -> None:
    path = archive(tmp_path / "x.npz", [("images.npy", npy(IMAGES)), ("labels.npy", npy(LABELS))], form)
    np.testing.assert_array_equal(open_data(path).array, IMAGES[..., None])
    content = bytearray(path.read_bytes())
    for at in range(120, 420):
        content[at] ^= 0x5A
    path.write_bytes(content)
    assert "found images.npy in" in sentence(path)


def test_an_encrypted_archive_is_told_as_such(tmp_path: Path) -> None:
    path = archive(tmp_path / "x.npz", [("images.npy", npy(IMAGES)), ("labels.npy", npy(LABELS))])
    content = bytearray(path.read_bytes())
    for magic, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = -1
        while (at := content.find(magic, at + 1)) >= 0:
            content[at + flags] |= 1
    path.write_bytes(content)
    assert "found images.npy in" in (said := sentence(path))
    assert "(it is encrypted); save the archive without a password" in said


@pytest.mark.parametrize("second", ["labels.npy", "labels"])
def test_two_members_of_one_name(tmp_path: Path, second: str) -> None:
    members = [("images.npy", npy(IMAGES)), ("labels.npy", npy(LABELS)), (second, npy(LABELS[::-1]))]
    assert "arrays of different names were wanted, found two called labels in" in sentence(
        archive(tmp_path / "x.npz", members)
    )


PLAIN: dict[str, Any] = {"images": IMAGES, "labels": LABELS}
PARTS: dict[str, Any] = {"train_images": IMAGES, "train_labels": LABELS, "test_images": IMAGES, "test_labels": LABELS}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (PARTS | {"images": IMAGES}, "found images beside train_images and the like in"),
        (PARTS | {"labels": LABELS}, "found labels beside train_images and the like in"),
        (PARTS | {"split": np.zeros(16)}, "found split beside train_images and the like in"),
        (PLAIN | {"patients": np.arange(8), "groups": np.arange(8) // 2}, "found groups beside patients in"),
        (
            PARTS | {"test_patients": np.arange(8), "test_groups": np.arange(8)},
            "found test_groups beside test_patients",
        ),
        (PARTS | {"val_labels": LABELS}, "found val_labels beside no images of that part in"),
        (PLAIN | {"split": np.array(["train"])}, "8 entries in split, one per image, were wanted, found 1 in"),
        (PLAIN | {"split": np.array("train")}, "8 entries in split, one per image, were wanted, found 1 in"),
        (PLAIN | {"split": np.array(["train"] * 9)}, "8 entries in split, one per image, were wanted, found 9 in"),
        (PLAIN | {"patients": np.arange(7)}, "8 entries in patients, one per image, were wanted, found 7 in"),
        (PLAIN | {"labels": np.array([b"gr\xe4u", b"gr\xf6u"] * 4)}, "found other bytes in entry 0 of labels of"),
        (PLAIN | {"patients": np.array([b"a"] * 7 + [b"\xff"])}, "found other bytes in entry 7 of patients of"),
        (PLAIN | {"labels": np.zeros(8, dtype=complex)}, "text or numbers were wanted in labels, found complex128 in"),
        (
            PLAIN | {"labels": np.zeros(8, dtype="M8[s]")},
            r"text or numbers were wanted in labels, found datetime64\[s\]",
        ),
        (PLAIN | {"labels": np.zeros(8, dtype=[("a", "i4")])}, "text or numbers were wanted in labels, found"),
        (PLAIN | {"images": np.zeros((), dtype="u1")}, r"found \(\) in"),
        (PLAIN | {"images": np.zeros((8, 12, 12), dtype=[("a", "u1")])}, "found an array of"),
        ({"a\nb\x1b" + "c" * 99: IMAGES}, r"found the arrays a\\nb\\x1bccc"),
    ],
)
def test_nothing_is_passed_over(tmp_path: Path, content: dict[str, Any], message: str) -> None:
    np.savez(tmp_path / "x.npz", allow_pickle=False, **content)
    with pytest.raises(UserError, match=message) as caught:
        open_data(tmp_path / "x.npz")
    assert "\n" not in str(caught.value)


def test_arrays_of_other_names_are_not_read(tmp_path: Path) -> None:
    members = [
        ("images.npy", npy(IMAGES)),
        ("labels.npy", npy(LABELS)),
        ("about.txt", b"words"),
        ("z.npy", promising(10**12)),
    ]
    assert open_data(archive(tmp_path / "x.npz", members)).n == 8


def test_text_in_any_byte_order_and_layout_is_read(tmp_path: Path) -> None:
    labels = np.array(["grün", "rot😀"] * 4)
    images = np.asfortranarray(np.stack([IMAGES] * 3, axis=-1))
    np.savez(
        tmp_path / "x.npz",
        images=images,
        labels=labels.astype(">U4"),
        patients=np.char.encode(np.repeat(labels[:4], 2), "utf-8"),
    )
    source = open_data(tmp_path / "x.npz")
    assert source.has_patients
    assert source.groups.tolist() == [0, 0, 1, 1, 0, 0, 1, 1]
    assert source.truth.names == ("grün", "rot😀")
    np.testing.assert_array_equal(np.stack([source.read(row) for row in range(source.n)]), images[..., :1])


def bases() -> list[bytes]:
    """Whole archives and tables that a mutant starts from."""
    found = []
    for save in (np.savez, np.savez_compressed):
        for content in (PLAIN | {"patients": np.arange(8) // 2, "split": np.array(["train", "test"] * 4)}, PARTS):
            file = io.BytesIO()
            save(file, **content)
            found.append(file.getvalue())
    return found


def mutant(content: bytes, chance: random.Random) -> bytes:
    changed = bytearray(content)
    for _ in range(chance.choice([1, 1, 2, 8])):
        at = chance.randrange(max(1, len(changed)))
        kind = chance.randrange(5)
        if kind == 0:
            changed[at : at + 1] = bytes([chance.randrange(256)])
        elif kind == 1:
            changed[at : at + 4] = chance.choice([b"\xff" * 4, b"\0" * 4, b'",\n|', b"\r\n;\t"])
        elif kind == 2:
            del changed[at : at + chance.choice([1, 4, 100])]
        elif kind == 3:
            changed[at:at] = changed[: chance.choice([1, 8, 100])]
        else:
            del changed[at:]
    return bytes(changed)


def npz_mutant(chance: random.Random) -> bytes:
    """A damaged archive, or a whole one that holds a damaged array."""
    if chance.random() < 0.3:
        return mutant(chance.choice(bases()), chance)
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as made:
        for name, values in (("images", IMAGES), ("labels", LABELS), ("patients", np.arange(8))):
            content = npy(values)
            made.writestr(
                f"{name}.npy", mutant(content[:140], chance) + content[140:] if chance.random() < 0.5 else content
            )
    return file.getvalue()


def csv_mutant(chance: random.Random) -> bytes:
    rows = "".join(f"{at % 4}.png,{'ab'[at % 2]},p{at // 2},{['train', 'test'][at // 4]}\n" for at in range(8))
    changed = mutant(f"image,label,patient,split\n{rows}".encode(), chance)
    return changed.decode("utf-8", "ignore").encode() if chance.random() < 0.7 else changed


@pytest.mark.parametrize(("name", "make"), [("x.npz", npz_mutant), ("x.csv", csv_mutant)])
def test_mutants_are_read_or_refused(tmp_path: Path, name: str, make: Callable[[random.Random], bytes]) -> None:
    chance, refused, count = random.Random(7), 0, 250
    for at in range(4):
        Image.fromarray(IMAGES[at]).save(tmp_path / f"{at}.png")
    for _ in range(count):
        (tmp_path / name).write_bytes(make(chance))
        try:
            assert open_data(tmp_path / name).n > 1
        except UserError as fault:
            refused += 1
            assert "\n" not in str(fault)  # noqa: PT017
    assert count // 20 < refused < count


def test_images_without_pixels_and_labels_without_end_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", images=np.zeros((8, 12, 12, 0), np.uint8), labels=LABELS)
    assert "found an empty array (8, 12, 12, 0)" in sentence(tmp_path / "a.npz")
    np.savez(tmp_path / "b.npz", images=IMAGES, labels=np.where(LABELS == "a", 1.0, np.inf))
    assert "finite numbers were wanted, found inf in entry 1" in sentence(tmp_path / "b.npz")
