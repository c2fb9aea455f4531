"""Wrong calls of the Python interface: every keyword of search with odd values, odd data, odd data sets."""

import itertools
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import torch

from studies.attack.acts import call, good_npz, textures
from studies.attack.case import EITHER, FINE, REFUSED, Case

ODD: dict[str, Any] = {
    "None": None, "True": True, "False": False, "-1": -1, "0": 0, "3": 3, "1.5": 1.5, "20.5": 20.5,
    "nan": float("nan"), "inf": float("inf"), "1e30": 1e30, "10**30": 10**30, "''": "",
    "'x'": "x", "'²'": "²", "long": "x" * 300, "nul": "\0", "newline": "a\nb", "bytes": b"x", "surrogate": "\udce4",
    "[]": [], "[1]": [1], "['a']": ["a"], "{}": {}, "set": {1},
    "tuple": (), "object": object(), "type": int, "lambda": len, "int64": np.int64(20), "float32": np.float32(2.5),
    "array": np.arange(3), "zero-d": np.array(3), "Path": Path("gone"),
    "timedelta": timedelta(minutes=5), "device": torch.device("cpu"), "dtype": torch.float32,
    "Tensor": torch.tensor(3), "Decimal": Decimal("2.5"), "Fraction": Fraction(5, 2),
    "complex": 1 + 2j, "range": range(3), "Ellipsis": ..., "NaT": np.datetime64("NaT"), "np.str_": np.str_("auto"),
    "np.bool_": np.bool_(True),
}  # fmt: skip
TEXTS = ("task", "metric", "adaptation", "start", "modality", "executor", "device", "precision", "backbone", "methods")
WHOLE = ("max_labels", "max_candidates", "image_size", "workers", "seed")
PATHS = ("out", "weights", "space", "plan", "unlabeled", "labels", "label_column", "patient_column", "storage")
QUICK: dict[str, Any] = {
    "time_limit": None,
    "max_candidates": 1,
    "backbone": "test_resnet",
    "adaptation": "frozen",
    "weights": "none",
    "out": "out",
}
PLAIN = {"None", "''"}  # which may mean the default
WRITES = ("out", "runs", "x", "²", "a\nb", "x" * 300, "gone", "\udce4", "auto", "cpu", "copy", "run")


def cases(seed: int) -> Sequence[Case]:
    """Keywords with odd values, arrays and labels, torch data sets."""
    return [*_keywords(seed), *_arrays(), *_labels(), *_datasets()]


def search(data: Any = "x.npz", **more: Any) -> Callable[[], None]:
    import autossl

    return call(lambda: autossl.search(data, **{**QUICK, **more}))


