"""Bad input, fourth part: the options of a search, where it is to write, its weights and its spaces."""

import itertools
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch

from studies.attack.acts import SPACE, Make, good_npz, search
from studies.attack.case import EITHER, ENDED, FINE, NO_CANDIDATE, OK, REFUSED, SCORED, USER, Case

WORDS = (
    "",
    " ",
    "²",
    "１",
    "-1",
    "0",
    "1e9",
    "nan",
    "inf",
    "0x10",
    "9" * 5000,
    "a" * 300,
    "\x1b[31m",
    "a\nb",
    "\udce4",
    "%s",
    "None",
    "auto,auto",
)
NUMBERS = ("--max-labels", "--max-candidates", "--image-size", "--workers", "--seed", "--time-limit")
CHOICES = (
    "--task", "--metric", "--adaptation", "--start", "--methods", "--backbone", "--modality", "--executor",
    "--device", "--precision",
    "--label-column", "--patient-column",
)  # fmt: skip
PATHS = ("--space", "--weights", "--plan", "--labels", "--unlabeled")
SOME = {"--max-labels": "1e9", "--max-candidates": "1e9"}


def cases(_: int) -> Sequence[Case]:
    """Every option with every odd word; places; weights; spaces."""
    return [*_options(), *_places(), *_weights(), *_spaces()]


def _options() -> Iterator[Case]:
    for option, word in itertools.product((*NUMBERS, *CHOICES, *PATHS), WORDS):
        expect = EITHER if option in NUMBERS else REFUSED
        if option == "--methods" and word in ("", " "):
            expect = EITHER
        yield Case(f"{option} {word[:12]!a}", search("x.npz", option, word), good_npz, expect)
    for option in ("--methods", "--backbone", "--device", "--modality"):
        for word in ("simclr,", "simclr,simclr", ",", "resnet18;", "cuda:99", "hf-hub:a/b", "local-dir:x",
                     "timm/resnet18.a1_in1k", "hf_hub:a/b", "../x", "__class__", "vit_giant_patch14_224"):  # fmt: skip
            yield Case(f"{option} {word}", search("x.npz", option, word), good_npz, EITHER)
    yield Case("twice the same option", search("x.npz", "--seed", "1", "--seed", "2"), good_npz, FINE)
    yield Case("an option that is none", search("x.npz", "--sed", "1"), good_npz, REFUSED)
    yield Case("two data", search("x.npz", "y.npz"), good_npz, REFUSED)


def _places() -> Iterator[Case]:
    """Where --out leads."""
    odd = ["", ".", "..", "/", "/dev/null", "/dev/null/x", "/proc/x", "/sys/x", "a" * 300, "b/" * 1500 + "c",
           "\x1b[31m",
           "\udce4", "a\nb", "\x7f", "x.npz", "x.npz/out", "-", "~", "$HOME", "full", "gone", "fifo", "closed",
           "closed/out", "lock", "link"]  # fmt: skip
    writes = ("out", "runs", "gone", "\x1b[31m", "\udce4", "a\nb", "\x7f", "-", "~", "$HOME", "link", "b", "nowhere")
    for place in odd:
        yield Case(f"--out {place[:20]!a}", search("x.npz", out=place), _place, writes=writes, plain=True)


def _place(here: Path) -> None:
    """A full folder, a link to nothing, a fifo, a closed folder, a folder whose lock is a folder."""
    good_npz(here)
    (here / "full").mkdir()
    (here / "full" / "thesis.txt").write_text("mine")
    (here / "link").symlink_to("nowhere")
    os.mkfifo(here / "fifo")
    (here / "lock" / "lock").mkdir(parents=True)
    (here / "closed").mkdir(mode=0o500)


def _weights() -> Iterator[Case]:
    for name, make in _weight_files().items():
        expect = REFUSED if name != "of another network" else EITHER
        yield Case(f"weights: {name}", search("x.npz", "--weights", "w.pt"), make, expect, plain=True)
        if name in ("empty", "text", "a pickle", "half"):
            yield Case(f"safetensors: {name}", search("x.npz", "--weights", "w.safetensors"), _also(make), expect)


def _also(make: Make) -> Make:
    def made(here: Path) -> None:
        make(here)
        os.rename(here / "w.pt", here / "w.safetensors")

    return made


