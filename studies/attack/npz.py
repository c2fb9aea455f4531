"""Bad input, first part: npz archives whose members, headers and bytes are not what they should be."""

import io
import os
import random
import struct
import zipfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from studies.attack.acts import command, good_npz, noted, search, textures
from studies.attack.case import EITHER, FINE, REFUSED, Case

LABELS, IMAGES = textures()[1], textures()[0]
PATH = "x.npz"


def cases(seed: int) -> Sequence[Case]:
    """One search for every archive, and one other command on some."""
    made = [*_images(), *_columns(), *_headers(), *_archives(seed), *_names()]
    found = [Case(name, search(PATH), make, check=noted(*words)) for name, make, words in _twofold()]
    for at, (name, expect, make) in enumerate(made):
        found.append(Case(name, search(PATH), make, expect))
        if at % 3 == 0:
            found.append(Case(f"{name}, inspect", command("inspect", PATH), make, EITHER))
    plain = _save({})
    found.append(Case("no permission", search(PATH), _closed(plain), REFUSED, plain=True))
    found.append(Case("a fifo", search(PATH), lambda here: os.mkfifo(here / PATH), REFUSED))
    found.append(Case("a link to /dev/zero", search(PATH), lambda here: (here / PATH).symlink_to("/dev/zero"), REFUSED))
    found.append(Case("a folder called x.npz", search(PATH), lambda here: (here / PATH).mkdir(), REFUSED))
    found.append(Case("fine", search(PATH), plain, FINE))
    return found


Made = Iterator[tuple[str, str, Callable[[Path], object]]]


def _save(members: dict[str, Any]) -> Callable[[Path], object]:
    return lambda here: good_npz(here, **members)


def _closed(make: Callable[[Path], object]) -> Callable[[Path], object]:
    def closed(here: Path) -> None:
        make(here)
        (here / PATH).chmod(0)

    return closed


def _images() -> Made:
    """Images of all types and shapes."""
    rng = np.random.default_rng(0)
    types = {
        "bool": FINE, "uint8": FINE, "uint16": FINE, ">u2": FINE, "int8": EITHER, "int16": EITHER, "int64": FINE,
        "uint64": FINE, "float16": REFUSED, "float32": REFUSED, "float64": REFUSED, "complex64": REFUSED,
        "S3": REFUSED,
        "U3": REFUSED, "M8[s]": REFUSED, "m8[s]": REFUSED, "V2": REFUSED,
    }  # fmt: skip
    for kind, expect in types.items():
        values = IMAGES > 100 if kind == "bool" else IMAGES
        yield f"images as {kind}", expect, _save({"images": _cast(values, kind)})
    for value in (np.nan, np.inf, -np.inf, -1.0, 2.0, 1e300):
        spoilt = rng.random((60, 16, 16))
        spoilt[7, 3, 3] = value
        yield f"one pixel {value}", REFUSED, _save({"images": spoilt})
    shapes = [(), (0,), (60,), (60, 16), (0, 16, 16), (60, 0, 0), (60, 1, 1), (60, 2, 2), (1, 16, 16), (60, 3, 16, 16),
              (60, 16, 16, 0), (60, 16, 16, 2), (60, 16, 16, 5), (60, 4, 4, 4, 4, 4), (60, 16, 16, 1, 1)]  # fmt: skip
    for shape in shapes:
        yield f"images of shape {shape}", EITHER, _save({"images": rng.integers(0, 256, shape).astype(np.uint8)})
    structured = np.zeros((60, 16, 16), dtype=[("a", "u1"), ("b", "u1")])
    yield "structured images", REFUSED, _save({"images": structured})
    yield "images as objects", REFUSED, _save({"images": np.array([IMAGES[0], "x", None] * 20, dtype=object)})
    yield "constant images", REFUSED, _save({"images": np.zeros((60, 16, 16), np.uint8)})
    yield "values up to 2^40", REFUSED, _save({"images": IMAGES.astype(np.int64) << 32})


def _cast(values: Any, kind: str) -> Any:
    if kind in ("S3", "U3", "M8[s]", "m8[s]", "V2"):
        return values.astype(np.int64).astype(kind) if kind != "V2" else np.zeros(values.shape, "V2")
    return values.astype(kind)


