"""What keyword arguments of methods, views and trainer may be: their type from the signature, their range from here.

A keyword that has no row may be any finite number that its type allows.
"""

import inspect
import math
from collections.abc import Iterator
from dataclasses import fields
from functools import cache

from autossl.errors.keywords import FLAG, Kind, counted, number, one_of
from autossl.pretext import METHODS
from autossl.pretext.patient_positives import BASES
from autossl.pretext.volume_fusion import MOST as MOST_BOXES
from autossl.train.loop import Settings
from autossl.train.partial import PARTS
from autossl.views.images import MOST_OVERLAP, Views

GIVEN = {"self", "encoder", "views", "preset", "mean", "std"}  # arguments that no space sets
MOST_UNITS = 65536  # of a layer, a queue or a number of prototypes: more is a slip, and no machine has the memory
MOST_WEIGHT = 1e6  # of a loss or a temperature
POSITIVE, SHARE = number(0, MOST_WEIGHT, open_low=True), number(0, 1)
PART = number(0, 1, open_low=True, open_high=True)  # of what is masked or cut out: something, and not everything
NOT_NEGATIVE = number(0, MOST_WEIGHT)
UNITS, BLOCKS = counted(1, MOST_UNITS), counted(2, 64)

BY_KEYWORD: dict[str, Kind] = {
    "lr": number(0, 10, open_low=True),
    "weight_decay": number(0, 10),
    "layer_decay": number(0, 1, open_low=True),
    "batch_size": counted(2, MOST_UNITS),
    "trained": one_of(*PARTS),
    "crop_min": number(0, 1, open_low=True),
    "jitter": SHARE,
    "overlap": number(0, MOST_OVERLAP),
    **dict.fromkeys(("hidden", "out", "width", "dense_width", "narrow", "bottleneck", "prototypes", "queue"), UNITS),
    **dict.fromkeys(("temperature", "student_temperature", "teacher_temperature", "epsilon", "beta"), POSITIVE),
    **dict.fromkeys(("teacher_rate", "centre_rate"), number(0, 1, open_low=True)),
    **dict.fromkeys(("alpha", "intensity", "shuffle", "paint", "outside", "share", "smoothing"), SHARE),
    **dict.fromkeys(("ratio", "area", "side", "thickness"), PART),
    **dict.fromkeys(("covariance", "invariance", "variance", "redundancy", "weight", "shrink"), NOT_NEGATIVE),
    **dict.fromkeys(("inpainting", "contrast", "rotation", "turned", "masked", "spread"), NOT_NEGATIVE),
    **dict.fromkeys(("reach", "sharpness", "sigma"), POSITIVE),
    **dict.fromkeys(("holes", "swaps", "targets", "levels", "crops", "rounds", "layers", "depth"), counted(1, 64)),
    **dict.fromkeys(("grid", "copies"), BLOCKS),
    "gap": number(0, 1, open_high=True),
    "permutations": counted(2, 1000),
    "classes": counted(2, 1 << 16),
    "boxes": counted(1, MOST_BOXES),
    "regions": counted(1, 4096),
    "slices": UNITS,
    "knots": counted(2, 1000),
    "local_crops": counted(0, 64),
    "scale": counted(2, 64),
    "spacing": counted(2, 64),
    "first": one_of(*(name for name in METHODS if name != "hybrid")),
    "second": one_of(*(name for name in METHODS if name != "hybrid")),
    "base": one_of(*BASES),
}
BY_METHOD: dict[str, Kind] = {  # where one word means different things
    "hybrid.weight": SHARE,
    "lejepa.weight": SHARE,
    "densecl.weight": SHARE,
    "glcl.weight": SHARE,
    "jigsaw.grid": counted(2, 4),
    "voco.grid": counted(2, 8),
    "wmse.ratio": BLOCKS,
    "noise2void.reach": counted(1, 64),
    "slice_order.gap": number(0, 1),
    "volume_fusion.side": number(0, 1, open_low=True),
}
BY_TYPE: dict[object, Kind] = {float: number(-math.inf), int: counted(0), bool: FLAG}


def keywords(method: str) -> dict[str, set[str]]:
    """Which keyword arguments go to the method, to its views and to the trainer."""
    return {target: set(found) for target, found in _signatures(method)}


@cache
def kinds(method: str) -> dict[str, Kind]:
    """What every keyword argument that a space may set for this method takes."""
    return {
        name: BY_METHOD.get(f"{method}.{name}") or BY_KEYWORD.get(name) or BY_TYPE[kind]
        for _, found in _signatures(method)
        for name, kind in found.items()
    }


def _signatures(method: str) -> Iterator[tuple[str, dict[str, object]]]:
    """The annotated arguments of the method, of its views and of the trainer, without those that are given."""
    for target, cls in (("method", METHODS[method]), ("views", Views)):
        arguments = inspect.signature(cls.__init__).parameters.values()
        yield target, {a.name: a.annotation for a in arguments if a.name not in GIVEN}
    yield "train", {f.name: f.type for f in fields(Settings)}
