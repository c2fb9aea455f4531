"""Bad input, second part: CSV manifests."""

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from PIL import Image

from studies.attack.acts import Make, command, noted, search, textures
from studies.attack.case import EITHER, FINE, REFUSED, Case

N = 60
LONG = "a" * 300
Made = Iterator[tuple[str, str, Make]]


def cases(_: int) -> Sequence[Case]:
    """Searches and inspections of tables that are not as they should be."""
    found = []
    for at, (name, expect, make) in enumerate([*_cells(), *_texts(), *_table_files()]):
        found.append(Case(f"table: {name}", search("d/m.csv"), make, expect))
        if at % 2 == 0:
            found.append(Case(f"table: {name}, inspect", command("inspect", "d/m.csv"), make))
    return [*found, *_missing()]


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
    odd = ["", " ", LONG, "x" * 5000, "../../../etc/passwd", "/etc/passwd", "/dev/zero", "/dev/stdin",
           "/proc/self/mem", ".", "..", "~",
           "http://127.0.0.1:9/x.png", "\\\\host\\x.png", "\0", "\udce4.png", "\x7f.png", "\x1b[31m.png", "*.png",
           "-1", "d", "0.png/x",
           "🩻.png", "=cmd()", "%s%n", "NUL", "0.png "]  # fmt: skip
    for value in odd:
        yield f"image {value[:40]!a}", EITHER, _put(5, 0, value)
        if value not in (".", "..", "d", "NUL", "-1"):
            yield f"label {value[:40]!a}", EITHER, _column(1, lambda at, v=value: v if at % 2 else "b")
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
        "empty": (REFUSED, b""), "newline": (REFUSED, b"\n"), "header only": (REFUSED, b"image,label\n"),
        "nulls": (REFUSED, b"\0" * 999),
        "bom": (FINE, b"\xef\xbb\xbf" + whole.encode()), "utf-16": (REFUSED, whole.encode("utf-16")),
        "latin-1": (REFUSED, whole.replace("a", "ä").encode("latin-1")),
        "crlf": (FINE, whole.replace("\n", "\r\n").encode()), "cr": (EITHER, whole.replace("\n", "\r").encode()),
        "no last newline": (FINE, whole.strip().encode()),
        "semicolons": (FINE, whole.replace(",", ";").encode()), "tabs": (FINE, whole.replace(",", "\t").encode()),
        "pipes": (REFUSED, whole.replace(",", "|").encode()),
        "open quote": (REFUSED, whole.replace("9.png", '"9.png').encode()),
        "open quote at the end": (REFUSED, whole.encode() + b'"a,b\nc,d\n'),
        "quoted newline": (EITHER, whole.replace("9.png", '"9\n.png"').encode()),
        "a cell of 200,000": (REFUSED, whole.encode() + b"x" * 200000 + b",a,b\n"),
        "short row": (REFUSED, whole.encode() + b"1.png\n"),
        "long row": (REFUSED, whole.encode() + b"1.png,a,b,c,d\n"),
        "image twice in the header": (REFUSED, whole.replace("patient", "image").encode()),
        "no column image": (REFUSED, whole.replace("image", "file").encode()),
        "no column label": (REFUSED, whole.replace("label", "klass").encode()),
        "patient and patient_id": (EITHER, whole.replace("label,patient", "patient_id,patient").encode()),
        "header in capitals": (EITHER, whole.replace("image,label", "Image,Label").encode()),
        "blank lines": (EITHER, whole.replace("\n", "\n\n").encode()),
        "header twice": (EITHER, (whole + whole).encode()),
        "rows twice": (EITHER, (whole + whole.partition("\n")[2]).encode()),
        "binary": (REFUSED, bytes(range(256)) * 9), "html": (REFUSED, b"<html><body>Not found</body></html>"),
        "json": (REFUSED, b'{"image": "0.png"}'),
        "10,000 columns": (EITHER, b"image,label" + b",x" * 9998 + b"\n"),
        "nul in a cell": (EITHER, whole.replace("9.png", "9\0.png").encode()),
        "escape in the header": (EITHER, whole.replace("patient", "\x1b[31mpatient").encode()),
        "newline in the header": (EITHER, whole.replace("patient", '"pat\nient"').encode()),
    }  # fmt: skip
    for name, (expect, text) in texts.items():
        yield name, expect, lambda here, t=text: (pictures(here / "d"), (here / "d" / "m.csv").write_bytes(t))
    split = ["train", "val", "test", "holdout", "", "TRAIN", "0", "1", "2", "3", "-1", "nan", "train "]
    for first, second in zip(split, split[3:] + split[:3], strict=True):
        yield (
            f"split {first!r} and {second!r}",
            EITHER,
            _with(
                lambda table, a=first, b=second: [
                    row.append(v) for row, v in zip(table, ["split", *[a, b] * 30], strict=True)
                ]
            ),
        )


def _table_files() -> Made:
    """A path that is no file with text."""
    yield "a folder", REFUSED, lambda here: (here / "d" / "m.csv").mkdir(parents=True)
    yield "a broken link", REFUSED, lambda here: ((here / "d").mkdir(), (here / "d" / "m.csv").symlink_to("gone"))
    yield "a fifo", REFUSED, lambda here: ((here / "d").mkdir(), os.mkfifo(here / "d" / "m.csv"))
    yield "/dev/zero", REFUSED, lambda here: ((here / "d").mkdir(), (here / "d" / "m.csv").symlink_to("/dev/zero"))
    yield "/dev/null", REFUSED, lambda here: ((here / "d").mkdir(), (here / "d" / "m.csv").symlink_to("/dev/null"))
    yield "a link to itself", REFUSED, lambda here: ((here / "d").mkdir(), (here / "d" / "m.csv").symlink_to("m.csv"))


def _missing() -> Iterator[Case]:
    """Labels of a table that may mean that there is none must be counted in a note."""
    for word in ("NA", "none", "null", "nan", "-1", "", "N/A"):
        make = _column(1, lambda at, w=word: w if at % 3 == 2 else "ab"[at % 3])
        yield Case(f"a third of the labels is {word!r}", search("d/m.csv"), make, check=noted("20"))
