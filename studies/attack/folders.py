"""Bad input, third part: class folders, the files in them, and tables beside them."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from studies.attack.acts import Make, command, search, textures
from studies.attack.case import EITHER, FINE, REFUSED, Case
from studies.attack.formats import bomb
from studies.attack.tables import Made, pictures, rows, write


def cases(_: int) -> Sequence[Case]:
    """Searches and inspections of folders that are not as they should be."""
    found = []
    for at, (name, expect, make) in enumerate([*_folders(), *_files_inside()]):
        found.append(Case(f"folder: {name}", search("d"), make, expect))
        if at % 2 == 0:
            found.append(Case(f"folder: {name}, inspect", command("inspect", "d"), make))
    return [*found, *_closed(), *_beside()]


def classes(here: Path, *names: str, n: int = 30) -> None:
    """Class folders with images."""
    for at, name in enumerate(names):
        root = here / "d" / name
        root.mkdir(parents=True)
        for row, image in enumerate(textures(n * len(names), classes=len(names))[0][at :: len(names)]):
            Image.fromarray(image).save(root / f"{row}.png")


def _folders() -> Made:
    """Class folders of all numbers, names and depths."""
    yield "none", REFUSED, lambda here: (here / "d").mkdir()
    yield "one", REFUSED, lambda here: classes(here, "a")
    yield "two", FINE, lambda here: classes(here, "a", "b")
    for name in ("\udce4", "\x7f", "a\nb", "a\x1b[31m", "ä", "🩻", "-", "--help", "a,b", "<script>", "a" * 255, "train",
                 "test", "0", "1.0", "1.5", "a b ", '"', "'", "\\", "__class__", "inf", "1e400"):  # fmt: skip
        yield f"a class called {name[:30]!a}", EITHER, lambda here, n=name: classes(here, n, "b")
    yield "an empty one", EITHER, lambda here: (classes(here, "a", "b"), (here / "d" / "c").mkdir())
    yield "a file beside", EITHER, lambda here: (classes(here, "a", "b"), (here / "d" / "notes.txt").write_text("x"))
    yield "loose images", REFUSED, lambda here: pictures(here / "d")
    yield (
        "text only",
        REFUSED,
        lambda here: ((here / "d" / "a").mkdir(parents=True), (here / "d" / "a" / "t.txt").write_text("x")),
    )
    yield "train only", EITHER, lambda here: classes(here, "train/a", "train/b")
    yield "train and test", EITHER, lambda here: classes(here, "train/a", "train/b", "test/a", "test/b")
    yield (
        "train and loose test",
        REFUSED,
        lambda here: (classes(here, "train/a", "train/b"), pictures(here / "d" / "test")),
    )
    yield "a class in test only", EITHER, lambda here: classes(here, "train/a", "train/b", "test/a", "test/c")
    yield (
        "a link in a circle",
        EITHER,
        lambda here: (classes(here, "a", "b"), (here / "d" / "a" / "up").symlink_to("..")),
    )
    yield (
        "a link in a circle of classes",
        EITHER,
        lambda here: (classes(here, "a", "b"), (here / "d" / "c").symlink_to(".")),
    )
    yield "a link to nothing", EITHER, lambda here: (classes(here, "a", "b"), (here / "d" / "c").symlink_to("gone"))
    yield "deep folders", EITHER, lambda here: classes(here, "/".join(["a"] * 60), "/".join(["b"] * 60))
    yield "one image each", REFUSED, lambda here: classes(here, "a", "b", n=1)
    yield "two images each", REFUSED, lambda here: classes(here, "a", "b", n=2)
    yield "101 classes of one", REFUSED, lambda here: classes(here, *map(str, range(101)), n=1)


def _files_inside() -> Made:
    """One file of a class that is no image."""
    bad: dict[str, Make] = {
        "a fifo": lambda path: os.mkfifo(path), "a folder": lambda path: path.mkdir(),
        "a broken link": lambda path: path.symlink_to("gone"),
        "/dev/zero": lambda path: path.symlink_to("/dev/zero"),
        "/dev/null": lambda path: path.symlink_to("/dev/null"),
        "empty": lambda path: path.touch(), "text": lambda path: path.write_text("x" * 99),
        "a link to itself": lambda path: path.symlink_to(path.name),
        "half": lambda path: path.write_bytes((path.parent / "0.png").read_bytes()[:150]),
        "a bomb": lambda path: path.write_bytes(bomb()),
        "html": lambda path: path.write_text("<html>login</html>"),
        "1 x 1": lambda path: Image.new("L", (1, 1)).save(path),
        "1 x 60000": lambda path: Image.new("L", (1, 60000)).save(path),
        "colour": lambda path: Image.new("RGB", (16, 16), (1, 2, 3)).save(path),
        "16 bit": lambda path: Image.fromarray(np.arange(256, dtype=np.uint16).reshape(16, 16)).save(path),
    }  # fmt: skip
    for name, spoil in bad.items():
        for suffix in (".png", ".tif", ".nii.gz"):
            if suffix == ".png" or name in ("a fifo", "text", "empty", "/dev/zero", "a folder"):
                yield (
                    f"one file is {name} ({suffix})",
                    EITHER,
                    lambda here, s=spoil, x=suffix: (classes(here, "a", "b"), s(here / "d" / "a" / f"bad{x}")),
                )
        yield (
            f"every file is {name}",
            REFUSED if name not in ("colour", "16 bit") else EITHER,
            lambda here, s=spoil: _all(here, s),
        )
    for name in ("a" * 251 + ".png", "\udce4.png", "a\nb.png", ".png", "-.png", "a\x1b[31m.png", "a.png.png", "A.PNG"):
        yield (
            f"one file is called {name[:30]!a}",
            EITHER,
            lambda here, n=name: (classes(here, "a", "b"), os.rename(here / "d" / "a" / "0.png", here / "d" / "a" / n)),
        )


def _all(here: Path, spoil: Make) -> None:
    pictures(here / "d" / "a", 1)
    for row in range(30):
        for name in "ab":
            (here / "d" / name).mkdir(exist_ok=True, parents=True)
            (here / "d" / name / "0.png").unlink(missing_ok=True)
            Image.fromarray(textures(1)[0][0]).save(here / "d" / name / "0.png")
            spoil(here / "d" / name / f"bad{row}.png")
    for name in "ab":
        (here / "d" / name / "0.png").unlink()


def _closed() -> Iterator[Case]:
    """What may not be read, also by root without its rights."""
    for path, expect in (("d", REFUSED), ("d/a", REFUSED), ("d/a/0.png", EITHER)):
        for data in ("search", "inspect"):
            act = search("d") if data == "search" else command("inspect", "d")
            yield Case(
                f"closed: {path}, {data}",
                act,
                lambda here, p=path: (classes(here, "a", "b", "c"), (here / p).chmod(0)),
                expect,
                plain=True,
            )
    yield Case(
        "closed: the table",
        search("d/m.csv"),
        lambda here: (write(here, rows()), (here / "d" / "m.csv").chmod(0)),
        REFUSED,
        plain=True,
    )
    yield Case("closed: every image", search("d/m.csv"), lambda here: _close_all(here), REFUSED, plain=True)


def _close_all(here: Path) -> None:
    write(here, rows())
    for path in (here / "d").glob("*.png"):
        path.chmod(0)


def _beside() -> Iterator[Case]:
    """A table beside class folders."""
    things: dict[str, Make] = {
        "a broken link": lambda path: path.symlink_to("gone"), "a folder": lambda path: path.mkdir(),
        "a fifo": lambda path: os.mkfifo(path),
        "/dev/zero": lambda path: path.symlink_to("/dev/zero"),
        "closed": lambda path: (path.write_text("image,x\n"), path.chmod(0)),
        "binary": lambda path: path.write_bytes(bytes(range(256))),
        "long": lambda path: path.write_text("x" * 999999),
    }  # fmt: skip
    for name, put in things.items():
        yield Case(
            f"a table beside class folders: {name}",
            search("d"),
            lambda here, p=put: (classes(here, "a", "b"), p(here / "d" / "t.csv")),
            plain=True,
        )
    for name in ("a broken link", "a folder", "a fifo", "closed", "binary"):
        yield Case(
            f"--labels is {name}",
            search("d", "--labels", "t.csv"),
            lambda here, p=things[name]: (pictures(here / "d"), p(here / "t.csv")),
            REFUSED,
            plain=True,
        )
        yield Case(
            f"--unlabeled is {name}",
            search("d", "--unlabeled", "t.csv"),
            lambda here, p=things[name]: (classes(here, "a", "b"), p(here / "t.csv")),
            REFUSED,
            plain=True,
        )
