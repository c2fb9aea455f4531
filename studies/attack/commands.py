"""Bad input, fifth part: the commands beside search, given odd studies, encoders, paths and numbers."""

import itertools
import os
import random
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from studies.attack.acts import command, good_npz
from studies.attack.case import EITHER, ENDED, PLANNED, REFUSED, Case
from studies.attack.study import STUDY, prepare

__all__ = ["cases", "prepare"]
PLACES = (
    "",
    ".",
    "/",
    "/dev/null",
    "/dev/null/x",
    "/proc/x",
    "gone",
    "a" * 300,
    "b/" * 1500,
    "\udce4",
    "\x1b[31m",
    "a\nb",
    "x.npz",
    "fifo",
    "closed",
)
READERS: dict[str, tuple[str, ...]] = {
    "status": (), "leaderboard": (), "report": (), "resume": ("--quiet",), "stop": (), "evaluate": (),
    "export": ("copy",),
    "train": ("-o", "enc", "--time-limit", "5s"), "embed": ("x.npz", "-o", "z.npy"), "dashboard": ("--port", "1"),
}  # fmt: skip
WRITES = ("run", "copy", "enc", "z.npy", "s.html", "views.png", "out")


def cases(seed: int) -> Sequence[Case]:
    """Odd places for every command, odd options, and studies of which a file is damaged."""
    return [*_places(), *_options(), *_damaged(seed), *_others()]


def files(here: Path) -> None:
    good_npz(here)
    os.mkfifo(here / "fifo")
    (here / "closed").mkdir(mode=0)


def with_study(change: Callable[[Path], object]) -> Callable[[Path], None]:
    """A copy of the finished study in run/, changed."""

    def make(here: Path) -> None:
        good_npz(here)
        shutil.copytree(STUDY.folder, here / "run")
        (here / "run" / "autossl.log").write_text("")
        change(here / "run")

    return make


def _places() -> Iterator[Case]:
    """A RUN, a DATA or an OUTPUT that is none."""
    for (name, more), place in itertools.product(READERS.items(), PLACES):
        yield Case(f"{name} {place[:12]!a}", command(name, place, *more), files, REFUSED, plain=True)
    whole = with_study(lambda run: files(run.parent))
    for place in PLACES:
        for name, args in (
            ("report to", ("report", "run", "-o", place)),
            ("embed to", ("embed", "run", "x.npz", "-o", place)),
            ("embed of", ("embed", "run", place, "-o", "z.npy")),
            ("export to", ("export", "run", place)),
            ("evaluate on", ("evaluate", "run", "--data", place)),
            ("views to", ("inspect", "x.npz", "--views", "--out", place)),
            ("train to", ("train", "run", "--time-limit", "5s", "-o", place)),
        ):
            if place == "/" and name in ("embed of", "evaluate on"):
                continue  # the images of a whole machine are no mistake that can be told at once
            free = (
                *WRITES,
                ".npy",
                *(p for p in PLACES if p and "/" not in p and p not in ("x.npz", ".")),
                *(f"{p}.npy" for p in PLACES),
            )
            yield Case(f"{name} {place[:12]!a}", command(*args), whole, writes=(*free, "b"), plain=True, until=ENDED)


def _options() -> Iterator[Case]:
    """Options of the other commands."""
    whole = with_study(lambda run: None)
    odd = ("", "-1", "²", "1e9", "nan", "99", "a" * 300, "\x1b[31m")
    options = {
        "resume": "--time-limit", "train": "--candidate", "train ": "--time-limit", "export": "--candidate",
        "dashboard": "--port",
        "evaluate": "--labels", "evaluate ": "--label-column", "inspect": "--task", "inspect ": "--modality",
    }  # fmt: skip
    for (name, option), word in itertools.product(options.items(), odd):
        if word == "99" and name != "evaluate" and option in ("--time-limit", "--port"):
            continue  # what is asked for can be done, for 99 seconds or until it is ended
        if name == "resume" and word == "1e9":
            continue
        first = "x.npz" if name.strip() == "inspect" else "run"
        more = READERS.get(name.strip(), ("--views",))
        yield Case(
            f"{name.strip()} {option} {word[:9]!a}",
            command(name.strip(), first, *more, option, word),
            whole,
            writes=WRITES,
            until=PLANNED if name == "resume" else ENDED,
        )


def _damaged(seed: int) -> Iterator[Case]:
    """A study of which one file is cut, emptied, replaced, noise or gone."""
    names = (
        "config.toml", "data.json", "state.json", "clock.json", "study.journal", "encoder/config.json",
        "encoder/model.safetensors", "model/config.json", "cache/data.npz", "cache/images.npy", "cache/images.npz",
        "artifacts/test.npz", "autossl.log", "lock",
    )  # fmt: skip
    for at, (name, (how, spoil)) in enumerate(itertools.product(names, SPOILS.items())):
        if (at + at // len(SPOILS)) % 2:
            continue
        readers = ("status", "resume", "embed") if name.startswith(("c", "s", "e")) else ("report", "evaluate")
        for reader in readers:
            if reader == "embed" and not name.startswith("enc"):
                continue
            make = with_study(lambda run, n=name, s=spoil, r=seed: s(run / n, random.Random(r)))
            end = PLANNED if reader == "resume" else ENDED
            act = command(reader, "run", *READERS[reader])
            yield Case(f"{reader}, {name} {how}", act, make, writes=WRITES, until=end, codes=(0, 2, 3), seconds=60)


def _cut(path: Path, _: random.Random) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])


def _noise(path: Path, rng: random.Random) -> None:
    data = bytearray(path.read_bytes())
    for _ in range(8):
        if data:
            data[rng.randrange(len(data))] = rng.randrange(256)
    path.write_bytes(data)


def _gone(path: Path, _: random.Random) -> None:
    path.unlink()


def _put(data: bytes) -> Callable[[Path, random.Random], None]:
    def put(path: Path, _: random.Random) -> None:
        path.write_bytes(data)

    return put


def _folder(path: Path, _: random.Random) -> None:
    path.unlink()
    path.mkdir()


def _fifo(path: Path, _: random.Random) -> None:
    path.unlink()
    os.mkfifo(path)


SPOILS = {
    "cut": _cut, "noisy": _noise, "gone": _gone, "empty": _put(b""), "of nothing": _put(b"{}"),
    "a list": _put(b"[]"), "null": _put(b"null\n"),
    "of bytes": _put(bytes(range(256))), "a folder": _folder, "a fifo": _fifo,
}  # fmt: skip


def _others() -> Iterator[Case]:
    """Words that are no commands, and lists."""
    for args in (
        (),
        ("",),
        ("serach",),
        ("list",),
        ("list", "everything"),
        ("doctor", "x"),
        ("status",),
        ("embed", "a"),
        ("--task",),
        ("\udce4",),
    ):
        yield Case(f"autossl {args!a}", command(*args), expect=EITHER)
    for data in (
        "sample:",
        "sample:x",
        "medmnist:",
        "medmnist:x",
        "medmnist:../x",
        "http://127.0.0.1:9/x.npz",
        "s3://a/b",
        "x.dcm",
        "x.zip",
    ):
        yield Case(f"inspect {data}", command("inspect", data), lambda here: (here / "x.dcm").touch(), REFUSED)
