"""Places in images with boxes: centres of objects, and what lies beside them."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

TRIES = 8  # places drawn for each that should lie beside every box


class Spots(NamedTuple):
    """Places of some samples: in which (k,), where (k, 2) as y and x in shares, the class + 1 there or 0 for none.

    `box` (k, 4) is the object's own, NaN for none; `weight` (k,): how many such places, as large as an object, each
    stands for, 0 for those inside an object.
    """

    sample: Ints
    where: Floats
    kind: Ints
    box: Floats
    weight: Floats

    def taken(self, some: Ints) -> "Spots":
        """Those at these places."""
        return Spots(self.sample[some], self.where[some], self.kind[some], self.box[some], self.weight[some])


def drawn(boxes: Floats, inside: Floats, most: int, rim: float, seed: int) -> Spots:
    """About so many places: half of them centres of objects, of each class as many, half beside every object.

    Boxes (n, most, 5) as `Boxes` holds them, `inside` (n, 4) where images lie. Places beside objects are alike in every
    sample. With `rim`, that share of the second half lies inside objects, far from their centres.
    """
    random = np.random.default_rng(seed)
    centres = _centres(boxes, most // 2, random)
    sides = centres.box[:, 2:] - centres.box[:, :2]
    typical = float(np.median(sides.prod(1))) if len(sides) else 1.0
    edges = _rim(centres, int(rim * most / 2), random)
    each = max(1, (most - most // 2 - len(edges.sample)) // max(1, len(boxes)))
    beside = [_beside(row, boxes[row], inside[row], each, typical, random) for row in range(len(boxes))]
    return Spots(*(np.concatenate(parts) for parts in zip(centres, edges, *beside, strict=True)))


def _centres(boxes: Floats, most: int, random: np.random.Generator) -> Spots:
    """Those of so many objects at most, of each class as many, in order."""
    sample, place = np.nonzero(np.isfinite(boxes[..., 0]))
    kinds = boxes[sample, place, 4].astype(np.int64)
    there = np.unique(kinds)
    taken = [random.permutation(np.flatnonzero(kinds == kind))[: most // len(there)] for kind in there]
    some = np.sort(np.concatenate(taken)) if taken else np.zeros(0, np.int64)
    own = boxes[sample[some], place[some], :4]
    where = np.stack([own[:, [1, 3]].mean(1), own[:, [0, 2]].mean(1)], axis=1)
    return Spots(sample[some], where, kinds[some] + 1, own, np.ones(len(some)))


def _rim(centres: Spots, count: int, random: np.random.Generator) -> Spots:
    """Places inside objects, between half and nine tenths of the way from their centre to their border."""
    at = random.integers(0, max(1, len(centres.sample)), count if len(centres.sample) else 0)
    box = centres.box[at]
    half = np.stack([box[:, 3] - box[:, 1], box[:, 2] - box[:, 0]], axis=1) / 2
    away = random.uniform(-1, 1, (len(at), 2))
    away *= random.uniform(0.5, 0.9, (len(at), 1)) / np.abs(away).max(1, keepdims=True, initial=1e-9)
    return _of_none(centres.sample[at], centres.where[at] + away * half, 0.0)


def _beside(row: int, boxes: Floats, inside: Floats, count: int, typical: float, random: np.random.Generator) -> Spots:
    """Places of a sample outside all its boxes; each stands for as many objects as would fit there."""
    low, high = inside[[1, 0]], inside[[3, 2]]
    tried = random.uniform(low, high, (TRIES * count, 2))
    own = boxes[np.isfinite(boxes[:, 0])]
    covered = (tried[:, None] >= own[None][..., [1, 0]]) & (tried[:, None] <= own[None][..., [3, 2]])
    beside = ~np.any(np.all(covered, axis=2), axis=1)
    free = tried[beside][:count]
    objects = float(beside.mean() * np.prod(high - low)) / typical
    return _of_none(np.full(len(free), row), free, objects / max(1, len(free)))


def _of_none(sample: Ints, where: Floats, weight: float) -> Spots:
    n = len(sample)
    return Spots(sample, where, np.zeros(n, np.int64), np.full((n, 4), np.nan), np.full(n, weight))