def _keywords(seed: int) -> Iterator[Case]:
    for at, (key, (name, value)) in enumerate(itertools.product((*TEXTS, *WHOLE, *PATHS, "time_limit"), ODD.items())):
        if (at + at // len(ODD) + seed) % 4 == 0:  # each keyword meets another quarter than its neighbour
            yield Case(f"{key}={name}", search(**{key: value}), good_npz, _expected(key, name, value), writes=WRITES)
    welcome: dict[str, Any] = {
        "max_labels": np.int64(20), "seed": np.int32(7), "image_size": np.int64(16), "workers": np.int64(1),
        "time_limit": timedelta(hours=1),
        "device": torch.device("cpu"), "space": "default", "methods": ["simclr"], "out": Path("out"),
        "max_candidates": np.uint8(1),
    }  # fmt: skip
    for key, value in welcome.items():
        yield Case(f"welcome: {key}={value!r:.20}", search(**{key: value}), good_npz, FINE)
    for number in (1, 30, 10**6):
        yield Case(f"{number} positional values", call(lambda n=number: _positional(n)), good_npz, EITHER)


def _positional(number: int) -> None:
    import autossl

    autossl.search("x.npz", time_limit=f"{number}s", **{k: v for k, v in QUICK.items() if k != "time_limit"})


def _expected(key: str, name: str, value: Any) -> str:
    """What is clearly nonsense must be refused."""
    if name in (*PLAIN, "np.str_") or (name == "device" and key == "device") or (name == "Path" and key in PATHS):
        return EITHER
    if key in TEXTS:
        return EITHER if name in ("[]", "tuple", "set", "'x'", "range") else REFUSED
    if key in WHOLE:
        small = isinstance(value, int | np.integer) and not isinstance(value, bool) and 0 <= value <= 10**6
        return EITHER if small or name in ("zero-d", "Tensor", "1e30", "10**30", "inf") else REFUSED
    if key == "time_limit":
        return (
            EITHER
            if isinstance(value, int | float | timedelta | np.number | Decimal | Fraction) or name == "zero-d"
            else REFUSED
        )
    return EITHER if isinstance(value, str) or key in ("unlabeled", "labels") else REFUSED


def _arrays() -> Iterator[Case]:
    """Images of all kinds with good labels."""
    images, labels = textures()
    rng = np.random.default_rng(0)
    wide = torch.from_numpy(images.copy())
    odd: dict[str, Any] = {
        "a list": images.tolist(), "a tensor": wide, "bfloat16": wide.to(torch.bfloat16),
        "sparse": (wide > 200).float().to_sparse(), "with gradient": torch.rand(60, 16, 16, requires_grad=True),
        "objects": images.astype(object), "ragged": np.array([images[0], images[1][:4]] * 30, dtype=object),
        "text": images.astype(str), "complex": images.astype(complex),
        "float": images / 255.0, "half": (images / 255.0).astype(np.float16), "negative": images.astype(int) - 128,
        "nan": np.full((60, 16, 16), np.nan), "empty": images[:0],
        "one": images[:1], "flat": images.reshape(60, -1), "masked": np.ma.masked_array(images, images > 200),
        "matrix": np.asmatrix(images[0]), "read only": np.broadcast_to(images[:1], (60, 16, 16)),
        "fortran": np.asfortranarray(images), "reversed": images[::-1, ::-1, ::-1],
        "big endian": images.astype(">u2"), "memory map": "map", "five axes": images[..., None, None],
        "channels first": rng.integers(0, 256, (60, 3, 16, 16)).astype(np.uint8),
        "records": np.zeros(60, [("x", "u1", (16, 16))]), "a generator": (i for i in images),
        "a dict": {"images": images},
        "a string": "x", "None": None, "a number": 3, "bytes": b"x.npz", "a set": {1, 2}, "a Path": Path("x.npz"),
        "a type": np.ndarray, "a function": len,
    }  # fmt: skip
    for name, value in odd.items():
        fine = name in ("reversed", "fortran", "a Path", "big endian")
        given = {} if name in ("a Path", "a string", "None", "bytes", "a type") else {"labels": labels}
        yield Case(f"images: {name}", search(value, **given), good_npz, FINE if fine else EITHER)


def _labels() -> Iterator[Case]:
    """Labels of all kinds for good images."""
    images, labels = textures()
    odd: dict[str, Any] = {
        "a list": labels.tolist(), "a tuple": tuple(labels), "text": ["ab"[i] for i in labels],
        "bytes": [b"ab"[i : i + 1] for i in labels], "None": [None] * 60, "half None": [None, 1] * 30,
        "nan": [float("nan")] * 60,
        "lists": [[1], [0]] * 30, "dicts": [{}, {}] * 30, "objects": [object()] * 60, "too few": labels[:-1],
        "one": labels[:1], "a number": 1, "a string": "labels.csv", "a generator": (i for i in labels),
        "a tensor": torch.from_numpy(labels), "bools": labels > 0, "floats": labels + 0.5,
        "one hot": np.eye(2)[labels], "a dict": dict(enumerate(labels)), "a set": set(labels),
        "complex": labels + 1j,
        "dates": labels.astype("M8[D]"), "mixed": [1, "1", 1.0] * 20, "huge": [10**400, 1] * 30,
        "tensors": [torch.tensor(i) for i in labels], "arrays": [np.array([i, i]) for i in labels],
        "surrogates": ["\ud800", "b"] * 30,
        "masked": np.ma.masked_array(labels, labels > 0), "strings of nothing": [""] * 60, "negative": -labels,
        "True": True,
    }  # fmt: skip
    for name, value in odd.items():
        yield Case(f"labels: {name}", search(images, labels=value), expect=EITHER)


class Items:
    """A map-style data set whose items and length are what it is told."""

    def __init__(self, item: Callable[[int], Any], length: Callable[[], Any] = lambda: 60) -> None:
        self.item, self.length = item, length

    def __getitem__(self, row: int) -> Any:
        return self.item(row)

    def __len__(self) -> Any:
        return self.length()


def _raising(kind: type[BaseException], at: int) -> Callable[[int], Any]:
    images, labels = textures()

    def item(row: int) -> Any:
        if row >= at:
            raise kind("of the user's own")
        return images[row], int(labels[row])

    return item


def _datasets() -> Iterator[Case]:
    images, labels = textures()
    items: dict[str, Callable[[int], Any]] = {
        "pairs": lambda i: (images[i], labels[i]), "None label": lambda i: (images[i], None),
        "dict label": lambda i: (images[i], {"y": 1}), "object label": lambda i: (images[i], object()),
        "list label": lambda i: (images[i], [1, 0]),
        "text label": lambda i: (images[i], "ab"[labels[i]]),
        "tensor label": lambda i: (images[i], torch.tensor(labels[i])),
        "nan label": lambda i: (images[i], float("nan")), "a dict": lambda i: {"image": images[i], "label": 1},
        "None": lambda i: None,
        "a string": lambda i: "0.png", "empty tuple": lambda i: (), "one": lambda i: (images[i],),
        "three": lambda i: (images[i], labels[i], i), "text images": lambda i: ("0.png", 1),
        "ragged": lambda i: (images[i][: 8 + i % 8], int(labels[i])),
        "None image": lambda i: (None, int(labels[i])),
        "bfloat16": lambda i: (torch.from_numpy(images[i]).bfloat16(), int(labels[i])),
        "sparse": lambda i: (torch.from_numpy(images[i]).to_sparse(), int(labels[i])),
        "gradient": lambda i: (torch.rand(16, 16, requires_grad=True), int(labels[i])),
        "negative": lambda i: (images[i].astype(int) - 300, int(labels[i])),
        "nan": lambda i: (np.full((16, 16), np.nan), int(labels[i])),
        "lists": lambda i: (images[i].tolist(), int(labels[i])),
        "ragged lists": lambda i: ([[1], [1, 2]], int(labels[i])),
        "two types": lambda i: (images[i] / (255.0 if i % 2 else 1), int(labels[i])),
        "five axes": lambda i: (images[i][None, None, None], int(labels[i])),
        "empty image": lambda i: (images[i][:0], int(labels[i])), "a number": lambda i: i,
        "complex": lambda i: (images[i] + 1j, int(labels[i])),
        "objects": lambda i: (images[i].astype(object), int(labels[i])),
    }  # fmt: skip
    for name, item in items.items():
        yield Case(
            f"data set: {name}",
            search(Items(item)),
            expect=FINE if name in ("pairs", "text label", "tensor label") else EITHER,
        )
    kinds: tuple[type[BaseException], ...] = (
        RuntimeError,
        OSError,
        ValueError,
        KeyError,
        IndexError,
        TypeError,
        AttributeError,
        ZeroDivisionError,
        MemoryError,
        StopIteration,
        NotImplementedError,
        AssertionError,
        FileNotFoundError,
        UnicodeDecodeError if False else LookupError,
    )
    for kind, at in itertools.product(kinds, (0, 31)):
        yield Case(f"data set raises {kind.__name__} at {at}", search(Items(_raising(kind, at))), expect=REFUSED)
    lengths: dict[str, Callable[[], Any]] = {
        "0": lambda: 0,
        "raises": lambda: 1 // 0,
        "text": lambda: "60",
        "negative": lambda: -1,
        "huge": lambda: 2**62,
        "too many": lambda: 61,
    }
    for name, length in lengths.items():
        yield Case(
            f"data set of length {name}", search(Items(lambda i: (images[i], int(labels[i])), length)), expect=REFUSED
        )
