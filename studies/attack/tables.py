"""Bad input, second part: CSV manifests, class folders and the files in them."""

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from studies.attack.acts import Make, command, noted, search, textures
from studies.attack.case import EITHER, FINE, REFUSED, Case
from studies.attack.formats import bomb

N = 60
LONG = "a" * 300
Made = Iterator[tuple[str, str, Make]]


def cases(_: int) -> Sequence[Case]:
    """Searches and inspections of tables and folders that are not as they should be."""
    found = []
    for at, (name, expect, make) in enumerate([*_cells(), *_texts(), *_table_files()]):
        found.append(Case(f"table: {name}", search("d/m.csv"), make, expect))
        if at % 2 == 0:
            found.append(Case(f"table: {name}, inspect", command("inspect", "d/m.csv"), make))
    for at, (name, expect, make) in enumerate([*_folders(), *_files_inside()]):
        found.append(Case(f"folder: {name}", search("d"), make, expect))
        if at % 2 == 0:
            found.append(Case(f"folder: {name}, inspect", command("inspect", "d"), make))
    return [*found, *_closed(), *_beside(), *_missing()]


def pictures(root: Path, n: int = N, suffix: str = ".png") -> list[str]:
    """Images 0 to n in a folder; their names."""
    root.mkdir(parents=True, exist_ok=True)
    names = [f"{row}{suffix}" for row in range(n)]
    for name, image in zip(names, textures(n)[0], strict=True):
        Image.fromarray(image).save(root / name)
    return names


def rows() -> list[list[str]]:
    return [["image", "label", "patient"], *([f"{row}.png", "ab"[row % 2], f"p{row // 2}"] for row in range(N))]


def write(here: Path, table: list[list[str]], separator: str = ",") -> None:
    pictures(here / "d")
    text = "\n".join(separator.join(row) for row in table) + "\n"
    (here / "d" / "m.csv").write_bytes(text.encode("utf-8", "surrogateescape"))


def _with(change: Callable[[list[list[str]]], object]) -> Make:
    def make(here: Path) -> None:
        table = rows()
        change(table)
        write(here, table)

    return make


def _put(row: int, column: int, value: str) -> Make:
    return _with(lambda table: table[row].__setitem__(column, value))


def _column(column: int, value: Callable[[int], str]) -> Make:
    return _with(lambda table: [row.__setitem__(column, value(at)) for at, row in enumerate(table[1:])])


def _cells() -> Made:
    """One odd cell, or a whole odd column."""
    odd = ["", " ", LONG, "x" * 5000, "../../../etc/passwd", "/etc/passwd", "/dev/zero", "/dev/stdin", "/proc/self/mem", ".", "..", "~",
           "http://127.0.0.1:9/x.png", "\\\\host\\x.png", "\0", "\udce4.png", "\x7f.png", "\x1b[31m.png", "*.png", "-1", "d", "0.png/x",
           "🩻.png", "=cmd()", "%s%n", "NUL", "0.png "]  # fmt: skip
    for value in odd:
        yield f"image {value[:40]!a}", EITHER, _put(5, 0, value)
        if value not in (".", "..", "d", "NUL", "-1"):
            yield f"label {value[:40]!a}", EITHER, _column(1, lambda at, v=value: v if at % 2 else "b")  # type: ignore[misc]
            yield f"patient {value[:40]!a}", EITHER, _put(5, 2, value)
    yield "every image absent", REFUSED, _column(0, lambda at: f"none{at}.png")
    yield "every image is the same", REFUSED, _column(0, lambda at: "0.png")
    yield "every image is the table", REFUSED, _column(0, lambda at: "m.csv")
    yield "every image long", REFUSED, _column(0, lambda at: LONG + str(at))
    yield "one label", REFUSED, _column(1, lambda at: "a")
    yield "labels all different", REFUSED, _column(1, str)
    yield "labels are fractions", REFUSED, _column(1, lambda at: f"{at / 7:.3f}")
    yield "no label", REFUSED, _column(1, lambda at: "")
    yield "labels with huge exponents", EITHER, _column(1, lambda at: "1e400" if at % 2 else "2")
    yield "labels infinite", EITHER, _column(1, lambda at: "inf" if at % 2 else "1")
    yield "one patient", REFUSED, _column(2, lambda at: "p")


