"""Canaries in ids of patients and in names of files and folders: none may be in any byte that a study leaves."""

import base64
import bz2
import csv
import gzip
import hashlib
import io
import lzma
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from studies.attack import formats
from studies.attack.acts import ended, said, start, textures
from studies.attack.case import Case, Faults, Outcome
from studies.attack.study import FULL

PATIENT, FILE, SUB = "ZZCANARYPAT", "ZZCANARYFILE", "ZZCANARYSUB"
N = 96
SEARCH = ("search", "m.csv", *FULL, "--space", "s.toml", "--out", "out")
CODECS = ("utf-8", "utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be")
DIGESTS = ("md5", "sha1", "sha224", "sha256", "sha384", "sha512", "blake2b", "blake2s", "sha3_256")


def cases(_: int) -> Sequence[Case]:
    """A whole study, one of two workers, studies that end early, and faults."""
    runs: dict[str, tuple[tuple[str, ...], ...]] = {
        "a whole study, and every command on it": (
            SEARCH, ("evaluate", "out"), ("evaluate", "out", "--data", "m.csv"),
            ("embed", "out", "m.csv", "-o", "z.npy"), ("leaderboard", "out"),
            ("status", "out", "--json"), ("report", "out", "-o", "r.html"), ("export", "out", "copy"),
            ("inspect", "m.csv", "--views"), ("stop", "out"),
        ),
        "two workers": ((*SEARCH, "--workers", "2"),),
        "labels are patients": (
            (*SEARCH, "--label-column", "patient"), ("inspect", "m.csv", "--label-column", "patient"),
        ),
        "labels are files": ((*SEARCH, "--label-column", "image"),),
        "a broken table": (("search", "broken.csv", *FULL, "--out", "out"), ("inspect", "broken.csv")),
        "a name too long": (("search", "long.csv", *FULL, "--out", "out"), ("inspect", "long.csv")),
        "more images that are broken": (
            (*SEARCH, "--unlabeled", f"{SUB}3"), ("embed", "gone", f"{SUB}3", "-o", "z.npy"),
        ),
    }  # fmt: skip
    return [Case(name, drive=lambda here, c=commands: drive(here, c)) for name, commands in runs.items()]


def write(here: Path) -> None:
    """A table of images in two folders, three of them broken; one with an unquoted cell, one with a long name."""
    from studies.attack.acts import SPACE

    rows = [["image", "label", "patient"]]
    for row, image in enumerate(textures(N, classes=3)[0]):
        folder = f"{SUB}{row % 2}"
        (here / folder).mkdir(exist_ok=True)
        data = formats.png(image)
        name = f"{folder}/{FILE}{row:03}.png"
        (here / name).write_bytes(data if row not in (5, 50, 77) else data[:90])
        rows.append([name, "abc"[row % 3], f"{PATIENT}{row // 2:03}"])
    (here / f"{SUB}3").mkdir()
    (here / f"{SUB}3" / f"{FILE}999.png").write_bytes(b"no image")
    (here / "s.toml").write_text(SPACE)
    for name, more in (
        ("m.csv", []),
        ("broken.csv", [[f"{FILE}x"]]),
        ("long.csv", [[f"{SUB}0/{FILE}{'x' * 300}.png", "a", f"{PATIENT}999"]]),
    ):
        with open(here / name, "w", newline="") as file:
            csv.writer(file).writerows([*rows, *more])


def drive(here: Path, commands: Sequence[tuple[str, ...]]) -> Outcome:
    """Run the commands; then read every byte that is new."""
    write(here)
    given = {path for path in here.rglob("*") if path.is_file()}
    faults: Faults = []
    sayings = []
    for args in commands:
        code = ended(start(here, *args), 300)
        sayings.append(said(here))
        if code in (1, None) or "Traceback" in said(here):
            faults.append(
                ("exit 1" if code == 1 else "hang" if code is None else "traceback", f"{args[0]}: {said(here)[-200:]}")
            )
        if PATIENT in said(here):
            faults.append(("other", f"stderr of {args[0]} holds the id of a patient: {said(here)[-200:]}"))
    for path in sorted(path for path in here.rglob("*") if path.is_file() and path not in given):
        for word in sorted(set(told(path.read_bytes(), path.name))):
            faults.append(("other", f"{path.relative_to(here)} holds {word}"))
    said_out = (here.parent / ".out").read_text(errors="replace")
    if PATIENT in said_out or FILE in said_out:
        faults.append(("other", "stdout holds a canary"))
    return Outcome("", faults, said=" / ".join(sayings)[-600:], tried=len(commands))


def told(data: bytes, name: str, depth: int = 0) -> Iterator[str]:
    """Canaries and digests of ids in bytes, also packed in them."""
    lower = data.lower()
    for word, forms in NEEDLES.items():
        if any(form in lower for form in forms):
            yield word
    if depth < 3:
        for inner in unpacked(data):
            yield from told(inner, name, depth + 1)


def unpacked(data: bytes) -> Iterator[bytes]:
    if data[:2] == b"PK":
        try:
            with zipfile.ZipFile(io.BytesIO(data)) as archive:
                for member in archive.namelist():
                    yield member.encode()
                    yield archive.read(member)
        except zipfile.BadZipFile:
            return
    for magic, unpack in (
        (b"\x1f\x8b", gzip.decompress),
        (b"BZh", bz2.decompress),
        (b"\xfd7zXZ", lzma.decompress),
        (b"x\x9c", zlib.decompress),
    ):
        if data.startswith(magic):
            try:
                yield unpack(data)
            except (OSError, EOFError, zlib.error, lzma.LZMAError):
                return


def _needles() -> dict[str, list[bytes]]:
    found = {}
    for word in (PATIENT, FILE, SUB):
        coded = [word.lower().encode(codec) for codec in CODECS] + [
            word.lower()[::-1].encode(),
            word.encode().hex().encode(),
        ]
        for shift in range(3):  # the three ways in which base64 may cut it
            text = base64.b64encode(b"\0" * shift + word.encode() + b"\0" * 3)
            coded.append(text[2 * (shift > 0) + 2 * (shift > 1) : len(word) * 4 // 3 - 3].lower())
        found[word] = coded
    ids = [f"{PATIENT}{number:03}".encode() for number in range(0, N // 2, 4)]  # a few tell enough
    hashed = [hashlib.new(name, one).digest() for name in DIGESTS for one in ids]
    found["a digest of an id"] = [
        part.lower() for digest in hashed for part in (digest[:16], digest.hex()[:24].encode())
    ]
    return found


NEEDLES = _needles()
