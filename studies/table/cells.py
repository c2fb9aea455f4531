"""What the table holds, as data: sets with targets, methods, strengths of views, rates, rungs, in the order of work."""

from collections.abc import Iterator
from typing import Any, NamedTuple

Options = dict[str, Any]

RUNGS, LONG = (4096, 12288, 36864), 110592  # images seen; the last for the better third of a cell only
METHODS = (  # cheap and unlike ones first
    "simclr", "vicreg", "cnn_mae", "dcl", "nnclr", "genesis", "swav", "hybrid", "moco", "barlow", "byol", "jigsaw",
)  # fmt: skip
OWN = "own"  # views, or the rate, of a method's first prior in a study of such images
STRENGTHS: dict[str, Options] = {
    OWN: {},
    "mild": {"jitter": 0.05, "crop_min": 0.5},
    "middle": {"jitter": 0.3, "crop_min": 0.35},
    "strong": {"jitter": 0.8, "crop_min": 0.2},
}
RATES = {OWN: 1.0, "low": 0.4}  # times that of the prior
COLOURED, GREY = ("middle", "strong"), ("mild", "strong")  # strengths beside the own, which is mild or middle there
RANDOM, LITE = "random", "packaged:lite0"


class Set(NamedTuple):
    """A data set: where it is, options of all its targets and of each, strengths beside its own, starts."""

    data: str
    options: Options
    targets: dict[str, Options]
    strengths: tuple[str, ...]
    starts: tuple[str, ...] = (RANDOM,)


def classes(column: str | None = None) -> Options:
    return {"task": "classification", **({} if column is None else {"label_column": column})}


def numbers(column: str) -> Options:
    return {"task": "regression", "label_column": column}


MARKS = {name: classes(name) for name in ("shape", "tone", "direction", "texture")}
CELLS = {
    "kind": classes(),
    "area": numbers("nuclear_area"),
    "stain": numbers("stain_age"),
    "maturity": {"task": "ordinal"},
}
SETS = {  # in the order of work
    "pneumonia": Set("pneumoniamnist/pneumoniamnist.npz", {"modality": "xray"}, {"class": classes()}, GREY),
    "cells": Set("sample:cells", {"modality": "microscopy", "image_size": 32}, CELLS, COLOURED, (RANDOM, LITE)),
    "marks": Set("marks", {"modality": "colour", "image_size": 28}, MARKS, COLOURED),
    "pbc": Set("pbc_blood_28/pbc_blood_28.npz", {"modality": "microscopy"}, {"class": classes()}, COLOURED),
    "marks_grey": Set("marks_grey", {"modality": "grey", "image_size": 28}, MARKS, GREY),
    "nuclei": Set(
        "dsb2018_nuclei", {"modality": "microscopy", "image_size": 32}, {"foreground": numbers("foreground")}, COLOURED
    ),
    "bccd": Set("bccd", {"modality": "microscopy", "image_size": 48}, {"cells": numbers("cells")}, COLOURED),
    "folder": Set(
        "pbc_blood_folder", {"modality": "microscopy", "image_size": 48}, {"class": classes()}, COLOURED, (RANDOM, LITE)
    ),
}


class Piece(NamedTuple):
    """One training of the table."""

    set: str
    start: str
    method: str
    strength: str = OWN
    rate: str = OWN

    @property
    def key(self) -> str:
        """Its name among the rows of its set."""
        return " ".join(self[1:])


def pieces(sets: tuple[str, ...]) -> Iterator[tuple[str, Piece]]:
    """Everything to do in the order of work, with its stage: a table that is broken off is whole as far as it goes.

    What has no views to vary is trained at its own only, and `tuned` and `long` are for the better third of a set:
    whoever trains says which those are.
    """
    for name in sets:
        yield from (("own", Piece(name, RANDOM, method)) for method in METHODS)
    for name in sets:
        yield from (("tuned", Piece(name, RANDOM, method)) for method in METHODS)
    for at in range(2):
        for name in sets:
            strength = SETS[name].strengths[at]
            yield from (("views", Piece(name, RANDOM, method, strength)) for method in METHODS)
    for name in sets:
        for strength in (OWN, *SETS[name].strengths):
            yield from (("rates", Piece(name, RANDOM, method, strength, "low")) for method in METHODS)
    for name in sets:
        yield from (("long", Piece(name, RANDOM, method)) for method in METHODS)
    for name in sets:
        for start in SETS[name].starts[1:]:
            yield from (("starts", Piece(name, start, method)) for method in METHODS)
