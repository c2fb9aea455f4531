"""Silent changes of values: what was written is what the engine reads, or it is refused by name."""

import itertools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from autossl.errors import UserError
from studies.attack import formats
from studies.attack.acts import call
from studies.attack.case import EITHER, ENDED, FINE, Case
from studies.attack.labels import label_cases
from studies.attack.pixels import SIDE, N, Pixels, change, pixel_cases, silent, truth


def cases(seed: int) -> Sequence[Case]:
    """All forms of pixels, and random studies of labels, patients and splits."""
    return [*_forms(seed), *pixel_cases(seed), *label_cases(seed)]


def _forms(seed: int) -> Iterator[Case]:
    """Every format, depth and number of channels, and every orientation where a format can carry one."""
    depths = {"uint8": (255, 200), "uint16": (65535, 4095, 799)}
    for (kind, tops), channels in itertools.product(depths.items(), (1, 3)):
        for top in tops:
            shape = (SIDE, SIDE) if channels == 1 else (SIDE, SIDE, 3)
            images = truth(seed, kind, shape, top)
            for name, (suffix, write, expect) in _writers(kind, top).items():
                own = top if "pnm" in name and name.endswith(str(top)) else 0
                yield _case(f"{name}, {kind} up to {top}, {channels} channels", images, suffix, write, expect, top=own)
    for (kind, tops), turn in itertools.product(depths.items(), (*range(9), 9, 10, 255)):
        images = truth(seed, kind, (12, 20), tops[0])
        for name in ("png", "tiff", "tiff deflate"):
            write = _turned(name, turn)
            upright = [turned(image, turn) for image in images]
            yield _case(
                f"{name} {kind}, orientation {turn}",
                upright,
                ".png" if name == "png" else ".tif",
                write,
                EITHER,
                images,
            )
    smooth = [np.add.outer(np.arange(16) * 3, np.arange(24) * (2 + row / 8)).astype(np.uint8) for row in range(N)]
    for turn, (name, kind) in itertools.product((*range(1, 9), 9, 255), (("JPEG", ".jpg"), ("WebP", ".webp"))):
        write = lambda path, image, t=turn, n=name: _pillow(path, image, n, t)  # noqa: E731
        yield _case(
            f"{name}, orientation {turn}", [turned(i, turn) for i in smooth], kind, write, EITHER, smooth, near=8
        )


Write = Callable[[Path, Pixels], object]


def _writers(kind: str, top: int) -> dict[str, tuple[str, Write, str]]:
    """Formats that can hold images of this type without loss; those with FINE must be read."""
    found: dict[str, tuple[str, Write, str]] = {
        "png": (".png", lambda p, i: p.write_bytes(formats.png(i)), FINE),
        "png with alpha": (
            ".png",
            lambda p, i: p.write_bytes(formats.png(i, alpha=int(np.iinfo(i.dtype).max))),
            EITHER,
        ),
    }
    for big, planar, inverted, packed, strips in itertools.product(
        (False, True), (False, True), (False, True), (False, True), (1, 3)
    ):
        words = [
            w
            for w, on in (
                ("big", big),
                ("planar", planar),
                ("inverted", inverted),
                ("deflate", packed),
                ("strips", strips > 1),
            )
            if on
        ]
        options: dict[str, Any] = {
            "big": big,
            "planar": planar,
            "inverted": inverted,
            "packed": packed,
            "strips": strips,
        }
        found[" ".join(["tiff", *words])] = (
            ".tif",
            lambda p, i, o=options: p.write_bytes(_tiff(i, **o)),
            EITHER if words else FINE,
        )
    suffix = {1: ".pgm", 3: ".ppm"}
    for text, white in itertools.product((False, True), {0, top}):
        name = f"pnm {'text' if text else 'binary'}, white {white}"
        found[name] = (suffix[1], lambda p, i, t=text, w=white: p.write_bytes(formats.pnm(i, w, t)), EITHER)
    if kind == "uint8":
        for name, ending in (
            ("BMP", ".bmp"),
            ("GIF", ".gif"),
            ("WebP", ".webp"),
            ("JPEG2000", ".jp2"),
            ("TIFF", ".tif"),
        ):
            found[f"Pillow's {name}"] = (ending, lambda p, i, n=name: _pillow(p, i, n, 0), EITHER)
    return found


def _tiff(image: Pixels, **options: Any) -> bytes:
    if options.get("inverted") and image.ndim == 2:
        image = np.iinfo(image.dtype).max - image
    return formats.tiff(image, **options)


def _turned(name: str, turn: int) -> Write:
    if name == "png":
        return lambda path, image: path.write_bytes(formats.png(image, orientation=turn))
    return lambda path, image: path.write_bytes(formats.tiff(image, orientation=turn, packed="deflate" in name))


def turned(image: Pixels, turn: int) -> Pixels:
    """What a viewer shows of an image with this EXIF orientation; others than 1 to 8 mean nothing."""
    if not 1 <= turn <= 8:
        return image
    upright = image.swapaxes(0, 1) if turn >= 5 else image
    return upright[:: -1 if turn in (3, 4, 7, 8) else 1, :: -1 if turn in (2, 3, 6, 7) else 1]


def _pillow(path: Path, image: Pixels, name: str, turn: int) -> None:
    options: dict[str, Any] = {"lossless": True} if name == "WebP" else {"quality": 100} if name == "JPEG" else {}
    if name == "JPEG2000":
        options = {"irreversible": False}
    if turn:
        options["exif"] = b"Exif\0\0" + formats.exif(turn)
    Image.fromarray(image).save(path, name, **options)


def _case(
    name: str,
    images: Sequence[Pixels],
    suffix: str,
    write: Write,
    expect: str,
    stored: Sequence[Pixels] | None = None,
    near: int = 0,
    top: int = 0,
) -> Case:
    """Files of `stored` in two class folders must be read as `images`."""

    def make(here: Path) -> None:
        for row, image in enumerate(images if stored is None else stored):
            folder = here / "d" / "ab"[row % 2]
            folder.mkdir(parents=True, exist_ok=True)
            write(folder / f"{row:02}{suffix}", image)

    order = [*range(0, N, 2), *range(1, N, 2)]
    return Case(
        name,
        call(lambda: compare("d", [images[row] for row in order], near, top)),
        make,
        expect,
        until=ENDED,
        check=silent,
    )


def compare(data: str, images: Sequence[Pixels], near: int, top: int) -> None:
    """Open the data as a study does; each image must be the one that was written, or a word of it refused.

    Grey may come as three equal channels, and values may be stretched from a file's own white `top` to that of a type.
    """
    from autossl.data.open import open_data

    source = open_data(data)
    for row, image in enumerate(images):
        try:
            read = np.asarray(source.read(row)).astype(float)
        except (ValueError, UserError) as fault:  # a file that is refused by name
            raise UserError(str(fault)) from None
        wanted = np.atleast_3d(image).astype(float)
        if read.shape[:2] != wanted.shape[:2] or (read.shape[2] == 1 and (wanted != wanted[:, :, :1]).any()):
            return change(f"image {row} of {wanted.shape} became {read.shape}")
        wanted = wanted if read.shape[2] >= wanted.shape[2] else wanted[:, :, :1]
        stretched = [np.abs(read - wanted * white / top).max() - 1 for white in (255, 65535)] if top else []
        gap = min([np.abs(read - wanted).max(), *stretched])
        if gap > near:
            return change(f"image {row}, {image.dtype}: values differ by up to {gap:.0f}")
    return None