def _texts() -> Made:
    """Tables whose text is broken, strange or none."""
    whole = "\n".join(",".join(row) for row in rows()) + "\n"
    texts: dict[str, tuple[str, bytes]] = {
        "empty": (REFUSED, b""), "newline": (REFUSED, b"\n"), "header only": (REFUSED, b"image,label\n"), "nulls": (REFUSED, b"\0" * 999),
        "bom": (FINE, b"\xef\xbb\xbf" + whole.encode()), "utf-16": (REFUSED, whole.encode("utf-16")), "latin-1": (REFUSED, whole.replace("a", "ä").encode("latin-1")),
        "crlf": (FINE, whole.replace("\n", "\r\n").encode()), "cr": (EITHER, whole.replace("\n", "\r").encode()), "no last newline": (FINE, whole.strip().encode()),
        "semicolons": (FINE, whole.replace(",", ";").encode()), "tabs": (FINE, whole.replace(",", "\t").encode()), "pipes": (REFUSED, whole.replace(",", "|").encode()),
        "open quote": (REFUSED, whole.replace("9.png", '"9.png').encode()), "open quote at the end": (REFUSED, whole.encode() + b'"a,b\nc,d\n'),
        "quoted newline": (EITHER, whole.replace("9.png", '"9\n.png"').encode()), "a cell of 200,000": (REFUSED, whole.encode() + b"x" * 200000 + b",a,b\n"),
        "short row": (REFUSED, whole.encode() + b"1.png\n"), "long row": (REFUSED, whole.encode() + b"1.png,a,b,c,d\n"),
        "image twice in the header": (REFUSED, whole.replace("patient", "image").encode()), "no column image": (REFUSED, whole.replace("image", "file").encode()),
        "no column label": (REFUSED, whole.replace("label", "klass").encode()), "patient and patient_id": (EITHER, whole.replace("label,patient", "patient_id,patient").encode()),
        "header in capitals": (EITHER, whole.replace("image,label", "Image,Label").encode()), "blank lines": (EITHER, whole.replace("\n", "\n\n").encode()),
        "header twice": (EITHER, (whole + whole).encode()), "rows twice": (EITHER, (whole + whole.partition("\n")[2]).encode()),
        "binary": (REFUSED, bytes(range(256)) * 9), "html": (REFUSED, b"<html><body>Not found</body></html>"), "json": (REFUSED, b'{"image": "0.png"}'),
        "10,000 columns": (EITHER, b"image,label" + b",x" * 9998 + b"\n"), "nul in a cell": (EITHER, whole.replace("9.png", "9\0.png").encode()),
        "escape in the header": (EITHER, whole.replace("patient", "\x1b[31mpatient").encode()), "newline in the header": (EITHER, whole.replace("patient", '"pat\nient"').encode()),
    }  # fmt: skip
    for name, (expect, text) in texts.items():
        yield name, expect, lambda here, t=text: (pictures(here / "d"), (here / "d" / "m.csv").write_bytes(t))
    split = ["train", "val", "test", "holdout", "", "TRAIN", "0", "1", "2", "3", "-1", "nan", "train "]
    for first, second in zip(split, split[3:] + split[:3], strict=True):
        yield f"split {first!r} and {second!r}", EITHER, _with(
            lambda table, a=first, b=second: [row.append(v) for row, v in zip(table, ["split", *[a, b] * 30], strict=True)]  # type: ignore[misc]
        )


def _table_files() -> Made:
    """A path that is no file with text."""
    yield "a folder", REFUSED, lambda here: (here / "d" / "m.csv").mkdir(parents=True)
    yield "a broken link", REFUSED, lambda here: ((here / "d").mkdir(), (here / "d" / "m.csv").symlink_to("gone"))
    yield "a fifo", REFUSED, lambda here: ((here / "d").mkdir(), os.mkfifo(here / "d" / "m.csv"))
    yield "/dev/zero", REFUSED, lambda here: ((here / "d").mkdir(), (here / "d" / "m.csv").symlink_to("/dev/zero"))
    yield "/dev/null", REFUSED, lambda here: ((here / "d").mkdir(), (here / "d" / "m.csv").symlink_to("/dev/null"))
    yield "a link to itself", REFUSED, lambda here: ((here / "d").mkdir(), (here / "d" / "m.csv").symlink_to("m.csv"))


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
    for name in ("\udce4", "\x7f", "a\nb", "a\x1b[31m", "ä", "🩻", "-", "--help", "a,b", "<script>", "a" * 255, "train", "test", "0", "1.0",
                 "1.5", "a b ", '"', "'", "\\", "__class__", "inf", "1e400"):  # fmt: skip
        yield f"a class called {name[:30]!a}", EITHER, lambda here, n=name: classes(here, n, "b")
    yield "an empty one", EITHER, lambda here: (classes(here, "a", "b"), (here / "d" / "c").mkdir())
    yield "a file beside", EITHER, lambda here: (classes(here, "a", "b"), (here / "d" / "notes.txt").write_text("x"))
    yield "loose images", REFUSED, lambda here: pictures(here / "d")
    yield "text only", REFUSED, lambda here: ((here / "d" / "a").mkdir(parents=True), (here / "d" / "a" / "t.txt").write_text("x"))
    yield "train only", EITHER, lambda here: classes(here, "train/a", "train/b")
    yield "train and test", EITHER, lambda here: classes(here, "train/a", "train/b", "test/a", "test/b")
    yield "train and loose test", REFUSED, lambda here: (classes(here, "train/a", "train/b"), pictures(here / "d" / "test"))
    yield "a class in test only", EITHER, lambda here: classes(here, "train/a", "train/b", "test/a", "test/c")
    yield "a link in a circle", EITHER, lambda here: (classes(here, "a", "b"), (here / "d" / "a" / "up").symlink_to(".."))
    yield "a link in a circle of classes", EITHER, lambda here: (classes(here, "a", "b"), (here / "d" / "c").symlink_to("."))
    yield "a link to nothing", EITHER, lambda here: (classes(here, "a", "b"), (here / "d" / "c").symlink_to("gone"))
    yield "deep folders", EITHER, lambda here: classes(here, "/".join(["a"] * 60), "/".join(["b"] * 60))
    yield "one image each", REFUSED, lambda here: classes(here, "a", "b", n=1)
    yield "two images each", REFUSED, lambda here: classes(here, "a", "b", n=2)
    yield "101 classes of one", REFUSED, lambda here: classes(here, *map(str, range(101)), n=1)