class Runs:
    """Makes a marker where it is unpickled by something that runs code."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("touch RAN-CODE",)


def _weight_files() -> dict[str, Make]:
    def saved(value: object) -> Make:
        return lambda here: (good_npz(here), torch.save(value, here / "w.pt"))

    def raw(data: bytes) -> Make:
        return lambda here: (good_npz(here), (here / "w.pt").write_bytes(data))

    def special(put: Make) -> Make:
        return lambda here: (good_npz(here), put(here / "w.pt"))

    return {
        "a pickle": saved(Runs()), "a pickle in a state": saved({"state_dict": Runs()}), "a list": saved([1, 2]),
        "a number": saved(3), "none": saved(None),
        "an empty state": saved({}), "of another network": saved({"fc.weight": torch.zeros(3, 3)}),
        "keys are numbers": saved({1: torch.zeros(3)}),
        "nan": saved({"conv.weight": torch.full((3, 3), torch.nan)}),
        "sparse": saved({"conv.weight": torch.zeros(3, 3).to_sparse()}),
        "empty": raw(b""), "text": raw(b"hello"), "half": raw(b"PK\x03\x04" + bytes(99)),
        "raw pickle": raw(b"cposix\nsystem\n(S'touch RAN-CODE'\ntR."),
        "long header": raw(b"\xff" * 7 + b"\x3f" + b"{}"),
        "a header of 2^62": raw((1 << 62).to_bytes(8, "little") + b"{}"),
        "a folder": special(lambda path: path.mkdir()), "a fifo": special(os.mkfifo),
        "/dev/zero": special(lambda path: path.symlink_to("/dev/zero")),
        "closed": special(lambda path: (path.touch(), path.chmod(0))),
        "a broken link": special(lambda path: path.symlink_to("gone")),
    }  # fmt: skip


VALUES = (
    "-1", "0", "1e400", "nan", "inf", "-inf", "true", "'abc'", "''", "[]", "[true]", "['a']", "[1, 'a']", "{}",
    "{ low = 1 }", "{ low = 1, high = inf }",
    "{ low = nan, high = 1 }", "{ low = 2, high = 1 }", "{ low = 0, high = 1, log = true }",
    "{ low = 'a', high = 'b' }", "{ low = 1, high = 2, step = 0 }",
    "{ low = 1, high = 2, log = 'yes' }", "1979-05-27", "99999999999999999999", "2.5",
)  # fmt: skip


def _spaces() -> Iterator[Case]:
    """Search spaces whose values, keys, tables or text are odd; those that are taken must score."""
    for key, value in itertools.product(("lr", "temperature", "batch_size", "jitter", "width"), VALUES):
        text = f"[simclr]\nprior = [{{}}]\n{key} = {value}\n"
        yield _space(f"{key} = {value}", text, EITHER if key != "width" else REFUSED)
    for key, value in itertools.product(("lr", "batch_size", "temperature"), VALUES):
        if "{" not in value:
            yield _space(
                f"prior of {key} = {value}",
                SPACE.replace("lr = 1e-3 }]", f"{key} = {value} }}]"),
                REFUSED if key != "lr" else EITHER,
            )
    texts = {
        "empty": "", "text": "hello", "a number": "a = 1", "no method": "[nothing]\nlr = 1",
        "an empty table": "[simclr]", "an unknown key": "[simclr]\nfoo = 1",
        "prior is no list": "[simclr]\nprior = 1", "prior of numbers": "[simclr]\nprior = [1]",
        "prior out of range": SPACE.replace("temperature = 0.5", "temperature = 50.0"),
        "prior unknown": SPACE.replace("temperature = 0.5", "foo = 0.5"), "two tables": SPACE + "[simclr]\n",
        "nested": "[simclr.a.b]\nlr = 1", "array": "[[simclr]]\nlr = 1e-3",
        "self": "[simclr]\nself = 1", "encoder": "[simclr]\nencoder = 'x'", "dunder": "[__init__]\nlr = 1e-3",
        "no prior": "[simclr]\nlr = { low = 1e-4, high = 1e-2, log = true }",
        "nul": SPACE + "\0", "deep": "a = " + "[" * 3000, "latin-1": "[simclr]\n# ä",
        "two classes": "[hybrid]\nfirst = 'simclr'\nsecond = 'nothing'",
        "hybrid of itself": "[hybrid]\nprior=[{}]\nfirst = 'hybrid'\nsecond = 'simclr'",
        "huge": "[simclr]\nlr = [" + "1e-3," * 5000 + "]",
    }  # fmt: skip
    for name, text in texts.items():
        yield _space(name, text, EITHER)
    yield _space("fine", SPACE, FINE)


def _space(name: str, text: str, expect: str) -> Case:
    def make(here: Path) -> None:
        good_npz(here)
        encoded = text.encode("latin-1") if name == "latin-1" else text.encode()
        (here / "s.toml").write_bytes(encoded)

    end = SCORED if expect != REFUSED else ENDED
    act = search("x.npz", "--space", "s.toml", "--max-candidates", "2")
    return Case(
        f"space: {name}",
        act,
        make,
        expect,
        until=end,
        seconds=90,
        codes=(OK, USER, NO_CANDIDATE) if expect == EITHER else (OK, USER),
    )