def _columns() -> Made:
    """Labels, patients, slices and splits of all types and lengths."""
    text = np.array(["ä", "b"])
    columns: dict[str, tuple[str, Any]] = {
        "float": (FINE, LABELS.astype(float)), "fractions": (REFUSED, LABELS + 0.5),
        "nan": (EITHER, np.where(LABELS, 1.0, np.nan)),
        "inf": (REFUSED, np.where(LABELS, 1.0, np.inf)), "bool": (FINE, LABELS > 0), "text": (FINE, text[LABELS]),
        "bytes": (FINE, np.array([b"a", b"b"])[LABELS]),
        "bytes of no text": (REFUSED, np.array([b"\xff\xe4", b"\xff\xf6"])[LABELS]),
        "beyond unicode": (REFUSED, np.array([0x110000, 0x41], np.uint32).view("<U1")[LABELS]),
        "surrogates": (REFUSED, np.array(["\ud800", "b"])[LABELS]),
        "control": (EITHER, np.array(["\x1b[31m", "\x7f"])[LABELS]),
        "newline": (EITHER, np.array(["a\nb", "c"])[LABELS]), "one hot": (REFUSED, np.eye(2)[LABELS]),
        "too few": (REFUSED, LABELS[:-1]), "too many": (REFUSED, np.append(LABELS, 0)),
        "one": (REFUSED, LABELS[:1]),
        "none at all": (REFUSED, LABELS[:0]), "a scalar": (REFUSED, np.array(1)),
        "objects": (REFUSED, np.array([{}, None] * 30)),
        "complex": (REFUSED, LABELS + 0j), "dates": (EITHER, LABELS.astype("M8[D]")),
        "one class": (REFUSED, LABELS * 0),
        "all different": (REFUSED, np.arange(60)), "huge": (EITHER, LABELS * 10**18),
        "empty text": (REFUSED, np.array([""] * 60)),
        "long": (EITHER, np.array(["a" * 5000, "b"])[LABELS]), "structured": (REFUSED, np.zeros(60, [("a", "i4")])),
        "cube": (REFUSED, LABELS.reshape(60, 1, 1, 1)),
    }  # fmt: skip
    for name, (expect, values) in columns.items():
        yield (
            f"labels: {name}",
            EITHER if name in ("cube", "structured", "complex") else expect,
            _save({"labels": values}),
        )
        if name in (
            "too few",
            "too many",
            "one",
            "a scalar",
            "objects",
            "beyond unicode",
            "surrogates",
            "bytes of no text",
        ):
            for key in ("patients", "slices", "split"):
                yield f"{key}: {name}", EITHER if key == "slices" else REFUSED, _save({key: values})
        elif name in ("inf", "complex", "dates", "structured", "cube", "fractions"):
            yield f"patients: {name}", EITHER, _save({"patients": values})
            yield f"split: {name}", EITHER, _save({"split": values})
    yield "labels left out", REFUSED, _save({"labels": None})
    yield "images left out", REFUSED, _save({"images": None})
    yield "nothing", REFUSED, _save({"images": None, "labels": None})
    split = np.array(["train", "val", "test"])[np.arange(60) % 3]
    yield "an odd split", REFUSED, _save({"split": np.where(split == "val", "holdout", split)})
    yield "only a test part", REFUSED, _save({"split": np.full(60, "test")})
    parts = {f"{part}_images": IMAGES for part in ("train", "val", "test")}
    for lacking in ("train", "val", "test"):
        labels = {f"{part}_labels": LABELS for part in ("train", "val", "test") if part != lacking}
        yield f"no {lacking}_labels", EITHER, _save({"images": None, "labels": None, **parts, **labels})
    small = {**parts, "val_images": IMAGES[:, :8]}
    yield "parts of two shapes", REFUSED, _save({"images": None, "labels": None, **small})


def _npy(shape: object, kind: str = "'|u1'", order: str = "False", body: bytes = b"\0" * 64) -> bytes:
    header = f"{{'descr': {kind}, 'fortran_order': {order}, 'shape': {shape}, }}\n".encode("latin-1", "replace")
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + body


def _headers() -> Made:
    """Members whose .npy header lies or is none."""
    whole = _npy("(60, 16, 16)", body=IMAGES.tobytes())
    heads = {
        "no array": b"hello", "empty": b"", "magic only": b"\x93NUMPY", "half a header": whole[:40],
        "half its data": whole[:9000],
        "more data": whole + b"\0" * 99, "10^12 values": _npy("(1000000, 1000, 1000)"),
        "10^30 values": _npy("(" + "1" + "0" * 30 + ",)"),
        "minus": _npy("(-60, 16, 16)"), "shape None": _npy("None"), "shape text": _npy("'abc'"),
        "shape float": _npy("(60.0, 16, 16)"),
        "shape true": _npy("(True, 16, 16)"), "no bracket": _npy("(60, 16"), "deep": _npy("(" * 3000),
        "indented": _npy("\n    (1,)\n  x"),
        "type none": _npy("(60, 16, 16)", "None"), "type odd": _npy("(60, 16, 16)", "'qq'"),
        "type list": _npy("(60,)", "[('a', 'u1')]"),
        "type object": _npy("(60,)", "'|O'", body=b"\x80\x04N."), "order text": _npy("(60, 16, 16)", order="'no'"),
        "nulls": _npy("(60, 16, 16)\0\0"), "version 9": b"\x93NUMPY\x09\x00" + whole[8:], "bytes": _npy("\xff\xfe"),
        "code": _npy("(__import__('os').system('touch RAN-CODE'),)"), "twice": whole[:20] + whole,
        "long header": _npy("(1,)" + " " * 60000),
    }  # fmt: skip
    for name, member in heads.items():
        expect = EITHER if name in ("more data", "order text") else REFUSED
        yield f"header: {name}", expect, lambda here, m=member: _zip(here, {"images.npy": m, "labels.npy": _labels()})
        if name in ("no array", "deep", "10^30 values", "minus"):
            yield (
                f"labels' header: {name}",
                REFUSED,
                lambda here, m=member: _zip(here, {"images.npy": whole, "labels.npy": m}),
            )
            yield f"alone: {name}", REFUSED, lambda here, m=member: (here / PATH).write_bytes(m)