def _files_inside() -> Made:
    """One file of a class that is no image."""
    bad: dict[str, Make] = {
        "a fifo": lambda path: os.mkfifo(path), "a folder": lambda path: path.mkdir(), "a broken link": lambda path: path.symlink_to("gone"),
        "/dev/zero": lambda path: path.symlink_to("/dev/zero"), "/dev/null": lambda path: path.symlink_to("/dev/null"),
        "empty": lambda path: path.touch(), "text": lambda path: path.write_text("x" * 99) and None, "a link to itself": lambda path: path.symlink_to(path.name),
        "half": lambda path: path.write_bytes((path.parent / "0.png").read_bytes()[:150]) and None, "a bomb": lambda path: path.write_bytes(bomb()) and None,
        "html": lambda path: path.write_text("<html>login</html>") and None, "1 x 1": lambda path: Image.new("L", (1, 1)).save(path),
        "1 x 60000": lambda path: Image.new("L", (1, 60000)).save(path), "colour": lambda path: Image.new("RGB", (16, 16), (1, 2, 3)).save(path),
        "16 bit": lambda path: Image.fromarray(np.arange(256, dtype=np.uint16).reshape(16, 16)).save(path),
    }  # fmt: skip
    for name, spoil in bad.items():
        for suffix in (".png", ".tif", ".nii.gz"):
            if suffix == ".png" or name in ("a fifo", "text", "empty", "/dev/zero", "a folder"):
                yield f"one file is {name} ({suffix})", EITHER, lambda here, s=spoil, x=suffix: (classes(here, "a", "b"), s(here / "d" / "a" / f"bad{x}"))
        yield f"every file is {name}", REFUSED if name not in ("colour", "16 bit") else EITHER, lambda here, s=spoil: _all(here, s)
    for name in ("a" * 251 + ".png", "\udce4.png", "a\nb.png", ".png", "-.png", "a\x1b[31m.png", "a.png.png", "A.PNG"):
        yield f"one file is called {name[:30]!a}", EITHER, lambda here, n=name: (classes(here, "a", "b"), os.rename(here / "d" / "a" / "0.png", here / "d" / "a" / n))


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
            yield Case(f"closed: {path}, {data}", act, lambda here, p=path: (classes(here, "a", "b", "c"), (here / p).chmod(0)), expect, plain=True)  # type: ignore[misc]
    yield Case("closed: the table", search("d/m.csv"), lambda here: (write(here, rows()), (here / "d" / "m.csv").chmod(0)) and None, REFUSED, plain=True)
    yield Case("closed: every image", search("d/m.csv"), lambda here: _close_all(here), REFUSED, plain=True)


def _close_all(here: Path) -> None:
    write(here, rows())
    for path in (here / "d").glob("*.png"):
        path.chmod(0)


def _beside() -> Iterator[Case]:
    """A table beside class folders."""
    things: dict[str, Make] = {
        "a broken link": lambda path: path.symlink_to("gone"), "a folder": lambda path: path.mkdir(), "a fifo": lambda path: os.mkfifo(path),
        "/dev/zero": lambda path: path.symlink_to("/dev/zero"), "closed": lambda path: (path.write_text("image,x\n"), path.chmod(0)) and None,
        "binary": lambda path: path.write_bytes(bytes(range(256))) and None, "long": lambda path: path.write_text("x" * 999999) and None,
    }  # fmt: skip
    for name, put in things.items():
        yield Case(f"a table beside class folders: {name}", search("d"), lambda here, p=put: (classes(here, "a", "b"), p(here / "d" / "t.csv")) and None, plain=True)  # type: ignore[misc]
    for name in ("a broken link", "a folder", "a fifo", "closed", "binary"):
        yield Case(f"--labels is {name}", search("d", "--labels", "t.csv"), lambda here, p=things[name]: (pictures(here / "d"), p(here / "t.csv")) and None, REFUSED, plain=True)  # type: ignore[misc]
        yield Case(f"--unlabeled is {name}", search("d", "--unlabeled", "t.csv"), lambda here, p=things[name]: (classes(here, "a", "b"), p(here / "t.csv")) and None, REFUSED, plain=True)  # type: ignore[misc]


def _missing() -> Iterator[Case]:
    """Labels of a table that may mean that there is none must be counted in a note."""
    for word in ("NA", "none", "null", "nan", "-1", "", "N/A"):
        make = _column(1, lambda at, w=word: w if at % 3 == 2 else "ab"[at % 3])  # type: ignore[misc]
        yield Case(f"a third of the labels is {word!r}", search("d/m.csv"), make, check=noted("20"))