def _labels() -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, LABELS)
    return buffer.getvalue()


def _zip(here: Path, members: dict[str, bytes], kind: int = zipfile.ZIP_DEFLATED) -> None:
    with zipfile.ZipFile(here / PATH, "w", kind) as archive:
        for name, member in members.items():
            archive.writestr(name, member)


def _archives(seed: int) -> Made:
    """Archives that are damaged, locked, of other kinds, or say a thing twice."""
    whole = {"images.npy": _npy("(60, 16, 16)", body=IMAGES.tobytes()), "labels.npy": _labels()}
    for name, kind in (("stored", 0), ("deflate", 8), ("bzip2", 12), ("lzma", 14)):
        yield f"packed by {name}", EITHER, lambda here, k=kind: _zip(here, whole, k)
        for at in range(3):
            yield f"{name}, damaged {at}", EITHER, lambda here, k=kind, s=at: _damaged(here, whole, k, seed + s)
    for part in (0, 1, 3, 4, 10, 22, 50, 90, 99):
        yield f"the first {part} %", REFUSED, lambda here, p=part: _cut(here, p)
    yield "encrypted", REFUSED, lambda here: _flag(here, whole, 6, 8, 1)
    yield "unknown packing", REFUSED, lambda here: _flag(here, whole, 8, 10, 77)
    yield "no npy", REFUSED, lambda here: _zip(here, {"a.txt": b"x", "images": b"y"})
    yield "an empty archive", REFUSED, lambda here: _zip(here, {})
    yield "a member that leads out", EITHER, lambda here: _zip(here, {**whole, "../../out.npy": _labels()})
    yield (
        "a pickle",
        REFUSED,
        lambda here: (here / PATH).write_bytes(b"\x80\x04cposix\nsystem\n(S'touch RAN-CODE'\ntR."),
    )
    yield "a picture", REFUSED, lambda here: (here / PATH).write_bytes(b"\x89PNG\r\n\x1a\n" + b"\0" * 99)


def _twofold() -> Iterator[tuple[str, Callable[[Path], object], tuple[str, ...]]]:
    """Archives that say a thing twice, which may be refused or taken with a word about it."""
    whole = {"images.npy": _npy("(60, 16, 16)", body=IMAGES.tobytes()), "labels.npy": _labels()}
    yield "members twice", lambda here: _twice(here, whole), ("twice", "labels")
    finer = {"groups": np.arange(60), "patients": np.arange(60) // 4}
    yield "patients and groups", _save(finer), ("groups",)
    yield "images and train_images", _save({"train_images": IMAGES, "train_labels": LABELS}), ("images",)


def _damaged(here: Path, members: dict[str, bytes], kind: int, seed: int) -> None:
    _zip(here, members, kind)
    data, rng = bytearray((here / PATH).read_bytes()), random.Random(seed)
    for _ in range(12):
        data[rng.randrange(60, len(data) - 200)] ^= 1 << rng.randrange(8)
    (here / PATH).write_bytes(data)


def _cut(here: Path, part: int) -> None:
    good_npz(here)
    data = (here / PATH).read_bytes()
    (here / PATH).write_bytes(data[: len(data) * part // 100])


def _flag(here: Path, members: dict[str, bytes], local: int, central: int, value: int) -> None:
    _zip(here, members)
    data = bytearray((here / PATH).read_bytes())
    for magic, place in ((b"PK\x03\x04", local), (b"PK\x01\x02", central)):
        at = data.find(magic)
        while at >= 0:
            data[at + place : at + place + 2] = struct.pack("<H", value)
            at = data.find(magic, at + 4)
    (here / PATH).write_bytes(data)


def _twice(here: Path, members: dict[str, bytes]) -> None:
    import warnings

    with warnings.catch_warnings(), zipfile.ZipFile(here / PATH, "w") as archive:
        warnings.simplefilter("ignore")
        for name, member in [*members.items(), ("labels.npy", _npy("(60,)", body=b"\1\0\0" * 20))]:
            archive.writestr(name, member)


def _names() -> Made:
    for name in (
        "a b.npz",
        "-x.npz",
        "ä.npz",
        "x.NPZ",
        "sample:x.npz",
        "\udce4.npz",
        "a\nb.npz",
        "a\x7fb.npz",
        "a\x1b[31m.npz",
    ):
        yield f"a file called {name!a}", EITHER, lambda here, n=name: _called(here, n)


def _called(here: Path, name: str) -> None:
    good_npz(here)
    os.rename(here / PATH, here / name)
    (here / PATH).symlink_to(name)
